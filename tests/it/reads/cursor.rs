//! Pages by token: partitions side by side, ends only where the server says so, filters on every page.

use std::time::Duration;

use polars::prelude::*;
use polars_edfi::sandbox::{Faults, LoggedRequest, Sandbox};
use polars_edfi::{BatchOptions, Control, EdFiClient, GetAllOptions, OnShort, Paging};

use super::{assert_all_whole, assert_others_whole, failed, read};
use crate::support::{
    BAD, RESULTS, assert_same, client, data_requests, inferred, own, patient, records, renewing,
    rows_of, sandbox, soon, with_tokens,
};

/// Pages of two, so that the 40 records of a district are four partitions.
fn start() -> Sandbox {
    sandbox().page_limit(2).start().expect("a sandbox")
}

fn by(paging: Paging) -> GetAllOptions {
    GetAllOptions {
        limit: 2,
        paging,
        ..inferred()
    }
}

fn gaps() -> Faults {
    Faults {
        token_gaps: true,
        ..Faults::default()
    }
}

fn losing(reads: usize) -> Faults {
    Faults {
        lose_records: 3,
        lose_reads: reads,
        ..Faults::default()
    }
}

fn parameter(request: &LoggedRequest, name: &str) -> Option<String> {
    let mut pairs = request.query.split('&').filter_map(|p| p.split_once('='));
    let found = pairs.find(|(own, _)| *own == name);
    found.map(|(_, value)| value.to_owned())
}

fn with(requests: &[LoggedRequest], name: &str) -> Vec<String> {
    requests
        .iter()
        .filter_map(|one| parameter(one, name))
        .collect()
}

async fn with_faults(ods: &Sandbox, faults: Faults, options: &GetAllOptions) -> DataFrame {
    let districts = with_tokens(ods).await;
    ods.set_faults(BAD, faults);
    ods.clear_requests();
    let df = read(&client(), &districts, options).await;
    assert_others_whole(&df, ods);
    df
}

async fn own_read(ods: &Sandbox, options: &GetAllOptions) -> DataFrame {
    let client = own(ods, BAD).build().expect("a client");
    ods.clear_requests();
    soon(client.get_all(options)).await.expect("records")
}

#[tokio::test]
async fn partitions_are_walked_side_by_side() {
    let builder = sandbox().page_limit(2).latency(Duration::from_millis(20));
    let ods = builder.start().expect("a sandbox");
    for paging in [Paging::Auto, Paging::Cursor] {
        let df = own_read(&ods, &by(paging)).await;
        assert_same(&records(&df), &ods.items(BAD, RESULTS));
        // 40 records are 4 partitions of 5 pages of 2.
        assert_eq!(ods.max_in_flight(), 4);
        let requests = data_requests(&ods, BAD);
        assert_eq!(with(&requests, "number"), ["4"]);
        assert_eq!(with(&requests, "offset"), ["0"]);
        assert_eq!(with(&requests, "totalCount"), ["true"]);
        // Each ends with an empty page.
        assert_eq!(with(&requests, "pageToken").len(), 4 * 6);
        for request in &requests {
            let by_token = parameter(request, "pageToken").is_some();
            assert_eq!(by_token, parameter(request, "pageSize").is_some());
        }
    }
}

#[tokio::test]
async fn a_few_pages_follow_the_first_one() {
    let ods = sandbox().page_limit(10).start().expect("a sandbox");
    let options = |paging| GetAllOptions {
        limit: 10,
        ..by(paging)
    };
    let df = own_read(&ods, &options(Paging::Auto)).await;
    assert_same(&records(&df), &ods.items(BAD, RESULTS));
    let requests = data_requests(&ods, BAD);
    assert_eq!(with(&requests, "number"), [""; 0]);
    assert_eq!(with(&requests, "pageToken").len(), 4);
    assert_eq!(requests.len(), 5);

    let df = own_read(&ods, &options(Paging::Cursor)).await;
    assert_same(&records(&df), &ods.items(BAD, RESULTS));
    assert_eq!(with(&data_requests(&ods, BAD), "number"), ["1"]);
}

