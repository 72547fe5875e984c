//! Whether a call is to stop, and how soon.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::Failure;

/// One signal for all requests of a call. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Cancellation(Arc<State>);

#[derive(Debug)]
struct State {
    stop: watch::Sender<Stop>,
    writes: AtomicUsize,
}

/// What a call does with its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stop {
    Never,
    /// Sends no new ones, drops those that only read, waits for the answers to writes.
    AfterWrites,
    /// Drops all of them.
    Now,
}

/// A wait was cut short.
#[derive(Debug)]
pub(crate) struct Cancelled;

/// A write in flight, until it is dropped.
pub(crate) struct Writing<'a>(&'a AtomicUsize);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Cancellation {
    pub(super) fn new() -> Self {
        Self(Arc::new(State {
            stop: watch::Sender::new(Stop::Never),
            writes: AtomicUsize::new(0),
        }))
    }

    pub(super) fn cancel(&self) {
        self.stop(Stop::AfterWrites);
    }

    pub(super) fn abort(&self) {
        self.stop(Stop::Now);
    }

    fn stop(&self, stop: Stop) {
        self.0.stop.send_if_modified(|before| {
            let sooner = stop > *before;
            *before = stop.max(*before);
            sooner
        });
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        *self.0.stop.borrow() > Stop::Never
    }

    /// How many writes are in flight.
    #[cfg(feature = "python")]
    pub(crate) fn writes(&self) -> usize {
        self.0.writes.load(Ordering::Relaxed)
    }

    /// Counts a write until it is dropped.
    pub(crate) fn writing(&self) -> Writing<'_> {
        self.0.writes.fetch_add(1, Ordering::Relaxed);
        Writing(&self.0.writes)
    }

    /// Waits until the call is cancelled.
    pub(crate) async fn cancelled(&self) {
        self.stopped(Stop::AfterWrites).await;
    }

    /// Waits until the call is to drop its writes as well.
    pub(crate) async fn aborted(&self) {
        self.stopped(Stop::Now).await;
    }

    async fn stopped(&self, least: Stop) {
        let mut receiver = self.0.stop.subscribe();
        // The sender lives as long as `self`.
        let _ = receiver.wait_for(|stop| *stop >= least).await;
    }

    /// Waits for a time, or not to its end when the call is cancelled.
    pub(crate) async fn sleep(&self, time: Duration) -> Result<(), Cancelled> {
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            () = self.cancelled() => Err(Cancelled),
        }
    }

    /// Waits for what another call may be doing, unless this one is cancelled.
    pub(crate) async fn unless_cancelled<T>(
        &self,
        wait: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        tokio::select! {
            done = wait => Ok(done),
            () = self.cancelled() => Err(Failure::not_sent()),
        }
    }
}
