//! How many requests of a call are in flight at once, and which of them go first.
//!
//! A task with a permit may have a request in flight. While it waits for something other than an
//! answer (a pause, an origin that does not answer, a token that another task fetches), it lends
//! its permit to others: nobody stands behind a wait.

use std::cell::Cell;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::runtime;

tokio::task_local! {
    /// The permit of the task that runs; none while it is lent.
    static HELD: Cell<Option<Permit>>;
}

/// As many permits as a call has workers. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Permits(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    first: Notify,
    again: Notify,
    /// Told when a permit is lent.
    lending: Notify,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// How many wait for the permit of a first try.
    waiting_first: usize,
    /// How many tasks have lent their permit.
    lent: usize,
}

/// Who goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rank {
    /// The first try of a request.
    First,
    /// A try after one that was not answered: behind all first ones.
    Again,
}

/// The right to have one request in flight, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit(Permits);

impl Permits {
    pub(crate) fn new(workers: usize) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                free: workers,
                waiting_first: 0,
                lent: 0,
            }),
            first: Notify::new(),
            again: Notify::new(),
            lending: Notify::new(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        runtime::lock(&self.0.state)
    }

    /// Waits for a permit.
    pub(crate) async fn acquire(&self, rank: Rank) -> Permit {
        let _waiting = (rank == Rank::First).then(|| WaitingFirst::new(self));
        let freed = match rank {
            Rank::First => &self.0.first,
            Rank::Again => &self.0.again,
        };
        loop {
            let mut freed = pin!(freed.notified());
            // From here on each permit that is given back wakes one more.
            freed.as_mut().enable();
            if let Some(permit) = self.try_acquire(rank) {
                return permit;
            }
            freed.await;
        }
    }

    fn try_acquire(&self, rank: Rank) -> Option<Permit> {
        let mut state = self.state();
        let is_free = state.free > 0 && (rank == Rank::First || state.waiting_first == 0);
        is_free.then(|| {
            state.free -= 1;
            Permit(self.clone())
        })
    }

    /// Does a piece of work with a permit, as soon as there is one.
    pub(crate) async fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.acquire(Rank::First).await.hold(work).await
    }
}

impl Permits {
    /// How many tasks wait for something other than an answer now.
    pub(crate) fn lent(&self) -> usize {
        self.state().lent
    }

    /// Whether there is a permit that nobody waits for.
    pub(crate) fn are_idle(&self) -> bool {
        let state = self.state();
        state.free > 0 && state.waiting_first == 0
    }

    /// Has tries after one that was not answered wait, for there is work that has not begun.
    pub(crate) fn expecting(&self) -> WaitingFirst {
        WaitingFirst::new(self)
    }

    /// Waits until a task lends its permit.
    pub(crate) async fn lending(&self) {
        self.0.lending.notified().await;
    }
}

/// Counts who has lent a permit.
struct Lent(Permits);

impl Lent {
    fn new(permits: Permits) -> Self {
        permits.state().lent += 1;
        permits.0.lending.notify_one();
        Self(permits)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.0.state().lent -= 1;
    }
}

/// Counts who waits for a first try, until it is dropped: tries after one that was not answered
/// stand behind it.
#[derive(Debug)]
pub(crate) struct WaitingFirst(Permits);

impl WaitingFirst {
    fn new(permits: &Permits) -> Self {
        permits.state().waiting_first += 1;
        Self(permits.clone())
    }
}

impl Drop for WaitingFirst {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.waiting_first -= 1;
        if state.waiting_first == 0 && state.free > 0 {
            self.0.0.again.notify_waiters();
        }
    }
}

impl Permit {
    /// Does a piece of work with this permit. No `async fn`: that would have room for the work twice.
    pub(crate) fn hold<F: Future>(self, work: F) -> impl Future<Output = F::Output> + use<F> {
        HELD.scope(Cell::new(Some(self)), work)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let shared = &self.0.0;
        let mut state = self.0.state();
        state.free += 1;
        match state.waiting_first {
            0 => shared.again.notify_one(),
            _ => shared.first.notify_one(),
        }
    }
}

/// Lets others use the permit of this task, if it has one.
fn step_aside() -> Option<Lent> {
    let held = HELD.try_with(Cell::take).ok().flatten()?;
    let permits = held.0.clone();
    drop(held);
    Some(Lent::new(permits))
}

