//! Where pages come from: one resource of all ODSs of a call, and how far reading goes ahead.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Semaphore;

use super::filter::PreparedFilter;
use super::keys::{RecordKeys, Repeated};
use super::opening::Openings;
use super::options::{GetAllOptions, OnShort};
use super::pieces::Piece;
use super::prefetch::{Slots, Task};
use super::reader::{FetchedPage, Versions, Whole};
use super::resource::Unchecked;
use crate::client::paging::Paging;
use crate::client::permits::Permits;
use crate::client::session::{Access, CallContext};
use crate::client::transport::Body;
use crate::columns::{Page, PageDecoder, Plan};
use crate::runtime::lock;
use crate::{Failure, Result};

/// How many pages of a partition may wait until it is its turn.
const PARTITION_PAGES: usize = 4;

/// So many first pages more than there are workers may wait for that of a district before them.
pub(super) const FIRST_PAGES_AHEAD: usize = 64;

/// What the consumer makes of a page that is in its place.
pub(super) type Convert<T> = Box<dyn Fn(PlacedPage) -> Converted<T> + Send + Sync>;

/// A page as the consumer takes it.
pub(super) enum Converted<T> {
    Ready(T),
    /// Work for another thread.
    Pending(Task<Result<T, Failure>>),
}

/// A page whose place among the others is known.
#[derive(Debug)]
pub(super) struct PlacedPage {
    pub(super) page: Page,
    /// Its records that other pages brought before.
    pub(super) repeated: Repeated,
    /// The how many-th answer of its collection this is.
    pub(super) arrival: u64,
    /// The district that it is of.
    pub(super) district: usize,
    /// The numbers of a filter and of the one value of it that this part of the records has, and
    /// what the parts have in common.
    pub(super) only: Option<(usize, usize, Arc<Whole>)>,
}

impl PlacedPage {
    /// The records that no page before had.
    pub(super) fn new_records(&self) -> usize {
        self.page.len() - self.repeated.count()
    }
}

/// How far the producer goes ahead of its consumer.
pub(super) struct Window {
    /// What districts share that are taken one after another; `None` where each goes its own way.
    pub(super) shared: Option<SharedWindow>,
    /// Pages ahead of a district, beside those that are shared.
    pub(super) pages: usize,
    /// Partitions ahead of a district, where they are not shared.
    pub(super) partitions: usize,
    /// Pages ahead of each partition.
    pub(super) partition_pages: usize,
    /// Pages ahead of each part that has a chain of its own.
    pub(super) part_pages: usize,
    /// Whether the records that came before are remembered in bounded memory.
    pub(super) bounded: bool,
}

impl Window {
    /// How far a stream goes ahead of its consumer: so many pages and partitions as there are
    /// workers, twice as many pages where it waits for them, and the first page of each of as many
    /// districts. A search may end with one of its first pages, and begins with half as many.
    pub(super) fn of_stream(workers: usize, is_search: bool) -> Self {
        let first = match is_search {
            true => workers.div_ceil(2),
            false => workers,
        };
        Self {
            shared: Some(SharedWindow {
                pages: Slots::growing(first, workers.saturating_mul(2)),
                partitions: Slots::new(workers),
            }),
            pages: 1,
            partitions: 0,
            partition_pages: PARTITION_PAGES,
            part_pages: PARTITION_PAGES,
            bounded: true,
        }
    }
}

/// Slots that go from one district to the next. Only the one whose turn it is takes them, so that
/// nobody waits for a slot that is held by something to be taken later.
pub(super) struct SharedWindow {
    pub(super) pages: Arc<Slots>,
    /// The pages of partitions have slots of their own.
    pub(super) partitions: Arc<Slots>,
}

