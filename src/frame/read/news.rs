//! What is new in many resources of many ODSs, as far as two small requests for each can tell.
//!
//! Most resources do not change from one night to the next. Whoever keeps copies asks here first,
//! and reads in full only where something is new.

use std::sync::Arc;

use futures_util::future::join_all;
use futures_util::stream::{self, FuturesUnordered, StreamExt};
use polars::prelude::DataType;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::options::{GetAllOptions, SchemaChoice};
use super::stamps::{self, Stamps};
use super::tracked::ID;
use crate::client::changes::{Snapshot, window_params};
use crate::client::paging::{Collection, PageError, PageRequest, RawPage};
use crate::client::permits::Permits;
use crate::client::session::{Access, CallContext};
use crate::client::{ChangeVersions, Control, EdFiClient};
use crate::{Error, Failure, Result};

/// Refuses options under which a copy could not be kept.
pub(crate) fn check(options: &GetAllOptions) -> Result<()> {
    options.check()?;
    match &options.schema {
        SchemaChoice::Given(schema) if schema.get(ID) != Some(&DataType::String) => {
            Err(Error::Config(
                "schema must have the column \"id\" (String): the rows of a copy are told apart by it"
                    .into(),
            ))
        }
        _ => Ok(()),
    }
}

/// One ODS, and which of its resources are asked about.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) client: EdFiClient,
    pub(crate) resources: Vec<WatchedResource>,
    /// Resources whose changed keys are asked for from this version on; without one, those that a
    /// reading of everything may have met.
    pub(crate) renamed: Vec<(String, Option<i64>)>,
}

/// One resource of which there is a copy.
#[derive(Debug)]
pub(crate) struct WatchedResource {
    pub(crate) endpoint: String,
    /// The change version that its window begins with; none where it is read anyway.
    pub(crate) since: Option<i64>,
    /// Records that the copy has.
    pub(crate) known: Stamps,
}

/// How ODSs are asked.
#[derive(Debug, Clone)]
pub(crate) struct WatchOptions {
    pub(crate) workers: usize,
    /// How many records of a window are told.
    pub(crate) limit: usize,
    /// Whether the records of each resource are counted.
    pub(crate) count: bool,
    pub(crate) snapshot: bool,
    /// How many versions before the newest one commits may come late.
    pub(crate) overlap: i64,
    pub(crate) control: Control,
}

/// Something that was found out; `district` is its number, `resource` a place in what was asked.
#[derive(Debug)]
pub(crate) enum News {
    District {
        district: usize,
        /// None where the ODS has no change queries.
        versions: Result<Option<ChangeVersions>, Failure>,
        /// The places of the resources of which keys changed.
        renamed: Result<Vec<usize>, Failure>,
    },
    Resource {
        district: usize,
        resource: usize,
        found: Result<Found, Failure>,
    },
}

/// What two requests found of a resource.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) window: Window,
    /// How many records the resource has, where the ODS counts them.
    pub(crate) count: Option<u64>,
    /// How many requests this took.
    pub(crate) requests: u32,
}

/// The records of a window.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Window {
    /// The copy has all of them, as they are.
    Known,
    /// Each by its `id`, and what it is known by as it is now.
    Told(Vec<(String, u64)>),
    /// There are more of them than were told, or they cannot be told apart so.
    #[default]
    Unclear,
}

/// Asks ODSs as they come, each with its number, and tells what is found. Nobody waits for an ODS
/// that does not answer.
pub(crate) async fn watch(
    mut watched: UnboundedReceiver<(usize, Watched)>,
    options: WatchOptions,
    out: UnboundedSender<News>,
) {
    let requests = Permits::new(options.workers);
    let mut at_work = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some((district, watched)) = watched.recv() => {
                let context = Arc::new(watched.client.watched_context(&options.control));
                let watcher = Watcher {
                    district,
                    context,
                    requests: &requests,
                    options: &options,
                    out: &out,
                };
                at_work.push(watcher.watch(watched));
            }
            Some(()) = at_work.next() => {}
            else => return,
        }
    }
}

struct Watcher<'a> {
    district: usize,
    context: Arc<CallContext>,
    requests: &'a Permits,
    options: &'a WatchOptions,
    out: &'a UnboundedSender<News>,
}

