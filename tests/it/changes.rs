//! Change queries: versions, deletes, changed keys, all of a window at once.

use polars::prelude::*;
use polars_edfi::sandbox::{Faults, Sandbox};
use polars_edfi::{
    ChangeOptions, Changes, DeleteOptions, EdFiClient, Error, GetAllOptions, Paging, PostOptions,
    SchemaChoice, Since, blocking,
};
use serde_json::{Value, json};

use crate::support::{
    BAD, RESULTS, STUDENTS, assert_same, data_requests, inferred, names, of_district, own, records,
    sandbox, soon, start, words,
};

const PERIODS: &str = "ed-fi/classPeriods";

fn one(ods: &Sandbox) -> EdFiClient {
    own(ods, BAD).build().expect("a client")
}

fn window(min: i64, max: impl Into<Option<i64>>) -> ChangeOptions {
    ChangeOptions {
        min_change_version: Some(min),
        max_change_version: max.into(),
        ..ChangeOptions::default()
    }
}

async fn newest(client: &EdFiClient) -> i64 {
    let versions = soon(client.available_change_versions()).await;
    versions.expect("versions").newest
}

async fn post(client: &EdFiClient, endpoint: &str, body: &Value) -> String {
    let mut options = PostOptions {
        commit: true,
        ..PostOptions::default()
    };
    options.batch.endpoint = Some(endpoint.into());
    let outcome = soon(client.post_payload(&body.to_string(), &options)).await;
    let outcome = outcome.expect("an outcome");
    assert_eq!(outcome.status, None, "{:?}", outcome.message);
    outcome.resource_id.expect("an id")
}

async fn delete(client: &EdFiClient, endpoint: &str, id: &str) {
    let mut options = DeleteOptions {
        commit: true,
        ..DeleteOptions::default()
    };
    options.batch.endpoint = Some(endpoint.into());
    let outcome = soon(client.delete_by_id(id, &options)).await;
    assert_eq!(
        outcome.expect("an outcome").status.as_deref(),
        Some("deleted")
    );
}

/// Changes the name of a class period, which this library has no call for.
async fn rename(ods: &Sandbox, client: &EdFiClient, id: &str, name: &str) {
    let token = soon(client.fetch_token()).await.expect("a token");
    let url = ods.district_url(BAD).expect("a URL");
    let request = crate::sandbox::http()
        .put(format!("{url}/data/v3/{PERIODS}/{id}"))
        .header("authorization", format!("Bearer {}", token.token.reveal()))
        .header("content-type", "application/json")
        .body(period(name).to_string());
    let answer = soon(request.send()).await.expect("an answer");
    assert_eq!(answer.status(), 204);
}

fn period(name: &str) -> Value {
    json!({"classPeriodName": name, "schoolReference": {"schoolId": 255_902_001}})
}

fn versions(df: &DataFrame) -> Vec<i64> {
    let column = df.column("changeVersion").expect("a column");
    column
        .i64()
        .expect("an Int64 column")
        .iter()
        .flatten()
        .collect()
}

/// `id` and `changeVersion` are there, and of their types, whatever there is.
fn assert_tracked(df: &DataFrame) {
    assert_eq!(names(df)[..2], ["id", "changeVersion"]);
    assert_eq!(df.columns()[0].dtype(), &DataType::String);
    assert_eq!(df.columns()[1].dtype(), &DataType::Int64);
}

/// A window without what was delivered before.
fn exactly(since: Option<i64>) -> Since {
    Since::from(since).with_overlap(0)
}

