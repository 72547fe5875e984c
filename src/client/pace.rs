//! How fast an origin is asked: its pauses, the requests in flight to it, and the client's `max_rate`.
//!
//! A refusal (429, or 503 with `Retry-After`) pauses its origin for all calls of a client. From the
//! first one on, the requests in flight to it are limited: half as many after each refusal, a little
//! more with each answer (additive increase, multiplicative decrease, as in TCP).

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use reqwest::Url;

use super::control::{Cancellation, Limiter, Permit};
use super::permits::{self, Rank};
use super::retry::later;
use super::urls;
use crate::per_process::PerProcess;
use crate::runtime::lock;

/// So many refusals in a row, each after the pause before it, end the patience with an origin at the
/// earliest.
const FEWEST_REFUSALS: u32 = 3;
/// The part of `max_rate` that is used: what is sent evenly does not arrive so.
const USED_RATE: f64 = 0.97;
/// What was late by no more than this is made up for.
const MADE_UP: Duration = Duration::from_millis(10);

/// The pace of one client, for each origin.
#[derive(Debug)]
pub(crate) struct Paces {
    /// The time from one request to the next.
    interval: Option<Duration>,
    origins: PerProcess<Paced>,
}

#[derive(Debug, Default)]
struct Paced {
    /// Whether there is any: without `max_rate`, nearly always there is not.
    any: AtomicBool,
    /// Requests in flight, to all origins.
    in_flight: AtomicUsize,
    paces: Mutex<HashMap<String, Arc<Pace>>>,
}

/// The pace of one origin.
#[derive(Debug, Default)]
struct Pace {
    limiter: Arc<Limiter>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    paused_until: Option<Instant>,
    /// When the last refusal came that counted.
    refused_at: Option<Instant>,
    /// Refusals since the origin last took a request.
    refusals: u32,
    /// How many requests may be in flight, where that is limited.
    window: Option<f64>,
    /// When the patience with it last ended, and why.
    given_up: Option<(Instant, String)>,
    /// When the next request may go by `max_rate`, and the times before it that were given back.
    next: Option<Instant>,
    free: BTreeSet<Instant>,
}

/// The time at which a request may go by `max_rate`; given back where it is dropped unused, else those
/// that come later would wait for requests that nobody sends.
struct Turn<'a> {
    state: &'a Mutex<State>,
    at: Instant,
    interval: Duration,
    is_used: bool,
}

/// The right to send one request to an origin now, until it is dropped.
pub(crate) struct Departure<'a> {
    interval: Option<Duration>,
    origins: &'a Paced,
    url: &'a Url,
    sent: Instant,
    pace: Option<(Arc<Pace>, Permit)>,
}

impl Paces {
    /// `max_rate` is in requests a second.
    pub(crate) fn new(max_rate: Option<f64>) -> Self {
        let interval = |rate: f64| Duration::try_from_secs_f64(1.0 / (USED_RATE * rate));
        Self {
            interval: max_rate.map(|rate| interval(rate).unwrap_or(Duration::MAX)),
            origins: PerProcess::new(),
        }
    }

    /// Waits until a request may go; others use the permit of this task in the meantime. A
    /// cancellation ends the wait.
    ///
    /// The error says why the request must not go at all: since its call `began`, the patience with
    /// the origin has ended.
    pub(crate) async fn depart<'a>(
        &'a self,
        url: &'a Url,
        began: Instant,
        cancellation: &Cancellation,
    ) -> Result<Departure<'a>, String> {
        let origins = self.origins.get();
        let pace = match self.interval {
            Some(_) => Some(origins.pace(url)),
            None => origins.known(url),
        };
        let pace = match pace {
            None => None,
            Some(pace) => {
                let permit = pace.permit(cancellation).await;
                pace.wait(began, self.interval, cancellation).await?;
                permit.map(|permit| (pace, permit))
            }
        };
        origins.in_flight.fetch_add(1, Ordering::Relaxed);
        Ok(Departure {
            interval: self.interval,
            origins,
            url,
            sent: Instant::now(),
            pace,
        })
    }
}

impl Paced {
    fn known(&self, url: &Url) -> Option<Arc<Pace>> {
        match self.any.load(Ordering::Acquire) {
            true => self.paces().get(urls::origin(url)).cloned(),
            false => None,
        }
    }

    fn pace(&self, url: &Url) -> Arc<Pace> {
        self.any.store(true, Ordering::Release);
        let mut paces = self.paces();
        paces
            .entry(urls::origin(url).to_owned())
            .or_default()
            .clone()
    }

    fn paces(&self) -> MutexGuard<'_, HashMap<String, Arc<Pace>>> {
        lock(&self.paces)
    }
}

impl Pace {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// None after a cancellation.
    async fn permit(&self, cancellation: &Cancellation) -> Option<Permit> {
        if let Some(permit) = self.limiter.try_acquire(usize::MAX) {
            return Some(permit);
        }
        let permit = self.limiter.acquire(usize::MAX, false);
        let permit = cancellation.unless_cancelled(permit);
        permits::lend(Rank::First, permit).await.ok()
    }