/// What is the same for all districts of one call.
pub(super) struct Source<T> {
    pub(super) context: Arc<CallContext>,
    /// The path below the data URL.
    pub(super) path: String,
    pub(super) params: Vec<(String, String)>,
    pub(super) versions: Versions,
    /// Filters that the server may be asked for, and what stands between the names in their columns.
    pub(super) filters: Vec<PreparedFilter>,
    pub(super) separator: String,
    /// Whether a part with fewer records than its server counts is an error.
    pub(super) short_is_error: bool,
    pub(super) snapshot: bool,
    pub(super) limit: u64,
    pub(super) paging: Paging,
    /// Whether records of one id are told apart by their change version, as deletes must be: an
    /// item can be deleted, made again and deleted again. Without, they are one record.
    pub(super) by_version: bool,
    /// First pages that are here already.
    pub(super) openings: Mutex<Openings>,
    /// Districts that are checked before they are read.
    pub(super) unchecked: Option<Unchecked>,
    /// What of each district is read; all of it by default.
    pub(super) piece: Option<Piece>,
    /// No more records than these are needed.
    pub(super) need: Option<u64>,
    pub(super) decoders: Decoders,
    pub(super) convert: Convert<T>,
    pub(super) window: Window,
    /// Requests in flight.
    pub(super) requests: Permits,
    /// Pages that came and wait to be taken apart, beside those on their way; they bound the memory.
    pub(super) undecoded: Arc<Semaphore>,
}

/// One ODS to read.
#[derive(Debug, Clone)]
pub(super) struct District {
    pub(super) number: usize,
    pub(super) access: Access,
}

/// Decoders that are not at work; each keeps its memory from page to page.
pub(super) struct Decoders {
    make: Box<dyn Fn() -> PageDecoder + Send + Sync>,
    /// Whether they pass by what no column needs.
    are_partial: bool,
    idle: Mutex<Vec<PageDecoder>>,
}

impl Decoders {
    /// Decoders of whole records.
    fn whole(links: bool) -> Self {
        Self {
            make: Box::new(move || PageDecoder::new(links)),
            are_partial: false,
            idle: Mutex::default(),
        }
    }

    /// Decoders of what a plan needs.
    pub(super) fn for_plan(links: bool, plan: Plan) -> Self {
        Self {
            make: Box::new(move || PageDecoder::for_plan(links, &plan)),
            are_partial: true,
            idle: Mutex::default(),
        }
    }

    /// Decoders that keep the text of each record, and of its values what tells it apart.
    pub(super) fn of_texts() -> Self {
        Self {
            make: Box::new(PageDecoder::of_texts),
            are_partial: true,
            idle: Mutex::default(),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<PageDecoder>> {
        lock(&self.idle)
    }

    pub(super) fn decode(&self, body: &Body) -> Result<Page> {
        let idle = self.idle().pop();
        let mut decoder = idle.unwrap_or_else(&self.make);
        let page = decoder.decode_parts(body.parts());
        self.idle().push(decoder);
        page
    }

    /// What tells the records of a page apart: without an `id` all of a record counts, whatever the
    /// columns need.
    pub(super) fn keys(&self, page: &Page, body: &Body, by_version: bool) -> Result<RecordKeys> {
        let keys = RecordKeys::of(page, by_version);
        if keys.are_ids() || !self.are_partial {
            return Ok(keys);
        }
        let whole = PageDecoder::new(true).decode_parts(body.parts())?;
        Ok(RecordKeys::of(&whole, by_version))
    }
}

impl<T: Send + 'static> Source<T> {
    /// A source of everything that the options ask for.
    pub(super) fn new(
        context: Arc<CallContext>,
        path: String,
        read: &GetAllOptions,
        window: Window,
        convert: Convert<T>,
    ) -> Self {
        let (links, workers) = (read.links, read.batch.workers);
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            context,
            path,
            params: read.filters(),
            // What is wrong with it was told before.
            versions: read
                .window()
                .unwrap_or((read.min_change_version, read.max_change_version)),
            filters: Vec::new(),
            separator: read.separator.clone(),
            short_is_error: read.on_short == OnShort::Error,
            snapshot: read.snapshot,
            limit: read.limit as u64,
            paging: read.paging,
            by_version: false,
            openings: Mutex::default(),
            unchecked: None,
            piece: None,
            need: None,
            decoders: Decoders::whole(links),
            convert,
            window,
            requests: Permits::new(workers),
            undecoded: Arc::new(Semaphore::new(2 * cores)),
        }
    }

    /// The first page of a district, where it is here already.
    pub(super) fn opening_of(&self, district: usize) -> Option<FetchedPage> {
        let mut openings = lock(&self.openings);
        openings.remove(&district)
    }
}
