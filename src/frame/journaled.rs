//! Batches of writes with a journal: what it says of each row before it is sent, and is told after.
//!
//! An operation that writes implements [`Write`] and sends its rows by [`send_rows`]; its options
//! have a [`JournalOptions`] under the name `journaling`. That is all a call needs.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use rayon::prelude::*;

use super::input::Keys;
use super::options::BatchOptions;
use super::outcome::{DELETED, Outcome};
use super::run::{Chain, Observer, RowOperation, Workers, chains, for_each_chain, for_each_row};
use crate::client::session::{Access, CallContext};
use crate::journal::{
    self, Answer, Begun, Digest, Ending, Item, Journal, JournalOptions, Method, Target, Ticket,
};
use crate::openapi::Identity;
use crate::{Control, Error, Failure, Result, runtime};

/// An operation on rows that a journal can follow.
pub(crate) trait Write: RowOperation<Outcome = Outcome> {
    fn method(&self) -> Method;

    fn context(&self) -> &CallContext;

    /// The resource that is written.
    fn endpoint(&self) -> &str;

    /// Whether a row of which nobody knows what became of it may be sent again.
    fn repeats(&self) -> bool;

    /// What the caller calls a row.
    fn key(&self, row: usize) -> Option<&str>;

    /// The id of a row's item, where the row names it.
    fn id(&self, row: usize) -> Option<&str>;

    /// What a request writes, and where.
    fn written<'a>(&self, request: &'a Self::Request) -> (&'a Access, &'a [u8]);

    /// Whether a refusal says that the item is there as it should be.
    fn is_there(&self, _outcome: &Outcome) -> bool {
        false
    }
}

/// Sends rows, and leaves out those that a journal knows as done, where there is one.
pub(crate) async fn send_rows<O: Write>(
    operation: &Arc<O>,
    rows: &[usize],
    order_by: Option<&Keys>,
    batch: &BatchOptions,
    journaling: &JournalOptions,
) -> Result<Vec<Outcome>> {
    let (workers, control) = (batch.workers, &batch.control);
    let Some(journal) = open(journaling).await? else {
        return Ok(for_each_row(operation, rows, order_by, workers, control, ()).await);
    };
    let notes = Notes::new(journal.clone(), operation, rows, journaling, batch).await?;
    let chains = chains(rows, order_by, |row| notes.mark(row)?.item());
    let observer = (notes, operation.clone());
    control.progress.begin(rows.len());
    let workers = Workers::new(workers);
    let outcomes = for_each_chain(operation, chains, &workers, control, observer).await;
    // The file is to be closed when the call comes back.
    let _ = runtime::compute(move || drop(journal)).await;
    Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
}

/// The journal that a call is given, if it is given one.
pub(crate) async fn open(journaling: &JournalOptions) -> Result<Option<Journal>> {
    let Some(path) = journaling.journal.clone() else {
        return Ok(None);
    };
    let sync = journaling.journal_sync;
    let opened = runtime::compute(move || Journal::open(&path, sync)).await??;
    Ok(Some(opened))
}

/// Sends some rows of a call, in chains by their items, and leaves out those that the call's journal
/// knows as done, where it has one.
pub(crate) async fn send_chains<O: Write>(
    operation: &Arc<O>,
    chains: Vec<Chain>,
    workers: &Workers,
    journal: Option<&Journal>,
    journaling: &JournalOptions,
    batch: &BatchOptions,
) -> Result<Vec<(usize, Outcome)>> {
    let control = &batch.control;
    let Some(journal) = journal else {
        return Ok(for_each_chain(operation, chains, workers, control, ()).await);
    };
    let rows: Vec<usize> = chains.iter().flatten().map(|(_, row)| *row).collect();
    let notes = Notes::new(journal.clone(), operation, &rows, journaling, batch).await?;
    let observer = (notes, operation.clone());
    Ok(for_each_chain(operation, chains, workers, control, observer).await)
}

