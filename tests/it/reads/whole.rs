//! Reads of servers that do nothing wrong, by every way of asking.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use polars::prelude::*;
use polars_edfi::{
    BatchOptions, Control, Error, GetAllOptions, OnShort, SchemaChoice, TokenOptions, blocking,
};
use serde_json::json;

use super::{assert_all_whole, read, small_pages};
use crate::support::{
    BAD, DISTRICTS, KEY, RESULTS, STUDENTS, assert_same, assert_whole, client, data_requests,
    failure, inferred, names, own, records, rows_of, sandbox, soon, start, statuses, texts,
    with_texts, with_tokens, words,
};

#[test]
fn defaults() {
    let options = GetAllOptions::default();
    assert_eq!(
        (options.limit, options.separator.as_str(), options.links),
        (500, ".", true)
    );
    assert_eq!(
        (options.on_short, options.snapshot),
        (OnShort::Error, false)
    );
    assert!(matches!(options.schema, SchemaChoice::Auto));
    assert!(options.params.is_empty() && options.explode.is_empty());
    assert_eq!(
        (options.min_change_version, options.max_change_version),
        (None, None)
    );

    let batch = options.batch;
    assert_eq!((batch.endpoint, batch.workers), (None, 8));
    assert_eq!(batch.skip_statuses, ["error", "warning"]);
    assert_eq!(batch.status_col, "row status");
    assert_eq!(
        (batch.url_col.as_str(), batch.token_col.as_str()),
        ("targetUrl", "EdFi Token")
    );
    assert_eq!(batch.refresh_cooldown.as_secs(), 30);
    let named = [
        batch.api_version_col,
        batch.auth_key_col,
        batch.auth_secret_col,
    ];
    assert_eq!(named, [None, None, None]);
    assert_eq!(
        (batch.oauth_endpoint, batch.expires_col, batch.row_id_col),
        (None, None, None)
    );
    assert!(!batch.control.is_cancelled());
}

#[test]
fn the_same_without_await() {
    let ods = start();
    let client: blocking::EdFiClient = client().into();
    let districts = ods.districts();
    let tokens =
        client.batch_fetch_tokens(&districts, KEY, "oauth/token", &TokenOptions::default());
    let tokens = tokens.expect("tokens");
    let token = tokens.column("EdFi Token").expect("a column").clone();
    let districts = districts.hstack(&[token]).expect("the same rows");
    let options = small_pages(BatchOptions::default());
    let df = client
        .batch_get_all(&districts, KEY, &options)
        .expect("a frame");
    assert_all_whole(&df, &ods);

    let client: blocking::EdFiClient = own(&ods, BAD).build().expect("a client").into();
    assert!(client.fetch_token().expect("a token").expires_at.is_some());
    let df = client.get_all(&options).expect("records");
    assert_same(&records(&df), &ods.items(BAD, RESULTS));
}