#[tokio::test]
async fn what_one_page_holds_is_one_request() {
    let ods = sandbox().start().expect("a sandbox");
    for paging in [Paging::Auto, Paging::Offset, Paging::Cursor] {
        // A full page is never the end, whatever is counted.
        for (limit, requests) in [(41, 1), (40, 2)] {
            let options = GetAllOptions {
                limit,
                ..by(paging)
            };
            assert_eq!(own_read(&ods, &options).await.height(), 40);
            let expected = match paging {
                // The partitions, the page of the only one, and an empty page.
                Paging::Cursor if requests > 1 => 4,
                _ => requests,
            };
            assert_eq!(data_requests(&ods, BAD).len(), expected, "{paging:?}");
        }
    }
    ods.load(BAD, RESULTS, []).expect("nothing");
    assert_eq!(own_read(&ods, &by(Paging::Cursor)).await.height(), 0);
    assert_eq!(data_requests(&ods, BAD).len(), 1);
}

#[tokio::test]
async fn empty_and_short_pages_are_no_end() {
    for count in [true, false] {
        let builder = sandbox().page_limit(2).total_count(count);
        let ods = builder.start().expect("a sandbox");
        for paging in [Paging::Auto, Paging::Cursor] {
            let df = with_faults(&ods, gaps(), &by(paging)).await;
            assert_all_whole(&df, &ods);
        }
        let long = GetAllOptions {
            limit: 10,
            ..by(Paging::Auto)
        };
        let ods = sandbox().page_limit(10).total_count(count).start();
        let ods = ods.expect("a sandbox");
        assert_all_whole(&with_faults(&ods, gaps(), &long).await, &ods);
    }
}

#[tokio::test]
async fn without_tokens_auto_is_by_offset_and_costs_nothing() {
    let ods = start();
    for faults in [
        Faults::default(),
        Faults {
            no_total_count: true,
            ..Faults::default()
        },
    ] {
        let faults = Faults {
            no_cursor: true,
            ..faults
        };
        let by_offset = with_faults(&ods, faults.clone(), &by(Paging::Offset)).await;
        let expected = data_requests(&ods, BAD).len();
        let auto = with_faults(&ods, faults, &by(Paging::Auto)).await;
        assert!(auto.equals_missing(&by_offset));
        assert_all_whole(&auto, &ods);
        let requests = data_requests(&ods, BAD);
        assert_eq!(requests.len(), expected);
        assert!(requests.iter().all(|one| one.path.ends_with(RESULTS)));
    }
}

#[tokio::test]
async fn cursor_needs_a_server_that_has_it() {
    let ods = start();
    let faults = Faults {
        no_cursor: true,
        ..Faults::default()
    };
    let message = failed(&with_faults(&ods, faults, &by(Paging::Cursor)).await, None);
    assert!(message.contains("no page tokens"), "{message}");
}

#[tokio::test]
async fn filters_stand_in_every_request() {
    let ods = start();
    let items = ods.items(BAD, RESULTS);
    let name = &items[0]["assessmentReference"]["assessmentIdentifier"];
    let wanted: Vec<_> = items
        .iter()
        .filter(|one| one["assessmentReference"]["assessmentIdentifier"] == *name)
        .cloned()
        .collect();
    assert!(wanted.len() > 2 && wanted.len() < items.len());
    for paging in [Paging::Auto, Paging::Offset, Paging::Cursor] {
        let options = GetAllOptions {
            params: vec![(
                "assessmentIdentifier".into(),
                name.as_str().expect("a text").into(),
            )],
            min_change_version: Some(0),
            max_change_version: Some(1_000_000),
            snapshot: true,
            ..by(paging)
        };
        ods.take_snapshot(BAD);
        let df = own_read(&ods, &options).await;
        assert_same(&records(&df), &wanted);
        let requests: Vec<_> = data_requests(&ods, BAD);
        for own in [
            "assessmentIdentifier",
            "minChangeVersion",
            "maxChangeVersion",
        ] {
            assert_eq!(with(&requests, own).len(), requests.len(), "{own}");
        }
    }
}

