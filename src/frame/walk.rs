//! The pages of one district, fetched and decoded ahead of the one who takes them.
//!
//! As a whole district is read ([`super::district`]), but page by page: nothing is kept of a page
//! that was taken, so a record that comes again later is not noticed, and the rows are counted.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::ahead::{Item, Lane, Out, Place, Places, Task, Turn};
use super::district::digest;
use crate::client::paging::{
    Collection, FirstPage, PageError, PageRequest, Paging, RawPage, Walk as Tokens, Way,
};
use crate::client::session::{Access, CallContext};
use crate::client::transport::Body;
use crate::columns::{Page, PageDecoder};
use crate::{Failure, Result, runtime};

/// So many pages of a partition may wait until it is its turn.
const PARTITION_PAGES: usize = 4;

/// What a page becomes; the number tells the district that it is of.
pub(super) type Make<T> = Box<dyn Fn(Page, usize) -> Result<Made<T>> + Send + Sync>;

/// What a page became.
#[derive(Debug)]
pub(super) struct Made<T> {
    pub(super) body: T,
    /// The records that have something in `_unknown`, as far as that was looked at.
    pub(super) odd: usize,
}

/// What is the same for all districts of one scan.
pub(super) struct Scanning<T> {
    pub(super) context: CallContext,
    pub(super) endpoint: String,
    pub(super) params: Vec<(String, String)>,
    pub(super) snapshot: bool,
    pub(super) limit: u64,
    pub(super) workers: usize,
    pub(super) paging: Paging,
    /// No more records than these are needed.
    pub(super) need: Option<u64>,
    pub(super) decoders: Decoders,
    pub(super) make: Make<T>,
    /// Requests in flight.
    pub(super) requests: Semaphore,
    /// Pages ahead. Only the district whose turn it is takes these places, so that nobody waits for
    /// one that is held by something to be taken later.
    pub(super) pages: Arc<Places>,
    /// Partitions ahead; their pages have places of their own.
    pub(super) partitions: Arc<Places>,
}

/// One page, made into something.
#[derive(Debug)]
pub(super) struct Piece<T> {
    pub(super) made: Made<T>,
    pub(super) records: u64,
    total: Option<u64>,
    next: Option<String>,
    /// Tells equal pages apart from others where there is no count to end by.
    digest: u64,
}

/// One ODS to read.
#[derive(Debug, Clone)]
pub(super) struct District {
    pub(super) number: usize,
    pub(super) access: Access,
}

/// How many records a district had to have, as far as its server said.
pub(super) struct Count<T> {
    total: Option<u64>,
    /// Whether that was said with the first of many pages.
    early: bool,
    walk: Arc<Walk<T>>,
    /// Where so many records may be enough, the next district begins when this one was counted.
    _turn: Option<Turn>,
}

pub(super) type Pieces<T> = Lane<Piece<T>, Option<Count<T>>>;
type Pieced<T> = Out<Piece<T>, Option<Count<T>>>;

/// Decoders that are not at work; each keeps its memory from page to page.
pub(super) struct Decoders {
    make: Box<dyn Fn() -> PageDecoder + Send + Sync>,
    idle: Mutex<Vec<PageDecoder>>,
}