#[tokio::test]
async fn deletes_are_told_each_by_each() {
    let ods = start();
    let client = one(&ods);
    let before = newest(&client).await;
    let ids: Vec<String> = ods.items(BAD, RESULTS)[..7]
        .iter()
        .map(|item| item["id"].as_str().expect("an id").to_owned())
        .collect();
    for id in &ids {
        delete(&client, RESULTS, id).await;
    }
    assert_eq!(newest(&client).await, before + 7);
    for (limit, workers) in [(500, 8), (2, 1), (2, 8), (7, 2)] {
        for no_total_count in [false, true] {
            ods.set_faults(
                BAD,
                Faults {
                    no_total_count,
                    ..Faults::default()
                },
            );
            let options = ChangeOptions {
                limit,
                workers,
                ..window(before + 1, None)
            };
            ods.clear_requests();
            let df = soon(client.deletes(RESULTS, &options))
                .await
                .expect("deletes");
            assert_tracked(&df);
            assert_eq!(words(&df, "id"), ids);
            let expected: Vec<i64> = (before + 1..=before + 7).collect();
            assert_eq!(versions(&df), expected);
            assert!(df.column("keyValues.studentUniqueId").is_ok());
            for request in data_requests(&ods, BAD) {
                assert!(request.query.contains("minChangeVersion"));
            }
        }
    }
    let part = soon(client.deletes(RESULTS, &window(before + 2, before + 3))).await;
    assert_eq!(words(&part.expect("deletes"), "id"), ids[1..3]);
    let none = soon(client.deletes(RESULTS, &window(before + 8, None))).await;
    let none = none.expect("deletes");
    assert_tracked(&none);
    assert_eq!(none.height(), 0);
}

#[tokio::test]
async fn an_item_can_be_deleted_twice() {
    let ods = start();
    let client = one(&ods);
    let before = newest(&client).await;
    let mut made = Vec::new();
    for _ in 0..3 {
        let id = post(&client, PERIODS, &period("1")).await;
        delete(&client, PERIODS, &id).await;
        made.push(id);
    }
    let options = ChangeOptions {
        limit: 1,
        ..window(before + 1, None)
    };
    let df = soon(client.deletes(PERIODS, &options))
        .await
        .expect("deletes");
    assert_eq!(versions(&df), [before + 2, before + 4, before + 6]);
    // Each time it had another id.
    assert_eq!(words(&df, "id"), made);
    assert!(made[0] != made[1] && made[1] != made[2]);
    // While it lives its deletes are hidden.
    post(&client, PERIODS, &period("1")).await;
    let df = soon(client.deletes(PERIODS, &options)).await;
    assert_eq!(df.expect("deletes").height(), 0);
}

#[tokio::test]
async fn changed_keys_are_told_with_the_first_and_the_last() {
    let ods = start();
    let client = one(&ods);
    let id = post(&client, PERIODS, &period("1")).await;
    rename(&ods, &client, &id, "2").await;
    rename(&ods, &client, &id, "3").await;
    let options = ChangeOptions::default();
    let df = soon(client.key_changes(PERIODS, &options))
        .await
        .expect("key changes");
    assert_tracked(&df);
    assert_eq!(words(&df, "id"), [id]);
    assert_eq!(words(&df, "oldKeyValues.classPeriodName"), ["1"]);
    assert_eq!(words(&df, "newKeyValues.classPeriodName"), ["3"]);
    let none = soon(client.key_changes(STUDENTS, &options)).await;
    assert_tracked(&none.expect("key changes"));
}