/// What the journal knows of a row before it is sent.
#[derive(Debug, Clone)]
struct Mark {
    district: Arc<District>,
    items: Vec<Item>,
    /// Whether `key_col` tells which item it is.
    told_by_key: bool,
    /// Whether other rows of the batch are about the same item.
    has_twins: bool,
}

impl Mark {
    /// The item by which rows wait for each other.
    fn item(&self) -> Option<Item> {
        self.items.first().copied()
    }
}

/// What the rows of one district have in common.
#[derive(Debug)]
struct District {
    base: String,
    target: Target,
    /// What tells its items apart, where it says so.
    identity: Option<Arc<Identity>>,
}

/// The journal of one batch.
struct Notes {
    journal: Journal,
    control: Control,
    /// By row: what it is known by, why it cannot be sent, or nothing where it fails by itself.
    marks: HashMap<usize, Result<Mark, Failure>>,
    resend_before: Option<i64>,
    tickets: Mutex<HashMap<usize, Ticket>>,
    /// The digests of rows whose items have several, while they are under way.
    twins: Mutex<HashMap<usize, Digest>>,
    /// The last row of each item that has several.
    last: Mutex<HashMap<Item, (Digest, Outcome)>>,
    has_warned: AtomicBool,
}

impl Notes {
    async fn new<O: Write>(
        journal: Journal,
        operation: &Arc<O>,
        rows: &[usize],
        journaling: &JournalOptions,
        batch: &BatchOptions,
    ) -> Result<Self> {
        let (workers, control) = (batch.workers, &batch.control);
        let districts = districts(&journal, operation, rows, workers).await?;
        let (operation, rows) = (operation.clone(), rows.to_vec());
        let mark = move || marks(&*operation, &rows, &districts);
        Ok(Self {
            marks: runtime::compute(mark).await??,
            journal,
            control: control.clone(),
            resend_before: journaling.resend_after.map(|age| {
                let time = SystemTime::now().checked_sub(age);
                let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
                since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(0))
            }),
            tickets: Mutex::default(),
            twins: Mutex::default(),
            last: Mutex::default(),
            has_warned: AtomicBool::new(false),
        })
    }

    fn mark(&self, row: usize) -> Option<&Mark> {
        self.marks.get(&row)?.as_ref().ok()
    }

    fn tickets(&self) -> MutexGuard<'_, HashMap<usize, Ticket>> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn twins(&self) -> MutexGuard<'_, HashMap<usize, Digest>> {
        self.twins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last(&self) -> MutexGuard<'_, HashMap<Item, (Digest, Outcome)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mark = match notes.marks.get(&row)? {
            Ok(mark) => mark,
            Err(failure) => return Some(failure.clone().into()),
        };
        // Nothing is sent any more: there is nothing to note.
        if notes.control.is_cancelled() {
            return Some(Failure::not_sent().into());
        }
        let digest = mark.district.digest(&**operation, row, request);
        if let Some(outcome) = notes.of_twin(row, mark, digest) {
            return Some(outcome);
        }
        let begun = notes.journal.begin(journal::Write {
            digest,
            target: mark.district.target,
            method: operation.method(),
            key: operation.key(row).map(str::to_owned),
            id: operation.id(row).map(str::to_owned),
            items: mark.items.clone(),
            resend_before: notes.resend_before,
            repeats: operation.repeats(),
        });
        match begun.await {
            Ok(Begun::Go(ticket)) => {
                notes.tickets().insert(row, ticket);
                None
            }
            Ok(Begun::Confirmed(answer)) => Some(confirmed(operation.method(), answer)),
            Ok(Begun::InDoubt) => Some(Failure::new(IN_DOUBT).into()),
            Err(what) => {
                Some(Failure::new(format!("not sent: {}", notes.journal.say(&what))).into())
            }
        }
    }

    fn lost(&self, row: usize) {
        self.0.tickets().remove(&row);
    }

    async fn after(&self, row: usize, outcome: &Outcome) {
        let (notes, operation) = self;
        let ticket = notes.tickets().remove(&row);
        if let Some(ticket) = ticket {
            let ending = match operation.is_there(outcome) {
                true => Ending::Confirmed,
                false => ending(operation.method(), outcome),
            };
            let noted = notes.journal.end(ticket, ending, answer(outcome)).await;
            if let Err(what) = noted
                && !notes.has_warned.swap(true, Ordering::Relaxed)
            {
                notes.control.progress.warn(notes.journal.say(&format!(
                    "{what}; answers that it could not note stand in the result, and are in doubt \
                     in the journal"
                )));
            }
        }
        let digest = notes.twins().remove(&row);
        if let Some(digest) = digest
            && let Some(item) = notes.mark(row).and_then(Mark::item)
        {
            notes.last().insert(item, (digest, outcome.clone()));
        }
    }

    fn idle(&self) {
        self.0.journal.write();
    }
}

