//! Pages: their size, their number at once and their order change nothing in the frame.

use std::collections::HashSet;
use std::time::Duration;

use fastrand::Rng;
use polars::prelude::*;
use polars_edfi::sandbox::{Faults, Sandbox};
use polars_edfi::{BatchOptions, EdFiClient, GetAllOptions, Paging};
use serde_json::{Value, json};

use super::{assert_all_whole, failed, read};
use crate::support::{
    BAD, DISTRICTS, RESULTS, assert_whole, client, data_requests, inferred, names, own, renewing,
    sandbox, soon, start, with_tokens, words,
};

fn paged(limit: usize, workers: usize) -> GetAllOptions {
    let batch = BatchOptions {
        workers,
        ..BatchOptions::default()
    };
    GetAllOptions {
        batch,
        limit,
        paging: Paging::Offset,
        ..inferred()
    }
}

/// Reads the same with every page size and number of workers; says what all of it is.
async fn read_all_ways(ods: &Sandbox, districts: &DataFrame, what: &str) -> DataFrame {
    let first = read(&client(), districts, &paged(100, 2)).await;
    for limit in [1, 7, 100, 500] {
        for (workers, paging) in [
            (1, Paging::Offset),
            (2, Paging::Cursor),
            (2, Paging::Auto),
            (8, Paging::Offset),
            (8, Paging::Cursor),
        ] {
            ods.clear_requests();
            let options = GetAllOptions {
                paging,
                ..paged(limit, workers)
            };
            let df = read(&client(), districts, &options).await;
            let here = format!("{what}, limit {limit}, {workers} workers, {paging:?}");
            assert_eq!(df.schema(), first.schema(), "{here}");
            assert_eq!(names(&df), names(&first), "{here}");
            assert!(df.equals_missing(&first), "{here}");
            assert!(
                ods.max_in_flight() <= workers,
                "{here}: {}",
                ods.max_in_flight()
            );
        }
    }
    first
}

#[tokio::test]
async fn the_sandboxs_records_are_the_same_in_all_pages() {
    for seed in 0..3 {
        let ods = sandbox().seed(seed).records(60).start().expect("a sandbox");
        let districts = with_tokens(&ods).await;
        let df = read_all_ways(&ods, &districts, &format!("seed {seed}")).await;
        assert_all_whole(&df, &ods);
        let faults = Faults {
            mistype: true,
            ..Faults::default()
        };
        ods.set_faults(BAD, faults);
        read_all_ways(&ods, &districts, &format!("seed {seed}, mistyped")).await;
    }
}

/// A value of a kind that goes with its key most of the time.
fn value(rng: &mut Rng, key: &str, depth: usize) -> Value {
    let kind = match rng.u32(..100) {
        0..10 => return Value::Null,
        10..13 => rng.usize(..7),
        _ => key.len() % 7,
    };
    match kind {
        0 => json!(rng.bool()),
        1 => json!(rng.i64(-1_000..1_000)),
        2 => json!(f64::from(rng.i32(-4_000..4_000)) / 8.0),
        3 if depth > 0 => (0..rng.usize(..3))
            .map(|_| value(rng, "list", depth - 1))
            .collect(),
        4 | 5 if depth > 0 => object(rng, depth - 1),
        _ => json!(format!("{}é\"\u{1F600}\n", rng.u32(..))),
    }
}

fn object(rng: &mut Rng, depth: usize) -> Value {
    let keys = [
        "a", "bb", "ccc", "dddd", "eeeee", "ffffff", "x.y", "a_record", "status",
    ];
    let kept = keys
        .iter()
        .filter(|_| rng.u32(..10) < 6)
        .collect::<Vec<_>>();
    let members = kept
        .into_iter()
        .map(|key| ((*key).to_owned(), value(rng, key, depth)));
    Value::Object(members.collect())
}

#[tokio::test]
async fn random_records_are_the_same_in_all_pages() {
    for seed in 0..8 {
        let ods = start();
        let mut rng = Rng::with_seed(seed);
        for district in DISTRICTS {
            let count = rng.usize(..40);
            let records: Vec<Value> = (0..count).map(|_| object(&mut rng, 3)).collect();
            ods.load(district, RESULTS, records).expect("records");
        }
        let districts = with_tokens(&ods).await;
        let df = read_all_ways(&ods, &districts, &format!("seed {seed}")).await;
        let ids: Vec<String> = DISTRICTS
            .iter()
            .flat_map(|district| ods.items(district, RESULTS))
            .map(|item| item["id"].as_str().expect("an id").to_owned())
            .collect();
        assert_eq!(words(&df, "id"), ids, "seed {seed}");
    }
}

