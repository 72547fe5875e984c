//! The one producer of pages: a collection, page by page, ahead of its consumer.
//!
//! The first page tells how to go on: by offset ([`super::chain`]), or by token, partitions side
//! by side. A whole district ([`super::whole`]) and a stream ([`super::stream`]) consume the pages.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::keys::{RecordKeys, SeenRecords};
use super::prefetch::{Entry, Queue, Sender, Slot, Slots, Ticket};
use super::source::{Converted, District, PlacedPage, Source};
use crate::client::paging::{
    Collection, Continuation, FirstPage, PageError, PageRequest, PageTokens, Paging, RawPage,
};
use crate::client::urls;
use crate::columns::Page;
use crate::{Failure, runtime};

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
    /// The first pages of so many districts are fetched ahead; the others of a district when all
    /// those of the one before have been begun.
    pub(super) fn districts(
        self: Arc<Self>,
        districts: Vec<District>,
        ahead: usize,
    ) -> PageQueue<T> {
        Queue::spawn(ahead, |out| async move {
            let tickets = Ticket::row(districts.len());
            for (district, ticket) in districts.into_iter().zip(tickets) {
                let slot = out.slots.acquire().await;
                let queue = self.clone().district(district, ticket);
                out.put(Entry::Queue(queue, Some(slot)));
            }
            Ok(None)
        })
    }

    /// The pages of one district.
    pub(super) fn district(self: Arc<Self>, district: District, ticket: Ticket) -> PageQueue<T> {
        Queue::spawn(self.window.pages, |out| async move {
            let reader = Arc::new(self.reader(district).await?);
            reader.all(&out, ticket).await.map(Some)
        })
    }

    pub(super) async fn reader(self: Arc<Self>, district: District) -> Result<Reader<T>, Failure> {
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
            self,
            district,
        ))
    }
}

/// The reading of one district.
pub(super) struct Reader<T> {
    pub(super) source: Arc<Source<T>>,
    pub(super) district: District,
    collection: Collection,
    seen: Mutex<SeenRecords>,
    arrivals: AtomicU64,
}

/// Which page to ask for.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    Offset(PageRequest),
    Token(String, u64),
}

/// A page that came.
#[derive(Debug)]
pub(super) struct FetchedPage {
    pub(super) page: Page,
    pub(super) keys: RecordKeys,
    /// What was asked for, by offset.
    pub(super) offset: u64,
    pub(super) limit: u64,
    pub(super) total: Option<u64>,
    pub(super) next: Option<String>,
    arrival: u64,
}

impl FetchedPage {
    pub(super) fn len(&self) -> u64 {
        self.page.len() as u64
    }

    /// The offset behind its last record.
    pub(super) fn end(&self) -> u64 {
        self.offset.saturating_add(self.len())
    }

    /// Whether it could have had more records.
    pub(super) fn is_short(&self) -> bool {
        self.len() < self.limit
    }

    /// Whether the server's count says that nothing comes after it.
    pub(super) fn is_confirmed_end(&self) -> bool {
        self.is_short() && self.total == Some(self.end())
    }
}

