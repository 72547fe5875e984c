//! A payload frame in, a result frame out.

use std::time::Duration;

use polars::prelude::*;
use polars_edfi::columns::unflatten;
use polars_edfi::sandbox::Faults;
use polars_edfi::{BatchOptions, EdFiClient, Error, GetAllOptions, PostOptions};
use serde_json::json;

use super::{
    attempts, committing, dtypes, errors, held, of_students, payloads, post, posted, posts,
    row_index, rows_with, student, students,
};
use crate::support::{
    BAD, DISTRICTS, KEY, RESULTS, STUDENTS, client, leaves, own, renewing, sandbox, soon, start,
    statuses, texts, token_requests, with_texts, with_tokens, words,
};

#[test]
fn defaults() {
    let options = PostOptions::default();
    assert!(!options.commit && !options.keep_server_fields && !options.retry_broken);
    assert_eq!((options.order_by_col, options.max_retries), (None, 2));
    assert_eq!(options.retry_backoff, Duration::from_secs(1));
    assert!(options.retry_statuses.is_empty() && options.retry_messages.is_empty());
    assert!(options.allow_statuses.is_empty());
    assert_eq!((options.batch.workers, options.batch.endpoint), (8, None));
}

#[tokio::test]
async fn a_dry_run_sends_nothing() {
    let ods = start();
    // Not even credentials are asked for.
    let df = posts(&ods.districts(), BAD, &students(3));
    let mut options = committing();
    options.commit = false;
    let dry = post(
        &EdFiClient::builder().build().expect("a client"),
        &df,
        &options,
    )
    .await;
    assert_eq!(words(&dry, "status"), ["dry_run"; 3]);
    assert_eq!(
        (statuses(&dry), attempts(&dry)),
        (vec![None; 3], vec![0; 3])
    );
    assert!(ods.requests().is_empty());
    let one = soon(
        own(&ods, BAD)
            .build()
            .expect("a client")
            .post_payload("{}", &options),
    )
    .await;
    let one = one.expect("an outcome");
    assert_eq!((one.status.as_deref(), one.attempts), (Some("dry_run"), 0));
    assert!(ods.requests().is_empty());
}

#[tokio::test]
async fn payloads_create_and_then_update() {
    let ods = sandbox().keep_bodies(true).start().expect("a sandbox");
    let districts = with_tokens(&ods).await;
    // Sent as it stands here, spaces and all.
    let bodies: Vec<String> = students(20)
        .iter()
        .map(|text| format!(" {}\r\n", text.replace(',', " ,\n\t")))
        .collect();
    let mut df = posts(&districts, BAD, &bodies);
    let numbers: Vec<i16> = (100..120).collect();
    df.with_column(Column::new("line".into(), numbers.clone()))
        .expect("rows");
    let mut options = committing();
    options.batch.row_id_col = Some("line".into());
    ods.clear_requests();
    for status in [201, 200] {
        let result = post(&client(), &df, &options).await;
        let expected = [
            ("key", DataType::String),
            ("status", DataType::String),
            ("message", DataType::String),
            ("http_status", DataType::Int32),
            ("correlation_id", DataType::String),
            ("resource_id", DataType::String),
            ("attempts", DataType::UInt32),
            ("row_index", IDX_DTYPE),
            ("row_id", DataType::Int16),
        ];
        assert_eq!(dtypes(&result), expected);
        assert_eq!(texts(&result, "status"), [const { None }; 20]);
        assert_eq!(statuses(&result), [Some(status); 20]);
        assert_eq!(
            (attempts(&result), words(&result, "key")),
            (vec![1; 20], vec![BAD.into(); 20])
        );
        assert_eq!(row_index(&result), (0..20).collect::<Vec<_>>());
        let row_id = result
            .column("row_id")
            .expect("a column")
            .i16()
            .expect("Int16");
        assert_eq!(row_id.iter().flatten().collect::<Vec<_>>(), numbers);
        for (id, body) in words(&result, "resource_id").iter().zip(&bodies) {
            let items = ods.items(BAD, STUDENTS);
            let item = items
                .iter()
                .find(|item| item["id"] == id.as_str())
                .expect("the item");
            assert!(body.contains(item["studentUniqueId"].as_str().expect("an id")));
        }
    }
    let mut sent: Vec<String> = posted(&ods, BAD)
        .into_iter()
        .map(|(body, _)| body)
        .collect();
    let mut expected = [bodies.clone(), bodies].concat();
    sent.sort();
    expected.sort();
    assert_eq!(sent, expected);
    assert_eq!(posted(&ods, DISTRICTS[0]).len(), 0);
}

