//! What calls have to say to the writer of a journal, which hears together what is said at about the
//! same time.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::writer::Message;

/// A transaction costs about the same for one message as for many: where the next one comes within
/// `SOON`, as a rule, the writer has `PATIENCE` with it.
const SOON: Duration = Duration::from_micros(300);
const PATIENCE: Duration = Duration::from_micros(1_000);

/// How fast messages come.
#[derive(Debug)]
pub(super) struct Pace {
    last: Instant,
    /// From one to the next, on average, in seconds.
    gap: f64,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            last: Instant::now(),
            gap: 1.0,
        }
    }

    fn is_fast(&self) -> bool {
        self.gap < SOON.as_secs_f64()
    }

    fn learn(&mut self, messages: usize) {
        let now = Instant::now();
        let passed = now.duration_since(self.last).as_secs_f64();
        self.last = now;
        let weight = 0.9_f64.powi(i32::try_from(messages).unwrap_or(i32::MAX));
        self.gap = weight * self.gap + (1.0 - weight) * passed / messages.max(1) as f64;
    }
}

/// Messages that nobody has taken yet.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct State {
    messages: Vec<Message>,
    /// How many the writer is to be woken for.
    enough: usize,
    is_closed: bool,
}

impl State {
    /// Takes a message; where nobody listens any more it is dropped, which whoever waits for its
    /// answer notices.
    fn push(&mut self, message: Message) {
        if !self.is_closed {
            self.messages.push(message);
        }
    }
}

impl Inbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a message.
    pub(super) fn send(&self, message: Message) {
        let mut state = self.state();
        state.push(message);
        if state.messages.len() >= state.enough {
            self.arrived.notify_one();
        }
    }

    /// Waits for messages, and takes them: `enough` of them where they come fast.
    pub(super) fn wait(&self, pace: &mut Pace, enough: usize) -> Vec<Message> {
        let mut state = self.state();
        state.enough = 1;
        let is_empty = |state: &mut State| state.messages.is_empty();
        let waited = self.arrived.wait_while(state, is_empty);
        state = waited.unwrap_or_else(PoisonError::into_inner);
        if state.messages.len() < enough && pace.is_fast() {
            state.enough = enough;
            let has_less = |state: &mut State| state.messages.len() < enough;
            let waited = self.arrived.wait_timeout_while(state, PATIENCE, has_less);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let messages = std::mem::take(&mut state.messages);
        drop(state);
        pace.learn(messages.len());
        messages
    }

    /// Listens no more.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        let left = std::mem::take(&mut state.messages);
        drop(state);
        // What is dropped may have something to say itself.
        drop(left);
    }
}
