//! What this process keeps of the metadata of each ODS.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use reqwest::Url;
use reqwest::header::HeaderValue;
use tokio::sync::MutexGuard;

use super::shelf::{MetadataFolder, Shelf};
use crate::client::flight::Shared;
use crate::client::urls::BaseUrl;
use crate::openapi::{Document, Topic, Unread};
use crate::per_process::PerProcess;
use crate::runtime::{self, lock};
use crate::{Failure, Result};

static CATALOGS: PerProcess<Mutex<HashMap<Place, Arc<Slot>>>> = PerProcess::new();
/// Every document that is in use: districts of the same release have the same one.
static DOCUMENTS: PerProcess<Mutex<HashMap<Digest, Weak<Document>>>> = PerProcess::new();

/// The documents by the bytes that they were read from; whoever brings the same waits for the one
/// who reads them.
static READ: PerProcess<Mutex<ByBytes>> = PerProcess::new();

pub(super) type Digest = [u8; 32];
type ByBytes = HashMap<Digest, Arc<Mutex<Known>>>;
/// An ODS, and the folder in which its metadata is kept.
type Place = (BaseUrl, Option<MetadataFolder>);

/// A document that was read before, and the path of the data that it says.
#[derive(Debug, Default)]
struct Known {
    document: Weak<Document>,
    data: Option<Arc<str>>,
}

/// The catalog of one ODS; whoever comes while something is fetched waits for it.
pub(super) type Slot = Shared<Option<Catalog>>;

/// The catalog of one ODS as a call holds it.
pub(super) enum Held<'s> {
    /// That of the process.
    Shared(MutexGuard<'s, Option<Catalog>>),
    /// Its own, as another call has the other one for too long.
    Own(Option<Catalog>),
}

impl Deref for Held<'_> {
    type Target = Option<Catalog>;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Shared(catalog) => catalog,
            Self::Own(catalog) => catalog,
        }
    }
}

impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match self {
            Self::Shared(catalog) => catalog,
            Self::Own(catalog) => catalog,
        }
    }
}

/// The list of an ODS's documents.
#[derive(Debug)]
pub(super) struct Catalog {
    pub(super) url: Url,
    pub(super) etag: Option<HeaderValue>,
    /// When the server has last said that this is its list; `None` where nobody has asked it.
    pub(super) asked: Option<Instant>,
    pub(super) sections: Vec<Section>,
}

/// One entry of the list.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) topic: Topic,
    pub(super) url: Url,
    /// Whether a list names it as what describes the data: then all documents are not without it.
    pub(super) is_promised: bool,
    pub(super) cached: Option<Cached>,
}

/// What came of a section.
#[derive(Debug, Clone)]
pub(super) struct Cached {
    pub(super) etag: Option<HeaderValue>,
    pub(super) document: Arc<Document>,
    /// The path of the data, as the document says.
    pub(super) data: Option<Arc<str>>,
    /// When the server has last said that this is its document; `None` where nobody has asked it.
    pub(super) asked: Option<Instant>,
}

/// The place of an ODS's catalog.
pub(super) fn slot(base: &BaseUrl, folder: Option<&MetadataFolder>) -> Arc<Slot> {
    let mut catalogs = lock(CATALOGS.get());
    let place = (base.clone(), folder.cloned());
    catalogs.entry(place).or_default().clone()
}

/// How long a hint waits for the documents that somebody is fetching.
const WORTH_A_HINT: Duration = Duration::from_secs(1);

/// The documents of an ODS that are at hand, as far as it is known whether they are those that the
/// ODS has now.
pub(super) async fn at_hand(
    base: &BaseUrl,
    folder: Option<&MetadataFolder>,
    is_known: impl Fn(&Url) -> bool + Send,
) -> Vec<Arc<Document>> {
    let slot = slot(base, folder);
    let Ok(catalog) = tokio::time::timeout(WORTH_A_HINT, slot.value().lock()).await else {
        return Vec::new();
    };
    let sections = catalog.iter().flat_map(|catalog| &catalog.sections);
    let sections = sections.filter(|section| is_known(&section.url));
    let cached = sections.filter_map(|section| section.cached.as_ref());
    cached.map(|cached| cached.document.clone()).collect()
}

/// The document that was read from bytes of this digest, as long as it is in use.
pub(super) fn by_digest(digest: &Digest) -> Option<(Arc<Document>, Option<Arc<str>>)> {
    let slots = lock(READ.get());
    let slot = slots.get(digest)?.clone();
    drop(slots);
    let known = lock(&slot);
    Some((known.document.upgrade()?, known.data.clone()))
}

