//! Pages by offset that prove themselves seamless, although the collection moves meanwhile.
//!
//! Pages step by one record less than their size: each must share a record with the page before
//! it, or with any before that. Where each does, the first begins at 0 and the last is short, every
//! record that was there all the time was read, whenever each page came. Take such a record X: if
//! it does not stand before the last page, it is in it, for that page reaches to the end. Else it
//! stands before the record Y that the page shares with an earlier one, and stood there when that
//! one was read, since the order is by key: X is in that page or before it, and so on down to
//! offset 0. Y itself must have kept its key: a record that was changed meanwhile (its `_etag` says
//! so) proves nothing, for it may have moved along. A seam that is broken is mended by reading
//! again what lies around it.
//!
//! A count says only where more pages can be asked for side by side: the end is a short page that
//! a count confirms, or one after which nothing more comes.

use std::collections::VecDeque;
use std::sync::Arc;

use super::keys::{Evidence, Join, RecordKeys, SeenStates};
use super::pages::PageSender;
use super::pieces::Stretch;
use super::prefetch::{Slot, Task, Ticket};
use super::reader::{Ask, FetchedPage, Reader};
use crate::Failure;
use crate::client::paging::{PageError, PageRequest, pages_by_offset};

/// Pages that share a record have two records at least.
const SMALLEST_PAGE: u64 = 2;
/// How many pages may be read again for each page that came: fewer than five requests a page.
const MENDS_PER_PAGE: u64 = 3;
/// The first page may be followed by as many mends as if this many had come.
const PAGES_AT_LEAST: u64 = 5;
/// The same where the server counts more: one burst of deletes at the begin has much read again. No
/// count is good for more than this.
const PAGES_COUNTED: u64 = 20;
/// How many full pages in a row may hold nothing new. More than that is a server that gives the
/// same page again and again, whatever the offset.
const IDLE_PAGES: u32 = 2;
/// The same of short pages: what was read again may end far before what came.
const IDLE_SHORT_PAGES: u32 = 100;
/// The same of full pages that were asked for side by side: what was read again may lie far behind
/// them; and of those among them that are one and the same page.
const IDLE_PAGES_AHEAD: u32 = 1_000;
const SAME_PAGES_AHEAD: u32 = 10;
/// No collection moves by so many records between two requests.
const FAR: u64 = 1_000;

/// The last page of the chain so far.
struct Tail {
    keys: RecordKeys,
    offset: u64,
    end: u64,
    is_short: bool,
    is_confirmed_end: bool,
}

impl Tail {
    fn of(page: &FetchedPage) -> Self {
        Self {
            keys: page.keys.clone(),
            offset: page.offset,
            end: page.end(),
            is_short: page.is_short(),
            is_confirmed_end: page.is_confirmed_end(),
        }
    }

    /// Where the next page begins: with the last record.
    fn next_offset(&self) -> u64 {
        self.end.saturating_sub(1)
    }
}

/// The pages of one district, in their order.
struct Chain<'a, T> {
    reader: &'a Arc<Reader<T>>,
    out: &'a PageSender<T>,
    tail: Tail,
    /// Records a page.
    size: u64,
    /// The Total-Count that came last, and the smallest.
    total: Option<u64>,
    smallest: Option<u64>,
    /// Different records so far.
    records: u64,
    /// Pages that came in the first place, and pages that were read again.
    pages: u64,
    mends: u64,
    /// Pages in a row without anything new.
    idle: u32,
    evidence: Evidence,
    states: SeenStates,
    /// Whether a short page was followed by more records: then none is taken for the last one, not
    /// even where a count says so.
    is_cut: bool,
    /// Whether nothing comes after the tail.
    ended: bool,
}

/// A page on its way.
type Coming = (Task<Result<FetchedPage, PageError>>, Slot);

