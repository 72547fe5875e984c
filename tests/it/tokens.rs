//! Tokens: fetched for a frame of accounts, kept for the process, renewed while a batch runs.

mod cache;
mod renewal;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use polars::prelude::*;
use polars_edfi::sandbox::Faults;
use polars_edfi::{Control, EdFiClient, Error, TokenOptions};

use crate::support::{
    BAD, DISTRICTS, KEY, client, names, own, patient, sandbox, soon, start, texts, token_requests,
    with_texts, words,
};

async fn fetch(client: &EdFiClient, df: &DataFrame) -> DataFrame {
    let options = TokenOptions::default();
    let call = client.batch_fetch_tokens(df, KEY, "oauth/token", &options);
    soon(call).await.expect("a frame")
}

/// The message of the account in the middle; the others have their tokens.
fn failed(tokens: &DataFrame) -> String {
    let is_error = [None, Some("error".to_owned()), None];
    assert_eq!(texts(tokens, "row status"), is_error);
    let has_token = texts(tokens, "EdFi Token")
        .iter()
        .map(Option::is_some)
        .collect::<Vec<_>>();
    assert_eq!(has_token, [true, false, true]);
    let ends = tokens.column("token_expires_at").expect("a column");
    assert_eq!(ends.null_count(), 1);
    texts(tokens, "message")[1].clone().expect("a message")
}

#[test]
fn defaults() {
    let options = TokenOptions::default();
    assert_eq!(options.workers, 8);
    assert_eq!(options.skip_statuses, ["error", "warning"]);
    assert_eq!(options.status_col, "row status");
    assert_eq!(
        (options.url_col, options.key_col),
        ("targetUrl".into(), "oAuthKey".into())
    );
    assert_eq!(options.secret_col, "oAuthSecret");
    assert_eq!(options.token_col, "EdFi Token");
    assert_eq!(options.expires_col, "token_expires_at");
}

#[tokio::test]
async fn an_account_is_one_row_without_its_secret() {
    let ods = sandbox()
        .token_lifetime(Duration::from_secs(600))
        .start()
        .expect("a sandbox");
    let before = SystemTime::now();
    let tokens = fetch(&client(), &ods.districts()).await;
    let utc = DataType::Datetime(TimeUnit::Microseconds, Some(TimeZone::UTC));
    let expected = [
        (KEY, DataType::String),
        ("oAuthKey", DataType::String),
        ("EdFi Token", DataType::String),
        ("token_expires_at", utc),
        ("row status", DataType::String),
        ("message", DataType::String),
    ];
    for (column, (name, dtype)) in tokens.columns().iter().zip(&expected) {
        assert_eq!((column.name().as_str(), column.dtype()), (*name, dtype));
    }
    assert_eq!(tokens.width(), expected.len());
    assert_eq!(words(&tokens, KEY), DISTRICTS);
    assert_eq!(
        words(&tokens, "oAuthKey"),
        words(&ods.districts(), "oAuthKey")
    );
    assert_eq!(texts(&tokens, "message"), [None, None, None]);
    let shown = format!("{tokens:?}");
    for secret in words(&ods.districts(), "oAuthSecret") {
        assert!(!shown.contains(&secret));
    }
    let ends = tokens.column("token_expires_at").expect("a column");
    let ends = ends.datetime().expect("points in time").physical().iter();
    let earliest = before
        .duration_since(UNIX_EPOCH)
        .expect("a time")
        .as_micros() as i64;
    for end in ends.flatten() {
        let lifetime = (end - earliest) / 1_000_000;
        assert!((600..660).contains(&lifetime), "{lifetime} s");
    }
    // The same columns where there is nothing to do.
    let none = fetch(&client(), &ods.districts().head(Some(0))).await;
    assert_eq!((none.schema(), none.height()), (tokens.schema(), 0));
}

