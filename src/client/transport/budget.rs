//! How much the bodies may hold together that are being read at once.

use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes, after decompression, of all answers of a client that are on their way.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) most: u64,
    held: AtomicU64,
}

/// What one answer holds, until it is dropped.
pub(super) struct Held<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Budget {
    pub(super) fn new(most: u64) -> Self {
        Self {
            most,
            held: AtomicU64::new(0),
        }
    }

    pub(super) fn hold(&self) -> Held<'_> {
        Held {
            budget: self,
            bytes: 0,
        }
    }
}

impl Held<'_> {
    /// Takes more; false where that is too much.
    pub(super) fn add(&mut self, bytes: u64) -> bool {
        self.bytes += bytes;
        self.budget.held.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.budget.most
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
