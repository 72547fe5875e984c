//! What the journal of a batch is told of each row, and says of it.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::poll;
use polars::prelude::PlHashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Write;
use super::marks::{Districts, Mark, marks};
use crate::client::permits::{self, Permits, Rank};
use crate::frame::options::BatchOptions;
use crate::frame::outcome::{DELETED, Outcome};
use crate::frame::run::Observer;
use crate::journal::{
    self, Answer, Begun, Digest, Ending, Item, Journal, JournalOptions, Method, Ticket,
};
use crate::runtime::lock;
use crate::{Control, Failure, Result, runtime};

/// How many rows of an ODS are noted as sent at once: as many as there are workers. Rows that wait
/// for a token, or for the end of a pause, let others have their permits, and all of them would be in
/// doubt if the process ended.
#[derive(Debug, Clone)]
pub(crate) struct Places(Arc<Semaphore>);

impl Places {
    pub(crate) fn new(workers: usize) -> Self {
        let workers = workers.min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Semaphore::new(workers)))
    }

    /// Waits for a place; nobody waits behind this. It is free again when what comes back is dropped.
    async fn take(&self) -> Option<OwnedSemaphorePermit> {
        let places = &self.0;
        match places.clone().try_acquire_owned() {
            Ok(place) => Some(place),
            Err(_) => {
                let place = places.clone().acquire_owned();
                permits::lend(Rank::First, place).await.ok()
            }
        }
    }
}

/// A row that is noted as sent, and its place among those.
struct Noted {
    ticket: Ticket,
    place: Option<OwnedSemaphorePermit>,
}

/// The journal of one batch.
pub(super) struct Notes {
    journal: Journal,
    control: Control,
    /// By row: what it is known by, why it cannot be sent, or nothing where it fails by itself.
    marks: PlHashMap<usize, Result<Mark, Failure>>,
    resend_before: Option<i64>,
    places: Places,
    tickets: Mutex<PlHashMap<usize, Noted>>,
    /// The digests of rows whose items have several, while they are under way.
    twins: Mutex<PlHashMap<usize, Digest>>,
    /// The last row of each item that has several.
    last: Mutex<PlHashMap<Item, (Digest, Outcome)>>,
    has_warned: AtomicBool,
}

impl Notes {
    pub(super) async fn new<O: Write>(
        journal: Journal,
        operation: &Arc<O>,
        rows: &[usize],
        journaling: &JournalOptions,
        batch: &BatchOptions,
        (permits, places): (Option<&Permits>, &Places),
    ) -> Result<Self> {
        let (workers, control) = (batch.workers, &batch.control);
        let districts = Districts::new(&journal, operation, rows, (workers, permits)).await?;
        let (operation, rows) = (operation.clone(), rows.to_vec());
        let mark = move || marks(&*operation, &rows, &districts);
        Ok(Self {
            marks: runtime::compute(mark).await??,
            journal,
            control: control.clone(),
            resend_before: journaling.resend_after.map(before),
            places: places.clone(),
            tickets: Mutex::default(),
            twins: Mutex::default(),
            last: Mutex::default(),
            has_warned: AtomicBool::new(false),
        })
    }

    pub(super) fn mark(&self, row: usize) -> Option<&Mark> {
        self.marks.get(&row)?.as_ref().ok()
    }

    fn tickets(&self) -> MutexGuard<'_, PlHashMap<usize, Noted>> {
        lock(&self.tickets)
    }

    fn twins(&self) -> MutexGuard<'_, PlHashMap<usize, Digest>> {
        lock(&self.twins)
    }

    fn last(&self) -> MutexGuard<'_, PlHashMap<Item, (Digest, Outcome)>> {
        lock(&self.last)
    }

    /// The outcome of the row before, if it is equal and about the same item.
    fn of_twin(&self, row: usize, mark: &Mark, digest: Digest) -> Option<Outcome> {
        let item = mark.has_twins.then(|| mark.item()).flatten()?;
        self.twins().insert(row, digest);
        let last = self.last();
        let (_, outcome) = last.get(&item).filter(|(last, _)| *last == digest)?;
        Some(Outcome {
            attempts: 0,
            ..outcome.clone()
        })
    }
}

impl<O: Write> Observer<O> for (Notes, Arc<O>) {
    async fn before(&self, row: usize, request: &O::Request) -> Option<Outcome> {
        let (notes, operation) = self;
        let mark = notes.marks.get(&row)?;
        let place = notes.places.take().await;
        // Nothing is sent any more: there is nothing to note.
        if notes.control.is_cancelled() {
            return Some(Failure::not_sent().into());
        }
        let mark = match mark {
            Ok(mark) => mark,
            Err(failure) => return Some(failure.clone().into()),
        };
        let digest = mark.district.digest(&**operation, row, request);
        let seen = operation.seen(row);
        let mut write = Box::new(journal::Write {
            digest,
            target: mark.district.target,
            method: operation.method(),
            key: operation.key(row).map(str::to_owned),
            id: operation.id(row).map(str::to_owned),
            items: mark.items.clone(),
            is_told: mark.is_told,
            resend_before: notes.resend_before,
            is_stale: operation.is_stale(row),
            repeats: operation.repeats(row),
            seen: seen.map(answer),
        });
        loop {
            if let Some(outcome) = notes.of_twin(row, mark, digest) {
                return Some(outcome);
            }
            return match notes.journal.begin(write).await {
                Ok(Begun::Go(ticket)) => {
                    notes.tickets().insert(row, Noted { ticket, place });
                    None
                }
                Ok(Begun::Confirmed(answer)) => Some(match seen {
                    Some(outcome) => outcome.clone(),
                    None => confirmed(operation.method(), answer),
                }),
                Ok(Begun::InDoubt) => Some(Failure::new(IN_DOUBT).into()),
                Ok(Begun::Busy(again, free)) => {
                    // Whoever is at it may need the permit. It lets go of the item in any case.
                    let _ = permits::lend(Rank::First, free).await;
                    write = again;
                    continue;
                }
                Err(what) => {
                    Some(Failure::new(format!("not sent: {}", notes.journal.say(&what))).into())
                }
            };
        }
    }

