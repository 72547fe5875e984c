//! What a contestant is told to do, and what it took.

use std::fs;
use std::time::Instant;

use serde::Deserialize;
use serde_json::{Value, json};

/// Errors come from other threads.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// One piece of work, as `run.py` describes it to every contestant.
#[derive(Deserialize)]
pub(crate) struct Work {
    /// `get_all`, `post`, `get_by_id` or `tokens`.
    pub(crate) job: String,
    pub(crate) url: String,
    pub(crate) token: String,
    /// Requests in flight.
    pub(crate) workers: usize,
    /// How many districts are read; each has the `parts`th part of all records.
    pub(crate) districts: usize,
    pub(crate) parts: usize,
    /// All records of the server.
    pub(crate) records: usize,
    /// Records a page.
    pub(crate) limit: usize,
    /// Rows to post, or accounts to fetch tokens for.
    pub(crate) count: usize,
    /// A file of [`Row`]s, as JSON, one a line.
    pub(crate) rows: String,
    /// Where the result goes, as JSON, one row a line.
    pub(crate) result: Option<String>,
}

/// What is posted, or asked for by its id.
#[derive(Deserialize)]
pub(crate) struct Row {
    pub(crate) key: String,
    pub(crate) id: String,
    pub(crate) payload: String,
}

impl Work {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        Ok(serde_json::from_str(text)?)
    }

    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// The path of a district's ODS; more districts than parts begin again.
    pub(crate) fn district(&self, number: usize) -> String {
        format!("/{}of{}", number % self.parts + 1, self.parts)
    }

    /// The rows to work on.
    pub(crate) fn rows(&self) -> Result<Vec<Row>> {
        let text = fs::read_to_string(&self.rows)?;
        let rows = text.lines().take(self.count).map(serde_json::from_str);
        Ok(rows.collect::<serde_json::Result<_>>()?)
    }
}

/// Does something, and says in JSON what it took: seconds by the clock and of all cores, bytes.
pub(crate) fn measure<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Value)> {
    // Where it can be: only what is used from here on counts for the peak.
    let _ = fs::write("/proc/self/clear_refs", "5");
    let before = memory("VmRSS:");
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let done = work()?;
    let (seconds, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let peak = memory("VmHWM:");
    let took = json!({"seconds": seconds, "cpu": cpu, "before": before, "peak": peak});
    Ok((done, took))
}

/// What all threads that live have used; 0 where nobody counts.
fn cpu_seconds() -> f64 {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten();
    let nanoseconds = threads.flatten().filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    nanoseconds.sum::<u64>() as f64 / 1e9
}

/// A line of `/proc/self/status` in bytes; 0 where there is none.
fn memory(name: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    kilobytes.unwrap_or(0) * 1024
}
