//! Real Ed-Fi records, read back from several districts and held against the files they came from.

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use polars_edfi::sandbox::Sandbox;
use polars_edfi::{BatchOptions, GetAllOptions, SchemaChoice, TokenOptions};
use serde_json::Value;

use crate::support::{
    KEY, Leaves, RESULTS, STUDENTS, client, leaves, records, rows_of, soon, texts, words,
};

const VENDORS: [&str; 4] = ["ACT", "AP", "FastBridge_English", "KRA"];
/// What a server adds to a record.
const SERVER_FIELDS: [&str; 3] = ["id", "_etag", "_lastModifiedDate"];

/// Real Ed-Fi data beside the project, if it is there.
pub(crate) fn shared_data() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if !folder.is_dir() {
        println!("skipped: there is no folder ../shared/data beside the project");
        return None;
    }
    Some(folder)
}

/// The records of a file with one on each line.
pub(crate) fn read_file(path: &Path) -> Vec<Value> {
    let mut text = String::new();
    let file = std::fs::File::open(path).expect("a file");
    let read = match path.extension().is_some_and(|extension| extension == "gz") {
        true => flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text),
        false => std::io::BufReader::new(file).read_to_string(&mut text),
    };
    read.expect("text");
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// An OpenAPI document.
pub(crate) fn document(data: &Path, name: &str) -> Value {
    let text = std::fs::read(data.join("openapi").join(name)).expect("a file");
    serde_json::from_slice(&text).expect("JSON")
}

/// The records of Grand Bend, by endpoint.
pub(crate) fn grand_bend(data: &Path) -> impl Iterator<Item = (String, Vec<Value>)> {
    let files = std::fs::read_dir(data.join("records/grandbend")).expect("a folder");
    files.map(|entry| {
        let path = entry.expect("a file").path();
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.expect("a name").trim_end_matches(".jsonl.gz");
        (format!("ed-fi/{name}"), read_file(&path))
    })
}

/// Every record of every district, in pages of this size.
async fn read_all(ods: &Sandbox, endpoint: &str, limit: usize) -> polars::prelude::DataFrame {
    let (client, districts) = (client(), ods.districts());
    let options = TokenOptions::default();
    let call = client.batch_fetch_tokens(&districts, KEY, "oauth/token", &options);
    let tokens = soon(call).await.expect("tokens");
    let token = tokens.column("EdFi Token").expect("a column").clone();
    let districts = districts.hstack(&[token]).expect("the same rows");
    let options = GetAllOptions {
        batch: BatchOptions {
            endpoint: Some(endpoint.into()),
            ..BatchOptions::default()
        },
        limit,
        schema: SchemaChoice::Infer,
        ..GetAllOptions::default()
    };
    soon(client.batch_get_all(&districts, KEY, &options))
        .await
        .expect("a frame")
}

/// A row without what the server has added to the record of the file.
fn without_additions(mut row: Leaves, expected: &Leaves) -> Leaves {
    row.retain(|path, _| expected.contains_key(path) || !SERVER_FIELDS.contains(&path.as_str()));
    row
}

/// The rows of each district are the records of its file.
async fn assert_read_back(ods: &Sandbox, endpoint: &str, files: &[(&str, &[Value])], limit: usize) {
    let df = read_all(ods, endpoint, limit).await;
    let expected: usize = files.iter().map(|(_, records)| records.len()).sum();
    assert_eq!(df.height(), expected, "limit {limit}");
    assert_eq!(texts(&df, "status").iter().flatten().count(), 0);
    let mut compared = 0;
    for (district, items) in files {
        let rows = rows_of(&df, district);
        assert_eq!(rows.height(), items.len(), "{district}");
        let ids: HashSet<String> = words(&rows, "id").into_iter().collect();
        assert_eq!(ids.len(), items.len(), "{district}: a row is there twice");
        for (number, (row, item)) in records(&rows).into_iter().zip(*items).enumerate() {
            let expected = leaves(item);
            let row = without_additions(row, &expected);
            assert_eq!(row, expected, "{district}, line {}", number + 1);
            compared += expected.len();
        }
    }
    println!(
        "{endpoint}, limit {limit}: {} records, {compared} leaves",
        df.height()
    );
    assert!(compared > expected);
}

#[tokio::test]
async fn records_come_back_as_they_are_in_their_files() {
    let Some(data) = shared_data() else { return };
    let grand_bend = data.join("records/grandbend");
    let results = read_file(&grand_bend.join("studentAssessments.jsonl.gz"));
    let students = read_file(&grand_bend.join("students.jsonl.gz"));
    let vendors = VENDORS.map(|vendor| {
        let path = data
            .join("assessments")
            .join(vendor)
            .join("studentAssessments.jsonl");
        (vendor, read_file(&path))
    });
    let together: Vec<Value> = vendors
        .iter()
        .flat_map(|(_, records)| records.clone())
        .chain(results.clone())
        .collect();

    let mut of_results: Vec<(&str, &[Value])> = vendors
        .iter()
        .map(|(vendor, records)| (*vendor, &records[..]))
        .collect();
    of_results.extend([
        ("Grand Bend", &results[..]),
        ("Grand Bend & the vendors", &together[..]),
        ("nobody", &[]),
    ]);
    let districts = of_results.iter().map(|(district, _)| *district);
    let ods = Sandbox::builder()
        .districts(districts)
        .records(0)
        .seed(77)
        .start();
    let ods = ods.expect("a sandbox");
    let mut of_students = Vec::new();
    for (district, records) in &of_results {
        ods.load(district, RESULTS, records.iter().cloned())
            .expect("records");
        let students = if district.starts_with("Grand") {
            &students[..]
        } else {
            &[]
        };
        ods.load(district, STUDENTS, students.iter().cloned())
            .expect("students");
        of_students.push((*district, students));
    }
    for limit in [500, 33] {
        assert_read_back(&ods, RESULTS, &of_results, limit).await;
        assert_read_back(&ods, STUDENTS, &of_students, limit).await;
    }
}
