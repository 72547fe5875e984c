//! The rows of one ODS: level by level, then again what could not be done yet, round by round.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::{join, join_all};
use rayon::prelude::*;

use super::Job;
use super::answers::Meaning;
use super::chains::{Chain, Entry, Waiting};
use super::levels::{Order, Plan, Step};
use super::router::{Ods, Router, Taken};
use super::rows::{Pass, PassRow, Verb};
use crate::client::session::Access;
use crate::frame::journaled::{Places, send_chains};
use crate::frame::metadata::no_dependencies;
use crate::frame::outcome::Outcome;
use crate::frame::run::{Chain as RowChain, RowOperation};
use crate::openapi::{Identity, is_descriptor};
use crate::{Failure, runtime};

/// One ODS and how far its rows are.
struct Sending<'a> {
    router: &'a Router,
    job: &'a Arc<Job>,
    ods: &'a Ods,
    plan: &'a Plan,
    identities: Identities,
    /// In the journal, for the rows of all frames together.
    places: Places,
    /// How many rows were accepted so far.
    accepted: AtomicUsize,
}

/// Sends the rows of one ODS.
pub(super) async fn send(router: &Router, job: &Arc<Job>, ods: &Ods) {
    let mut documents = documents(job, &ods.access).await;
    let mut tried = vec![ods.access.account()];
    while let Err(failure) = &documents
        && failure.is_of_account()
        && let Some(access) = ods.another(&tried)
    {
        documents = self::documents(job, &access).await;
        tried.push(access.account());
    }
    let (plan, identities) = match documents {
        Ok(documents) => documents,
        Err(failure) => return router.fail(ods, failure),
    };
    for frame in &plan.unlisted {
        job.warn_of_unlisted(*frame);
    }
    let sending = Sending {
        router,
        job,
        ods,
        plan: &plan,
        identities,
        places: Places::new(job.batch.workers),
        accepted: AtomicUsize::new(0),
    };
    match job.commit {
        true => sending.send().await,
        false => sending.look().await,
    }
}

/// What tells the items of each frame apart; `None` where no document says it.
type Identities = Vec<Option<Arc<Identity>>>;

/// What the documents of an ODS say.
async fn documents(job: &Job, access: &Access) -> Result<(Plan, Identities), Failure> {
    let plan = plan(job, access).await?;
    Ok((plan, identities(job, access).await?))
}

async fn plan(job: &Job, access: &Access) -> Result<Plan, Failure> {
    let document = job.metadata(access).dependencies().await?;
    let order = match document {
        Some(document) => {
            Order::of(&document).map_err(|what| Failure::new(format!("dependencies: {what}")))?
        }
        None if job.order.is_given() => job.order.clone(),
        None => {
            let mut failure = no_dependencies();
            failure
                .message
                .push_str("; give order=, a list of endpoints, or of lists of them");
            return Err(failure.on_the_way("dependencies"));
        }
    };
    Ok(match job.verb {
        Verb::Post { .. } => order.to_write(&job.endpoints),
        Verb::Delete { .. } => order.to_remove(&job.endpoints),
    })
}

/// What tells the items of each frame apart. A journal cannot do without it, where there should be
/// a document.
async fn identities(job: &Job, access: &Access) -> Result<Identities, Failure> {
    let mut identities = vec![None; job.endpoints.len()];
    let is_asked = match &job.verb {
        Verb::Post { options, .. } => job.commit && options.order_by_col.is_none(),
        Verb::Delete { .. } => false,
    };
    let mut is_told = true;
    for (endpoint, identity) in job.endpoints.iter().zip(&mut identities) {
        // Whoever asks a silent server for each of many waits for each of many.
        if !is_asked || !(is_told || is_descriptor(endpoint)) {
            continue;
        }
        match job.metadata(access).identity(endpoint).await {
            Ok(found) => *identity = found,
            Err(failure) if job.journal.is_some() => return Err(failure),
            Err(failure) => {
                is_told = false;
                log::warn!(
                    "rows of one item may overtake each other, since the ODS does not say what \
                     identifies them: {failure}"
                );
            }
        }
    }
    Ok(identities)
}

