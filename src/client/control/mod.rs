//! Watching a call from outside, and stopping it.

mod cancel;
mod limit;
mod progress;
mod stats;

#[cfg(feature = "python")]
use std::sync::Arc;
use std::time::Instant;

pub(crate) use self::cancel::Cancellation;
pub(crate) use self::limit::{Limiter, Permit, RequestLimit};
pub(crate) use self::progress::Progress;
pub use self::stats::CallStats;
pub(crate) use self::stats::Stats;

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
    pub(crate) cancellation: Cancellation,
    pub(crate) progress: Progress,
    pub(crate) limit: RequestLimit,
    pub(crate) stats: Stats,
    /// When the call began that this handle is given to.
    pub(crate) began: Instant,
}

impl Default for Control {
    fn default() -> Self {
        Self::new()
    }
}

impl Control {
    /// A handle for one call.
    pub fn new() -> Self {
        Self {
            cancellation: Cancellation::new(),
            progress: Progress::default(),
            limit: RequestLimit::default(),
            stats: Stats::default(),
            began: Instant::now(),
        }
    }

    /// The same handle for a caller who issues the warnings: they are not logged as well.
    #[cfg(feature = "python")]
    pub(crate) fn quiet(self) -> Self {
        Self {
            progress: Progress::quiet(),
            ..self
        }
    }

    /// The same handle, for a call that begins now.
    pub(crate) fn beginning(&self) -> Self {
        self.stats.begin();
        Self {
            began: Instant::now(),
            ..self.clone()
        }
    }

    /// The same handle for what a call does beside its rows.
    pub(crate) fn without_progress(&self) -> Self {
        Self {
            progress: Progress::default(),
            ..self.clone()
        }
    }

    /// A handle for one of several calls that have at most `most` requests in flight together.
    #[cfg(feature = "python")]
    pub(crate) fn sharing(limiter: Arc<Limiter>, most: usize) -> Self {
        Self {
            limit: RequestLimit::sharing(limiter, most),
            ..Self::new()
        }
    }

    /// How many rows or districts there are to do; 0 until that is known.
    pub fn total(&self) -> u64 {
        self.progress.total()
    }

    /// How many rows or districts are done, failed ones included.
    pub fn done(&self) -> u64 {
        self.progress.done()
    }

    /// How many records have been read so far.
    pub fn records(&self) -> u64 {
        self.progress.records()
    }

    /// What the call is at, where it goes through several stages: `level 3` of a
    /// [`send`](crate::EdFiClient::send).
    pub fn stage(&self) -> Option<String> {
        self.progress.stage()
    }

    /// What the call has cost so far, or the last one that was given this handle.
    pub fn stats(&self) -> CallStats {
        self.stats.get()
    }

    /// What a person should know although nothing failed: how many rows were left out, for one. The
    /// same stands in the log.
    pub fn warnings(&self) -> Vec<String> {
        self.progress.warnings()
    }

    /// Stops new requests and drops those that only read; writes in flight are finished, and the
    /// call returns with all its rows.
    pub fn cancel(&self) {
        self.cancellation.cancel();
    }

    /// The same, and drops writes in flight as well: their rows say that they may have been
    /// applied.
    pub fn abort(&self) {
        self.cancellation.abort();
    }

    /// Whether [`cancel`](Self::cancel) was called.
    pub fn is_cancelled(&self) -> bool {
        self.cancellation.is_cancelled()
    }
}
