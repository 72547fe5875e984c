//! What a call costs: its requests, its pauses, its bytes, its time.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::runtime::lock;

/// What a call has cost so far: see [`Control::stats`](super::Control::stats).
///
/// ```
/// let stats = polars_edfi::Control::new().stats();
/// assert_eq!((stats.requests, stats.rows.len()), (0, 0));
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct CallStats {
    /// Requests that were sent, or tried to be, repetitions included.
    pub requests: u64,
    /// Those of them that repeat one that failed or was refused.
    pub retries: u64,
    /// How often an origin was left alone because it refused a request.
    pub pauses: u64,
    /// Requests for tokens.
    pub token_requests: u64,
    /// Bytes of bodies that were read, decompressed.
    pub bytes_received: u64,
    /// Bytes of bodies that were sent.
    pub bytes_sent: u64,
    /// How long it took, or has taken so far.
    pub elapsed: Duration,
    /// Rows of a batch's result by their `status`; `None` is success. Empty before its end.
    pub rows: Vec<(Option<String>, u64)>,
}

/// The counters behind [`CallStats`]. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stats(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    retries: AtomicU64,
    pauses: AtomicU64,
    token_requests: AtomicU64,
    bytes_received: AtomicU64,
    bytes_sent: AtomicU64,
    course: Mutex<Course>,
}

/// From when to when, and to what end.
#[derive(Debug, Default)]
struct Course {
    began: Option<Instant>,
    ended: Option<Instant>,
    rows: Vec<(Option<String>, u64)>,
}

fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}

impl Stats {
    fn course(&self) -> MutexGuard<'_, Course> {
        lock(&self.0.course)
    }

    /// Notes that a call begins, or another part of one; afresh where a call has ended.
    pub(crate) fn begin(&self) {
        let mut course = self.course();
        if course.ended.is_some() {
            let Counters {
                requests,
                retries,
                pauses,
                token_requests,
                bytes_received,
                bytes_sent,
                course: _,
            } = &*self.0;
            let requests = [requests, retries, pauses, token_requests];
            for counter in requests.into_iter().chain([bytes_received, bytes_sent]) {
                counter.store(0, Ordering::Relaxed);
            }
            *course = Course::default();
        }
        course.began.get_or_insert_with(Instant::now);
    }

    /// Counts a request that is about to be sent, and whether it repeats another one.
    pub(crate) fn request(&self, is_retry: bool, is_for_token: bool, body: usize) {
        add(&self.0.requests, 1);
        add(&self.0.retries, u64::from(is_retry));
        add(&self.0.token_requests, u64::from(is_for_token));
        add(&self.0.bytes_sent, body as u64);
    }

    pub(crate) fn pause(&self) {
        add(&self.0.pauses, 1);
    }

    pub(crate) fn received(&self, bytes: u64) {
        add(&self.0.bytes_received, bytes);
    }

    /// Notes the end of a batch and how many of its rows have which status, and logs the line that
    /// tells all of it; once.
    pub(crate) fn end(&self, rows: impl FnOnce() -> Vec<(Option<String>, u64)>) {
        let mut course = self.course();
        if course.ended.is_none() {
            (course.ended, course.rows) = (Some(Instant::now()), rows());
            drop(course);
            log::info!(target: "polars_edfi", "{}", self.get());
        }
    }

    /// Notes the end of a call that is no batch.
    #[cfg(feature = "python")]
    pub(crate) fn stop(&self) {
        self.course().ended.get_or_insert_with(Instant::now);
    }

    pub(crate) fn get(&self) -> CallStats {
        let (counters, course) = (&self.0, self.course());
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let end = course.ended.unwrap_or_else(Instant::now);
        let elapsed = |began| end.saturating_duration_since(began);
        CallStats {
            requests: get(&counters.requests),
            retries: get(&counters.retries),
            pauses: get(&counters.pauses),
            token_requests: get(&counters.token_requests),
            bytes_received: get(&counters.bytes_received),
            bytes_sent: get(&counters.bytes_sent),
            elapsed: course.began.map_or(Duration::ZERO, elapsed),
            rows: course.rows.clone(),
        }
    }
}

impl fmt::Display for CallStats {
    /// One line, as it is logged at the end of a batch.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests ({} retries, {} for tokens), {} pauses, {} bytes received, {} bytes sent, \
             {:.3} s; rows:",
            self.requests,
            self.retries,
            self.token_requests,
            self.pauses,
            self.bytes_received,
            self.bytes_sent,
            self.elapsed.as_secs_f64()
        )?;
        if self.rows.is_empty() {
            return f.write_str(" none");
        }
        for (place, (status, count)) in self.rows.iter().enumerate() {
            let separator = if place == 0 { "" } else { "," };
            let status = status.as_deref().unwrap_or("ok");
            write!(f, "{separator} {count} {status}")?;
        }
        Ok(())
    }
}