#[tokio::test]
async fn changes_lead_from_one_window_to_the_next() {
    let ods = sandbox().page_limit(2).start().expect("a sandbox");
    let client = one(&ods);
    post(&client, PERIODS, &period("old")).await;
    for paging in [Paging::Auto, Paging::Offset, Paging::Cursor] {
        let options = GetAllOptions {
            paging,
            limit: 2,
            ..inferred()
        };
        let all = async |since| -> Changes {
            let call = client.changes(PERIODS, exactly(since), &options);
            soon(call).await.expect("changes")
        };
        let first = all(None).await;
        assert_same(&records(&first.records), &ods.items(BAD, PERIODS));
        assert_tracked(&first.deletes);
        assert_tracked(&first.key_changes);
        assert_eq!(first.next_version, newest(&client).await + 1);

        // Nothing happened: one question, and frames that still have their columns.
        ods.clear_requests();
        let idle = all(Some(first.next_version)).await;
        assert_eq!(of_district(&ods, BAD).len(), 1);
        assert_eq!(names(&idle.records), ["id"]);
        assert_tracked(&idle.deletes);
        assert_tracked(&idle.key_changes);
        assert_eq!(idle.next_version, first.next_version);

        let name = |n: usize| format!("{paging:?} {n}");
        let mut ids = Vec::new();
        for n in 0..5 {
            ids.push(post(&client, PERIODS, &period(&name(n))).await);
        }
        rename(&ods, &client, &ids[1], &name(9)).await;
        delete(&client, PERIODS, &ids[2]).await;
        delete(&client, PERIODS, &ids[3]).await;
        // Made again under a new id: an ODS hides the delete.
        post(&client, PERIODS, &period(&name(3))).await;
        let then = all(Some(first.next_version)).await;
        let mut found = words(&then.records, "classPeriodName");
        found.sort();
        assert_eq!(found, [0, 3, 4, 9].map(name));
        assert_eq!(words(&then.deletes, "id"), ids[2..3]);
        assert_eq!(words(&then.key_changes, "id"), ids[1..2]);
        assert_eq!(then.next_version, newest(&client).await + 1);
        let idle = all(Some(then.next_version)).await;
        assert_eq!((idle.records.height(), idle.deletes.height()), (0, 0));
    }
}

#[tokio::test]
async fn an_empty_window_has_the_columns_of_a_given_schema() {
    let ods = start();
    let client = one(&ods);
    let next = newest(&client).await + 1;
    let column = Field::new("serialNumber".into(), DataType::String);
    let options = GetAllOptions {
        schema: SchemaChoice::Given(Schema::from_iter([column])),
        ..GetAllOptions::default()
    };
    let changes = soon(client.changes(RESULTS, exactly(Some(next)), &options)).await;
    let changes = changes.expect("changes");
    assert_eq!(names(&changes.records), ["serialNumber", "_unknown"]);
    assert!(options.batch.control.warnings().is_empty());
    // Further than one step beyond the end: another ODS.
    let changes = soon(client.changes(RESULTS, exactly(Some(next + 1)), &options)).await;
    assert_eq!(changes.expect("changes").next_version, next);
    assert_eq!(options.batch.control.warnings().len(), 1);
}

#[tokio::test]
async fn a_window_that_is_none_is_refused_before_anything_is_sent() {
    let ods = start();
    let client = one(&ods);
    ods.clear_requests();
    let config = |result: polars_edfi::Result<()>, argument: &str| match result {
        Err(Error::Config(text)) => assert!(text.contains(argument), "{text}"),
        other => panic!("{other:?}"),
    };
    for (options, argument) in [
        (window(-1, None), "min_change_version"),
        (window(0, -1), "max_change_version"),
        (window(2, 1), "min_change_version"),
        (
            ChangeOptions {
                limit: 0,
                ..ChangeOptions::default()
            },
            "limit",
        ),
        (
            ChangeOptions {
                workers: 0,
                ..ChangeOptions::default()
            },
            "workers",
        ),
    ] {
        config(
            soon(client.deletes(RESULTS, &options)).await.map(drop),
            argument,
        );
        config(
            soon(client.key_changes(RESULTS, &options)).await.map(drop),
            argument,
        );
        let read = GetAllOptions {
            min_change_version: options.min_change_version,
            max_change_version: options.max_change_version,
            limit: options.limit,
            ..GetAllOptions::default()
        };
        if argument != "workers" {
            config(soon(client.get_all(&read)).await.map(drop), argument);
        }
        if argument.ends_with("version") {
            let changes = soon(client.changes(RESULTS, None, &read)).await;
            config(changes.map(drop), "since");
        }
    }
    let read = GetAllOptions::default();
    config(
        soon(client.changes(RESULTS, Some(-1), &read))
            .await
            .map(drop),
        "since",
    );
    config(
        soon(client.changes("a b", None, &read)).await.map(drop),
        "endpoint",
    );
    assert!(ods.requests().is_empty());
}

