//! Items read by id.

use std::time::Duration;

use polars::prelude::*;
use polars_edfi::sandbox::Faults;
use polars_edfi::{BatchOptions, EdFiClient, Error, GetByIdOptions};
use serde_json::Value;

use super::{dtypes, of_students, row_index, rows_with};
use crate::support::{
    BAD, STUDENTS, cells, client, leaves, names, of_district, own, patient, renewing, soon, start,
    statuses, texts, token_requests, with_tokens, words,
};

fn options(batch: BatchOptions) -> GetByIdOptions {
    GetByIdOptions {
        batch: of_students(batch),
        ..GetByIdOptions::default()
    }
}

fn ids<'a>(districts: &DataFrame, ids: impl IntoIterator<Item = Option<&'a str>>) -> DataFrame {
    let column = StringChunked::from_iter_options("the id".into(), ids.into_iter());
    rows_with(districts, BAD, column.into_column())
}

/// A frame with these items' ids.
fn ids_of(districts: &DataFrame, items: &[Value]) -> DataFrame {
    ids(districts, items.iter().map(|item| item["id"].as_str()))
}

async fn get(client: &EdFiClient, df: &DataFrame, options: &GetByIdOptions) -> DataFrame {
    soon(client.batch_get_by_id(df, "the id", options))
        .await
        .expect("a frame")
}

/// The cells of `data` are these items.
fn assert_items(result: &DataFrame, items: &[Value]) {
    let data = cells(
        result
            .column("data")
            .expect("a column")
            .as_materialized_series(),
    );
    assert_eq!(data.len(), items.len());
    for (cell, item) in data.iter().zip(items) {
        assert_eq!(leaves(cell), leaves(item));
    }
}

#[test]
fn defaults() {
    let options = GetByIdOptions::default();
    assert!(!options.flatten && options.schema.is_none());
    assert_eq!(options.batch.workers, 8);
}

#[tokio::test]
async fn each_row_has_its_item() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    let items = ods.items(BAD, STUDENTS);
    let mut df = ids_of(&districts, &items);
    let places: Vec<u8> = (0..items.len() as u8).collect();
    df.with_column(Column::new("place".into(), places))
        .expect("rows");
    let batch = BatchOptions {
        row_id_col: Some("place".into()),
        ..BatchOptions::default()
    };
    let result = get(&client(), &df, &options(batch)).await;
    let first = [
        ("id", DataType::String),
        ("status", DataType::String),
        ("message", DataType::String),
        ("http_status", DataType::Int32),
        ("correlation_id", DataType::String),
        ("row_index", IDX_DTYPE),
        ("row_id", DataType::UInt8),
    ];
    assert_eq!(dtypes(&result)[..7], first);
    assert_eq!(names(&result)[7..], ["data"]);
    assert_eq!(words(&result, "id"), words(&df, "the id"));
    assert_eq!(statuses(&result), vec![Some(200); items.len()]);
    assert_items(&result, &items);

    let mut flat = options(BatchOptions::default());
    flat.flatten = true;
    let result = get(&client(), &df, &flat).await;
    assert_eq!(names(&result)[7..9], ["id_record", "studentUniqueId"]);
    assert_eq!(words(&result, "id_record"), words(&result, "id"));

    let columns = [("birthDate", DataType::Date), ("nothing", DataType::Int64)];
    let columns = columns.map(|(name, dtype)| Field::new(name.into(), dtype));
    flat.schema = Some(Schema::from_iter(columns));
    let result = get(&client(), &df, &flat).await;
    assert_eq!(names(&result)[7..], ["birthDate", "nothing", "_unknown"]);
    let birth_dates = result.column("birthDate").expect("a column");
    assert_eq!(
        (birth_dates.dtype(), birth_dates.null_count()),
        (&DataType::Date, 0)
    );
}

