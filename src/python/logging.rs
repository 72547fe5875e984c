//! This library's log as Python's `logging` takes it.

use std::sync::atomic::{AtomicBool, Ordering};

use log::LevelFilter;
use pyo3::prelude::*;

const TARGET: &str = "polars_edfi";
/// Where the one line a request comes from, and its level counts.
const REQUESTS: &str = "polars_edfi.client.transport";
/// `logging.DEBUG`
const DEBUG: u32 = 10;

static IS_OURS: AtomicBool = AtomicBool::new(false);

/// Sends this library's log to Python, and no other crate's: their lines were not written with
/// student data in mind.
pub(super) fn start(py: Python<'_>) {
    let installed = pyo3_log::Logger::new(py, pyo3_log::Caching::Loggers).map(|logger| {
        let logger = logger.filter(LevelFilter::Off);
        let logger = logger.filter_target(TARGET.to_owned(), LevelFilter::Debug);
        logger.install().is_ok()
    });
    // Another extension of this process may have installed a logger before.
    IS_OURS.store(installed.unwrap_or(false), Ordering::Relaxed);
    log::set_max_level(log::max_level().min(LevelFilter::Info));
}

/// Lets the lines of single requests through where Python wants them: to ask it at each of them
/// would stop all threads.
pub(super) fn follow_level(py: Python<'_>) {
    if !IS_OURS.load(Ordering::Relaxed) {
        return;
    }
    let level = || -> PyResult<u32> {
        let logger = py
            .import("logging")?
            .call_method1("getLogger", (REQUESTS,))?;
        logger.call_method0("getEffectiveLevel")?.extract()
    };
    let wants_requests = level().is_ok_and(|level| level <= DEBUG);
    log::set_max_level(match wants_requests {
        true => LevelFilter::Debug,
        false => LevelFilter::Info,
    });
}
