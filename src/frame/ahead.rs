//! Work done ahead of the one who takes its results, in order, so many at a time and no more.
//!
//! A [`Lane`] is a task that puts results into a row, each of them ready, still being worked at,
//! or a lane of its own. Every result holds a place until it is taken, and the task waits for a
//! free place before it begins another. There are fewer places once results lie there before
//! anyone asks for them, one after another, and more again where someone has to wait: memory is
//! for those who need it. Dropping a lane stops its task and all that it began.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::Failure;

/// A spawned future; dropping this stops it.
#[derive(Debug)]
pub(super) struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    pub(super) fn spawn(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(future))
    }

    /// Whether its result is there.
    pub(super) fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// Its result. Nothing is lost where this is dropped half-way and called again.
    pub(super) async fn join(&mut self) -> Result<T, Failure> {
        let joined = (&mut self.0).await;
        joined.map_err(|_| Failure::new("the reading of a page ended in a panic"))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// So many places there are in any case: while one result is taken, others are worked at.
const FEWEST: usize = 3;

/// The places of one row, or of several that take them one after another.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    most: usize,
    now: AtomicUsize,
    /// How many results in a row nobody had to wait for.
    unawaited: AtomicUsize,
}

impl Places {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(most)),
            most,
            now: AtomicUsize::new(most),
            unawaited: AtomicUsize::new(0),
        })
    }

    /// Waits for a free place.
    pub(super) async fn place(self: &Arc<Self>) -> Place {
        let permit = self.free.clone().acquire_owned().await;
        Place {
            permit: permit.expect("nobody closes the semaphore"),
            places: self.clone(),
        }
    }
}

/// The right to be ahead with one result.
#[derive(Debug)]
pub(super) struct Place {
    permit: OwnedSemaphorePermit,
    places: Arc<Places>,
}

impl Place {
    /// Gives the place back; says whether someone had to wait for the result.
    pub(super) fn give_back(self, waited: bool) {
        let Places {
            free,
            most,
            now,
            unawaited,
        } = &*self.places;
        // Only the one who takes results changes these.
        let places = now.load(Ordering::Relaxed);
        let in_a_row = match waited {
            true => 0,
            false => unawaited.load(Ordering::Relaxed) + 1,
        };
        unawaited.store(in_a_row, Ordering::Relaxed);
        if waited && places < *most {
            now.store(places + 1, Ordering::Relaxed);
            free.add_permits(1);
        } else if in_a_row > *most && places > FEWEST {
            now.store(places - 1, Ordering::Relaxed);
            self.permit.forget();
        }
    }
}

/// The right to take places that several share. It goes from one to the next.
#[derive(Debug)]
pub(super) struct Turn {
    before: Option<Before>,
    after: Option<oneshot::Sender<Option<Before>>>,
    passed: bool,
}

/// The one before; where it ends early, it hands over whom it waited for itself.
#[derive(Debug)]
struct Before(oneshot::Receiver<Option<Before>>);

impl Turn {
    /// The turns of so many.
    pub(super) fn row(count: usize) -> impl Iterator<Item = Self> {
        let mut before = None;
        (1..=count).map(move |number| {
            let (after, next) = oneshot::channel();
            Self {
                before: before.replace(Before(next)),
                after: (number < count).then_some(after),
                passed: false,
            }
        })
    }

    pub(super) fn is_here(&self) -> bool {
        self.before.is_none() && !self.passed
    }

    pub(super) async fn come(&mut self) {
        while let Some(before) = &mut self.before {
            self.before = (&mut before.0).await.ok().flatten();
        }
    }

    /// Lets the next one begin, if there is one: all that this one needs has its place.
    pub(super) fn pass(&mut self) {
        if let Some(after) = self.after.take() {
            self.passed = true;
            // The next may have been stopped.
            let _ = after.send(None);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(after) = self.after.take() {
            let _ = after.send(self.before.take());
        }
    }
}

/// One result, on its way.
#[derive(Debug)]
pub(super) enum Item<T, E> {
    Ready(T, Place),
    Coming(Task<Result<T, Failure>>, Place),
    /// The results of another lane stand here; it holds the place to its end.
    Lane(Lane<T, E>, Place),
}

/// Results in their order, and what the task has to say at its end.
#[derive(Debug)]
pub(super) struct Lane<T, E> {
    items: mpsc::UnboundedReceiver<Item<T, E>>,
    task: Task<Result<E, Failure>>,
    place: Option<(Place, bool)>,
}

/// Where a lane's task puts its results.
#[derive(Debug)]
pub(super) struct Out<T, E> {
    items: mpsc::UnboundedSender<Item<T, E>>,
    /// The lane's own places.
    pub(super) places: Arc<Places>,
}

impl<T: Send + 'static, E: Send + 'static> Lane<T, E> {
    /// Starts a task with this many places.
    pub(super) fn spawn<F>(places: usize, work: impl FnOnce(Out<T, E>) -> F) -> Self
    where
        F: Future<Output = Result<E, Failure>> + Send + 'static,
    {
        let (sender, items) = mpsc::unbounded_channel();
        let out = Out {
            items: sender,
            places: Places::new(places),
        };
        Self {
            items,
            task: Task::spawn(work(out)),
            place: None,
        }
    }

    /// Holds a place to the end of the lane.
    pub(super) fn keep(&mut self, place: Place, waited: bool) {
        self.place = Some((place, waited));
    }

    /// Whether there is something to take.
    pub(super) fn is_ready(&self) -> bool {
        !self.items.is_empty()
    }

    /// The next result on its way; `None` when there are no more.
    pub(super) async fn next(&mut self) -> Option<Item<T, E>> {
        self.items.recv().await
    }

    /// What the task has to say, after its last result.
    pub(super) async fn end(&mut self) -> Result<E, Failure> {
        if let Some((place, waited)) = self.place.take() {
            place.give_back(waited);
        }
        self.task.join().await?
    }
}

impl<T, E> Out<T, E> {
    pub(super) fn put(&self, item: Item<T, E>) {
        // Without a receiver this task is about to be stopped.
        let _ = self.items.send(item);
    }
}
