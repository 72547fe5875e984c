//! Real Ed-Fi data, posted and loaded.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};

use polars_edfi::sandbox::{Sandbox, SandboxBuilder};
use serde_json::Value;

use super::{Caller, RESULTS, STUDENTS, header, start, text_of};

/// Real Ed-Fi data beside the project, if it is there.
fn shared_data() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: there is no {}", folder.display());
    None
}

fn read_jsonl(path: &Path) -> Vec<Value> {
    let bytes = std::fs::read(path).expect("a file");
    let mut text = String::new();
    if path.extension().is_some_and(|extension| extension == "gz") {
        flate2::read::MultiGzDecoder::new(&bytes[..])
            .read_to_string(&mut text)
            .expect("gzip");
    } else {
        text = String::from_utf8(bytes).expect("UTF-8");
    }
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn without_server_fields(mut item: Value) -> Value {
    for own in ["id", "_etag", "_lastModifiedDate"] {
        item.as_object_mut().expect("an object").remove(own);
    }
    item
}

/// Grand Bend, resource by resource in the order in which it can be posted.
fn grand_bend(data: &Path) -> Vec<(String, Vec<Value>)> {
    let text = std::fs::read_to_string(data.join("metadata/ods7-ds5.2.0-dependencies.json"))
        .expect("a file");
    let order: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let mut places = HashMap::new();
    for entry in order {
        let resource = entry["resource"]
            .as_str()
            .expect("a path")
            .trim_start_matches('/')
            .to_owned();
        places.entry(resource).or_insert(entry["order"].as_u64());
    }
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(data.join("records/grandbend")).expect("a folder") {
        let path = entry.expect("a file").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name");
        let resource = format!("ed-fi/{}", name.trim_end_matches(".jsonl.gz"));
        found.insert((places[&resource], resource), read_jsonl(&path));
    }
    found
        .into_iter()
        .map(|((_, resource), bodies)| (resource, bodies))
        .collect()
}

#[tokio::test]
async fn grand_bend_is_posted_and_comes_back() {
    if let Some(data) = shared_data() {
        post_grand_bend(&data, Sandbox::builder()).await;
    }
}

#[tokio::test]
async fn grand_bend_fits_the_data_standards_own_document() {
    let Some(data) = shared_data() else { return };
    let text = std::fs::read_to_string(data.join("openapi/resources-ds-5.0.json")).expect("a file");
    let document = serde_json::from_str(&text).expect("JSON");
    post_grand_bend(&data, Sandbox::builder().openapi(document)).await;
}

async fn post_grand_bend(data: &Path, builder: SandboxBuilder) {
    let ods = builder
        .districts(["gb"])
        .records(0)
        .strict(false)
        .links(false)
        .start()
        .expect("a sandbox");
    for resource in ["students", "schools", "assessments", "objectiveAssessments"] {
        ods.load("gb", &format!("ed-fi/{resource}"), [])
            .expect("a load");
    }
    let caller = Caller::new(&ods, "gb").await;
    for (resource, bodies) in grand_bend(data) {
        let mut last = HashMap::new();
        for body in &bodies {
            let answer = caller.post(&resource, body).await;
            let status = answer.status();
            let location = header(&answer, "location");
            assert!(
                status.is_success(),
                "{resource}: {} {body}",
                text_of(answer).await
            );
            last.insert(location, body);
        }
        // Two courseOfferings of the sample share a natural key: the later one counts.
        let stored = ods.items("gb", &resource);
        assert_eq!(stored.len(), last.len(), "{resource}");
        assert!(bodies.len() - last.len() <= 1, "{resource}");
        for item in stored {
            let id = item["id"].as_str().expect("an id").to_owned();
            let location = format!("{}/data/v3/{resource}/{id}", caller.root);
            assert_eq!(
                without_server_fields(item),
                *last[&Some(location)],
                "{resource}"
            );
        }
    }
}

#[tokio::test]
async fn vendors_files_are_loaded_and_read() {
    let Some(data) = shared_data() else { return };
    let ods = start();
    let caller = Caller::new(&ods, "255901").await;
    for vendor in ["ACT", "AP", "FastBridge_English", "KRA"] {
        let path = data
            .join("assessments")
            .join(vendor)
            .join("studentAssessments.jsonl");
        let bodies = read_jsonl(&path);
        assert_eq!(
            ods.load_jsonl("255901", RESULTS, &path).expect("a load"),
            bodies.len()
        );
        let found = caller
            .list(RESULTS)
            .await
            .into_iter()
            .map(without_server_fields)
            .collect::<Vec<_>>();
        assert_eq!(found, bodies[..found.len()], "{vendor}");
        assert!(found.len() == bodies.len().min(500));
    }
    let path = data.join("records/grandbend/students.jsonl.gz");
    assert_eq!(
        ods.load_jsonl("255901", STUDENTS, &path).expect("a load"),
        960
    );
}
