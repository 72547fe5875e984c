//! What records are like, seen by the first page and one far from it; the first page serves the
//! reading that follows at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::reader::{Ask, FetchedPage, Reader};
use super::source::{District, Source};
use crate::Failure;
use crate::client::paging::{PageRequest, Paging};
use crate::client::transport;
use crate::columns::Page;
use crate::runtime::lock;

/// Later than this a district that failed is asked again, and then, as after any write of this
/// process, a first page is read anew.
pub(super) const FRESH: Duration = Duration::from_secs(1);
/// A deeper offset costs a database too much.
const DEEPEST: u64 = 10_000;

/// Pages that tell what the records of a district are like.
pub(super) struct Opening {
    pub(super) first: FetchedPage,
    pub(super) far: Option<Page>,
}

impl<T: Send + 'static> Source<T> {
    /// The first page of a district, and where it is asked for one far from it.
    pub(super) async fn opening(
        self: Arc<Self>,
        district: District,
        far: bool,
    ) -> Result<Opening, Failure> {
        let reader = Arc::new(self.reader(district).await?);
        let first = reader.first(true).await?;
        let far = match reader.far(&first).filter(|_| far) {
            Some(ask) => reader.fetch(ask).await.ok().map(|fetched| fetched.page),
            None => None,
        };
        Ok(Opening { first, far })
    }
}

impl<T> Reader<T> {
    /// A page that says more than the first about all of them, where there are more.
    fn far(&self, first: &FetchedPage) -> Option<Ask> {
        if first.page.is_empty() || first.is_confirmed_end() {
            return None;
        }
        let (paging, next) = (self.source.paging, first.next.as_ref());
        if let (Paging::Cursor, Some(token)) = (paging, next) {
            return Some(Ask::Token(token.clone(), first.limit));
        }
        let last = first.total.map(|total| total.saturating_sub(first.limit));
        Some(Ask::Offset(PageRequest {
            offset: last
                .map_or(0, |last| last.min(DEEPEST))
                .max(first.end() - 1),
            limit: first.limit,
            count: false,
        }))
    }
}

/// First pages by the numbers of their districts.
pub(super) type Openings = HashMap<usize, FetchedPage>;

/// Openings that are kept for the reading that follows.
#[derive(Default)]
pub(super) struct Kept(Mutex<Option<Stock>>);

struct Stock {
    openings: Openings,
    since: Instant,
    writes: u64,
}

impl Kept {
    pub(super) fn new(openings: Openings) -> Self {
        Self(Mutex::new(Some(Stock {
            openings,
            since: Instant::now(),
            writes: transport::writes(),
        })))
    }

    /// What is still fresh, once.
    pub(super) fn take(&self) -> Openings {
        let stock = lock(&self.0).take();
        let stock = stock
            .filter(|stock| stock.since.elapsed() < FRESH && stock.writes == transport::writes());
        stock.map(|stock| stock.openings).unwrap_or_default()
    }
}
