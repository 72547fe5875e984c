//! Items deleted by id.

use std::time::Duration;

use polars::prelude::*;
use polars_edfi::sandbox::{Faults, Sandbox};
use polars_edfi::{BatchOptions, DeleteOptions, EdFiClient};

use super::{dtypes, errors, rows_with};
use crate::support::{
    BAD, DISTRICTS, KEY, RESULTS, STUDENTS, client, names, of_district, own, patient, renewing,
    soon, start, statuses, texts, token_requests, with_tokens, words,
};

fn committing(batch: BatchOptions) -> DeleteOptions {
    DeleteOptions {
        batch,
        commit: true,
        ..DeleteOptions::default()
    }
}

/// A frame with the ids of what a district holds.
fn ids(districts: &DataFrame, ods: &Sandbox, count: usize) -> DataFrame {
    let items = ods.items(BAD, RESULTS);
    let ids = items.iter().take(count).map(|item| item["id"].as_str());
    let column = StringChunked::from_iter_options("item".into(), ids);
    rows_with(districts, BAD, column.into_column())
}

async fn delete(client: &EdFiClient, df: &DataFrame, options: &DeleteOptions) -> DataFrame {
    let call = client.batch_delete_by_id(df, "item", KEY, options);
    soon(call).await.expect("a frame")
}

fn left(ods: &Sandbox) -> usize {
    ods.items(BAD, RESULTS).len()
}

#[test]
fn defaults() {
    let options = DeleteOptions::default();
    assert!(!options.commit);
    assert_eq!(options.batch.workers, 8);
}

#[tokio::test]
async fn items_are_deleted_and_gone() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    let df = ids(&districts, &ods, 30);
    ods.clear_requests();
    let dry = delete(&client(), &df, &DeleteOptions::default()).await;
    assert_eq!(words(&dry, "status"), ["dry_run"; 30]);
    assert!(ods.requests().is_empty());
    assert_eq!(left(&ods), 40);

    let result = delete(&client(), &df, &committing(BatchOptions::default())).await;
    let expected = [
        "id",
        "key",
        "status",
        "message",
        "http_status",
        "correlation_id",
    ];
    assert_eq!(names(&result)[..6], expected);
    assert_eq!(names(&result)[6..], ["row_index", "row_id"]);
    assert_eq!(dtypes(&result), dtypes(&dry));
    assert_eq!(words(&result, "status"), ["deleted"; 30]);
    assert_eq!((statuses(&result), left(&ods)), (vec![Some(204); 30], 10));
    assert_eq!(words(&result, "id"), words(&df, "item"));
    assert_eq!(words(&result, "key"), [BAD; 30]);
    assert_eq!(
        DISTRICTS.map(|district| ods.items(district, RESULTS).len()),
        [40, 10, 40]
    );

    // What is not there is not deleted.
    let result = delete(&client(), &df, &committing(BatchOptions::default())).await;
    assert_eq!(
        (errors(&result).len(), statuses(&result)),
        (30, vec![Some(404); 30])
    );
}

#[tokio::test]
async fn a_row_that_cannot_be_deleted_stops_no_other() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    let good = ids(&districts, &ods, 1);
    let cells = [
        words(&good, "item").pop(),
        None,
        Some("..".into()),
        Some("nobody".into()),
    ];
    let column = Column::new("item".into(), cells.map(Option::<String>::from));
    let df = rows_with(&districts, BAD, column);
    let result = delete(&client(), &df, &committing(BatchOptions::default())).await;
    assert_eq!(texts(&result, "status")[0].as_deref(), Some("deleted"));
    let messages: Vec<String> = texts(&result, "message").into_iter().flatten().collect();
    assert_eq!(
        messages[..2],
        ["missing 'item'", "id \"..\" cannot stand in a URL"]
    );
    assert!(
        messages[2].starts_with("HTTP 404 Not Found"),
        "{messages:?}"
    );

    // A student with results stays.
    let items = ods.items(BAD, RESULTS);
    let student = items[5]["studentReference"]["studentUniqueId"]
        .as_str()
        .expect("a student");
    let students = ods.items(BAD, STUDENTS);
    let student = students
        .iter()
        .find(|item| item["studentUniqueId"] == student);
    let id = student.expect("the student")["id"].as_str().expect("an id");
    let df = rows_with(&districts, BAD, Column::new("item".into(), [id]));
    let batch = BatchOptions {
        endpoint: Some(STUDENTS.into()),
        ..BatchOptions::default()
    };
    let result = delete(&client(), &df, &committing(batch)).await;
    assert_eq!(statuses(&result), [Some(409)]);
    assert!(
        errors(&result)[0].starts_with("HTTP 409 Conflict: "),
        "{:?}",
        errors(&result)
    );
    assert_eq!(ods.items(BAD, STUDENTS).len(), students.len());
}