#[tokio::test]
async fn an_ods_without_change_queries_says_so() {
    let ods = start();
    ods.set_faults(
        BAD,
        Faults {
            no_change_queries: true,
            ..Faults::default()
        },
    );
    let with_discovery = {
        let (key, secret) = ods.credentials(BAD).expect("a district");
        EdFiClient::builder()
            .base_url(ods.district_url(BAD).expect("a URL"))
            .client_credentials(key, secret)
            .build()
            .expect("a client")
    };
    for client in [one(&ods), with_discovery] {
        for failed in [
            soon(client.available_change_versions()).await.map(drop),
            soon(client.deletes(RESULTS, &ChangeOptions::default()))
                .await
                .map(drop),
        ] {
            match failed {
                Err(Error::Http(failure)) => {
                    assert_eq!(failure.http_status, Some(404));
                    let said = failure.message.contains("change queries are turned off");
                    assert!(said, "{failure}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn the_discovery_document_says_where() {
    let ods = start();
    let (key, secret) = ods.credentials(BAD).expect("a district");
    let client = EdFiClient::builder()
        .base_url(ods.district_url(BAD).expect("a URL"))
        .client_credentials(key, secret)
        .build()
        .expect("a client");
    assert_eq!(newest(&client).await, newest(&one(&ods)).await);
}

#[tokio::test]
async fn a_snapshot_is_read_as_it_was() {
    let ods = start();
    let client = one(&ods);
    let frozen = GetAllOptions {
        snapshot: true,
        ..GetAllOptions::default()
    };
    match soon(client.get_all(&frozen)).await {
        Err(Error::Http(failure)) => {
            assert!(failure.message.contains("snapshot: the ODS has none"));
        }
        other => panic!("{other:?}"),
    }
    ods.take_snapshot(BAD);
    let id = post(&client, PERIODS, &period("new")).await;
    delete(&client, PERIODS, &id).await;
    delete(
        &client,
        RESULTS,
        ods.items(BAD, RESULTS)[0]["id"].as_str().expect("an id"),
    )
    .await;
    for paging in [Paging::Auto, Paging::Offset, Paging::Cursor] {
        let options = GetAllOptions {
            paging,
            limit: 10,
            ..frozen.clone()
        };
        let df = soon(client.get_all(&options)).await.expect("records");
        assert_eq!(df.height(), 40);
    }
    let changes = soon(client.changes(RESULTS, None, &frozen)).await;
    let changes = changes.expect("changes");
    assert_eq!(changes.records.height(), 40);
    assert_eq!(changes.next_version + 3, newest(&client).await + 1);
    let options = ChangeOptions {
        snapshot: true,
        ..ChangeOptions::default()
    };
    let deletes = soon(client.deletes(RESULTS, &options)).await;
    assert_eq!(deletes.expect("deletes").height(), 0);
}

#[tokio::test]
async fn troubles_are_got_over_or_end_the_call() {
    let ods = start();
    let client = one(&ods);
    let ids = ods.items(BAD, RESULTS);
    for item in &ids[..6] {
        delete(&client, RESULTS, item["id"].as_str().expect("an id")).await;
    }
    let options = ChangeOptions {
        limit: 2,
        ..ChangeOptions::default()
    };
    ods.set_faults(
        BAD,
        Faults {
            statuses: vec![503, 0, 429],
            break_every: 4,
            ..Faults::default()
        },
    );
    let df = soon(client.deletes(RESULTS, &options)).await;
    assert_eq!(df.expect("deletes").height(), 6);
    ods.set_faults(
        BAD,
        Faults {
            statuses: vec![0, 403],
            ..Faults::default()
        },
    );
    match soon(client.deletes(RESULTS, &options)).await {
        Err(Error::Http(failure)) => assert_eq!(failure.http_status, Some(403)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_await() {
    let ods = start();
    let client = blocking::EdFiClient::from(one(&ods));
    let versions = client.available_change_versions().expect("versions");
    assert_eq!(versions.oldest, 0);
    let options = ChangeOptions::default();
    assert_tracked(&client.deletes(RESULTS, &options).expect("deletes"));
    assert_tracked(&client.key_changes(RESULTS, &options).expect("key changes"));
    let changes = client.changes(RESULTS, None, &GetAllOptions::default());
    assert_eq!(changes.expect("changes").records.height(), 40);
}
