//! Forks wait until nobody is within SQLite: its locks are the process's, and a child would find
//! those taken for ever that are in the hands of threads which it does not have.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Who waits looks again after this time.
const PAUSE: Duration = Duration::from_micros(100);
/// A fork waits no longer than this: whatever SQLite does takes less.
const PATIENCE: Duration = Duration::from_secs(10);

static WITHIN: AtomicUsize = AtomicUsize::new(0);
static FORKING: AtomicBool = AtomicBool::new(false);

/// The right to be within SQLite, until it is dropped. Who has it must not ask for another.
pub(super) struct Within(());

impl Within {
    /// Waits while the process forks.
    pub(super) fn enter() -> Self {
        loop {
            WITHIN.fetch_add(1, Ordering::SeqCst);
            if !FORKING.load(Ordering::SeqCst) {
                return Self(());
            }
            WITHIN.fetch_sub(1, Ordering::SeqCst);
            thread::sleep(PAUSE);
        }
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        WITHIN.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Waits until nobody is within SQLite, and keeps everybody out.
pub(crate) extern "C" fn before_fork() {
    FORKING.store(true, Ordering::SeqCst);
    let end = Instant::now() + PATIENCE;
    while WITHIN.load(Ordering::SeqCst) > 0 && Instant::now() < end {
        thread::sleep(PAUSE);
    }
}

pub(crate) extern "C" fn after_fork_in_parent() {
    FORKING.store(false, Ordering::SeqCst);
}

pub(crate) extern "C" fn after_fork_in_child() {
    // Who was within is not there any more.
    WITHIN.store(0, Ordering::SeqCst);
    FORKING.store(false, Ordering::SeqCst);
}
