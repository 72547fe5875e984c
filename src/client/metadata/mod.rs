//! The OpenAPI documents of one ODS: found, fetched when they are needed, cached for the process.
//!
//! What the process has may be of another server, or of a release before: each client asks once
//! whether an ODS still has it.

mod cache;
mod dependencies;
mod fetch;
mod locate;
mod places;
mod shelf;

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::{ETAG, HeaderValue};
use reqwest::{StatusCode, Url};

use self::cache::{Cached, Catalog, Held, Section, Slot};
use self::fetch::{Fetcher, is_nothing};
pub(super) use self::places::UsualPlaces;
pub(super) use self::shelf::MetadataFolder;
use self::shelf::Shelf;
use super::edfi_client::EdFiClient;
use super::permits::Permits;
use super::session::{Access, CallContext};
use super::transport::Response;
use super::urls::{self, BaseUrl};
use crate::nearest::nearest_endpoint;
use crate::openapi::{Document, Identity, Record, Resource, is_descriptor};
use crate::{Failure, runtime};

/// So long the documents may take that tell a better name only.
const WORTH_WAITING: Duration = Duration::from_secs(5);

/// The metadata of one ODS, asked for on behalf of one call.
#[derive(Clone, Copy)]
pub(crate) struct Metadata<'a> {
    fetcher: Fetcher<'a>,
    api_version: Option<&'a str>,
    /// Whether what the client has must be what the server has.
    current: bool,
    /// What the server has said since then is new enough in any case.
    since: Instant,
}

/// What the metadata says of one endpoint.
#[derive(Debug, Clone)]
pub(crate) enum Described {
    /// The ODS serves no metadata.
    NoMetadata,
    /// It does, but not for this endpoint; the one that was most likely meant.
    Unknown(Option<Box<str>>),
    Resource(Arc<Resource>),
}

impl Described {
    pub(crate) fn resource(&self) -> Option<&Resource> {
        match self {
            Self::Resource(resource) => Some(resource),
            Self::NoMetadata | Self::Unknown(_) => None,
        }
    }

    /// What the records of the endpoint are made of, where that is known.
    pub(crate) fn record(&self) -> Option<&Record> {
        self.resource()?.record.as_ref()
    }
}

/// The endpoint that a URL most likely means, where the documents at hand do not know the one that
/// it names: of a collection, of one of its items, or of what stands below it.
pub(crate) async fn meant(client: &EdFiClient, base: &BaseUrl, url: &Url) -> Option<String> {
    let documents = cache::at_hand(base, client.metadata_folder(), |url| client.knows(url)).await;
    let segments: Vec<&str> = url.path().trim_matches('/').split('/').collect();
    let end = segments.len();
    let named = [end.checked_sub(2)?..end, end.saturating_sub(3)..end - 1];
    let named = named.map(|range| segments[range].join("/"));
    let mut known = endpoints(&documents);
    if known.any(|known| named.iter().any(|named| named.eq_ignore_ascii_case(known))) {
        return None;
    }
    let mut nearest = named
        .iter()
        .filter_map(|named| nearest_endpoint(named, endpoints(&documents)));
    nearest.next().map(str::to_owned)
}

/// The failure of a call whose resource there is not, with the endpoint that was most likely meant:
/// of a call that needs no document, so that none may be at hand. It waits for them only so long.
pub(crate) async fn explained(
    failure: Failure,
    (context, access): (&CallContext, &Access),
    endpoint: &str,
) -> Failure {
    let client = &context.client;
    let is_absent = failure.http_status == Some(404);
    let known = |url: &Url| client.knows(url);
    if !is_absent
        || !cache::at_hand(&access.base, client.metadata_folder(), known)
            .await
            .is_empty()
    {
        return failure;
    }
    let metadata = Metadata::of(context, access);
    let described = tokio::time::timeout(WORTH_WAITING, metadata.describe(endpoint)).await;
    match described {
        Ok(Ok(Described::Unknown(Some(meant)))) => failure.meaning(&meant),
        _ => failure,
    }
}

fn endpoints(documents: &[Arc<Document>]) -> impl Iterator<Item = &str> {
    let resources = documents.iter().flat_map(|document| document.resources());
    resources.map(|resource| &*resource.endpoint)
}

impl<'a> Metadata<'a> {
    /// The metadata of the ODS that a row or a client has access to.
    pub(crate) fn of(context: &'a CallContext, access: &'a Access) -> Self {
        Self {
            fetcher: Fetcher {
                context,
                base: &access.base,
                access: Some(access),
                requests: None,
                are_columns: true,
                is_hint: false,
            },
            api_version: access.api_version.as_deref(),
            current: false,
            since: Instant::now(),
        }
    }

