//! What stands still while the process forks.

use std::sync::Once;

use crate::journal::forks::{after_fork_in_child, after_fork_in_parent, before_fork};

extern "C" fn before() {
    before_fork();
}

extern "C" fn in_parent() {
    after_fork_in_parent();
}

extern "C" fn in_child() {
    after_fork_in_child();
}

/// Has the system tell of forks, whoever forks.
pub(super) fn watch() {
    static ONCE: Once = Once::new();
    // SAFETY: functions that touch atomics alone, and sleep.
    #[cfg(unix)]
    ONCE.call_once(|| unsafe {
        libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child));
    });
}
