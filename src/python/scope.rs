//! Stopping a call from another thread: coroutines run calls in threads, and are cancelled elsewhere.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use pyo3::prelude::*;

use crate::Control;
use crate::runtime::lock;

thread_local! {
    static SCOPE: RefCell<Option<Arc<Inside>>> = const { RefCell::new(None) };
}

/// The calls that a thread begins between `enter` and `leave`, which any thread can stop.
#[pyclass(frozen, module = "polars_edfi._native")]
pub(crate) struct Scope(Arc<Inside>);

#[derive(Default)]
struct Inside(Mutex<State>);

#[derive(Default)]
struct State {
    calls: Vec<Control>,
    stops: u32,
}

#[pymethods]
impl Scope {
    #[new]
    fn new() -> Self {
        Self(Arc::default())
    }

    /// Takes in the calls of this thread from now on.
    fn enter(&self) {
        SCOPE.set(Some(self.0.clone()));
    }

    /// The end of that.
    #[staticmethod]
    fn leave() {
        SCOPE.set(None);
    }

    /// Stops the calls as Ctrl-C does: at first what only reads; the second time, writes in flight
    /// as well.
    fn stop(&self) {
        let mut state = lock(&self.0.0);
        state.stops += 1;
        for call in &state.calls {
            stop(call, state.stops);
        }
    }
}

fn stop(call: &Control, times: u32) {
    match times {
        0 => {}
        1 => call.cancel(),
        _ => call.abort(),
    }
}

/// Takes a call into the scope of its thread, where there is one; it may have been stopped already.
pub(super) fn take_in(call: &Control) {
    SCOPE.with_borrow(|scope| {
        if let Some(scope) = scope {
            let mut state = lock(&scope.0);
            state.calls.push(call.clone());
            stop(call, state.stops);
        }
    });
}