#[tokio::test]
async fn one_district_is_its_records_and_nothing_else() {
    let ods = start();
    let client = own(&ods, BAD).build().expect("a client");
    let df = soon(client.get_all(&small_pages(BatchOptions::default()))).await;
    let df = df.expect("records");
    assert_same(&records(&df), &ods.items(BAD, RESULTS));
    assert_eq!(names(&df)[0], "id");
    assert!(!names(&df).contains(&"status"));

    let batch = BatchOptions {
        endpoint: Some("/ed-fi/students/".into()),
        ..Default::default()
    };
    let df = soon(client.get_all(&small_pages(batch)))
        .await
        .expect("students");
    assert_same(&records(&df), &ods.items(BAD, STUDENTS));

    let batch = BatchOptions {
        endpoint: Some("ed-fi/nothing".into()),
        ..Default::default()
    };
    match soon(client.get_all(&small_pages(batch))).await {
        Err(Error::Http(failure)) => assert_eq!(failure.http_status, Some(404)),
        other => panic!("{other:?}"),
    }
    let wrong = own(&ods, BAD)
        .client_credentials("key", "not the secret")
        .build();
    let wrong = wrong.expect("a client");
    match soon(wrong.get_all(&small_pages(BatchOptions::default()))).await {
        Err(Error::Auth(failure)) => assert_eq!(
            failure.message,
            "auth error: HTTP 401: invalid_client; Invalid client id or secret."
        ),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_result_begins_with_the_same_columns_whatever_happened() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    let control = Control::new();
    let options = small_pages(BatchOptions {
        control: control.clone(),
        ..Default::default()
    });
    let df = read(&client(), &districts, &options).await;
    assert_all_whole(&df, &ods);
    assert_eq!(
        (control.total(), control.done(), control.records()),
        (3, 3, 120)
    );
    assert_eq!(statuses(&df), [Some(200); 120]);
    let failing = with_texts(&districts, "EdFi Token", [None; 3]);
    let failed = read(&client(), &failing, &options).await;
    let none = read(&client(), &districts.head(Some(0)), &options).await;
    for df in [&df, &failed, &none] {
        let first = df.columns()[..5].iter();
        let schema: Vec<_> = first
            .map(|one| (one.name().as_str(), one.dtype()))
            .collect();
        let expected = [
            (KEY, DataType::String),
            ("status", DataType::String),
            ("message", DataType::String),
            ("http_status", DataType::Int32),
            ("correlation_id", DataType::String),
        ];
        assert_eq!(
            schema,
            expected.each_ref().map(|(name, dtype)| (*name, dtype))
        );
    }
    assert_eq!((failed.height(), none.height()), (3, 0));
}

#[tokio::test]
async fn rows_that_cannot_be_sent_are_errors_of_their_own() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    let options = small_pages(BatchOptions::default());
    let url = ods.district_url(BAD).expect("a district");
    let token = words(&districts, "EdFi Token").remove(1);
    for (column, cell, message) in [
        ("EdFi Token", None, "missing 'EdFi Token'"),
        ("EdFi Token", Some("  "), "missing 'EdFi Token'"),
        ("EdFi Token", Some("wrong"), "auth error: HTTP 401"),
        ("targetUrl", None, "missing 'targetUrl'"),
        ("targetUrl", Some("not a url"), "'targetUrl': not a URL"),
        (
            "targetUrl",
            Some("http://192.0.2.1/ods"),
            "'targetUrl': credentials are not sent over",
        ),
        (
            "targetUrl",
            Some("http://127.0.0.1:1/ods"),
            "could not connect",
        ),
    ] {
        let mut cells: Vec<Option<String>> = texts(&districts, column);
        cells[1] = cell.map(str::to_owned);
        let broken = with_texts(&districts, column, cells.iter().map(Option::as_deref));
        let df = read(&client(), &broken, &options).await;
        let (found, _) = failure(&df, BAD);
        assert!(found.starts_with(message), "{found}");
        assert!(!found.contains(&token), "{found}");
        assert_whole(&df, &ods, DISTRICTS[0], RESULTS);
        assert_whole(&df, &ods, DISTRICTS[2], RESULTS);
    }
    // Spaces around a cell mean nothing.
    let spaced = format!(" {url}/ ");
    let urls = texts(&districts, "targetUrl");
    let urls = [urls[0].as_deref(), Some(&spaced), urls[2].as_deref()];
    let df = read(
        &client(),
        &with_texts(&districts, "targetUrl", urls),
        &options,
    )
    .await;
    assert_all_whole(&df, &ods);
}

#[tokio::test]
async fn each_district_is_read_once() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    let twice = districts.vstack(&districts).expect("the same columns");
    ods.clear_requests();
    let options = inferred();
    assert_all_whole(&read(&client(), &twice, &options).await, &ods);
    assert_eq!(ods.requests().len(), 3);

    // The same key with another URL is not read, and says so.
    let one_key = with_texts(&districts, KEY, [Some("a"), Some("a"), Some(" ")]);
    let df = read(&client(), &one_key, &options).await;
    assert_eq!(df.height(), 41);
    assert_eq!(rows_of(&df, "a").height(), 41);
    let messages: Vec<String> = texts(&df, "message").into_iter().flatten().collect();
    assert!(messages[0].starts_with("not read: "), "{messages:?}");

    // Rows that are done with take no part.
    let mut skipped = districts.clone();
    let status = Column::new("row status".into(), [Some("error"), None, Some("warning")]);
    skipped.with_column(status).expect("three rows");
    let df = read(&client(), &skipped, &options).await;
    assert_eq!(df.height(), 40);
    assert_whole(&df, &ods, BAD, RESULTS);
}

