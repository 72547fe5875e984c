//! A call that runs while Python waits: its progress, its rows, what stops it.

use std::convert::Infallible;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use polars::prelude::DataFrame;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::errors::raise;
use super::exchange::PyDataFrame;
use super::logging::follow_level;
use super::news::Limiter;
use super::progress::Progress;
use super::scope;
use crate::frame::result;
use crate::runtime::{Threads, lock};
use crate::{CallStats, Control, Error, Result};

/// How often a wait looks for Python's signals.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// A handle on one running call.
#[pyclass(frozen, module = "polars_edfi._native")]
pub(crate) struct Call {
    control: Control,
    rows: Mutex<Option<Py<PyAny>>>,
}

impl Call {
    pub(super) fn control(&self) -> Control {
        self.control.clone()
    }

    fn rows(&self) -> MutexGuard<'_, Option<Py<PyAny>>> {
        lock(&self.rows)
    }
}

#[pymethods]
impl Call {
    /// With a limiter the call has no more requests in flight than that allows, together with the
    /// others that have it.
    #[new]
    #[pyo3(signature = (limiter = None))]
    fn new(py: Python<'_>, limiter: Option<&Limiter>) -> Self {
        follow_level(py);
        let control = limiter.map_or_else(Control::new, Limiter::control).quiet();
        control.stats.begin();
        scope::take_in(&control);
        Self {
            control,
            rows: Mutex::default(),
        }
    }

    /// (done, total, records)
    fn progress(&self) -> (u64, u64, u64) {
        let control = &self.control;
        (control.done(), control.total(), control.records())
    }

    /// What the call is at.
    fn stage(&self) -> Option<String> {
        self.control.stage()
    }

    fn warnings(&self) -> Vec<String> {
        self.control.warnings()
    }

    /// How many requests it sent.
    fn requests(&self) -> u64 {
        self.control.stats().requests
    }

    /// What it has cost so far.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        stats(py, self.control.stats())
    }

    /// What a batch brought; `None` before it came back.
    #[getter(rows)]
    fn rows_or_none(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.rows().as_ref().map(|rows| rows.clone_ref(py))
    }
}

/// What a call has cost, as `client.stats` gives it.
pub(super) fn stats(py: Python<'_>, stats: CallStats) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    for (name, number) in [
        ("requests", stats.requests),
        ("retries", stats.retries),
        ("pauses", stats.pauses),
        ("token_requests", stats.token_requests),
        ("bytes_received", stats.bytes_received),
        ("bytes_sent", stats.bytes_sent),
    ] {
        dict.set_item(name, number)?;
    }
    dict.set_item("seconds", stats.elapsed.as_secs_f64())?;
    let rows = PyDict::new(py);
    for (status, count) in stats.rows {
        rows.set_item(status, count)?;
    }
    dict.set_item("rows", rows)?;
    Ok(dict)
}

/// Runs a call that only reads, which is dropped as soon as Python raises something.
pub(super) fn run<T: Send>(
    py: Python<'_>,
    call: &Call,
    future: impl Future<Output = Result<T>> + Send,
) -> PyResult<T> {
    let cancellation = call.control.cancellation.clone();
    let future = Box::pin(future);
    run_write(py, call, async {
        tokio::select! {
            outcome = future => outcome,
            () = cancellation.cancelled() => Err(Error::Interrupted),
        }
    })
}

/// Runs a call to its end, without the GIL.
pub(super) fn run_write<T: Send>(
    py: Python<'_>,
    call: &Call,
    future: impl Future<Output = Result<T>> + Send,
) -> PyResult<T> {
    let (outcome, raised) = wait(py, &call.control, future)?;
    call.control.stats.stop();
    match raised {
        Some(exception) => Err(exception),
        None => outcome.map_err(|error| raise(py, error)),
    }
}

/// The same with a bar.
pub(super) fn run_drawn<T: Send>(
    call: &Bound<'_, Call>,
    bar: (&Progress, &str, &str),
    future: impl Future<Output = Result<T>> + Send,
) -> PyResult<T> {
    let (progress, label, unit) = bar;
    let bar = progress.draw(call, label, unit)?;
    let outcome = run(call.py(), call.get(), future);
    if let Some(bar) = bar {
        bar.close(call.py())?;
    }
    outcome
}

