//! One district, read whole or not at all.
//!
//! The first page tells how many records there are, and how to go on: by offset, the other pages
//! side by side, or by token, the partitions side by side. What came is held against the server's
//! count; where records are missing, the district is read again, once.

use std::cell::RefCell;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hasher};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use polars::prelude::{PlHashMap, PlHashSet};
use tokio::sync::Semaphore;

use crate::client::changes::Snapshot;
use crate::client::paging::{
    Collection, FirstPage, PageError, PageRequest, Paging, RawPage, Walk, Way,
};
use crate::client::session::{Access, CallContext};
use crate::client::transport::Body;
use crate::client::urls::BaseUrl;
use crate::columns::{Page, PageDecoder};
use crate::{Failure, runtime};

/// How the districts of one call are read.
pub(crate) struct Reader<'a> {
    pub(crate) context: &'a CallContext,
    pub(crate) limit: u64,
    pub(crate) paging: Paging,
    pub(crate) links: bool,
    pub(crate) short_is_error: bool,
    /// Whether records of one id are told apart by their change version, as deletes must be: an
    /// item can be deleted, made again and deleted again. Without, they are one record.
    pub(crate) by_version: bool,
    /// Requests in flight.
    requests: Semaphore,
    /// Pages between the network and their columns; they bound the memory.
    pages: Semaphore,
    /// How many of these there may be.
    under_way: usize,
}

/// The records of one district, in order, each id once.
#[derive(Debug)]
pub(crate) struct Records {
    pub(crate) pages: Vec<Page>,
    /// The records to leave out, since they came again later: page and row.
    pub(crate) repeated: Vec<(usize, usize)>,
    /// What a person should know about records that are missing.
    pub(crate) warning: Option<String>,
}

/// What one reading of a district brought.
struct Reading {
    pages: Vec<Page>,
    /// The Total-Count that came last.
    total: Option<u64>,
    /// Whether that was with the first of many pages: no page by token brings one.
    counted_early: bool,
}

struct CountedPage {
    page: Page,
    total: Option<u64>,
    next: Option<String>,
    /// Tells equal pages apart from others where there is no count to end by.
    digest: Option<u64>,
}

impl Reading {
    fn new(first: CountedPage) -> Self {
        let mut reading = Self {
            pages: Vec::new(),
            total: first.total,
            counted_early: false,
        };
        reading.add(first);
        reading
    }