impl Decoders {
    pub(super) fn new(make: impl Fn() -> PageDecoder + Send + Sync + 'static) -> Self {
        Self {
            make: Box::new(make),
            idle: Mutex::default(),
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<PageDecoder>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn decode(&self, body: &Body) -> Result<Page> {
        let idle = self.idle().pop();
        let mut decoder = idle.unwrap_or_else(&self.make);
        let page = decoder.decode_parts(body.parts());
        self.idle().push(decoder);
        page
    }
}

impl<T: Send + 'static> Scanning<T> {
    /// The pages of all these districts, one district after another.
    ///
    /// The first pages of as many districts as there are workers are fetched ahead; the others of
    /// a district when all those of the one before have been begun.
    pub(super) fn districts(self: Arc<Self>, districts: Vec<District>) -> Pieces<T> {
        Lane::spawn(self.workers, |out| async move {
            let turns = Turn::row(districts.len());
            for (district, turn) in districts.into_iter().zip(turns) {
                let place = out.places.place().await;
                let scanning = self.clone();
                let lane = Lane::spawn(1, |out| scanning.district(district, out, turn));
                out.put(Item::Lane(lane, place));
            }
            Ok(None)
        })
    }

    async fn district(
        self: Arc<Self>,
        district: District,
        out: Pieced<T>,
        turn: Turn,
    ) -> Result<Option<Count<T>>, Failure> {
        Arc::new(self.walk(district).await?)
            .all(&out, turn)
            .await
            .map(Some)
    }

    /// The first page of a district, with or without the count.
    pub(super) async fn first(self: Arc<Self>, district: District) -> Result<T, Failure> {
        let walk = Arc::new(self.walk(district).await?);
        let (_, first) = walk.first(true).await?;
        Ok(first.made.body)
    }

    async fn walk(self: Arc<Self>, district: District) -> Result<Walk<T>, Failure> {
        let access = &district.access;
        let collection = {
            let _request = self.requests.acquire().await;
            let root = self.context.data_root(access).await?;
            Collection {
                url: root.join(&self.endpoint),
                snapshot: self.context.snapshot(access, self.snapshot).await?,
            }
        };
        Ok(Walk {
            collection: collection.with_params(&self.params),
            scanning: self,
            district,
        })
    }
}

/// The reading of one district.
pub(super) struct Walk<T> {
    scanning: Arc<Scanning<T>>,
    district: District,
    collection: Collection,
}

/// Which page to ask for.
enum Ask {
    Offset(PageRequest),
    Token(String, u64),
}

impl<T: Send + 'static> Walk<T> {
    /// Puts all pages out; gives back what they can be counted by.
    async fn all(self: Arc<Self>, out: &Pieced<T>, mut turn: Turn) -> Result<Count<T>, Failure> {
        let place = self.place(out, &turn).await;
        let need = self.scanning.need;
        let count = need.is_none_or(|need| need > self.scanning.limit);
        let (mut limit, mut first) = self.first(count).await?;
        if let Some(need) = need
            && !count
        {
            if first.records == 0 || first.records >= need {
                out.put(Item::Ready(first, place));
                return Ok(self.counted(turn, None, false));
            }
            // Either these are all records, or the server gives smaller pages without a word.
            (limit, first) = self.first(true).await?;
        }
        let (total, came) = (first.total, first.records);
        let way = match (&first.next, self.scanning.paging) {
            // A part of the records is not worth the partitions of the whole.
            (Some(next), Paging::Auto | Paging::Cursor)
                if need.is_some() && total.is_none_or(|total| total > came) =>
            {
                Way::Token(next.clone())
            }
            (next, paging) => {
                let first = FirstPage {
                    records: came,
                    limit,
                    total,
                    next: next.clone(),
                };
                let scanning = &self.scanning;
                let (context, requests) = (&scanning.context, &scanning.requests);
                let access = &self.district.access;
                let way = self
                    .collection
                    .way(context, access, requests, paging, first);
                way.await?
            }
        };
        if let Way::Partitions(tokens) = way {
            drop((first, place));
            turn.come().await;
            self.partitions(out, limit, tokens).await;
            return Ok(self.counted(turn, total, true));
        }
        let digest = first.digest;
        out.put(Item::Ready(first, place));
        turn.come().await;
        match (way, total) {
            (Way::Done | Way::Partitions(_), _) => Ok(self.counted(turn, total, false)),
            (Way::Token(token), _) => {
                self.by_token(out, &self.scanning.pages, limit, came, token)
                    .await?;
                Ok(self.counted(turn, total, true))
            }
            (Way::Offset, Some(total)) => {
                let total = self.by_offset(out, &mut turn, limit, came, total).await?;
                Ok(self.counted(turn, Some(total), false))
            }
            (Way::Offset, None) => {
                self.one_by_one(out, limit, came, digest).await?;
                Ok(self.counted(turn, None, false))
            }
        }
    }

