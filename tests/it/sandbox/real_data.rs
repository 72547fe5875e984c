//! Real Ed-Fi data, posted and loaded.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use polars_edfi::sandbox::{Sandbox, SandboxBuilder};
use serde_json::Value;

use super::{Caller, RESULTS, STUDENTS, header, start, text_of};
use crate::real_data::{document, grand_bend, read_file, shared_data};

fn without_server_fields(mut item: Value) -> Value {
    for own in ["id", "_etag", "_lastModifiedDate"] {
        item.as_object_mut().expect("an object").remove(own);
    }
    item
}

/// Grand Bend, resource by resource in the order in which it can be posted.
fn in_order(data: &Path) -> Vec<(String, Vec<Value>)> {
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
    for (resource, bodies) in grand_bend(data) {
        found.insert((places[&resource], resource), bodies);
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
    let document = document(&data, "resources-ds-5.0.json");
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
    for (resource, bodies) in in_order(data) {
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
        let bodies = read_file(&path);
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
