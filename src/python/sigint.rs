//! Ctrl-C as every thread sees it: Python tells its main thread alone, and only when that comes back
//! to Python.
//!
//! While something watches, a handler of our own stands before whatever handler there is, which it
//! calls. It is put there anew each time, since `signal.signal`, which notebooks call for each cell,
//! replaces it (a handler of the crate `signal-hook` would be lost then).

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;

use super::call::TICK;
use crate::runtime::lock;

/// How many interrupts there were while something watched.
static INTERRUPTS: AtomicUsize = AtomicUsize::new(0);
/// How many of them have become an exception, or are about to.
static HANDLED: AtomicUsize = AtomicUsize::new(0);
/// How many watch, and how many of these raise by themselves.
static WATCHES: Mutex<usize> = Mutex::new(0);
static TAKING: AtomicUsize = AtomicUsize::new(0);
/// How many of those that raise by themselves wait at this moment, and when one did so last, in
/// milliseconds.
static WAITING: AtomicUsize = AtomicUsize::new(0);
static WAITED: AtomicU64 = AtomicU64::new(0);
/// So long after a wait there may be another one. Polars keeps the pages of a query that ended early,
/// or whose consumer takes its time: interrupts are for Python then.
const BETWEEN: u64 = 1000;
/// Whether they are for Python in any case, when somebody looked last.
static FOR_PYTHON: AtomicBool = AtomicBool::new(false);
/// The last interrupt that was for Python so.
static PASSED: AtomicUsize = AtomicUsize::new(0);

/// Sees interrupts until it is dropped, and those that Python's main thread does not know of yet: a
/// query that was interrupted asks for nothing more.
#[derive(Debug)]
pub(super) struct Watch {
    before: usize,
}

impl Watch {
    pub(super) fn new() -> Self {
        let mut watches = lock(&WATCHES);
        *watches += 1;
        handler::install();
        Self {
            before: HANDLED.load(Ordering::SeqCst),
        }
    }

    /// How many interrupts there were.
    pub(super) fn interrupts(&self) -> usize {
        let interrupts = INTERRUPTS.load(Ordering::SeqCst);
        if interrupts > HANDLED.load(Ordering::SeqCst) && TAKING.load(Ordering::SeqCst) == 0 {
            // SAFETY: may be called from any thread, with the GIL or without; the function keeps to
            // its type. Where the queue is full, the next look tries again.
            unsafe { ffi::Py_AddPendingCall(Some(handled), std::ptr::null_mut()) };
        }
        interrupts - self.before
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // One since the last look must not pass for one of a later query.
        self.interrupts();
        let mut watches = lock(&WATCHES);
        *watches -= 1;
        if *watches == 0 {
            handler::restore();
        }
    }
}

/// A wait in a thread of Polars that raises by itself, or several: until a while after the last one,
/// interrupts are kept from Python, which would raise once more. Not so where Python's main thread
/// waits for something else: nothing would tell it.
#[derive(Debug)]
pub(super) struct Taker {
    watch: Watch,
    is_waiting: AtomicBool,
}

impl Taker {
    pub(super) fn new() -> Self {
        let watch = Watch::new();
        TAKING.fetch_add(1, Ordering::SeqCst);
        WAITING.fetch_add(1, Ordering::SeqCst);
        Self {
            watch,
            is_waiting: AtomicBool::new(true),
        }
    }

