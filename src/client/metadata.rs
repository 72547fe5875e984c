//! The OpenAPI documents of one ODS: found, fetched when they are needed, kept for the process.
//!
//! The discovery document says where they are listed, else `{base}/metadata/` is tried. Of the
//! list, the sections of resources, descriptors and extensions count. Nothing but paths is taken
//! from what the server says: requests stay within the origin of the base URL.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use reqwest::header::{ACCEPT, ETAG, HeaderValue, IF_NONE_MATCH};
use reqwest::{StatusCode, Url};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::session::{Access, CallContext};
use super::transport::{Answer, Call};
use super::urls::{self, BaseUrl};
use crate::Failure;
use crate::columns::Record;
use crate::columns::openapi::{Document, Resource};
use crate::runtime;

/// Where the documents are listed if nobody says so.
const LIST: &str = "metadata/";
/// What the Data Management Service serves, whether or not it lists it.
const SPECIFICATIONS: [(&str, &str); 2] = [
    ("Resources", "resources-spec.json"),
    ("Descriptors", "descriptors-spec.json"),
];
/// Sections that describe no resources, by name, by prefix or in their path.
const OTHERS: [&str; 6] = [
    "changequeries",
    "composites",
    "dependencies",
    "identity",
    "other",
    "profiles",
];

static CACHE: LazyLock<Mutex<HashMap<BaseUrl, Arc<Slot>>>> = LazyLock::new(Mutex::default);
/// Every document that is in use: districts of the same release have the same one.
static DOCUMENTS: Mutex<Vec<Weak<Document>>> = Mutex::new(Vec::new());

/// What is kept of one ODS; whoever comes while something is fetched waits for it.
type Slot = tokio::sync::Mutex<Option<Listing>>;

/// The metadata of one ODS, asked for on behalf of one call.
#[derive(Clone, Copy)]
pub(crate) struct Metadata<'a> {
    context: &'a CallContext,
    base: &'a BaseUrl,
    api_version: Option<&'a str>,
    /// What a server is shown that gives its metadata to nobody unknown.
    access: Option<&'a Access>,
    requests: Option<&'a Semaphore>,
    /// Whether what the process has must be what the server has.
    current: bool,
}

/// What the metadata says of one endpoint.
#[derive(Debug, Clone)]
pub(crate) enum Described {
    /// The ODS serves no metadata.
    NoMetadata,
    /// It does, but not for this endpoint.
    Unknown,
    Resource(Arc<Resource>),
}

impl Described {
    pub(crate) fn resource(&self) -> Option<&Resource> {
        match self {
            Self::Resource(resource) => Some(resource),
            Self::NoMetadata | Self::Unknown => None,
        }
    }

    /// What the records of the endpoint are made of, where that is known.
    pub(crate) fn record(&self) -> Option<&Record> {
        self.resource()?.record.as_ref()
    }
}

/// The list of documents.
#[derive(Debug)]
struct Listing {
    url: Url,
    etag: Option<HeaderValue>,
    sections: Vec<Section>,
}

/// One entry of the list.
#[derive(Debug)]
struct Section {
    name: String,
    prefix: String,
    url: Url,
    kept: Option<Kept>,
}

/// What came of a section.
#[derive(Debug, Clone)]
struct Kept {
    etag: Option<HeaderValue>,
    /// `None` where the list names a document that is not there.
    document: Option<Arc<Document>>,
}

/// What a server answered where a list should be.
enum Found {
    /// Entries: name, prefix, address.
    Sections(Vec<[String; 3]>),
    /// The document itself.
    Document(Document),
    /// The list is elsewhere.
    Elsewhere(String),
    /// Something that is no metadata.
    Nothing,
}

impl<'a> Metadata<'a> {
    /// The metadata of the ODS that a row or a client has access to.
    pub(crate) fn of(context: &'a CallContext, access: &'a Access) -> Self {
        Self {
            access: Some(access),
            api_version: access.api_version.as_deref(),
            ..Self::anonymous(context, &access.base)
        }
    }

    /// The metadata of an ODS that no token is known for.
    pub(crate) fn anonymous(context: &'a CallContext, base: &'a BaseUrl) -> Self {
        Self {
            context,
            base,
            api_version: None,
            access: None,
            requests: None,
            current: false,
        }
    }

