//! Lazy scans: their columns, and their pages one after another.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{BoxStream, Fuse};
use polars::prelude::DataFrame;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use tokio::time::{Instant, timeout, timeout_at};

use super::arguments::read;
use super::call::{self, TICK, wait};
use super::client::Client;
use super::errors::raise;
use super::exchange::{Frame, PyDataFrame};
use super::logging::follow_level;
use super::news::Limiter;
use super::options;
use super::progress::{Bar, Progress};
use super::sigint::{Taker, is_main_thread, look_at_main_thread, taken};
use crate::columns::stack_frames;
use crate::frame::View;
use crate::runtime::{AtWork, Threads, lock};
use crate::{Control, EdFiClient, Error, Failure, Filter, Result, Scan as Planned, ScanOptions};

/// The row of a district, how many records a piece of it may have, the piece, and why there is none.
type PieceOfRow = (
    usize,
    u64,
    Option<String>,
    Option<(String, Option<u16>, Option<String>)>,
);

/// What a lazy frame reads from; its columns are asked for when they are needed.
#[pyclass(frozen, module = "polars_edfi._native")]
pub(crate) struct Scan {
    client: EdFiClient,
    endpoint: Option<String>,
    options: ScanOptions,
    districts: Option<(DataFrame, String)>,
    progress: Progress,
    limiter: Option<Limiter>,
    /// The columns, as another process has found them.
    found: Option<String>,
    planned: Mutex<Option<Planned>>,
}

#[pymethods]
impl Scan {
    /// Checks all that can be checked before anything is sent. With `df` it reads many districts.
    #[new]
    #[pyo3(signature = (client, df, *, limiter = None, found = None, **given))]
    fn new(
        py: Python<'_>,
        client: &Client,
        df: Option<Frame>,
        limiter: Option<Limiter>,
        found: Option<String>,
        given: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let (endpoint, districts, (options, progress)) = read(py, given, |a| {
            let endpoint = a.required("endpoint")?;
            Ok(match df {
                Some(df) => (
                    endpoint,
                    Some((df.0, a.required("key_col")?)),
                    options::scan_all(a)?,
                ),
                None => (endpoint, None, options::scan(a)?),
            })
        })?;
        let scan = Self {
            client: client.0.clone(),
            endpoint,
            options,
            districts,
            progress,
            limiter,
            found,
            planned: Mutex::default(),
        };
        let (endpoint, districts) = (scan.endpoint.as_deref(), scan.districts.as_ref());
        Planned::check(&scan.client, endpoint, &scan.options, districts)
            .map_err(|error| raise(py, error))?;
        Ok(scan)
    }

    /// An empty frame of its columns; the first time this may send requests.
    fn schema(&self, py: Python<'_>) -> PyResult<PyDataFrame> {
        let planned = self.planned(py)?;
        Ok(PyDataFrame(DataFrame::empty_with_schema(planned.schema())))
    }

    /// Its columns, as another process takes them for `found`; `None` where a schema was given.
    fn found(&self, py: Python<'_>) -> PyResult<Option<String>> {
        Ok(self.planned(py)?.found())
    }

    /// Whether filters are to be read from a query.
    #[getter]
    fn pushdown(&self) -> bool {
        self.options.pushdown
    }

    /// The keys of the districts as the scan gives them, one row for each; `None` where there is but
    /// one ODS.
    fn keys(&self, py: Python<'_>) -> PyResult<Option<PyDataFrame>> {
        let keys = self.planned(py)?.keys();
        let keys = keys.map_err(|error| raise(py, error))?;
        let frame = keys.map(|keys| DataFrame::new(keys.len(), vec![keys]));
        let frame = frame.transpose().map_err(|error| raise(py, error.into()))?;
        Ok(frame.map(PyDataFrame))
    }

    /// Divides what is read into about so many pieces: of each the row of its district, the records
    /// that it may have, and what `pages` takes as `piece`; or, where the district cannot be read, the
    /// message, the HTTP status and the correlation id. `filters` as in `pages`.
    #[pyo3(signature = (number, filters = None))]
    fn pieces(
        &self,
        py: Python<'_>,
        number: usize,
        filters: Option<Vec<Frame>>,
    ) -> PyResult<Vec<PieceOfRow>> {
        let planned = self.planned(py)?;
        let view = View {
            filters: usable(&planned, filters.as_deref()),
            ..View::default()
        };
        let control = self.control();
        let planning = planned.pieces(number, &view, control.clone());
        let (pieces, raised) = wait(py, &control, planning)?;
        if let Some(exception) = raised {
            return Err(exception);
        }
        let pieces = pieces.map_err(|error| raise(py, error))?.into_iter();
        let rows = pieces.map(|planned| {
            let (piece, failure) = match planned.piece {
                Ok(piece) => (serde_json::to_string(&piece).ok(), None),
                Err(failure) => {
                    let Failure {
                        message,
                        http_status,
                        correlation_id,
                        ..
                    } = failure;
                    (None, Some((message, http_status, correlation_id)))
                }
            };
            (planned.row, planned.records, piece, failure)
        });
        Ok(rows.collect())
    }

