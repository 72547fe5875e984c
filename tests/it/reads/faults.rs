//! What a server does wrong, and what a read makes of it: the whole district, or its error.

use std::time::{Duration, Instant};

use polars_edfi::sandbox::Faults;
use polars_edfi::{BatchOptions, EdFiClient, GetAllOptions, Paging, SchemaChoice};

use super::{assert_all_whole, failed, read, read_by, read_with, small_pages};
use crate::support::{
    BAD, DISTRICTS, client, data_requests, inferred, patient, renewing, rows_of, start,
    token_requests, with_texts, with_tokens, words,
};

/// Each is got over: the district is whole after so many requests.
async fn assert_got_over(cases: impl IntoIterator<Item = (Faults, usize)>) {
    let ods = start();
    for (faults, requests) in cases {
        let df = read_with(&ods, faults.clone()).await;
        assert_all_whole(&df, &ods);
        let sent = data_requests(&ods, BAD).len();
        assert_eq!(sent, requests, "{faults:?}");
    }
}

#[tokio::test]
async fn passing_troubles_are_tried_again() {
    let none = Faults::default;
    assert_got_over([
        (
            Faults {
                statuses: vec![503, 0, 500, 429, 408, 502, 504],
                ..none()
            },
            10,
        ),
        (
            Faults {
                break_before: 2,
                ..none()
            },
            6,
        ),
        (
            Faults {
                break_after: 2,
                ..none()
            },
            6,
        ),
        (
            Faults {
                break_every: 3,
                ..none()
            },
            5,
        ),
        (
            Faults {
                truncate_pages: 2,
                ..none()
            },
            6,
        ),
        (
            Faults {
                latency: Duration::from_millis(50),
                ..none()
            },
            4,
        ),
    ])
    .await;
}

#[tokio::test]
async fn faults_of_other_requests_do_not_touch_a_read() {
    let none = Faults::default;
    assert_got_over([
        (
            Faults {
                always_status: Some(500),
                writes_only: true,
                ..none()
            },
            4,
        ),
        (
            Faults {
                no_cursor: true,
                ..none()
            },
            4,
        ),
        (
            Faults {
                no_change_queries: true,
                ..none()
            },
            4,
        ),
        (
            Faults {
                no_metadata: true,
                ..none()
            },
            4,
        ),
    ])
    .await;
}

#[tokio::test]
async fn troubles_that_stay_are_the_districts_error() {
    let ods = start();
    let none = Faults::default;
    for (faults, status, message) in [
        (
            Faults {
                always_status: Some(500),
                ..none()
            },
            Some(500),
            "HTTP 500 Internal Server Error: An unexpected problem has occurred.",
        ),
        (
            Faults {
                always_status: Some(403),
                ..none()
            },
            Some(403),
            "HTTP 403 Forbidden: Access to the resource could not be authorized.",
        ),
        (
            Faults {
                statuses: vec![0, 0, 404],
                ..none()
            },
            Some(404),
            "HTTP 404 Not Found: The specified data could not be found.",
        ),
        (
            Faults {
                refuse_tokens: true,
                ..none()
            },
            Some(401),
            "auth error: HTTP 401",
        ),
        (
            Faults { html: 1, ..none() },
            Some(200),
            "HTTP 200 OK: expected a JSON array, got HTML or XML",
        ),
        (
            Faults {
                object_instead_of_array: 1,
                ..none()
            },
            Some(200),
            "HTTP 200 OK: expected a JSON array, got an object",
        ),
        (
            Faults {
                truncate_json: 1,
                ..none()
            },
            Some(200),
            "HTTP 200 OK: the JSON ends in the middle",
        ),
        (
            Faults {
                break_before: usize::MAX,
                ..none()
            },
            None,
            "connection broken: connection closed before message completed",
        ),
        (
            Faults {
                break_after: usize::MAX,
                ..none()
            },
            None,
            "connection broken: connection closed before message completed",
        ),
        (
            Faults {
                truncate_pages: usize::MAX,
                ..none()
            },
            None,
            "connection broken: end of file before message length reached",
        ),
    ] {
        let client = patient(Duration::from_secs(20), 1);
        let df = read_by(&client, &ods, faults, BatchOptions::default()).await;
        assert_eq!(failed(&df, status), message);
    }
}

#[tokio::test]
async fn the_server_says_what_it_calls_a_failed_request() {
    let ods = start();
    let faults = Faults {
        always_status: Some(403),
        ..Faults::default()
    };
    let df = read_with(&ods, faults).await;
    let id = words(&rows_of(&df, BAD), "correlation_id").remove(0);
    assert_eq!(id.len(), 36, "{id}");
    // An answer that no time mends is asked for once.
    assert_eq!(data_requests(&ods, BAD).len(), 1);
}

#[tokio::test]
async fn tries_end() {
    let ods = start();
    let faults = Faults {
        always_status: Some(503),
        ..Faults::default()
    };
    let client = patient(Duration::from_secs(20), 2);
    let df = read_by(&client, &ods, faults, BatchOptions::default()).await;
    failed(&df, 503);
    assert_eq!(data_requests(&ods, BAD).len(), 3);
}

