//! The OpenAPI documents of one ODS: found, fetched when they are needed, cached for the process.

mod cache;
mod dependencies;
mod fetch;
mod locate;

use std::sync::Arc;

use reqwest::header::ETAG;
use reqwest::{StatusCode, Url};

use self::cache::{Cached, Catalog, Section};
use self::fetch::{Fetcher, is_nothing};
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
pub(crate) fn meant(base: &BaseUrl, url: &Url) -> Option<String> {
    let documents = cache::at_hand(base);
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

    /// What the ODS's documents say of an endpoint; no more of them are fetched than it takes.
    pub(crate) async fn describe(&self, endpoint: &str) -> Result<Described, Failure> {
        if self.is_absent() {
            return Ok(Described::NoMetadata);
        }
        let slot = cache::slot(self.base());
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
        let slot = cache::slot(self.base());
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
        if let Some(catalog) = cached {
            if !self.current {
                return Ok(());
            }
            let response = self
                .fetcher
                .get(&catalog.url, catalog.etag.as_ref())
                .await?;
            match response.status {
                StatusCode::NOT_MODIFIED => return Ok(()),
                StatusCode::OK => {
                    let fresh =
                        locate::read_list(&self.fetcher, catalog.url.clone(), response).await?;
                    *cached = fresh.map(|fresh| fresh.with_cached_of(catalog));
                }
                status if is_nothing(status) => *cached = None,
                _ => return Err(self.fetcher.refused(&catalog.url, &response)),
            }
        }
        if cached.is_none() {
            *cached = locate::find(&self.fetcher, self.version().is_some()).await?;
        }
        self.client()
            .set_lacks_metadata(self.base(), cached.is_none());
        Ok(())
    }

    /// The document of a section, if it is there. That it is not may be an accident, and is asked
    /// again by the next call.
    async fn document(&self, section: &mut Section) -> Result<Option<Arc<Document>>, Failure> {
        if let Some(cached) = &section.cached
            && !self.current
        {
            return Ok(Some(cached.document.clone()));
        }
        let cached = section.cached.as_ref();
        let known = cached.and_then(|cached| cached.etag.as_ref());
        let response = self.fetcher.get(&section.url, known).await?;
        match response.status {
            StatusCode::NOT_MODIFIED => {}
            StatusCode::OK => {
                section.cached = Some(self.read_document(&section.url, response).await?);
            }
            status if is_nothing(status) => section.cached = None,
            _ => return Err(self.fetcher.refused(&section.url, &response)),
        }
        let cached = section.cached.as_ref();
        Ok(cached.map(|cached| cached.document.clone()))
    }

    async fn read_document(&self, url: &Url, mut response: Response) -> Result<Cached, Failure> {
        let body = std::mem::take(&mut response.body);
        let document = runtime::compute(move || cache::read(&body))
            .await
            .map_err(|error| Failure::new(error.to_string()))?;
        Ok(Cached {
            etag: response.headers.get(ETAG).cloned(),
            document: document.map_err(|what| self.fetcher.unusable(url, &response, &what))?,
        })
    }
}
