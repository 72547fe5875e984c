//! The caller's executor goes on while rows are put together.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use polars::prelude::*;
use polars_edfi::{EdFiClient, PostOptions};

use super::post;
use crate::support::{KEY, words};

const ROWS: usize = 40_000;

/// The longest time in which another task of this runtime did not run while a call did.
async fn longest_gap<T>(call: impl Future<Output = T>) -> (T, Duration) {
    let longest = Arc::new(Mutex::new((Instant::now(), Duration::ZERO)));
    let ticks = longest.clone();
    let ticking = tokio::spawn(async move {
        loop {
            {
                let mut gap = ticks.lock().expect("no panic");
                *gap = (Instant::now(), gap.1.max(gap.0.elapsed()));
            }
            tokio::task::yield_now().await;
        }
    });
    let result = call.await;
    ticking.abort();
    let (last, gap) = *longest.lock().expect("no panic");
    (result, gap.max(last.elapsed()))
}

#[tokio::test]
async fn another_task_ticks_on_while_payloads_are_encoded() {
    let numbers: Vec<i64> = (0..ROWS as i64).collect();
    let fields: Vec<Series> = (0..12)
        .map(|field| Series::new(format!("field{field}").into(), &numbers))
        .collect();
    let payload = StructChunked::from_series("payload".into(), ROWS, fields.iter());
    let payload = payload.expect("a Struct").into_column();
    let df = DataFrame::new(ROWS, vec![Column::new(KEY.into(), numbers), payload]);
    let df = df.expect("a frame");
    let client = EdFiClient::builder().build().expect("a client");
    let options = PostOptions::default();
    let begin = Instant::now();
    let (result, gap) = longest_gap(post(&client, &df, &options)).await;
    let all = begin.elapsed();
    assert_eq!(words(&result, "status"), ["dry_run"; ROWS]);
    assert!(gap < all / 2, "nothing else ran for {gap:?} of {all:?}");
}
