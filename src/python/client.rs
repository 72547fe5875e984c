//! A client, as `polars_edfi.EdFiClient` wraps it.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::arguments::read;
use super::errors::raise;
use super::options;
use crate::EdFiClient;

/// A client; Python's `EdFiClient` holds one.
#[pyclass(frozen, module = "polars_edfi._native")]
pub(crate) struct Client(pub(super) EdFiClient);

#[pymethods]
impl Client {
    #[new]
    #[pyo3(signature = (endpoint, **given))]
    fn new(
        py: Python<'_>,
        endpoint: Option<&str>,
        given: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let mut builder = read(py, given, options::client)?;
        if let Some(endpoint) = endpoint {
            builder = builder.endpoint(endpoint);
        }
        builder.build().map(Self).map_err(|error| raise(py, error))
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.0)
    }
}
