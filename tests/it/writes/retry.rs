//! Answers that are posted again, and answers that are no errors.

use std::time::{Duration, Instant};

use polars_edfi::sandbox::{Faults, Sandbox};
use polars_edfi::{BatchOptions, PostOptions};

use super::{attempts, committing, errors, held, of_students, post, posted, posts, students};
use crate::support::{
    BAD, client, patient, renewing, start, statuses, texts, token_requests, with_tokens, words,
};

fn answering(statuses: impl Into<Vec<u16>>) -> Faults {
    Faults {
        statuses: statuses.into(),
        ..Faults::default()
    }
}

fn retrying(statuses: impl Into<Vec<u16>>) -> PostOptions {
    PostOptions {
        retry_statuses: statuses.into(),
        retry_backoff: Duration::from_millis(20),
        ..committing()
    }
}

/// Posts so many rows to a district that does something wrong.
async fn post_to(
    ods: &Sandbox,
    faults: Faults,
    rows: usize,
    options: &PostOptions,
) -> polars::prelude::DataFrame {
    let districts = with_tokens(ods).await;
    ods.set_faults(BAD, faults);
    ods.clear_requests();
    post(&client(), &posts(&districts, BAD, &students(rows)), options).await
}

#[tokio::test]
async fn an_error_is_posted_again_only_where_that_was_asked_for() {
    let ods = start();
    let always = || Faults {
        always_status: Some(500),
        ..Faults::default()
    };
    let result = post_to(&ods, always(), 20, &committing()).await;
    assert_eq!(
        (statuses(&result), attempts(&result)),
        (vec![Some(500); 20], vec![1; 20])
    );
    assert_eq!((errors(&result).len(), posted(&ods, BAD).len()), (20, 20));

    let result = post_to(&ods, always(), 20, &retrying([500])).await;
    assert_eq!(
        (statuses(&result), attempts(&result)),
        (vec![Some(500); 20], vec![3; 20])
    );
    assert_eq!(posted(&ods, BAD).len(), 60);
    let ids = words(&result, "correlation_id");
    for (message, id) in errors(&result).iter().zip(ids) {
        let end = format!(" (correlation id: {id}; retries attempted: 2)");
        assert!(
            message.starts_with("HTTP 500 ") && message.ends_with(&end),
            "{message}"
        );
    }

    let result = post_to(&ods, answering([503, 409]), 1, &retrying([503, 409])).await;
    assert_eq!(
        (texts(&result, "message"), attempts(&result)),
        (vec![None], vec![3])
    );
    let mut once = retrying([503, 409]);
    once.max_retries = 1;
    let result = post_to(&ods, answering([503, 409]), 1, &once).await;
    assert_eq!(
        (statuses(&result), attempts(&result)),
        (vec![Some(409)], vec![2])
    );
    once.max_retries = 0;
    let result = post_to(&ods, answering([503]), 1, &once).await;
    assert!(errors(&result)[0].ends_with("retries attempted: 0)"));
    assert_eq!(attempts(&result), [1]);
}

#[tokio::test]
async fn only_messages_that_were_named_are_posted_again() {
    let ods = start();
    let mut options = retrying([409]);
    options.retry_messages = vec!["nothing of it".into(), "ANOTHER user".into()];
    let result = post_to(&ods, answering([409]), 1, &options).await;
    assert_eq!(
        (texts(&result, "message"), attempts(&result)),
        (vec![None], vec![2])
    );
    options.retry_messages.pop();
    let result = post_to(&ods, answering([409]), 1, &options).await;
    assert_eq!(
        (statuses(&result), attempts(&result)),
        (vec![Some(409)], vec![1])
    );
    assert!(errors(&result)[0].ends_with("retries attempted: 0)"));
}

#[tokio::test]
async fn waits_double_or_are_what_the_server_says() {
    let ods = start();
    let mut options = retrying([500]);
    options.retry_backoff = Duration::from_millis(200);
    let begin = Instant::now();
    let result = post_to(&ods, answering([500, 500]), 1, &options).await;
    assert_eq!(attempts(&result), [3]);
    assert!(begin.elapsed() >= Duration::from_millis(600));

    options.retry_statuses = vec![429];
    let busy = Faults {
        retry_after: Some(1),
        ..answering([429])
    };
    let begin = Instant::now();
    let result = post_to(&ods, busy, 1, &options).await;
    assert_eq!(attempts(&result), [2]);
    assert!((1..20).contains(&begin.elapsed().as_secs()));

    // Nobody's answer makes it shorter.
    options.retry_backoff = Duration::from_secs(2);
    let busy = Faults {
        retry_after: Some(1),
        ..answering([429])
    };
    let begin = Instant::now();
    let result = post_to(&ods, busy, 1, &options).await;
    assert_eq!(attempts(&result), [2]);
    assert!(begin.elapsed() >= Duration::from_secs(2));
}

