//! Where an ODS lists its OpenAPI documents.
//!
//! The discovery document says it, else `{base}/metadata/` is tried. Of the list, the sections of
//! resources, descriptors and extensions count. Nothing but paths is taken from what the server
//! says: requests stay within the origin of the base URL.

use std::sync::Arc;
use std::time::Instant;

use reqwest::header::{ETAG, HeaderValue};
use reqwest::{StatusCode, Url};

use super::cache::{self, Cached, Catalog, Section};
use super::fetch::{Fetcher, is_nothing};
use super::shelf::Shelf;
use crate::client::transport::Response;
use crate::openapi::{Document, Entry, Listing, Topic};
use crate::{Failure, runtime};

/// Where the documents are listed if nobody says so.
const LIST: &str = "metadata/";
/// What the Data Management Service serves, whether or not it lists it.
const SPECIFICATIONS: [(&str, &str); 2] = [
    ("Resources", "resources-spec.json"),
    ("Descriptors", "descriptors-spec.json"),
];

/// No ODS lists more of them: each may have to be asked for.
const MOST_ENTRIES: usize = 1_000;

/// Looks for the list.
pub(super) async fn find(
    fetcher: &Fetcher<'_>,
    has_version: bool,
    shelf: Option<&Shelf>,
) -> Result<Option<Catalog>, Failure> {
    let usual = format!("{}/", fetcher.base.join(LIST).path());
    let mut tried = None;
    if has_version || !fetcher.context.client.has_discovered(fetcher.base) {
        // Most ODSs have the list at the usual place, and their documents say where the data is.
        let url = fetcher.at(&usual, None);
        let response = fetcher.get(&url, None).await?;
        if response.status == StatusCode::OK {
            if let Ok(Some(found)) = read_list(fetcher, url, response, shelf).await {
                return Ok(Some(found));
            }
        } else {
            tried = Some(response);
        }
    }
    let discovery = fetcher.discovery(has_version).await?;
    let mut places = vec![usual.clone()];
    if let Some(said) = discovery.metadata()
        && said.trim_end_matches('/') != usual.trim_end_matches('/')
    {
        places.insert(0, said.to_owned());
    } else if let Some(said) = discovery.metadata() {
        places[0] = said.to_owned();
    }
    for path in places {
        let url = fetcher.at(&path, None);
        let response = match tried.take_if(|_| path == usual) {
            Some(response) => response,
            None => fetcher.get(&url, None).await?,
        };
        let found = match response.status {
            StatusCode::OK => read_list(fetcher, url, response, shelf).await?,
            status if is_nothing(status) => specifications(fetcher, &url),
            _ => return Err(fetcher.refused(&url, &response)),
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The documents that stand where a list is missing in the Data Management Service.
fn specifications(fetcher: &Fetcher<'_>, url: &Url) -> Option<Catalog> {
    let folder = url.path().trim_end_matches('/');
    folder.ends_with("/specifications").then(|| Catalog {
        url: url.clone(),
        etag: None,
        asked: Some(Instant::now()),
        sections: SPECIFICATIONS
            .map(|(name, file)| Section {
                topic: Topic::new(name, "", file),
                url: fetcher.at(&format!("{folder}/{file}"), None),
                is_promised: false,
                cached: None,
            })
            .into(),
    })
}

/// Makes a list of what was answered; `None` if it is JSON, but no metadata.
pub(super) async fn read_list(
    fetcher: &Fetcher<'_>,
    url: Url,
    response: Response,
    shelf: Option<&Shelf>,
) -> Result<Option<Catalog>, Failure> {
    let (mut url, mut response) = (url, response);
    // A list that is elsewhere is looked for there, once.
    for _ in 0..2 {
        let etag = response.headers.get(ETAG).cloned();
        let body = std::mem::take(&mut response.body);
        let leave = shelf.map(|shelf| (shelf.clone(), list_of(fetcher), url.clone(), etag.clone()));
        let found = runtime::compute(move || {
            let found = Found::read(&body);
            if let (Ok(Found::Document(..) | Found::Listing(Listing::Entries(_))), Some(leave)) =
                (&found, leave)
            {
                let (shelf, list, at, etag) = leave;
                shelf.keep(&list, &at, etag.as_ref(), &body);
            }
            found
        });
        let found = found.await;
        let found = found.map_err(|error| Failure::new(error.to_string()))?;
        let found = found.map_err(|what| fetcher.unusable(&url, &response, &what))?;
        if let Found::Listing(Listing::Entries(entries)) = &found
            && entries.len() > MOST_ENTRIES
        {
            let what = format!("a list of {} documents is none of an ODS", entries.len());
            return Err(fetcher.unusable(&url, &response, &what));
        }
        let asked = Some(Instant::now());
        let sections = match found {
            Found::Document(document, data) => document_alone(&url, &etag, document, data, asked),
            Found::Listing(Listing::Entries(entries)) => sections(fetcher, &url, &entries),
            Found::Listing(Listing::Nothing) => return Ok(None),
            Found::Listing(Listing::Elsewhere(place)) => {
                let Some(next) = fetcher.resolve(&url, &place) else {
                    return Ok(None);
                };
                url = next;
                response = fetcher.get(&url, None).await?;
                match response.status {
                    StatusCode::OK => continue,
                    status if is_nothing(status) => return Ok(specifications(fetcher, &url)),
                    _ => return Err(fetcher.refused(&url, &response)),
                }
            }
        };
        return Ok(Some(Catalog {
            url,
            etag,
            asked,
            sections,
        }));
    }
    Ok(None)
}

/// What stands where a list should be.
enum Found {
    Document(Arc<Document>, Option<Arc<str>>),
    Listing(Listing),
}

impl Found {
    fn read(body: &[u8]) -> Result<Self, String> {
        let begin = body.iter().find(|byte| !byte.is_ascii_whitespace());
        // A list is none; documents are read once for all ODSs that have the same.
        if begin != Some(&b'[')
            && let Ok((document, data)) = cache::read(body)
        {
            return Ok(Self::Document(document, data));
        }
        Listing::parse(body).map(Self::Listing)
    }
}

/// The list that was kept for this ODS, as it is in this release; nobody has asked for it yet.
pub(super) async fn kept(fetcher: &Fetcher<'_>, shelf: &Shelf) -> Result<Option<Catalog>, Failure> {
    let (shelf, list) = (shelf.clone(), list_of(fetcher));
    let read = runtime::compute(move || {
        let kept = shelf.find(&list)?;
        Some((Found::read(&kept.read()?).ok()?, kept.at, kept.etag))
    });
    let read = read.await;
    let read = read.map_err(|error| Failure::new(error.to_string()))?;
    Ok(read.and_then(|(found, url, etag)| {
        let sections = match found {
            Found::Document(document, data) => document_alone(&url, &etag, document, data, None),
            Found::Listing(Listing::Entries(entries)) => sections(fetcher, &url, &entries),
            Found::Listing(_) => return None,
        };
        Some(Catalog {
            url,
            etag,
            asked: None,
            sections,
        })
    }))
}

/// A document that no list has told of.
pub(super) fn unlisted(url: Url) -> Section {
    Section {
        topic: Topic::new("", "", url.path()),
        url,
        is_promised: false,
        cached: None,
    }
}

/// A document, as long as nobody needs the list.
pub(super) fn without_list(fetcher: &Fetcher<'_>, section: Section) -> Catalog {
    Catalog {
        url: list_of(fetcher),
        etag: None,
        asked: None,
        sections: vec![section],
    }
}

/// What an ODS's list is kept by, wherever it is.
fn list_of(fetcher: &Fetcher<'_>) -> Url {
    fetcher.base.join(LIST)
}

fn document_alone(
    url: &Url,
    etag: &Option<HeaderValue>,
    document: Arc<Document>,
    data: Option<Arc<str>>,
    asked: Option<Instant>,
) -> Vec<Section> {
    vec![Section {
        topic: Topic::new("", "", url.path()),
        url: url.clone(),
        is_promised: false,
        cached: Some(Cached {
            etag: etag.clone(),
            document,
            data,
            asked,
        }),
    }]
}

fn sections(fetcher: &Fetcher<'_>, list: &Url, entries: &[Entry]) -> Vec<Section> {
    let sections = entries
        .iter()
        .filter_map(|entry| section(fetcher, list, entry));
    sections.collect()
}

fn section(fetcher: &Fetcher<'_>, list: &Url, entry: &Entry) -> Option<Section> {
    let url = fetcher.resolve(list, &entry.address)?;
    let below = url.path().strip_prefix(fetcher.base.as_url().path());
    let topic = entry.topic(below.unwrap_or(url.path()))?;
    Some(Section {
        is_promised: topic.is_of_all_data(),
        topic,
        url,
        cached: None,
    })
}
