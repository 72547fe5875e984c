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
        builder = match endpoint {
            Some(endpoint) => builder.endpoint(endpoint),
            None => builder.without_endpoint(),
        };
        builder.build().map(Self).map_err(|error| raise(py, error))
    }

    /// The name of the profile, if there is one.
    fn profile(&self) -> Option<&str> {
        self.0.profile().map(|profile| profile.name())
    }

    /// The settings that may be shown.
    fn settings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let settings = PyDict::new(py);
        let base = self.0.base().map(|base| base.as_url().as_str());
        settings.set_item("base_url", base.map(|base| base.trim_end_matches('/')))?;
        settings.set_item("api_version", self.0.api_version())?;
        settings.set_item("auth", self.0.auth().kind())?;
        Ok(settings)
    }
}
