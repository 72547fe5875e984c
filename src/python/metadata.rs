//! What an ODS says of itself.

use polars::prelude::DataFrame;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::arguments::read;
use super::call::{Call, run};
use super::client::Client;
use super::exchange::PyDataFrame;
use super::options;

/// See `EdFiClient.resources`.
#[pyfunction]
pub(crate) fn resources(py: Python<'_>, client: &Client, call: &Call) -> PyResult<PyDataFrame> {
    let control = call.control();
    run(py, call, client.0.resources_under(&control)).map(PyDataFrame)
}

/// See `EdFiClient.dependencies`.
#[pyfunction]
pub(crate) fn dependencies(py: Python<'_>, client: &Client, call: &Call) -> PyResult<PyDataFrame> {
    let control = call.control();
    run(py, call, client.0.dependencies_under(&control)).map(PyDataFrame)
}

/// See `EdFiClient.schema`: an empty frame.
#[pyfunction]
#[pyo3(signature = (client, call, **given))]
pub(crate) fn schema(
    py: Python<'_>,
    client: &Client,
    call: &Call,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<PyDataFrame> {
    let (endpoint, mut options) = read(py, given, |a| {
        Ok((a.required::<String>("endpoint")?, options::schema(a)?))
    })?;
    options.control = call.control();
    let schema = run(py, call, client.0.schema(&endpoint, &options))?;
    Ok(PyDataFrame(DataFrame::empty_with_schema(&schema)))
}

/// See `EdFiClient.count`.
#[pyfunction]
#[pyo3(signature = (client, call, *, snapshot = false, **given))]
pub(crate) fn count(
    py: Python<'_>,
    client: &Client,
    call: &Call,
    snapshot: bool,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<u64> {
    let (endpoint, params) = read(py, given, |a| {
        Ok((a.required::<String>("endpoint")?, options::count(a)?))
    })?;
    let control = call.control();
    run(
        py,
        call,
        client.0.count_under(&endpoint, &params, snapshot, &control),
    )
}
