//! How many requests are in flight at once, where several calls have one limit together.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// The requests in flight of all calls that share this.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    in_flight: Mutex<usize>,
    freed: Notify,
}

/// What one call takes a permit from for each request; nothing by default.
#[derive(Debug, Clone, Default)]
pub(crate) struct RequestLimit {
    shared: Option<Shared>,
}

#[derive(Debug, Clone)]
struct Shared {
    limiter: Arc<Limiter>,
    most: usize,
    /// How many requests this call has sent.
    sent: Arc<AtomicU64>,
}

/// The right to have a request in flight, until it is dropped.
pub(crate) struct Permit<'a>(&'a Limiter);

impl RequestLimit {
    /// At most `most` requests in flight, those of others included.
    #[cfg(feature = "python")]
    pub(super) fn sharing(limiter: Arc<Limiter>, most: usize) -> Self {
        Self {
            shared: Some(Shared {
                limiter,
                most,
                sent: Arc::default(),
            }),
        }
    }

    /// A permit for one request; at once where no limit is shared.
    pub(crate) async fn permit(&self) -> Option<Permit<'_>> {
        match &self.shared {
            Some(shared) => {
                let permit = shared.limiter.acquire(shared.most).await;
                shared.sent.fetch_add(1, Ordering::Relaxed);
                Some(permit)
            }
            None => None,
        }
    }
}

impl RequestLimit {
    /// How many requests were sent; 0 where no limit is shared.
    #[cfg(feature = "python")]
    pub(crate) fn sent(&self) -> u64 {
        let sent = |shared: &Shared| shared.sent.load(Ordering::Relaxed);
        self.shared.as_ref().map_or(0, sent)
    }
}

impl Limiter {
    /// Waits until fewer than `most` requests are in flight.
    async fn acquire(&self, most: usize) -> Permit<'_> {
        loop {
            let freed = self.freed.notified();
            {
                let mut in_flight = self
                    .in_flight
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                if *in_flight < most {
                    *in_flight += 1;
                    return Permit(self);
                }
            }
            freed.await;
        }
    }
}

impl Drop for Permit<'_> {
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
