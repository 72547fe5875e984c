//! The one producer of pages: a collection, page by page, ahead of its consumer.
//!
//! The first page tells how to go on: by offset ([`super::chain`]), or by token, partitions side
//! by side. A whole district ([`super::whole`]) and a stream ([`super::stream`]) consume the pages.

use std::sync::Arc;
use std::time::Duration;

use super::filter::Sent;
use super::keys::Join;
use super::pieces::Piece;
use super::prefetch::{Entry, Queue, Sender, Slot, Slots, Ticket};
use super::reader::{Ask, FetchedPage, Reader};
use super::source::{Converted, District, FIRST_PAGES_AHEAD, PlacedPage, Source};
use crate::Failure;
use crate::client::paging::{Collection, Continuation, FirstPage, PageError, PageTokens, Paging};
use crate::runtime::lock;

/// How long a consumer waits before more districts begin than there are workers.
const BREATH: Duration = Duration::from_millis(5);

/// How many records a district must have, as far as its server said.
pub(super) struct Counted<T> {
    /// The smallest Total-Count that came: what was added meanwhile is no loss.
    total: Option<u64>,
    /// Whether that was with the first of many pages: no page by token brings one.
    early: bool,
    reader: Arc<Reader<T>>,
    /// Where so many records may be enough, the next district begins when this one was counted.
    _ticket: Option<Ticket>,
}

pub(super) type PageQueue<T> = Queue<T, Option<Counted<T>>>;
pub(super) type PageSender<T> = Sender<T, Option<Counted<T>>>;

impl<T: Send + 'static> Source<T> {
    /// The pages of all these districts, one district after another, the beginnings of `ahead` of
    /// them side by side.
    ///
    /// The first pages of so many districts are fetched ahead, and of more while the consumer waits
    /// and nothing is asked; the others of a district when all those of the one before have been
    /// begun.
    pub(super) fn districts(
        self: Arc<Self>,
        districts: Vec<District>,
        ahead: usize,
    ) -> PageQueue<T> {
        Queue::spawn(ahead, |out| async move {
            let tickets = Ticket::row(districts.len());
            let further = Slots::new(FIRST_PAGES_AHEAD);
            for (district, ticket) in districts.into_iter().zip(tickets) {
                let slot = tokio::select! {
                    biased;
                    slot = out.slots.acquire() => slot,
                    slot = self.slot_of_idle(&out, &further) => slot,
                };
                let queue = self.clone().district(district, ticket);
                out.put(Entry::Queue(queue, Some(slot)));
            }
            Ok(None)
        })
    }

    /// Waits for a slot of these until it serves the consumer to go further ahead: it waits for a
    /// district that does not answer, while those that answered are done.
    async fn slot_of_idle(&self, out: &PageSender<T>, further: &Arc<Slots>) -> Slot {
        let slot = further.acquire().await;
        let mut is_awaited = out.is_awaited.clone();
        loop {
            // Without a consumer this task is about to be stopped.
            let _ = is_awaited.wait_for(|is| *is).await;
            // What was begun before asks meanwhile.
            tokio::time::sleep(BREATH).await;
            if *is_awaited.borrow() && self.requests.are_idle() {
                return slot;
            }
        }
    }

    /// The pages of one district.
    pub(super) fn district(self: Arc<Self>, district: District, ticket: Ticket) -> PageQueue<T> {
        Queue::spawn(self.window.pages, |out| async move {
            let reader = Arc::new(self.clone().reader(district).await?);
            let counted = match &self.piece {
                Some(piece) => reader.piece(&out, ticket, piece).await,
                None => reader.all(&out, ticket).await,
            };
            counted.map(Some)
        })
    }

    async fn sent_to(&self, district: &District) -> Sent {
        Sent::of(
            &self.filters,
            district,
            (&self.context, &self.requests),
            (&self.path, &self.separator),
            &self.params,
        )
        .await
    }

    pub(super) async fn reader(self: Arc<Self>, district: District) -> Result<Reader<T>, Failure> {
        if let Some(unchecked) = &self.unchecked {
            let calls = (&*self.context, &self.requests);
            unchecked.check(calls, &district, &self.path).await?;
        }
        let sent = match &self.piece {
            Some(Piece::Asked(sent)) => sent.clone(),
            _ => self.sent_to(&district).await,
        };
        let access = &district.access;
        let locate = async {
            let root = self.context.data_root(access).await?;
            let snapshot = self.context.snapshot(access, self.snapshot).await?;
            Ok::<_, Failure>(Collection {
                url: root.join(&self.path),
                snapshot,
            })
        };
        let collection = self.requests.run(locate).await?;
        Ok(Reader::new(
            collection.with_params(&self.params),
            sent,
            self,
            district,
        ))
    }
}

