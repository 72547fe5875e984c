//! A collection in parts, each read by its own chain of pages, side by side: the records of one value
//! each ([`super::filter`]), or those of a window of change versions ([`super::windows`]).

use std::sync::Arc;

use tokio::sync::oneshot;

use super::filter::Alternatives;
use super::pages::{PageSender, short};
use super::prefetch::{Entry, Queue, Slots, Ticket};
use super::reader::{FetchedPage, Reader};
use crate::Failure;
use crate::client::paging::pages_by_offset;

/// Where nobody counts the records, so many values are asked for.
const SOME_VALUES: usize = 20;

/// Tells when a part was read.
pub(super) type Done = oneshot::Receiver<()>;

impl Alternatives {
    /// Whether to ask for each value takes fewer requests than what comes after the first page.
    pub(super) fn are_worth_it(&self, first: &FetchedPage) -> bool {
        let values = self.values.len();
        match first.total {
            Some(total) => (values as u64) < pages_by_offset(total, first.limit) - 1,
            None => values <= SOME_VALUES,
        }
    }
}

impl<T: Send + 'static> Reader<T> {
    /// Puts the records of each value out instead of all that come after the first page. Gives that
    /// back where it is the better way to go on.
    pub(super) async fn by_value(
        self: &Arc<Self>,
        out: &PageSender<T>,
        alternatives: &Alternatives,
        first: FetchedPage,
    ) -> Result<Option<FetchedPage>, Failure> {
        if !alternatives.are_worth_it(&first) {
            return Ok(Some(first));
        }
        let Alternatives {
            filter,
            param,
            values,
        } = alternatives;
        let part = |number: usize| {
            let params = [(param.clone(), values[number].clone())];
            let base = self.base.clone().with_params(&params);
            let (plain, only) = (Some(self.base.clone()), Some((*filter, number)));
            Arc::new(self.part(base, self.versions, plain, only))
        };
        let (begun, page) = part(0).begin(true).await?;
        // A server that does not know the parameter, or not this value, gives everything.
        if begun.plain.is_none() || page.keys.are_same(&first.keys) {
            return Ok(Some(first));
        }
        drop(first);
        let slots = self.part_slots();
        let mut begun = Some((begun, page));
        for number in 0..values.len() {
            let (reader, page) = match begun.take() {
                Some((reader, page)) => (reader, Some(page)),
                None => (part(number), None),
            };
            drop(self.put_part(out, &slots, reader, page).await);
        }
        Ok(None)
    }

    /// The slots of parts that are read ahead.
    pub(super) fn part_slots(&self) -> Arc<Slots> {
        let window = &self.source.window;
        match &window.shared {
            Some(shared) => shared.partitions.clone(),
            None => Slots::new(window.partitions),
        }
    }

    /// Begins to read a part, in its place behind those before it.
    pub(super) async fn put_part(
        &self,
        out: &PageSender<T>,
        slots: &Arc<Slots>,
        part: Arc<Self>,
        first: Option<FetchedPage>,
    ) -> Done {
        let slot = slots.acquire().await;
        let (tell, done) = oneshot::channel();
        let queue = Queue::spawn(self.source.window.part_pages, |out| async move {
            part.read(&out, first).await?;
            // Perhaps nobody waits for it.
            let _ = tell.send(());
            Ok(None)
        });
        out.put(Entry::Queue(queue, Some(slot)));
        done
    }

    /// Reads a part; once more where fewer records came than its server counts.
    async fn read(
        self: Arc<Self>,
        out: &PageSender<T>,
        first: Option<FetchedPage>,
    ) -> Result<(), Failure> {
        let Some(missing) = self.clone().read_once(out, first).await? else {
            return Ok(());
        };
        log::info!("{missing}; reading once more");
        let (base, plain) = (self.base.clone(), self.plain.clone());
        let again = self.part(base, self.versions, plain, self.only);
        match Arc::new(again).read_once(out, None).await? {
            Some(missing) if self.source.short_is_error => Err(Failure::new(missing)),
            // Of windows the district's own count tells it.
            Some(missing) if self.only.is_some() => {
                let progress = &self.source.context.control.progress;
                progress.warn(format!("{}: {missing}", self.source.path));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Reads a part; says so where fewer records came than its server counts.
    async fn read_once(
        self: Arc<Self>,
        out: &PageSender<T>,
        first: Option<FetchedPage>,
    ) -> Result<Option<String>, Failure> {
        let slot = out.slots.acquire().await;
        let (reader, first) = match first {
            Some(first) => (self, first),
            None => self.begin(true).await?,
        };
        let (total, records) = match first.is_confirmed_end() {
            true => (
                first.total,
                reader.place(out, first, None, Some(slot)) as u64,
            ),
            false => reader.chain(out, &mut Ticket::alone(), first, slot).await?,
        };
        let total = total.unwrap_or(0);
        Ok((records < total).then(|| short(records, total)))
    }
}
