//! The OpenAPI documents of one ODS: found, fetched when they are needed, cached for the process.

mod cache;
mod dependencies;
mod fetch;
mod locate;
mod shelf;

use std::sync::Arc;

use reqwest::header::{ETAG, HeaderValue};
use reqwest::{StatusCode, Url};

use self::cache::{Cached, Catalog, Section, Slot};
use self::fetch::{Fetcher, is_nothing};
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

/// The metadata of one ODS, asked for on behalf of one call.
#[derive(Clone, Copy)]
pub(crate) struct Metadata<'a> {
    fetcher: Fetcher<'a>,
    api_version: Option<&'a str>,
    /// Whether what the process has must be what the server has.
    current: bool,
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
pub(crate) fn meant(client: &EdFiClient, base: &BaseUrl, url: &Url) -> Option<String> {
    let documents = cache::at_hand(base, client.metadata_folder());
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
            },
            api_version: access.api_version.as_deref(),
            current: false,
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
            },
            api_version: None,
            current: false,
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

    /// Asks the server whether what the process has is still what there is.
    pub(crate) fn current(self) -> Self {
        Self {
            current: true,
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

    /// What the ODS's documents say of an endpoint; no more of them are fetched than it takes.
    pub(crate) async fn describe(&self, endpoint: &str) -> Result<Described, Failure> {
        if self.is_absent() {
            return Ok(Described::NoMetadata);
        }
        let slot = self.slot();
        let mut catalog = self.unless_cancelled(slot.lock()).await?;
        self.refresh(&mut catalog).await?;
        let Some(catalog) = &mut *catalog else {
            return Ok(Described::NoMetadata);
        };
        let mut documents = Vec::new();
        for section in catalog.in_order(endpoint) {
            let Some(document) = self.document(section).await? else {
                continue;
            };
            if let Some(resource) = document.resource(endpoint) {
                return Ok(Described::Resource(resource.clone()));
            }
            documents.push(document);
        }
        let nearest = nearest_endpoint(endpoint, endpoints(&documents));
        Ok(Described::Unknown(nearest.map(Into::into)))
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

    /// All documents of the ODS; `None` where it serves no metadata.
    pub(crate) async fn documents(&self) -> Result<Option<Vec<Arc<Document>>>, Failure> {
        if self.is_absent() {
            return Ok(None);
        }
        let slot = self.slot();
        let mut catalog = self.unless_cancelled(slot.lock()).await?;
        self.refresh(&mut catalog).await?;
        let Some(catalog) = &mut *catalog else {
            return Ok(None);
        };
        let mut documents = Vec::new();
        for section in catalog.in_order("") {
            documents.extend(self.document(section).await?);
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
        let (mut shelf, mut in_doubt) = (None, false);
        if cached.is_none() {
            shelf = self.shelf().await?;
            if let Some(shelf) = &shelf {
                *cached = locate::kept(&self.fetcher, shelf).await?;
                in_doubt = !shelf.knows_release();
            }
        }
        if let Some(catalog) = cached {
            if !in_doubt && !self.asks_again(&catalog.url, catalog.etag.as_ref()) {
                return Ok(());
            }
            if shelf.is_none() {
                shelf = self.shelf().await?;
            }
            let response = self
                .fetcher
                .get(&catalog.url, catalog.etag.as_ref())
                .await?;
            match response.status {
                StatusCode::NOT_MODIFIED => return Ok(()),
                StatusCode::OK => {
                    let url = catalog.url.clone();
                    let fresh = locate::read_list(&self.fetcher, url, response, shelf.as_ref());
                    *cached = fresh.await?.map(|fresh| fresh.with_cached_of(catalog));
                }
                status if is_nothing(status) => *cached = None,
                _ => return Err(self.fetcher.refused(&catalog.url, &response)),
            }
        }
        if cached.is_none() {
            let has_version = self.version().is_some();
            *cached = locate::find(&self.fetcher, has_version, shelf.as_ref()).await?;
        }
        if let Some(catalog) = cached {
            self.client().has_seen(&catalog.url);
        }
        self.client()
            .set_lacks_metadata(self.base(), cached.is_none());
        Ok(())
    }

    /// The document of a section, if it is there. That it is not may be an accident, and is asked
    /// again by the next call.
    async fn document(&self, section: &mut Section) -> Result<Option<Arc<Document>>, Failure> {
        if let Some(cached) = &section.cached
            && !self.asks_again(&section.url, cached.etag.as_ref())
        {
            return Ok(Some(self.used(cached)));
        }
        let shelf = self.shelf().await?;
        let kept = match &shelf {
            Some(shelf) => kept_document(shelf, &section.url).await?,
            None => None,
        };
        let is_certain = |kept: &Cached| kept.etag.is_none();
        if kept.as_ref().is_some_and(is_certain) {
            section.cached = kept;
        } else {
            let cached = section.cached.as_ref().or(kept.as_ref());
            let known = cached.and_then(|cached| cached.etag.as_ref());
            let response = self.fetcher.get(&section.url, known).await?;
            match response.status {
                StatusCode::NOT_MODIFIED => section.cached = section.cached.take().or(kept),
                StatusCode::OK => {
                    let read = self.read_document(&section.url, response, shelf);
                    section.cached = Some(read.await?);
                }
                status if is_nothing(status) => section.cached = None,
                _ => return Err(self.fetcher.refused(&section.url, &response)),
            }
        }
        self.client().has_seen(&section.url);
        let cached = section.cached.as_ref();
        Ok(cached.map(|cached| self.used(cached)))
    }

    /// A document that is going to be used; where the data is, it says as well.
    fn used(&self, cached: &Cached) -> Arc<Document> {
        if let Some(path) = &cached.data {
            self.client().told_data(self.base(), path);
        }
        cached.document.clone()
    }

    /// Whether the server is to be asked for what is at hand. What it gives no ETag for would come
    /// as a whole: each client does that once.
    fn asks_again(&self, url: &Url, etag: Option<&HeaderValue>) -> bool {
        self.current && (etag.is_some() || !self.client().knows(url))
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
        })
    }
}

/// The document that was kept for a URL.
async fn kept_document(shelf: &Shelf, url: &Url) -> Result<Option<Cached>, Failure> {
    let (shelf, url) = (shelf.clone(), url.clone());
    let read = runtime::compute(move || {
        let kept = shelf.find(&url)?;
        let known = cache::by_digest(&kept.digest);
        let (document, data) = match known {
            Some(known) => known,
            None => cache::read(&kept.read()?).ok()?,
        };
        Some(Cached {
            etag: kept.etag,
            document,
            data,
        })
    });
    let read = read.await;
    read.map_err(|error| Failure::new(error.to_string()))
}
