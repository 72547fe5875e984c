//! Work done ahead of its consumer: results in order, a bounded number of them at a time.
//!
//! A [`Queue`] is filled by a task of its own with [`Entry`]s: results that are ready, results that
//! are still being worked at, or queues that stand in the place of their results. Each result may
//! hold a [`Slot`] until it is taken, and the task waits for one before it begins another. There
//! are fewer slots once results lie there before anyone asks for them, and more where someone has
//! to wait: memory is for those who need it. Dropping a queue stops its task and all that it began.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::Failure;

/// A spawned future; dropping this stops it.
#[derive(Debug)]
pub(super) struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    pub(super) fn spawn(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(future))
    }

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

/// The minimum number of slots: while one result is taken, others are worked at.
const FEWEST: usize = 3;
/// The first results are always waited for: that says nothing, and some consumers need no more.
const SETTLED: usize = 4;
/// Among so many results one that is waited for shows a consumer that is faster than its queue.
const NEAR: usize = 8;

/// The slots of one queue, or of several that take them one after another.
#[derive(Debug)]
pub(super) struct Slots {
    free: Arc<Semaphore>,
    most: usize,
    now: AtomicUsize,
    taken: AtomicUsize,
    /// How many results in a row nobody had to wait for.
    unawaited: AtomicUsize,
}

impl Slots {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Self::growing(most, most)
    }

    /// So many slots at first, and up to `most` where the consumer waits.
    pub(super) fn growing(first: usize, most: usize) -> Arc<Self> {
        let most = most.min(Semaphore::MAX_PERMITS);
        let now = first.min(most);
        Arc::new(Self {
            free: Arc::new(Semaphore::new(now)),
            most,
            now: AtomicUsize::new(now),
            taken: AtomicUsize::new(0),
            unawaited: AtomicUsize::new(0),
        })
    }

    /// Waits for a free slot.
    pub(super) async fn acquire(self: &Arc<Self>) -> Slot {
        let slot = self.free.clone().acquire_owned().await;
        Slot {
            slot: slot.expect("nobody closes the semaphore"),
            slots: self.clone(),
        }
    }
}

/// The right to be ahead with one result.
#[derive(Debug)]
pub(super) struct Slot {
    slot: OwnedSemaphorePermit,
    slots: Arc<Slots>,
}

impl Slot {
    /// Gives the slot back; says whether someone had to wait for the result.
    fn give_back(self, waited: bool) {
        let Slots {
            free,
            most,
            now,
            taken,
            unawaited,
        } = &*self.slots;
        // Only the consumer changes these.
        let slots = now.load(Ordering::Relaxed);
        let taken_before = taken.fetch_add(1, Ordering::Relaxed);
        let in_a_row = match waited {
            true => 0,
            false => unawaited.load(Ordering::Relaxed).saturating_add(1),
        };
        unawaited.store(in_a_row, Ordering::Relaxed);
        if in_a_row < NEAR && taken_before >= SETTLED && slots < *most {
            let more = slots.min(most - slots);
            now.store(slots + more, Ordering::Relaxed);
            free.add_permits(more);
        } else if in_a_row > *most && slots > FEWEST {
            now.store(slots - 1, Ordering::Relaxed);
            self.slot.forget();
        }
    }
}

/// The right to take slots that several share. It goes from one to the next.
#[derive(Debug)]
pub(super) struct Ticket {
    before: Option<Before>,
    after: Option<oneshot::Sender<Option<Before>>>,
    passed: bool,
}

/// The one before; where it ends early, it hands over whom it waited for itself.
#[derive(Debug)]
struct Before(oneshot::Receiver<Option<Before>>);

impl Ticket {
    /// Tickets for this many, in order.
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

    /// A ticket whose turn is now, and nobody's after it.
    pub(super) fn alone() -> Self {
        Self {
            before: None,
            after: None,
            passed: false,
        }
    }

    /// Whether its turn is now.
    pub(super) fn is_up(&self) -> bool {
        self.before.is_none() && !self.passed
    }

    /// Waits for its turn.
    pub(super) async fn called(&mut self) {
        while let Some(before) = &mut self.before {
            self.before = (&mut before.0).await.ok().flatten();
        }
    }