/// What is said of a row that must not be sent again.
const IN_DOUBT: &str = "it was sent before, and the journal has no answer to it; it may have been \
    applied (retry_broken=True sends it again)";

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

/// What an outcome tells of the item.
fn ending(method: Method, outcome: &Outcome) -> Ending {
    match (outcome.status.as_deref(), outcome.http_status) {
        (Some(DELETED), _) | (None, Some(200..=299)) => Ending::Confirmed,
        _ if outcome.attempts == 0 => Ending::NotSent,
        (_, None) => Ending::InDoubt,
        // A gateway that gave up, or that answered in place of the ODS.
        (_, Some(200..=299 | 502 | 504)) => Ending::Unclear,
        // The item that it names is not there any more.
        (_, Some(404 | 410)) if method != Method::Post => Ending::Unclear,
        _ => Ending::Refused,
    }
}

/// The districts of a batch, by their URLs as the rows have them. What the metadata of one failed
/// with is what its rows fail with.
async fn districts<O: Write>(
    journal: &Journal,
    operation: &Arc<O>,
    rows: &[usize],
    workers: usize,
) -> Result<HashMap<String, Result<Arc<District>, Failure>>> {
    let mut found: HashMap<&str, Access> = HashMap::new();
    for &row in rows {
        // A row that cannot be sent says nothing of its district.
        let url = operation.district(row).unwrap_or_default();
        if !found.contains_key(url)
            && let Ok(request) = operation.prepare(row)
        {
            found.insert(url, operation.written(&request).0.clone());
        }
    }
    let describe = |(url, access): (&str, Access)| {
        let url = url.to_owned();
        async move {
            let district = District::new(journal, &**operation, &access).await?;
            Ok((url, district.map(Arc::new)))
        }
        .boxed()
    };
    let all: Vec<BoxFuture<'_, Result<_>>> = found.into_iter().map(describe).collect();
    stream::iter(all)
        .buffer_unordered(workers)
        .try_collect()
        .await
}

/// What the journal knows of the rows. Rows that fail by themselves have nothing, where their
/// payloads are looked at.
fn marks<O: Write>(
    operation: &O,
    rows: &[usize],
    districts: &HashMap<String, Result<Arc<District>, Failure>>,
) -> Result<HashMap<usize, Result<Mark, Failure>>> {
    let mark = |&row: &usize| {
        let district = districts.get(operation.district(row).unwrap_or_default())?;
        let mark = match district {
            Ok(district) => District::mark(district, operation, row)?,
            Err(failure) => Err(failure.clone()),
        };
        Some((row, mark))
    };
    let digest = |mark: &Mark, row: usize| {
        let request = operation.prepare(row).ok()?;
        Some(mark.district.digest(operation, row, &request))
    };
    let found: Vec<_> = rows.par_iter().filter_map(mark).collect();
    let mut first: HashMap<Item, usize> = HashMap::with_capacity(found.len());
    let mut marks: HashMap<usize, Result<Mark, Failure>> = HashMap::with_capacity(found.len());
    for (row, mut mark) in found {
        if let Ok(mark) = &mut mark
            && let Some(item) = mark.item()
        {
            let before = *first.entry(item).or_insert(row);
            if before != row
                && let Some(Ok(twin)) = marks.get_mut(&before)
            {
                (twin.has_twins, mark.has_twins) = (true, true);
                if mark.told_by_key {
                    match (digest(twin, before), digest(mark, row)) {
                        // It fails by itself, and is compared with nothing.
                        (None, _) => drop(first.insert(item, row)),
                        (Some(one), Some(other)) if one != other => {
                            return Err(not_unique(before, row));
                        }
                        _ => {}
                    }
                }
            }
        }
        marks.insert(row, mark);
    }
    Ok(marks)
}

