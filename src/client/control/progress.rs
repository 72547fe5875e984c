//! How far a call is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::runtime::lock;

/// What a call has done so far. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    total: AtomicU64,
    done: AtomicU64,
    records: AtomicU64,
    warnings: Mutex<Vec<String>>,
    stage: Mutex<Option<String>>,
    /// Whether warnings are left to who asks for them, and logged by nobody.
    quiet: bool,
}

impl Progress {
    /// One whose warnings somebody issues otherwise: they are not logged.
    #[cfg(feature = "python")]
    pub(super) fn quiet() -> Self {
        Self(Arc::new(Counters {
            quiet: true,
            ..Counters::default()
        }))
    }

    pub(crate) fn begin(&self, total: usize) {
        self.0.total.store(total as u64, Ordering::Relaxed);
    }

    /// Says that there is more to do than was known.
    pub(crate) fn add_total(&self, more: usize) {
        self.0.total.fetch_add(more as u64, Ordering::Relaxed);
    }

    /// Says what the call is at.
    pub(crate) fn set_stage(&self, stage: String) {
        let mut now = lock(&self.0.stage);
        *now = Some(stage);
    }

    pub(super) fn stage(&self) -> Option<String> {
        let stage = self.0.stage.lock();
        stage.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn one_done(&self) {
        self.0.done.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_records(&self, records: usize) {
        self.0.records.fetch_add(records as u64, Ordering::Relaxed);
    }

    pub(crate) fn warn(&self, text: String) {
        if !self.0.quiet {
            log::warn!("{text}");
        }
        lock(&self.0.warnings).push(text);
    }

    /// Says what stands in the log of every face: who issues warnings otherwise does not say it again.
    pub(crate) fn tell(&self, text: String) {
        log::warn!("{text}");
        if !self.0.quiet {
            lock(&self.0.warnings).push(text);
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.0.total.load(Ordering::Relaxed)
    }

    pub(super) fn done(&self) -> u64 {
        self.0.done.load(Ordering::Relaxed)
    }

    pub(super) fn records(&self) -> u64 {
        self.0.records.load(Ordering::Relaxed)
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        lock(&self.0.warnings).clone()
    }
}
