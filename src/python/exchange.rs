//! Frames and Series between Python's Polars and this one: no row is lost on the way.
//!
//! Polars imports all chunks of a column together, and drops those chunks of categories that are
//! empty: lists around them are then left without their elements, and go as well. So such columns
//! cross as one chunk, and what has crossed is counted.

use polars::prelude::*;
use polars_arrow::ffi::{ArrowArray, ArrowSchema, import_array_from_c, import_field_from_c};
use polars_ffi::version_0::SeriesExport;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3_polars::PySeries;

use super::arguments::kind;
use super::errors::raise;
use crate::{Error, Result};

/// A frame from Python, or for it.
#[derive(Debug)]
pub(crate) struct PyDataFrame(pub(crate) DataFrame);

impl<'py> FromPyObject<'_, 'py> for PyDataFrame {
    type Error = PyErr;

    fn extract(frame: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let py = frame.py();
        let height = frame.getattr("height")?.extract()?;
        let columns = helpers(py)?.call_method1("columns", (frame,))?;
        let columns = columns
            .try_iter()?
            .map(|series| Ok(import(&series?)?.into_column()));
        let frame = DataFrame::new(height, columns.collect::<PyResult<_>>()?);
        frame.map(Self).map_err(|error| raise(py, error.into()))
    }
}

impl<'py> IntoPyObject<'py> for PyDataFrame {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        let height = self.0.height();
        let frame = match self.0.width() > 0 && self.0.columns().iter().all(crosses_with_others) {
            true => {
                let all = self.0.into_struct(PlSmallStr::EMPTY).into_series();
                helpers(py)?.call_method1("unnested", (PySeries(all),))?
            }
            false => {
                let columns = PyDict::new(py);
                for column in self.0.columns() {
                    let series = for_export(column.as_materialized_series());
                    columns
                        .set_item(column.name().as_str(), PySeries(series).into_pyobject(py)?)?;
                }
                helpers(py)?.call_method1("frame", (columns, height))?
            }
        };
        let came = frame.getattr("height")?.extract()?;
        let checked = check_height("the result", height, came);
        checked.map(|()| frame).map_err(|error| raise(py, error))
    }
}

/// The side of this in Python.
pub(super) fn helpers(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    py.import("polars_edfi._exchange")
}

fn check_height(what: &str, expected: usize, came: usize) -> Result<()> {
    match expected == came {
        true => Ok(()),
        false => Err(Error::Internal(format!(
            "{what} has {expected} rows, of which {came} crossed between Python and Rust"
        ))),
    }
}

/// A Series of Python's.
fn import(series: &Bound<'_, PyAny>) -> PyResult<Series> {
    let mut export = SeriesExport::empty();
    let address = (&raw mut export).addr();
    series.getattr("_s")?.call_method1("_export", (address,))?;
    // SAFETY: Python's Polars has just exported it.
    let imported = unsafe { import_series(&export) };
    imported.map_err(|error| raise(series.py(), error.into()))
}

/// The fields of a [`SeriesExport`], in the layout of version 0 of the ABI.
#[repr(C)]
struct Exported {
    field: *mut ArrowSchema,
    arrays: *mut *mut ArrowArray,
    len: usize,
}

