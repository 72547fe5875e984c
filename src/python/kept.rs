//! Clients that plans name by a number: a plan holds no secret.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use pyo3::prelude::*;
use ring::rand::{SecureRandom, SystemRandom};

use super::client::Client;
use super::errors::raise;
use crate::client::Auth;
use crate::{EdFiClient, Error, Result};

static CLIENTS: LazyLock<Mutex<HashMap<u64, EdFiClient>>> = LazyLock::new(Mutex::default);

/// Keeps a client for the life of the process; the number stands for it in a plan.
///
/// (number, whether it has a base URL, whether it has credentials)
#[pyfunction]
pub(crate) fn keep_client(py: Python<'_>, client: &Client) -> PyResult<(u64, bool, bool)> {
    let client = &client.0;
    let has_auth = !matches!(client.auth(), Auth::None);
    Ok((keep(py, client)?, client.base().is_some(), has_auth))
}

fn keep(py: Python<'_>, client: &EdFiClient) -> PyResult<u64> {
    let mut clients = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
    let known = clients.iter().find(|(_, kept)| kept.is(client));
    if let Some((number, _)) = known {
        return Ok(*number);
    }
    // Drawn from the system: a forked process must not draw what its parent drew.
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| {
        raise(
            py,
            Error::Config("the system gives no random numbers".into()),
        )
    })?;
    let number = (u64::from_le_bytes(bytes) >> 2) | 1;
    clients.insert(number, client.clone());
    Ok(number)
}

/// The client of a number.
pub(crate) fn find(number: u64) -> Result<EdFiClient> {
    let clients = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
    clients.get(&number).cloned().ok_or_else(|| {
        Error::Config(
            "the client of this expression lives in another process, or in an earlier run; build \
             the expression with client= in the process that runs it"
                .into(),
        )
    })
}
