//! Functions of frames alone.

use pyo3::prelude::*;
use pyo3_polars::PyDataFrame;

use super::errors::raise;
use crate::columns;

/// See `polars_edfi.flatten`.
#[pyfunction]
pub(crate) fn flatten(
    py: Python<'_>,
    df: PyDataFrame,
    columns: Option<Vec<String>>,
    separator: &str,
    explode: Option<Vec<String>>,
) -> PyResult<PyDataFrame> {
    let columns = columns.as_ref().map(|names| as_strs(names));
    let explode = explode.as_ref().map(|names| as_strs(names));
    py.detach(|| columns::flatten(&df.0, columns.as_deref(), separator, explode.as_deref()))
        .map(PyDataFrame)
        .map_err(|error| raise(py, error))
}

/// See `polars_edfi.unflatten`.
#[pyfunction]
pub(crate) fn unflatten(
    py: Python<'_>,
    df: PyDataFrame,
    into: &str,
    separator: &str,
    columns: Option<Vec<String>>,
) -> PyResult<PyDataFrame> {
    let columns = columns.as_ref().map(|names| as_strs(names));
    py.detach(|| columns::unflatten(&df.0, into, separator, columns.as_deref()))
        .map(PyDataFrame)
        .map_err(|error| raise(py, error))
}

/// Whether JSON can be read into the columns of a frame.
#[pyfunction]
pub(crate) fn check_schema(py: Python<'_>, df: PyDataFrame) -> PyResult<()> {
    let layout = columns::Layout::from_schema(df.0.schema(), ".");
    layout.map(drop).map_err(|error| raise(py, error))
}

fn as_strs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}
