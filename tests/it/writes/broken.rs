//! Writes that broke on the way: never a success that was none, never sent twice unasked.

use std::time::Duration;

use polars::prelude::*;
use polars_edfi::sandbox::{Faults, Sandbox};
use polars_edfi::{BatchOptions, Control, EdFiClient, PostOptions};

use super::{attempts, committing, errors, held, of_students, post, posted, posts, students};
use crate::support::{
    BAD, DISTRICTS, client, patient, sandbox, soon, start, statuses, texts, until, with_tokens,
    words,
};

const BROKEN: &str = "connection broken after the request was sent; it may have been applied";

async fn post_by(
    client: &EdFiClient,
    ods: &Sandbox,
    faults: Faults,
    rows: usize,
    options: &PostOptions,
) -> DataFrame {
    let districts = with_tokens(ods).await;
    ods.set_faults(BAD, faults);
    ods.clear_requests();
    post(client, &posts(&districts, BAD, &students(rows)), options).await
}

async fn post_to(ods: &Sandbox, faults: Faults, rows: usize, options: &PostOptions) -> DataFrame {
    post_by(&client(), ods, faults, rows, options).await
}

fn again() -> PostOptions {
    PostOptions {
        retry_broken: true,
        ..committing()
    }
}

#[tokio::test]
async fn a_write_that_may_have_been_done_is_not_sent_again() {
    for done in [0, 3] {
        let ods = start();
        let faults = Faults {
            break_before: 3 - done,
            break_after: done,
            ..Faults::default()
        };
        let result = post_to(&ods, faults, 3, &committing()).await;
        assert_eq!(errors(&result), [BROKEN; 3]);
        assert_eq!(
            (attempts(&result), statuses(&result)),
            (vec![1; 3], vec![None; 3])
        );
        assert_eq!(
            (posted(&ods, BAD).len(), held(&ods, BAD, "new-")),
            (3, done)
        );
    }
}

#[tokio::test]
async fn a_broken_write_is_sent_again_where_that_was_asked_for() {
    for (before, after) in [(1, 0), (0, 1), (1, 1)] {
        let ods = start();
        let faults = Faults {
            break_before: before,
            break_after: after,
            ..Faults::default()
        };
        let result = post_to(&ods, faults, 1, &again()).await;
        assert_eq!(texts(&result, "message"), [None]);
        assert_eq!(attempts(&result), [1 + (before + after) as u32]);
        // An upsert done twice finds what it has done itself.
        let status = if after > 0 { 200 } else { 201 };
        assert_eq!(
            (statuses(&result), held(&ods, BAD, "new-")),
            (vec![Some(status)], 1)
        );
        assert!(texts(&result, "resource_id")[0].is_some());
    }
    // But not for ever, and no answer counts as broken.
    let ods = start();
    let faults = Faults {
        break_before: usize::MAX,
        ..Faults::default()
    };
    let result = post_by(
        &patient(Duration::from_secs(5), 2),
        &ods,
        faults,
        1,
        &again(),
    )
    .await;
    assert_eq!(
        (errors(&result), attempts(&result)),
        (vec![BROKEN.to_owned()], vec![3])
    );
    let faults = Faults {
        always_status: Some(503),
        ..Faults::default()
    };
    let result = post_to(&ods, faults, 1, &again()).await;
    assert_eq!(
        (statuses(&result), attempts(&result)),
        (vec![Some(503)], vec![1])
    );
}

#[tokio::test]
async fn each_row_has_one_result_whatever_breaks() {
    let ods = start();
    let faults = Faults {
        break_every: 10,
        ..Faults::default()
    };
    let result = post_to(&ods, faults, 100, &committing()).await;
    let messages: Vec<String> = texts(&result, "message").into_iter().flatten().collect();
    assert_eq!(messages, [BROKEN; 10]);
    assert_eq!((result.height(), held(&ods, BAD, "new-")), (100, 90));
    assert_eq!(posted(&ods, BAD).len(), 100);
}

