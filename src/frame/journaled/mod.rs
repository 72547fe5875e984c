//! Batches of writes with a journal: what it says of each row before it is sent, and is told after.
//!
//! An operation that writes implements [`Write`] and sends its rows by [`send_rows`]; its options
//! have a [`JournalOptions`] under the name `journaling`. That is all a call needs.

mod marks;
mod notes;

use std::sync::Arc;

use self::notes::Notes;
use super::input::Keys;
use super::options::BatchOptions;
use super::outcome::Outcome;
use super::run::{Chain, RowOperation, Workers, chains, for_each_chain, for_each_row};
use crate::client::session::{Access, CallContext};
use crate::journal::{Journal, JournalOptions, Method};
use crate::{Result, runtime};

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