#[tokio::test]
async fn a_row_that_cannot_be_sent_stops_no_other() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    let good = student("new-1").to_string();
    let bad_date = json!({"studentUniqueId": "new-2", "birthDate": "soon", "firstName": "A"});
    let cells = [
        Some(good.as_str()),
        Some("{\"studentUniqueId\": "),
        Some("[{}]"),
        Some("\"text\""),
        None,
        Some("  "),
        Some(&bad_date.to_string()),
        Some(&student("new-3").to_string()),
    ]
    .map(|cell| cell.map(str::to_owned));
    let df = payloads(&districts, BAD, cells.iter().map(Option::as_deref));
    ods.clear_requests();
    let result = post(&client(), &df, &committing()).await;
    assert_eq!(row_index(&result), (0..8).collect::<Vec<_>>());
    assert_eq!(attempts(&result), [1, 0, 0, 0, 0, 0, 1, 1]);
    let messages = texts(&result, "message");
    for (row, message) in [
        (1, "invalid JSON: "),
        (2, "invalid JSON: "),
        (3, "invalid JSON: "),
        (4, "missing 'payload'"),
        (5, "missing 'payload'"),
        (6, "HTTP 400 Bad Request: "),
    ] {
        let found = messages[row].as_deref().expect("a message");
        assert!(found.starts_with(message), "{row}: {found}");
    }
    assert!(
        messages[6]
            .as_deref()
            .expect("a message")
            .contains("LastSurname is required.")
    );
    assert!(texts(&result, "correlation_id")[6].is_some());
    assert_eq!(
        (messages[0].as_deref(), messages[7].as_deref()),
        (None, None)
    );
    assert_eq!((posted(&ods, BAD).len(), held(&ods, BAD, "new-")), (3, 2));
}

#[tokio::test]
async fn rows_go_to_their_own_districts_with_their_own_tokens() {
    let (ods, elsewhere) = (start(), start());
    let districts = with_tokens(&ods).await;
    let one = students(1);
    let df = posts(&districts, DISTRICTS[0], &one);
    let df = df
        .vstack(&posts(&districts, DISTRICTS[1], &one))
        .expect("the same columns");
    let df = df
        .vstack(&posts(&districts, DISTRICTS[2], &one))
        .expect("the same columns");
    // The client has an ODS and credentials of its own, which no row is sent to.
    let client = own(&elsewhere, BAD).build().expect("a client");
    let mut urls = texts(&df, "targetUrl");
    urls[1] = None;
    let mut tokens = texts(&df, "EdFi Token");
    tokens[2] = None;
    let broken = with_texts(&df, "targetUrl", urls.iter().map(Option::as_deref));
    let broken = with_texts(&broken, "EdFi Token", tokens.iter().map(Option::as_deref));
    let result = post(&client, &broken, &committing()).await;
    let expected = [
        None,
        Some("missing 'targetUrl'"),
        Some("missing 'EdFi Token'"),
    ];
    let messages = texts(&result, "message");
    assert_eq!(
        messages.iter().map(Option::as_deref).collect::<Vec<_>>(),
        expected
    );
    assert_eq!(
        DISTRICTS.map(|district| held(&ods, district, "new-")),
        [1, 0, 0]
    );

    // Nor do its credentials go to the rows' ODS.
    ods.clear_requests();
    let bare = broken.drop("EdFi Token").expect("columns");
    let result = post(&client, &bare, &committing()).await;
    assert!(errors(&result)[0].contains("go to its own base_url only"));
    assert!(ods.requests().is_empty() && elsewhere.requests().is_empty());

    // Rows without a URL column are the client's own.
    let mine = bare.drop("targetUrl").expect("columns");
    let result = post(&client, &mine, &committing()).await;
    assert_eq!(texts(&result, "message"), [None, None, None]);
    assert_eq!(
        (held(&elsewhere, BAD, "new-"), ods.requests().len()),
        (1, 0)
    );
}

