//! Functions of frames alone.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::arguments::{Argument, read};
use super::errors::raise;
use super::exchange::{Frame, PyDataFrame};
use crate::Changes;
use crate::columns::{self, Layout, Lists};

type Names = Option<Vec<String>>;

/// See `polars_edfi.flatten`.
#[pyfunction]
#[pyo3(signature = (df, **given))]
pub(crate) fn flatten(
    py: Python<'_>,
    df: Frame,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<PyDataFrame> {
    let (columns, explode, separator, lists) = read(py, given, |a| {
        let (columns, explode): (Names, Names) = (a.required("columns")?, a.required("explode")?);
        let separator = a.required::<String>("separator")?;
        Ok((columns, explode, separator, a.required::<Lists>("lists")?))
    })?;
    let columns = columns.as_ref().map(|names| as_strs(names));
    let explode = explode.as_ref().map(|names| as_strs(names));
    let flat = || columns::flatten(&df.0, columns.as_deref(), &separator, explode.as_deref());
    py.detach(|| flat().and_then(|flat| lists.of(flat)))
        .map(PyDataFrame)
        .map_err(|error| raise(py, error))
}

/// See `polars_edfi.tables`.
#[pyfunction]
pub(crate) fn tables(
    py: Python<'_>,
    df: Frame,
    key: &Bound<'_, PyAny>,
) -> PyResult<Vec<(String, PyDataFrame)>> {
    let key = Names::named("key", key)?;
    let key = key.as_ref().map(|names| as_strs(names));
    let all = py.detach(|| columns::tables(&df.0, key.as_deref()));
    let all = all.map_err(|error| raise(py, error))?;
    Ok(all
        .into_iter()
        .map(|(name, df)| (name, PyDataFrame(df)))
        .collect())
}

/// See `polars_edfi.unflatten`.
#[pyfunction]
#[pyo3(signature = (df, **given))]
pub(crate) fn unflatten(
    py: Python<'_>,
    df: Frame,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<PyDataFrame> {
    let (into, separator, columns) = read(py, given, |a| {
        let (into, separator): (String, String) = (a.required("into")?, a.required("separator")?);
        Ok((into, separator, a.required::<Names>("columns")?))
    })?;
    let columns = columns.as_ref().map(|names| as_strs(names));
    py.detach(|| columns::unflatten(&df.0, &into, &separator, columns.as_deref()))
        .map(PyDataFrame)
        .map_err(|error| raise(py, error))
}

/// See `polars_edfi.apply_changes`.
#[pyfunction]
pub(crate) fn apply_changes(
    py: Python<'_>,
    copy: Frame,
    records: Frame,
    deletes: Frame,
    key_changes: Frame,
    key_fields: &Bound<'_, PyAny>,
) -> PyResult<PyDataFrame> {
    let key_fields = Names::named("key_fields", key_fields)?;
    let key_fields = key_fields.as_ref().map(|names| as_strs(names));
    let changes = Changes::new(records.0, deletes.0, key_changes.0, 0);
    py.detach(|| crate::apply_changes(&copy.0, &changes, key_fields.as_deref()))
        .map(PyDataFrame)
        .map_err(|error| raise(py, error))
}

/// See `polars_edfi.summary`.
#[pyfunction]
pub(crate) fn summary(
    py: Python<'_>,
    districts: Frame,
    records: Frame,
    key_col: &Bound<'_, PyAny>,
) -> PyResult<PyDataFrame> {
    let key_col = String::named("key_col", key_col)?;
    py.detach(|| crate::summary(&districts.0, &records.0, &key_col))
        .map(PyDataFrame)
        .map_err(|error| raise(py, error))
}

/// The columns of a schema that JSON can be read into, as a frame without rows.
#[pyfunction]
pub(crate) fn columns_of(py: Python<'_>, schema: &Bound<'_, PyAny>) -> PyResult<PyDataFrame> {
    let schema = polars::prelude::Schema::named("schema", schema)?;
    Layout::from_schema(&schema, ".").map_err(|error| raise(py, error))?;
    Ok(PyDataFrame(polars::prelude::DataFrame::empty_with_schema(
        &schema,
    )))
}

fn as_strs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}