impl<T: Send + 'static> Reader<T> {
    /// The pages after the first; gives back the smallest count that came, and the number of different
    /// records.
    pub(super) async fn chain(
        self: &Arc<Self>,
        out: &PageSender<T>,
        ticket: &mut Ticket,
        first: FetchedPage,
        slot: Slot,
    ) -> Result<(Option<u64>, u64), Failure> {
        let mut chain = Chain {
            reader: self,
            out,
            tail: Tail::of(&first),
            size: first.limit.max(SMALLEST_PAGE),
            total: first.total,
            smallest: first.total,
            records: 0,
            pages: 1,
            mends: 0,
            idle: 0,
            evidence: Evidence::SameState,
            states: SeenStates::of(&first.keys),
            is_cut: false,
            // A page of nothing at the start is all there is.
            ended: first.page.is_empty() || self.ends_stretch(&first),
        };
        chain.records = self.place(out, first, None, Some(slot)) as u64;
        ticket.called().await;
        let need = self.source.need.unwrap_or(u64::MAX);
        while !chain.is_whole() && chain.records < need {
            match chain.known_end() {
                Some(end) => chain.side_by_side(ticket, end, need).await?,
                None => chain.one_more(ticket).await?,
            }
            if let Some(stretch) = self.stretch() {
                stretch.check_reach(chain.tail.offset)?;
            }
        }
        if let Some(stretch) = self.stretch().filter(|_| chain.is_whole()) {
            stretch.check_end(&chain.tail.keys)?;
        }
        Ok((chain.smallest, chain.records))
    }

    fn stretch(&self) -> Option<&Stretch> {
        self.source.piece.as_ref()?.stretch()
    }

    /// Whether what comes after a page belongs to the next piece.
    fn ends_stretch(&self, page: &FetchedPage) -> bool {
        self.stretch()
            .is_some_and(|stretch| stretch.is_ended_by(&page.keys))
    }
}

impl<T: Send + 'static> Chain<'_, T> {
    fn is_whole(&self) -> bool {
        self.ended || self.tail.is_confirmed_end && !self.is_cut
    }

    /// Up to where pages can be asked for side by side: as far as the server counts, where pages
    /// come as large as they are asked for.
    fn known_end(&self) -> Option<u64> {
        let end = self.reader.stretch().and_then(Stretch::end_offset);
        let total = end.or(self.total).filter(|total| *total > self.tail.end)?;
        (!self.tail.is_short && self.tail.end - self.tail.offset == self.size).then_some(total)
    }

    /// The pages up to `end`, some of them at once, each put after the one before it.
    async fn side_by_side(
        &mut self,
        ticket: &mut Ticket,
        end: u64,
        need: u64,
    ) -> Result<(), Failure> {
        let mut offset = self.tail.next_offset();
        // As many records more as are needed.
        let last = end.min(offset.saturating_add(need - self.records));
        let mut coming: VecDeque<Coming> = VecDeque::new();
        while offset < last || !coming.is_empty() {
            tokio::select! {
                biased;
                page = joined(&mut coming), if !coming.is_empty() => {
                    let slot = coming.pop_front().map(|(_, slot)| slot);
                    let page = page?.map_err(PageError::into_failure)?;
                    self.pages += 1;
                    self.hear(&page);
                    if page.page.is_empty() {
                        // The collection ends before this: what else is on its way is of no use.
                        drop(coming);
                        return self.go_back(page.offset).await;
                    }
                    let (page_offset, is_same) = (page.offset, page.keys.are_same(&self.tail.keys));
                    let (new, _) = self.attach(page, slot).await?;
                    if self.ended {
                        return Ok(());
                    }
                    self.idle = if new > 0 { 0 } else { self.idle + 1 };
                    let most = match is_same {
                        true => SAME_PAGES_AHEAD,
                        false => IDLE_PAGES_AHEAD,
                    };
                    if self.idle > most {
                        return Err(does_not_page(page_offset));
                    }
                }
                slot = self.reader.slot(self.out, ticket), if offset < last => {
                    let is_last = offset.saturating_add(self.size) > end;
                    if is_last && self.reader.source.need.is_none() {
                        ticket.pass();
                    }
                    let reader = self.reader.clone();
                    let ask = self.ask(offset, is_last);
                    let task = Task::spawn(async move { reader.fetch(ask).await });
                    coming.push_back((task, slot));
                    offset = offset.saturating_add(self.size - 1);
                }
            }
        }
        Ok(())
    }