    /// Waits for the end of a pause, and for this request's turn by `max_rate`.
    async fn wait(
        &self,
        began: Instant,
        interval: Option<Duration>,
        cancellation: &Cancellation,
    ) -> Result<(), String> {
        let mut turn: Option<Turn<'_>> = None;
        // All rows of a stopped call come by: others would take their turns behind theirs.
        while !cancellation.is_cancelled() {
            let until = {
                let mut state = self.state();
                if let Some((at, why)) = &state.given_up
                    && *at >= began
                {
                    return Err(why.clone());
                }
                let now = Instant::now();
                match (state.paused_until, interval) {
                    // Turns within the pause are void: all would be taken at its end.
                    (Some(until), _) if until > now => {
                        if let Some(turn) = turn.take() {
                            turn.end();
                        }
                        until
                    }
                    (_, Some(interval)) if turn.is_none() => {
                        let at = state.turn(now, interval);
                        turn = Some(Turn {
                            state: &self.state,
                            at,
                            interval,
                            is_used: false,
                        });
                        at
                    }
                    _ => {
                        if let Some(turn) = turn.take() {
                            turn.end();
                        }
                        return Ok(());
                    }
                }
            };
            let wait = until.saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                let wait = cancellation.sleep(wait);
                let _ = permits::lend(Rank::First, wait).await;
            }
        }
        Ok(())
    }
}

impl State {
    /// The next time at which a request may go.
    fn turn(&mut self, now: Instant, interval: Duration) -> Instant {
        let earliest = now.checked_sub(MADE_UP).unwrap_or(now);
        self.free = self.free.split_off(&earliest);
        self.free.pop_first().unwrap_or_else(|| {
            let at = self.next.map_or(now, |next| next.max(earliest));
            self.next = at.checked_add(interval).or_else(|| Some(later(interval)));
            at
        })
    }
}

impl Turn<'_> {
    /// Nobody else can have it.
    fn end(mut self) {
        self.is_used = true;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.is_used {
            return;
        }
        let mut state = lock(self.state);
        state.free.insert(self.at);
        // Nobody is behind the last ones.
        while let Some(&last) = state.free.last()
            && last.checked_add(self.interval) == state.next
        {
            state.free.pop_last();
            state.next = Some(last);
        }
    }
}

impl Departure<'_> {
    /// Notes that the origin took the request.
    pub(crate) fn taken(&self) {
        let Some((pace, _)) = &self.pace else {
            return;
        };
        let mut state = pace.state();
        if state.refused_at.is_some_and(|at| at < self.sent) {
            state.refusals = 0;
        }
        if let Some(window) = &mut state.window {
            let before = *window as usize;
            *window += 1.0 / *window;
            let most = *window as usize;
            drop(state);
            if most > before {
                pace.limiter.set_most(most);
            }
        }
    }

    /// Notes that the origin refused the request, and gives the number of refusals in a row.
    /// Requests that were sent before the last refusal tell nothing new.
    pub(crate) fn refused(&self) -> u32 {
        let pace = match &self.pace {
            Some((pace, _)) => pace.clone(),
            None => self.origins.pace(self.url),
        };
        let in_flight = match &self.pace {
            Some(_) => pace.limiter.in_flight(),
            None => self.origins.in_flight.load(Ordering::Relaxed),
        };
        let mut state = pace.state();
        if state.refused_at.is_some_and(|at| at > self.sent) {
            return state.refusals;
        }
        state.refused_at = Some(Instant::now());
        state.refusals = state.refusals.saturating_add(1);
        let refusals = state.refusals;
        // By `max_rate`, a single refusal is one request that came early.
        if self.interval.is_none() || refusals > 1 {
            let before = state.window.unwrap_or(f64::INFINITY).min(in_flight as f64);
            let window = (before / 2.0).max(1.0);
            state.window = Some(window);
            drop(state);
            pace.limiter.set_most(window as usize);
        }
        refusals
    }

    /// Leaves the origin alone for a time; whether it was not left alone before. By `max_rate` what
    /// is sent is slow enough already: then a time that nobody asked for is a tenth.
    pub(crate) fn pause(&self, back_off: Duration, asked: Option<Duration>) -> bool {
        let own = match self.interval {
            Some(_) => back_off / 10,
            None => back_off,
        };
        let time = asked.unwrap_or_default().max(own);
        let pace = self.origins.pace(self.url);
        let mut state = pace.state();
        let is_new = state
            .paused_until
            .is_none_or(|until| until <= Instant::now());
        state.paused_until = state.paused_until.max(Some(later(time)));
        is_new
    }

    /// Ends the patience with the origin, where so many refusals in a row are enough; `what` they
    /// were. Whether they are.
    pub(crate) fn gives_up(&self, refusals: u32, max_retries: u32, what: &str) -> bool {
        let is_over = refusals >= FEWEST_REFUSALS.max(max_retries.saturating_add(1));
        if is_over {
            let why = format!("{} takes no more requests ({what})", urls::origin(self.url));
            let pace = self.origins.pace(self.url);
            let mut state = pace.state();
            (state.given_up, state.refusals) = (Some((Instant::now(), why)), 0);
        }
        is_over
    }
}

impl Drop for Departure<'_> {
    fn drop(&mut self) {
        self.origins.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