    /// The pages from the start, with some columns and rows only. A query that keeps some rows only has
    /// `filters`: of each the one column holds the values that a row must have there; those that
    /// cannot be used are passed by.
    /// `districts` are the numbers of those that are read.
    #[pyo3(signature = (columns, n_rows, filters, districts, piece = None))]
    fn pages<'py>(
        &self,
        py: Python<'py>,
        columns: Option<Vec<String>>,
        n_rows: Option<usize>,
        filters: Option<Vec<Frame>>,
        districts: Option<Vec<usize>>,
        piece: Option<&str>,
    ) -> PyResult<Bound<'py, Pages>> {
        follow_level(py);
        let planned = self.planned(py)?;
        let control = self.control().quiet();
        control.stats.begin();
        let piece = piece.map(serde_json::from_str).transpose();
        let piece = piece.map_err(|error| raise(py, Error::Config(format!("piece: {error}"))))?;
        let view = View {
            piece,
            columns,
            n_rows,
            filters: usable(&planned, filters.as_deref()),
            is_search: filters.is_some(),
            districts,
        };
        let stream = planned
            .frames(view, control.clone())
            .map_err(|error| raise(py, error))?;
        let at_work = Threads::get()
            .and_then(Threads::keep_at_work)
            .map_err(|error| raise(py, error))?;
        let pages = Pages {
            stream: Mutex::new(Some(Stream {
                pages: stream.fuse(),
                // A search ends between two pages, the earlier the better.
                gathers: filters.is_none(),
                gathered: Vec::new(),
                late: None,
                handed: 0,
                _at_work: at_work,
            })),
            control,
            taker: Mutex::default(),
            bar: Mutex::default(),
        };
        let pages = Bound::new(py, pages)?;
        let bar = self
            .progress
            .draw(&pages, "scanning records", "districts")?;
        *lock(&pages.get().bar) = bar;
        Ok(pages)
    }
}

/// The filters that a scan can use, out of a column of values for each.
fn usable(planned: &Planned, filters: Option<&[Frame]>) -> Vec<Filter> {
    let columns = filters.into_iter().flatten();
    let filters = columns.flat_map(|filter| filter.0.columns()).map(|column| {
        let values = column.as_materialized_series().clone();
        Filter::is_in(column.name().as_str(), values)
    });
    filters.filter(|filter| planned.takes(filter)).collect()
}

impl Scan {
    fn control(&self) -> Control {
        let limiter = self.limiter.as_ref();
        limiter.map_or_else(Control::new, Limiter::control)
    }

    fn planned(&self, py: Python<'_>) -> PyResult<Planned> {
        let known = || lock(&self.planned);
        if let Some(planned) = &*known() {
            return Ok(planned.clone());
        }
        let control = self.control();
        let mut options = self.options.clone();
        options.read.batch.control = control.clone();
        let endpoint = self.endpoint.as_deref();
        let (districts, found) = (self.districts.clone(), self.found.as_deref());
        let planning = Planned::new(&self.client, endpoint, &options, districts, found);
        let taker = match is_main_thread(py)? {
            true => None,
            false => {
                look_at_main_thread(py)?;
                Some(Taker::new())
            }
        };
        let planning = async {
            tokio::select! {
                planned = planning => planned,
                () = control.cancellation.cancelled() => Err(Error::Interrupted),
                () = taken(taker.as_ref()) => Err(Error::Interrupted),
            }
        };
        let (planned, raised) = wait(py, &control, planning)?;
        if let Some(exception) = raised {
            return Err(exception);
        }
        let planned = planned.map_err(|error| raise(py, error))?;
        // Two threads that ask at once may both have asked the server; one answer stays.
        Ok(known().get_or_insert(planned).clone())
    }
}

/// Pages of fewer rows cross to Python together: each frame costs Python and Polars' engine some time
/// for each of its columns.
const SMALL: usize = 400;
/// So long a small page waits for the next one.
const WAIT: Duration = Duration::from_millis(10);
/// A consumer may stop any time: the first page comes alone, and then at most twice as many each time,
/// up to two to this power.
const DOUBLINGS: u32 = 4;