#[tokio::test]
async fn a_silent_server_may_have_done_it() {
    let ods = start();
    let short = patient(Duration::from_millis(700), 3);
    let silent = |stall| Faults {
        stall,
        ..Faults::default()
    };
    let result = post_by(&short, &ods, silent(1), 1, &committing()).await;
    assert_eq!(errors(&result), [format!("{BROKEN} (no byte for 0.7 s)")]);
    assert_eq!((posted(&ods, BAD).len(), held(&ods, BAD, "new-")), (1, 1));
    let result = post_by(&short, &ods, silent(1), 1, &again()).await;
    assert_eq!(
        (texts(&result, "message"), attempts(&result)),
        (vec![None], vec![2])
    );
}

#[tokio::test]
async fn no_page_of_html_and_no_redirect_is_a_success() {
    let (ods, elsewhere) = (start(), start());
    let html = Faults {
        html: 1,
        ..Faults::default()
    };
    let result = post_to(&ods, html, 1, &again()).await;
    assert!(
        errors(&result)[0].starts_with("HTTP 200 OK: "),
        "{:?}",
        errors(&result)
    );
    assert_eq!(
        (statuses(&result), held(&ods, BAD, "new-")),
        (vec![Some(200)], 0)
    );
    // Neither to another server nor to the same.
    for root in [elsewhere.url(), String::new()] {
        let moved = Faults {
            redirect_to: Some(format!("{root}/{}/data/v3/ed-fi/students", DISTRICTS[0])),
            ..Faults::default()
        };
        let result = post_to(&ods, moved, 1, &again()).await;
        assert!(
            errors(&result)[0].starts_with("HTTP 302 Found: "),
            "{:?}",
            errors(&result)
        );
        assert_eq!(
            (statuses(&result), attempts(&result)),
            (vec![Some(302)], vec![1])
        );
        assert_eq!(posted(&ods, DISTRICTS[0]).len(), 0);
    }
    assert!(elsewhere.requests().is_empty());
    assert_eq!(held(&ods, BAD, "new-"), 0);
}

#[tokio::test]
async fn faults_of_writes_leave_reads_alone() {
    let ods = start();
    let faults = Faults {
        break_after: 1,
        writes_only: true,
        ..Faults::default()
    };
    let result = post_to(&ods, faults, 1, &committing()).await;
    assert_eq!(errors(&result), [BROKEN]);
    assert_eq!(held(&ods, BAD, "new-"), 1);
}

#[tokio::test]
async fn rows_that_were_not_sent_say_so() {
    let ods = sandbox()
        .latency(Duration::from_millis(20))
        .start()
        .expect("a sandbox");
    let districts = with_tokens(&ods).await;
    let df = posts(&districts, BAD, &students(200));
    ods.clear_requests();
    let control = Control::new();
    let options = PostOptions {
        batch: of_students(BatchOptions {
            control: control.clone(),
            workers: 4,
            ..BatchOptions::default()
        }),
        ..committing()
    };
    let call = tokio::spawn(async move { post(&client(), &df, &options).await });
    until("ten rows", || control.done() >= 10).await;
    control.cancel();
    let result = soon(call).await.expect("no panic");
    assert_eq!(
        (result.height(), control.total(), control.done()),
        (200, 200, 200)
    );
    let sent = posted(&ods, BAD).len();
    assert!((10..100).contains(&sent), "{sent}");
    let messages: Vec<String> = texts(&result, "message").into_iter().flatten().collect();
    assert_eq!(messages, vec!["not sent: interrupted"; 200 - sent]);
    assert_eq!(words(&result.tail(Some(1)), "status"), ["error"]);
    // What was in flight has its answer.
    assert_eq!(held(&ods, BAD, "new-"), sent);
    assert_eq!(attempts(&result).iter().sum::<u32>() as usize, sent);
}