/// A Series that was exported, with as many rows as it had there.
///
/// # Safety
/// The export must be valid, and imported once.
pub(super) unsafe fn import_series(export: &SeriesExport) -> PolarsResult<Series> {
    // SAFETY: these are the first fields of an export.
    let exported = unsafe { &*(&raw const *export).cast::<Exported>() };
    if exported.field.is_null() || exported.len == 0 {
        polars_bail!(ComputeError: "a Series that was not exported");
    }
    // SAFETY: a valid export has a field, and so many arrays of its dtype. Each is moved out of
    // the export, whose `release` frees the memory that they stand in.
    let (field, chunks) = unsafe {
        let field = import_field_from_c(&*exported.field)?;
        if has_empty_arrays(field.dtype()) {
            polars_bail!(SchemaMismatch: "column {:?} is an Array of width 0; cast it", field.name);
        }
        let arrays = std::slice::from_raw_parts(exported.arrays, exported.len);
        let chunks = arrays
            .iter()
            .map(|array| import_array_from_c(array.read(), field.dtype.clone()))
            .collect::<PolarsResult<Vec<_>>>()?;
        (field, chunks)
    };
    let rows = chunks.iter().map(|chunk| chunk.len()).sum();
    let together = |chunks| {
        // SAFETY: the chunks were imported with the dtype of the field.
        unsafe {
            Series::_try_from_arrow_unchecked_with_md(
                field.name.clone(),
                chunks,
                field.dtype(),
                field.metadata.as_deref(),
            )
        }
    };
    let lists_of_categories = chunks.len() > 1 && has_categories_in_lists(field.dtype());
    let series = match lists_of_categories {
        false => together(chunks)?,
        true => {
            let mut chunks = chunks.into_iter().map(|chunk| together(vec![chunk]));
            let mut whole = chunks.next().transpose()?.unwrap_or_default();
            for chunk in chunks {
                whole.append_owned(chunk?)?;
            }
            whole.rechunk()
        }
    };
    check_height(&format!("column {:?}", field.name), rows, series.len())
        .map_err(|error| polars_err!(ComputeError: "{error}"))?;
    Ok(series)
}

/// The same values, as an importer takes them whole.
pub(super) fn for_export(series: &Series) -> Series {
    let dtype = series.dtype().to_arrow(CompatLevel::newest());
    match series.n_chunks() > 1 && has_categories_in_lists(&dtype) {
        true => series.rechunk(),
        false => series.clone(),
    }
}

/// Whether a column can cross as the field of a Struct, which takes Python a tenth of the time. The
/// fields of one have the same chunks: where there are several, some columns would be copied.
fn crosses_with_others(column: &Column) -> bool {
    let dtype = column.dtype().to_arrow(CompatLevel::newest());
    let is_one = column
        .as_series()
        .is_none_or(|series| series.n_chunks() == 1);
    is_one
        && !any(&dtype, |dtype| {
            matches!(dtype, ArrowDataType::Dictionary(..))
        })
}

/// Whether any of the dtypes that a dtype is made of, itself included, is such a one.
fn any(dtype: &ArrowDataType, is: fn(&ArrowDataType) -> bool) -> bool {
    is(dtype)
        || match dtype {
            ArrowDataType::LargeList(field)
            | ArrowDataType::List(field)
            | ArrowDataType::FixedSizeList(field, _) => any(field.dtype(), is),
            ArrowDataType::Struct(fields) => fields.iter().any(|field| any(field.dtype(), is)),
            _ => false,
        }
}

fn has_empty_arrays(dtype: &ArrowDataType) -> bool {
    any(dtype, |dtype| {
        matches!(dtype, ArrowDataType::FixedSizeList(_, 0))
    })
}

fn has_categories_in_lists(dtype: &ArrowDataType) -> bool {
    any(dtype, |dtype| match dtype {
        ArrowDataType::LargeList(field)
        | ArrowDataType::List(field)
        | ArrowDataType::FixedSizeList(field, _) => any(field.dtype(), |dtype| {
            matches!(dtype, ArrowDataType::Dictionary(..))
        }),
        _ => false,
    })
}

/// A DataFrame, or anything else that gives its columns as an Arrow stream.
pub(crate) struct Frame(pub(crate) DataFrame);

impl<'a, 'py> FromPyObject<'a, 'py> for Frame {
    type Error = PyErr;

    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let polars = value.py().import("polars")?;
        if value.is_instance(&polars.getattr("DataFrame")?)? {
            return Ok(Self(value.extract::<PyDataFrame>()?.0));
        }
        let is_series = value.is_instance(&polars.getattr("Series")?)?;
        if !is_series && value.hasattr("__arrow_c_stream__")? {
            let read = polars.call_method1("DataFrame", (value,))?;
            return Ok(Self(read.extract::<PyDataFrame>()?.0));
        }
        let hint = match value.is_instance(&polars.getattr("LazyFrame")?)? {
            true => "; call .collect() first",
            false => "",
        };
        Err(PyTypeError::new_err(format!(
            "expected a polars.DataFrame or an Arrow stream, got {}{hint}",
            kind(&value)
        )))
    }
}