    /// Begins to wait, or ends it until the next time.
    pub(super) fn wait(&self, is_waiting: bool) {
        if self.is_waiting.swap(is_waiting, Ordering::SeqCst) == is_waiting {
            return;
        }
        if is_waiting {
            WAITING.fetch_add(1, Ordering::SeqCst);
        } else {
            WAITED.store(handler::now(), Ordering::SeqCst);
            WAITING.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Whether there was an interrupt, which the caller then raises.
    pub(super) fn take(&self) -> bool {
        let interrupts = INTERRUPTS.load(Ordering::SeqCst);
        if interrupts <= self.watch.before.max(PASSED.load(Ordering::SeqCst)) {
            return false;
        }
        HANDLED.fetch_max(interrupts, Ordering::SeqCst);
        true
    }
}

/// Waits for an interrupt, where somebody takes them.
pub(super) async fn taken(taker: Option<&Taker>) {
    while !taker.is_some_and(Taker::take) {
        tokio::time::sleep(TICK).await;
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        self.wait(false);
        TAKING.fetch_sub(1, Ordering::SeqCst);
        // Another scan of the same query may have raised it.
        if INTERRUPTS.load(Ordering::SeqCst) > HANDLED.load(Ordering::SeqCst) {
            // SAFETY: may be called anywhere.
            unsafe { ffi::PyErr_SetInterrupt() };
        }
    }
}

/// Python's main thread is back in Python, where the interrupt becomes an exception.
extern "C" fn handled(_: *mut std::ffi::c_void) -> std::ffi::c_int {
    HANDLED.store(INTERRUPTS.load(Ordering::SeqCst), Ordering::SeqCst);
    0
}

/// Looks whom interrupts are for from now on, before a wait and while it lasts.
pub(super) fn look_at_main_thread(py: Python<'_>) -> PyResult<()> {
    let signals = py.import("polars_edfi._signals")?;
    let is_for_python = signals.call_method0("is_for_python")?.extract()?;
    FOR_PYTHON.store(is_for_python, Ordering::SeqCst);
    Ok(())
}

/// Whether this is the thread that Python tells of signals.
pub(super) fn is_main_thread(py: Python<'_>) -> PyResult<bool> {
    let threading = py.import("threading")?;
    let main = threading.call_method0("main_thread")?.getattr("ident")?;
    threading.call_method0("get_ident")?.eq(main)
}

#[cfg(unix)]
mod handler {
    use std::ffi::{c_int, c_void};
    use std::mem::MaybeUninit;
    use std::ptr::{null, null_mut};
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use libc::{SA_SIGINFO, SIG_DFL, SIG_IGN, SIGINT, sigaction, siginfo_t};

    use super::{BETWEEN, FOR_PYTHON, HANDLED, INTERRUPTS, PASSED, TAKING, WAITED, WAITING};

    /// The handler that ours calls, and whether it takes more than the signal's number.
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    static NEXT_TAKES_INFO: AtomicBool = AtomicBool::new(false);
    /// Whether ours is being run: the one that it calls may know of it in turn.
    static RUNNING: AtomicBool = AtomicBool::new(false);

    extern "C" fn count(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
        if RUNNING.swap(true, Ordering::SeqCst) {
            return;
        }
        let interrupts = INTERRUPTS.fetch_add(1, Ordering::SeqCst) + 1;
        if TAKING.load(Ordering::SeqCst) > 0 {
            let since = now().saturating_sub(WAITED.load(Ordering::SeqCst));
            let is_waited = WAITING.load(Ordering::SeqCst) > 0 || since < BETWEEN;
            if is_waited && !FOR_PYTHON.load(Ordering::SeqCst) {
                RUNNING.store(false, Ordering::SeqCst);
                return;
            }
            PASSED.store(interrupts, Ordering::SeqCst);
            HANDLED.fetch_max(interrupts, Ordering::SeqCst);
        }
        let next = NEXT.load(Ordering::SeqCst);
        // SAFETY: the handler that was there, called as the system calls it.
        unsafe {
            match NEXT_TAKES_INFO.load(Ordering::SeqCst) {
                true => std::mem::transmute::<
                    usize,
                    extern "C" fn(c_int, *mut siginfo_t, *mut c_void),
                >(next)(signal, info, context),
                false => std::mem::transmute::<usize, extern "C" fn(c_int)>(next)(signal),
            }
        }
        RUNNING.store(false, Ordering::SeqCst);
    }

    /// Milliseconds of a clock that a handler may look at.
    pub(super) fn now() -> u64 {
        let mut now = MaybeUninit::<libc::timespec>::uninit();
        // SAFETY: where that succeeds, the time is written.
        unsafe {
            match libc::clock_gettime(libc::CLOCK_MONOTONIC, now.as_mut_ptr()) {
                0 => {
                    let now = now.assume_init();
                    now.tv_sec.unsigned_abs() * 1000 + now.tv_nsec.unsigned_abs() / 1_000_000
                }
                _ => 0,
            }
        }
    }

    fn ours() -> usize {
        count as extern "C" fn(c_int, *mut siginfo_t, *mut c_void) as usize
    }

    fn current() -> Option<sigaction> {
        let mut current = MaybeUninit::uninit();
        // SAFETY: asks only; where that succeeds, the answer is written.
        unsafe {
            (sigaction(SIGINT, null(), current.as_mut_ptr()) == 0).then(|| current.assume_init())
        }
    }

    /// Puts ours before the handler that there is. Without one, Ctrl-C ends the process, or nothing.
    pub(super) fn install() {
        let Some(mut action) = current() else { return };
        if [SIG_DFL, SIG_IGN, ours()].contains(&action.sa_sigaction) {
            return;
        }
        NEXT.store(action.sa_sigaction, Ordering::SeqCst);
        NEXT_TAKES_INFO.store(action.sa_flags & SA_SIGINFO != 0, Ordering::SeqCst);
        action.sa_sigaction = ours();
        action.sa_flags |= SA_SIGINFO;
        // SAFETY: a handler that calls nothing but atomics and the handler before.
        unsafe { sigaction(SIGINT, &raw const action, null_mut()) };
    }

    /// Puts the handler back that was there, unless somebody has replaced ours.
    pub(super) fn restore() {
        let Some(mut action) = current() else { return };
        if action.sa_sigaction != ours() {
            return;
        }
        action.sa_sigaction = NEXT.load(Ordering::SeqCst);
        if !NEXT_TAKES_INFO.load(Ordering::SeqCst) {
            action.sa_flags &= !SA_SIGINFO;
        }
        // SAFETY: what was there before.
        unsafe { sigaction(SIGINT, &raw const action, null_mut()) };
    }
}

/// Where there are no signals, Python's main thread alone sees Ctrl-C.
#[cfg(not(unix))]
mod handler {
    pub(super) fn install() {}
    pub(super) fn restore() {}
    pub(super) fn now() -> u64 {
        0
    }
}
