//! What copies are kept by: what is new in many resources, within one limit of requests.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::arguments::read;
use super::call::TICK;
use super::client::Client;
use super::errors::raise;
use super::exchange::Frame;
use super::options;
use crate::frame::news::{News, WatchOptions, Watched, watch};
use crate::runtime::{AtWork, Threads};
use crate::{Control, Failure};

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
/// (district, resource, window, count, requests, failure)
type Resource = (
    usize,
    usize,
    Option<Vec<(String, String)>>,
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
                Ok(found) => (
                    district,
                    resource,
                    found.window,
                    found.count,
                    found.requests,
                    None,
                ),
                Err(failure) => (district, resource, None, None, 0, Some(told(failure))),
            }),
        }
    }
}

/// An iterator over what is new, as it is found. Closing it stops the asking.
#[pyclass(frozen, module = "polars_edfi._native")]
pub(crate) struct Watch {
    news: Mutex<Option<(UnboundedReceiver<News>, AtWork)>>,
}

/// One ODS: its client, the resources with the begins of their windows, those whose keys may have
/// changed.
type Asked<'py> = (
    PyRef<'py, Client>,
    Vec<(String, Option<i64>)>,
    Vec<(String, Option<i64>)>,
);

#[pymethods]
impl Watch {
    #[new]
    #[pyo3(signature = (limiter, asked, *, limit, count, snapshot, overlap))]
    fn new(
        py: Python<'_>,
        limiter: &Limiter,
        asked: Vec<Asked<'_>>,
        limit: usize,
        count: bool,
        snapshot: bool,
        overlap: i64,
    ) -> PyResult<Self> {
        let watched = asked
            .into_iter()
            .map(|(client, resources, renamed)| Watched {
                client: client.0.clone(),
                resources,
                renamed,
            });
        let watched: Vec<Watched> = watched.collect();
        let options = WatchOptions {
            workers: limiter.workers,
            limit,
            count,
            snapshot,
            overlap,
            control: limiter.control(),
        };
        let (sender, receiver) = unbounded_channel();
        let threads = Threads::get().map_err(|error| raise(py, error))?;
        let at_work = py.detach(|| {
            threads.block_on(async {
                tokio::spawn(watch(watched, options, sender));
            });
            threads.keep_at_work()
        });
        let at_work = at_work.map_err(|error| raise(py, error))?;
        Ok(Self {
            news: Mutex::new(Some((receiver, at_work))),
        })
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    /// Waits for something new, without the GIL.
    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Event>> {
        let threads = Threads::get().map_err(|error| raise(py, error))?;
        let next = || {
            let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
            let Some((news, _)) = news.as_mut() else {
                return Some(None);
            };
            if let Ok(event) = news.try_recv() {
                return Some(Some(event));
            }
            let next = async { tokio::time::timeout(TICK, news.recv()).await };
            threads.block_on(next).ok()
        };
        loop {
            let event = py.detach(next);
            if let Err(error) = py.check_signals() {
                self.close();
                return Err(error);
            }
            if let Some(event) = event {
                return Ok(event.map(Event::from));
            }
        }
    }

    /// Stops asking.
    fn close(&self) {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
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
