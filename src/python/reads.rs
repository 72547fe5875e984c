//! Reads of whole resources.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::arguments::read;
use super::call::{Call, run_batch, run_drawn};
use super::client::Client;
use super::exchange::{Frame, PyDataFrame};
use super::options;
use crate::{Error, Failure};

const LABEL: &str = "fetching records";
const UNIT: &str = "districts";

/// (data, message, http_status, correlation_id)
pub(super) type Read<T> = (Option<T>, Option<String>, Option<u16>, Option<String>);

/// What was read, or what the server said instead.
pub(super) fn answer<T>(read: Result<T, Failure>) -> Read<T> {
    match read {
        Ok(data) => (Some(data), None, Some(200), None),
        Err(f) => (None, Some(f.message), f.http_status, f.correlation_id),
    }
}

/// A failure is a result of its own; other errors are the call's.
pub(super) fn or_failure<T>(read: crate::Result<T>) -> crate::Result<Result<T, Failure>> {
    match read {
        Ok(data) => Ok(Ok(data)),
        Err(Error::Auth(failure) | Error::Http(failure)) => Ok(Err(failure)),
        Err(error) => Err(error),
    }
}

/// See `EdFiClient.get_all`.
#[pyfunction]
#[pyo3(signature = (client, call, **given))]
pub(crate) fn get_all(
    client: &Client,
    call: &Bound<'_, Call>,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<Read<PyDataFrame>> {
    let (mut options, progress) = read(call.py(), given, options::get_all)?;
    options.batch.control = call.get().control();
    let future = async { or_failure(client.0.get_all(&options).await) };
    let outcome = run_drawn(call, (&progress, LABEL, UNIT), future)?;
    Ok(answer(outcome.map(PyDataFrame)))
}

/// See `EdFiClient.batch_get_all`.
#[pyfunction]
#[pyo3(signature = (client, call, df, **given))]
pub(crate) fn batch_get_all(
    client: &Client,
    call: &Bound<'_, Call>,
    df: Frame,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let (key_col, (mut options, progress)) = read(call.py(), given, |a| {
        Ok((a.required::<String>("key_col")?, options::batch_get_all(a)?))
    })?;
    options.batch.control = call.get().control();
    let future = client.0.batch_get_all(&df.0, &key_col, &options);
    run_batch(call, (&progress, LABEL, UNIT), future)
}