    /// A place for a page: the lane's own one while others have the right to those that are shared.
    async fn place(&self, out: &Pieced<T>, turn: &Turn) -> Place {
        match turn.is_here() {
            true => self.scanning.pages.place().await,
            false => out.places.place().await,
        }
    }

    fn counted(self: Arc<Self>, turn: Turn, total: Option<u64>, early: bool) -> Count<T> {
        let is_part = self.scanning.need.is_some();
        Count {
            total,
            early,
            walk: self,
            _turn: is_part.then_some(turn),
        }
    }

    /// The first page, and how large it was allowed to be.
    async fn first(self: &Arc<Self>, count: bool) -> Result<(u64, Piece<T>), Failure> {
        let scanning = &self.scanning;
        let mut limit = scanning.need.unwrap_or(u64::MAX).min(scanning.limit).max(1);
        loop {
            let page = PageRequest {
                offset: 0,
                limit,
                count,
            };
            match self.page(Ask::Offset(page)).await {
                Ok(page) => return Ok((limit, page)),
                Err(PageError::LimitTooLarge(allowed)) if allowed < limit => {
                    log::info!("the server allows pages of {allowed} records only");
                    limit = allowed;
                }
                Err(error) => return Err(error.into_failure()),
            }
        }
    }

    /// The pages after the first, side by side; gives back the count that came with the last.
    async fn by_offset(
        self: &Arc<Self>,
        out: &Pieced<T>,
        turn: &mut Turn,
        limit: u64,
        came: u64,
        mut total: u64,
    ) -> Result<u64, Failure> {
        // A server may hand out fewer records than it was asked for without a word.
        let step = if came == 0 { limit } else { came.min(limit) };
        let need = self.scanning.need.unwrap_or(u64::MAX);
        let mut offset = step;
        while offset < total.min(need) {
            let is_last = offset + step >= total;
            let place = self.place(out, turn).await;
            if is_last && self.scanning.need.is_none() {
                turn.pass();
            }
            let page = PageRequest {
                offset,
                limit: step,
                count: is_last,
            };
            offset += step;
            if is_last {
                // The count may have grown meanwhile; then there are more pages.
                let page = self.page(Ask::Offset(page)).await;
                let page = page.map_err(PageError::into_failure)?;
                let counted = page.total;
                out.put(Item::Ready(page, place));
                match counted {
                    Some(counted) => total = counted,
                    None => break,
                }
            } else {
                let walk = self.clone();
                let task = Task::spawn(async move {
                    let page = walk.page(Ask::Offset(page)).await;
                    page.map_err(PageError::into_failure)
                });
                out.put(Item::Coming(task, place));
            }
        }
        Ok(total)
    }

    /// Without a count: page after page until a short one. A server that does not page at all
    /// would give the same page for ever: all of its records, or the first of them again and again.
    async fn one_by_one(
        self: &Arc<Self>,
        out: &Pieced<T>,
        limit: u64,
        mut came: u64,
        digest: u64,
    ) -> Result<(), Failure> {
        let need = self.scanning.need.unwrap_or(u64::MAX);
        let mut digests = HashSet::from([digest]);
        let mut offset = limit;
        while came >= limit && offset < need {
            let place = self.scanning.pages.place().await;
            let page = PageRequest {
                offset,
                limit,
                count: true,
            };
            let next = self.page(Ask::Offset(page)).await;
            let next = next.map_err(PageError::into_failure)?;
            if next.records > 0 && !digests.insert(next.digest) {
                if came > limit {
                    break;
                }
                return Err(Failure::new(format!(
                    "the page at offset {offset} is one that came before: the server does not page"
                )));
            }
            came = next.records;
            offset += limit;
            out.put(Item::Ready(next, place));
        }
        Ok(())
    }

