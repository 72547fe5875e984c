//! What copies are kept by: what is new in many resources, within one limit of requests.

use std::borrow::Cow;
use std::iter;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyDict;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::arguments::read;
use super::call::TICK;
use super::client::Client;
use super::errors::raise;
use super::exchange::Frame;
use super::options;
use crate::frame::news::{News, WatchOptions, Watched, WatchedResource, Window, watch};
use crate::frame::stamps::Stamps;
use crate::runtime::{AtWork, Threads, lock};
use crate::{Control, Error, Failure};

/// How many requests several calls may have in flight together.
#[pyclass(frozen, from_py_object, module = "polars_edfi._native")]
#[derive(Clone)]
pub(crate) struct Limiter {
    limiter: Arc<crate::client::Limiter>,
    workers: usize,
    /// What stops all of them.
    stop: Control,
}

#[pymethods]
impl Limiter {
    #[new]
    fn new(workers: usize) -> Self {
        Self {
            limiter: Arc::default(),
            workers,
            stop: Control::new(),
        }
    }

    /// Stops all calls that have this limiter.
    fn cancel(&self) {
        self.stop.cancel();
    }
}

impl Limiter {
    pub(super) fn control(&self) -> Control {
        Control {
            cancellation: self.stop.cancellation.clone(),
            ..Control::sharing(self.limiter.clone(), self.workers)
        }
    }
}

/// (message, http_status)
type Told = (String, Option<u16>);
/// (district, (oldest, newest), renamed, failure)
type District = (usize, Option<(i64, i64)>, Vec<usize>, Option<Told>);
/// (district, resource, is_known, window, count, requests, failure)
type Resource = (
    usize,
    usize,
    bool,
    Option<Vec<(String, u64)>>,
    Option<u64>,
    u32,
    Option<Told>,
);

fn told(failure: Failure) -> Told {
    (failure.message, failure.http_status)
}

#[derive(IntoPyObject)]
pub(crate) enum Event {
    District(District),
    Resource(Resource),
}

impl From<News> for Event {
    fn from(news: News) -> Self {
        match news {
            News::District {
                district,
                versions,
                renamed,
            } => {
                let (versions, failed) = match versions {
                    Ok(versions) => (versions.map(|one| (one.oldest, one.newest)), None),
                    Err(failure) => (None, Some(told(failure))),
                };
                let (renamed, also) = match renamed {
                    Ok(renamed) => (renamed, None),
                    Err(failure) => (Vec::new(), Some(told(failure))),
                };
                Self::District((district, versions, renamed, failed.or(also)))
            }
            News::Resource {
                district,
                resource,
                found,
            } => Self::Resource(match found {
                Ok(found) => {
                    let (is_known, window) = match found.window {
                        Window::Known => (true, None),
                        Window::Told(records) => (false, Some(records)),
                        Window::Unclear => (false, None),
                    };
                    let (count, asked) = (found.count, found.requests);
                    (district, resource, is_known, window, count, asked, None)
                }
                Err(failure) => (
                    district,
                    resource,
                    false,
                    None,
                    None,
                    0,
                    Some(told(failure)),
                ),
            }),
        }
    }
}

/// So many events are told at once.
const EVENTS: usize = 256;

/// An iterator over what is new in ODSs that are added to it, as it is found. Closing it stops the
/// asking.
#[pyclass(frozen, module = "polars_edfi._native")]
pub(crate) struct Watch {
    asking: Mutex<Option<UnboundedSender<(usize, Watched)>>>,
    news: Mutex<Option<(UnboundedReceiver<News>, AtWork)>>,
    /// Whether the asking ended in a panic: then there is more that nobody tells.
    is_lost: Arc<AtomicBool>,
}

#[pymethods]
impl Watch {
    #[new]
    #[pyo3(signature = (limiter, *, limit, count, snapshot, overlap))]
    fn new(
        py: Python<'_>,
        limiter: &Limiter,
        limit: usize,
        count: bool,
        snapshot: bool,
        overlap: i64,
    ) -> PyResult<Self> {
        let options = WatchOptions {
            workers: limiter.workers,
            limit,
            count,
            snapshot,
            overlap,
            control: limiter.control(),
        };
        let (asking, asked) = unbounded_channel();
        let (sender, receiver) = unbounded_channel();
        let is_lost = Arc::new(AtomicBool::new(false));
        let threads = Threads::get().map_err(|error| raise(py, error))?;
        let at_work = py.detach(|| {
            let is_lost = is_lost.clone();
            let watching = async move {
                let watching = AssertUnwindSafe(watch(asked, options, sender)).catch_unwind();
                // It is told before the last of what is new is, which ends with what is dropped.
                let mut watching = pin!(watching);
                let ended = watching.as_mut().await;
                is_lost.store(ended.is_err(), Ordering::Release);
            };
            threads.block_on(async {
                tokio::spawn(watching);
            });
            threads.keep_at_work()
        });
        let at_work = at_work.map_err(|error| raise(py, error))?;
        Ok(Self {
            asking: Mutex::new(Some(asking)),
            news: Mutex::new(Some((receiver, at_work))),
            is_lost,
        })
    }