    fn add(&mut self, page: CountedPage) {
        self.total = page.total.or(self.total);
        self.pages.push(page.page);
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(
        context: &'a CallContext,
        workers: usize,
        limit: u64,
        paging: Paging,
        links: bool,
        short_is_error: bool,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let under_way = workers + cores;
        Self {
            context,
            limit,
            paging,
            links,
            short_is_error,
            by_version: false,
            requests: Semaphore::new(workers),
            pages: Semaphore::new(under_way),
            under_way,
        }
    }

    /// The permits for requests, for what is asked beside the records.
    pub(crate) fn requests(&self) -> &Semaphore {
        &self.requests
    }

    /// The data URL of a district; to ask for it is a request like others.
    pub(crate) async fn data_root(&self, access: &Access) -> Result<BaseUrl, Failure> {
        let _request = self.requests.acquire().await.map_err(|_| over())?;
        self.context.data_root(access).await
    }

    /// What a request has to say to read the snapshot; to find out is a request like others.
    pub(crate) async fn snapshot(
        &self,
        access: &Access,
        wanted: bool,
    ) -> Result<Snapshot, Failure> {
        let _request = self.requests.acquire().await.map_err(|_| over())?;
        self.context.snapshot(access, wanted).await
    }

    /// Reads a whole district.
    pub(crate) async fn read(
        &self,
        access: &Access,
        collection: &Collection,
    ) -> Result<Records, Failure> {
        let missing = match self.attempt(access, collection).await? {
            Ok(records) => return Ok(records),
            Err((missing, _)) => missing,
        };
        log::info!("{missing}; reading once more");
        match self.attempt(access, collection).await? {
            Ok(records) => Ok(records),
            Err((missing, _)) if self.short_is_error => Err(Failure::new(missing)),
            Err((missing, mut records)) => {
                records.warning = Some(missing);
                Ok(records)
            }
        }
    }

    /// Reads a district once, and holds what came against what the server counts.
    async fn attempt(
        &self,
        access: &Access,
        collection: &Collection,
    ) -> Result<Result<Records, (String, Records)>, Failure> {
        let Reading {
            pages,
            mut total,
            counted_early,
        } = self.read_once(access, collection).await?;
        let (distinct, repeated) = distinct(&pages, self.by_version);
        if counted_early && total.is_some_and(|total| distinct < total) {
            // Records may have gone since that count.
            let _request = self.requests.acquire().await.map_err(|_| over())?;
            total = collection.count(self.context, access).await?.or(total);
        }
        let records = Records {
            pages,
            repeated,
            warning: None,
        };
        Ok(match total {
            Some(total) if distinct < total => Err((
                format!("{distinct} records came where the server counts {total}"),
                records,
            )),
            _ => Ok(records),
        })
    }

    async fn read_once(
        &self,
        access: &Access,
        collection: &Collection,
    ) -> Result<Reading, Failure> {
        let mut limit = self.limit;
        let first = loop {
            match self.first(access, collection, limit).await {
                Ok(page) => break page,
                Err(PageError::LimitTooLarge(allowed)) if allowed < limit => {
                    log::info!("the server allows pages of {allowed} records only");
                    limit = allowed;
                }
                Err(error) => return Err(error.into_failure()),
            }
        };
        let seen = FirstPage {
            records: first.page.len() as u64,
            limit,
            total: first.total,
            next: first.next.clone(),
        };
        let way = collection
            .way(self.context, access, &self.requests, self.paging, seen)
            .await?;
        let (total, digest) = (first.total, first.digest);
        if let Way::Partitions(tokens) = way {
            return Ok(Reading {
                pages: self.partitions(access, collection, limit, tokens).await?,
                total,
                counted_early: true,
            });
        }
        self.context.control.progress.add_records(first.page.len());
        let mut reading = Reading::new(first);
        match (way, total) {
            (Way::Done | Way::Partitions(_), _) => Ok(reading),
            (Way::Token(token), _) => {
                let rest = self.walk(access, collection, limit, token).await?;
                reading.pages.extend(rest);
                reading.counted_early = true;
                Ok(reading)
            }
            (Way::Offset, Some(total)) => {
                self.side_by_side(access, collection, limit, reading, total)
                    .await
            }
            (Way::Offset, None) => {
                self.one_by_one(access, collection, limit, reading, digest)
                    .await
            }
        }
    }

    /// The pages of all partitions, in the order of the partitions.
    async fn partitions(
        &self,
        access: &Access,
        collection: &Collection,
        size: u64,
        tokens: Vec<String>,
    ) -> Result<Vec<Page>, Failure> {
        let mut parts: Vec<(usize, Vec<Page>)> = stream::iter(tokens.into_iter().enumerate())
            .map(|(i, token)| async move {
                let pages = self.walk(access, collection, size, token).await?;
                Ok::<_, Failure>((i, pages))
            })
            .buffer_unordered(self.under_way)
            .try_collect()
            .await?;
        parts.sort_unstable_by_key(|(i, _)| *i);
        Ok(parts.into_iter().flat_map(|(_, pages)| pages).collect())
    }

    /// The pages from a token on, one after another. Only a page without a token for the next is
    /// the last: a short one, even an empty one, may stand in the middle.
    async fn walk(
        &self,
        access: &Access,
        collection: &Collection,
        mut size: u64,
        token: String,
    ) -> Result<Vec<Page>, Failure> {
        let mut walk = Walk::new(token);
        let mut pages = Vec::new();
        loop {
            let fetch = collection.fetch_at(self.context, access, walk.token(), size);
            let page = match self.decoded(fetch, false).await {
                Ok(page) => page,
                Err(PageError::LimitTooLarge(allowed)) if allowed < size => {
                    size = allowed;
                    continue;
                }
                Err(error) => return Err(error.into_failure()),
            };
            self.context.control.progress.add_records(page.page.len());
            if !page.page.is_empty() {
                pages.push(page.page);
            }
            match page.next {
                Some(next) => walk.go_on(next)?,
                None => return Ok(pages),
            }
        }
    }

    /// Without a count: page after page until a short one. A server that does not page at all
    /// would give the same page for ever: all of its records, or the first of them again and again.
    async fn one_by_one(
        &self,
        access: &Access,
        collection: &Collection,
        limit: u64,
        mut reading: Reading,
        digest: Option<u64>,
    ) -> Result<Reading, Failure> {
        let mut offset = limit;
        let mut digests: HashSet<u64> = digest.into_iter().collect();
        while let Some(came) = reading.pages.last().map(|page| page.len() as u64)
            && came >= limit
        {
            let next = self
                .page(access, collection, offset, limit, true)
                .await
                .map_err(PageError::into_failure)?;
            let again = next.digest.is_some_and(|digest| !digests.insert(digest));
            if again && !next.page.is_empty() {
                if came > limit {
                    break;
                }
                return Err(Failure::new(format!(
                    "the page at offset {offset} is one that came before: the server does not page"
                )));
            }
            reading.add(next);
            offset += limit;
        }
        Ok(reading)
    }

    async fn side_by_side(
        &self,
        access: &Access,
        collection: &Collection,
        limit: u64,
        mut reading: Reading,
        mut total: u64,
    ) -> Result<Reading, Failure> {
        // A server may hand out fewer records than it was asked for without a word.
        let step = match reading.pages.first().map_or(0, Page::len) as u64 {
            0 => limit,
            came => came.min(limit),
        };
        let mut offset = step;
        // The count may grow while the pages are read; then there are more of them.
        while offset < total {
            let offsets: Vec<u64> = (offset..total).step_by(step as usize).collect();
            let last = offsets.len() - 1;
            offset += step * offsets.len() as u64;
            let mut batch: Vec<(usize, CountedPage)> =
                stream::iter(offsets.into_iter().enumerate())
                    .map(|(i, at)| async move {
                        let page = self.page(access, collection, at, step, i == last).await?;
                        Ok((i, page))
                    })
                    .buffer_unordered(self.under_way)
                    .try_collect()
                    .await
                    .map_err(PageError::into_failure)?;
            batch.sort_unstable_by_key(|(i, _)| *i);
            let counted = batch.last().and_then(|(_, page)| page.total);
            batch.into_iter().for_each(|(_, page)| reading.add(page));
            match counted {
                Some(counted) => total = counted,
                None => break,
            }
        }
        Ok(reading)
    }

    /// The first page; its records count as read only where it is kept.
    async fn first(
        &self,
        access: &Access,
        collection: &Collection,
        limit: u64,
    ) -> Result<CountedPage, PageError> {
        let page = PageRequest {
            offset: 0,
            limit,
            count: true,
        };
        self.decoded(collection.fetch(self.context, access, page), page.count)
            .await
    }

    async fn page(
        &self,
        access: &Access,
        collection: &Collection,
        offset: u64,
        limit: u64,
        count: bool,
    ) -> Result<CountedPage, PageError> {
        let page = PageRequest {
            offset,
            limit,
            count,
        };
        let page = self
            .decoded(collection.fetch(self.context, access, page), page.count)
            .await?;
        self.context.control.progress.add_records(page.page.len());
        Ok(page)
    }

    /// Fetches a page when its turn has come, and takes it apart. Where a count was asked for and
    /// none came, pages are told apart by what they hold.
    async fn decoded(
        &self,
        fetch: impl Future<Output = Result<RawPage, PageError>>,
        counted: bool,
    ) -> Result<CountedPage, PageError> {
        let _place = self.pages.acquire().await.map_err(|_| over())?;
        let RawPage {
            answer,
            total,
            next,
        } = {
            let _request = self.requests.acquire().await.map_err(|_| over())?;
            fetch.await?
        };
        let links = self.links;
        let by_offset = self.paging == Paging::Offset || next.is_none();
        let digested = counted && total.is_none() && by_offset;
        let decoded = runtime::compute(move || match decode(&answer.body, links) {
            Ok(page) => Ok(CountedPage {
                digest: digested.then(|| digest(&answer.body)),
                page,
                total,
                next,
            }),
            Err(error) => Err(answer.unusable(&error.to_string())),
        });
        let decoded = decoded.await;
        Ok(decoded.unwrap_or_else(|error| Err(Failure::new(error.to_string())))?)
    }
}

/// Decodes a page with the decoder that this thread keeps.
fn decode(body: &Body, links: bool) -> crate::Result<Page> {
    thread_local! {
        static DECODERS: RefCell<[Option<PageDecoder>; 2]> = const { RefCell::new([None, None]) };
    }
    DECODERS.with_borrow_mut(|decoders| {
        decoders[usize::from(links)]
            .get_or_insert_with(|| PageDecoder::new(links))
            .decode_parts(body.parts())
    })
}

/// Tells equal bodies apart from others.
pub(super) fn digest(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(body);
    hasher.finish()
}

/// How many different records there are, and which came again later.
///
/// Where no record has an id, each counts for itself.
fn distinct(pages: &[Page], by_version: bool) -> (u64, Vec<(usize, usize)>) {
    let records = pages.iter().map(Page::len).sum();
    if all_different(pages, records) {
        return (records as u64, Vec::new());
    }
    let mut seen: PlHashMap<(&str, Option<i64>), (usize, usize)> =
        PlHashMap::with_capacity_and_hasher(records, Default::default());
    let mut repeated = Vec::new();
    let mut nameless = 0;
    for (p, page) in pages.iter().enumerate() {
        for row in 0..page.len() {
            match page.id(row) {
                Some(id) => {
                    let version = by_version.then(|| page.change_version(row)).flatten();
                    repeated.extend(seen.insert((id, version), (p, row)));
                }
                None => nameless += 1,
            }
        }
    }
    (seen.len() as u64 + nameless, repeated)
}

/// Whether the hashes of the ids prove that all are different; nearly always they do.
fn all_different(pages: &[Page], records: usize) -> bool {
    let mut seen = PlHashSet::with_capacity_and_hasher(records, Default::default());
    pages.iter().filter(|page| !page.is_empty()).all(|page| {
        let hashes = page.id_hashes();
        hashes.is_some_and(|hashes| hashes.iter().all(|hash| seen.insert(*hash)))
    })
}

/// What a closed semaphore would mean; none is ever closed.
fn over() -> Failure {
    Failure::new("the call is over")
}