    /// The metadata of an ODS that no token is known for.
    pub(crate) fn anonymous(context: &'a CallContext, base: &'a BaseUrl) -> Self {
        Self {
            fetcher: Fetcher {
                context,
                base,
                access: None,
                requests: None,
                are_columns: true,
                is_hint: false,
            },
            api_version: None,
            current: false,
            since: Instant::now(),
        }
    }

    /// Takes a permit for each request.
    pub(crate) fn limited(self, requests: &'a Permits) -> Self {
        Self {
            fetcher: Fetcher {
                requests: Some(requests),
                ..self.fetcher
            },
            ..self
        }
    }

    /// Asks the server whether what the client has is still what there is.
    pub(crate) fn current(self) -> Self {
        Self {
            current: true,
            ..self
        }
    }

    /// Asks with the patience of one request, and for a while not again where that is in vain: the call
    /// can do without.
    pub(crate) fn as_hint(self) -> Self {
        Self {
            fetcher: Fetcher {
                is_hint: true,
                ..self.fetcher
            },
            ..self
        }
    }

    fn client(&self) -> &'a EdFiClient {
        &self.fetcher.context.client
    }

    async fn unless_cancelled<T>(&self, wait: impl Future<Output = T>) -> Result<T, Failure> {
        let cancellation = &self.fetcher.context.control.cancellation;
        cancellation.unless_cancelled(wait).await
    }

    fn base(&self) -> &'a BaseUrl {
        self.fetcher.base
    }

    /// What the process has of this ODS.
    fn slot(&self) -> Arc<Slot> {
        cache::slot(self.base(), self.client().metadata_folder())
    }

    /// The same, to be looked at and changed by this call alone.
    async fn catalog<'s>(&self, slot: &'s Slot) -> Result<Held<'s>, Failure> {
        let patience = self.client().transport().patience(self.fetcher.policy());
        let catalog = slot.lock(patience);
        let catalog = self.unless_cancelled(catalog).await?;
        Ok(catalog.map_or(Held::Own(None), Held::Shared))
    }

    /// What the ODS's documents say of an endpoint; no more of them are fetched than it takes.
    pub(crate) async fn describe(&self, endpoint: &str) -> Result<Described, Failure> {
        if self.is_absent() {
            return Ok(Described::NoMetadata);
        }
        let slot = self.slot();
        let mut catalog = self.catalog(&slot).await?;
        let (client, is_hint) = (self.client(), self.fetcher.is_hint);
        if is_hint && let Some(failure) = client.hint_failure(self.base()) {
            return Err(failure);
        }
        let described = Box::pin(self.described(&mut catalog, endpoint)).await;
        match &described {
            Ok(_) => client.set_hint_failure(self.base(), None),
            // A refused token is this call's own, and another one may be good.
            Err(failure) if failure.http_status == Some(401) => {}
            Err(failure) if is_hint && !self.fetcher.context.control.is_cancelled() => {
                client.set_hint_failure(self.base(), Some(failure.clone()));
            }
            Err(_) => {}
        }
        described
    }

    async fn described(
        &self,
        catalog: &mut Option<Catalog>,
        endpoint: &str,
    ) -> Result<Described, Failure> {
        if let Some(resource) = self.without_list(catalog, endpoint).await? {
            return Ok(Described::Resource(resource));
        }
        self.refresh(catalog).await?;
        let Some(catalog) = catalog else {
            return Ok(Described::NoMetadata);
        };
        let mut documents = Vec::new();
        for section in catalog.in_order(endpoint) {
            let Some(document) = self.document(section, false).await? else {
                continue;
            };
            if let Some(resource) = document.resource(endpoint) {
                let mut places = self.client().usual_places();
                places.learn(endpoint, self.base(), &section.url);
                return Ok(Described::Resource(resource.clone()));
            }
            documents.push(document);
        }
        let nearest = nearest_endpoint(endpoint, endpoints(&documents));
        Ok(Described::Unknown(nearest.map(Into::into)))
    }

    /// What the document of an endpoint says, asked for where the process knows it to be, or where
    /// all other ODSs of this client have it; `None` where it takes the list to find it.
    async fn without_list(
        &self,
        catalog: &mut Option<Catalog>,
        endpoint: &str,
    ) -> Result<Option<Arc<Resource>>, Failure> {
        if self.current {
            return Ok(None);
        }
        let known = match catalog {
            Some(known) if self.asks_again(&known.url, known.asked, known.etag.as_ref()) => known,
            Some(_) => return Ok(None),
            None => return self.at_the_usual_place(catalog, endpoint).await,
        };
        let Some(section) = known.at_hand(endpoint) else {
            return Ok(None);
        };
        // If this is another server, whatever it says there is nobody's failure.
        let document = self.ask_document(section, false).await?;
        let document = document.ok().flatten();
        Ok(document.and_then(|document| document.resource(endpoint).cloned()))
    }

    async fn at_the_usual_place(
        &self,
        catalog: &mut Option<Catalog>,
        endpoint: &str,
    ) -> Result<Option<Arc<Resource>>, Failure> {
        // What a folder has is kept by its list.
        if self.client().metadata_folder().is_some() {
            return Ok(None);
        }
        let guess = self.client().usual_places().guess(endpoint, self.base());
        let Some(url) = guess else {
            return Ok(None);
        };
        let mut section = locate::unlisted(url);
        let document = self.ask_document(&mut section, false).await?;
        let document = document.ok().flatten();
        let resource = document.and_then(|document| document.resource(endpoint).cloned());
        match resource {
            Some(_) => *catalog = Some(locate::without_list(&self.fetcher, section)),
            None => self.client().usual_places().forget(endpoint),
        }
        Ok(resource)
    }

    /// The natural key of an endpoint; `None` where nobody says what it is.
    pub(crate) async fn identity(&self, endpoint: &str) -> Result<Option<Arc<Identity>>, Failure> {
        if is_descriptor(endpoint) {
            return Ok(Some(Arc::new(Identity::of_descriptor())));
        }
        let mut metadata = *self;
        metadata.fetcher.are_columns = false;
        let described = metadata.describe(endpoint).await?;
        Ok(described
            .resource()
            .and_then(|resource| resource.identity.clone()))
    }

    /// All documents of the ODS; `None` where it serves no metadata. One that its list promises and
    /// that is not there fails: without it, what it describes would seem to be gone.
    pub(crate) async fn documents(&self) -> Result<Option<Vec<Arc<Document>>>, Failure> {
        if self.is_absent() {
            return Ok(None);
        }
        let slot = self.slot();
        let mut catalog = self.catalog(&slot).await?;
        self.refresh(&mut catalog).await?;
        let Some(catalog) = &mut *catalog else {
            return Ok(None);
        };
        let mut documents = Vec::new();
        for section in catalog.in_order("") {
            documents.extend(self.document(section, section.is_promised).await?);
        }
        Ok(Some(documents))
    }

    fn version(&self) -> Option<&'a str> {
        self.api_version.or(self.client().api_version())
    }

    /// Whether there cannot be any: nobody knows where to look below a data URL; or whether this
    /// client has looked in vain before.
    fn is_absent(&self) -> bool {
        let version = self.version();
        version.is_some_and(|version| urls::version_segment(version).is_empty())
            || !self.current && self.client().lacks_metadata(self.base())
    }

    /// Sees to it that the list is there, if the ODS has one.
    async fn refresh(&self, cached: &mut Option<Catalog>) -> Result<(), Failure> {
        if let Some(catalog) = cached
            && !self.asks_again(&catalog.url, catalog.asked, catalog.etag.as_ref())
        {
            return Ok(());
        }
        let shelf = self.shelf().await?;
        let of_others = match cached {
            Some(catalog) => !self.client().knows(&catalog.url),
            None => true,
        };
        if let Some(shelf) = &shelf
            && of_others
            && let Some(mut kept) = locate::kept(&self.fetcher, shelf).await?
        {
            // What is of the release that the ODS has now is as good as asked for.
            kept.asked = (shelf.knows_release() && !self.current).then(Instant::now);
            *cached = Some(match cached {
                Some(before) => kept.with_cached_of(before),
                None => kept,
            });
        }
        let mut before = None;
        if let Some(catalog) = cached
            && catalog.asked.is_none_or(|asked| asked < self.since)
        {
            let fresh = self.ask_list(catalog, shelf.as_ref()).await?;
            let fresh = match of_others {
                // This may be another server, which has its list elsewhere.
                true => fresh.unwrap_or_default(),
                false => fresh?,
            };
            before = std::mem::replace(cached, fresh);
        }
        if cached.is_none() {
            let has_version = self.version().is_some();
            *cached = locate::find(&self.fetcher, has_version, shelf.as_ref()).await?;
        }
        if let Some(mut before) = before {
            *cached = cached.take().map(|fresh| fresh.with_cached_of(&mut before));
        }
        if let Some(catalog) = cached {
            self.client().has_seen(&catalog.url);
        }
        self.client()
            .set_lacks_metadata(self.base(), cached.is_none());
        Ok(())
    }

    /// The list as it is now where it was before; `None` if it is no more. The inner failure is that
    /// of an answer.
    async fn ask_list(
        &self,
        before: &Catalog,
        shelf: Option<&Shelf>,
    ) -> Result<Result<Option<Catalog>, Failure>, Failure> {
        let url = &before.url;
        let response = self.fetcher.get(url, before.etag.as_ref()).await?;
        Ok(match response.status {
            StatusCode::NOT_MODIFIED => Ok(Some(before.unchanged())),
            StatusCode::OK => locate::read_list(&self.fetcher, url.clone(), response, shelf).await,
            status if is_nothing(status) => Ok(None),
            _ => Err(self.fetcher.refused(url, &response)),
        })
    }

    /// The document of a section; `None` where it is not there and need not be. That it is not may
    /// be an accident, and is asked again by the next call.
    async fn document(
        &self,
        section: &mut Section,
        must_be: bool,
    ) -> Result<Option<Arc<Document>>, Failure> {
        self.ask_document(section, must_be).await?
    }

    /// As above; the inner failure is that of an answer.
    async fn ask_document(
        &self,
        section: &mut Section,
        must_be: bool,
    ) -> Result<Result<Option<Arc<Document>>, Failure>, Failure> {
        if let Some(cached) = &section.cached
            && !self.asks_again(&section.url, cached.asked, cached.etag.as_ref())
        {
            return Ok(Ok(Some(self.used(cached))));
        }
        let shelf = self.shelf().await?;
        let kept = match &shelf {
            Some(shelf) => cache::kept(shelf, &section.url).await?,
            None => None,
        };
        // One that was kept without an ETag is of the release that the ODS has now.
        let is_certain = |kept: &Cached| kept.etag.is_none();
        if kept.as_ref().is_some_and(is_certain) {
            section.cached = kept.map(Cached::confirmed);
        } else {
            let cached = section.cached.as_ref().or(kept.as_ref());
            let known = cached.and_then(|cached| cached.etag.as_ref());
            let response = self.fetcher.get(&section.url, known).await?;
            match response.status {
                StatusCode::NOT_MODIFIED => {
                    let cached = section.cached.take().or(kept);
                    section.cached = cached.map(Cached::confirmed);
                }
                StatusCode::OK => match self.read_document(&section.url, response, shelf).await {
                    Ok(read) => section.cached = Some(read),
                    Err(failure) => return Ok(Err(failure)),
                },
                status if is_nothing(status) && !must_be => section.cached = None,
                _ => return Ok(Err(self.fetcher.refused(&section.url, &response))),
            }
        }
        self.client().has_seen(&section.url);
        let cached = section.cached.as_ref();
        Ok(Ok(cached.map(|cached| self.used(cached))))
    }

    /// A document that is going to be used; where the data is, it says as well.
    fn used(&self, cached: &Cached) -> Arc<Document> {
        if let Some(path) = &cached.data {
            self.client().told_data(self.base(), path);
        }
        cached.document.clone()
    }

    /// Whether the server is to be asked for what is at hand: once by each client, and where it
    /// must be current each time, but for what would come as a whole, as it has no ETag.
    fn asks_again(&self, url: &Url, asked: Option<Instant>, etag: Option<&HeaderValue>) -> bool {
        match asked {
            None => true,
            Some(asked) if asked >= self.since => false,
            Some(_) => self.current && etag.is_some() || !self.client().knows(url),
        }
    }

    async fn shelf(&self) -> Result<Option<Shelf>, Failure> {
        self.fetcher.shelf(self.version().is_some()).await
    }

    async fn read_document(
        &self,
        url: &Url,
        mut response: Response,
        shelf: Option<Shelf>,
    ) -> Result<Cached, Failure> {
        let body = std::mem::take(&mut response.body);
        let etag = response.headers.get(ETAG).cloned();
        let leave = shelf.map(|shelf| (shelf, url.clone(), etag.clone()));
        let read = runtime::compute(move || {
            let read = cache::read(&body)?;
            if let Some((shelf, url, etag)) = leave {
                shelf.keep(&url, &url, etag.as_ref(), &body);
            }
            Ok(read)
        });
        let read: Result<_, String> = read
            .await
            .map_err(|error| Failure::new(error.to_string()))?;
        let (document, data) = read.map_err(|what| self.fetcher.unusable(url, &response, &what))?;
        Ok(Cached {
            etag,
            document,
            data,
            asked: Some(Instant::now()),
        })
    }
}
