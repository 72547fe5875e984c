//! Whether a call is to stop.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// One signal for all requests of a call. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Cancellation(Arc<watch::Sender<bool>>);

/// A wait was cut short.
#[derive(Debug)]
pub(crate) struct Cancelled;

impl Cancellation {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    pub(super) fn cancel(&self) {
        self.0.send_replace(true);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the call is cancelled.
    pub(crate) async fn cancelled(&self) {
        let mut receiver = self.0.subscribe();
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
