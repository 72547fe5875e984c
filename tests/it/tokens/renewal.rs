//! Tokens that end or are refused while a batch runs.

use std::time::{Duration, Instant};

use polars::prelude::*;
use polars_edfi::sandbox::{Faults, Sandbox};
use polars_edfi::{BatchOptions, EdFiClient, GetAllOptions};

use crate::support::{
    BAD, DISTRICTS, KEY, RESULTS, assert_whole, client, data_requests, failure, inferred, own,
    renewing, rows_of, sandbox, soon, start, texts, token_requests, with_texts, with_tokens,
};

async fn read(districts: &DataFrame, limit: usize, batch: BatchOptions) -> DataFrame {
    read_by(&client(), districts, limit, batch).await
}

async fn read_by(
    client: &EdFiClient,
    districts: &DataFrame,
    limit: usize,
    batch: BatchOptions,
) -> DataFrame {
    let options = GetAllOptions {
        batch,
        limit,
        ..inferred()
    };
    soon(client.batch_get_all(districts, KEY, &options))
        .await
        .expect("a frame")
}

fn all_token_requests(ods: &Sandbox) -> [usize; 3] {
    DISTRICTS.map(|district| token_requests(ods, district))
}

fn refused(ods: &Sandbox) -> usize {
    let requests = ods.requests();
    requests
        .iter()
        .filter(|request| request.token_accepted == Some(false))
        .count()
}

fn assert_all_whole(df: &DataFrame, ods: &Sandbox) {
    for district in DISTRICTS {
        assert_whole(df, ods, district, RESULTS);
    }
}

#[tokio::test]
async fn a_revoked_token_is_renewed_once_for_all_pages() {
    let builder = sandbox().records(200).latency(Duration::from_millis(5));
    let ods = builder.start().expect("a sandbox");
    let districts = with_tokens(&ods).await;
    ods.revoke_tokens(BAD);
    ods.clear_requests();
    assert_all_whole(&read(&districts, 5, renewing()).await, &ods);
    assert_eq!(all_token_requests(&ods), [0, 1, 0]);

    // Many pages are refused at once.
    let districts = with_tokens(&ods).await;
    let ends = Faults {
        expire_after: Some(4),
        ..Faults::default()
    };
    ods.set_faults(BAD, ends);
    ods.clear_requests();
    assert_all_whole(&read(&districts, 5, renewing()).await, &ods);
    assert_eq!(all_token_requests(&ods), [0, 1, 0]);
    assert!(refused(&ods) <= 8);
}

#[tokio::test]
async fn a_clients_own_token_is_renewed_too() {
    let ods = start();
    let client = own(&ods, BAD).build().expect("a client");
    let options = GetAllOptions {
        limit: 5,
        ..inferred()
    };
    soon(client.fetch_token()).await.expect("a token");
    ods.revoke_tokens(BAD);
    ods.clear_requests();
    let df = soon(client.get_all(&options)).await.expect("records");
    assert_eq!((df.height(), token_requests(&ods, BAD)), (40, 1));
}

#[tokio::test]
async fn tokens_that_live_for_two_seconds_do() {
    let builder = sandbox()
        .token_lifetime(Duration::from_secs(2))
        .latency(Duration::from_millis(60));
    let ods = builder.start().expect("a sandbox");
    let districts = with_tokens(&ods).await;
    ods.clear_requests();
    let begin = Instant::now();
    let batch = BatchOptions {
        workers: 2,
        ..renewing()
    };
    assert_all_whole(&read(&districts, 1, batch).await, &ods);
    assert!(begin.elapsed() > Duration::from_secs(3));
    for requests in all_token_requests(&ods) {
        assert!(
            (1..=4).contains(&requests),
            "{:?}",
            all_token_requests(&ods)
        );
    }
}

#[tokio::test]
async fn a_token_whose_time_is_over_is_not_sent() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    let with_ends = |ends: Column| {
        let mut df = districts.clone();
        df.with_column(ends.with_name("end".into()))
            .expect("three rows");
        df
    };
    let past = Int64Chunked::from_slice("end".into(), &[1_000_000; 3]);
    let past = past.into_datetime(TimeUnit::Microseconds, Some(TimeZone::UTC));
    for (ends, renewals) in [
        (past.into_column(), 1),
        (Column::new("end".into(), [1_000_000_000_i64; 3]), 1),
        (Column::new("end".into(), ["1000000000.5"; 3]), 1),
        (Column::new("end".into(), [4_000_000_000.0; 3]), 0),
        (Column::full_null("end".into(), 3, &DataType::Float64), 0),
        (
            districts
                .column("token_expires_at")
                .expect("a column")
                .clone(),
            0,
        ),
    ] {
        // Another one than the process has, so that it cannot serve.
        let tokens = with_tokens(&ods).await;
        let tokens = tokens.column("EdFi Token").expect("a column").clone();
        let mut df = with_ends(ends);
        df.with_column(tokens).expect("three rows");
        ods.clear_requests();
        let batch = BatchOptions {
            expires_col: Some("end".into()),
            ..renewing()
        };
        assert_all_whole(&read(&df, 10, batch).await, &ods);
        assert_eq!(
            (all_token_requests(&ods), refused(&ods)),
            ([renewals; 3], 0)
        );
    }
}