#[tokio::test]
async fn a_refused_account_is_an_error_of_its_own() {
    let ods = start();
    let districts = ods.districts();
    let (key, secret) = ods.credentials(BAD).expect("a district");
    for (column, cell, message) in [
        (
            "oAuthSecret",
            Some("not the secret"),
            "auth error: HTTP 401",
        ),
        ("oAuthKey", Some("not the key"), "auth error: HTTP 401"),
        ("oAuthSecret", None, "missing 'oAuthSecret'"),
        ("oAuthKey", Some(" "), "missing 'oAuthKey'"),
        ("targetUrl", None, "missing 'targetUrl'"),
        ("targetUrl", Some("127.0.0.1"), "not a URL: "),
        (
            "targetUrl",
            Some("http://192.0.2.1/ods"),
            "credentials are not sent over plain http",
        ),
        (
            "targetUrl",
            Some("http://127.0.0.1:1/ods"),
            "could not connect",
        ),
    ] {
        let mut cells = texts(&districts, column);
        cells[1] = cell.map(str::to_owned);
        let broken = with_texts(&districts, column, cells.iter().map(Option::as_deref));
        let found = failed(&fetch(&patient(Duration::from_secs(20), 1), &broken).await);
        assert!(found.starts_with(message), "{found}");
        assert!(
            !found.contains(&secret) && !found.contains("not the secret"),
            "{found}"
        );
    }
    let client = own(&ods, BAD)
        .client_credentials(key, "not the secret")
        .build();
    match soon(client.expect("a client").fetch_token()).await {
        Err(Error::Auth(failure)) => {
            assert_eq!(
                failure.message,
                "auth error: HTTP 401: invalid_client; Invalid client id or secret."
            );
            assert_eq!(failure.http_status, Some(401));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_token_endpoint_in_trouble_is_asked_again() {
    let ods = start();
    let faults = |token_statuses: Vec<u16>| Faults {
        token_statuses,
        ..Faults::default()
    };
    ods.set_faults(BAD, faults(vec![503, 500]));
    let tokens = fetch(&client(), &ods.districts()).await;
    assert_eq!(texts(&tokens, "message"), [None, None, None]);
    assert_eq!(token_requests(&ods, BAD), 3);
    ods.set_faults(BAD, faults(vec![500; 100]));
    let message = failed(&fetch(&client(), &ods.districts()).await);
    assert!(
        message.starts_with("HTTP 500 Internal Server Error"),
        "{message}"
    );
    assert_eq!(token_requests(&ods, BAD), 3 + 4);
}

#[tokio::test]
async fn each_account_is_asked_for_once() {
    let ods = start();
    let districts = ods.districts();
    let twice = districts.vstack(&districts).expect("the same columns");
    let mut keys = texts(&twice, KEY);
    keys[0] = Some("  ".into());
    let df = with_texts(&twice, KEY, keys.iter().map(Option::as_deref));
    let tokens = fetch(&client(), &df).await;
    assert_eq!(
        words(&tokens, KEY),
        [DISTRICTS[1], DISTRICTS[2], DISTRICTS[0]]
    );
    assert_eq!(
        DISTRICTS.map(|district| token_requests(&ods, district)),
        [1, 1, 1]
    );

    let mut done = districts.clone();
    let status = Column::new("row status".into(), [Some("warning"), None, Some("error")]);
    done.with_column(status).expect("three rows");
    assert_eq!(words(&fetch(&client(), &done).await, KEY), [BAD]);
}

#[tokio::test]
async fn other_names_and_the_clients_own_account() {
    let ods = start();
    let mut df = ods.districts();
    for (old, new) in [
        ("targetUrl", "url"),
        ("oAuthKey", "user"),
        ("oAuthSecret", "password"),
    ] {
        df.rename(old, new.into()).expect("a column");
    }
    let control = Control::new();
    let options = TokenOptions {
        workers: 1,
        status_col: "state".into(),
        url_col: "url".into(),
        key_col: "user".into(),
        secret_col: "password".into(),
        token_col: "token".into(),
        expires_col: "end".into(),
        control: control.clone(),
        ..TokenOptions::default()
    };
    // A column that was named must be there.
    let missing = soon(client().batch_fetch_tokens(&df, KEY, "oauth/token", &options)).await;
    assert!(
        matches!(missing, Err(Error::ColumnNotFound(_))),
        "{missing:?}"
    );
    df.with_column(Column::full_null("state".into(), 3, &DataType::String))
        .expect("rows");
    let token_url = format!("{}/oauth/token", ods.district_url(BAD).expect("a district"));
    let tokens = soon(client().batch_fetch_tokens(&df, KEY, &token_url, &options)).await;
    let tokens = tokens.expect("a frame");
    assert_eq!(
        names(&tokens),
        [KEY, "user", "token", "end", "state", "message"]
    );
    // One endpoint for all: it knows only one of the accounts.
    let message = "auth error: HTTP 401: invalid_client; Invalid client id or secret.";
    let message = Some(message.to_owned());
    assert_eq!(texts(&tokens, "message"), [message.clone(), None, message]);
    assert_eq!((control.total(), control.done()), (3, 3));
    assert_eq!(ods.max_in_flight(), 1);

    let accounts = DataFrame::new(1, vec![Column::new(KEY.into(), ["mine"])]).expect("a frame");
    let tokens = fetch(&own(&ods, BAD).build().expect("a client"), &accounts).await;
    assert_eq!(
        words(&tokens, "oAuthKey"),
        [ods.credentials(BAD).expect("a district").0]
    );
    assert!(texts(&tokens, "EdFi Token")[0].is_some());
}

#[tokio::test]
async fn a_stopped_call_accounts_for_all() {
    let ods = start();
    let options = TokenOptions::default();
    options.control.cancel();
    let districts = ods.districts();
    let client = client();
    let call = client.batch_fetch_tokens(&districts, KEY, "oauth/token", &options);
    let tokens = soon(call).await.expect("a frame");
    assert_eq!(words(&tokens, "message"), ["not sent: interrupted"; 3]);
    assert_eq!(words(&tokens, "row status"), ["error"; 3]);
    assert!(ods.requests().is_empty());
}
