//! What each process has for itself: a forked child begins anew.
//!
//! A fork copies locks as they are, held by threads that the child does not have: it would wait for
//! them for ever (Airflow and gunicorn fork while other threads are in calls).

use std::sync::OnceLock;

/// A value of the process that asks for it, made at its first use.
#[derive(Debug)]
pub(crate) struct PerProcess<T>(OnceLock<Box<Owned<T>>>);

#[derive(Debug)]
struct Owned<T> {
    process: u32,
    value: T,
    /// That of a child, of this process or of a child of it.
    child: PerProcess<T>,
}

impl<T> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        Self(OnceLock::new())
    }
}

impl<T: Default> PerProcess<T> {
    pub(crate) fn get(&self) -> &T {
        let process = std::process::id();
        let mut place = self;
        loop {
            let owned = place.0.get_or_init(|| {
                Box::new(Owned {
                    process,
                    value: T::default(),
                    child: Self::new(),
                })
            });
            if owned.process == process {
                return &owned.value;
            }
            place = &owned.child;
        }
    }
}

impl<T> Default for PerProcess<T> {
    fn default() -> Self {
        Self::new()
    }
}
