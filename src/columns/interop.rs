//! Arrow <-> Polars by the C data interface, without a copy.

#![allow(unsafe_code)]

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi, to_ffi};
use arrow_array::{Array, ArrayRef, make_array};
use polars::prelude::{ArrowDataType, CompatLevel, DataType, PlSmallStr, Series};
use polars_arrow::array::ListArray;
use polars_arrow::bitmap::Bitmap;
use polars_arrow::ffi as polars_ffi;
use polars_arrow::offset::Offsets;

use crate::Result;

/// An Arrow array as a Polars Series that shares its memory.
pub(super) fn to_series(name: PlSmallStr, array: &dyn Array) -> Result<Series> {
    let (array, schema) = to_ffi(&array.to_data())?;
    // SAFETY: both types are `repr(C)` copies of the two structs that the C data interface
    // defines. The value is moved, so that one side only, Polars, calls `release`.
    let (array, schema) = unsafe {
        (
            std::mem::transmute::<FFI_ArrowArray, polars_ffi::ArrowArray>(array),
            std::mem::transmute::<FFI_ArrowSchema, polars_ffi::ArrowSchema>(schema),
        )
    };
    // SAFETY: arrow has just made both of one valid array: the schema is that of the array, and
    // its buffers live until Polars releases them.
    let (array, dtype) = unsafe {
        let field = polars_ffi::import_field_from_c(&schema)?;
        let array = polars_ffi::import_array_from_c(array, field.dtype.clone())?;
        (array, field.dtype)
    };
    // SAFETY: `dtype` is the dtype that the array was imported with.
    let series = unsafe { Series::_try_from_arrow_unchecked(name, vec![array], &dtype)? };
    Ok(series)
}

/// The same where the dtype is known, without a schema on the way.
///
/// # Safety
/// `array` must be of the Arrow type that Polars has for `dtype`, and `arrow` must be that type.
pub(super) unsafe fn to_series_of(
    name: PlSmallStr,
    array: &dyn Array,
    dtype: &DataType,
    arrow: &ArrowDataType,
) -> Result<Series> {
    let array = FFI_ArrowArray::new(&array.to_data());
    // SAFETY: as in `to_series`; `dtype` and `arrow` are those of the array, by the caller's promise.
    let series = unsafe {
        let array = std::mem::transmute::<FFI_ArrowArray, polars_ffi::ArrowArray>(array);
        let array = polars_ffi::import_array_from_c(array, arrow.clone())?;
        Series::from_chunks_and_dtype_unchecked(name, vec![array], dtype)
    };
    Ok(series)
}

/// A Polars Series as one Arrow array. It is copied only if it has several chunks.
///
/// The two do not agree on the buffers of Null, nor on the types of Categorical, Enum and 128-bit
/// integers: cast these before.
pub(super) fn to_arrow(series: &Series) -> Result<ArrayRef> {
    let array = series.rechunk().to_arrow(0, CompatLevel::newest());
    let field = polars_arrow::datatypes::Field::new(PlSmallStr::EMPTY, array.dtype().clone(), true);
    let schema = polars_ffi::export_field_to_c(&field);
    let array = polars_ffi::export_array_to_c(array);
    // SAFETY: as in `to_series`, the other way round.
    let (array, schema) = unsafe {
        (
            std::mem::transmute::<polars_ffi::ArrowArray, FFI_ArrowArray>(array),
            std::mem::transmute::<polars_ffi::ArrowSchema, FFI_ArrowSchema>(schema),
        )
    };
    // SAFETY: Polars has just made both of one valid array.
    let data = unsafe { from_ffi(array, &schema)? };
    Ok(make_array(data))
}

/// The rows of a Series as lists of these lengths, one after another; `None` is a null list.
pub(crate) fn lists(name: &str, rows: &Series, lengths: &[Option<usize>]) -> Result<Series> {
    let rows = rows.rechunk();
    let values = rows.chunks()[0].clone();
    let offsets =
        Offsets::<i64>::try_from_lengths(lengths.iter().map(|length| length.unwrap_or(0)))?;
    let validity: Bitmap = lengths.iter().map(Option::is_some).collect();
    let dtype = ListArray::<i64>::default_datatype(values.dtype().clone());
    let lists = ListArray::try_new(dtype, offsets.into(), values, Some(validity))?;
    let dtype = DataType::List(Box::new(rows.dtype().clone()));
    // SAFETY: the elements are the chunk of a Series of the inner dtype.
    let series = unsafe {
        Series::from_chunks_and_dtype_unchecked(name.into(), vec![lists.boxed()], &dtype)
    };
    Ok(series)
}
