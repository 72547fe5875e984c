//! Work done ahead of the one who takes its results, in order, so many at a time and no more.
//!
//! A [`Lane`] is a task that puts results into a row, each of them ready, still being worked at,
//! or a lane of its own. Every result holds a place until it is taken, and the task waits for a
//! free place before it begins another. Dropping a lane stops its task and all that it began.

use std::sync::Arc;

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

/// The right to be ahead with one result.
pub(super) type Place = OwnedSemaphorePermit;

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
    turn: Option<oneshot::Sender<()>>,
    place: Option<Place>,
}

/// Where a lane's task puts its results.
#[derive(Debug)]
pub(super) struct Out<T, E> {
    items: mpsc::UnboundedSender<Item<T, E>>,
    places: Arc<Semaphore>,
    turn: Option<oneshot::Receiver<()>>,
}

impl<T: Send + 'static, E: Send + 'static> Lane<T, E> {
    /// Starts a task with this many places.
    pub(super) fn spawn<F>(places: usize, work: impl FnOnce(Out<T, E>) -> F) -> Self
    where
        F: Future<Output = Result<E, Failure>> + Send + 'static,
    {
        let (sender, items) = mpsc::unbounded_channel();
        let (turn, receiver) = oneshot::channel();
        let out = Out {
            items: sender,
            places: Arc::new(Semaphore::new(places)),
            turn: Some(receiver),
        };
        Self {
            items,
            task: Task::spawn(work(out)),
            turn: Some(turn),
            place: None,
        }
    }

    /// Tells the task that its results are being taken now.
    pub(super) fn begin(&mut self) {
        if let Some(turn) = self.turn.take() {
            // The task may have ended already.
            let _ = turn.send(());
        }
    }

    /// Holds a place as long as the lane is there.
    pub(super) fn keep(&mut self, place: Place) {
        self.place = Some(place);
    }

    /// The next result on its way; `None` when there are no more.
    pub(super) async fn next(&mut self) -> Option<Item<T, E>> {
        self.items.recv().await
    }

    /// What the task has to say, after its last result.
    pub(super) async fn end(&mut self) -> Result<E, Failure> {
        self.task.join().await?
    }
}

impl<T, E> Out<T, E> {
    /// Waits for a free place.
    pub(super) async fn place(&self) -> Place {
        let place = self.places.clone().acquire_owned().await;
        place.expect("nobody closes the semaphore")
    }

    /// Waits until the results of this lane are being taken.
    pub(super) async fn turn(&mut self) {
        if let Some(turn) = self.turn.take() {
            // An error means that nobody takes any, and that this task is about to be stopped.
            let _ = turn.await;
        }
    }

    pub(super) fn put(&self, item: Item<T, E>) {
        // Without a receiver this task is about to be stopped.
        let _ = self.items.send(item);
    }
}
