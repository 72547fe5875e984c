//! Lists for files and databases that know none: as JSON text.

use polars::prelude::{Column, DataFrame, DataType};

use super::encode;
use crate::Result;
use crate::choice::choice;

/// What becomes of lists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lists {
    /// They stay lists.
    #[default]
    List,
    /// Each is a String of compact JSON.
    Json,
}

choice! {
    Lists: "list" => List, "json" => Json
}

/// The same frame with each List or Array column as a String column of compact JSON; null where there
/// is no list. Objects in it have no members that are null.
///
/// # Errors
/// [`Error::ColumnType`](crate::Error::ColumnType) for elements that JSON cannot hold,
/// [`Error::Json`](crate::Error::Json) for NaN or infinity.
pub fn lists_as_json(df: &DataFrame) -> Result<DataFrame> {
    let text = |column: &Column| match column.dtype() {
        DataType::List(_) | DataType::Array(..) => {
            let texts = encode::texts(column.as_materialized_series())?;
            Ok(Column::from(texts))
        }
        _ => Ok(column.clone()),
    };
    let columns = df.columns().iter().map(text);
    Ok(DataFrame::new(
        df.height(),
        columns.collect::<Result<_>>()?,
    )?)
}

/// A column of arrays, which are lists of one length, as lists; any other as it is.
pub(super) fn array_as_list(column: &Column) -> Result<Column> {
    Ok(match column.dtype() {
        DataType::Array(inner, _) => column.cast(&DataType::List(inner.clone()))?,
        _ => column.clone(),
    })
}

impl Lists {
    /// The frame with its lists so.
    pub(crate) fn of(self, df: DataFrame) -> Result<DataFrame> {
        match self {
            Self::List => Ok(df),
            Self::Json => lists_as_json(&df),
        }
    }
}
