//! What an ODS says of itself, as `polars_edfi` wraps it.

use pyo3::prelude::*;
use pyo3_polars::{PyDataFrame, PySchema};

use super::client::Client;
use super::run::{Call, run};
use crate::SchemaOptions;

/// See `EdFiClient.resources`.
#[pyfunction]
pub(crate) fn resources(py: Python<'_>, client: &Client, call: &Call) -> PyResult<PyDataFrame> {
    let future = client.0.resources_under(&call.control);
    run(py, &call.control, None, future).map(PyDataFrame)
}

/// See `EdFiClient.schema`: an empty frame with the columns.
#[pyfunction]
pub(crate) fn schema(
    py: Python<'_>,
    client: &Client,
    call: &Call,
    endpoint: &str,
    separator: String,
    links: bool,
) -> PyResult<PySchema> {
    let options = SchemaOptions {
        separator,
        links,
        control: call.control.clone(),
    };
    let future = client.0.schema(endpoint, &options);
    run(py, &call.control, None, future).map(|schema| PySchema(schema.into()))
}

/// See `EdFiClient.count`.
#[pyfunction]
pub(crate) fn count(
    py: Python<'_>,
    client: &Client,
    call: &Call,
    endpoint: &str,
    params: Vec<(String, String)>,
) -> PyResult<u64> {
    let future = client.0.count_under(endpoint, &params, &call.control);
    run(py, &call.control, None, future)
}
