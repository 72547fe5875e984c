//! The sandbox, as `polars_edfi.Sandbox` wraps it.

use std::path::PathBuf;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3_polars::PyDataFrame;

use super::errors::raise;
use crate::Error;

/// A running sandbox, until it is stopped.
#[pyclass(frozen, module = "polars_edfi._native")]
pub(crate) struct Sandbox(std::sync::Mutex<Option<crate::sandbox::Sandbox>>);

#[pymethods]
impl Sandbox {
    #[new]
    #[allow(clippy::too_many_arguments, reason = "Python gives them by keyword")]
    fn new(
        py: Python<'_>,
        districts: Vec<String>,
        records: usize,
        seed: u64,
        port: u16,
        page_limit: usize,
        token_lifetime: f64,
        latency: f64,
    ) -> PyResult<Self> {
        let time = |name: &str, seconds: f64| {
            Duration::try_from_secs_f64(seconds).map_err(|_| {
                let text = format!("{name} must be a number of seconds >= 0, got {seconds}");
                raise(py, Error::Config(text))
            })
        };
        let builder = crate::sandbox::Sandbox::builder()
            .districts(districts)
            .records(records)
            .seed(seed)
            .port(port)
            .page_limit(page_limit)
            .token_lifetime(time("token_lifetime", token_lifetime)?)
            .latency(time("latency", latency)?);
        let ods = py
            .detach(|| builder.start())
            .map_err(|error| raise(py, error))?;
        Ok(Self(std::sync::Mutex::new(Some(ods))))
    }

    #[getter]
    fn url(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, |ods| Ok(ods.url()))
    }

    fn districts(&self, py: Python<'_>) -> PyResult<PyDataFrame> {
        self.with(py, |ods| Ok(PyDataFrame(ods.districts())))
    }

    fn load_jsonl(
        &self,
        py: Python<'_>,
        district: &str,
        endpoint: &str,
        path: PathBuf,
    ) -> PyResult<usize> {
        py.detach(|| self.locked(|ods| ods.load_jsonl(district, endpoint, &path)))
            .map_err(|error| raise(py, error))
    }

    /// How many requests came, tokens and metadata included.
    fn request_count(&self, py: Python<'_>) -> PyResult<usize> {
        self.with(py, |ods| Ok(ods.requests().len()))
    }

    fn stop(&self, py: Python<'_>) {
        py.detach(|| {
            drop(
                self.0
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .take(),
            );
        });
    }
}

impl Sandbox {
    fn locked<T>(
        &self,
        f: impl FnOnce(&crate::sandbox::Sandbox) -> crate::Result<T>,
    ) -> crate::Result<T> {
        let ods = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        f(ods
            .as_ref()
            .ok_or_else(|| Error::Config("the sandbox is stopped".into()))?)
    }

    fn with<T>(
        &self,
        py: Python<'_>,
        f: impl FnOnce(&crate::sandbox::Sandbox) -> crate::Result<T>,
    ) -> PyResult<T> {
        self.locked(f).map_err(|error| raise(py, error))
    }
}
