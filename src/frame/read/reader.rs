//! The reading of one district or of a part of it: what is asked for, and single pages of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::filter::Sent;
use super::keys::{Begin, Join, RecordKeys, Repeated, SeenRecords};
use super::source::{District, Source};
use crate::client::changes::window_params;
use crate::client::paging::{Collection, PageError, PageRequest, RawPage};
use crate::client::urls;
use crate::columns::Page;
use crate::runtime::lock;
use crate::{Failure, runtime};

/// What the parts of a district have in common.
#[derive(Debug)]
pub(super) struct Whole {
    seen: Mutex<SeenRecords>,
    arrivals: AtomicU64,
    /// Different records that were put out.
    records: AtomicU64,
}

impl Whole {
    fn new(bounded: bool) -> Arc<Self> {
        Arc::new(Self {
            seen: Mutex::new(SeenRecords::of(bounded)),
            arrivals: AtomicU64::new(0),
            records: AtomicU64::new(0),
        })
    }

    pub(super) fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// Of the rows of a page that are to be handed on, those that no part has handed on.
    pub(super) fn hand_on(&self, page: &Page, is_kept: &mut [bool]) {
        if let Some(hashes) = page.id_hashes() {
            lock(&self.seen).take(hashes, is_kept);
        }
    }

    /// Forgets no record, however many there are.
    pub(super) fn remember_all(&self) {
        *lock(&self.seen) = SeenRecords::of(false);
    }
}

/// The reading of one district.
pub(super) struct Reader<T> {
    pub(super) source: Arc<Source<T>>,
    pub(super) district: District,
    pub(super) collection: Collection,
    /// The same whatever the change version.
    pub(super) base: Collection,
    pub(super) versions: Versions,
    /// The base without what filters have the server asked for, where they have.
    pub(super) plain: Option<Collection>,
    /// What filters have the server asked for.
    pub(super) sent: Sent,
    /// What each page says of itself as a part.
    pub(super) only: Option<(usize, usize)>,
    pub(super) is_part: bool,
    /// Where a piece begins.
    pub(super) begin: Mutex<Begin>,
    seen: Mutex<SeenRecords>,
    pub(super) whole: Arc<Whole>,
}

/// The first and the last change version of what is read.
pub(super) type Versions = (Option<i64>, Option<i64>);

/// The records of a collection with these versions.
pub(super) fn within(base: &Collection, (min, max): Versions) -> Collection {
    let params: Vec<_> = window_params(min, max).collect();
    base.clone().with_params(&params)
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
    pub(super) arrival: u64,
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
    pub(super) fn new(
        collection: Collection,
        sent: Sent,
        source: Arc<Source<T>>,
        district: District,
    ) -> Self {
        let base = collection.clone().with_params(&sent.params);
        let bounded = source.window.bounded;
        Self {
            collection: within(&base, source.versions),
            plain: (!sent.params.is_empty()).then_some(collection),
            versions: source.versions,
            base,
            sent,
            only: None,
            is_part: false,
            begin: Mutex::default(),
            seen: Mutex::new(SeenRecords::of(bounded)),
            whole: Whole::new(bounded),
            source,
            district,
        }
    }

    /// The reading of a part of the same district.
    pub(super) fn part(
        &self,
        base: Collection,
        versions: Versions,
        plain: Option<Collection>,
        only: Option<(usize, usize)>,
    ) -> Self {
        Self {
            collection: within(&base, versions),
            base,
            versions,
            plain,
            sent: Sent::default(),
            only,
            is_part: true,
            begin: Mutex::default(),
            seen: Mutex::new(SeenRecords::of(self.source.window.bounded)),
            whole: self.whole.clone(),
            source: self.source.clone(),
            district: self.district.clone(),
        }
    }

    /// What filters have the server asked for beyond a first page, in whole or value by value.
    pub(super) fn asked(&self, first: &FetchedPage) -> Option<Sent> {
        let mut sent = self.sent.clone();
        sent.alternatives = sent.alternatives.filter(|all| all.are_worth_it(first));
        (!sent.params.is_empty() || sent.alternatives.is_some()).then_some(sent)
    }

    /// The first page, and the reader that goes on: one without what filters have the server asked
    /// for, where the server refuses that or fails at it.
    pub(super) async fn begin(
        self: Arc<Self>,
        count: bool,
    ) -> Result<(Arc<Self>, FetchedPage), Failure> {
        match (self.first(count).await, &self.plain) {
            (Err(failure), Some(plain)) if may_be_refusal(&failure) => {
                log::info!("the server answers no filter: {failure}");
                let reader = Arc::new(Self {
                    is_part: self.is_part,
                    ..self.part(plain.clone(), self.versions, None, self.only)
                });
                let first = reader.first(count).await?;
                Ok((reader, first))
            }
            (first, _) => first.map(|first| (self, first)),
        }
    }

    /// Takes note of the records of a page: which of them came before, in the chain of this reading
    /// and in the whole district. Parts that have records of one value each may be given others as
    /// well, which they leave out: those are not known by that.
    pub(super) fn note(&self, keys: &RecordKeys, join: Option<Join<'_>>) -> (Repeated, Repeated) {
        let in_chain = self.seen().add(keys, join);
        let in_all = match self.is_part && keys.are_ids() && self.only.is_none() {
            true => lock(&self.whole.seen).add(keys, None),
            false => in_chain.clone(),
        };
        let new = keys.len() - in_all.count();
        self.whole.records.fetch_add(new as u64, Ordering::Relaxed);
        (in_chain, in_all)
    }

    fn seen(&self) -> MutexGuard<'_, SeenRecords> {
        lock(&self.seen)
    }

    /// Whether any record of a page came before.
    pub(super) fn knows_any(&self, keys: &RecordKeys) -> bool {
        self.seen().knows_any(keys)
    }

    /// Whether all records of a page came before, by their content where they have no `id`.
    pub(super) fn knows_all(&self, keys: &RecordKeys) -> bool {
        self.seen().knows_all(keys)
    }

    /// The first page, as large as the server allows.
    pub(super) async fn first(self: &Arc<Self>, count: bool) -> Result<FetchedPage, Failure> {
        let source = &self.source;
        if self.plain.is_none()
            && !self.is_part
            && let Some(first) = source.opening_of(self.district.number)
        {
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
                    log::info!("{base}: the server allows pages of {allowed} at most");
                    limit = allowed;
                }
                Err(error) => return Err(error.into_failure()),
            }
        }
    }

    /// Fetches a page when its turn has come, and takes it apart.
    pub(super) async fn fetch(self: &Arc<Self>, ask: Ask) -> Result<FetchedPage, PageError> {
        let source = &self.source;
        let (context, access) = (&source.context, &self.district.access);
        let fetch = async {
            let fetched = match &ask {
                Ask::Offset(page) => self.collection.fetch(context, access, *page).await,
                Ask::Token(token, size) => {
                    let fetch = self.collection.fetch_at(context, access, token, *size);
                    fetch.await
                }
            };
            // No other request goes before there is room for this page: who waits for a server
            // takes none.
            let room = match &fetched {
                Ok(_) => source.undecoded.clone().acquire_owned().await.ok(),
                Err(_) => None,
            };
            fetched.map(|raw| (raw, room))
        };
        let (raw, _room) = source.requests.run(fetch).await?;
        let arrival = self.whole.arrivals.fetch_add(1, Ordering::Relaxed);
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

/// Whether an answer may be due to what was asked for: neither who asks nor how fast.
fn may_be_refusal(failure: &Failure) -> bool {
    !matches!(failure.http_status, None | Some(401 | 429))
}
