//! How many requests are in flight at once, where several calls have one limit together.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;

use crate::runtime::lock;

/// The requests in flight of all who share this; who waits longest goes first. Requests to origins
/// that have not answered the last time leave a quarter to others: they may take as long again.
#[derive(Debug)]
pub(crate) struct Limiter(Mutex<Queue>);

#[derive(Debug)]
struct Queue {
    in_flight: usize,
    /// How many of these are to origins that have not answered the last time.
    in_doubt: usize,
    /// No more than this, whatever those who wait say.
    most: usize,
    waiting: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    /// Goes when fewer than this are in flight.
    most: usize,
    is_in_doubt: bool,
    permit: oneshot::Sender<Permit>,
}

/// How many of so many may be to origins that have not answered: a quarter is left to others.
fn doubtful(most: usize) -> usize {
    most.saturating_sub((most / 4).max(1)).max(1)
}

impl Queue {
    fn is_free(&self, most: usize, is_in_doubt: bool) -> bool {
        let most = most.min(self.most);
        self.in_flight < most && (!is_in_doubt || self.in_doubt < doubtful(most))
    }

    fn take(&mut self, is_in_doubt: bool) {
        self.in_flight += 1;
        self.in_doubt += usize::from(is_in_doubt);
    }
}

/// What one call takes a permit from for each request; nothing by default.
#[derive(Debug, Clone, Default)]
pub(crate) struct RequestLimit {
    shared: Option<Shared>,
}

#[derive(Debug, Clone)]
struct Shared {
    limiter: Arc<Limiter>,
    most: usize,
}

/// The right to have a request in flight, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    limiter: Option<Arc<Limiter>>,
    is_in_doubt: bool,
}

impl RequestLimit {
    /// At most `most` requests in flight, those of others included.
    #[cfg(feature = "python")]
    pub(super) fn sharing(limiter: Arc<Limiter>, most: usize) -> Self {
        Self {
            shared: Some(Shared { limiter, most }),
        }
    }

    /// A permit for one request; at once where no limit is shared.
    pub(crate) async fn permit(&self, is_in_doubt: bool) -> Option<Permit> {
        match &self.shared {
            Some(shared) => Some(shared.limiter.acquire(shared.most, is_in_doubt).await),
            None => None,
        }
    }
}

impl Default for Limiter {
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl Limiter {
    pub(crate) fn new(most: usize) -> Self {
        Self(Mutex::new(Queue {
            in_flight: 0,
            in_doubt: 0,
            most,
            waiting: VecDeque::new(),
        }))
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.0)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.queue().in_flight
    }

    /// Lets no more than `most` be in flight from now on, who is in flight already aside.
    pub(crate) fn set_most(self: &Arc<Self>, most: usize) {
        let mut queue = self.queue();
        queue.most = most;
        self.wake(&mut queue);
    }

    /// A permit, if there is one without a wait.
    pub(crate) fn try_acquire(self: &Arc<Self>, most: usize) -> Option<Permit> {
        let mut queue = self.queue();
        let is_free = queue.is_free(most, false) && queue.waiting.is_empty();
        is_free.then(|| {
            queue.take(false);
            self.clone().permit(false)
        })
    }

    /// Waits until fewer than `most` requests are in flight.
    pub(crate) async fn acquire(self: &Arc<Self>, most: usize, is_in_doubt: bool) -> Permit {
        loop {
            let waiting = {
                let mut queue = self.queue();
                let (permit, waiting) = oneshot::channel();
                queue.waiting.push_back(Waiter {
                    most,
                    is_in_doubt,
                    permit,
                });
                self.wake(&mut queue);
                waiting
            };
            if let Ok(permit) = waiting.await {
                return permit;
            }
        }
    }

    /// Gives permits to those who may go.
    fn wake(self: &Arc<Self>, queue: &mut Queue) {
        loop {
            let free = |waiter: &Waiter| queue.is_free(waiter.most, waiter.is_in_doubt);
            let Some(waiter) = queue
                .waiting
                .iter()
                .position(free)
                .and_then(|first| queue.waiting.remove(first))
            else {
                return;
            };
            let is_in_doubt = waiter.is_in_doubt;
            match waiter.permit.send(self.clone().permit(is_in_doubt)) {
                Ok(()) => queue.take(is_in_doubt),
                // Who waited is gone; the permit was not counted, and its end must not be either.
                Err(mut permit) => permit.limiter = None,
            }
        }
    }

    fn permit(self: Arc<Self>, is_in_doubt: bool) -> Permit {
        Permit {
            limiter: Some(self),
            is_in_doubt,
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(limiter) = self.limiter.take() {
            let mut queue = limiter.queue();
            queue.in_flight -= 1;
            queue.in_doubt -= usize::from(self.is_in_doubt);
            limiter.wake(&mut queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn who_waits_longest_goes_first_and_who_left_is_passed_over() {
        let limiter = Arc::new(Limiter::default());
        let held = limiter.acquire(1, false).now_or_never().expect("a permit");
        let [mut first, mut gone, mut second] = std::array::from_fn(|_| {
            let limiter = limiter.clone();
            Box::pin(async move { limiter.acquire(1, false).await })
        });
        for waiting in [&mut first, &mut gone, &mut second] {
            assert!(waiting.now_or_never().is_none());
        }
        drop(gone);
        drop(held);
        assert!((&mut second).now_or_never().is_none());
        let permit = (&mut first).now_or_never().expect("a permit");
        drop(permit);
        assert!(second.now_or_never().is_some());
        assert_eq!(limiter.in_flight(), 0);
    }

    #[test]
    fn a_permit_that_nobody_took_is_free_again() {
        let limiter = Arc::new(Limiter::new(1));
        let held = limiter.try_acquire(9).expect("a permit");
        let mut gone = Box::pin(limiter.acquire(9, false));
        assert!((&mut gone).now_or_never().is_none());
        drop(held);
        drop(gone);
        assert_eq!(limiter.in_flight(), 0);
        limiter.set_most(0);
        assert!(limiter.try_acquire(9).is_none());
    }

    #[test]
    fn origins_that_did_not_answer_leave_some_to_others() {
        let limiter = Arc::new(Limiter::default());
        let doubtful = || limiter.acquire(4, true).now_or_never();
        let (one, other, third) = (doubtful(), doubtful(), doubtful());
        assert!(one.is_some() && other.is_some() && third.is_some());
        assert!(doubtful().is_none());
        let fourth = limiter.acquire(4, false).now_or_never();
        assert!(fourth.is_some());
        drop(one);
        assert!(doubtful().is_some());
        // One at a time is one at a time, whoever it is.
        let alone = Arc::new(Limiter::new(1));
        assert!(alone.acquire(9, true).now_or_never().is_some());
        drop((other, third, fourth));
        assert_eq!(limiter.in_flight(), 0);
    }
}
