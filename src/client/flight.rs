//! Something that many wait for and one fetches.

use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, MutexGuard};

use super::control::Cancellation;
use super::permits;
use crate::{Failure, Result};

/// For so long a failure also serves those who come after it: they would wait for the same.
const FAILURE_SERVES: Duration = Duration::from_secs(1);

/// One fetch at a time.
#[derive(Debug)]
pub(super) struct Flight<T> {
    landed: Mutex<Option<Landed<T>>>,
}

#[derive(Debug)]
struct Landed<T> {
    outcome: Result<T, Failure>,
    at: Instant,
}

/// The right to fetch, and what came of the fetch before.
pub(super) struct Turn<'a, T> {
    landed: MutexGuard<'a, Option<Landed<T>>>,
    cancellation: &'a Cancellation,
    since: Instant,
}

impl<T> Default for Flight<T> {
    fn default() -> Self {
        Self {
            landed: Mutex::default(),
        }
    }
}

impl<T: Clone> Flight<T> {
    /// What came of the last fetch that succeeded, where nobody is fetching.
    pub(super) fn peek(&self) -> Option<T> {
        let landed = self.landed.try_lock().ok()?;
        landed.as_ref()?.outcome.as_ref().ok().cloned()
    }

    /// Waits until nobody else is fetching; other requests go on in the meantime.
    pub(super) async fn turn<'a>(
        &'a self,
        cancellation: &'a Cancellation,
    ) -> Result<Turn<'a, T>, Failure> {
        let since = Instant::now();
        let landed = permits::lock(&self.landed);
        let landed = cancellation.unless_cancelled(landed).await?;
        Ok(Turn {
            landed,
            cancellation,
            since,
        })
    }
}

impl<T: Clone> Turn<'_, T> {
    /// What came of the last fetch that succeeded, and whether this turn waited for it.
    pub(super) fn last(&self) -> Option<(&T, bool)> {
        let landed = self.landed.as_ref()?;
        let value = landed.outcome.as_ref().ok()?;
        Some((value, landed.at >= self.since))
    }

    /// The failure of a fetch that this turn waited for, or of one just before.
    pub(super) fn recent_failure(&self) -> Option<Failure> {
        self.failure(FAILURE_SERVES)
    }

    /// The failure of a fetch that this turn waited for.
    pub(super) fn shared_failure(&self) -> Option<Failure> {
        self.failure(Duration::ZERO)
    }

    fn failure(&self, within: Duration) -> Option<Failure> {
        let landed = self.landed.as_ref()?;
        let failure = landed.outcome.as_ref().err()?;
        (landed.at + within >= self.since).then(|| failure.clone())
    }

    /// Fetches, for all who wait. What is seldom done takes no room in what is done for each row.
    pub(super) async fn fetch(
        mut self,
        fetch: BoxFuture<'_, Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let outcome = fetch.await;
        // Who was interrupted has learnt nothing for others.
        if outcome.is_ok() || !self.cancellation.is_cancelled() {
            *self.landed = Some(Landed {
                outcome: outcome.clone(),
                at: Instant::now(),
            });
        }
        outcome
    }
}
