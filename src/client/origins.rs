//! Which origins do not answer: nobody waits behind them, and hardly anything is sent there.
//!
//! Several requests in a row without any answer close an origin for a client. Then one request at
//! a time tries it. An answer opens it again; when the request gives up, so do all that wait.
//!
//! That takes as long as a request is waited for. An origin that has never answered is not trusted
//! so long: its requests soon lend their permits, and no others follow until one is answered.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use reqwest::Url;
use tokio::sync::Notify;

use super::control::Cancellation;
use super::permits::{self, Rank};
use super::urls;
use crate::runtime::lock;

/// So many requests in a row without any answer close an origin.
const UNANSWERED: u32 = 3;
/// So long a request to an origin that has never answered keeps others from being sent.
const PATIENCE: Duration = Duration::from_millis(500);

/// What is known against the origins that a client talks to.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    /// Whether there is anything: nearly always there is not.
    any: AtomicBool,
    states: Mutex<HashMap<String, State>>,
    /// The origins that have ever answered.
    heard: RwLock<HashSet<String>>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Requests in a row without any answer.
    unanswered: u32,
    /// What the last of them failed with.
    what: String,
    /// Whether a request tries the origin, which is closed.
    tried: bool,
    /// When the last request that tried it gave up.
    given_up: Option<Instant>,
    /// How many requests have waited longer for its first answer than others have to wait for them.
    waiting: u32,
}

impl State {
    fn is_closed(&self) -> bool {
        self.unanswered >= UNANSWERED
    }

    fn is_new_and_silent(&self) -> bool {
        self.waiting > 0
    }
}

/// One request's way to an origin, from its first try to its last.
#[derive(Debug)]
pub(crate) struct Passage<'a> {
    origins: &'a Origins,
    url: &'a Url,
    /// Whether it is the one request that tries a closed origin.
    is_trial: bool,
    /// Whether its last try was not answered.
    is_unanswered: bool,
    /// Whether the origin had answered before.
    is_heard: bool,
}

impl Origins {
    pub(crate) fn passage<'a>(&'a self, url: &'a Url) -> Passage<'a> {
        Passage {
            origins: self,
            url,
            is_trial: false,
            is_unanswered: false,
            is_heard: self.is_heard(url),
        }
    }

    fn is_heard(&self, url: &Url) -> bool {
        let heard = self.heard.read().unwrap_or_else(PoisonError::into_inner);
        heard.contains(urls::origin(url))
    }

    fn states(&self) -> MutexGuard<'_, HashMap<String, State>> {
        lock(&self.states)
    }
}

impl Passage<'_> {
    /// Waits until a try may go: at once to an open origin, one request at a time to a closed one.
    /// Others use the permit of this task in the meantime.
    ///
    /// The error says why there must be no try at all: since its call `began`, another request has
    /// tried the origin in vain.
    pub(crate) async fn enter(
        &mut self,
        began: Instant,
        cancellation: &Cancellation,
    ) -> Result<(), String> {
        let rank = match self.is_unanswered {
            true => Rank::Again,
            false => Rank::First,
        };
        while !self.is_trial
            && self.origins.any.load(Ordering::Acquire)
            && !cancellation.is_cancelled()
        {
            let changed = self.origins.changed.notified();
            if self.is_open(began)? {
                break;
            }
            // A cancellation ends the loop.
            let _ = permits::lend(rank, cancellation.unless_cancelled(changed)).await;
        }
        Ok(())
    }

    /// Whether a try may go now.
    fn is_open(&mut self, began: Instant) -> Result<bool, String> {
        let mut states = self.origins.states();
        let origin = urls::origin(self.url);
        let Some(state) = states.get_mut(origin) else {
            return Ok(true);
        };
        if !state.is_closed() {
            return Ok(!state.is_new_and_silent());
        }
        if state.given_up.is_some_and(|at| at >= began) {
            return Err(format!("{origin} does not answer ({})", state.what));
        }
        self.is_trial = !state.tried;
        state.tried = true;
        Ok(self.is_trial)
    }

    /// Waits for the answer to a try. Where the origin has never given one, others soon use what
    /// this task `keeps` from them, and its permit.
    pub(crate) async fn wait<T>(
        &self,
        keeps: impl Sized,
        mut answer: Pin<&mut impl Future<Output = T>>,
    ) -> T {
        if self.is_heard {
            return answer.await;
        }
        tokio::select! {
            biased;
            answer = &mut answer => return answer,
            () = tokio::time::sleep(PATIENCE) => {}
        }
        if self.origins.is_heard(self.url) {
            return answer.await;
        }
        drop(keeps);
        let waiting = async {
            let _waiting = Waiting::new(self.origins, self.url);
            answer.await
        };
        permits::lend(Rank::First, waiting).await
    }

    /// Notes that a try was answered.
    pub(crate) fn answered(&mut self) {
        (self.is_trial, self.is_unanswered) = (false, false);
        if !self.is_heard {
            let mut heard = self
                .origins
                .heard
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            heard.insert(urls::origin(self.url).to_owned());
            self.is_heard = true;
        }
        if !self.origins.any.load(Ordering::Acquire) {
            return;
        }
        let mut states = self.origins.states();
        states.remove(urls::origin(self.url));
        self.origins
            .any
            .store(!states.is_empty(), Ordering::Release);
        self.origins.changed.notify_waiters();
    }

    /// Notes that a try was not answered, and why.
    pub(crate) fn unanswered(&mut self, what: &str) {
        self.is_unanswered = true;
        let mut states = self.origins.states();
        let state = states.entry(urls::origin(self.url).to_owned()).or_default();
        state.unanswered = state.unanswered.saturating_add(1);
        what.clone_into(&mut state.what);
        self.origins.any.store(true, Ordering::Release);
    }

    /// Leaves it to others to find out whether the origin answers.
    pub(crate) fn hand_on(&mut self) {
        self.is_unanswered = false;
    }
}

impl Drop for Passage<'_> {
    /// When the request that tries a closed origin ends without an answer, its patience has ended,
    /// and that of all who wait.
    fn drop(&mut self) {
        if !self.is_trial {
            return;
        }
        if let Some(state) = self.origins.states().get_mut(urls::origin(self.url)) {
            state.tried = false;
            if self.is_unanswered {
                state.given_up = Some(Instant::now());
            }
        }
        self.origins.changed.notify_waiters();
    }
}

/// Counts who waits for the first answer of an origin, and holds others back, until it is dropped.
struct Waiting<'a> {
    origins: &'a Origins,
    url: &'a Url,
}

impl<'a> Waiting<'a> {
    fn new(origins: &'a Origins, url: &'a Url) -> Self {
        let mut states = origins.states();
        let state = states.entry(urls::origin(url).to_owned()).or_default();
        state.waiting += 1;
        origins.any.store(true, Ordering::Release);
        drop(states);
        Self { origins, url }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(state) = self.origins.states().get_mut(urls::origin(self.url)) {
            state.waiting = state.waiting.saturating_sub(1);
        }
        self.origins.changed.notify_waiters();
    }
}