#[tokio::test]
async fn no_more_requests_are_in_flight_than_workers() {
    let builder = sandbox().records(200).latency(Duration::from_millis(10));
    let ods = builder.start().expect("a sandbox");
    let districts = with_tokens(&ods).await;
    for workers in [1, 2, 8] {
        ods.clear_requests();
        let df = read(&client(), &districts, &paged(10, workers)).await;
        assert_all_whole(&df, &ods);
        assert_eq!(ods.max_in_flight(), workers);
    }
    // Requests for tokens and for the data URL count as well.
    for workers in [1, 2] {
        let districts = with_tokens(&ods).await;
        for district in DISTRICTS {
            ods.revoke_tokens(district);
        }
        ods.clear_requests();
        let client = EdFiClient::builder().build().expect("a client");
        let mut options = paged(10, workers);
        options.batch = BatchOptions {
            workers,
            ..renewing()
        };
        assert_all_whole(&read(&client, &districts, &options).await, &ods);
        assert_eq!(ods.max_in_flight(), workers);
    }
}

#[tokio::test]
async fn pages_of_one_district_come_side_by_side() {
    let builder = sandbox().records(400).latency(Duration::from_millis(20));
    let ods = builder.start().expect("a sandbox");
    let client = own(&ods, BAD).build().expect("a client");
    // Pages overlap by one record: each but the first brings ten new ones.
    let df = soon(client.get_all(&paged(11, 8))).await.expect("records");
    assert_eq!(df.height(), 400);
    assert_eq!(ods.max_in_flight(), 8);
    // Each page is asked for once, and the count with the first and the last of them.
    let queries: Vec<String> = data_requests(&ods, BAD)
        .into_iter()
        .map(|request| request.query)
        .collect();
    let distinct: HashSet<&String> = queries.iter().collect();
    assert_eq!((queries.len(), distinct.len()), (40, 40));
    let counted = queries
        .iter()
        .filter(|query| query.contains("totalCount=true"));
    assert_eq!(counted.count(), 2);
}

#[tokio::test]
async fn a_server_that_allows_smaller_pages_is_read_with_those() {
    let ods = sandbox().page_limit(15).start().expect("a sandbox");
    let districts = with_tokens(&ods).await;
    ods.clear_requests();
    let df = read(&client(), &districts, &paged(500, 4)).await;
    assert_all_whole(&df, &ods);
    for district in DISTRICTS {
        let statuses: Vec<_> = data_requests(&ods, district)
            .iter()
            .map(|request| request.status)
            .collect();
        assert_eq!(statuses, [Some(400), Some(200), Some(200), Some(200)]);
    }
    // Where it is not told apart from other refusals, it is one.
    let refusing = Faults {
        always_status: Some(400),
        ..Faults::default()
    };
    ods.set_faults(BAD, refusing);
    let df = read(&client(), &districts, &paged(500, 4)).await;
    assert!(failed(&df, 400).starts_with("HTTP 400 Bad Request"));
}

#[tokio::test]
async fn compressed_pages_are_pages() {
    let ods = sandbox().gzip(true).start().expect("a sandbox");
    let districts = with_tokens(&ods).await;
    assert_all_whole(&read(&client(), &districts, &paged(7, 4)).await, &ods);
}

#[tokio::test]
async fn an_empty_resource_has_no_rows() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    for district in DISTRICTS {
        ods.load(district, RESULTS, []).expect("nothing");
    }
    let df = read(&client(), &districts, &paged(10, 2)).await;
    let about = [
        "District BK",
        "status",
        "message",
        "http_status",
        "correlation_id",
    ];
    assert_eq!((df.height(), names(&df)), (0, about.to_vec()));
    // One district with records beside empty ones.
    ods.load(BAD, RESULTS, [json!({"a": 1}), json!({"a": 2})])
        .expect("records");
    let df = read(&client(), &districts, &paged(1, 2)).await;
    assert_whole(&df, &ods, BAD, RESULTS);
    assert_eq!(df.height(), 2);
}