    /// Takes a permit for each request.
    pub(crate) fn limited(self, requests: &'a Semaphore) -> Self {
        Self {
            requests: Some(requests),
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

    /// What the ODS's documents say of an endpoint; no more of them are fetched than it takes.
    pub(crate) async fn describe(&self, endpoint: &str) -> Result<Described, Failure> {
        if self.is_absent() {
            return Ok(Described::NoMetadata);
        }
        let slot = self.slot();
        let mut listing = self.unless_cancelled(slot.lock()).await?;
        self.list(&mut listing).await?;
        let Some(listing) = &mut *listing else {
            return Ok(Described::NoMetadata);
        };
        for section in in_order(&mut listing.sections, endpoint) {
            if let Some(document) = self.document(section).await?
                && let Some(resource) = document.resource(endpoint)
            {
                return Ok(Described::Resource(resource.clone()));
            }
        }
        Ok(Described::Unknown)
    }

    /// All documents of the ODS; `None` where it serves no metadata.
    pub(crate) async fn documents(&self) -> Result<Option<Vec<Arc<Document>>>, Failure> {
        if self.is_absent() {
            return Ok(None);
        }
        let slot = self.slot();
        let mut listing = self.unless_cancelled(slot.lock()).await?;
        self.list(&mut listing).await?;
        let Some(listing) = &mut *listing else {
            return Ok(None);
        };
        let mut documents = Vec::new();
        for section in in_order(&mut listing.sections, "") {
            documents.extend(self.document(section).await?);
        }
        Ok(Some(documents))
    }

    /// Whether there cannot be any: nobody knows where to look below a data URL; or whether this
    /// client has looked in vain before.
    fn is_absent(&self) -> bool {
        let version = self.api_version.or(self.context.client.api_version());
        version.is_some_and(|version| urls::version_segment(version).is_empty())
            || !self.current && self.context.client.lacks_metadata(self.base)
    }

    fn slot(&self) -> Arc<Slot> {
        let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
        cache.entry(self.base.clone()).or_default().clone()
    }

    async fn unless_cancelled<T>(&self, wait: impl Future<Output = T>) -> Result<T, Failure> {
        let control = &self.context.control;
        tokio::select! {
            done = wait => Ok(done),
            () = control.cancelled() => Err(control.not_sent()),
        }
    }

    /// Sees to it that the list is there, if the ODS has one.
    async fn list(&self, kept: &mut Option<Listing>) -> Result<(), Failure> {
        if let Some(listing) = kept {
            if !self.current {
                return Ok(());
            }
            let answer = self.get(&listing.url, listing.etag.as_ref()).await?;
            match answer.status {
                StatusCode::NOT_MODIFIED => return Ok(()),
                StatusCode::OK => {
                    let fresh = self.read_list(listing.url.clone(), answer).await?;
                    *kept = fresh.map(|fresh| fresh.with_kept_of(listing));
                }
                status if is_nothing(status) => *kept = None,
                _ => return Err(self.refused(&listing.url, &answer)),
            }
        }
        if kept.is_none() {
            *kept = self.find().await?;
        }
        self.context
            .client
            .set_lacks_metadata(self.base, kept.is_none());
        Ok(())
    }

    /// Looks for the list.
    async fn find(&self) -> Result<Option<Listing>, Failure> {
        let discovery = {
            let _request = self.permit().await?;
            let (client, control) = (&self.context.client, &self.context.control);
            match client.discovery(self.base, control).await {
                // Where the data is, is known without it: perhaps the metadata is there, too.
                Err(failure)
                    if failure.http_status == Some(500)
                        && self.api_version.or(client.api_version()).is_some() =>
                {
                    Default::default()
                }
                discovery => discovery?,
            }
        };
        let usual = format!("{}/", self.base.join(LIST).path());
        let mut places = vec![usual.clone()];
        if let Some(said) = discovery.metadata()
            && said.trim_end_matches('/') != usual.trim_end_matches('/')
        {
            places.insert(0, said.to_owned());
        } else if let Some(said) = discovery.metadata() {
            places[0] = said.to_owned();
        }
        for path in places {
            let url = self.at(&path, None);
            let answer = self.get(&url, None).await?;
            let found = match answer.status {
                StatusCode::OK => self.read_list(url, answer).await?,
                status if is_nothing(status) => self.specifications(&url),
                _ => return Err(self.refused(&url, &answer)),
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The documents that stand where a list is missing in the Data Management Service.
    fn specifications(&self, url: &Url) -> Option<Listing> {
        let folder = url.path().trim_end_matches('/');
        folder.ends_with("/specifications").then(|| Listing {
            url: url.clone(),
            etag: None,
            sections: SPECIFICATIONS
                .map(|(name, file)| Section {
                    name: name.to_owned(),
                    prefix: String::new(),
                    url: self.at(&format!("{folder}/{file}"), None),
                    kept: None,
                })
                .into(),
        })
    }

    /// Makes a list of what was answered; `None` if it is JSON, but no metadata.
    async fn read_list(&self, url: Url, answer: Answer) -> Result<Option<Listing>, Failure> {
        let (mut url, mut answer) = (url, answer);
        // A list that is elsewhere is looked for there, once.
        for _ in 0..2 {
            let etag = answer.headers.get(ETAG).cloned();
            let body = std::mem::take(&mut answer.body);
            let found = runtime::compute(move || read(&body))
                .await
                .map_err(|error| Failure::new(error.to_string()))?;
            let found = found.map_err(|what| self.unusable(&url, &answer, &what))?;
            let sections = match found {
                Found::Sections(entries) => entries
                    .into_iter()
                    .filter_map(|entry| self.section(&url, entry))
                    .collect(),
                Found::Document(document) => vec![Section {
                    name: String::new(),
                    prefix: String::new(),
                    url: url.clone(),
                    kept: Some(Kept {
                        etag: etag.clone(),
                        document: Some(shared(document)),
                    }),
                }],
                Found::Nothing => return Ok(None),
                Found::Elsewhere(place) => {
                    let Some(next) = self.resolve(&url, &place) else {
                        return Ok(None);
                    };
                    url = next;
                    answer = self.get(&url, None).await?;
                    match answer.status {
                        StatusCode::OK => continue,
                        status if is_nothing(status) => return Ok(self.specifications(&url)),
                        _ => return Err(self.refused(&url, &answer)),
                    }
                }
            };
            return Ok(Some(Listing {
                url,
                etag,
                sections,
            }));
        }
        Ok(None)
    }

    fn section(&self, list: &Url, [name, prefix, address]: [String; 3]) -> Option<Section> {
        let url = self.resolve(list, &address)?;
        let is_other = |text: &str| OTHERS.contains(&plain(text).as_str());
        let below = url.path().strip_prefix(self.base.as_url().path());
        let in_path = || below.unwrap_or(url.path()).split('/').any(is_other);
        if is_other(&name) || is_other(&prefix) || in_path() {
            return None;
        }
        Some(Section {
            name: plain(&name),
            prefix: plain(&prefix),
            url,
            kept: None,
        })
    }

    /// An address as the server wrote it, at the origin that this call may talk to.
    fn resolve(&self, list: &Url, address: &str) -> Option<Url> {
        if address.contains('{') {
            return None;
        }
        let url = list.join(address.trim()).ok()?;
        Some(self.at(url.path(), url.query()))
    }

    fn at(&self, path: &str, query: Option<&str>) -> Url {
        let mut url = self.base.as_url().clone();
        url.set_path(path);
        url.set_query(query);
        url
    }

    /// The document of a section, if it is there.
    async fn document(&self, section: &mut Section) -> Result<Option<Arc<Document>>, Failure> {
        if let Some(kept) = &section.kept
            && !self.current
        {
            return Ok(kept.document.clone());
        }
        let known = section.kept.as_ref().and_then(|kept| kept.etag.as_ref());
        let answer = self.get(&section.url, known).await?;
        let kept = match answer.status {
            StatusCode::NOT_MODIFIED => section.kept.clone(),
            StatusCode::OK => Some(self.read_document(&section.url, answer).await?),
            status if is_nothing(status) => Some(Kept {
                etag: None,
                document: None,
            }),
            _ => return Err(self.refused(&section.url, &answer)),
        };
        section.kept = kept;
        Ok(section.kept.as_ref().and_then(|kept| kept.document.clone()))
    }

    async fn read_document(&self, url: &Url, mut answer: Answer) -> Result<Kept, Failure> {
        let body = std::mem::take(&mut answer.body);
        let document = runtime::compute(move || Document::parse(&body).map(shared))
            .await
            .map_err(|error| Failure::new(error.to_string()))?;
        Ok(Kept {
            etag: answer.headers.get(ETAG).cloned(),
            document: Some(document.map_err(|what| self.unusable(url, &answer, &what))?),
        })
    }

    async fn permit(&self) -> Result<Option<tokio::sync::SemaphorePermit<'a>>, Failure> {
        match self.requests {
            Some(requests) => requests
                .acquire()
                .await
                .map(Some)
                .map_err(|_| Failure::new("the call is over")),
            None => Ok(None),
        }
    }

    /// Asks without a token, as metadata is for everybody; with one where that is refused.
    async fn get(&self, url: &Url, known: Option<&HeaderValue>) -> Result<Answer, Failure> {
        let _request = self.permit().await?;
        let mut call = Call::get(url.clone());
        call.headers
            .push((ACCEPT, HeaderValue::from_static("application/json")));
        if let Some(etag) = known {
            call.headers.push((IF_NONE_MATCH, etag.clone()));
        }
        let (client, control) = (&self.context.client, &self.context.control);
        let mut anonymous = call.clone();
        let answer = client
            .transport()
            .send(&mut anonymous, client.policy(), control)
            .await?;
        match self.access {
            Some(access) if answer.status == StatusCode::UNAUTHORIZED => {
                self.context.send(access, &mut call, client.policy()).await
            }
            _ => Ok(answer),
        }
    }

    fn refused(&self, url: &Url, answer: &Answer) -> Failure {
        self.placed(url, answer.refusal())
    }

    fn unusable(&self, url: &Url, answer: &Answer, what: &str) -> Failure {
        self.placed(url, answer.unusable(what))
    }

    /// Says that it was the metadata that failed.
    fn placed(&self, url: &Url, mut failure: Failure) -> Failure {
        if failure.http_status != Some(401) && !self.context.control.is_cancelled() {
            failure.message = format!(
                "{} (the ODS's OpenAPI metadata, {}; schema=\"infer\" reads without it)",
                failure.message,
                url.path()
            );
        }
        failure
    }
}

impl Listing {
    /// Takes over what was fetched of the same documents before.
    fn with_kept_of(mut self, before: &mut Self) -> Self {
        for section in &mut self.sections {
            let mut known = before.sections.iter_mut();
            if let Some(known) = known.find(|known| known.url == section.url)
                && section.kept.is_none()
            {
                section.kept = known.kept.take();
            }
        }
        self
    }
}

/// The sections in the order in which they most likely know an endpoint.
fn in_order<'s>(sections: &'s mut [Section], endpoint: &str) -> Vec<&'s mut Section> {
    let namespace = plain(endpoint.split('/').next().unwrap_or_default());
    let of_descriptor = endpoint.to_ascii_lowercase().ends_with("descriptors");
    let mut ordered: Vec<&mut Section> = sections.iter_mut().collect();
    ordered.sort_by_key(|section| {
        let own = !namespace.is_empty() && [&section.name, &section.prefix].contains(&&namespace);
        let is =
            |what: &str| section.name.contains(what) || plain(section.url.path()).contains(what);
        match (
            of_descriptor,
            is("descriptors"),
            section.name == "resources",
        ) {
            (true, true, _) | (false, false, _) if own && namespace != "edfi" => 0,
            (true, true, _) | (false, _, true) => 1,
            (false, true, _) | (true, _, true) => 3,
            _ => 2,
        }
    });
    ordered
}

/// A name without what writers do not agree on: `Change-Queries`, `changeQueries`.
fn plain(name: &str) -> String {
    let letters = name.chars().filter(|c| c.is_ascii_alphanumeric());
    letters.map(|c| c.to_ascii_lowercase()).collect()
}

/// Whether a status says that there is nothing at this place.
fn is_nothing(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE)
}

fn read(body: &[u8]) -> Result<Found, String> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let value: Value =
        serde_json::from_slice(body).map_err(|error| format!("not JSON: {error}"))?;
    if let Some(document) = Document::of(&value) {
        return Ok(Found::Document(document));
    }
    if let Some(place) = ["specifications", "openApiMetadata"]
        .iter()
        .find_map(|name| {
            value
                .get(name)
                .or_else(|| value.get("urls")?.get(name))?
                .as_str()
        })
    {
        return Ok(Found::Elsewhere(place.to_owned()));
    }
    let entries = value.as_array().into_iter().flatten();
    let entries: Vec<[String; 3]> = entries
        .filter_map(|entry| {
            let text = |name: &str| entry.get(name).and_then(Value::as_str);
            let address = text("endpointUri")?;
            let plain = |name: &str| text(name).unwrap_or_default().to_owned();
            Some([plain("name"), plain("prefix"), address.to_owned()])
        })
        .collect();
    match entries.is_empty() {
        true => Ok(Found::Nothing),
        false => Ok(Found::Sections(entries)),
    }
}

/// The document that the process has already, if it is the same.
fn shared(document: Document) -> Arc<Document> {
    let mut documents = DOCUMENTS.lock().unwrap_or_else(PoisonError::into_inner);
    documents.retain(|known| known.strong_count() > 0);
    let known = documents.iter().filter_map(Weak::upgrade);
    if let Some(known) = known.into_iter().find(|known| **known == document) {
        return known;
    }
    let new = Arc::new(document);
    documents.push(Arc::downgrade(&new));
    new
}
