//! Watching a batch from outside, and stopping it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::Failure;

/// A handle on a running call: how far it is, and a way to stop it.
///
/// Clones share one state. Give one to a call in its options, keep another.
///
/// ```
/// let control = polars_edfi::Control::new();
/// assert_eq!((control.done(), control.total()), (0, 0));
/// control.cancel();
/// assert!(control.is_cancelled());
/// ```
#[derive(Debug, Clone)]
pub struct Control {
    state: Arc<State>,
    shared: Option<Share>,
}

/// A limit that several calls have together.
#[derive(Debug, Clone)]
struct Share {
    limiter: Arc<Limiter>,
    most: usize,
}

/// How many requests are in flight, over all calls that share this.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    in_flight: Mutex<usize>,
    freed: Notify,
}

/// A place among the requests in flight, until it is dropped.
pub(crate) struct Place<'a>(&'a Limiter);

impl Limiter {
    /// Waits until fewer than `most` requests are in flight.
    async fn enter(&self, most: usize) -> Place<'_> {
        loop {
            let freed = self.freed.notified();
            {
                let mut in_flight = self
                    .in_flight
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                if *in_flight < most {
                    *in_flight += 1;
                    return Place(self);
                }
            }
            freed.await;
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut in_flight = self
            .0
            .in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *in_flight -= 1;
        drop(in_flight);
        self.0.freed.notify_waiters();
    }
}

#[derive(Debug)]
struct State {
    total: AtomicU64,
    done: AtomicU64,
    records: AtomicU64,
    warnings: Mutex<Vec<String>>,
    cancelled: watch::Sender<bool>,
}

impl Default for Control {
    fn default() -> Self {
        Self::new()
    }
}

impl Control {
    /// A handle for one call.
    pub fn new() -> Self {
        let state = State {
            total: AtomicU64::new(0),
            done: AtomicU64::new(0),
            records: AtomicU64::new(0),
            warnings: Mutex::default(),
            cancelled: watch::Sender::new(false),
        };
        Self {
            state: Arc::new(state),
            shared: None,
        }
    }

    /// A handle for one of several calls that have at most `most` requests in flight together.
    #[cfg(feature = "python")]
    pub(crate) fn sharing(limiter: Arc<Limiter>, most: usize) -> Self {
        Self {
            shared: Some(Share { limiter, most }),
            ..Self::new()
        }
    }

    /// A place for one request; at once where no limit is shared.
    pub(crate) async fn place(&self) -> Option<Place<'_>> {
        match &self.shared {
            Some(share) => Some(share.limiter.enter(share.most).await),
            None => None,
        }
    }

    /// How many rows or districts there are to do; 0 until that is known.
    pub fn total(&self) -> u64 {
        self.state.total.load(Ordering::Relaxed)
    }

    /// How many rows or districts are done, failed ones included.
    pub fn done(&self) -> u64 {
        self.state.done.load(Ordering::Relaxed)
    }

    /// How many records have been read so far.
    pub fn records(&self) -> u64 {
        self.state.records.load(Ordering::Relaxed)
    }

    /// What a person should know although nothing failed.
    pub fn warnings(&self) -> Vec<String> {
        self.state
            .warnings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Stops new requests; those in flight are finished, and the call returns with all its rows.
    pub fn cancel(&self) {
        self.state.cancelled.send_replace(true);
    }

    /// Whether [`cancel`](Self::cancel) was called.
    pub fn is_cancelled(&self) -> bool {
        *self.state.cancelled.borrow()
    }

    pub(crate) fn begin(&self, total: usize) {
        self.state.total.store(total as u64, Ordering::Relaxed);
    }

    pub(crate) fn one_done(&self) {
        self.state.done.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_records(&self, records: usize) {
        self.state
            .records
            .fetch_add(records as u64, Ordering::Relaxed);
    }

    pub(crate) fn warn(&self, text: String) {
        log::warn!("{text}");
        self.state
            .warnings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(text);
    }

    /// What is said of a row that was not sent because of a cancellation.
    pub(crate) fn not_sent(&self) -> Failure {
        Failure::new("not sent: interrupted")
    }

    /// Waits until the call is cancelled.
    pub(crate) async fn cancelled(&self) {
        let mut receiver = self.state.cancelled.subscribe();
        // The sender lives as long as `self`.
        let _ = receiver.wait_for(|cancelled| *cancelled).await;
    }

    /// Waits for a time, or not to its end when the call is cancelled.
    pub(crate) async fn sleep(&self, time: Duration) -> Result<(), Cancelled> {
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            () = self.cancelled() => Err(Cancelled),
        }
    }
}

/// The wait was cut short.
#[derive(Debug)]
pub(crate) struct Cancelled;
