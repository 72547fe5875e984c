//! What is known before anything is sent.

use polars::prelude::DataFrame;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::arguments::read;
use super::call::{Call, run, run_batch};
use super::client::Client;
use super::errors::raise;
use super::exchange::{Frame, PyDataFrame};
use super::options;

/// See `EdFiClient.permissions`.
#[pyfunction]
pub(crate) fn permissions(py: Python<'_>, client: &Client, call: &Call) -> PyResult<PyDataFrame> {
    let control = call.control();
    run(py, call, client.0.permissions_under(&control)).map(PyDataFrame)
}

/// See `EdFiClient.batch_permissions`.
#[pyfunction]
#[pyo3(signature = (client, call, df, **given))]
pub(crate) fn batch_permissions(
    client: &Client,
    call: &Bound<'_, Call>,
    df: Frame,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let (key_col, (mut batch, progress)) = read(call.py(), given, |a| {
        Ok((
            a.required::<String>("key_col")?,
            options::batch_permissions(a)?,
        ))
    })?;
    batch.control = call.get().control();
    let future = client.0.batch_permissions(&df.0, &key_col, &batch);
    run_batch(
        call,
        (&progress, "asking for permissions", "districts"),
        future,
    )
}

/// See `EdFiClient.validate`: endpoints and their frames.
#[pyfunction]
#[pyo3(signature = (client, call, frames, **given))]
pub(crate) fn validate(
    client: &Client,
    call: &Bound<'_, Call>,
    frames: Vec<(Option<String>, Frame)>,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let (mut options, progress) = read(call.py(), given, options::validate)?;
    options.batch.control = call.get().control();
    let frames = named(client, call.py(), frames)?;
    let future = client.0.validate(&frames, &options);
    run_batch(call, (&progress, "validating payloads", "rows"), future)
}

/// See `EdFiClient.compare`: endpoints and their frames.
#[pyfunction]
#[pyo3(signature = (client, call, frames, **given))]
pub(crate) fn compare(
    client: &Client,
    call: &Bound<'_, Call>,
    frames: Vec<(Option<String>, Frame)>,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let (mut options, progress) = read(call.py(), given, options::compare)?;
    options.batch.control = call.get().control();
    let frames = named(client, call.py(), frames)?;
    let future = client.0.compare(&frames, &options);
    run_batch(call, (&progress, "comparing payloads", "rows"), future)
}

/// Endpoints and their frames; a frame without one is of the client's own.
fn named(
    client: &Client,
    py: Python<'_>,
    frames: Vec<(Option<String>, Frame)>,
) -> PyResult<Vec<(String, DataFrame)>> {
    let frames = frames.into_iter().map(|(endpoint, frame)| {
        let endpoint = client.0.endpoint_or(endpoint.as_deref());
        let endpoint = endpoint.map_err(|error| raise(py, error))?;
        Ok((endpoint, frame.0))
    });
    frames.collect()
}