#[tokio::test]
async fn deleted_is_deleted_whatever_became_of_the_answer() {
    let none = Faults::default;
    for (faults, status) in [
        (
            Faults {
                break_before: 1,
                ..none()
            },
            204,
        ),
        (
            Faults {
                break_after: 1,
                ..none()
            },
            404,
        ),
        (Faults { stall: 1, ..none() }, 204),
        (
            Faults {
                statuses: vec![503, 500],
                ..none()
            },
            204,
        ),
    ] {
        let ods = start();
        let districts = with_tokens(&ods).await;
        let df = ids(&districts, &ods, 1);
        ods.set_faults(BAD, faults.clone());
        let client = patient(Duration::from_millis(500), 3);
        let result = delete(&client, &df, &committing(BatchOptions::default())).await;
        assert_eq!(words(&result, "status"), ["deleted"], "{faults:?}");
        assert_eq!(texts(&result, "message"), [None]);
        assert_eq!(
            (statuses(&result), left(&ods)),
            (vec![Some(status)], 39),
            "{faults:?}"
        );
    }
    // A 404 after another trouble is one.
    let ods = start();
    let districts = with_tokens(&ods).await;
    let df = rows_with(&districts, BAD, Column::new("item".into(), ["nobody"]));
    ods.set_faults(
        BAD,
        Faults {
            statuses: vec![503],
            ..none()
        },
    );
    let result = delete(&client(), &df, &committing(BatchOptions::default())).await;
    assert_eq!(
        (errors(&result).len(), statuses(&result)),
        (1, vec![Some(404)])
    );
}

#[tokio::test]
async fn what_was_not_answered_as_it_must_be_was_not_deleted() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    let df = ids(&districts, &ods, 1);
    let none = Faults::default;
    for (faults, message) in [
        (Faults { html: 1, ..none() }, "HTTP 200 OK: "),
        (
            Faults {
                redirect_to: Some("/".into()),
                ..none()
            },
            "HTTP 302 Found: ",
        ),
        (
            Faults {
                always_status: Some(500),
                ..none()
            },
            "HTTP 500 Internal Server Error",
        ),
        (
            Faults {
                break_before: usize::MAX,
                ..none()
            },
            "connection broken",
        ),
    ] {
        ods.set_faults(BAD, faults);
        let client = patient(Duration::from_secs(5), 1);
        let result = delete(&client, &df, &committing(BatchOptions::default())).await;
        assert!(
            errors(&result)[0].starts_with(message),
            "{:?}",
            errors(&result)
        );
        assert_eq!(left(&ods), 40);
    }
}

#[tokio::test]
async fn tokens_are_renewed_for_deletions_too() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    let df = ids(&districts, &ods, 40);
    ods.revoke_tokens(BAD);
    ods.clear_requests();
    let result = delete(&client(), &df, &committing(renewing())).await;
    assert_eq!(words(&result, "status"), ["deleted"; 40]);
    assert_eq!((left(&ods), token_requests(&ods, BAD)), (0, 1));
}

#[tokio::test]
async fn one_item_has_one_outcome() {
    let ods = start();
    let client = own(&ods, BAD).build().expect("a client");
    let id = ods.items(BAD, RESULTS)[0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let outcome = soon(client.delete_by_id(&id, &DeleteOptions::default())).await;
    let outcome = outcome.expect("an outcome");
    assert_eq!(
        (outcome.status.as_deref(), outcome.attempts),
        (Some("dry_run"), 0)
    );
    assert!(of_district(&ods, BAD).is_empty());

    ods.set_faults(
        BAD,
        Faults {
            break_after: 1,
            ..Faults::default()
        },
    );
    let options = committing(BatchOptions::default());
    let outcome = soon(client.delete_by_id(&id, &options))
        .await
        .expect("an outcome");
    assert_eq!(
        (outcome.status.as_deref(), outcome.attempts),
        (Some("deleted"), 2)
    );
    let outcome = soon(client.delete_by_id(&id, &options))
        .await
        .expect("an outcome");
    assert_eq!(
        (outcome.status.as_deref(), outcome.http_status),
        (Some("error"), Some(404))
    );
    assert_eq!(left(&ods), 39);
}