impl<T: Send + 'static> Reader<T> {
    fn new(collection: Collection, source: Arc<Source<T>>, district: District) -> Self {
        let seen = match source.window.bounded {
            true => SeenRecords::recent(),
            false => SeenRecords::all(),
        };
        Self {
            source,
            district,
            collection,
            seen: Mutex::new(seen),
            arrivals: AtomicU64::new(0),
        }
    }

    /// Puts all pages out; gives back what they can be counted by.
    async fn all(
        self: Arc<Self>,
        out: &PageSender<T>,
        mut ticket: Ticket,
    ) -> Result<Counted<T>, Failure> {
        let slot = self.slot(out, &ticket).await;
        let need = self.source.need;
        // A count costs the server more than a page: not where one page is enough.
        let is_part = need.is_some_and(|need| need <= self.source.limit);
        let first = self.first(!is_part).await?;
        let total = first.total;
        let enough = need.is_some_and(|need| first.len() >= need);
        if enough || first.is_confirmed_end() {
            self.place(out, first, None, Some(slot));
            ticket.called().await;
            return Ok(self.counted(ticket, total, false));
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
                let total = self.chain(out, &mut ticket, first, slot).await?;
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
            Some(shared) if ticket.is_up() => &shared.pages,
            _ => &out.slots,
        }
    }

    pub(super) async fn slot(&self, out: &PageSender<T>, ticket: &Ticket) -> Slot {
        self.slots(out, ticket).acquire().await
    }

    fn counted(self: Arc<Self>, ticket: Ticket, total: Option<u64>, early: bool) -> Counted<T> {
        let is_part = self.source.need.is_some();
        Counted {
            total,
            early,
            reader: self,
            _ticket: is_part.then_some(ticket),
        }
    }

    fn seen(&self) -> MutexGuard<'_, SeenRecords> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether any record of a page came before.
    pub(super) fn knows_any(&self, keys: &RecordKeys) -> bool {
        self.seen().knows_any(keys)
    }

    /// Hands a page on; says how many of its records are new. `before` is the page that it
    /// continues, with the number of records that they should share.
    pub(super) fn place(
        &self,
        out: &PageSender<T>,
        page: FetchedPage,
        before: Option<(&RecordKeys, usize)>,
        slot: Option<Slot>,
    ) -> usize {
        let repeated = self.seen().add(&page.keys, before);
        let placed = PlacedPage {
            page: page.page,
            repeated,
            arrival: page.arrival,
            district: self.district.number,
        };
        let new = placed.new_records();
        out.put(match (self.source.convert)(placed) {
            Converted::Ready(result) => Entry::Ready(result, slot),
            Converted::Pending(task) => Entry::Pending(task, slot),
        });
        new
    }

    /// The first page, as large as the server allows.
    pub(super) async fn first(self: &Arc<Self>, count: bool) -> Result<FetchedPage, Failure> {
        let source = &self.source;
        if let Some(first) = source.opening_of(self.district.number) {
            return Ok(first);
        }
        let mut limit = source.need.unwrap_or(u64::MAX).min(source.limit).max(1);
        loop {
            let request = PageRequest {
                offset: 0,
                limit,
                count,
            };
            match self.fetch(Ask::Offset(request)).await {
                Ok(page) => return Ok(page),
                Err(PageError::LimitTooLarge(allowed)) if allowed < limit => {
                    let base = urls::shown(self.district.access.base.as_url());
                    log::info!("{base}: the server allows pages of {allowed} records only");
                    limit = allowed;
                }
                Err(error) => return Err(error.into_failure()),
            }
        }
    }

    /// The partitions, side by side, each after the one before.
    async fn partitions(self: &Arc<Self>, out: &PageSender<T>, size: u64, tokens: Vec<String>) {
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
            self.place(out, page, None, Some(slot));
            match next {
                Some(next) => tokens.advance(next, records)?,
                None => break,
            }
        }
        Ok(())
    }

    /// Fetches a page when its turn has come, and takes it apart.
    pub(super) async fn fetch(self: &Arc<Self>, ask: Ask) -> Result<FetchedPage, PageError> {
        let source = &self.source;
        let (context, access) = (&source.context, &self.district.access);
        let _undecoded = source.undecoded.acquire().await;
        let fetch = async {
            match &ask {
                Ask::Offset(page) => self.collection.fetch(context, access, *page).await,
                Ask::Token(token, size) => {
                    let fetch = self.collection.fetch_at(context, access, token, *size);
                    fetch.await
                }
            }
        };
        let raw = source.requests.run(fetch).await?;
        let arrival = self.arrivals.fetch_add(1, Ordering::Relaxed);
        let reader = self.clone();
        let decoded = runtime::compute(move || reader.decode(ask, raw, arrival)).await;
        Ok(decoded.unwrap_or_else(|error| Err(Failure::new(error.to_string())))?)
    }

    fn decode(&self, ask: Ask, raw: RawPage, arrival: u64) -> Result<FetchedPage, Failure> {
        let RawPage {
            answer,
            total,
            next,
        } = raw;
        let decoders = &self.source.decoders;
        let decoded = decoders.decode(&answer.body).and_then(|page| {
            let keys = decoders.keys(&page, &answer.body, self.source.by_version)?;
            Ok((page, keys))
        });
        let (page, keys) = decoded.map_err(|error| answer.unusable(&error.to_string()))?;
        let (offset, limit) = match ask {
            Ask::Offset(request) => (request.offset, request.limit),
            Ask::Token(_, size) => (0, size),
        };
        Ok(FetchedPage {
            page,
            keys,
            offset,
            limit,
            total,
            next,
            arrival,
        })
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
    format!("{records} records came where the server counts {total}")
}