    /// The partitions, side by side, each after the one before.
    async fn partitions(self: &Arc<Self>, out: &Pieced<T>, size: u64, tokens: Vec<String>) {
        for token in tokens {
            let place = self.scanning.partitions.place().await;
            let walk = self.clone();
            let lane = Lane::spawn(PARTITION_PAGES, |out| async move {
                walk.by_token(&out, &out.places, size, 0, token).await?;
                Ok(None)
            });
            out.put(Item::Lane(lane, place));
        }
    }

    /// The pages from a token on, one after another. Only a page without a token for the next is
    /// the last: a short one, even an empty one, may stand in the middle.
    async fn by_token(
        self: &Arc<Self>,
        out: &Pieced<T>,
        places: &Arc<Places>,
        mut size: u64,
        mut came: u64,
        token: String,
    ) -> Result<(), Failure> {
        let need = self.scanning.need.unwrap_or(u64::MAX);
        let mut tokens = Tokens::new(token);
        while came < need {
            let place = places.place().await;
            let mut page = loop {
                match self.page(Ask::Token(tokens.token().to_owned(), size)).await {
                    Ok(page) => break page,
                    Err(PageError::LimitTooLarge(allowed)) if allowed < size => size = allowed,
                    Err(error) => return Err(error.into_failure()),
                }
            };
            let next = page.next.take();
            came += page.records;
            out.put(Item::Ready(page, place));
            match next {
                Some(next) => tokens.go_on(next)?,
                None => break,
            }
        }
        Ok(())
    }

    /// Fetches a page when its turn has come, and makes something of it.
    async fn page(self: &Arc<Self>, ask: Ask) -> Result<Piece<T>, PageError> {
        let scanning = &self.scanning;
        let (context, access) = (&scanning.context, &self.district.access);
        let RawPage {
            answer,
            total,
            next,
        } = {
            let _request = scanning.requests.acquire().await;
            match &ask {
                Ask::Offset(page) => self.collection.fetch(context, access, *page).await?,
                Ask::Token(token, size) => {
                    let fetch = self.collection.fetch_at(context, access, token, *size);
                    fetch.await?
                }
            }
        };
        // Without a count, pages are told apart by what they hold.
        let counted = matches!(ask, Ask::Offset(page) if page.count || page.offset == 0);
        let digested = counted && total.is_none();
        let walk = self.clone();
        let made = runtime::compute(move || {
            let scanning = &walk.scanning;
            let page = scanning.decoders.decode(&answer.body);
            let page = page.map_err(|error| answer.unusable(&error.to_string()))?;
            let records = page.len();
            let made = (scanning.make)(page, walk.district.number);
            Ok(Piece {
                made: made.map_err(|error| Failure::new(error.to_string()))?,
                records: records as u64,
                digest: if digested { digest(&answer.body) } else { 0 },
                total,
                next,
            })
        });
        let made = made.await;
        Ok(made.unwrap_or_else(|error| Err(Failure::new(error.to_string())))?)
    }
}

impl<T: Send + 'static> Count<T> {
    /// What is to be said where this many records came, and the server counts more.
    pub(super) async fn missing(&self, records: u64) -> Result<Option<String>, Failure> {
        let Self {
            total, early, walk, ..
        } = self;
        let mut total = total.unwrap_or(0);
        if *early && records < total {
            // Records may have gone since that count.
            let scanning = &walk.scanning;
            let _request = scanning.requests.acquire().await;
            let access = &walk.district.access;
            let count = walk.collection.count(&scanning.context, access);
            total = count.await?.unwrap_or(total);
        }
        Ok((records < total)
            .then(|| format!("{records} records came where the server counts {total}")))
    }

    /// The district that this is about.
    pub(super) fn district(&self) -> usize {
        self.walk.district.number
    }
}
