//! Single items, read and deleted by id, and their ids found by key.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::arguments::read;
use super::call::{Call, run, run_batch, run_write};
use super::client::Client;
use super::exchange::Frame;
use super::options;
use super::reads::{Read, answer, or_failure};
use super::writes::Answer;

/// See `EdFiClient.get_by_id`: (JSON text, message, http_status, correlation_id).
#[pyfunction]
#[pyo3(signature = (client, call, id, **given))]
pub(crate) fn get_by_id(
    py: Python<'_>,
    client: &Client,
    call: &Call,
    id: &str,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<Read<String>> {
    let mut options = read(py, given, options::get_by_id)?;
    options.batch.control = call.control();
    let future = async { or_failure(client.0.get_by_id(id, &options).await) };
    run(py, call, future).map(answer)
}

/// See `EdFiClient.batch_get_by_id`.
#[pyfunction]
#[pyo3(signature = (client, call, df, **given))]
pub(crate) fn batch_get_by_id(
    client: &Client,
    call: &Bound<'_, Call>,
    df: Frame,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let (id_col, (mut options, progress)) = read(call.py(), given, |a| {
        Ok((
            a.required::<String>("id_col")?,
            options::batch_get_by_id(a)?,
        ))
    })?;
    options.batch.control = call.get().control();
    let future = client.0.batch_get_by_id(&df.0, &id_col, &options);
    run_batch(call, (&progress, "fetching by id", "items"), future)
}

/// See `EdFiClient.delete_by_id`.
#[pyfunction]
#[pyo3(signature = (client, call, id, **given))]
pub(crate) fn delete_by_id(
    py: Python<'_>,
    client: &Client,
    call: &Call,
    id: &str,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<Answer> {
    let mut options = read(py, given, options::delete_by_id)?;
    options.batch.control = call.control();
    run_write(py, call, client.0.delete_by_id(id, &options)).map(Answer::from)
}

/// See `EdFiClient.batch_delete_by_id`.
#[pyfunction]
#[pyo3(signature = (client, call, df, **given))]
pub(crate) fn batch_delete_by_id(
    client: &Client,
    call: &Bound<'_, Call>,
    df: Frame,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let (id_col, key_col, (mut options, progress)) = read(call.py(), given, |a| {
        let (id_col, key_col): (String, String) = (a.required("id_col")?, a.required("key_col")?);
        Ok((id_col, key_col, options::batch_delete_by_id(a)?))
    })?;
    options.batch.control = call.get().control();
    let future = client
        .0
        .batch_delete_by_id(&df.0, &id_col, &key_col, &options);
    run_batch(call, (&progress, "deleting by id", "items"), future)
}

/// See `EdFiClient.batch_find_ids`.
#[pyfunction]
#[pyo3(signature = (client, call, df, **given))]
pub(crate) fn batch_find_ids(
    client: &Client,
    call: &Bound<'_, Call>,
    df: Frame,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let (mut options, progress) = read(call.py(), given, options::batch_find_ids)?;
    options.batch.control = call.get().control();
    let future = client.0.batch_find_ids(&df.0, &options);
    run_batch(call, (&progress, "finding ids", "keys"), future)
}
