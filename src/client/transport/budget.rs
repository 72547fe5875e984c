//! How much the bodies may hold together that are being read at once.

use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes, after decompression, of all answers of a client that are on their way.
#[derive(Debug)]
pub(super) struct Budget {
    most: u64,
    held: AtomicU64,
    answers: AtomicU64,
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
            answers: AtomicU64::new(0),
        }
    }

    pub(super) fn hold(&self) -> Held<'_> {
        self.answers.fetch_add(1, Ordering::Relaxed);
        Held {
            budget: self,
            bytes: 0,
        }
    }
}

impl Held<'_> {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes more. Where all answers together hold too much, those fail that hold more than their
    /// share: a small answer beside a huge one comes through.
    pub(super) fn add(&mut self, bytes: u64) -> Result<(), String> {
        let Budget {
            most,
            held,
            answers,
        } = self.budget;
        self.bytes += bytes;
        let held = held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let answers = answers.load(Ordering::Relaxed).max(1);
        match held <= *most || self.bytes < held / answers {
            true => Ok(()),
            false => Err(format!(
                "what is being read at once (answers: {answers}) is larger than max_body \
                 ({most} bytes)"
            )),
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
        self.budget.answers.fetch_sub(1, Ordering::Relaxed);
    }
}
