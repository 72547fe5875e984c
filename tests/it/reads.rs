//! Reads over HTTP: every record of every district, or that district's error.

mod cancel;
mod cursor;
mod faults;
mod moving;
mod pages;
mod short;
mod whole;

use polars::prelude::*;
use polars_edfi::sandbox::{Faults, Sandbox};
use polars_edfi::{BatchOptions, EdFiClient, GetAllOptions, Paging};

use crate::support::{
    BAD, DISTRICTS, KEY, RESULTS, assert_whole, client, failure, inferred, soon, with_tokens,
};

/// Pages of ten by offset: the 40 records of a district are four of them.
fn small_pages(batch: BatchOptions) -> GetAllOptions {
    GetAllOptions {
        batch,
        limit: 11,
        paging: Paging::Offset,
        ..inferred()
    }
}

async fn read(client: &EdFiClient, districts: &DataFrame, options: &GetAllOptions) -> DataFrame {
    let call = client.batch_get_all(districts, KEY, options);
    soon(call).await.expect("a frame")
}

/// What comes of three districts when the one in the middle does something wrong.
async fn read_with(ods: &Sandbox, faults: Faults) -> DataFrame {
    read_by(&client(), ods, faults, BatchOptions::default()).await
}

async fn read_by(
    client: &EdFiClient,
    ods: &Sandbox,
    faults: Faults,
    batch: BatchOptions,
) -> DataFrame {
    let districts = with_tokens(ods).await;
    ods.set_faults(BAD, faults);
    ods.clear_requests();
    let df = read(client, &districts, &small_pages(batch)).await;
    assert_others_whole(&df, ods);
    df
}

/// The districts on both sides have all their records.
fn assert_others_whole(df: &DataFrame, ods: &Sandbox) {
    assert_whole(df, ods, DISTRICTS[0], RESULTS);
    assert_whole(df, ods, DISTRICTS[2], RESULTS);
}

fn assert_all_whole(df: &DataFrame, ods: &Sandbox) {
    for district in DISTRICTS {
        assert_whole(df, ods, district, RESULTS);
    }
}

/// The message of the district in the middle, which failed with this HTTP status.
fn failed(df: &DataFrame, http_status: impl Into<Option<i32>>) -> String {
    let (message, found) = failure(df, BAD);
    assert_eq!(found, http_status.into(), "{message}");
    message
}
