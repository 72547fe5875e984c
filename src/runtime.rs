//! The runtime of the blocking faces, and a pool of threads for decoding.
//!
//! Threads do not survive a fork (Airflow, gunicorn): both are made anew in each process.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{Error, Result};

static THREADS: Mutex<Option<(u32, Arc<Threads>)>> = Mutex::new(None);

/// What one process has.
pub(crate) struct Threads {
    runtime: tokio::runtime::Runtime,
    decoding: rayon::ThreadPool,
}

impl Threads {
    /// Those of this process, made at the first use.
    pub(crate) fn get() -> Result<Arc<Self>> {
        let mut threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
        let process = std::process::id();
        match &*threads {
            Some((owner, threads)) if *owner == process => return Ok(threads.clone()),
            // Dropping a runtime whose threads are gone would wait for them for ever.
            Some(_) => std::mem::forget(threads.take()),
            None => {}
        }
        let new = Arc::new(Self::start()?);
        *threads = Some((process, new.clone()));
        Ok(new)
    }

    fn start() -> Result<Self> {
        let failed = |error: &dyn std::fmt::Display| Error::Config(format!("no threads: {error}"));
        Ok(Self {
            // One thread for a call and all its connections: to wake another one for each answer
            // takes more than a small request itself.
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| failed(&error))?,
            decoding: rayon::ThreadPoolBuilder::new()
                .thread_name(|i| format!("polars-edfi-decode-{i}"))
                .build()
                .map_err(|error| failed(&error))?,
        })
    }

    /// Waits for a call, on the thread that calls.
    pub(crate) fn block_on<T>(&self, call: impl Future<Output = T>) -> T {
        self.runtime.block_on(async {
            // Between calls nobody looks after idle connections: what a server closed in the
            // meantime has to be seen before it is used. One turn hears of it, one acts on it.
            for _ in 0..2 {
                tokio::task::yield_now().await;
            }
            call.await
        })
    }
}

impl Threads {
    /// Does a piece of work that divides itself, and waits for it.
    pub(crate) fn on_all_cores<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.decoding.install(work)
    }

    /// Looks after the runtime from a thread of its own.
    pub(crate) fn keep_at_work(self: Arc<Self>) -> Result<AtWork> {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        std::thread::Builder::new()
            .name("polars-edfi".into())
            .spawn(move || self.runtime.block_on(stopped))
            .map_err(|error| Error::Config(format!("no threads: {error}")))?;
        Ok(AtWork { _stop: stop })
    }
}

/// Keeps the runtime at work between calls, so that what a call began goes on; until dropped.
#[derive(Debug)]
pub(crate) struct AtWork {
    _stop: tokio::sync::oneshot::Sender<()>,
}

/// Does a piece of work that keeps a core busy, beside the requests.
pub(crate) async fn compute<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    Threads::get()?.decoding.spawn(move || {
        // Nobody listens any more where the call was dropped.
        let _ = sender.send(work());
    });
    receiver
        .await
        .map_err(|_| Error::Config("decoding ended in a panic".into()))
}
