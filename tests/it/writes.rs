//! Payloads sent, items read by id and deleted: each row with a result of its own.

mod broken;
mod delete;
mod executor;
mod find_ids;
mod get;
mod post;
mod retry;
mod silent;
mod twins;

use polars::prelude::*;
use polars_edfi::sandbox::Sandbox;
use polars_edfi::{BatchOptions, EdFiClient, PostOptions};
use serde_json::{Value, json};

use crate::support::{DISTRICTS, KEY, STUDENTS, of_district, soon, words};

/// A student that every ODS takes.
fn student(id: &str) -> Value {
    json!({
        "studentUniqueId": id, "birthDate": "2012-01-02", "firstName": "Ana", "lastSurname": "Ruiz",
    })
}

fn students(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| student(&format!("new-{number}")).to_string())
        .collect()
}

/// A district's row, once for each payload.
fn payloads<'a>(
    districts: &DataFrame,
    district: &str,
    payloads: impl IntoIterator<Item = Option<&'a str>>,
) -> DataFrame {
    let column = StringChunked::from_iter_options("payload".into(), payloads.into_iter());
    rows_with(districts, district, column.into_column())
}

fn posts(districts: &DataFrame, district: &str, texts: &[String]) -> DataFrame {
    payloads(
        districts,
        district,
        texts.iter().map(|text| Some(text.as_str())),
    )
}

/// A district's row, once for each cell of a column that is added.
fn rows_with(districts: &DataFrame, district: &str, column: Column) -> DataFrame {
    let place = DISTRICTS
        .iter()
        .position(|one| *one == district)
        .expect("a district");
    let index = IdxCa::from_vec(PlSmallStr::EMPTY, vec![place as IdxSize; column.len()]);
    let mut df = districts.take(&index).expect("rows");
    df.with_column(column).expect("as many rows");
    df
}

fn of_students(batch: BatchOptions) -> BatchOptions {
    BatchOptions {
        endpoint: Some(STUDENTS.into()),
        ..batch
    }
}

fn committing() -> PostOptions {
    PostOptions {
        batch: of_students(BatchOptions::default()),
        commit: true,
        ..PostOptions::default()
    }
}

async fn post(client: &EdFiClient, df: &DataFrame, options: &PostOptions) -> DataFrame {
    let call = client.batch_post_payload(df, "payload", KEY, options);
    soon(call).await.expect("a frame")
}

/// The bodies and answers of the POSTs that reached a district's data.
fn posted(ods: &Sandbox, district: &str) -> Vec<(String, Option<u16>)> {
    let requests = of_district(ods, district).into_iter();
    let posts = requests.filter(|one| one.method == "POST" && one.path.starts_with("/data/"));
    posts
        .map(|one| {
            let body = one.body.unwrap_or_default().to_vec();
            (String::from_utf8(body).expect("UTF-8"), one.status)
        })
        .collect()
}

/// How many students of these ids a district holds.
fn held(ods: &Sandbox, district: &str, prefix: &str) -> usize {
    let items = ods.items(district, STUDENTS);
    let ids = items
        .iter()
        .filter_map(|item| item["studentUniqueId"].as_str());
    ids.filter(|id| id.starts_with(prefix)).count()
}

fn attempts(df: &DataFrame) -> Vec<u32> {
    let column = df
        .column("attempts")
        .expect("a column")
        .u32()
        .expect("UInt32");
    column.iter().flatten().collect()
}

fn row_index(df: &DataFrame) -> Vec<IdxSize> {
    let column = df
        .column("row_index")
        .expect("a column")
        .idx()
        .expect("an index");
    column.iter().flatten().collect()
}

/// Names and dtypes.
fn dtypes(df: &DataFrame) -> Vec<(&str, DataType)> {
    let columns = df.columns().iter();
    columns
        .map(|one| (one.name().as_str(), one.dtype().clone()))
        .collect()
}

/// The messages of rows that all failed.
fn errors(df: &DataFrame) -> Vec<String> {
    assert!(words(df, "status").iter().all(|status| status == "error"));
    words(df, "message")
}