/// Reads a document, once for all ODSs that send the same bytes.
pub(super) fn read(body: &[u8]) -> Result<(Arc<Document>, Option<Arc<str>>), String> {
    let mut digest = Digest::default();
    digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, body).as_ref());
    let slot = {
        let mut slots = lock(READ.get());
        // One that is being read has nothing in it yet, and is locked.
        slots.retain(|_, slot| match slot.try_lock() {
            Ok(known) => known.document.strong_count() > 0,
            Err(_) => true,
        });
        slots.entry(digest).or_default().clone()
    };
    let mut known = lock(&slot);
    if let Some(document) = known.document.upgrade() {
        return Ok((document, known.data.clone()));
    }
    let unread = Unread::parse(body)?;
    let (document, data) = (shared(&unread)?, unread.data().map(Arc::from));
    *known = Known {
        document: Arc::downgrade(&document),
        data: data.clone(),
    };
    Ok((document, data))
}

/// The document that was kept for a URL.
pub(super) async fn kept(shelf: &Shelf, url: &Url) -> Result<Option<Cached>, Failure> {
    let (shelf, url) = (shelf.clone(), url.clone());
    let read = runtime::compute(move || {
        let kept = shelf.find(&url)?;
        let known = by_digest(&kept.digest);
        let (document, data) = match known {
            Some(known) => known,
            None => read(&kept.read()?).ok()?,
        };
        Some(Cached {
            etag: kept.etag,
            document,
            data,
            asked: None,
        })
    });
    let read = read.await;
    read.map_err(|error| Failure::new(error.to_string()))
}

/// The document that the process has already, if it is the same but for where its ODS is.
fn shared(unread: &Unread<'_>) -> Result<Arc<Document>, String> {
    let digest = unread.digest();
    let documents = || lock(DOCUMENTS.get());
    if let Some(known) = documents().get(&digest).and_then(Weak::upgrade) {
        return Ok(known);
    }
    let new = Arc::new(unread.document()?);
    let mut documents = documents();
    if let Some(known) = documents.get(&digest).and_then(Weak::upgrade) {
        return Ok(known);
    }
    documents.retain(|_, known| known.strong_count() > 0);
    documents.insert(digest, Arc::downgrade(&new));
    Ok(new)
}

impl Cached {
    /// The same, as the server has just said.
    pub(super) fn confirmed(self) -> Self {
        Self {
            asked: Some(Instant::now()),
            ..self
        }
    }
}

impl Catalog {
    /// The same list, as the server has just said, without what was fetched beside it.
    pub(super) fn unchanged(&self) -> Self {
        let sections = self.sections.iter().map(|section| Section {
            topic: section.topic.clone(),
            url: section.url.clone(),
            is_promised: section.is_promised,
            cached: match section.url == self.url {
                true => section.cached.clone().map(Cached::confirmed),
                false => None,
            },
        });
        Self {
            url: self.url.clone(),
            etag: self.etag.clone(),
            asked: Some(Instant::now()),
            sections: sections.collect(),
        }
    }

    /// Takes over what was fetched of the same documents before.
    pub(super) fn with_cached_of(mut self, before: &mut Self) -> Self {
        for section in &mut self.sections {
            let mut known = before.sections.iter_mut();
            if let Some(known) = known.find(|known| known.url == section.url)
                && section.cached.is_none()
            {
                section.cached = known.cached.take();
            }
        }
        self
    }

    /// The first section whose document describes an endpoint, as far as documents are at hand.
    pub(super) fn at_hand(&mut self, endpoint: &str) -> Option<&mut Section> {
        let describes = |section: &&mut Section| {
            let cached = section.cached.as_ref();
            cached.is_some_and(|cached| cached.document.resource(endpoint).is_some())
        };
        self.in_order(endpoint).into_iter().find(describes)
    }

    /// The sections in the order in which they most likely describe an endpoint.
    pub(super) fn in_order(&mut self, endpoint: &str) -> Vec<&mut Section> {
        let mut ordered: Vec<&mut Section> = self.sections.iter_mut().collect();
        ordered.sort_by_key(|section| section.topic.rank(endpoint));
        ordered
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Barrier};

    use super::read;

    const BODY: &str = r#"{"paths": {"/ed-fi/reads": {"get": {"parameters": []}}}}"#;

    #[test]
    fn the_same_bytes_are_read_once() {
        let barrier = Barrier::new(4);
        let readers = || {
            barrier.wait();
            read(BODY.as_bytes()).expect("a document").0
        };
        let documents: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(readers)).collect();
            let ends = threads.into_iter().map(|thread| thread.join());
            ends.map(|document| document.expect("no panic")).collect()
        });
        let first = &documents[0];
        assert!(documents.iter().all(|other| Arc::ptr_eq(first, other)));
        // Other bytes of the same document are the same document, too.
        let elsewhere = BODY.replacen('{', r#"{"servers": [{"url": "https://b/data/v3"}], "#, 1);
        for (text, place) in [(format!("{BODY} "), None), (elsewhere, Some("/data/v3"))] {
            let (other, data) = read(text.as_bytes()).expect("a document");
            assert!(Arc::ptr_eq(first, &other));
            assert_eq!(data.as_deref(), place);
        }
        for wrong in ["", "{}", "[", "1"] {
            assert!(read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
