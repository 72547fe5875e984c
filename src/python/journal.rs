//! Journals of batches that write.

use std::path::PathBuf;

use pyo3::prelude::*;

use super::call::{Call, run};
use super::exchange::PyDataFrame;

/// See `polars_edfi.read_journal`.
#[pyfunction]
pub(crate) fn read_journal(py: Python<'_>, call: &Call, path: PathBuf) -> PyResult<PyDataFrame> {
    run(py, call, crate::read_journal(&path)).map(PyDataFrame)
}
