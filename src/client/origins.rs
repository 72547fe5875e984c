//! Which origins do not answer: nobody waits behind them, and hardly anything is sent there.
//!
//! Several requests in a row without any answer close an origin for a client. Then one request at
//! a time tries it. An answer opens it again; when the request gives up, so do all that wait.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use reqwest::Url;
use tokio::sync::Notify;

use super::control::Cancellation;
use super::permits::{self, Rank};
use super::urls;
use crate::runtime::lock;

/// So many requests in a row without any answer close an origin.
const UNANSWERED: u32 = 3;

/// What is known against the origins that a client talks to.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    /// Whether there is anything: nearly always there is not.
    any: AtomicBool,
    states: Mutex<HashMap<String, State>>,
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
}

impl State {
    fn is_closed(&self) -> bool {
        self.unanswered >= UNANSWERED
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
}

impl Origins {
    pub(crate) fn passage<'a>(&'a self, url: &'a Url) -> Passage<'a> {
        Passage {
            origins: self,
            url,
            is_trial: false,
            is_unanswered: false,
        }
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
        let Some(state) = states.get_mut(origin).filter(|state| state.is_closed()) else {
            return Ok(true);
        };
        if state.given_up.is_some_and(|at| at >= began) {
            return Err(format!("{origin} does not answer ({})", state.what));
        }
        self.is_trial = !state.tried;
        state.tried = true;
        Ok(self.is_trial)
    }

    /// Whether the last request to the origin was not answered.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.origins.any.load(Ordering::Acquire) && {
            let states = self.origins.states();
            let state = states.get(urls::origin(self.url));
            state.is_some_and(|state| state.unanswered > 0)
        }
    }

    /// Notes that a try was answered.
    pub(crate) fn answered(&mut self) {
        (self.is_trial, self.is_unanswered) = (false, false);
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
