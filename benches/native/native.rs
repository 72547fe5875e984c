//! This project's batches, called from Rust.

use std::fs;

use polars::prelude::*;
use polars_edfi::columns::Encoder;
use polars_edfi::{
    BatchOptions, EdFiClient, GetAllOptions, GetByIdOptions, PostOptions, SchemaChoice,
    TokenOptions, blocking,
};
use serde_json::Value;

use crate::work::{Result, Work, measure};

const KEY: &str = "District BK";

/// Does a job; the outcome is a JSON object.
pub(crate) fn run(work: &Work) -> Result<Value> {
    let client = EdFiClient::builder().api_version("v3").build()?;
    let client = blocking::EdFiClient::from(client);
    let rows = input(work)?;
    let (result, mut took) = measure(|| call(work, &client, &rows))?;
    took["rows"] = result.height().into();
    if let Some(path) = &work.result {
        fs::write(path, lines(result)?)?;
    }
    Ok(took)
}

fn call(work: &Work, client: &blocking::EdFiClient, rows: &DataFrame) -> Result<DataFrame> {
    let workers = work.workers;
    let batch = BatchOptions {
        workers,
        ..BatchOptions::default()
    };
    Ok(match work.job.as_str() {
        "get_all" => {
            let options = GetAllOptions {
                batch,
                limit: work.limit,
                schema: SchemaChoice::Infer,
                ..GetAllOptions::default()
            };
            client.batch_get_all(rows, KEY, &options)?
        }
        "post" => {
            let options = PostOptions {
                batch,
                commit: true,
                ..PostOptions::default()
            };
            client.batch_post_payload(rows, "payload", "key", &options)?
        }
        "get_by_id" => {
            let options = GetByIdOptions {
                batch,
                flatten: true,
                ..GetByIdOptions::default()
            };
            client.batch_get_by_id(rows, "id", &options)?
        }
        "tokens" => {
            let options = TokenOptions {
                workers,
                ..TokenOptions::default()
            };
            client.batch_fetch_tokens(rows, KEY, "oauth/token", &options)?
        }
        other => return Err(format!("no job is called {other:?}").into()),
    })
}

/// A frame as JSON, one row a line.
fn lines(frame: DataFrame) -> Result<Vec<u8>> {
    let rows = Encoder::new(&frame.into_struct("row".into()).into_series(), true)?;
    let mut lines = Vec::new();
    for row in 0..rows.len() {
        lines.extend(rows.encode(row)?.unwrap_or_default());
        lines.push(b'\n');
    }
    Ok(lines)
}

/// The frame that a job takes.
fn input(work: &Work) -> Result<DataFrame> {
    let base = format!("{}{}", work.url, work.district(0));
    let numbers = |end| (1..=end).map(|number: usize| number.to_string());
    match work.job.as_str() {
        "get_all" => {
            let urls = (0..work.districts).map(|number| work.url.clone() + &work.district(number));
            Ok(df!(
                KEY => numbers(work.districts).collect::<Vec<_>>(),
                "targetUrl" => urls.collect::<Vec<_>>(),
                "EdFi Token" => vec![work.token.as_str(); work.districts],
            )?)
        }
        "tokens" => Ok(df!(
            KEY => numbers(work.count).collect::<Vec<_>>(),
            "targetUrl" => vec![base; work.count],
            "oAuthKey" => numbers(work.count).map(|n| format!("key-{n}")).collect::<Vec<_>>(),
            "oAuthSecret" => vec!["secret"; work.count],
        )?),
        _ => {
            let rows = work.rows()?;
            Ok(df!(
                "key" => rows.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(),
                "id" => rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(),
                "payload" => rows.iter().map(|row| row.payload.as_str()).collect::<Vec<_>>(),
                "targetUrl" => vec![base; rows.len()],
                "EdFi Token" => vec![work.token.as_str(); rows.len()],
            )?)
        }
    }
}