impl Lent {
    /// Goes on with a permit again.
    fn step_back(self, permit: Permit) {
        drop(self);
        HELD.with(|held| held.set(Some(permit)));
    }
}

/// Waits for something other than an answer, while others use the permit of this task; goes on
/// when there is a permit again.
pub(crate) async fn lend<T>(rank: Rank, wait: impl Future<Output = T>) -> T {
    let Some(lent) = step_aside() else {
        return wait.await;
    };
    let result = wait.await;
    let permit = lent.0.acquire(rank).await;
    lent.step_back(permit);
    result
}

/// Waits for a lock that whoever has it may hold while a server is asked. Nobody waits for a permit
/// with the lock in hand: who has the permits may have something to say under it.
pub(crate) async fn lock<T>(mutex: &tokio::sync::Mutex<T>) -> tokio::sync::MutexGuard<'_, T> {
    match lock_within(mutex, None).await {
        Some(guard) => guard,
        None => mutex.lock().await,
    }
}

/// The same, but `None` where it takes too long.
pub(crate) async fn lock_within<T>(
    mutex: &tokio::sync::Mutex<T>,
    longest: Option<Duration>,
) -> Option<tokio::sync::MutexGuard<'_, T>> {
    let end = longest.and_then(|longest| Instant::now().checked_add(longest));
    let wait = async || match end {
        Some(end) => tokio::time::timeout_at(end.into(), mutex.lock()).await.ok(),
        None => Some(mutex.lock().await),
    };
    loop {
        if let Ok(guard) = mutex.try_lock() {
            return Some(guard);
        }
        let Some(lent) = step_aside() else {
            return wait().await;
        };
        let guard = wait().await;
        if guard.is_some()
            && let Some(permit) = lent.0.try_acquire(Rank::First)
        {
            lent.step_back(permit);
            return guard;
        }
        let is_late = guard.is_none();
        drop(guard);
        let permit = lent.0.acquire(Rank::First).await;
        lent.step_back(permit);
        if is_late {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    /// Notes what runs, in its order.
    #[derive(Default)]
    struct Log(Mutex<Vec<&'static str>>);

    impl Log {
        fn note(&self, what: &'static str) {
            self.0.lock().unwrap().push(what);
        }

        fn noted(&self) -> Vec<&'static str> {
            self.0.lock().unwrap().clone()
        }
    }

    #[tokio::test]
    async fn a_lent_permit_serves_others() {
        let (permits, log, ready) = (Permits::new(1), Log::default(), Notify::new());
        let waiting = permits.run(async {
            log.note("waits");
            lend(Rank::First, ready.notified()).await;
            log.note("goes on");
        });
        let other = permits.run(async {
            log.note("other");
            ready.notify_one();
        });
        tokio::join!(waiting, other);
        assert_eq!(log.noted(), ["waits", "other", "goes on"]);
    }

    #[tokio::test]
    async fn first_tries_go_before_others() {
        let (permits, log) = (Permits::new(1), Log::default());
        let again = permits.run(async {
            lend(Rank::Again, tokio::task::yield_now()).await;
            log.note("again");
        });
        let first = || {
            permits.run(async {
                log.note("first");
                tokio::task::yield_now().await;
            })
        };
        tokio::join!(again, join_all([first(), first(), first()]));
        assert_eq!(log.noted(), ["first", "first", "first", "again"]);
    }

    #[tokio::test]
    async fn no_more_run_than_there_are_permits() {
        let (permits, running) = (Permits::new(3), Mutex::new((0, 0)));
        let work = |rank| {
            let (permits, running) = (&permits, &running);
            permits.run(async move {
                lend(rank, tokio::task::yield_now()).await;
                {
                    let mut running = running.lock().unwrap();
                    running.0 += 1;
                    running.1 = running.1.max(running.0);
                }
                tokio::task::yield_now().await;
                running.lock().unwrap().0 -= 1;
            })
        };
        let ranks = [Rank::First, Rank::Again].into_iter().cycle().take(40);
        join_all(ranks.map(work)).await;
        assert_eq!(*running.lock().unwrap(), (0, 3));
    }
}
