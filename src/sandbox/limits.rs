//! A limit on requests: so many in a window of time, as a gateway or an ODS/API 8 has it.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::runtime::lock;

/// How many requests are taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestLimit {
    pub(super) requests: usize,
    pub(super) window: Duration,
    /// Whether a refusal says when the next window begins.
    pub(super) retry_after: bool,
}

/// Counts the requests of fixed windows.
pub(super) struct Limiter {
    limit: Option<RequestLimit>,
    window: Mutex<(Instant, usize)>,
}

impl Limiter {
    pub(super) fn new(limit: Option<RequestLimit>) -> Self {
        Self {
            limit,
            window: Mutex::new((Instant::now(), 0)),
        }
    }

    /// Takes one more request, or refuses it, perhaps with the seconds until the next window.
    pub(super) fn take(&self) -> Result<(), Option<u64>> {
        let Some(limit) = self.limit else {
            return Ok(());
        };
        let mut window = lock(&self.window);
        let (start, taken) = &mut *window;
        if start.elapsed() >= limit.window {
            (*start, *taken) = (Instant::now(), 0);
        }
        if *taken < limit.requests {
            *taken += 1;
            return Ok(());
        }
        let left = limit.window.saturating_sub(start.elapsed());
        Err(limit.retry_after.then(|| left.as_secs_f64().ceil() as u64))
    }
}
