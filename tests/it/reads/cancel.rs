//! A read that is stopped from another task: every district is accounted for.

use std::time::{Duration, Instant};

use polars::prelude::*;
use polars_edfi::sandbox::{Faults, Sandbox};
use polars_edfi::{BatchOptions, Control, Error, GetAllOptions, blocking};

use super::{read, small_pages};
use crate::support::{
    BAD, DISTRICTS, KEY, RESULTS, assert_whole, client, failure, of_district, own, rows_of,
    sandbox, soon, start, texts, until, with_tokens,
};

fn watched(control: &Control, workers: usize) -> GetAllOptions {
    small_pages(BatchOptions {
        control: control.clone(),
        workers,
        ..BatchOptions::default()
    })
}

/// Each district is whole, or one row that says why not. Gives back how many are whole.
fn assert_accounted(df: &DataFrame, ods: &Sandbox) -> usize {
    let whole = DISTRICTS.iter().filter(|district| {
        let rows = rows_of(df, district);
        assert!(rows.height() > 0, "{district} is lost");
        let is_whole = texts(&rows, "status")[0].is_none();
        if is_whole {
            assert_whole(df, ods, district, RESULTS);
        } else {
            let (message, _) = failure(df, district);
            assert!(message.contains("interrupted"), "{message}");
        }
        is_whole
    });
    whole.count()
}

#[tokio::test]
async fn districts_that_were_not_finished_say_so() {
    let builder = sandbox().records(300).latency(Duration::from_millis(10));
    let ods = builder.start().expect("a sandbox");
    let districts = with_tokens(&ods).await;
    ods.clear_requests();
    let control = Control::new();
    let call = {
        let (client, control) = (client(), control.clone());
        let districts = districts.clone();
        tokio::spawn(async move { read(&client, &districts, &watched(&control, 2)).await })
    };
    until("a page", || control.records() > 0).await;
    assert_eq!(control.total(), 3);
    control.cancel();
    let sent = ods.requests().len();
    let df = soon(call).await.expect("no panic");
    assert_eq!(assert_accounted(&df, &ods), 0);
    assert_eq!((df.height(), control.done()), (3, 3));
    // What was on its way has arrived, and nothing after it.
    assert!(ods.requests().len() <= sent + 2);
}

#[tokio::test]
async fn what_is_finished_is_kept() {
    let builder = sandbox().records(100).latency(Duration::from_millis(10));
    let ods = builder.start().expect("a sandbox");
    let districts = with_tokens(&ods).await;
    ods.clear_requests();
    let control = Control::new();
    let call = {
        let (client, control) = (client(), control.clone());
        tokio::spawn(async move { read(&client, &districts, &watched(&control, 1)).await })
    };
    until("a district", || control.done() > 0).await;
    control.cancel();
    let df = soon(call).await.expect("no panic");
    assert_eq!(assert_accounted(&df, &ods), 1);
}

#[tokio::test]
async fn a_call_that_is_stopped_before_its_start_sends_nothing() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    ods.clear_requests();
    let control = Control::new();
    control.cancel();
    let df = read(&client(), &districts, &watched(&control, 8)).await;
    for district in DISTRICTS {
        assert_eq!(
            failure(&df, district),
            ("not sent: interrupted".to_owned(), None)
        );
    }
    assert!(ods.requests().is_empty());
}

#[tokio::test]
async fn a_long_wait_ends_at_once() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    let busy = Faults {
        always_status: Some(503),
        retry_after: Some(100),
        ..Faults::default()
    };
    ods.set_faults(BAD, busy);
    ods.clear_requests();
    let (control, begin) = (Control::new(), Instant::now());
    let call = {
        let (client, control) = (client(), control.clone());
        tokio::spawn(async move { read(&client, &districts, &watched(&control, 1)).await })
    };
    until("a refusal", || {
        of_district(&ods, BAD)
            .iter()
            .any(|request| request.status == Some(503))
    })
    .await;
    control.cancel();
    let df = soon(call).await.expect("no panic");
    assert!(begin.elapsed() < Duration::from_secs(20));
    // Others do not stand behind the one that waits.
    assert!(assert_accounted(&df, &ods) >= 1);
    let (message, status) = failure(&df, BAD);
    // The refusal may have been on its way still.
    match status {
        Some(503) => assert!(message.starts_with("interrupted; HTTP 503"), "{message}"),
        other => assert_eq!((other, message.as_str()), (None, "interrupted")),
    }
}

#[test]
fn a_blocking_call_is_stopped_from_another_thread() {
    let builder = sandbox().records(1_000).latency(Duration::from_millis(10));
    let ods = builder.start().expect("a sandbox");
    let client = blocking::EdFiClient::from(own(&ods, BAD).build().expect("a client"));
    let control = Control::new();
    let options = watched(&control, 1);
    let call = std::thread::spawn(move || client.get_all(&options));
    let begin = Instant::now();
    while control.records() == 0 {
        assert!(begin.elapsed() < Duration::from_secs(30));
        std::thread::yield_now();
    }
    control.cancel();
    // A part of the records is never returned.
    assert!(matches!(
        call.join().expect("no panic"),
        Err(Error::Interrupted)
    ));
}

#[tokio::test]
async fn a_call_that_is_dropped_stops() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    let silent = Faults {
        stall: usize::MAX,
        ..Faults::default()
    };
    ods.set_faults(BAD, silent);
    ods.clear_requests();
    let (client, options) = (client(), watched(&Control::new(), 8));
    let call = client.batch_get_all(&districts, KEY, &options);
    tokio::select! {
        _ = call => panic!("a silent server answered"),
        () = until("a request", || !of_district(&ods, BAD).is_empty()) => {}
    }
    // The client is as good as before.
    ods.set_faults(BAD, Faults::default());
    let df = read(&client, &districts, &small_pages(BatchOptions::default())).await;
    assert_eq!(assert_accounted(&df, &ods), 3);
}
