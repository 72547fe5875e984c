//! What a contestant is told to do, and what it took.

use std::fs::{self, File};
use std::time::Instant;

use polars::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

/// Errors come from other threads.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// One piece of work, as `run.py` describes it to every contestant.
#[derive(Deserialize)]
pub struct Work {
    /// `get_all`, `post`, `get_by_id` or `tokens`.
    pub job: String,
    pub url: String,
    pub token: String,
    /// Requests in flight.
    pub workers: usize,
    /// How many districts are read; each has the `parts`th part of all records.
    pub districts: usize,
    pub parts: usize,
    /// All records of the server.
    pub records: usize,
    /// Records a page.
    pub limit: usize,
    /// Rows to post, or accounts to fetch tokens for.
    pub count: usize,
    /// Parquet with `key`, `id` and `payload`.
    pub rows: String,
    /// Where the result goes, as Parquet.
    pub result: Option<String>,
}

impl Work {
    pub fn parse(text: &str) -> Result<Self> {
        Ok(serde_json::from_str(text)?)
    }

    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// The path of a district's ODS; more districts than parts begin again.
    pub fn district(&self, number: usize) -> String {
        format!("/{}of{}", number % self.parts + 1, self.parts)
    }

    /// The rows to work on.
    pub fn rows(&self) -> Result<DataFrame> {
        let rows = ParquetReader::new(File::open(&self.rows)?).finish()?;
        Ok(rows.head(Some(self.count)))
    }
}

/// Does something, and says in JSON what it took: seconds by the clock and of all cores, bytes.
pub fn measure<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Value)> {
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
