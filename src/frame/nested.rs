//! Columns of lists, put together from their elements.

use polars::prelude::*;
use polars_arrow::array::{Array, ListArray};
use polars_arrow::bitmap::Bitmap;
use polars_arrow::offset::OffsetsBuffer;

use crate::Result;

/// A List column: of each row how many of the elements are its own, in order; `None` is null.
pub(crate) fn lists(
    name: &str,
    lengths: impl Iterator<Item = Option<usize>>,
    elements: &Series,
) -> Result<Column> {
    let mut offsets = vec![0_i64];
    let mut validity = Vec::new();
    let mut end = 0;
    for length in lengths {
        end += length.unwrap_or(0) as i64;
        offsets.push(end);
        validity.push(length.is_some());
    }
    let dtype = DataType::List(Box::new(elements.dtype().clone()));
    let values: Box<dyn Array> = elements.rechunk().to_arrow(0, CompatLevel::newest());
    let array = ListArray::<i64>::new(
        ListArray::<i64>::default_datatype(values.dtype().clone()),
        OffsetsBuffer::try_from(offsets)?,
        values,
        Some(Bitmap::from_iter(validity)),
    );
    let chunks: Vec<Box<dyn Array>> = vec![Box::new(array)];
    // Checked: the dtype is that of the array.
    let lists = Series::try_from((PlSmallStr::from(name), chunks))?;
    Ok(lists.cast(&dtype)?.into_column())
}

/// A Struct Series of these fields.
pub(crate) fn structs(fields: &[Series]) -> Result<Series> {
    let rows = fields.first().map_or(0, |field| field.len());
    let structs = StructChunked::from_series(PlSmallStr::EMPTY, rows, fields.iter())?;
    Ok(structs.into_series())
}

/// A String Series.
pub(crate) fn strings<'a>(
    name: &str,
    values: impl ExactSizeIterator<Item = Option<&'a str>>,
) -> Series {
    StringChunked::from_iter_options(name.into(), values).into_series()
}
