//! Where pages come from: one resource of all ODSs of a call, and how far reading goes ahead.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use super::keys::RecordKeys;
use super::options::GetAllOptions;
use super::pages::{PageQueue, PlacedPage, Reader};
use super::prefetch::{Entry, Queue, Slots, Task, Ticket};
use crate::client::paging::{Collection, Paging};
use crate::client::permits::Permits;
use crate::client::session::{Access, CallContext};
use crate::client::transport::Body;
use crate::columns::{Page, PageDecoder, Plan};
use crate::{Failure, Result};

/// What the consumer makes of a page that is in its place.
pub(super) type Convert<T> = Box<dyn Fn(PlacedPage) -> Converted<T> + Send + Sync>;

/// A page as the consumer takes it.
pub(super) enum Converted<T> {
    Ready(T),
    /// Work for another thread.
    Pending(Task<Result<T, Failure>>),
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
    /// Whether the records that came before are remembered in bounded memory.
    pub(super) bounded: bool,
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
    pub(super) snapshot: bool,
    pub(super) limit: u64,
    pub(super) paging: Paging,
    /// Whether records of one id are told apart by their change version, as deletes must be: an
    /// item can be deleted, made again and deleted again. Without, they are one record.
    pub(super) by_version: bool,
    /// No more records than these are needed.
    pub(super) need: Option<u64>,
    pub(super) decoders: Decoders,
    pub(super) convert: Convert<T>,
    pub(super) window: Window,
    /// Requests in flight.
    pub(super) requests: Permits,
    /// Pages between the network and their columns; they bound the memory.
    pub(super) undecoded: Semaphore,
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

    fn idle(&self) -> MutexGuard<'_, Vec<PageDecoder>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
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
            params: read.all_params(),
            snapshot: read.snapshot,
            limit: read.limit as u64,
            paging: read.paging,
            by_version: false,
            need: None,
            decoders: Decoders::whole(links),
            convert,
            window,
            requests: Permits::new(workers),
            undecoded: Semaphore::new(workers.saturating_add(cores).min(Semaphore::MAX_PERMITS)),
        }
    }

    /// The pages of all these districts, one district after another, the beginnings of `ahead` of
    /// them side by side.
    ///
    /// The first pages of so many districts are fetched ahead; the others of a district when all
    /// those of the one before have been begun.
    pub(super) fn districts(
        self: Arc<Self>,
        districts: Vec<District>,
        ahead: usize,
    ) -> PageQueue<T> {
        Queue::spawn(ahead, |out| async move {
            let tickets = Ticket::row(districts.len());
            for (district, ticket) in districts.into_iter().zip(tickets) {
                let slot = out.slots.acquire().await;
                let queue = self.clone().district(district, ticket);
                out.put(Entry::Queue(queue, Some(slot)));
            }
            Ok(None)
        })
    }

    /// The pages of one district.
    pub(super) fn district(self: Arc<Self>, district: District, ticket: Ticket) -> PageQueue<T> {
        Queue::spawn(self.window.pages, |out| async move {
            let reader = Arc::new(self.reader(district).await?);
            reader.all(&out, ticket).await.map(Some)
        })
    }

    /// The first page of a district.
    pub(super) async fn first(self: Arc<Self>, district: District) -> Result<Page, Failure> {
        let reader = Arc::new(self.reader(district).await?);
        Ok(reader.first(true).await?.page)
    }

    async fn reader(self: Arc<Self>, district: District) -> Result<Reader<T>, Failure> {
        let access = &district.access;
        let locate = async {
            let root = self.context.data_root(access).await?;
            let snapshot = self.context.snapshot(access, self.snapshot).await?;
            Ok::<_, Failure>(Collection {
                url: root.join(&self.path),
                snapshot,
            })
        };
        let collection = self.requests.run(locate).await?;
        Ok(Reader::new(
            collection.with_params(&self.params),
            self,
            district,
        ))
    }
}
