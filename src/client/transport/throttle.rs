//! Hosts that asked to be left alone for a while.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::Url;

use crate::client::retry::later;

/// By origin, until when: a `Retry-After` that one request is given holds for all of them.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    any: AtomicBool,
    until: Mutex<HashMap<String, Instant>>,
}

impl Throttle {
    /// Leaves an origin alone for a time.
    pub(super) fn pause(&self, url: &Url, time: Duration) {
        let until = later(time);
        let mut pauses = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = pauses
            .entry(url.origin().ascii_serialization())
            .or_insert(until);
        *pause = until.max(*pause);
        self.any.store(true, Ordering::Release);
    }

    /// How long an origin is still to be left alone.
    pub(super) fn remaining(&self, url: &Url) -> Option<Duration> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut pauses = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        pauses.retain(|_, until| *until > now);
        self.any.store(!pauses.is_empty(), Ordering::Release);
        pauses
            .get(&url.origin().ascii_serialization())
            .map(|until| *until - now)
    }
}