    /// The page that begins with the last record: whether there is one, nobody knows.
    async fn one_more(&mut self, ticket: &Ticket) -> Result<(), Failure> {
        let slot = self.reader.slot(self.out, ticket).await;
        if self.tail.is_short && self.total.is_some_and(|total| total > self.tail.end) {
            // A server may hand out fewer records than it is asked for, without a word.
            let came = self.tail.end - self.tail.offset;
            self.size = came.clamp(SMALLEST_PAGE, self.size);
        }
        let page = self.reader.fetch(self.ask(self.tail.next_offset(), true));
        let page = page.await.map_err(PageError::into_failure)?;
        self.pages += 1;
        self.hear(&page);
        if page.page.is_empty() {
            return self.go_back(page.offset).await;
        }
        let (offset, is_short) = (page.offset, page.is_short());
        let is_same = page.keys.are_same(&self.tail.keys);
        let ends = is_last(&page) || page.len() > page.limit;
        let (new, is_attached) = self.attach(page, Some(slot)).await?;
        if new > 0 {
            self.idle = 0;
            return Ok(());
        }
        self.idle += 1;
        let most = if is_short {
            IDLE_SHORT_PAGES
        } else {
            IDLE_PAGES
        };
        if is_attached && (ends || is_short && is_same && self.is_same_anywhere().await?) {
            self.ended = true;
        } else if self.idle > most {
            return Err(does_not_page(offset));
        }
        Ok(())
    }

    fn ask(&self, offset: u64, count: bool) -> Ask {
        Ask::Offset(PageRequest {
            offset,
            limit: self.size,
            count,
        })
    }

    /// Takes note of what a page says about the number of records.
    fn hear(&mut self, page: &FetchedPage) {
        if let Some(total) = page.total {
            self.total = Some(total);
            self.smallest = Some(self.smallest.map_or(total, |least| least.min(total)));
        }
    }

    /// Whether a page shares a record with the chain. Any page of it will do: from the end of the
    /// chain down to its begin, each shares one with a page that came before it.
    fn continues(&mut self, page: &FetchedPage) -> bool {
        let came_before = || match self.evidence {
            Evidence::SameState => self.states.have_any(&page.keys),
            Evidence::SameId => self.reader.knows_any(&page.keys),
        };
        if self.tail.keys.share_any(&page.keys, self.evidence) || came_before() {
            return true;
        }
        if self.evidence == Evidence::SameState && page.keys.have_all_changed(&self.tail.keys) {
            self.evidence = Evidence::SameId;
            return true;
        }
        false
    }

    /// Puts a page after the tail, and before it what is needed to mend the seam; says how many
    /// new records that brought, and whether the page is in the chain.
    async fn attach(
        &mut self,
        page: FetchedPage,
        slot: Option<Slot>,
    ) -> Result<(u64, bool), Failure> {
        let before = self.records;
        while !self.continues(&page) {
            // After a short page there is nothing to go back for: it only ended early.
            match self.tail.is_short {
                true => self.go_on().await?,
                false => self.go_back(page.offset).await?,
            }
            while !self.ended && !self.continues(&page) && self.tail.next_offset() < page.offset {
                self.go_on().await?;
            }
            // The chain is whole without it where the collection ends before this page now. And
            // what was read again is newer than the page: where it reaches as far, the page is of
            // records that are gone, and the chain goes on without it.
            let is_past = self.tail.next_offset() >= page.offset && !self.continues(&page);
            if self.ended || is_past {
                return Ok((self.records - before, false));
            }
        }
        self.push(page, slot);
        Ok((self.records - before, true))
    }