impl Watcher<'_> {
    async fn watch(self, watched: Watched) {
        let district = self.district;
        let access = match watched.client.default_access() {
            Ok(access) => access,
            Err(error) => {
                let failure = Failure::new(error.to_string());
                return self.tell(News::District {
                    district,
                    versions: Err(failure),
                    renamed: Ok(Vec::new()),
                });
            }
        };
        let snapshot = match self.snapshot(&access).await {
            Ok(snapshot) => snapshot,
            Err(failure) => {
                return self.tell(News::District {
                    district,
                    versions: Err(failure),
                    renamed: Ok(Vec::new()),
                });
            }
        };
        let versions = self.versions(&access, &snapshot).await;
        let renamed = match &versions {
            Ok(Some(versions)) => {
                let recent = (versions.newest + 1).saturating_sub(self.options.overlap);
                let asked = watched.renamed.iter();
                let asked = asked.map(|(endpoint, since)| (&**endpoint, since.unwrap_or(recent)));
                self.renamed(&access, &snapshot, asked).await
            }
            _ => Ok(Vec::new()),
        };
        let is_going_on = matches!(versions, Ok(Some(_))) && renamed.is_ok();
        self.tell(News::District {
            district,
            versions,
            renamed,
        });
        if !is_going_on {
            return;
        }
        let resources = watched.resources.iter().enumerate();
        let asked = resources.filter_map(|(place, watched)| Some((place, watched, watched.since?)));
        let ask = async |(resource, watched, since)| {
            let found = self.resource(&access, &snapshot, watched, since).await;
            self.tell(News::Resource {
                district,
                resource,
                found,
            });
        };
        stream::iter(asked)
            .for_each_concurrent(self.options.workers, ask)
            .await;
    }

    fn tell(&self, news: News) {
        // Nobody listens any more where the call was given up.
        let _ = self.out.send(news);
    }

    async fn snapshot(&self, access: &Access) -> Result<Snapshot, Failure> {
        let asking = self.context.snapshot(access, self.options.snapshot);
        self.requests.run(asking).await
    }

    async fn versions(
        &self,
        access: &Access,
        snapshot: &Snapshot,
    ) -> Result<Option<ChangeVersions>, Failure> {
        let asking = self.context.change_versions(access, snapshot);
        match self.requests.run(asking).await {
            Ok(versions) => Ok(Some(versions)),
            Err(failure) if failure.http_status == Some(404) && *snapshot == Snapshot::No => {
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Which of some resources have changed keys. An ODS without such a resource, or without
    /// changed keys, has none.
    async fn renamed(
        &self,
        access: &Access,
        snapshot: &Snapshot,
        resources: impl Iterator<Item = (&str, i64)>,
    ) -> Result<Vec<usize>, Failure> {
        let ask = async |(place, (endpoint, since)): (usize, (&str, i64))| {
            let path = format!("{endpoint}/keyChanges");
            let page = async {
                let collection = self.collection(access, snapshot, &path).await?;
                self.page(access, &collection, since.max(0), 1).await
            };
            match page.await {
                Ok((page, _)) => Ok((page.answer.body.trim_ascii() != b"[]").then_some(place)),
                // Nor does one that does not show them to this client.
                Err(failure) if matches!(failure.http_status, Some(403..=405)) => Ok(None),
                Err(mut failure) => {
                    failure.message = format!("key changes of {endpoint}: {}", failure.message);
                    Err(failure)
                }
            }
        };
        let asked = join_all(resources.enumerate().map(ask)).await;
        asked.into_iter().filter_map(Result::transpose).collect()
    }

    async fn resource(
        &self,
        access: &Access,
        snapshot: &Snapshot,
        watched: &WatchedResource,
        since: i64,
    ) -> Result<Found, Failure> {
        let endpoint = watched.endpoint.as_str();
        let limit = self.options.limit as u64;
        let collection = self.collection(access, snapshot, endpoint).await?;
        let (page, asked) = self.page(access, &collection, since, limit).await?;
        let mut found = Found {
            requests: asked,
            ..Found::default()
        };
        if let Some(stamps) = stamps::of_page(&page.answer.body)
            && page.total.is_none_or(|total| total == stamps.len() as u64)
            && (stamps.len() as u64) < limit
        {
            let mut all = stamps.iter();
            found.window = match all.all(|(_, stamp)| watched.known.has(*stamp)) {
                true => Window::Known,
                false => Window::Told(stamps),
            };
        }
        if self.options.count {
            let counting = collection.count(&self.context, access);
            found.count = self.requests.run(counting).await?;
            found.requests += 1;
        }
        Ok(found)
    }

    async fn collection(
        &self,
        access: &Access,
        snapshot: &Snapshot,
        path: &str,
    ) -> Result<Collection, Failure> {
        Collection::of(&self.context, access, path, snapshot.clone()).await
    }

    /// The first page of a window without an end, and how many requests that took.
    async fn page(
        &self,
        access: &Access,
        collection: &Collection,
        since: i64,
        limit: u64,
    ) -> Result<(RawPage, u32), Failure> {
        let params: Vec<_> = window_params(Some(since), None).collect();
        let collection = collection.clone().with_params(&params);
        let mut page = PageRequest {
            offset: 0,
            limit,
            count: true,
        };
        let mut asked = 0;
        loop {
            asked += 1;
            let fetching = collection.fetch(&self.context, access, page);
            match self.requests.run(fetching).await {
                Ok(page) => return Ok((page, asked)),
                Err(PageError::LimitTooLarge(allowed)) if asked == 1 => page.limit = allowed,
                Err(error) => return Err(error.into_failure()),
            }
        }
    }
}