#[tokio::test]
async fn a_row_without_an_item_says_why() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    let items = ods.items(BAD, STUDENTS);
    let good = items[3]["id"].as_str().expect("an id");
    let spaced = format!("  {good} ");
    let nobody = "0".repeat(32);
    let strange = "a/b?c#d %25\u{e9}";
    let df = ids(
        &districts,
        [
            Some(&*spaced),
            Some(&nobody),
            None,
            Some(" "),
            Some("."),
            Some(".."),
            Some(strange),
        ],
    );
    ods.clear_requests();
    let result = get(&client(), &df, &options(BatchOptions::default())).await;
    let messages = texts(&result, "message");
    for (row, message) in [
        (
            1,
            "HTTP 404 Not Found: The specified data could not be found.",
        ),
        (2, "missing 'the id'"),
        (3, "missing 'the id'"),
        (4, "id \".\" cannot stand in a URL"),
        (5, "id \"..\" cannot stand in a URL"),
        (6, "HTTP 404 Not Found"),
    ] {
        let found = messages[row].as_deref().expect("a message");
        assert!(found.starts_with(message), "{row}: {found}");
    }
    assert_eq!(texts(&result, "status")[0], None);
    assert_eq!(words(&result.head(Some(1)), "id"), [good]);
    assert_eq!(row_index(&result), (0..7).collect::<Vec<_>>());
    let data = cells(
        result
            .column("data")
            .expect("a column")
            .as_materialized_series(),
    );
    assert_eq!(leaves(&data[0]), leaves(&items[3]));
    assert!(data[1..].iter().all(Value::is_null));
    // One segment of the path, whatever is in it.
    let paths: Vec<String> = of_district(&ods, BAD)
        .into_iter()
        .map(|one| one.path)
        .collect();
    let sent = "/data/v3/ed-fi/students/a%2Fb%3Fc%23d%20%2525%C3%A9".to_owned();
    assert!(paths.contains(&sent), "{paths:?}");
    assert_eq!(paths.len(), 3);

    // Where nothing is found, and where nothing is asked for, there is the column all the same.
    let none = ids(&districts, [None]);
    for df in [none.clone(), none.head(Some(0))] {
        let result = get(&client(), &df, &options(BatchOptions::default())).await;
        assert_eq!(dtypes(&result)[7], ("data", DataType::Null));
    }
}

#[tokio::test]
async fn items_of_a_server_in_trouble() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    let items = &ods.items(BAD, STUDENTS)[..4];
    let df = ids_of(&districts, items);
    let none = Faults::default;
    for faults in [
        Faults {
            statuses: vec![503, 500, 0, 429],
            ..none()
        },
        Faults {
            break_before: 2,
            ..none()
        },
        Faults {
            break_after: 2,
            ..none()
        },
        Faults { stall: 1, ..none() },
    ] {
        ods.set_faults(BAD, faults);
        let client = patient(Duration::from_millis(500), 3);
        let result = get(&client, &df, &options(BatchOptions::default())).await;
        assert_eq!(texts(&result, "message"), [const { None }; 4]);
        assert_items(&result, items);
    }
    let batch = BatchOptions {
        workers: 1,
        ..BatchOptions::default()
    };
    ods.set_faults(
        BAD,
        Faults {
            html: 1,
            statuses: vec![0, 403],
            ..none()
        },
    );
    let result = get(&client(), &df, &options(batch)).await;
    let messages = texts(&result, "message");
    assert!(
        messages[0]
            .as_deref()
            .is_some_and(|text| text.starts_with("HTTP 200 OK: "))
    );
    assert!(
        messages[1]
            .as_deref()
            .is_some_and(|text| text.starts_with("HTTP 403 Forbidden"))
    );
    assert_eq!(
        (messages[2].as_deref(), messages[3].as_deref()),
        (None, None)
    );

    ods.set_faults(
        BAD,
        Faults {
            no_ids: true,
            ..none()
        },
    );
    let result = get(&client(), &df, &options(BatchOptions::default())).await;
    let mut nameless = items.to_vec();
    for item in &mut nameless {
        item.as_object_mut().expect("an object").shift_remove("id");
    }
    assert_items(&result, &nameless);
}

#[tokio::test]
async fn tokens_are_renewed_for_items_too() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    let items = ods.items(BAD, STUDENTS);
    ods.revoke_tokens(BAD);
    ods.clear_requests();
    let result = get(&client(), &ids_of(&districts, &items), &options(renewing())).await;
    assert_items(&result, &items);
    assert_eq!(token_requests(&ods, BAD), 1);
    assert!(ods.max_in_flight() <= 8);
}

#[tokio::test]
async fn one_item_is_its_json() {
    let ods = start();
    let client = own(&ods, BAD).build().expect("a client");
    let item = &ods.items(BAD, STUDENTS)[0];
    let id = item["id"].as_str().expect("an id");
    let text = soon(client.get_by_id(id, &options(BatchOptions::default()))).await;
    let text = text.expect("an item");
    assert_eq!(&serde_json::from_str::<Value>(&text).expect("JSON"), item);
    match soon(client.get_by_id("nobody", &options(BatchOptions::default()))).await {
        Err(Error::Http(failure)) => {
            assert_eq!(failure.http_status, Some(404));
            assert!(failure.correlation_id.is_some());
        }
        other => panic!("{other:?}"),
    }
}