fn not_unique(one: usize, other: usize) -> Error {
    Error::Config(format!(
        "rows {one} and {other} have the same key_col and different payloads: where no OpenAPI \
         document tells the natural key of a resource, a journal tells its items apart by key_col, \
         which must be unique"
    ))
}

impl District {
    async fn new<O: Write>(
        journal: &Journal,
        operation: &O,
        access: &Access,
    ) -> Result<Result<Self, Failure>> {
        let identity = match operation.method() {
            // Its rows name their items by id.
            Method::Delete => Ok(None),
            _ => {
                let context = operation.context();
                context.identity(access, operation.endpoint()).await
            }
        };
        let identity = match identity {
            Ok(identity) => identity,
            // Without it, another item could be taken for this one.
            Err(failure) => return Ok(Err(failure)),
        };
        let params = |identity: &Arc<Identity>| {
            let names = identity.fields().iter().map(|field| &*field.param);
            names.collect::<Vec<_>>().join(",")
        };
        let told_by = match (operation.method(), &identity) {
            (Method::Delete, _) => None,
            (_, Some(identity)) => Some(params(identity)),
            (_, None) => Some("key_col".to_owned()),
        };
        let base = access.base.as_url().to_string();
        let target = journal.target(&base, operation.endpoint(), told_by).await;
        Ok(Ok(Self {
            target: target.map_err(|what| Error::Config(journal.say(&what)))?,
            base,
            identity,
        }))
    }

    /// What a row is going to write is known by.
    fn digest<O: Write>(&self, operation: &O, row: usize, request: &O::Request) -> Digest {
        let (_, payload) = operation.written(request);
        Digest::of(&[
            self.base.as_bytes(),
            operation.endpoint().as_bytes(),
            operation.method().word().as_bytes(),
            operation.key(row).unwrap_or_default().as_bytes(),
            operation.id(row).unwrap_or_default().as_bytes(),
            payload,
        ])
    }

    /// What a row is about; nothing where the row fails by itself.
    fn mark<O: Write>(
        district: &Arc<Self>,
        operation: &O,
        row: usize,
    ) -> Option<Result<Mark, Failure>> {
        let target = district.target;
        let by_id = operation.id(row).map(|id| target.item_of_id(id));
        let by_key = match (&district.identity, &by_id) {
            (Some(identity), _) => {
                let request = operation.prepare(row).ok()?;
                let (_, payload) = operation.written(&request);
                // A payload that has no natural key is one that the ODS refuses.
                let natural = identity.key(payload).ok();
                natural.map(|natural| target.item(&natural))
            }
            (None, Some(_)) => None,
            (None, None) => match operation.key(row) {
                Some(key) => Some(target.item(key)),
                None => {
                    return Some(Err(Failure::new(
                        "not sent: the journal tells the items of this resource apart by key_col, \
                         and this row has no key",
                    )));
                }
            },
        };
        Some(Ok(Mark {
            told_by_key: district.identity.is_none() && by_id.is_none(),
            district: district.clone(),
            items: by_id.into_iter().chain(by_key).collect(),
            has_twins: false,
        }))
    }
}
