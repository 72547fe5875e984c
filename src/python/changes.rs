//! Change queries.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::arguments::read;
use super::call::{Call, run};
use super::client::Client;
use super::exchange::PyDataFrame;
use super::options;
use crate::ChangeOptions;

/// See `EdFiClient.available_change_versions`: (oldest, newest); those of a snapshot, if one is read.
#[pyfunction]
#[pyo3(signature = (client, call, *, snapshot=false))]
pub(crate) fn available_change_versions(
    py: Python<'_>,
    client: &Client,
    call: &Call,
    snapshot: bool,
) -> PyResult<(i64, i64)> {
    let control = call.control();
    let versions = run(py, call, client.0.versions(&control, snapshot))?;
    Ok((versions.oldest, versions.newest))
}

/// See `EdFiClient.deletes`.
#[pyfunction]
#[pyo3(signature = (client, call, **given))]
pub(crate) fn deletes(
    py: Python<'_>,
    client: &Client,
    call: &Call,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<PyDataFrame> {
    let (endpoint, options) = window(py, call, given)?;
    run(py, call, client.0.deletes(&endpoint, &options)).map(PyDataFrame)
}

/// See `EdFiClient.key_changes`.
#[pyfunction]
#[pyo3(signature = (client, call, **given))]
pub(crate) fn key_changes(
    py: Python<'_>,
    client: &Client,
    call: &Call,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<PyDataFrame> {
    let (endpoint, options) = window(py, call, given)?;
    run(py, call, client.0.key_changes(&endpoint, &options)).map(PyDataFrame)
}

fn window(
    py: Python<'_>,
    call: &Call,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<(String, ChangeOptions)> {
    let (endpoint, mut options) = read(py, given, |a| {
        Ok((a.required("endpoint")?, options::change_window(a)?))
    })?;
    options.control = call.control();
    Ok((endpoint, options))
}

/// See `EdFiClient.changes`: (records, deletes, key changes, next version).
#[pyfunction]
#[pyo3(signature = (client, call, **given))]
pub(crate) fn changes(
    py: Python<'_>,
    client: &Client,
    call: &Call,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<(PyDataFrame, PyDataFrame, PyDataFrame, i64)> {
    let (endpoint, (since, mut options)) = read(py, given, |a| {
        Ok((a.required::<String>("endpoint")?, options::changes(a)?))
    })?;
    options.batch.control = call.control();
    let changes = run(py, call, client.0.changes(&endpoint, since, &options))?;
    Ok((
        PyDataFrame(changes.records),
        PyDataFrame(changes.deletes),
        PyDataFrame(changes.key_changes),
        changes.next_version,
    ))
}
