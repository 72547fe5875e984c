//! Columns of one name and different dtypes -> one column that holds both.

use polars::prelude::*;

use crate::Result;
use crate::columns::{self, Encoder};

/// Whole numbers beyond this have no float of their own.
const EXACT: u64 = 1 << 53;

/// One frame below another: all columns, the first frame's first; what a frame lacks is null.
pub(super) fn below(above: DataFrame, below: DataFrame) -> Result<DataFrame> {
    match (above.width(), below.width(), below.height()) {
        (0, ..) => return Ok(below),
        (_, 0, _) | (_, _, 0) => return Ok(above),
        _ => {}
    }
    let height = above.height() + below.height();
    let mut columns = Vec::with_capacity(above.width());
    for column in above.columns() {
        columns.push(match below.column(column.name()) {
            Ok(other) => one_below(column, other)?,
            Err(_) => {
                let nulls =
                    Column::full_null(column.name().clone(), below.height(), column.dtype());
                append(column.clone(), &nulls)?
            }
        });
    }
    for column in below.columns() {
        if above.column(column.name()).is_err() {
            let nulls = Column::full_null(column.name().clone(), above.height(), column.dtype());
            columns.push(append(nulls, column)?);
        }
    }
    Ok(DataFrame::new(height, columns)?)
}

fn one_below(above: &Column, below: &Column) -> Result<Column> {
    let dtype = dtype(above, below)?;
    append(cast(above, &dtype)?, &cast(below, &dtype)?)
}

fn append(mut above: Column, below: &Column) -> Result<Column> {
    above.append(below)?;
    Ok(above)
}

/// The dtype that holds both columns.
pub(super) fn dtype(one: &Column, two: &Column) -> Result<DataType> {
    let wide = together(one.dtype(), two.dtype());
    // Nested numbers are taken as they are: their columns have no values of their own.
    if wide == DataType::Float64 {
        for column in [one, two].into_iter().filter(|c| c.dtype().is_integer()) {
            let numbers = column.cast(&DataType::Int64)?;
            let is_exact = |number: i64| number.unsigned_abs() <= EXACT;
            if !numbers.i64()?.iter().flatten().all(is_exact) {
                return Ok(DataType::String);
            }
        }
    }
    Ok(wide)
}

fn together(one: &DataType, two: &DataType) -> DataType {
    match (one, two) {
        (one, two) if one == two => one.clone(),
        (DataType::Null, other) | (other, DataType::Null) => other.clone(),
        (DataType::UInt64, other) | (other, DataType::UInt64) if other.is_integer() => {
            match other.is_unsigned_integer() {
                true => DataType::UInt64,
                false => DataType::String,
            }
        }
        (one, two) if one.is_integer() && two.is_integer() => match one {
            DataType::Int64 => DataType::Int64,
            one if holds(one, two) => one.clone(),
            _ => DataType::Int64,
        },
        (one, two) if one.is_primitive_numeric() && two.is_primitive_numeric() => DataType::Float64,
        // A unit is no difference of kind: the copy's stays.
        (DataType::Datetime(_, zone), DataType::Datetime(_, other)) if zone == other => one.clone(),
        (DataType::List(one), DataType::List(two)) => DataType::List(Box::new(together(one, two))),
        (DataType::Struct(one), DataType::Struct(two)) => {
            let mut fields = one.clone();
            for field in two {
                match fields.iter_mut().find(|known| known.name() == field.name()) {
                    Some(known) => known.coerce(together(known.dtype(), field.dtype())),
                    None => fields.push(field.clone()),
                }
            }
            DataType::Struct(fields)
        }
        _ => DataType::String,
    }
}

/// Whether a type of integers holds all values of another.
fn holds(wide: &DataType, narrow: &DataType) -> bool {
    let size = |dtype: &DataType| match dtype {
        DataType::Int8 | DataType::UInt8 => 1,
        DataType::Int16 | DataType::UInt16 => 2,
        DataType::Int32 | DataType::UInt32 => 4,
        _ => 8,
    };
    wide.is_signed_integer() == narrow.is_signed_integer() && size(wide) >= size(narrow)
}

/// The column in a dtype that holds it; what is no text becomes JSON where texts are wanted.
pub(super) fn cast(column: &Column, dtype: &DataType) -> Result<Column> {
    if column.dtype() == dtype {
        return Ok(column.clone());
    }
    Ok(cast_series(column.as_materialized_series(), dtype)?.into_column())
}

fn cast_series(series: &Series, dtype: &DataType) -> Result<Series> {
    let name = series.name().clone();
    Ok(match (series.dtype(), dtype) {
        (own, wanted) if own == wanted => series.clone(),
        (DataType::Null, wanted) => Series::full_null(name, series.len(), wanted),
        (DataType::Categorical(..) | DataType::Enum(..), DataType::String) => series.cast(dtype)?,
        (_, DataType::String) => texts(series)?.with_name(name),
        (DataType::List(_), DataType::List(inner)) => {
            let lists = series.list()?;
            let wide = |elements: Series| {
                cast_series(&elements, inner).map_err(|error| polars_err!(ComputeError: "{error}"))
            };
            lists.apply_to_inner(&wide)?.into_series().with_name(name)
        }
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let structs = series.struct_()?;
            let own = structs.fields_as_series();
            let mut wide = Vec::with_capacity(fields.len());
            for field in fields {
                let known = own.iter().find(|series| series.name() == field.name());
                wide.push(match known {
                    Some(series) => cast_series(series, field.dtype())?,
                    None => Series::full_null(field.name().clone(), series.len(), field.dtype()),
                });
            }
            let mut wide = StructChunked::from_series(name, series.len(), wide.iter())?;
            wide.zip_outer_validity(structs);
            wide.into_series()
        }
        _ => series.strict_cast(dtype)?,
    })
}

/// Key values, as change queries tell them, in the dtype of a column; null where they do not fit.
pub(super) fn parse(column: &Column, dtype: &DataType) -> Result<Column> {
    match (column.dtype(), dtype) {
        (DataType::String, DataType::Date) => {
            let days = column.str()?.iter().map(|text| columns::date(text?));
            let days: Int32Chunked = days.collect();
            Ok(days.into_column().cast(dtype)?)
        }
        _ => Ok(column.cast(dtype)?),
    }
}

/// Values as texts: what was no text, as JSON.
fn texts(series: &Series) -> Result<Series> {
    let field = series.clone().with_name(PlSmallStr::from_static("value"));
    let rows = StructChunked::from_series(PlSmallStr::EMPTY, series.len(), [field].iter())?;
    let encoder = Encoder::new(&rows.into_series(), true)?;
    let mut texts = Vec::with_capacity(series.len());
    for row in 0..series.len() {
        let json = encoder.encode(row)?.unwrap_or_default();
        let value = json.strip_prefix(br#"{"value":"#);
        let value = value.and_then(|value| value.strip_suffix(b"}"));
        texts.push(match value {
            Some(quoted @ [b'"', ..]) => serde_json::from_slice::<String>(quoted).ok(),
            Some(value) => Some(String::from_utf8_lossy(value).into_owned()),
            None => None,
        });
    }
    let texts: StringChunked = texts.into_iter().collect();
    Ok(texts.into_series())
}