#[tokio::test]
async fn a_missing_token_is_fetched_first() {
    let ods = start();
    let districts = with_texts(&ods.districts(), "EdFi Token", [None, Some(" "), None]);
    assert_all_whole(&read(&districts, 10, renewing()).await, &ods);
    assert_eq!(all_token_requests(&ods), [1, 1, 1]);
    // Nor need there be a column; by now the process has the tokens.
    assert_all_whole(&read(&ods.districts(), 10, renewing()).await, &ods);
    assert_eq!(all_token_requests(&ods), [1, 1, 1]);
}

#[tokio::test]
async fn a_kept_token_that_is_dead_too_is_not_the_end() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    // The process has newer tokens than the frame; the server has forgotten all of them.
    with_tokens(&ods).await;
    for district in DISTRICTS {
        ods.revoke_tokens(district);
    }
    ods.clear_requests();
    assert_all_whole(&read(&districts, 10, renewing()).await, &ods);
    assert_eq!(all_token_requests(&ods), [1, 1, 1]);
}

#[tokio::test]
async fn why_a_token_was_not_renewed() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    ods.revoke_tokens(BAD);
    let with_cell = |column: &str, cell: Option<&str>| {
        let mut cells = texts(&districts, column);
        cells[1] = cell.map(str::to_owned);
        with_texts(&districts, column, cells.iter().map(Option::as_deref))
    };
    let without_endpoint = BatchOptions {
        oauth_endpoint: None,
        ..renewing()
    };
    for (df, batch, message) in [
        (districts.clone(), BatchOptions::default(), ""),
        (
            with_cell("oAuthKey", None),
            renewing(),
            " (re-auth not possible: empty 'oAuthKey')",
        ),
        (
            districts.clone(),
            without_endpoint,
            " (re-auth not possible: oauth_endpoint not set)",
        ),
        (
            with_cell("oAuthSecret", Some("wrong")),
            renewing(),
            "; auth refresh failed: auth error: HTTP 401: invalid_client; \
             Invalid client id or secret.",
        ),
    ] {
        let df = read(&df, 50, batch).await;
        let expected = format!("auth error: HTTP 401{message}");
        assert_eq!(failure(&df, BAD), (expected, Some(401)));
        assert_whole(&df, &ods, DISTRICTS[0], RESULTS);
        assert_whole(&df, &ods, DISTRICTS[2], RESULTS);
    }
    let nameless = with_texts(&districts, "EdFi Token", [None; 3]);
    let wrong = with_texts(&nameless, "oAuthSecret", [Some("wrong"); 3]);
    let df = read(&wrong, 50, renewing()).await;
    let message = "auth refresh failed: auth error: HTTP 401: invalid_client; Invalid client id or \
                   secret.";
    assert_eq!(failure(&df, BAD).0, message);
}

#[tokio::test]
async fn a_server_that_refuses_every_token_is_given_up() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    let refusing = Faults {
        refuse_tokens: true,
        ..Faults::default()
    };
    ods.set_faults(BAD, refusing);
    ods.clear_requests();
    let begin = Instant::now();
    let df = read(&districts, 10, renewing()).await;
    assert!(begin.elapsed() < Duration::from_secs(10));
    assert_eq!(
        failure(&df, BAD),
        ("auth error: HTTP 401".to_owned(), Some(401))
    );
    assert_eq!(rows_of(&df, DISTRICTS[0]).height(), 40);
    // The token of the frame and the new one, once each.
    assert_eq!(
        (data_requests(&ods, BAD).len(), all_token_requests(&ods)),
        (2, [0, 1, 0])
    );
}

#[tokio::test]
async fn the_tokens_of_a_client_are_within_the_limit_of_the_server() {
    let ods = sandbox().token_limit(2).start().expect("a sandbox");
    let districts = with_tokens(&ods).await;
    let blank = with_texts(&districts, "EdFi Token", [None; 3]);
    for limit in [1, 7, 40] {
        assert_all_whole(&read(&blank, limit, renewing()).await, &ods);
    }
    assert_eq!(all_token_requests(&ods), [1, 1, 1]);
    let own = own(&ods, BAD).build().expect("a client");
    let options = inferred();
    assert_eq!(
        soon(own.get_all(&options)).await.expect("records").height(),
        40
    );
    assert_eq!(all_token_requests(&ods), [1, 1, 1]);
}
