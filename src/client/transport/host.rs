//! The connections to one origin, and whether it keeps them open.
//!
//! A server that closes each connection after its answer, without saying so, meets the next request
//! while it is closing. That request is lost, and nobody can tell whether it was applied. So a write
//! goes over a used connection only where the origin has been seen to keep one. To find out, one
//! write waits a moment: by then it shows whether the connection of the last answer is closed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use reqwest::Client;
use tokio::sync::OwnedMutexGuard;

use super::watch::Watch;
use crate::runtime::lock;

/// A server that closes a connection after its answer has done so by then.
const REST: Duration = Duration::from_millis(5);
/// So long other writes wait for the one that finds out.
const TRIAL: Duration = Duration::from_millis(50);
/// An origin that closed a connection may keep others after this time.
const RECONSIDER: Duration = Duration::from_secs(30);

/// The connections of one worker to one origin.
#[derive(Debug)]
pub(super) struct Host {
    keeping: Client,
    closing: Client,
    in_flight: AtomicUsize,
    /// How many requests were in flight at once: so many connections may be kept.
    peak: AtomicUsize,
    state: Mutex<State>,
    trial: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug)]
struct State {
    used: Instant,
    answered: Option<Instant>,
    keeps: Keeps,
}

/// Whether an origin keeps connections open after its answers.
#[derive(Debug, Clone, Copy)]
enum Keeps {
    Unknown,
    Yes,
    Not { since: Instant },
}

/// The right to send one request to an origin, until it is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    host: Arc<Host>,
    trial: Option<OwnedMutexGuard<()>>,
    single: bool,
}

impl Host {
    /// `keeping` keeps its connections, `closing` uses each but once.
    pub(super) fn new(keeping: Client, closing: Client) -> Self {
        Self {
            keeping,
            closing,
            in_flight: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            state: Mutex::new(State {
                used: Instant::now(),
                answered: None,
                keeps: Keeps::Unknown,
            }),
            trial: Arc::default(),
        }
    }

    /// When it was asked for last.
    pub(super) fn used(&self) -> Instant {
        self.state().used
    }

    /// How many connections may be idle.
    pub(super) fn connections(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    pub(super) fn lease(self: &Arc<Self>) -> Lease {
        let in_flight = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        self.peak.fetch_max(in_flight, Ordering::Relaxed);
        self.state().used = Instant::now();
        Lease {
            host: self.clone(),
            trial: None,
            single: false,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn keeps(&self) -> Keeps {
        let mut state = self.state();
        if matches!(state.keeps, Keeps::Not { since } if since.elapsed() > RECONSIDER) {
            state.keeps = Keeps::Unknown;
        }
        state.keeps
    }

    /// How long ago the last answer came, if there was one.
    fn idle(&self) -> Option<Duration> {
        self.state().answered.map(|answered| answered.elapsed())
    }
}

impl Lease {
    /// Chooses the connection: `is_safe` where the request may be lost, for it is sent again.
    pub(super) async fn client(&mut self, is_safe: bool) -> &Client {
        self.single = match self.host.keeps() {
            Keeps::Yes => false,
            Keeps::Not { .. } => true,
            Keeps::Unknown if is_safe || self.host.idle().is_none() => false,
            Keeps::Unknown => self.must_be_single().await,
        };
        match self.single {
            true => &self.host.closing,
            false => &self.host.keeping,
        }
    }

    /// Finds out whether the origin keeps connections, if nobody else has while this one waited.
    async fn must_be_single(&mut self) -> bool {
        let trial = self.host.trial.clone().lock_owned();
        let Ok(trial) = tokio::time::timeout(TRIAL, trial).await else {
            // What is kept by now has rested.
            return false;
        };
        match self.host.keeps() {
            Keeps::Yes => return false,
            Keeps::Not { .. } => return true,
            Keeps::Unknown => self.trial = Some(trial),
        }
        // Answers to others may still come in.
        while let Some(rest) = self.host.idle().and_then(|idle| REST.checked_sub(idle)) {
            tokio::time::sleep(rest).await;
        }
        false
    }

    /// Notes that an answer came.
    pub(super) fn answered(&mut self, watch: &Watch) {
        let is_trial = self.trial.is_some();
        let mut state = self.host.state();
        state.answered = Some(Instant::now());
        match (self.single, watch.has_opened()) {
            (true, _) => {}
            (false, false) => state.keeps = Keeps::Yes,
            (false, true) if is_trial => state.keeps = Keeps::now_not(),
            (false, true) => {}
        }
    }

    /// Notes that the connection broke before an answer came.
    pub(super) fn broke(&mut self, watch: &Watch) {
        if !self.single && !watch.has_opened() {
            self.host.state().keeps = Keeps::now_not();
        }
    }
}

impl Keeps {
    fn now_not() -> Self {
        Self::Not {
            since: Instant::now(),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.host.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