impl Sending<'_> {
    /// Says of each row when it would be sent.
    async fn look(&self) {
        for (frame, level) in self.plan.levels.iter().enumerate() {
            while let Some(Taken { part, rows }) = self.router.next(self.ods, frame).await {
                let of = part.clone();
                let check = move || {
                    let checked = rows.into_par_iter().map(|row| (row, of.check(row)));
                    checked.collect::<Vec<_>>()
                };
                for (row, checked) in runtime::compute(check).await.unwrap_or_default() {
                    let outcome = match checked {
                        Ok(()) => Outcome {
                            message: Some(format!("level {level}")),
                            ..Outcome::dry_run()
                        },
                        Err(failure) => failure.into(),
                    };
                    self.router.settle(&part, row, outcome, 0);
                }
            }
        }
    }

    async fn send(&self) {
        let frames = self.job.endpoints.len();
        let mut waiting: Vec<Waiting> = (0..frames).map(|_| Waiting::default()).collect();
        for round in 1.. {
            let before = self.accepted.load(Ordering::Relaxed);
            for step in &self.plan.steps {
                self.step(step, round, &mut waiting).await;
            }
            let is_idle = waiting.iter().all(|frame| frame.chains.is_empty());
            let has_progress = self.accepted.load(Ordering::Relaxed) > before;
            if is_idle || self.job.is_over() {
                break;
            }
            // Others may wait for what stands behind a row that waits in vain.
            if round > 1 && !has_progress && !self.give_up(&mut waiting) {
                break;
            }
        }
        for step in &self.plan.steps {
            for &frame in &step.frames {
                self.end(frame, std::mem::take(&mut waiting[frame].chains))
                    .await;
            }
        }
    }

    /// Ends with the first row of each chain that has others behind it; whether there are any.
    fn give_up(&self, waiting: &mut [Waiting]) -> bool {
        let chains = waiting.iter_mut().flat_map(|frame| &mut frame.chains);
        let mut has_others = false;
        for chain in chains.filter(|chain| chain.rows.len() > 1) {
            // Whom nobody may see yet is owed one more try.
            if chain.meaning().is_some() && !chain.is_unauthorized() {
                self.settle(chain.rows.remove(0));
                has_others = true;
            }
        }
        has_others
    }

    /// What is to be done at one level, all of it side by side.
    async fn step(&self, step: &Step, round: u32, waiting: &mut [Waiting]) {
        let again: Vec<usize> = step
            .again
            .iter()
            .copied()
            .filter(|frame| {
                // As long as associations may be missing that come later, it is too early.
                let levels = self.plan.levels[*frame] + 1..step.level;
                let mut others = self.plan.levels.iter().zip(&*waiting);
                !others.any(|(level, other)| {
                    let unresolved = |chain: &Chain| chain.meaning() == Some(Meaning::Unresolved);
                    levels.contains(level) && other.chains.iter().any(unresolved)
                })
            })
            .collect();
        let work = waiting
            .iter_mut()
            .enumerate()
            .filter_map(|(frame, waiting)| {
                let is_here = step.frames.contains(&frame);
                let is_again = again.contains(&frame);
                (is_here || is_again).then_some((frame, waiting, is_again))
            });
        let work = work.map(|(frame, waiting, is_again)| async move {
            match (is_again, round) {
                (true, _) => {
                    self.again(frame, waiting, Chain::is_unauthorized).await;
                }
                (false, 1) => self.first(frame, waiting, step.level).await,
                (false, _) => {
                    let is_person = self.is_person(frame);
                    let due = |chain: &Chain| !(is_person && chain.is_unauthorized());
                    self.again(frame, waiting, due).await;
                }
            }
        });
        // On the heap: what many frames keep is large.
        let work: Vec<_> = work.map(Box::pin).collect();
        join_all(work).await;
    }

    /// Whether rows of a frame have a level of their own at which they may be seen.
    fn is_person(&self, frame: usize) -> bool {
        let mut steps = self.plan.steps.iter();
        steps.any(|step| step.again.contains(&frame))
    }

    /// Sends a frame's rows for the first time.
    async fn first(&self, frame: usize, waiting: &mut Waiting, level: i32) {
        let Some(mut taken) = self.router.next(self.ods, frame).await else {
            return;
        };
        let endpoint = &self.job.endpoints[frame];
        log::debug!("level {level}: {endpoint}");
        let progress = &self.job.context.control.progress;
        progress.set_stage(format!("level {level}"));
        let identity = &self.identities[frame];
        loop {
            let chains = self.chains(taken, identity.clone(), waiting).await;
            let (left, next) = join(
                self.run(frame, chains, false),
                self.router.next(self.ods, frame),
            )
            .await;
            waiting.extend(left);
            match next {
                Some(next) => taken = next,
                None => return,
            }
        }
    }

    /// Rows in chains, but for those whose chain waits already: they join it.
    async fn chains(
        &self,
        Taken { part, rows }: Taken,
        identity: Option<Arc<Identity>>,
        waiting: &mut Waiting,
    ) -> Vec<Chain> {
        // Whoever waits in vain loses a moment; whoever does not may be overtaken.
        let identify = move |payload: &[u8]| {
            let identity = identity.as_ref()?;
            Some(identity.folded(&identity.values(payload).ok()?))
        };
        let of = part.clone();
        let keys = runtime::compute(move || {
            let keys = rows.into_par_iter();
            let keys = keys.map(|row| (row, of.chain_key(row, &identify)));
            keys.collect::<Vec<_>>()
        });
        let keys = keys.await.unwrap_or_default();
        let mut fresh = Waiting::default();
        for (row, key) in keys {
            let entry = Entry {
                part: part.clone(),
                row,
                before: None,
                round: 0,
                was_unauthorized: false,
            };
            let chain = key.as_ref().and_then(|key| waiting.by_key.get(key));
            match chain {
                Some(chain) => waiting.chains[*chain].rows.push(entry),
                None => fresh.push(key, entry),
            }
        }
        fresh.chains
    }

    /// Sends those chains that are due.
    async fn again(&self, frame: usize, waiting: &mut Waiting, is_due: impl Fn(&Chain) -> bool) {
        let (due, rest) = std::mem::take(waiting).chains.into_iter().partition(is_due);
        waiting.extend(rest);
        let left = self.run(frame, due, false).await;
        waiting.extend(left);
    }

    /// Ends with what is left: what was refused stays so, what stood behind it is sent.
    async fn end(&self, frame: usize, mut chains: Vec<Chain>) {
        for chain in &mut chains {
            // Whom nobody may see yet is owed one more try.
            if !chain.is_unauthorized() && chain.meaning().is_some() {
                let Entry {
                    part,
                    row,
                    before,
                    round,
                    ..
                } = chain.rows.remove(0);
                if let Some((outcome, _)) = before {
                    self.router.settle(&part, row, outcome, round);
                }
            }
        }
        self.run(frame, chains, true).await;
    }

    /// Sends chains, and gives back those that wait.
    async fn run(&self, frame: usize, chains: Vec<Chain>, is_last: bool) -> Vec<Chain> {
        let mut rows = Vec::new();
        let mut places = Vec::with_capacity(chains.len());
        for chain in &chains {
            let start = rows.len();
            rows.extend(chain.rows.iter().map(|entry| PassRow {
                part: entry.part.clone(),
                row: entry.row,
                was_unauthorized: entry.was_unauthorized(),
                has_next: entry.round + 1 < self.job.rounds,
            }));
            places.push((start..rows.len()).map(|place| (place, place)).collect());
        }
        if rows.is_empty() {
            return Vec::new();
        }
        let pass = Arc::new(Pass {
            job: self.job.clone(),
            frame,
            rows,
            is_last,
        });
        let answers = self.answers(&pass, places).await;
        let mut answers = answers.into_iter().peekable();
        let mut left = Vec::new();
        let mut place = 0;
        for mut chain in chains {
            let mut rest = Vec::new();
            for mut entry in chain.rows.drain(..) {
                let answer = answers.next_if(|(answered, _)| *answered == place);
                match answer {
                    None => rest.push(entry),
                    Some((_, outcome)) => {
                        let waits = pass.waits(place, &outcome);
                        let meaning = pass.meaning(&outcome);
                        entry.take(outcome, meaning);
                        match waits {
                            true => rest.push(entry),
                            false => self.settle(entry),
                        }
                    }
                }
                place += 1;
            }
            if !rest.is_empty() {
                chain.rows = rest;
                left.push(chain);
            }
        }
        left
    }

    /// What the rows of a pass are answered, or what the journal says of them.
    async fn answers(&self, pass: &Arc<Pass>, places: Vec<RowChain>) -> Vec<(usize, Outcome)> {
        let Job {
            workers,
            journal,
            journaling,
            batch,
            ..
        } = &**self.job;
        let journal = journal.as_ref().map(|journal| (journal, &self.places));
        let sent = send_chains(pass, places, workers, journal, journaling, batch).await;
        sent.unwrap_or_else(|error| {
            // Nothing was sent.
            let failure = Failure::new(error.to_string());
            let all = 0..pass.rows.len();
            let outcomes = all.map(|place| (place, failure.clone().into())).collect();
            for _ in &pass.rows {
                self.job.context.control.progress.one_done();
            }
            outcomes
        })
    }

    /// Notes what became of a row; it was counted when it was answered.
    fn settle(&self, entry: Entry) {
        let Some((outcome, meaning)) = entry.before else {
            return;
        };
        if matches!(meaning, Meaning::Done | Meaning::There) {
            self.accepted.fetch_add(1, Ordering::Relaxed);
        }
        let slot = entry.part.slot(entry.row);
        let account = &self.router.account;
        account.settle(entry.part.frame, slot, outcome, entry.round.max(1));
    }
}
