//! How fast it can be: the same requests with their answers thrown away, pages decoded from memory.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_json::ReaderBuilder;
use arrow_json::reader::infer_json_schema_from_iterator;
use arrow_schema::{DataType, Field, FieldRef};
use serde_json::Value;

use crate::http::{all, exchange, request};
use crate::server::RESOURCE;
use crate::work::{Result, Work, measure};

/// Sends the requests of a job; the outcome is a JSON object.
pub(crate) fn run(work: &Work) -> Result<Value> {
    let requests = match work.job.as_str() {
        "get_all" => pages(work),
        _ => small(work)?,
    };
    let (address, workers) = (work.address(), work.workers);
    let bytes = AtomicUsize::new(0);
    let count = |_, body: &[u8]| {
        bytes.fetch_add(body.len(), Ordering::Relaxed);
    };
    let ((), mut took) = measure(|| exchange(address, workers, &requests, count))?;
    // The threads have ended, and their time with them.
    took["cpu"] = Value::Null;
    took["bytes"] = bytes.into_inner().into();
    took["rows"] = requests.len().into();
    if work.job == "get_all" {
        let pages = Mutex::new(vec![Vec::new(); requests.len()]);
        exchange(address, workers, &requests, |page, body| {
            pages.lock().expect("no thread panics")[page].extend_from_slice(body);
        })?;
        let (decode, rows) = decode(&pages.into_inner()?)?;
        took["decode_seconds"] = decode.into();
        took["rows"] = rows.into();
    }
    Ok(took)
}

/// One request for each page of each district.
fn pages(work: &Work) -> Vec<Vec<u8>> {
    let mut requests = Vec::new();
    for number in 0..work.districts {
        let (part, district) = (number % work.parts, work.district(number));
        let count = work.records * (part + 1) / work.parts - work.records * part / work.parts;
        for offset in (0..count).step_by(work.limit) {
            let path = format!("{district}/{RESOURCE}?offset={offset}&limit={}", work.limit);
            requests.push(request("GET", &path, work.address(), &work.token, ""));
        }
    }
    requests
}

/// One request for each row.
fn small(work: &Work) -> Result<Vec<Vec<u8>>> {
    let (host, token, ods) = (work.address(), &work.token, work.district(0));
    if work.job == "tokens" {
        let path = format!("{ods}/oauth/token");
        let one = request("POST", &path, host, token, "grant_type=client_credentials");
        return Ok(vec![one; work.count]);
    }
    let rows = work.rows()?;
    let path = format!("{ods}/{RESOURCE}");
    Ok(rows
        .iter()
        .map(|row| match work.job.as_str() {
            "post" => request("POST", &path, host, token, &row.payload),
            _ => request("GET", &format!("{path}/{}", row.id), host, token, ""),
        })
        .collect())
}

/// arrow-json on all cores, page by page, with the types known beforehand.
fn decode(pages: &[Vec<u8>]) -> Result<(f64, usize)> {
    let sample: Vec<Value> = serde_json::from_slice(&pages[0])?;
    let schema = infer_json_schema_from_iterator(sample.iter().map(Ok))?;
    let record = Field::new("item", DataType::Struct(schema.fields().clone()), true);
    let field: FieldRef = Field::new("page", DataType::List(record.into()), true).into();

    let cores = thread::available_parallelism()?.get();
    let next = AtomicUsize::new(0);
    let decoded = Mutex::new(Vec::with_capacity(pages.len()));
    let start = Instant::now();
    all(cores, || {
        let mut decoder = ReaderBuilder::new_with_field(Field::clone(&field)).build_decoder()?;
        while let Some(page) = pages.get(next.fetch_add(1, Ordering::Relaxed)) {
            decoder.decode(page)?;
            let batch = decoder.flush()?.ok_or("a page without JSON")?;
            decoded.lock().expect("no thread panics").push(batch);
        }
        Ok(())
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let rows = decoded.into_inner()?.into_iter().map(|batch| {
        let page = batch.column(0).as_list::<i32>();
        page.values().len()
    });
    Ok((seconds, rows.sum()))
}