#[tokio::test]
async fn skipped_rows_keep_the_places_of_the_others() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    let mut df = posts(&districts, BAD, &students(4));
    let status = [Some("error"), None, Some("warning"), Some("fine")];
    df.with_column(Column::new("row status".into(), status))
        .expect("rows");
    let result = post(&client(), &df, &committing()).await;
    assert_eq!(
        (row_index(&result), held(&ods, BAD, "new-")),
        (vec![1, 3], 2)
    );
    let empty = post(&client(), &df.head(Some(0)), &committing()).await;
    assert_eq!((dtypes(&empty), empty.height()), (dtypes(&result), 0));
}

#[tokio::test]
async fn what_is_wrong_with_the_call_is_said_before_anything_is_sent() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    let df = posts(&districts, BAD, &students(2));
    ods.clear_requests();
    let with = |change: &dyn Fn(&mut PostOptions)| {
        let mut options = committing();
        change(&mut options);
        options
    };
    let client = client();
    for options in [
        with(&|options| options.retry_statuses = vec![500, 401]),
        with(&|options| options.batch.workers = 0),
        with(&|options| options.batch.endpoint = Some("../x".into())),
        with(&|options| options.order_by_col = Some("nowhere".into())),
        with(&|options| options.batch.row_id_col = Some("nowhere".into())),
        with(&|options| options.batch.token_col = "nowhere".into()),
        with(&|options| options.batch.auth_key_col = Some("nowhere".into())),
    ] {
        let result = soon(client.batch_post_payload(&df, "payload", KEY, &options)).await;
        let is_told = matches!(result, Err(Error::Config(_) | Error::ColumnNotFound(_)));
        assert!(is_told, "{result:?}");
    }
    let options = committing();
    for (payload_col, key_col) in [("nowhere", KEY), ("payload", "nowhere")] {
        let result = soon(client.batch_post_payload(&df, payload_col, key_col, &options)).await;
        assert!(
            matches!(result, Err(Error::ColumnNotFound(_))),
            "{result:?}"
        );
    }
    let mut numbers = df.clone();
    numbers
        .with_column(Column::new("payload".into(), [1, 2]))
        .expect("rows");
    let result = soon(client.batch_post_payload(&numbers, "payload", KEY, &options)).await;
    assert!(matches!(result, Err(Error::ColumnType(_))), "{result:?}");
    assert!(ods.requests().is_empty());
}

#[tokio::test]
async fn rows_of_one_key_keep_their_order() {
    let ods = sandbox()
        .keep_bodies(true)
        .latency(Duration::from_millis(3))
        .start();
    let ods = ods.expect("a sandbox");
    let districts = with_tokens(&ods).await;
    // Five students, each sent ten times with another name.
    let mut bodies = Vec::new();
    for turn in 0..10 {
        for number in 0..5 {
            let mut body = student(&format!("new-{number}"));
            body["firstName"] = format!("{turn}").into();
            bodies.push(body);
        }
    }
    let rows: Vec<String> = bodies.iter().map(ToString::to_string).collect();
    let mut df = posts(&districts, BAD, &rows);
    let keys: Vec<&str> = bodies
        .iter()
        .map(|body| body["studentUniqueId"].as_str().expect("an id"))
        .collect();
    df.with_column(Column::new("student".into(), keys))
        .expect("rows");
    let options = PostOptions {
        order_by_col: Some("student".into()),
        ..committing()
    };
    ods.clear_requests();
    let result = post(&client(), &df, &options).await;
    assert_eq!(row_index(&result), (0..50).collect::<Vec<_>>());
    assert_eq!(statuses(&result)[..5], [Some(201); 5]);
    assert_eq!(statuses(&result)[5..], [Some(200); 45]);
    assert_eq!(ods.max_in_flight(), 5);
    for number in 0..5 {
        let id = format!("\"new-{number}\"");
        let sent = posted(&ods, BAD)
            .into_iter()
            .filter(|(body, _)| body.contains(&id));
        let expected = rows.iter().filter(|body| body.contains(&id));
        assert!(sent.map(|(body, _)| body).eq(expected.cloned()));
    }
}

