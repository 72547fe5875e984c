//! Tokens: for the client itself, and for every account of a frame.

use std::time::{SystemTime, UNIX_EPOCH};

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::arguments::read;
use super::call::{Call, run, run_batch};
use super::client::Client;
use super::errors::raise;
use super::exchange::Frame;
use super::options;
use crate::Error;

/// (token, its end in microseconds since 1970, message)
type TokenResult = (Option<String>, Option<i64>, Option<String>);

/// See `EdFiClient.fetch_token`.
#[pyfunction]
pub(crate) fn fetch_token(py: Python<'_>, client: &Client, call: &Call) -> PyResult<TokenResult> {
    let control = call.control();
    let fetched = client.0.fetch_token_under(&control);
    let fetched = run(py, call, async { Ok(fetched.await) })?;
    match fetched {
        Ok(token) => Ok((
            Some(token.token.reveal().to_owned()),
            token.expires_at.and_then(micros),
            None,
        )),
        Err(Error::Auth(failure)) => Ok((None, None, Some(failure.message))),
        Err(Error::Config(text)) => Ok((None, None, Some(text))),
        Err(error) => Err(raise(py, error)),
    }
}

/// See `EdFiClient.batch_fetch_tokens`.
#[pyfunction]
#[pyo3(signature = (client, call, df, **given))]
pub(crate) fn batch_fetch_tokens(
    client: &Client,
    call: &Bound<'_, Call>,
    df: Frame,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let (account_col, oauth_endpoint, (mut options, progress)) = read(call.py(), given, |a| {
        let account_col: String = a.required("account_col")?;
        let oauth_endpoint: String = a.required("oauth_endpoint")?;
        Ok((account_col, oauth_endpoint, options::batch_fetch_tokens(a)?))
    })?;
    options.control = call.get().control();
    let future = client
        .0
        .batch_fetch_tokens(&df.0, &account_col, &oauth_endpoint, &options);
    run_batch(call, (&progress, "fetching tokens", "accounts"), future)
}

fn micros(time: SystemTime) -> Option<i64> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_micros()).ok()
}
