//! What stands still while the process forks.

use std::sync::Once;

use crate::journal::forks::{after_fork_in_child, after_fork_in_parent, before_fork};

/// Has the system tell of forks, whoever forks.
pub(super) fn watch() {
    static ONCE: Once = Once::new();
    // SAFETY: functions that touch atomics alone, and sleep.
    ONCE.call_once(|| unsafe {
        libc::pthread_atfork(
            Some(before_fork),
            Some(after_fork_in_parent),
            Some(after_fork_in_child),
        );
    });
}
