//! Payloads to an ODS.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::arguments::read;
use super::call::{Call, run_batch, run_write};
use super::client::Client;
use super::exchange::Frame;
use super::options;
use crate::Outcome;

/// What became of one write: a dict in Python.
#[derive(IntoPyObject)]
pub(crate) struct Answer {
    status: Option<String>,
    message: Option<String>,
    http_status: Option<u16>,
    correlation_id: Option<String>,
    resource_id: Option<String>,
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Self {
        Self {
            status: outcome.status,
            message: outcome.message,
            http_status: outcome.http_status,
            correlation_id: outcome.correlation_id,
            resource_id: outcome.resource_id,
        }
    }
}

/// See `EdFiClient.post_payload`; the payload is JSON text.
#[pyfunction]
#[pyo3(signature = (client, call, payload, **given))]
pub(crate) fn post_payload(
    py: Python<'_>,
    client: &Client,
    call: &Call,
    payload: &str,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<Answer> {
    let mut options = read(py, given, options::post_payload)?;
    options.batch.control = call.control();
    run_write(py, call, client.0.post_payload(payload, &options)).map(Answer::from)
}

/// See `EdFiClient.batch_post_payload`.
#[pyfunction]
#[pyo3(signature = (client, call, df, **given))]
pub(crate) fn batch_post_payload(
    client: &Client,
    call: &Bound<'_, Call>,
    df: Frame,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let (payload_col, key_col, (mut options, progress)) = read(call.py(), given, |a| {
        let payload_col: String = a.required("payload_col")?;
        let key_col: String = a.required("key_col")?;
        Ok((payload_col, key_col, options::batch_post_payload(a)?))
    })?;
    options.batch.control = call.get().control();
    let future = client
        .0
        .batch_post_payload(&df.0, &payload_col, &key_col, &options);
    run_batch(call, (&progress, "posting payloads", "rows"), future)
}

/// See `EdFiClient.batch_put_payload`.
#[pyfunction]
#[pyo3(signature = (client, call, df, **given))]
pub(crate) fn batch_put_payload(
    client: &Client,
    call: &Bound<'_, Call>,
    df: Frame,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let (cols, (mut options, progress)) = read(call.py(), given, |a| {
        let payload_col: String = a.required("payload_col")?;
        let (id_col, key_col): (String, String) = (a.required("id_col")?, a.required("key_col")?);
        let cols = [payload_col, id_col, key_col];
        Ok((cols, options::batch_post_payload(a)?))
    })?;
    options.batch.control = call.get().control();
    let [payload_col, id_col, key_col] = &cols;
    let future = client
        .0
        .batch_put_payload(&df.0, payload_col, id_col, key_col, &options);
    run_batch(call, (&progress, "putting payloads", "rows"), future)
}
