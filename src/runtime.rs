//! The runtimes of the blocking faces, and a pool of threads for decoding.
//!
//! A *worker* is a runtime of one thread with connections of its own: to wake another thread for
//! each answer takes more than a small request itself. A call is driven by the thread that waits
//! for it, worker 0; one of many rows shares them with other workers, which have threads that stay.
//!
//! Threads do not survive a fork (Airflow, gunicorn): all are made anew in each process.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::per_process::PerProcess;
use crate::{Error, Result};

static THREADS: PerProcess<Mutex<Option<Arc<Threads>>>> = PerProcess::new();

thread_local! {
    static WORKER: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The number of the worker that this thread drives; none where the runtime is somebody else's.
pub(crate) fn worker() -> Option<usize> {
    WORKER.get()
}

/// Up to `most` workers beside this one, as many as there are cores; none where the runtime is
/// somebody else's, who decides about threads.
pub(crate) fn other_workers(most: usize) -> Vec<Handle> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    match (worker(), most.min(cores - 1)) {
        (None, _) | (_, 0) => Vec::new(),
        (Some(_), count) => Threads::get().map_or_else(|_| Vec::new(), |all| all.workers(count)),
    }
}

/// Makes this thread drive a worker until it is dropped.
struct Driving(Option<usize>);

impl Driving {
    fn worker(number: usize) -> Self {
        Self(WORKER.replace(Some(number)))
    }
}

impl Drop for Driving {
    fn drop(&mut self) {
        WORKER.set(self.0);
    }
}

/// What one process has.
pub(crate) struct Threads {
    runtime: Runtime,
    /// Worker 1 and those after it.
    workers: Mutex<Vec<Handle>>,
    decoding: rayon::ThreadPool,
    jobs: Arc<Mutex<Jobs>>,
}

type Job = Box<dyn FnOnce() + Send>;

/// What waits for a thread of the pool.
#[derive(Default)]
struct Jobs {
    urgent: VecDeque<Job>,
    others: VecDeque<Job>,
}

impl Threads {
    /// Those of this process, made at the first use.
    pub(crate) fn get() -> Result<Arc<Self>> {
        let mut threads = lock(THREADS.get());
        if let Some(threads) = &*threads {
            return Ok(threads.clone());
        }
        let new = Arc::new(Self::start()?);
        *threads = Some(new.clone());
        Ok(new)
    }

    fn start() -> Result<Self> {
        let failed =
            |error: &dyn std::fmt::Display| Error::Internal(format!("no threads: {error}"));
        Ok(Self {
            runtime: single().map_err(|error| failed(&error))?,
            workers: Mutex::default(),
            decoding: rayon::ThreadPoolBuilder::new()
                .thread_name(|i| format!("polars-edfi-decode-{i}"))
                .build()
                .map_err(|error| failed(&error))?,
            jobs: Arc::default(),
        })
    }

    /// Waits for a call, on the thread that calls.
    pub(crate) fn block_on<T>(&self, call: impl Future<Output = T>) -> T {
        let _driving = Driving::worker(0);
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

    /// The first workers beside worker 0; fewer where the system gives no more threads.
    fn workers(&self, count: usize) -> Vec<Handle> {
        let mut workers = lock(&self.workers);
        while workers.len() < count {
            let Ok(worker) = start_worker(workers.len() + 1) else {
                break;
            };
            workers.push(worker);
        }
        workers.iter().take(count).cloned().collect()
    }

    /// Looks after the runtime from a thread of its own.
    pub(crate) fn keep_at_work(self: Arc<Self>) -> Result<AtWork> {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        thread::Builder::new()
            .name("polars-edfi".into())
            .spawn(move || {
                let _driving = Driving::worker(0);
                self.runtime.block_on(stopped)
            })
            .map_err(|error| Error::Internal(format!("no threads: {error}")))?;
        Ok(AtWork { _stop: stop })
    }
}

fn single() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

fn start_worker(number: usize) -> std::io::Result<Handle> {
    let runtime = single()?;
    let handle = runtime.handle().clone();
    thread::Builder::new()
        .name(format!("polars-edfi-{number}"))
        .spawn(move || {
            let _driving = Driving::worker(number);
            runtime.block_on(pending::<()>());
        })?;
    Ok(handle)
}

/// Keeps the runtime at work between calls, so that what a call began goes on; until dropped.
#[derive(Debug)]
pub(crate) struct AtWork {
    _stop: tokio::sync::oneshot::Sender<()>,
}

/// Does a piece of work beside the requests, which nobody waits for.
pub(crate) fn spawn(work: impl FnOnce() + Send + 'static) -> Result<()> {
    Threads::get()?.decoding.spawn(move || {
        // A panic that leaves a thread of the pool would abort the process.
        let _ = catch_unwind(AssertUnwindSafe(work));
    });
    Ok(())
}

/// Does a piece of work that keeps a core busy, beside the requests.
pub(crate) async fn compute<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    queued(work, |jobs| &mut jobs.others).await
}

/// The same before all work that is not urgent: for what someone waits for.
pub(crate) async fn compute_first<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    queued(work, |jobs| &mut jobs.urgent).await
}

async fn queued<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
    queue: impl FnOnce(&mut Jobs) -> &mut VecDeque<Job>,
) -> Result<T> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let threads = Threads::get()?;
    let jobs = threads.jobs.clone();
    queue(&mut lock(&jobs)).push_back(Box::new(move || {
        // A panic that leaves a thread of the pool would abort the process.
        let done = catch_unwind(AssertUnwindSafe(work));
        // Nobody listens any more where the call was dropped.
        let _ = sender.send(done);
    }));
    // One job is done for each that waits, though not always that one.
    threads.decoding.spawn(move || {
        let job = {
            let mut jobs = lock(&jobs);
            jobs.urgent.pop_front().or_else(|| jobs.others.pop_front())
        };
        if let Some(job) = job {
            job();
        }
    });
    match receiver.await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(_)) | Err(_) => Err(Error::Internal("the call ended in a panic".into())),
    }
}

/// Locks what is whole after a panic, too.
pub(crate) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
