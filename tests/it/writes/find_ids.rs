//! Ids found by natural key, in real records and on servers that do not look at keys.

use polars::prelude::*;
use polars_edfi::sandbox::Faults;
use polars_edfi::{BatchOptions, FindIdsOptions, How, blocking};
use serde_json::Value;

use super::{of_students, payloads, student};
use crate::real_data::{document, grand_bend, shared_data};
use crate::support::{BAD, STUDENTS, of_district, own, sandbox, soon, start, texts, words};

const HOWS: [How; 3] = [How::Auto, How::Lookup, How::Scan];

fn options(how: How, endpoint: &str) -> FindIdsOptions {
    FindIdsOptions {
        batch: BatchOptions {
            endpoint: Some(endpoint.into()),
            ..BatchOptions::default()
        },
        payload_col: Some("payload".into()),
        how,
        ..FindIdsOptions::default()
    }
}

#[test]
fn defaults() {
    let options = FindIdsOptions::default();
    assert!(options.key_cols.is_empty() && options.payload_col.is_none());
    assert_eq!(options.how, How::Auto);
}

#[tokio::test]
async fn every_real_record_is_found_by_its_key() {
    let Some(data) = shared_data() else { return };
    let ods = sandbox()
        .districts(["gb"])
        .records(0)
        .openapi(document(&data, "resources-ds-5.0.json"))
        .start()
        .expect("a sandbox");
    let client = own(&ods, "gb").build().expect("a client");
    let (mut count, mut wanted) = (0, 0);
    for (endpoint, bodies) in grand_bend(&data) {
        ods.load("gb", &endpoint, bodies.iter().cloned())
            .expect("records");
        let items = ods.items("gb", &endpoint);
        let id_of = |body: &Value| {
            let is_it = |item: &&Value| {
                let (body, item) = (body.as_object(), item.as_object());
                let (Some(body), Some(item)) = (body, item) else {
                    return false;
                };
                body.iter()
                    .all(|(name, value)| item.get(name) == Some(value))
            };
            items.iter().find(is_it).map(|item| item["id"].clone())
        };
        // Some of each: a look-up of all would take the tests minutes.
        let step = (bodies.len() / 8).max(1);
        let bodies: Vec<&Value> = bodies.iter().step_by(step).collect();
        let rows: Vec<String> = bodies.iter().map(|body| body.to_string()).collect();
        let column = Column::new("payload".into(), rows);
        let df = DataFrame::new(bodies.len(), vec![column]).expect("a frame");
        for how in HOWS {
            let options = options(how, &endpoint);
            let found = soon(client.batch_find_ids(&df, &options)).await;
            let found = found.expect("a frame");
            let messages = texts(&found, "message");
            assert_eq!(messages, vec![None; bodies.len()], "{endpoint} {how}");
            let ids = texts(&found, "id");
            for (id, body) in ids.iter().zip(&bodies) {
                if let Some(expected) = id_of(body) {
                    assert_eq!(id.as_deref(), expected.as_str(), "{endpoint} {how}");
                    wanted += 1;
                }
            }
        }
        count += 1;
    }
    assert_eq!(count, 85);
    assert!(wanted > 1_000, "{wanted}");
}

#[test]
fn a_server_that_ignores_filters_is_scanned_once() {
    let ods = start();
    ods.set_faults(
        BAD,
        Faults {
            ignore_filters: true,
            ..Faults::default()
        },
    );
    let client: blocking::EdFiClient = own(&ods, BAD).build().expect("a client").into();
    let items = ods.items(BAD, STUDENTS);
    let known = items.iter().map(|item| item["studentUniqueId"].as_str());
    let known: Vec<&str> = known.take(3).map(|id| id.expect("an id")).collect();
    let names = [known[0], "nobody", known[1], known[2]];
    let bodies: Vec<String> = names.iter().map(|id| student(id).to_string()).collect();
    let df = payloads(
        &ods.districts(),
        BAD,
        bodies.iter().map(|body| Some(&**body)),
    );
    let df = df.drop_many(["targetUrl", "oAuthKey", "oAuthSecret"]);
    for how in HOWS {
        let options = FindIdsOptions {
            batch: of_students(BatchOptions::default()),
            ..options(how, STUDENTS)
        };
        let before = of_district(&ods, BAD).len();
        let found = client.batch_find_ids(&df, &options).expect("a frame");
        let statuses = texts(&found, "status");
        match how {
            How::Lookup => assert_eq!(words(&found, "status"), ["error"; 4]),
            _ => {
                assert_eq!(statuses, [None, Some("missing".to_owned()), None, None]);
                assert_eq!(texts(&found, "id")[0].as_deref(), items[0]["id"].as_str());
                let asked = of_district(&ods, BAD).split_off(before);
                let whole = |path: &str| path.ends_with("/students");
                let pages = asked.iter().filter(|one| whole(&one.path));
                assert!(pages.count() <= 6, "{asked:?}");
            }
        }
    }
}