    fn answered(&self, row: usize, outcome: Outcome) -> Outcome {
        let (notes, operation) = self;
        let noted = notes.tickets();
        let was_in_doubt = noted
            .get(&row)
            .is_some_and(|noted| noted.ticket.was_in_doubt());
        drop(noted);
        match was_in_doubt {
            true => repeated(operation.method(), outcome),
            false => outcome,
        }
    }

    fn lost(&self, row: usize) {
        self.0.tickets().remove(&row);
    }

    async fn after(&self, row: usize, outcome: &Outcome) {
        let (notes, operation) = self;
        // Before the item is free, which an equal row may wait for.
        let digest = notes.twins().remove(&row);
        if let Some(digest) = digest
            && let Some(item) = notes.mark(row).and_then(Mark::item)
        {
            notes.last().insert(item, (digest, outcome.clone()));
        }
        let noted = notes.tickets().remove(&row);
        if let Some(Noted { ticket, place }) = noted {
            let ending = match operation.is_there(outcome) {
                true => Ending::Confirmed,
                false => ending(operation.method(), outcome),
            };
            let mut end = pin!(notes.journal.end(ticket, ending, answer(outcome)));
            let noted = match poll!(&mut end) {
                Poll::Ready(noted) => noted,
                Poll::Pending => {
                    // Whatever takes the place is noted behind it.
                    drop(place);
                    end.await
                }
            };
            if let Err(what) = noted
                && !notes.has_warned.swap(true, Ordering::Relaxed)
            {
                notes.control.progress.warn(notes.journal.say(&format!(
                    "{what}; answers that it could not note stand in the result, and are in doubt \
                     in the journal"
                )));
            }
        }
    }

    fn idle(&self) {
        self.0.journal.write();
    }
}

/// What is said of a row that must not be sent again.
const IN_DOUBT: &str = "it was sent before, and the journal has no answer to it; it may have been \
    applied (retry_broken=True sends it again)";

/// What the answer to a write means of which nobody knows whether it was applied before: as where a
/// connection breaks.
fn repeated(method: Method, outcome: Outcome) -> Outcome {
    match (method, outcome.http_status) {
        (Method::Delete, Some(404)) => Outcome {
            status: Some(DELETED.to_owned()),
            http_status: outcome.http_status,
            attempts: outcome.attempts,
            ..Outcome::default()
        },
        // The etag may be another one because of it.
        (_, Some(412)) => Outcome {
            message: outcome
                .message
                .map(|message| format!("{message}; it may have been applied")),
            in_doubt: true,
            ..outcome
        },
        _ => outcome,
    }
}

/// What a row that was confirmed before comes back as.
fn confirmed(method: Method, answer: Answer) -> Outcome {
    Outcome {
        status: (method == Method::Delete).then(|| DELETED.to_owned()),
        message: answer.message,
        http_status: answer.http_status,
        correlation_id: answer.correlation_id,
        resource_id: (method != Method::Delete)
            .then_some(answer.resource_id)
            .flatten(),
        ..Outcome::default()
    }
}

fn answer(outcome: &Outcome) -> Answer {
    Answer {
        http_status: outcome.http_status,
        message: outcome.message.clone(),
        correlation_id: outcome.correlation_id.clone(),
        resource_id: outcome.resource_id.clone(),
        attempts: outcome.attempts,
    }
}

/// The time that was so long ago, in microseconds since 1970.
fn before(age: Duration) -> i64 {
    let time = SystemTime::now().checked_sub(age);
    let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(0))
}

/// What an outcome tells of the item.
fn ending(method: Method, outcome: &Outcome) -> Ending {
    match (outcome.status.as_deref(), outcome.http_status) {
        // Of a post, a caller may call any answer so.
        (Some(DELETED), _) if method == Method::Delete => Ending::Confirmed,
        (None, Some(200..=299)) => Ending::Confirmed,
        _ if outcome.attempts == 0 => Ending::NotSent,
        (_, None) => Ending::InDoubt,
        // A gateway that gave up, or that answered in place of the ODS; a server that failed. Only
        // what is refused has changed nothing.
        (_, Some(status)) if !(400..=499).contains(&status) => Ending::Unclear,
        // The item that it names is not there any more.
        (_, Some(404 | 410)) if method != Method::Post => Ending::Unclear,
        // The one that was refused repeats another one.
        _ if outcome.in_doubt => Ending::Unclear,
        _ => Ending::Refused,
    }
}
