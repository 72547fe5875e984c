//! Something that many wait for and one fetches.

use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, MutexGuard};

use super::control::Cancellation;
use super::permits;
use super::retry::RetryPolicy;
use crate::runtime::lock;
use crate::{Failure, Result};

/// For so long a failure also serves those who come after it: they would wait for the same.
const FAILURE_SERVES: Duration = Duration::from_secs(1);

/// For how long a client waits for an answer: clients of one process need not agree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    silence: Duration,
    pause: Duration,
    tries: u32,
    /// By which way it asks: what fails by one may come by another.
    way: u64,
}

impl Patience {
    pub(super) fn new(timeout: Duration, policy: RetryPolicy, way: u64) -> Self {
        Self {
            silence: timeout,
            pause: policy.max_wait,
            tries: policy.max_retries.saturating_add(1),
            way,
        }
    }

    /// Whether it lasts as long as the other one, whatever there is to wait for.
    fn covers(&self, other: &Self) -> bool {
        self.silence >= other.silence && self.pause >= other.pause && self.tries >= other.tries
    }

    /// How long it takes to give up where nothing is answered.
    pub(super) fn with_silence(&self) -> Duration {
        self.silence.saturating_mul(self.tries)
    }
}

/// What one after another asks for, holding it meanwhile.
#[derive(Debug, Default)]
pub(super) struct Shared<T> {
    value: Mutex<T>,
    /// That of the last one who came to hold it.
    holder: std::sync::Mutex<Option<Patience>>,
}

impl<T> Shared<T> {
    /// Waits until nobody else holds it; other requests go on in the meantime. `None` where one with
    /// more patience has held it for longer than this one would wait for the server itself.
    pub(super) async fn lock(&self, patience: Patience) -> Option<MutexGuard<'_, T>> {
        loop {
            // Whoever waits before this one may have more patience than who holds it now.
            let value = permits::lock_within(&self.value, Some(patience.with_silence())).await;
            let mut holder = lock(&self.holder);
            if value.is_some() {
                *holder = Some(patience);
                return value;
            }
            if holder.is_some_and(|holder| !patience.covers(&holder)) {
                return None;
            }
        }
    }

    /// The value, for a moment.
    pub(super) fn value(&self) -> &Mutex<T> {
        &self.value
    }
}

/// One fetch at a time.
#[derive(Debug)]
pub(super) struct Flight<T> {
    landed: Shared<Option<Landed<T>>>,
}

#[derive(Debug)]
struct Landed<T> {
    outcome: Result<T, Failure>,
    at: Instant,
    patience: Patience,
}

/// The right to fetch, and what came of the fetch before; nothing of it where this fetch goes beside
/// that of another one.
pub(super) struct Turn<'a, T> {
    landed: Option<MutexGuard<'a, Option<Landed<T>>>>,
    cancellation: &'a Cancellation,
    since: Instant,
    patience: Patience,
}

impl<T> Default for Flight<T> {
    fn default() -> Self {
        Self {
            landed: Shared::default(),
        }
    }
}

impl<T: Clone> Flight<T> {
    /// What came of the last fetch that succeeded, where nobody is fetching.
    pub(super) fn peek(&self) -> Option<T> {
        let landed = self.landed.value().try_lock().ok()?;
        landed.as_ref()?.outcome.as_ref().ok().cloned()
    }

    /// Waits until nobody else is fetching, but no longer than this one would wait for the server.
    pub(super) async fn turn<'a>(
        &'a self,
        cancellation: &'a Cancellation,
        patience: Patience,
    ) -> Result<Turn<'a, T>, Failure> {
        let since = Instant::now();
        let landed = self.landed.lock(patience);
        let landed = cancellation.unless_cancelled(landed).await?;
        Ok(Turn {
            landed,
            cancellation,
            since,
            patience,
        })
    }
}

impl<T: Clone> Turn<'_, T> {
    /// What came of the last fetch that succeeded, and whether this turn waited for it.
    pub(super) fn last(&self) -> Option<(&T, bool)> {
        let landed = self.landed.as_ref()?.as_ref()?;
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

    /// Who waits longer might not have met with it, nor who asks by another way.
    fn failure(&self, within: Duration) -> Option<Failure> {
        let landed = self.landed.as_ref()?.as_ref()?;
        let failure = landed.outcome.as_ref().err()?;
        let is_met =
            landed.patience.way == self.patience.way && landed.patience.covers(&self.patience);
        (is_met && landed.at + within >= self.since).then(|| failure.clone())
    }

    /// Fetches, for all who wait. What is seldom done takes no room in what is done for each row.
    pub(super) async fn fetch(
        mut self,
        fetch: BoxFuture<'_, Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let outcome = fetch.await;
        // Who was interrupted has learnt nothing for others.
        if let Some(landed) = &mut self.landed
            && (outcome.is_ok() || !self.cancellation.is_cancelled())
        {
            **landed = Some(Landed {
                outcome: outcome.clone(),
                at: Instant::now(),
                patience: self.patience,
            });
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn nobody_waits_long_behind_one_who_waited_before() {
        let patience = |silence| Patience {
            silence,
            pause: Duration::ZERO,
            tries: 1,
            way: 0,
        };
        let hasty = patience(Duration::from_millis(20));
        let patient = patience(Duration::from_secs(3600));
        let shared = Shared::<()>::default();
        let first = shared.lock(hasty).await.expect("nobody holds it");
        let mut second = Box::pin(shared.lock(patient));
        let mut third = Box::pin(shared.lock(hasty));
        assert!((&mut second).now_or_never().is_none());
        assert!((&mut third).now_or_never().is_none());
        drop(first);
        let _held = second.await.expect("the first one is done");
        let third = tokio::time::timeout(Duration::from_secs(60), third).await;
        assert!(third.expect("it gives up").is_none());
    }
}