#[tokio::test]
async fn a_busy_server_is_left_alone_by_all_workers() {
    let ods = start();
    let busy = Faults {
        retry_after: Some(2),
        ..answering([503])
    };
    let mut options = retrying([503]);
    options.batch.workers = 1;
    let begin = Instant::now();
    // The first row is refused and waits; those after it do not come sooner.
    let result = post_to(&ods, busy, 5, &options).await;
    assert!(begin.elapsed() >= Duration::from_secs(2));
    assert_eq!(
        (attempts(&result), held(&ods, BAD, "new-")),
        (vec![2, 1, 1, 1, 1], 5)
    );
    let busy = Faults {
        retry_after: Some(2),
        ..answering([503])
    };
    options.retry_statuses.clear();
    let begin = Instant::now();
    let result = post_to(&ods, busy, 5, &options).await;
    assert!(begin.elapsed() >= Duration::from_secs(2));
    assert_eq!(statuses(&result), [Some(200); 5]);
    assert_eq!(attempts(&result), [2, 1, 1, 1, 1]);
}

#[tokio::test]
async fn a_status_can_stand_for_something_else_than_an_error() {
    let ods = start();
    let mut options = committing();
    options.batch.workers = 1;
    options.allow_statuses = vec![(409, Some("warning".into())), (404, None)];
    let result = post_to(&ods, answering([409, 404, 403]), 4, &options).await;
    let status = ["warning", "", "error", ""].map(|text| (!text.is_empty()).then(|| text.into()));
    assert_eq!(texts(&result, "status"), status);
    assert_eq!(
        statuses(&result),
        [Some(409), Some(404), Some(403), Some(200 + 1)]
    );
    assert!(texts(&result, "message")[0].is_some());
    // Not where it was posted again, in vain.
    options.retry_statuses = vec![409];
    options.retry_backoff = Duration::from_millis(1);
    let result = post_to(&ods, answering([409; 3]), 1, &options).await;
    assert_eq!((errors(&result).len(), attempts(&result)), (1, vec![3]));
}

#[tokio::test]
async fn a_401_can_be_a_status_like_others() {
    let ods = start();
    let options = PostOptions {
        batch: of_students(renewing()),
        allow_statuses: vec![(401, Some("warning".into()))],
        ..committing()
    };
    let result = post_to(&ods, answering([401]), 1, &options).await;
    assert_eq!(
        (words(&result, "status"), attempts(&result)),
        (vec!["warning".into()], vec![1])
    );
    assert_eq!(token_requests(&ods, BAD), 0);
}

#[tokio::test]
async fn tokens_that_are_refused_for_ever_end_the_batch_soon() {
    let ods = start();
    let refusing = Faults {
        refuse_tokens: true,
        ..Faults::default()
    };
    let batch = BatchOptions {
        refresh_cooldown: Duration::from_secs(1),
        workers: 4,
        ..of_students(renewing())
    };
    let options = PostOptions {
        batch,
        ..committing()
    };
    let begin = Instant::now();
    let result = post_to(&ods, refusing, 200, &options).await;
    assert!(begin.elapsed() < Duration::from_secs(30));
    let messages = errors(&result);
    assert_eq!(messages.len(), 200);
    for message in &messages {
        let known = ["auth error: HTTP 401", "auth refresh failed: "];
        assert!(
            known.iter().any(|text| message.starts_with(text)),
            "{message}"
        );
    }
    // After the first pause rows fail at once.
    let last = "refresh paused 1 s after";
    assert!(messages[199].contains(last), "{}", messages[199]);
    assert!(
        token_requests(&ods, BAD) <= 8,
        "{}",
        token_requests(&ods, BAD)
    );
}

#[tokio::test]
async fn a_connection_that_was_never_made_is_tried_again() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    let df = posts(&districts, BAD, &students(1));
    let nobody = crate::support::with_texts(&df, "targetUrl", [Some("http://127.0.0.1:1/x")]);
    let begin = Instant::now();
    let result = post(&patient(Duration::from_secs(5), 2), &nobody, &committing()).await;
    // Two pauses of at least a half of 0.2 s and 0.4 s.
    assert!(begin.elapsed() >= Duration::from_millis(300));
    assert!(
        errors(&result)[0].starts_with("could not connect"),
        "{:?}",
        errors(&result)
    );
    assert_eq!(
        (attempts(&result), statuses(&result)),
        (vec![0], vec![None])
    );
}
