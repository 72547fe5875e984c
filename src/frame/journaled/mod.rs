//! Batches of writes with a journal: what it says of each row before it is sent, and is told after.
//!
//! An operation that writes implements [`Write`] and sends its rows by [`send_rows`]; its options
//! have a [`JournalOptions`] under the name `journaling`. That is all a call needs.

mod marks;
mod notes;

use std::sync::Arc;

use futures_util::future::join_all;

pub(crate) use self::marks::Told;
use self::marks::{bases, name};
use self::notes::Notes;
pub(crate) use self::notes::Places;
use super::input::Keys;
use super::options::BatchOptions;
use super::outcome::Outcome;
use super::run::{Chain, RowOperation, Workers, chains, for_each_chain, for_each_row};
use crate::client::session::{Access, CallContext};
use crate::journal::{Journal, JournalOptions, Method};
use crate::{Failure, Result, runtime};

/// An operation on rows that a journal can follow.
pub(crate) trait Write: RowOperation<Outcome = Outcome> {
    fn method(&self) -> Method;

    fn context(&self) -> &CallContext;

    /// The resource that is written.
    fn endpoint(&self) -> &str;

    /// The API version that a row says.
    fn api_version(&self, row: usize) -> Option<&str>;

    /// Whether a row of which nobody knows what became of it may be sent again.
    fn repeats(&self, row: usize) -> bool;

    /// Whether the ODS was seen not to have a row as it is, whatever was confirmed before.
    fn is_stale(&self, _row: usize) -> bool {
        false
    }

    /// What becomes of a row that the ODS was seen to have as it is: it is not sent.
    fn seen(&self, _row: usize) -> Option<&Outcome> {
        None
    }

    /// What the caller calls a row.
    fn key(&self, row: usize) -> Option<&str>;

    /// The id of a row's item, where the row names it.
    fn id(&self, row: usize) -> Option<&str>;

    /// What a request writes, and where.
    fn written<'a>(&self, request: &'a Self::Request) -> (&'a Access, &'a [u8]);

    /// What was written before, where the rows are a piece of a frame.
    fn told(&self) -> Option<&Told> {
        None
    }

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
    control.progress.begin(rows.len());
    let mut districts = districts(operation, rows, order_by).await?;
    let is_one = districts.len() < 2;
    let sending = Sending {
        journal: &journal,
        journaling,
        batch,
        workers: &match is_one {
            true => Workers::new(workers),
            false => Workers::shared(workers),
        },
    };
    let mut outcomes = if is_one {
        let rows = districts.pop().unwrap_or_default();
        sending.district(operation, rows, order_by).await?
    } else {
        let sends = districts.into_iter().map(|rows| async move {
            let all: Vec<usize> = rows.iter().map(|(place, _)| *place).collect();
            let sent = sending.district(operation, rows, order_by);
            // What is wrong with one district is no reason for the others.
            sent.await.unwrap_or_else(|error| {
                let failure = Failure::new(format!("not sent: {error}"));
                all.iter().for_each(|_| control.progress.one_done());
                let outcome = |place| (place, failure.clone().into());
                all.into_iter().map(outcome).collect()
            })
        });
        // On the heap: what many districts keep is large.
        let sent: Vec<Vec<_>> = join_all(sends.map(Box::pin)).await;
        sent.into_iter().flatten().collect()
    };
    outcomes.sort_unstable_by_key(|(place, _)| *place);
    // The file is to be closed when the call comes back.
    let _ = runtime::compute(move || drop(journal)).await;
    Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
}

/// The rows of each district, which waits for no other's documents; those together that must go one
/// after another.
async fn districts<O: Write>(
    operation: &Arc<O>,
    rows: &[usize],
    order_by: Option<&Keys>,
) -> Result<Vec<Chain>> {
    let (operation, rows) = (operation.clone(), rows.to_vec());
    let order_by = order_by.cloned();
    let divide = move || {
        let operation = &*operation;
        let bases = bases(operation, &rows);
        let district = |row| {
            let name = name(operation, row);
            // Whoever writes a URL in two ways means one ODS.
            Some(bases.get(&name).ok_or(name))
        };
        chains(&rows, order_by.as_ref(), district)
    };
    runtime::compute(divide).await
}

/// What rows are sent with, and noted in.
#[derive(Clone, Copy)]
struct Sending<'a> {
    journal: &'a Journal,
    journaling: &'a JournalOptions,
    batch: &'a BatchOptions,
    workers: &'a Workers,
}

impl Sending<'_> {
    /// Sends the rows of one district, each with its place in the result of the call.
    async fn district<O: Write>(
        self,
        operation: &Arc<O>,
        rows: Chain,
        order_by: Option<&Keys>,
    ) -> Result<Vec<(usize, Outcome)>> {
        let (places, rows): (Vec<usize>, Vec<usize>) = rows.into_iter().unzip();
        let places_in_journal = Places::new(self.batch.workers);
        let notes = self.notes(operation, &rows, &places_in_journal).await?;
        let mut chains = chains(&rows, order_by, |row| notes.mark(row)?.item());
        for (place, _) in chains.iter_mut().flatten() {
            *place = places[*place];
        }
        Ok(self.chains(operation, chains, notes).await)
    }

    async fn notes<O: Write>(
        self,
        operation: &Arc<O>,
        rows: &[usize],
        places: &Places,
    ) -> Result<Notes> {
        let (journal, permits) = (self.journal.clone(), self.workers.permits());
        Notes::new(
            journal,
            operation,
            rows,
            self.journaling,
            self.batch,
            (permits, places),
        )
        .await
    }

    async fn chains<O: Write>(
        self,
        operation: &Arc<O>,
        chains: Vec<Chain>,
        notes: Notes,
    ) -> Vec<(usize, Outcome)> {
        let observer = (notes, operation.clone());
        for_each_chain(
            operation,
            chains,
            self.workers,
            &self.batch.control,
            observer,
        )
        .await
    }
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
    journal: Option<(&Journal, &Places)>,
    journaling: &JournalOptions,
    batch: &BatchOptions,
) -> Result<Vec<(usize, Outcome)>> {
    let Some((journal, places)) = journal else {
        return Ok(for_each_chain(operation, chains, workers, &batch.control, ()).await);
    };
    let sending = Sending {
        journal,
        journaling,
        batch,
        workers,
    };
    let rows: Vec<usize> = chains.iter().flatten().map(|(_, row)| *row).collect();
    let notes = sending.notes(operation, &rows, places).await?;
    Ok(sending.chains(operation, chains, notes).await)
}
