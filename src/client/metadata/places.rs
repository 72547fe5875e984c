//! Where ODSs have the document of an endpoint: those of one host have it at one place below their
//! base URLs, and need no list to say so.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use reqwest::Url;

use crate::client::urls::BaseUrl;

/// What the lists of some ODSs say, by endpoint.
#[derive(Debug, Default)]
pub(crate) struct UsualPlaces(HashMap<Box<str>, Place>);

#[derive(Debug)]
enum Place {
    /// One ODS says so: a year or a tenant may stand in it.
    Once(BaseUrl, Below),
    /// All ODSs that were asked have it there.
    Usual(Below),
    /// Not all have it at one place.
    None,
}

/// A path below a base URL, and a query.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Below {
    path: Box<str>,
    query: Option<Box<str>>,
}

impl UsualPlaces {
    /// Notes where the list of an ODS has the document that describes an endpoint.
    pub(super) fn learn(&mut self, endpoint: &str, base: &BaseUrl, url: &Url) {
        let Some(below) = Below::of(base, url) else {
            return self.forget(endpoint);
        };
        match self.0.entry(endpoint.into()) {
            Entry::Vacant(place) => {
                place.insert(Place::Once(base.clone(), below));
            }
            Entry::Occupied(mut place) => {
                let learnt = match place.get() {
                    Place::Once(first, _) if first == base => Place::Once(base.clone(), below),
                    Place::Once(_, known) | Place::Usual(known) if *known == below => {
                        Place::Usual(below)
                    }
                    Place::Once(..) | Place::Usual(_) | Place::None => Place::None,
                };
                place.insert(learnt);
            }
        }
    }

    /// Notes that an ODS does not have it at the usual place.
    pub(super) fn forget(&mut self, endpoint: &str) {
        self.0.insert(endpoint.into(), Place::None);
    }

    /// Where an ODS has the document that describes an endpoint, if it is like all others.
    pub(super) fn guess(&self, endpoint: &str, base: &BaseUrl) -> Option<Url> {
        let Some(Place::Usual(below)) = self.0.get(endpoint) else {
            return None;
        };
        let mut url = base.as_url().clone();
        let root = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{root}{}", below.path));
        url.set_query(below.query.as_deref());
        Some(url)
    }
}

impl Below {
    fn of(base: &BaseUrl, url: &Url) -> Option<Self> {
        let root = base.as_url().path().trim_end_matches('/');
        let path = url.path().strip_prefix(root)?;
        path.starts_with('/').then(|| Self {
            path: path.into(),
            query: url.query().map(Into::into),
        })
    }
}
