//! The requests that the sandbox saw.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;

use crate::runtime::lock;

/// So many requests are remembered; older ones are forgotten.
const REMEMBERED: usize = 100_000;

/// One request that reached the sandbox.
#[derive(Clone)]
#[non_exhaustive]
pub struct LoggedRequest {
    /// `GET`, `POST`, …
    pub method: String,
    /// The district, decoded, as far as the path names one.
    pub district: Option<String>,
    /// The path behind the district, as sent: `/data/v3/ed-fi/students`.
    pub path: String,
    /// The query string as sent, empty where there is none.
    pub query: String,
    /// The status of the answer; `None` while there is none, or where the connection was closed instead.
    pub status: Option<u16>,
    /// Whether the bearer token was accepted; `None` where none was looked at.
    pub token_accepted: Option<bool>,
    /// The body as sent, where [`SandboxBuilder::keep_bodies`](super::SandboxBuilder::keep_bodies) asks
    /// for it; never that of a token request.
    pub body: Option<Bytes>,
}

impl fmt::Debug for LoggedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoggedRequest")
            .field("method", &self.method)
            .field("district", &self.district)
            .field("path", &self.path)
            .field("query", &self.query)
            .field("status", &self.status)
            .field("token_accepted", &self.token_accepted)
            .field("body_bytes", &self.body.as_ref().map(Bytes::len))
            .finish()
    }
}

/// The memory of requests.
#[derive(Default)]
pub(super) struct Log(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    /// How many entries were forgotten before the first one here.
    forgotten: usize,
    entries: VecDeque<LoggedRequest>,
}

impl Log {
    /// Remembers a request and gives back its number.
    pub(super) fn push(&self, request: LoggedRequest) -> usize {
        let mut log = self.entries();
        if log.entries.len() == REMEMBERED {
            log.entries.pop_front();
            log.forgotten += 1;
        }
        log.entries.push_back(request);
        log.forgotten + log.entries.len() - 1
    }

    /// Changes the entry of this number, if it is still there.
    pub(super) fn update(&self, number: usize, change: impl FnOnce(&mut LoggedRequest)) {
        let mut log = self.entries();
        if let Some(at) = number.checked_sub(log.forgotten)
            && let Some(entry) = log.entries.get_mut(at)
        {
            change(entry);
        }
    }

    pub(super) fn all(&self) -> Vec<LoggedRequest> {
        self.entries().entries.iter().cloned().collect()
    }

    pub(super) fn clear(&self) {
        let mut log = self.entries();
        log.forgotten += log.entries.len();
        log.entries.clear();
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        lock(&self.0)
    }
}