#[tokio::test]
async fn tokens_are_renewed_once_for_all_rows() {
    let ods = sandbox()
        .latency(Duration::from_millis(3))
        .start()
        .expect("a sandbox");
    let districts = with_tokens(&ods).await;
    let df = posts(&districts, BAD, &students(60));
    ods.set_faults(
        BAD,
        Faults {
            expire_after: Some(20),
            ..Faults::default()
        },
    );
    ods.clear_requests();
    let options = PostOptions {
        batch: of_students(renewing()),
        ..committing()
    };
    let result = post(&client(), &df, &options).await;
    assert_eq!(statuses(&result), [Some(201); 60]);
    assert_eq!(
        (token_requests(&ods, BAD), held(&ods, BAD, "new-")),
        (1, 60)
    );
    assert!(attempts(&result).iter().all(|sent| (1..=2).contains(sent)));
    // Those that wait for the one request hold their places.
    assert!(ods.max_in_flight() <= 8);
}

#[tokio::test]
async fn what_was_read_can_be_posted_again() {
    let ods = start();
    let own = own(&ods, BAD).build().expect("a client");
    let options = GetAllOptions {
        limit: 7,
        ..GetAllOptions::default()
    };
    let df = soon(own.get_all(&options)).await.expect("records");
    let df = unflatten(&df, "payload", ".", None).expect("payloads");
    let payload = df.column("payload").expect("a column").clone();
    let districts = with_tokens(&ods).await;
    let df = rows_with(&districts, DISTRICTS[0], payload.clone());
    // Students are other ones in the other district: its server says so, row by row.
    let options = PostOptions {
        commit: true,
        ..PostOptions::default()
    };
    let result = post(&client(), &df, &options).await;
    assert_eq!(statuses(&result), [Some(409); 40]);
    let before = ods.items(BAD, RESULTS);
    let result = post(&client(), &rows_with(&districts, BAD, payload), &options).await;
    assert_eq!(texts(&result, "message"), [const { None }; 40]);
    assert_eq!(statuses(&result), [Some(200); 40]);
    for (before, after) in before.iter().zip(&ods.items(BAD, RESULTS)) {
        let (mut before, mut after) = (leaves(before), leaves(after));
        for own in ["_etag", "_lastModifiedDate"] {
            assert!(before.remove(own).is_some() && after.remove(own).is_some());
        }
        assert_eq!(before, after);
    }
}

#[tokio::test]
async fn one_payload_has_one_outcome() {
    let ods = start();
    let client = own(&ods, BAD).build().expect("a client");
    let options = committing();
    let body = student("new-1").to_string();
    for status in [201, 200] {
        let outcome = soon(client.post_payload(&body, &options))
            .await
            .expect("an outcome");
        assert_eq!(
            (outcome.status, outcome.message, outcome.attempts),
            (None, None, 1)
        );
        assert_eq!(outcome.http_status, Some(status));
        assert_eq!(outcome.resource_id.expect("an id").len(), 32);
    }
    let outcome = soon(client.post_payload("[]", &options))
        .await
        .expect("an outcome");
    assert_eq!(
        (outcome.status.as_deref(), outcome.attempts),
        (Some("error"), 0)
    );
    let outcome = soon(client.post_payload("{}", &options))
        .await
        .expect("an outcome");
    assert_eq!(
        (outcome.status.as_deref(), outcome.http_status),
        (Some("error"), Some(400))
    );
    let nobody = EdFiClient::builder().build().expect("a client");
    let options = PostOptions {
        batch: BatchOptions::default(),
        ..options
    };
    let result = soon(nobody.post_payload(&body, &options)).await;
    assert!(matches!(result, Err(Error::Config(_))), "{result:?}");
}
