//! What is known before anything is sent.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::arguments::read;
use super::call::{Call, run, run_batch};
use super::client::Client;
use super::exchange::PyDataFrame;
use super::options;
use super::values::Frame;

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
