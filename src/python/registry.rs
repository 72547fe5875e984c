//! What plans name by a number, for the life of the process: a plan holds no secret, no client and
//! no frame.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard};

use pyo3::prelude::*;
use ring::rand::{SecureRandom, SystemRandom};

use super::errors::raise;
use crate::runtime::lock;
use crate::{EdFiClient, Error, Result};

/// The clients of expressions.
pub(super) static CLIENTS: Registry<EdFiClient> = Registry::new();
/// The scans of plans that were pickled.
static SCANS: Registry<Py<PyAny>> = Registry::new();

pub(super) struct Registry<T>(LazyLock<Mutex<HashMap<u64, T>>>);

impl<T> Registry<T> {
    const fn new() -> Self {
        Self(LazyLock::new(Mutex::default))
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<u64, T>> {
        lock(&self.0)
    }

    /// The number of an entry; the same one each time.
    pub(super) fn number(&self, entry: T, is_same: impl Fn(&T) -> bool) -> Result<u64> {
        let mut entries = self.entries();
        if let Some((number, _)) = entries.iter().find(|(_, known)| is_same(known)) {
            return Ok(*number);
        }
        // Drawn from the system: a forked process must not draw what its parent drew.
        let mut bytes = [0; 8];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| Error::Internal("the system gives no random numbers".into()))?;
        let number = (u64::from_le_bytes(bytes) >> 2) | 1;
        entries.insert(number, entry);
        Ok(number)
    }

    /// Looks at every entry.
    pub(super) fn for_each(&self, look: impl FnMut(&T)) {
        self.entries().values().for_each(look);
    }

    /// The entry of a number, as `take` copies it.
    fn find<R>(&self, number: u64, take: impl FnOnce(&T) -> R) -> Option<R> {
        self.entries().get(&number).map(take)
    }
}

/// The client of an expression.
pub(super) fn client(number: u64) -> Result<EdFiClient> {
    CLIENTS.find(number, EdFiClient::clone).ok_or_else(|| {
        Error::Config(
            "the client of this expression lives in another process, or in an earlier run; build \
             the expression with client= in the process that runs it"
                .into(),
        )
    })
}

/// The number of a scan, which stands for it in a pickled plan.
#[pyfunction]
pub(crate) fn register_scan(scan: Bound<'_, PyAny>) -> PyResult<u64> {
    let object = scan.clone().unbind();
    SCANS
        .number(object, |known| known.is(&scan))
        .map_err(|error| raise(scan.py(), error))
}

/// The scan of a number.
#[pyfunction]
pub(crate) fn registered_scan(py: Python<'_>, number: u64) -> PyResult<Py<PyAny>> {
    SCANS
        .find(number, |scan| scan.clone_ref(py))
        .ok_or_else(|| {
            let text = "the scan of this plan lives in another process: a plan holds neither \
                        clients nor districts; make the scan anew there";
            raise(py, Error::Config(text.into()))
        })
}
