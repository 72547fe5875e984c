//! A call that runs while Python watches: progress, Ctrl-C.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;

use super::errors::raise;
use crate::runtime::Threads;
use crate::{Control, Error, Result};

/// How often Python looks after a running call.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// A handle on one running call.
#[pyclass(frozen, module = "polars_edfi._native")]
pub(crate) struct Call {
    pub(crate) control: Control,
}

#[pymethods]
impl Call {
    #[new]
    pub(super) fn new() -> Self {
        Self {
            control: Control::new(),
        }
    }

    /// (done, total, records)
    fn progress(&self) -> (u64, u64, u64) {
        (
            self.control.done(),
            self.control.total(),
            self.control.records(),
        )
    }

    fn warnings(&self) -> Vec<String> {
        self.control.warnings()
    }

    fn is_cancelled(&self) -> bool {
        self.control.is_cancelled()
    }
}

/// Runs a future to its end on this library's threads, without the GIL.
///
/// `on_tick` is called every 100 ms. A first Ctrl-C cancels the call, which then comes back with
/// what it has; a second one gives up at once.
pub(crate) fn run<T: Send>(
    py: Python<'_>,
    control: &Control,
    on_tick: Option<&Bound<'_, PyAny>>,
    future: impl Future<Output = Result<T>> + Send,
) -> PyResult<T> {
    let threads = Threads::get().map_err(|error| raise(py, error))?;
    let (sender, receiver) = mpsc::channel();
    let receiver = Mutex::new(receiver);
    let wait = || {
        receiver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv_timeout(TICK)
    };
    let (abort, aborted) = tokio::sync::oneshot::channel::<()>();
    let result = std::thread::scope(|scope| {
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
        let mut raised = None;
        loop {
            match py.detach(wait) {
                Ok(outcome) => break (outcome, raised),
                Err(RecvTimeoutError::Disconnected) => {
                    let text = "the call ended in a panic".to_owned();
                    break (Err(Error::Config(text)), raised);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            let tick = on_tick.map_or(Ok(()), |tick| tick.call0().map(drop));
            if let Err(error) = py.check_signals().and(tick) {
                let interrupt = error.is_instance_of::<PyKeyboardInterrupt>(py);
                if !interrupt || control.is_cancelled() {
                    raised.get_or_insert(error);
                    if let Some(abort) = abort.take() {
                        // The call may have ended in this very moment.
                        let _ = abort.send(());
                    }
                }
                control.cancel();
            }
        }
    });
    // A Ctrl-C since the last look must not hit Python before it has the result.
    if py.check_signals().is_err() {
        control.cancel();
    }
    match result {
        (_, Some(error)) => Err(error),
        (outcome, None) => outcome.map_err(|error| raise(py, error)),
    }
}