/// Runs a batch, whose rows are the call's before anything else is done in Python, where any
/// signal may raise.
pub(super) fn run_batch(
    call: &Bound<'_, Call>,
    bar: (&Progress, &str, &str),
    future: impl Future<Output = Result<DataFrame>> + Send,
) -> PyResult<Py<PyAny>> {
    let py = call.py();
    let (progress, label, unit) = bar;
    let bar = progress.draw(call, label, unit)?;
    let (outcome, raised) = wait(py, &call.get().control, future)?;
    let keep = |rows| -> PyResult<Py<PyAny>> {
        let rows = result::finish(&call.get().control, result::STATUS_NAME, rows);
        let rows = PyDataFrame(rows).into_pyobject(py)?.into_any().unbind();
        *call.get().rows() = Some(rows.clone_ref(py));
        Ok(rows)
    };
    let outcome = match outcome {
        Ok(rows) => keep(rows),
        Err(Error::Unread { rows, source }) => keep(*rows).and_then(|_| Err(raise(py, *source))),
        Err(error) => Err(raise(py, error)),
    };
    call.get().control.stats.stop();
    if let Some(bar) = bar {
        bar.close(py)?;
    }
    match raised {
        Some(exception) => Err(exception),
        None => outcome,
    }
}

/// Waits for a call on this library's threads, and gives what Python raised meanwhile.
///
/// The first thing that is raised (Ctrl-C, the time-out of a scheduler) cancels the call, which then
/// comes back with what it has as soon as its writes in flight are answered; the second one does not
/// wait for these; a third one gives up.
pub(super) fn wait<T: Send>(
    py: Python<'_>,
    control: &Control,
    future: impl Future<Output = Result<T>> + Send,
) -> PyResult<(Result<T>, Option<PyErr>)> {
    let threads = Threads::get().map_err(|error| raise(py, error))?;
    let (sender, receiver) = mpsc::channel();
    let receiver = Mutex::new(receiver);
    let tick = || lock(&receiver).recv_timeout(TICK);
    let (give_up, given_up) = tokio::sync::oneshot::channel::<()>();
    // What a call keeps may be large, and the stack of a thread is not.
    let future = Box::pin(future);
    let (outcome, mut raised) = std::thread::scope(|scope| {
        let driving = scope.spawn(|| {
            // Its own, so that a panic drops it, which the receiver hears of.
            let sender = sender;
            let outcome = threads.block_on(async {
                tokio::select! {
                    outcome = future => outcome,
                    _ = given_up => Err(Error::Interrupted),
                    never = warn_of_writes(control) => match never {},
                }
            });
            // The receiver waits until this arrives.
            let _ = sender.send(outcome);
        });
        let mut give_up = Some(give_up);
        let mut raised: Option<PyErr> = None;
        let mut times = 0;
        let ended = loop {
            match py.detach(tick) {
                Ok(outcome) => break (outcome, raised),
                Err(RecvTimeoutError::Disconnected) => {
                    let text = "the call ended in a panic".to_owned();
                    break (Err(Error::Internal(text)), raised);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Err(exception) = py.check_signals() {
                raised = Some(exception);
                times += 1;
                match times {
                    1 => control.cancel(),
                    2 => control.abort(),
                    // Dropping it is the message.
                    _ => drop(give_up.take()),
                }
            }
        };
        // A panic is told by now.
        let _ = driving.join();
        ended
    });
    // A signal since the last look must not hit Python before it has the result.
    if let Err(exception) = py.check_signals() {
        raised = Some(exception);
    }
    if outcome.is_err() || raised.is_some() {
        // Nobody will issue them: an exception is on its way.
        control
            .warnings()
            .iter()
            .for_each(|text| log::warn!("{text}"));
    }
    Ok((outcome, raised))
}

/// Says what a cancelled call still waits for; never ends.
async fn warn_of_writes(control: &Control) -> Infallible {
    control.cancellation.cancelled().await;
    let writes = control.cancellation.writes();
    if writes > 0 {
        log::warn!(
            "interrupted: waiting for the answers to {writes} requests that write; a second \
             interrupt stops at once"
        );
    }
    std::future::pending().await
}

/// Waits for a future that another thread drives. Whatever is logged runs Python, and on Python's
/// main thread a signal handler could raise there, where nobody would see it.
pub(super) fn off_the_main_thread<T: Send>(
    future: impl Future<Output = Result<T>> + Send,
) -> Result<T> {
    let threads = Threads::get()?;
    let future = Box::pin(future);
    std::thread::scope(|scope| {
        let driving = scope.spawn(|| threads.block_on(future));
        let ended = driving.join();
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