#[tokio::test]
async fn the_query_holds_what_was_asked_for() {
    let ods = start();
    let client = own(&ods, BAD).build().expect("a client");
    let item = ods.items(BAD, RESULTS).swap_remove(7);
    let student = item["studentReference"]["studentUniqueId"]
        .as_str()
        .expect("a student");
    let mut options = small_pages(BatchOptions::default());
    options.params = vec![("studentUniqueId".into(), student.into())];
    let df = soon(client.get_all(&options)).await.expect("records");
    assert!(
        words(&df, "studentReference.studentUniqueId")
            .iter()
            .all(|id| id == student)
    );
    assert!(words(&df, "id").contains(&item["id"].as_str().expect("an id").to_owned()));

    options.params = vec![("Limit".into(), "1".into())];
    assert!(matches!(
        soon(client.get_all(&options)).await,
        Err(Error::Config(_))
    ));

    options.params.clear();
    options.min_change_version = Some(5);
    options.max_change_version = Some(9_000_000);
    ods.clear_requests();
    soon(client.get_all(&options)).await.expect("records");
    let query = &data_requests(&ods, BAD)[0].query;
    for part in [
        "minChangeVersion=5",
        "maxChangeVersion=9000000",
        "offset=0",
        "limit=11",
    ] {
        assert!(query.contains(part), "{query}");
    }

    options.snapshot = true;
    assert!(matches!(
        soon(client.get_all(&options)).await,
        Err(Error::Http(_))
    ));
    options.min_change_version = None;
    ods.take_snapshot(BAD);
    ods.load(BAD, RESULTS, []).expect("nothing");
    assert_eq!(
        soon(client.get_all(&options))
            .await
            .expect("records")
            .height(),
        40
    );
}

#[tokio::test]
async fn columns_as_they_were_asked_for() {
    let ods = start();
    let record = json!({
        "id": "0000000000000000000000000000000a",
        "status": "Active",
        "studentReference": {"studentUniqueId": "1", "link": {"rel": "Student", "href": "/x"}},
        "scoreResults": [{"result": "18"}, {"result": "19"}],
        "rate": 1.5,
    });
    ods.load(BAD, RESULTS, [record, json!({"status": null})])
        .expect("records");
    let districts = with_tokens(&ods).await.slice(1, 1);
    let options = GetAllOptions {
        links: false,
        separator: "/".into(),
        explode: vec!["scoreResults".into()],
        ..inferred()
    };
    let df = read(&client(), &districts, &options).await;
    assert_eq!(df.height(), 3);
    let results = [Some("18".to_owned()), Some("19".to_owned()), None];
    assert_eq!(texts(&df, "scoreResults/result"), results);
    assert_eq!(texts(&df, "status"), [None, None, None]);
    assert_eq!(texts(&df, "status_record")[0].as_deref(), Some("Active"));
    assert!(names(&df).contains(&"studentReference/studentUniqueId"));
    assert!(!names(&df).iter().any(|name| name.contains("link")));

    let columns = [("rate", DataType::Float64), ("status", DataType::String)];
    let schema = columns.map(|(name, dtype)| Field::new(name.into(), dtype));
    let options = GetAllOptions {
        schema: SchemaChoice::Given(Schema::from_iter(schema)),
        ..inferred()
    };
    let df = read(&client(), &districts, &options).await;
    assert_eq!(names(&df)[5..], ["rate", "status_record", "_unknown"]);
    let rest: serde_json::Value = serde_json::from_str(&words(&df, "_unknown")[0]).expect("JSON");
    assert_eq!(
        rest["scoreResults"],
        json!([{"result": "18"}, {"result": "19"}])
    );
    assert_eq!(rest["studentReference"]["studentUniqueId"], "1");
    assert_eq!(rest.get("rate"), None);
}

#[tokio::test]
async fn records_are_put_together_off_the_callers_executor() {
    const RECORDS: u64 = 40_000;
    let builder = sandbox().districts([BAD]).page_limit(5_000);
    let ods = builder.start().expect("a sandbox");
    let records =
        (0..RECORDS).map(|n| json!({"n": n, "text": format!("record {n}"), "of": {"m": n}}));
    ods.load(BAD, RESULTS, records).expect("records");
    let client = own(&ods, BAD).build().expect("a client");
    let control = Control::new();
    let options = GetAllOptions {
        batch: BatchOptions {
            control: control.clone(),
            ..BatchOptions::default()
        },
        limit: 5_000,
        ..inferred()
    };
    // Another task of the same thread: how often is it its turn when all records have come?
    let turns = Arc::new(AtomicU64::new(0));
    let other = tokio::spawn({
        let turns = turns.clone();
        async move {
            loop {
                if control.records() == RECORDS {
                    turns.fetch_add(1, Ordering::Relaxed);
                }
                tokio::task::yield_now().await;
            }
        }
    });
    let df = soon(client.get_all(&options)).await.expect("records");
    other.abort();
    assert_eq!(df.height() as u64, RECORDS);
    assert!(turns.load(Ordering::Relaxed) > 10, "{turns:?}");
}
