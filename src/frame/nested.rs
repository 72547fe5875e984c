//! Cells of texts and of Structs, for columns that are put together by hand.

use polars::prelude::*;

use crate::Result;

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
