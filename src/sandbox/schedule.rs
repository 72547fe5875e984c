//! Schedules: when a collection moves while it is read.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use fastrand::Rng;

use super::commit::Committer;
use super::mutation::{Begun, Mutation};
use super::query::Query;
use super::store::{Order, State};

/// When a collection moves while it is read. The default moves nothing.
///
/// Requests are counted from 1: GETs of the collection, of its `/deletes`, `/keyChanges` and
/// `/partitions`, not those of single items.
///
/// ```
/// use polars_edfi::sandbox::{Mutation, Schedule};
///
/// // An item of the first page goes once that page was served, and three come before the third is.
/// let schedule = Schedule::new()
///     .after(1, Mutation::Delete(4))
///     .before(3, Mutation::Insert(3));
/// # let _ = schedule;
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Schedule {
    steps: Vec<(Moment, Mutation)>,
    random: Option<(Rng, f64)>,
    until: Option<usize>,
    shuffle: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Before(usize),
    After(usize),
}

impl Schedule {
    /// Nothing moves yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Random mutations of all kinds, on average so many for each request, before it and after it.
    pub fn random(seed: u64, per_request: f64) -> Self {
        Self {
            random: Some((Rng::with_seed(seed), per_request)),
            ..Self::default()
        }
    }

    /// Adds a mutation before the request of this number is served.
    pub fn before(mut self, request: usize, mutation: Mutation) -> Self {
        self.steps.push((Moment::Before(request), mutation));
        self
    }

    /// Adds a mutation after the request of this number was served.
    pub fn after(mut self, request: usize, mutation: Mutation) -> Self {
        self.steps.push((Moment::After(request), mutation));
        self
    }

    /// Ends random mutations with the request of this number.
    pub fn until(mut self, request: usize) -> Self {
        self.until = Some(request);
        self
    }

    /// Serves requests that come together in another order than they came: each waits up to four
    /// milliseconds, by its query string and this seed.
    pub fn shuffle(mut self, seed: u64) -> Self {
        self.shuffle = Some(seed);
        self
    }

    /// What is due at this moment.
    fn due(&mut self, moment: Moment) -> Vec<Mutation> {
        let steps = self.steps.iter().filter(|(when, _)| *when == moment);
        let mut due: Vec<_> = steps.map(|(_, mutation)| mutation.clone()).collect();
        let (Moment::Before(request) | Moment::After(request)) = moment;
        if let Some((random, per_request)) = &mut self.random
            && self.until.is_none_or(|until| request <= until)
        {
            // The mean is half of `per_request`: the other half comes on the request's other side.
            while random.f64() < *per_request / (*per_request + 2.0) {
                due.push(Mutation::random(random));
            }
        }
        due
    }
}

/// The schedules of a district's collections, and the writes that are not committed yet.
#[derive(Default)]
pub(super) struct Movement {
    collections: HashMap<String, Running>,
    postponed: Vec<(usize, Begun)>,
}

struct Running {
    schedule: Schedule,
    requests: usize,
}

impl Movement {
    /// Begins a schedule, in place of the one before.
    pub(super) fn start(&mut self, endpoint: &str, schedule: Schedule) {
        let running = Running {
            schedule,
            requests: 0,
        };
        self.collections.insert(endpoint.to_owned(), running);
    }

    /// Commits a write before so many more requests of its collection.
    pub(super) fn postpone(&mut self, begun: Begun, requests: usize) {
        self.postponed.push((requests, begun));
    }

    /// How long this request of the collection waits, so that others can overtake it.
    pub(super) fn wait(&self, endpoint: &str, query: &Query) -> Duration {
        let seed = self
            .collections
            .get(endpoint)
            .and_then(|running| running.schedule.shuffle);
        seed.map_or(Duration::ZERO, |seed| {
            let mut hasher = DefaultHasher::new();
            (seed, query).hash(&mut hasher);
            Duration::from_millis(hasher.finish() % 5)
        })
    }

    fn next_request(&mut self, endpoint: &str) -> Vec<Mutation> {
        self.collections
            .get_mut(endpoint)
            .map_or_else(Vec::new, |running| {
                running.requests += 1;
                running.schedule.due(Moment::Before(running.requests))
            })
    }

    fn served(&mut self, endpoint: &str) -> Vec<Mutation> {
        self.collections
            .get_mut(endpoint)
            .map_or_else(Vec::new, |running| {
                running.schedule.due(Moment::After(running.requests))
            })
    }

    /// What is to be committed before the request that comes now.
    fn ripe(&mut self, endpoint: &str) -> Vec<Begun> {
        for (left, _) in self
            .postponed
            .iter_mut()
            .filter(|(_, begun)| begun.endpoint == endpoint)
        {
            *left = left.saturating_sub(1);
        }
        self.postponed
            .extract_if(.., |(left, begun)| *left == 0 && begun.endpoint == endpoint)
            .map(|(_, begun)| begun)
            .collect()
    }
}

impl Committer<'_> {
    /// Moves the collection before a request of it is served.
    pub(super) fn move_before(&self, state: &mut State, endpoint: &str, order: Order) {
        for begun in state.movement.ripe(endpoint) {
            self.commit(state, begun);
        }
        for mutation in state.movement.next_request(endpoint) {
            self.mutate(state, endpoint, order, &mutation);
        }
    }

    /// Moves the collection after the request was served.
    pub(super) fn move_after(&self, state: &mut State, endpoint: &str, order: Order) {
        for mutation in state.movement.served(endpoint) {
            self.mutate(state, endpoint, order, &mutation);
        }
    }
}