    /// Reads again from before an offset until a page continues the chain, or is the first of all.
    async fn go_back(&mut self, mut offset: u64) -> Result<(), Failure> {
        // Where pages are cut, what a longer step passes over costs many pages.
        let came = self.tail.end - self.tail.offset;
        let mut step = match self.tail.is_short {
            true => came.clamp(SMALLEST_PAGE, self.size) - 1,
            false => self.size - 1,
        };
        loop {
            offset = offset.saturating_sub(step);
            let page = self.again(offset).await?;
            if offset == 0 && page.page.is_empty() {
                // Nothing is left that could have been there all the time.
                self.ended = true;
                return Ok(());
            }
            let continues = self.continues(&page);
            if offset == 0 && !continues && self.begins_at_seam() {
                return Err(self.moves_too_fast());
            }
            if offset == 0 || continues {
                self.push(page, None);
                return Ok(());
            }
            step = (2 * step).min(self.size - 1);
        }
    }

    /// Reads the page that begins with the last record of the chain.
    async fn go_on(&mut self) -> Result<(), Failure> {
        let page = self.again(self.tail.next_offset()).await?;
        if !self.continues(&page) {
            return self.go_back(page.offset).await;
        }
        let is_last = is_last(&page);
        self.ended |= self.push(page, None) == 0 && is_last;
        Ok(())
    }

    /// A page that mends a seam.
    async fn again(&mut self, offset: u64) -> Result<FetchedPage, Failure> {
        self.mends += 1;
        let counted = pages_by_offset(self.total.unwrap_or(0), self.size);
        let pages = counted.clamp(PAGES_AT_LEAST, PAGES_COUNTED);
        if self.mends > MENDS_PER_PAGE * self.pages.max(pages) {
            return Err(self.moves_too_fast());
        }
        let page = self.reader.fetch(self.ask(offset, true)).await;
        let page = page.map_err(PageError::into_failure)?;
        self.hear(&page);
        Ok(page)
    }

    /// Whether the server gives the records of the tail whatever the offset: it does not page.
    async fn is_same_anywhere(&mut self) -> Result<bool, Failure> {
        let page = self.again(self.tail.end.saturating_add(FAR)).await?;
        Ok(page.keys.are_same(&self.tail.keys))
    }

    fn begins_at_seam(&self) -> bool {
        self.reader.stretch().is_some_and(Stretch::begins_at_seam)
    }

    fn moves_too_fast(&self) -> Failure {
        Failure::new(format!(
            "the collection changes faster than it can be read: after {} pages, {} had to be read \
             again; read it with paging=\"cursor\", or from a snapshot (snapshot=True)",
            self.pages,
            self.mends - 1
        ))
    }

    /// Makes a page the tail, and hands it on; says how many of its records are new.
    fn push(&mut self, page: FetchedPage, slot: Option<Slot>) -> usize {
        let tail = Tail::of(&page);
        self.states.add(&page.keys);
        self.ended |= self.reader.ends_stretch(&page);
        let before = std::mem::replace(&mut self.tail, tail);
        let join = Join {
            before: &before.keys,
            shared: before.end.saturating_sub(page.offset) as usize,
        };
        let new = self.reader.place(self.out, page, Some(join), slot);
        self.is_cut |= before.is_short && new > 0;
        self.records += new as u64;
        new
    }
}

fn does_not_page(offset: u64) -> Failure {
    Failure::new(format!(
        "the page at offset {offset} is one that came before: the server does not page"
    ))
}

/// Whether nothing comes after a page that was asked for from the last record on. A short one of
/// more records may be cut off, and all of it known already.
fn is_last(page: &FetchedPage) -> bool {
    page.is_short() && page.len() <= 1
}

/// The first page on its way, when it is here.
async fn joined(coming: &mut VecDeque<Coming>) -> Result<Result<FetchedPage, PageError>, Failure> {
    match coming.front_mut() {
        Some((task, _)) => task.join().await,
        None => std::future::pending().await,
    }
}
