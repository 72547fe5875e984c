//! Lazy scans: their columns, and their pages one after another.

use std::sync::{Mutex, PoisonError};

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use polars::prelude::DataFrame;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3_polars::PyDataFrame;

use super::client::{Client, batch_options, get, keywords, read_options, whole};
use super::errors::raise;
use super::run::{Call, TICK, run};
use crate::runtime::{AtWork, Threads};
use crate::{
    BatchOptions, Control, EdFiClient, GetAllOptions, Result, Scan as Planned, ScanOptions,
};

/// What a lazy frame reads from; its columns are asked for when they are needed.
#[pyclass(frozen, module = "polars_edfi._native")]
pub(crate) struct Scan {
    client: EdFiClient,
    endpoint: Option<String>,
    options: ScanOptions,
    districts: Option<(DataFrame, String)>,
    planned: Mutex<Option<Planned>>,
}

#[pymethods]
impl Scan {
    /// Checks all that can be checked before anything is sent. With `df` it reads many districts.
    #[new]
    #[pyo3(signature = (client, df, **arguments))]
    fn new(
        py: Python<'_>,
        client: &Client,
        df: Option<PyDataFrame>,
        arguments: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let a = &keywords(py, arguments);
        let call = Call::new();
        let batch = match &df {
            Some(_) => batch_options(a, &call)?,
            None => BatchOptions {
                workers: whole(a, "workers", 1)?,
                ..BatchOptions::default()
            },
        };
        let scan = Self {
            client: client.0.clone(),
            endpoint: get(a, "endpoint")?,
            options: ScanOptions {
                read: GetAllOptions {
                    batch,
                    ..read_options(a)?
                },
                ..ScanOptions::default()
            },
            districts: match df {
                Some(df) => Some((df.0, get(a, "key_col")?)),
                None => None,
            },
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

    /// The pages from the start, with some columns and rows only.
    fn pages(
        &self,
        py: Python<'_>,
        columns: Option<Vec<String>>,
        n_rows: Option<usize>,
    ) -> PyResult<Pages> {
        let planned = self.planned(py)?;
        let control = Control::new();
        let stream = planned
            .frames(columns, n_rows, control.clone())
            .map_err(|error| raise(py, error))?;
        let at_work = Threads::get()
            .and_then(Threads::keep_at_work)
            .map_err(|error| raise(py, error))?;
        Ok(Pages {
            stream: Mutex::new(Some((stream, at_work))),
            control,
        })
    }
}

impl Scan {
    fn planned(&self, py: Python<'_>) -> PyResult<Planned> {
        let known = || self.planned.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(planned) = &*known() {
            return Ok(planned.clone());
        }
        let control = Control::new();
        let mut options = self.options.clone();
        options.read.batch.control = control.clone();
        let endpoint = self.endpoint.as_deref();
        let planning = Planned::new(&self.client, endpoint, &options, self.districts.clone());
        let planned = run(py, &control, None, planning)?;
        // Two threads that ask at once may both have asked the server; one answer stays.
        Ok(known().get_or_insert(planned).clone())
    }
}

/// An iterator over pages. Dropping it stops what is fetched ahead.
#[pyclass(frozen, module = "polars_edfi._native")]
pub(crate) struct Pages {
    stream: Mutex<Option<(BoxStream<'static, Result<DataFrame>>, AtWork)>>,
    control: Control,
}

#[pymethods]
impl Pages {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    /// Waits for one page, without the GIL; Ctrl-C ends the wait and the reading.
    fn __next__(&self, py: Python<'_>) -> PyResult<Option<PyDataFrame>> {
        let threads = Threads::get().map_err(|error| raise(py, error))?;
        let wait = || {
            let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
            let Some((pages, _)) = stream.as_mut() else {
                return Some(None);
            };
            let next = async { tokio::time::timeout(TICK, pages.next()).await };
            threads.block_on(next).ok()
        };
        loop {
            match py.detach(wait) {
                Some(Some(Ok(page))) => return Ok(Some(PyDataFrame(page))),
                Some(Some(Err(error))) => return Err(raise(py, error)),
                Some(None) => return Ok(None),
                None => {}
            }
            if let Err(error) = py.check_signals() {
                self.close();
                return Err(error);
            }
        }
    }

    /// Stops what is fetched ahead.
    fn close(&self) {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        drop(stream.take());
    }

    /// (done, total, records)
    fn progress(&self) -> (u64, u64, u64) {
        let control = &self.control;
        (control.done(), control.total(), control.records())
    }

    fn warnings(&self) -> Vec<String> {
        self.control.warnings()
    }
}