#[tokio::test]
async fn missing_records_are_counted_anew_then_read_again() {
    let ods = start();
    for paging in [Paging::Auto, Paging::Cursor] {
        let options = by(paging);
        let df = with_faults(&ods, losing(1), &options).await;
        assert_all_whole(&df, &ods);
        let requests = data_requests(&ods, BAD);
        // The count with each first page, and once by itself.
        assert_eq!(with(&requests, "totalCount").len(), 3);
        let limits = with(&requests, "limit");
        assert_eq!(limits, ["2", "0", "2"]);

        let message = failed(&with_faults(&ods, losing(usize::MAX), &options).await, None);
        assert_eq!(message, "37 records came where the server counts 40");
        let control = Control::new();
        let options = GetAllOptions {
            on_short: OnShort::Warn,
            batch: BatchOptions {
                control: control.clone(),
                ..BatchOptions::default()
            },
            ..options
        };
        let df = with_faults(&ods, losing(usize::MAX), &options).await;
        assert_same(&records(&rows_of(&df, BAD)), &ods.items(BAD, RESULTS)[..37]);
        assert_eq!(control.warnings().len(), 1);
        ods.set_faults(BAD, Faults::default());
    }
}

#[tokio::test]
async fn troubles_on_the_way_are_got_over_or_fail_the_district() {
    let ods = start();
    let none = Faults::default;
    for faults in [
        Faults {
            statuses: vec![0, 503, 0, 500, 0, 0, 429, 0, 502],
            ..none()
        },
        Faults {
            break_every: 5,
            ..none()
        },
        Faults {
            truncate_pages: 2,
            ..none()
        },
    ] {
        let df = with_faults(&ods, faults, &by(Paging::Auto)).await;
        assert_all_whole(&df, &ods);
    }
    for (faults, status) in [
        // The seventh request is a page by token.
        (
            Faults {
                statuses: vec![0, 0, 0, 0, 0, 0, 403],
                ..none()
            },
            Some(403),
        ),
        // The second is for partitions.
        (
            Faults {
                statuses: vec![0, 403],
                ..none()
            },
            Some(403),
        ),
        (
            Faults {
                truncate_json: 1,
                ..none()
            },
            Some(200),
        ),
    ] {
        failed(&with_faults(&ods, faults, &by(Paging::Auto)).await, status);
    }
}

#[tokio::test]
async fn tokens_are_renewed_on_the_way() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    ods.set_faults(
        BAD,
        Faults {
            expire_after: Some(5),
            ..Faults::default()
        },
    );
    let options = GetAllOptions {
        batch: renewing(),
        ..by(Paging::Cursor)
    };
    assert_all_whole(&read(&client(), &districts, &options).await, &ods);
}

#[tokio::test]
async fn partitions_that_are_refused_leave_the_walk_from_the_first_page() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    for status in [400, 404, 405, 501] {
        let faults = Faults {
            statuses: vec![0, status],
            ..Faults::default()
        };
        ods.set_faults(BAD, faults);
        ods.clear_requests();
        let options = by(Paging::Auto);
        let patient: EdFiClient = patient(Duration::from_secs(20), 0);
        assert_all_whole(&read(&patient, &districts, &options).await, &ods);
        let requests = data_requests(&ods, BAD);
        // 1 by offset, then 19 and the empty one by token.
        assert_eq!(with(&requests, "pageToken").len(), 20);
    }
}

#[tokio::test]
async fn progress_counts_no_record_twice() {
    let ods = start();
    for paging in [Paging::Auto, Paging::Offset, Paging::Cursor] {
        let options = by(paging);
        own_read(&ods, &options).await;
        assert_eq!(options.batch.control.records(), 40, "{paging:?}");
    }
}
#[tokio::test]
async fn a_window_of_change_versions_is_read_with_both_pagings() {
    let ods = start();
    let window = |paging, min, max| GetAllOptions {
        min_change_version: min,
        max_change_version: max,
        ..by(paging)
    };
    let all = own_read(&ods, &by(Paging::Auto)).await;
    let client = own(&ods, BAD).build().expect("a client");
    let newest = soon(client.available_change_versions())
        .await
        .expect("versions")
        .newest;
    for paging in [Paging::Auto, Paging::Offset, Paging::Cursor] {
        let later = own_read(&ods, &window(paging, Some(newest - 10), None)).await;
        let earlier = own_read(&ods, &window(paging, None, Some(newest - 11))).await;
        assert!(later.height() > 2 && earlier.height() > 2, "{paging:?}");
        assert_eq!(later.height() + earlier.height(), all.height());
        let none = own_read(&ods, &window(paging, Some(newest + 1), None)).await;
        assert_eq!(none.height(), 0);
    }
}
