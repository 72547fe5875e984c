//! One district, read whole or not at all.
//!
//! The first page tells how many records there are, the others follow side by side. What came is
//! held against the count that the last page brought; where records are missing, the district is
//! read again, once.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hasher};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::Semaphore;

use crate::client::paging::{Collection, PageError, PageRequest};
use crate::client::session::{Access, CallContext};
use crate::client::urls::BaseUrl;
use crate::columns::{Page, PageDecoder};
use crate::{Failure, runtime};

/// How the districts of one call are read.
pub(crate) struct Reader<'a> {
    pub(crate) context: &'a CallContext,
    pub(crate) limit: u64,
    pub(crate) links: bool,
    pub(crate) short_is_error: bool,
    /// Requests in flight.
    requests: Semaphore,
    /// Pages between the network and their columns; they bound the memory.
    pages: Semaphore,
    workers: usize,
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
    /// The Total-Count that came with the last page.
    total: Option<u64>,
}

struct CountedPage {
    page: Page,
    total: Option<u64>,
    /// Tells equal pages apart from others where there is no count to end by.
    digest: Option<u64>,
}

impl Reading {
    fn new(first: CountedPage) -> Self {
        let mut reading = Self {
            pages: Vec::new(),
            total: first.total,
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
        links: bool,
        short_is_error: bool,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            context,
            limit,
            links,
            short_is_error,
            requests: Semaphore::new(workers),
            pages: Semaphore::new(workers + cores),
            workers,
        }
    }

    /// The data URL of a district; to ask for it is a request like others.
    pub(crate) async fn data_root(&self, access: &Access) -> Result<BaseUrl, Failure> {
        let _request = self.requests.acquire().await.map_err(|_| over())?;
        self.context.data_root(access).await
    }

    /// Reads a whole district.
    pub(crate) async fn read(
        &self,
        access: &Access,
        collection: &Collection,
    ) -> Result<Records, Failure> {
        let first = self.checked(self.read_once(access, collection).await?);
        let Err((missing, _)) = &first else {
            return Ok(first.unwrap_or_else(|(_, records)| records));
        };
        log::info!("{missing}; reading once more");
        match self.checked(self.read_once(access, collection).await?) {
            Ok(records) => Ok(records),
            Err((missing, _)) if self.short_is_error => Err(Failure::new(missing)),
            Err((missing, mut records)) => {
                records.warning = Some(missing);
                Ok(records)
            }
        }
    }

    /// Holds what came against what the server counted.
    fn checked(&self, reading: Reading) -> Result<Records, (String, Records)> {
        let (distinct, repeated) = distinct(&reading.pages);
        let records = Records {
            pages: reading.pages,
            repeated,
            warning: None,
        };
        match reading.total {
            Some(total) if distinct < total => Err((
                format!("{distinct} records came where the server counts {total}"),
                records,
            )),
            _ => Ok(records),
        }
    }

    async fn read_once(
        &self,
        access: &Access,
        collection: &Collection,
    ) -> Result<Reading, Failure> {
        let mut limit = self.limit;
        let first = loop {
            match self.page(access, collection, 0, limit, true).await {
                Ok(page) => break page,
                Err(PageError::LimitTooLarge(allowed)) if allowed < limit => {
                    log::info!("the server allows pages of {allowed} records only");
                    limit = allowed;
                }
                Err(error) => return Err(failed(error)),
            }
        };
        let digest = first.digest;
        let reading = Reading::new(first);
        match reading.total {
            Some(total) => {
                self.side_by_side(access, collection, limit, reading, total)
                    .await
            }
            None => {
                self.one_by_one(access, collection, limit, reading, digest)
                    .await
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
                .map_err(failed)?;
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
            let batch: Vec<CountedPage> = stream::iter(offsets.into_iter().enumerate())
                .map(|(i, at)| self.page(access, collection, at, step, i == last))
                .buffered(self.workers)
                .try_collect()
                .await
                .map_err(failed)?;
            let counted = batch.last().and_then(|page| page.total);
            batch.into_iter().for_each(|page| reading.add(page));
            match counted {
                Some(counted) => total = counted,
                None => break,
            }
        }
        Ok(reading)
    }

    async fn page(
        &self,
        access: &Access,
        collection: &Collection,
        offset: u64,
        limit: u64,
        count: bool,
    ) -> Result<CountedPage, PageError> {
        let _place = self.pages.acquire().await.map_err(|_| over())?;
        let raw = {
            let _request = self.requests.acquire().await.map_err(|_| over())?;
            let page = PageRequest {
                offset,
                limit,
                count,
            };
            collection.fetch(self.context, access, page).await?
        };
        let total = raw.total;
        let links = self.links;
        let decoded = runtime::compute(move || match decode(&raw.answer.body, links) {
            Ok(page) => Ok(CountedPage {
                digest: total.is_none().then(|| digest(&raw.answer.body)),
                page,
                total,
            }),
            Err(error) => Err(raw.answer.unusable(&error.to_string())),
        });
        let decoded = decoded.await;
        let page = decoded.unwrap_or_else(|error| Err(Failure::new(error.to_string())))?;
        self.context.control.add_records(page.page.len());
        Ok(page)
    }
}

/// Decodes a page with the decoder that this thread keeps.
fn decode(body: &[u8], links: bool) -> crate::Result<Page> {
    thread_local! {
        static DECODERS: RefCell<[Option<PageDecoder>; 2]> = const { RefCell::new([None, None]) };
    }
    DECODERS.with_borrow_mut(|decoders| {
        decoders[usize::from(links)]
            .get_or_insert_with(|| PageDecoder::new(links))
            .decode(body)
    })
}

fn digest(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(body);
    hasher.finish()
}

/// How many different records there are, and which came again later.
///
/// Where no record has an id, each counts for itself.
fn distinct(pages: &[Page]) -> (u64, Vec<(usize, usize)>) {
    let mut seen: HashMap<&str, (usize, usize)> = HashMap::new();
    let mut repeated = Vec::new();
    let mut nameless = 0;
    for (p, page) in pages.iter().enumerate() {
        for row in 0..page.len() {
            match page.id(row) {
                Some(id) => repeated.extend(seen.insert(id, (p, row))),
                None => nameless += 1,
            }
        }
    }
    (seen.len() as u64 + nameless, repeated)
}

/// What a closed semaphore would mean; none is ever closed.
fn over() -> Failure {
    Failure::new("the call is over")
}

fn failed(error: PageError) -> Failure {
    match error {
        PageError::Failed(failure) => failure,
        PageError::LimitTooLarge(allowed) => Failure::new(format!(
            "the server now allows pages of {allowed} records only"
        )),
    }
}