/// Pages as they come.
struct Stream {
    pages: Fuse<BoxStream<'static, Result<DataFrame>>>,
    /// Whether small pages cross together.
    gathers: bool,
    gathered: Vec<DataFrame>,
    /// What came after them.
    late: Option<Error>,
    /// How many frames were handed on, up to [`DOUBLINGS`].
    handed: u32,
    _at_work: AtWork,
}

impl Stream {
    /// The next page, or several small ones. Whoever drops this on the way loses none of them.
    async fn next(&mut self) -> Option<Result<DataFrame>> {
        if self.gathered.is_empty() {
            if let Some(error) = self.late.take() {
                return Some(Err(error));
            }
            match self.pages.next().await? {
                Ok(page) => self.gathered.push(page),
                Err(error) => return Some(Err(error)),
            }
        }
        let until = Instant::now() + WAIT;
        let mut rows: usize = self.gathered.iter().map(DataFrame::height).sum();
        let most = 1 << self.handed;
        while self.gathers && rows < SMALL && self.gathered.len() < most && self.late.is_none() {
            match timeout_at(until, self.pages.next()).await {
                Ok(Some(Ok(page))) => {
                    rows += page.height();
                    self.gathered.push(page);
                }
                Ok(Some(Err(error))) => self.late = Some(error),
                Ok(None) | Err(_) => break,
            }
        }
        self.handed = DOUBLINGS.min(self.handed + 1);
        let pages = std::mem::take(&mut self.gathered);
        match <[DataFrame; 1]>::try_from(pages) {
            Ok([page]) => Some(Ok(page)),
            Err(pages) => stack_frames(pages.into_iter().map(Ok)).transpose(),
        }
    }
}

/// An iterator over pages. Dropping it stops what is fetched ahead.
#[pyclass(frozen, module = "polars_edfi._native")]
pub(crate) struct Pages {
    stream: Mutex<Option<Stream>>,
    control: Control,
    /// Takes interrupts where a thread of Polars reads, from the first page to the last: one that comes
    /// between two pages must not reach Python as well, which would raise once more.
    taker: Mutex<Option<Taker>>,
    bar: Mutex<Option<Bar>>,
}

#[pymethods]
impl Pages {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    /// Waits for a page, without the GIL; Ctrl-C ends the wait and the reading, in the threads of
    /// Polars, too, which Python does not tell of it.
    fn __next__(&self, py: Python<'_>) -> PyResult<Option<PyDataFrame>> {
        if !is_main_thread(py)? {
            look_at_main_thread(py)?;
            self.taker().get_or_insert_with(Taker::new).wait(true);
        }
        let page = self.next(py);
        if let Some(taker) = &*self.taker() {
            taker.wait(false);
        }
        page
    }

    /// Stops what is fetched ahead, and the bar.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.stop();
        let bar = lock(&self.bar).take();
        bar.map_or(Ok(()), |bar| bar.close(py))
    }

    /// (done, total, records)
    fn progress(&self) -> (u64, u64, u64) {
        let control = &self.control;
        (control.done(), control.total(), control.records())
    }

    fn warnings(&self) -> Vec<String> {
        self.control.warnings()
    }

    /// How many requests it sent.
    fn requests(&self) -> u64 {
        self.control.stats().requests
    }

    /// What it has cost so far.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        call::stats(py, self.control.stats())
    }
}

impl Pages {
    fn taker(&self) -> MutexGuard<'_, Option<Taker>> {
        lock(&self.taker)
    }

    fn next(&self, py: Python<'_>) -> PyResult<Option<PyDataFrame>> {
        let threads = Threads::get().map_err(|error| raise(py, error))?;
        let next = || {
            let mut stream = lock(&self.stream);
            let Some(stream) = stream.as_mut() else {
                return Some(None);
            };
            let page = async { timeout(TICK, stream.next()).await };
            threads.block_on(page).ok()
        };
        loop {
            let is_interrupted = self.taker().as_ref().is_some_and(Taker::take);
            if is_interrupted {
                self.stop();
                return Err(raise(py, Error::Interrupted));
            }
            let page = py.detach(next);
            // A signal handler may have raised while something was logged.
            let raised = PyErr::take(py).map_or(Ok(()), Err);
            if let Err(error) = raised.and_then(|()| py.check_signals()) {
                self.stop();
                return Err(error);
            }
            match page {
                Some(Some(Ok(page))) => return Ok(Some(PyDataFrame(page))),
                Some(Some(Err(error))) => return Err(raise(py, error)),
                Some(None) => return Ok(None),
                None if self.taker().is_some() => look_at_main_thread(py)?,
                None => {}
            }
        }
    }

    fn stop(&self) {
        let mut stream = lock(&self.stream);
        drop(stream.take());
        drop(self.taker().take());
        self.control.stats.stop();
    }
}