#[tokio::test]
async fn a_page_that_fails_in_the_middle_takes_the_district_with_it() {
    let ods = start();
    let batch = BatchOptions {
        workers: 1,
        ..BatchOptions::default()
    };
    let faults = Faults {
        statuses: vec![0, 0, 0, 403],
        ..Faults::default()
    };
    let df = read_by(&client(), &ods, faults, batch).await;
    failed(&df, 403);
    assert_eq!(data_requests(&ods, BAD).len(), 4);
    assert_eq!(df.height(), 81);
}

#[tokio::test]
async fn the_server_says_when_to_come_back() {
    let ods = start();
    let wait = |seconds| Faults {
        statuses: vec![0, 503, 429],
        retry_after: Some(seconds),
        ..Faults::default()
    };
    let start = Instant::now();
    let df = read_with(&ods, wait(1)).await;
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_all_whole(&df, &ods);

    let impatient = EdFiClient::builder()
        .api_version("v3")
        .max_wait(Duration::from_secs(5));
    let impatient = impatient.build().expect("a client");
    let start = Instant::now();
    let one_by_one = BatchOptions {
        workers: 1,
        ..BatchOptions::default()
    };
    let df = read_by(&impatient, &ods, wait(600), one_by_one).await;
    let message = failed(&df, 503);
    assert!(
        message.contains("wait 600 s, longer than max_wait"),
        "{message}"
    );
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_server_that_falls_silent_is_not_waited_for() {
    let ods = start();
    let short = patient(Duration::from_millis(500), 2);
    let once = Faults {
        stall: 1,
        ..Faults::default()
    };
    let df = read_by(&short, &ods, once, BatchOptions::default()).await;
    assert_all_whole(&df, &ods);

    let start = Instant::now();
    for faults in [
        Faults {
            stall: usize::MAX,
            ..Faults::default()
        },
        Faults {
            latency: Duration::from_secs(60),
            ..Faults::default()
        },
    ] {
        let df = read_by(&short, &ods, faults, BatchOptions::default()).await;
        assert_eq!(failed(&df, None), "no byte for 0.5 s");
    }
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn a_token_that_ends_on_the_way_is_renewed_once() {
    let ods = start();
    for after in [0, 1, 3] {
        let faults = Faults {
            expire_after: Some(after),
            ..Faults::default()
        };
        let df = read_by(&client(), &ods, faults, renewing()).await;
        assert_all_whole(&df, &ods);
        let requests = DISTRICTS.map(|district| token_requests(&ods, district));
        assert_eq!(requests, [0, 1, 0], "after {after}");
    }

    let faults = Faults {
        expire_after: Some(2),
        ..Faults::default()
    };
    let df = read_with(&ods, faults).await;
    assert_eq!(failed(&df, 401), "auth error: HTTP 401");

    let faults = Faults {
        expire_after: Some(2),
        token_statuses: vec![400],
        ..Faults::default()
    };
    let batch = BatchOptions {
        workers: 1,
        ..renewing()
    };
    let df = read_by(&client(), &ods, faults, batch).await;
    let message = failed(&df, 401);
    let expected = "auth error: HTTP 401; auth refresh failed: HTTP 400 Bad Request";
    assert!(message.starts_with(expected), "{message}");
}

#[tokio::test]
async fn a_redirect_takes_no_token_to_another_server() {
    let (ods, elsewhere) = (start(), start());
    let path = format!("{BAD}/data/v3/ed-fi/studentAssessments");
    let faults = |location: String| Faults {
        redirect_to: Some(location),
        ..Faults::default()
    };
    let df = read_with(&ods, faults(format!("{}/{path}", elsewhere.url()))).await;
    let message = failed(&df, 302);
    assert!(message.starts_with("HTTP 302 Found: "), "{message}");
    assert!(elsewhere.requests().is_empty());

    // Round and round within the same server.
    let df = read_with(&ods, faults(format!("/{path}"))).await;
    assert_eq!(failed(&df, None), "more than 5 redirects");
}

#[tokio::test]
async fn a_redirect_within_the_server_is_followed() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    let moved = Faults {
        redirect_to: Some(format!(
            "/{}/data/v3/ed-fi/studentAssessments?limit=500",
            DISTRICTS[0]
        )),
        ..Faults::default()
    };
    ods.set_faults(BAD, moved);
    // The token of the first district, which is where the redirect leads.
    let token = &words(&districts, "EdFi Token")[0];
    let tokens = DISTRICTS.map(|_| Some(token.as_str()));
    let districts = with_texts(&districts, "EdFi Token", tokens).slice(1, 1);
    let options = GetAllOptions {
        paging: Paging::Offset,
        ..inferred()
    };
    let df = read(&client(), &districts, &options).await;
    assert_eq!(df.height(), 40);
    assert_eq!(words(&df, "id").len(), 40);
}

#[tokio::test]
async fn metadata_in_trouble_does_not_hinder_inferred_columns() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    let faults = Faults {
        metadata_statuses: vec![500; 100],
        ..Faults::default()
    };
    ods.set_faults(BAD, faults);
    let mut options = small_pages(BatchOptions::default());
    options.schema = SchemaChoice::Infer;
    assert_all_whole(&read(&client(), &districts, &options).await, &ods);
}