    /// Lets the next one begin, if there is one: all that this one needs has its slot.
    pub(super) fn pass(&mut self) {
        if let Some(after) = self.after.take() {
            self.passed = true;
            // The next may have been stopped.
            let _ = after.send(None);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(after) = self.after.take() {
            let _ = after.send(self.before.take());
        }
    }
}

/// One result, on its way.
#[derive(Debug)]
pub(super) enum Entry<T, E> {
    Ready(T, Option<Slot>),
    Pending(Task<Result<T, Failure>>, Option<Slot>),
    /// The results of another queue stand here; it holds the slot to its end.
    Queue(Queue<T, E>, Option<Slot>),
}

/// Results in their order, and what the task has to say at its end.
#[derive(Debug)]
pub(super) struct Queue<T, E> {
    /// Dropped first: what lies in the queue gives its slots back, and nothing more is to be begun.
    task: Task<Result<E, Failure>>,
    entries: mpsc::UnboundedReceiver<Entry<T, E>>,
    slot: Option<(Slot, bool)>,
    is_awaited: watch::Sender<bool>,
}

/// Where a queue's task puts its results.
#[derive(Debug)]
pub(super) struct Sender<T, E> {
    entries: mpsc::UnboundedSender<Entry<T, E>>,
    /// The queue's own slots.
    pub(super) slots: Arc<Slots>,
    /// Whether the consumer waits for a result, of this queue or of one that stands in it.
    pub(super) is_awaited: watch::Receiver<bool>,
}

impl<T: Send + 'static, E: Send + 'static> Queue<T, E> {
    /// Starts a task with this many slots.
    pub(super) fn spawn<F>(slots: usize, work: impl FnOnce(Sender<T, E>) -> F) -> Self
    where
        F: Future<Output = Result<E, Failure>> + Send + 'static,
    {
        let (sender, entries) = mpsc::unbounded_channel();
        let (is_awaited, awaited) = watch::channel(false);
        let sender = Sender {
            entries: sender,
            slots: Slots::new(slots),
            is_awaited: awaited,
        };
        Self {
            entries,
            task: Task::spawn(work(sender)),
            slot: None,
            is_awaited,
        }
    }

    /// What the task has to say, after its last result.
    async fn end(&mut self) -> Result<E, Failure> {
        if let Some((slot, waited)) = self.slot.take() {
            slot.give_back(waited);
        }
        self.task.join().await?
    }
}

impl<T, E> Sender<T, E> {
    pub(super) fn put(&self, entry: Entry<T, E>) {
        // Without a receiver this task is about to be stopped.
        let _ = self.entries.send(entry);
    }
}

/// What a consumer meets, in order.
#[derive(Debug)]
pub(super) enum Event<T, E> {
    /// A queue within the first one begins.
    Begun,
    Result(T),
    /// A queue ended.
    Ended(E),
}

/// The consumer's side: the results of a queue and of those that stand in it, one after another.
#[derive(Debug)]
pub(super) struct InOrder<T, E> {
    /// Each stands in the one before.
    open: Vec<Queue<T, E>>,
    /// What the producer of the first one knows of the waiting.
    is_awaited: watch::Sender<bool>,
}

impl<T: Send + 'static, E: Send + 'static> InOrder<T, E> {
    pub(super) fn new(queue: Queue<T, E>) -> Self {
        let is_awaited = queue.is_awaited.clone();
        Self {
            open: vec![queue],
            is_awaited,
        }
    }

    /// How many queues are open: the first one, one that stands in it, and so on.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    /// Leaves the queues that stand in the first one, and goes on with what comes after them there.
    pub(super) fn leave(&mut self) {
        self.open.truncate(1);
    }

    /// The next event; `None` after the last one.
    pub(super) async fn next(&mut self) -> Result<Option<Event<T, E>>, Failure> {
        let event = self.take().await;
        self.is_awaited.send_if_modified(std::mem::take);
        event
    }

    async fn take(&mut self) -> Result<Option<Event<T, E>>, Failure> {
        let Some(queue) = self.open.last_mut() else {
            return Ok(None);
        };
        let mut waited = queue.entries.is_empty();
        if waited {
            self.is_awaited.send_replace(true);
        }
        let event = match queue.entries.recv().await {
            Some(Entry::Queue(mut queue, slot)) => {
                let waited = queue.entries.is_empty();
                queue.slot = slot.map(|slot| (slot, waited));
                self.open.push(queue);
                Event::Begun
            }
            Some(Entry::Ready(result, slot)) => {
                if let Some(slot) = slot {
                    slot.give_back(waited);
                }
                Event::Result(result)
            }
            Some(Entry::Pending(mut task, slot)) => {
                if !task.is_finished() {
                    waited = true;
                    self.is_awaited.send_replace(true);
                }
                let result = task.join().await??;
                if let Some(slot) = slot {
                    slot.give_back(waited);
                }
                Event::Result(result)
            }
            None => {
                let end = queue.end().await?;
                self.open.pop();
                Event::Ended(end)
            }
        };
        Ok(Some(event))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    use super::*;
    use crate::runtime::lock;

    /// A result whose end leaves time for one more to be begun.
    struct Slow(Arc<Mutex<Receiver<()>>>);

    impl Drop for Slow {
        fn drop(&mut self) {
            // That nothing is begun takes all of it.
            let _ = lock(&self.0).recv_timeout(Duration::from_millis(300));
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_queue_that_is_dropped_begins_nothing_more() {
        let (begin, begun) = channel();
        let begun = Arc::new(Mutex::new(begun));
        let count = Arc::new(AtomicUsize::new(0));
        let (counter, told) = (count.clone(), begun.clone());
        let queue = Queue::<Slow, ()>::spawn(2, |out| async move {
            loop {
                let slot = out.slots.acquire().await;
                counter.fetch_add(1, Ordering::Relaxed);
                let _ = begin.send(());
                out.put(Entry::Ready(Slow(told.clone()), Some(slot)));
            }
        });
        let dropping = tokio::task::spawn_blocking(move || {
            for _ in 0..2 {
                lock(&begun).recv().expect("two slots");
            }
            drop(queue);
        });
        dropping.await.expect("no panic");
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }
}