    /// Adds an ODS: its number, its resources with the begins of their windows and what is known of
    /// these, the resources whose keys may have changed.
    fn add(
        &self,
        district: usize,
        client: &Client,
        resources: Vec<(String, Option<i64>, PyBackedBytes)>,
        renamed: Vec<(String, Option<i64>)>,
    ) {
        let resources = resources.into_iter();
        let watched = Watched {
            client: client.0.clone(),
            resources: resources
                .map(|(endpoint, since, known)| WatchedResource {
                    endpoint,
                    since,
                    known: Stamps::from_bytes(&known),
                })
                .collect(),
            renamed,
        };
        let asking = lock(&self.asking);
        if let Some(asking) = &*asking {
            // Nobody asks any more where the call was given up.
            let _ = asking.send((district, watched));
        }
    }

    /// Tells that no ODS will be added.
    fn end(&self) {
        drop(lock(&self.asking).take());
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    /// Waits for something new, without the GIL, and gives all there is.
    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Vec<Event>>> {
        let threads = Threads::get().map_err(|error| raise(py, error))?;
        let next = || {
            let mut news = lock(&self.news);
            let Some((news, _)) = news.as_mut() else {
                return Some(None);
            };
            let first = match news.try_recv() {
                Ok(event) => Some(event),
                Err(_) => {
                    let next = async { tokio::time::timeout(TICK, news.recv()).await };
                    threads.block_on(next).ok()?
                }
            };
            Some(first.map(|first| {
                let more = iter::from_fn(|| news.try_recv().ok()).take(EVENTS);
                iter::once(first).chain(more).collect::<Vec<_>>()
            }))
        };
        loop {
            let events = py.detach(next);
            if let Err(error) = py.check_signals() {
                self.close();
                return Err(error);
            }
            if matches!(events, Some(None)) && self.is_lost.load(Ordering::Acquire) {
                let text = "the asking for what is new ended in a panic".to_owned();
                return Err(raise(py, Error::Internal(text)));
            }
            if let Some(events) = events {
                return Ok(events.map(|events| events.into_iter().map(Event::from).collect()));
            }
        }
    }

    /// Stops asking.
    fn close(&self) {
        self.end();
        let mut news = lock(&self.news);
        drop(news.take());
    }
}

/// Checks the options of a sync, as far as they are not about copies.
#[pyfunction]
#[pyo3(signature = (**given))]
pub(crate) fn check_sync(py: Python<'_>, given: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
    let (read_options, _) = read(py, given, options::sync)?;
    crate::frame::news::check(&read_options).map_err(|error| raise(py, error))
}

/// What the rows of a frame are known by, as bytes.
#[pyfunction]
pub(crate) fn stamps(py: Python<'_>, df: Frame) -> PyResult<Cow<'static, [u8]>> {
    let stamps = Stamps::of(&df.0).map_err(|error| raise(py, error))?;
    Ok(Cow::Owned(stamps.to_bytes()))
}

/// (row, client, message)
type DistrictClient = (usize, Option<Client>, Option<String>);

/// A client for each district of a frame.
#[pyfunction]
#[pyo3(signature = (client, df, **given))]
pub(crate) fn district_clients(
    py: Python<'_>,
    client: &Client,
    df: Frame,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<Vec<DistrictClient>> {
    let (key_col, batch) = read(py, given, |a| {
        Ok((a.required::<String>("key_col")?, options::rows_of(a)?))
    })?;
    let clients = crate::frame::district_clients(&df.0, &key_col, &client.0, &batch);
    let clients = clients.map_err(|error| raise(py, error))?;
    let clients = clients.into_iter().map(|(row, client)| match client {
        Ok(client) => (row, Some(Client(client)), None),
        Err(failure) => (row, None, Some(failure.message)),
    });
    Ok(clients.collect())
}
