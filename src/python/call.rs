//! A call that runs while Python waits: its progress, its rows, what stops it.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use polars::prelude::DataFrame;
use pyo3::prelude::*;

use super::errors::raise;
use super::exchange::PyDataFrame;
use super::progress::Progress;
use crate::runtime::Threads;
use crate::{Control, Error, Result};

/// How often a wait looks for Python's signals.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// A handle on one running call.
#[pyclass(frozen, module = "polars_edfi._native")]
#[derive(Default)]
pub(crate) struct Call {
    control: Control,
    rows: Mutex<Option<Py<PyAny>>>,
}

impl Call {
    pub(super) fn control(&self) -> Control {
        self.control.clone()
    }

    fn rows(&self) -> MutexGuard<'_, Option<Py<PyAny>>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Call {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// (done, total, records)
    fn progress(&self) -> (u64, u64, u64) {
        let control = &self.control;
        (control.done(), control.total(), control.records())
    }

    fn warnings(&self) -> Vec<String> {
        self.control.warnings()
    }

    /// What a batch brought; `None` before it came back.
    #[getter(rows)]
    fn rows_or_none(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.rows().as_ref().map(|rows| rows.clone_ref(py))
    }
}

/// Runs a call to its end, without the GIL.
pub(super) fn run<T: Send>(
    py: Python<'_>,
    call: &Call,
    future: impl Future<Output = Result<T>> + Send,
) -> PyResult<T> {
    let (outcome, raised) = wait(py, &call.control, future)?;
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
    let outcome = outcome.map_err(|error| raise(py, error)).and_then(|rows| {
        let rows = PyDataFrame(rows).into_pyobject(py)?.into_any().unbind();
        *call.get().rows() = Some(rows.clone_ref(py));
        Ok(rows)
    });
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
/// The first thing that is raised (Ctrl-C, the time-out of a scheduler) cancels the call, which
/// then comes back with what it has; the second one gives up at once.
fn wait<T: Send>(
    py: Python<'_>,
    control: &Control,
    future: impl Future<Output = Result<T>> + Send,
) -> PyResult<(Result<T>, Option<PyErr>)> {
    let threads = Threads::get().map_err(|error| raise(py, error))?;
    let (sender, receiver) = mpsc::channel();
    let receiver = Mutex::new(receiver);
    let tick = || {
        receiver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv_timeout(TICK)
    };
    let (abort, aborted) = tokio::sync::oneshot::channel::<()>();
    let (outcome, mut raised) = std::thread::scope(|scope| {
        scope.spawn(|| {
            let outcome = threads.block_on(async {
                tokio::select! {
                    outcome = future => outcome,
                    Ok(()) = aborted => Err(Error::Interrupted),
                }
            });
            // The receiver waits until this arrives.
            let _ = sender.send(outcome);
        });
        let mut abort = Some(abort);
        let mut raised: Option<PyErr> = None;
        loop {
            match py.detach(tick) {
                Ok(outcome) => break (outcome, raised),
                Err(RecvTimeoutError::Disconnected) => {
                    let text = "the call ended in a panic".to_owned();
                    break (Err(Error::Config(text)), raised);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Err(exception) = py.check_signals() {
                control.cancel();
                if raised.replace(exception).is_some()
                    && let Some(abort) = abort.take()
                {
                    // The call may have ended in this very moment.
                    let _ = abort.send(());
                }
            }
        }
    });
    // A signal since the last look must not hit Python before it has the result.
    if let Err(exception) = py.check_signals() {
        raised = Some(exception);
    }
    Ok((outcome, raised))
}
