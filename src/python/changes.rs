//! Change queries, as `polars_edfi` wraps them.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3_polars::PyDataFrame;

use super::client::{Client, get, keywords, read_options, whole};
use super::errors::raise;
use super::run::{Call, run};
use crate::{BatchOptions, ChangeOptions, Error, GetAllOptions};

/// (oldest, newest)
#[pyfunction]
pub(crate) fn available_change_versions(
    py: Python<'_>,
    client: &Client,
    call: &Call,
) -> PyResult<(i64, i64)> {
    let versions = run(py, &call.control, None, async {
        tokio::select! {
            versions = client.0.available_change_versions() => versions,
            () = call.control.cancellation.cancelled() => Err(Error::Interrupted),
        }
    })?;
    Ok((versions.oldest, versions.newest))
}

#[pyfunction]
#[pyo3(signature = (client, call, endpoint, **arguments))]
pub(crate) fn deletes(
    py: Python<'_>,
    client: &Client,
    call: &Call,
    endpoint: &str,
    arguments: Option<&Bound<'_, PyDict>>,
) -> PyResult<PyDataFrame> {
    let options = options(py, call, arguments)?;
    let future = client.0.deletes(endpoint, &options);
    run(py, &call.control, None, future).map(PyDataFrame)
}

#[pyfunction]
#[pyo3(signature = (client, call, endpoint, **arguments))]
pub(crate) fn key_changes(
    py: Python<'_>,
    client: &Client,
    call: &Call,
    endpoint: &str,
    arguments: Option<&Bound<'_, PyDict>>,
) -> PyResult<PyDataFrame> {
    let options = options(py, call, arguments)?;
    let future = client.0.key_changes(endpoint, &options);
    run(py, &call.control, None, future).map(PyDataFrame)
}

/// (records, deletes, key changes, next version)
#[pyfunction]
#[pyo3(signature = (client, call, endpoint, since, **arguments))]
pub(crate) fn changes(
    py: Python<'_>,
    client: &Client,
    call: &Call,
    endpoint: &str,
    since: &Bound<'_, PyAny>,
    arguments: Option<&Bound<'_, PyDict>>,
) -> PyResult<(PyDataFrame, PyDataFrame, PyDataFrame, i64)> {
    let a = &keywords(py, arguments);
    let since: Option<i64> = since.extract().map_err(|error: PyErr| {
        let text = format!("since: {}", error.value(py));
        raise(py, Error::Config(text))
    })?;
    let options = GetAllOptions {
        batch: BatchOptions {
            workers: whole(a, "workers", 1)?,
            control: call.control.clone(),
            ..BatchOptions::default()
        },
        ..read_options(a)?
    };
    let future = client.0.changes(endpoint, since, &options);
    let changes = run(py, &call.control, None, future)?;
    Ok((
        PyDataFrame(changes.records),
        PyDataFrame(changes.deletes),
        PyDataFrame(changes.key_changes),
        changes.next_version,
    ))
}

fn options(
    py: Python<'_>,
    call: &Call,
    arguments: Option<&Bound<'_, PyDict>>,
) -> PyResult<ChangeOptions> {
    let a = &keywords(py, arguments);
    Ok(ChangeOptions {
        min_change_version: get(a, "min_change_version")?,
        max_change_version: get(a, "max_change_version")?,
        limit: whole(a, "limit", 1)?,
        workers: whole(a, "workers", 1)?,
        snapshot: get(a, "snapshot")?,
        control: call.control.clone(),
    })
}