impl<T: Send + 'static> Reader<T> {
    /// Puts all pages out; gives back what they can be counted by.
    pub(super) async fn all(
        mut self: Arc<Self>,
        out: &PageSender<T>,
        mut ticket: Ticket,
    ) -> Result<Counted<T>, Failure> {
        let slot = self.slot(out, &ticket).await;
        let need = self.source.need;
        // A count costs the server more than a page: not where one page is enough.
        let is_part = need.is_some_and(|need| need <= self.source.limit);
        let mut first;
        (self, first) = self.begin(!is_part).await?;
        let total = first.total;
        let enough = need.is_some_and(|need| first.len() >= need);
        if enough || first.is_confirmed_end() {
            self.place(out, first, None, Some(slot));
            ticket.called().await;
            return Ok(self.counted(ticket, total, false));
        }
        if let Some(alternatives) = self.sent.alternatives.clone() {
            ticket.called().await;
            first = match self.by_value(out, &alternatives, first).await? {
                Some(first) => first,
                None => return Ok(self.counted(ticket, None, false)),
            };
        }
        if let Some(total) = self.may_have_windows(total, first.next.is_some()) {
            ticket.called().await;
            if self.windows(out, total).await? {
                return Ok(self.counted(ticket, Some(total), true));
            }
        }
        match self.continuation(&first).await? {
            Continuation::Partitions(tokens) => {
                drop(slot);
                let size = first.limit;
                drop(first);
                ticket.called().await;
                self.partitions(out, size, tokens).await;
                Ok(self.counted(ticket, total, true))
            }
            Continuation::Token(token) => {
                let (size, came) = (first.limit, first.len());
                self.place(out, first, None, Some(slot));
                ticket.called().await;
                let slots = self.slots(out, &ticket).clone();
                self.by_token(out, &slots, size, came, token).await?;
                Ok(self.counted(ticket, total, true))
            }
            Continuation::Offset => {
                let (total, _) = self.chain(out, &mut ticket, first, slot).await?;
                Ok(self.counted(ticket, total, false))
            }
            Continuation::Done => Ok(self.counted(ticket, total, false)),
        }
    }

    async fn continuation(&self, first: &FetchedPage) -> Result<Continuation, Failure> {
        let source = &self.source;
        match (&first.next, source.paging) {
            // A part of the records is not worth the partitions of the whole.
            (Some(next), Paging::Auto | Paging::Cursor) if source.need.is_some() => {
                Ok(Continuation::Token(next.clone()))
            }
            (next, paging) => {
                let first = FirstPage {
                    records: first.len(),
                    limit: first.limit,
                    total: first.total,
                    next: next.clone(),
                };
                let (context, access) = (&source.context, &self.district.access);
                let requests = &source.requests;
                self.collection
                    .continuation(context, access, requests, paging, first)
                    .await
            }
        }
    }

    /// The slots for pages: the queue's own while others have the right to those that are shared.
    fn slots<'a>(&'a self, out: &'a PageSender<T>, ticket: &Ticket) -> &'a Arc<Slots> {
        match &self.source.window.shared {
            Some(shared) if ticket.is_up() && !self.is_part => &shared.pages,
            _ => &out.slots,
        }
    }

    pub(super) async fn slot(&self, out: &PageSender<T>, ticket: &Ticket) -> Slot {
        self.slots(out, ticket).acquire().await
    }

    pub(super) fn counted(
        self: Arc<Self>,
        ticket: Ticket,
        total: Option<u64>,
        early: bool,
    ) -> Counted<T> {
        let is_part = self.source.need.is_some();
        Counted {
            total,
            early,
            reader: self,
            _ticket: is_part.then_some(ticket),
        }
    }

    /// Hands a page on; says how many of its records are new.
    pub(super) fn place(
        &self,
        out: &PageSender<T>,
        page: FetchedPage,
        join: Option<Join<'_>>,
        slot: Option<Slot>,
    ) -> usize {
        let (in_chain, repeated) = self.note(&page.keys, join);
        let new = page.page.len() - in_chain.count();
        let repeated = match &self.source.piece {
            Some(piece) => piece.cut(&page.keys, repeated, &mut lock(&self.begin)),
            None => repeated,
        };
        let placed = PlacedPage {
            page: page.page,
            repeated,
            arrival: page.arrival,
            district: self.district.number,
            only: self
                .only
                .map(|(filter, value)| (filter, value, self.whole.clone())),
        };
        out.put(match (self.source.convert)(placed) {
            Converted::Ready(result) => Entry::Ready(result, slot),
            Converted::Pending(task) => Entry::Pending(task, slot),
        });
        new
    }

    /// The partitions, side by side, each after the one before.
    pub(super) async fn partitions(
        self: &Arc<Self>,
        out: &PageSender<T>,
        size: u64,
        tokens: Vec<String>,
    ) {
        let window = &self.source.window;
        let slots = match &window.shared {
            Some(shared) => shared.partitions.clone(),
            None => Slots::new(window.partitions),
        };
        for token in tokens {
            let slot = slots.acquire().await;
            let reader = self.clone();
            let queue = Queue::spawn(window.partition_pages, |out| async move {
                reader.by_token(&out, &out.slots, size, 0, token).await?;
                Ok(None)
            });
            out.put(Entry::Queue(queue, Some(slot)));
        }
    }

    /// The pages from a token on, one after another. Only a page without a token for the next is
    /// the last: a short one, even an empty one, may stand in the middle.
    async fn by_token(
        self: &Arc<Self>,
        out: &PageSender<T>,
        slots: &Arc<Slots>,
        mut size: u64,
        mut came: u64,
        token: String,
    ) -> Result<(), Failure> {
        let need = self.source.need.unwrap_or(u64::MAX);
        let mut tokens = PageTokens::new(token);
        while came < need {
            let slot = slots.acquire().await;
            let mut page = loop {
                let ask = Ask::Token(tokens.current().to_owned(), size);
                match self.fetch(ask).await {
                    Ok(page) => break page,
                    Err(PageError::LimitTooLarge(allowed)) if allowed < size => size = allowed,
                    Err(error) => return Err(error.into_failure()),
                }
            };
            let next = page.next.take();
            let records = page.len();
            came += records;
            let is_new = records > 0 && !self.knows_all(&page.keys);
            self.place(out, page, None, Some(slot));
            match next {
                Some(next) => tokens.advance(next, records, is_new)?,
                None => break,
            }
        }
        Ok(())
    }
}

impl<T: Send + 'static> Counted<T> {
    /// What the server counts, if it is more than the records that came.
    pub(super) async fn missing(&self, records: u64) -> Result<Option<u64>, Failure> {
        let mut total = self.total.unwrap_or(0);
        if self.early && records < total {
            // Records may have gone since that count.
            let Reader {
                source,
                district,
                collection,
                ..
            } = &*self.reader;
            let count = collection.count(&source.context, &district.access);
            let count = source.requests.run(count).await?;
            total = count.unwrap_or(total).min(total);
        }
        Ok((records < total).then_some(total))
    }

    /// The smallest number of records that the server counted.
    pub(super) fn total(&self) -> Option<u64> {
        self.total
    }

    /// The district that this is about.
    pub(super) fn district(&self) -> usize {
        self.reader.district.number
    }
}

/// What is said of a district with fewer records than its server counts.
pub(super) fn short(records: u64, total: u64) -> String {
    let came = match records {
        1 => "1 record".to_owned(),
        _ => format!("{records} records"),
    };
    format!("{came} came where the server counts {total}")
}
