//! Watching a batch from outside, and stopping it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

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
pub struct Control(Arc<State>);

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
        Self(Arc::new(State {
            total: AtomicU64::new(0),
            done: AtomicU64::new(0),
            records: AtomicU64::new(0),
            warnings: Mutex::default(),
            cancelled: watch::Sender::new(false),
        }))
    }

    /// How many rows or districts there are to do; 0 until that is known.
    pub fn total(&self) -> u64 {
        self.0.total.load(Ordering::Relaxed)
    }

    /// How many rows or districts are done, failed ones included.
    pub fn done(&self) -> u64 {
        self.0.done.load(Ordering::Relaxed)
    }

    /// How many records have been read so far.
    pub fn records(&self) -> u64 {
        self.0.records.load(Ordering::Relaxed)
    }

    /// What a person should know although nothing failed.
    pub fn warnings(&self) -> Vec<String> {
        self.0
            .warnings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Stops new requests; those in flight are finished, and the call returns with all its rows.
    pub fn cancel(&self) {
        self.0.cancelled.send_replace(true);
    }

    /// Whether [`cancel`](Self::cancel) was called.
    pub fn is_cancelled(&self) -> bool {
        *self.0.cancelled.borrow()
    }

    pub(crate) fn begin(&self, total: usize) {
        self.0.total.store(total as u64, Ordering::Relaxed);
    }

    pub(crate) fn one_done(&self) {
        self.0.done.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_records(&self, records: usize) {
        self.0.records.fetch_add(records as u64, Ordering::Relaxed);
    }

    pub(crate) fn warn(&self, text: String) {
        log::warn!("{text}");
        self.0
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
        let mut receiver = self.0.cancelled.subscribe();
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
