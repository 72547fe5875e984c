//! The columns of an input frame: found or missed, of the right type, read cell by cell.

use std::time::SystemTime;

use polars::prelude::*;

use crate::client::{Control, epoch};
use crate::{Error, Failure, Result};

/// A column, or why there is none.
pub(crate) fn required<'a>(df: &'a DataFrame, argument: &str, name: &str) -> Result<&'a Column> {
    find(df, name).ok_or_else(|| missing(df, argument, name))
}

/// A column under a name that has a default: it may be absent only under that default.
pub(crate) fn defaulted<'a>(
    df: &'a DataFrame,
    argument: &str,
    name: &str,
    default: &str,
) -> Result<Option<&'a Column>> {
    match find(df, name) {
        None if name == default => Ok(None),
        None => Err(missing(df, argument, name)),
        found => Ok(found),
    }
}

fn find<'a>(df: &'a DataFrame, name: &str) -> Option<&'a Column> {
    df.columns()
        .iter()
        .find(|column| column.name().as_str() == name)
}

pub(crate) fn missing(df: &DataFrame, argument: &str, name: &str) -> Error {
    let names: Vec<String> = df
        .columns()
        .iter()
        .take(30)
        .map(|column| format!("{:?}", column.name().as_str()))
        .collect();
    Error::ColumnNotFound(format!(
        "column {name:?} ({argument}) is not in the frame; its columns are: {}",
        names.join(", ")
    ))
}

/// A column of texts, each without the spaces around it; blank ones are as good as null.
#[derive(Debug, Clone)]
pub(crate) struct Texts {
    name: String,
    values: StringChunked,
}

impl Texts {
    pub(crate) fn new(column: &Column, argument: &str) -> Result<Self> {
        let name = column.name().to_string();
        let values = match column.dtype() {
            DataType::String => column.str()?.clone(),
            DataType::Null | DataType::Categorical(_, _) | DataType::Enum(_, _) => {
                column.cast(&DataType::String)?.str()?.clone()
            }
            other => {
                return Err(Error::ColumnType(format!(
                    "column {name:?} ({argument}) must be String, not {other}"
                )));
            }
        };
        Ok(Self {
            name,
            values: values.rechunk().into_owned(),
        })
    }

    pub(crate) fn required(df: &DataFrame, argument: &str, name: &str) -> Result<Self> {
        Self::new(required(df, argument, name)?, argument)
    }

    pub(crate) fn optional(
        df: &DataFrame,
        argument: &str,
        name: Option<&str>,
    ) -> Result<Option<Self>> {
        name.map(|name| Self::required(df, argument, name))
            .transpose()
    }

    pub(crate) fn defaulted(
        df: &DataFrame,
        argument: &str,
        name: &str,
        default: &str,
    ) -> Result<Option<Self>> {
        defaulted(df, argument, name, default)?
            .map(|column| Self::new(column, argument))
            .transpose()
    }

    pub(crate) fn get(&self, row: usize) -> Option<&str> {
        let text = self.values.get(row)?.trim();
        (!text.is_empty()).then_some(text)
    }

    /// A text with the spaces around it, where it is not blank.
    pub(crate) fn get_untrimmed(&self, row: usize) -> Option<&str> {
        self.get(row).and_then(|_| self.values.get(row))
    }

    /// The name of the column, for a row's message: `missing 'targetUrl'`.
    pub(crate) fn missing(&self) -> String {
        format!("missing '{}'", self.name)
    }
}

/// A column of points in time.
#[derive(Debug, Clone)]
pub(crate) struct Times {
    /// Seconds since 1970.
    seconds: Float64Chunked,
}

impl Times {
    pub(crate) fn required(df: &DataFrame, argument: &str, name: &str) -> Result<Self> {
        let column = required(df, argument, name)?;
        let seconds = match column.dtype() {
            DataType::Datetime(unit, _) => {
                let per_second = match unit {
                    TimeUnit::Nanoseconds => 1e9,
                    TimeUnit::Microseconds => 1e6,
                    TimeUnit::Milliseconds => 1e3,
                };
                column
                    .cast(&DataType::Int64)?
                    .cast(&DataType::Float64)?
                    .f64()?
                    .clone()
                    / per_second
            }
            dtype if dtype.is_primitive_numeric() || dtype.is_null() => {
                column.cast(&DataType::Float64)?.f64()?.clone()
            }
            DataType::String => column.cast(&DataType::Float64)?.f64()?.clone(),
            other => {
                return Err(Error::ColumnType(format!(
                    "column {name:?} ({argument}) must be Datetime, a number of seconds since \
                     1970, or such a number as text, not {other}"
                )));
            }
        };
        Ok(Self {
            seconds: seconds.rechunk().into_owned(),
        })
    }

    /// Whether the time in a row is over; a cell without a time never is.
    pub(crate) fn is_over(&self, row: usize) -> bool {
        self.get(row).is_some_and(|time| SystemTime::now() >= time)
    }

    /// The time in a row.
    pub(crate) fn get(&self, row: usize) -> Option<SystemTime> {
        let seconds = self.seconds.get(row);
        seconds.filter(|seconds| seconds.is_finite()).map(epoch)
    }
}

/// What tells rows or districts apart: any column, texts without the spaces around them.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    column: Column,
    texts: StringChunked,
}

impl Keys {
    pub(crate) fn required(df: &DataFrame, argument: &str, name: &str) -> Result<Self> {
        let column = required(df, argument, name)?;
        let as_text = match column.dtype() {
            DataType::String => column.clone(),
            dtype if dtype.is_nested() || dtype.is_object() || dtype.is_binary() => {
                return Err(Error::ColumnType(format!(
                    "column {name:?} ({argument}) holds {dtype}; a key is a text or a number"
                )));
            }
            dtype => column.cast(&DataType::String).map_err(|_| {
                Error::ColumnType(format!(
                    "column {name:?} ({argument}) holds {dtype}; a key is a text or a number"
                ))
            })?,
        };
        Ok(Self {
            column: column.clone(),
            texts: as_text.str()?.rechunk().into_owned(),
        })
    }

    /// The key of a row as text; `None` where it is null or blank.
    pub(crate) fn get(&self, row: usize) -> Option<&str> {
        let text = self.texts.get(row)?.trim();
        (!text.is_empty()).then_some(text)
    }

    /// The same with the spaces around it: part of a natural key is what an item has, spaces and all.
    pub(crate) fn get_untrimmed(&self, row: usize) -> Option<&str> {
        self.get(row).and_then(|_| self.texts.get(row))
    }

    /// The key of a row as [`get`](Self::get) gives it, but a whole number as whole numbers are
    /// written, whatever the type of the column.
    pub(crate) fn get_number(&self, row: usize) -> Option<&str> {
        let key = self.get(row)?;
        match self.column.dtype().is_float() {
            true => key.strip_suffix(".0").or(Some(key)),
            false => Some(key),
        }
    }

    /// The key of a row, or what is said of a row without one: `missing 'id'`.
    pub(crate) fn need(&self, row: usize) -> Result<&str, Failure> {
        let missing = || Failure::new(format!("missing '{}'", self.column.name()));
        self.get(row).ok_or_else(missing)
    }

    /// The keys of some rows, in the type of their column.
    pub(crate) fn take(&self, rows: &[IdxSize]) -> Result<Column> {
        let name = self.column.name().clone();
        if self.column.dtype() == &DataType::String {
            let keys = rows
                .iter()
                .map(|row| self.texts.get(*row as usize).map(str::trim));
            return Ok(StringChunked::from_iter_options(name, keys).into_column());
        }
        let index = IdxCa::from_vec(PlSmallStr::EMPTY, rows.to_vec());
        Ok(self.column.take(&index)?)
    }
}

/// Says how many rows a status keeps out of a call and of its result.
pub(crate) fn tell_left_out(rows: usize, status_col: &str, control: &Control) {
    let rows = match rows {
        0 => return,
        1 => "1 row was".to_owned(),
        rows => format!("{rows} rows were"),
    };
    let text = format!("{rows} left out for '{status_col}', and not in the result");
    control.progress.tell(text);
}

/// Which rows take part: all but those whose status says that they are done with.
pub(crate) fn active_rows(
    df: &DataFrame,
    status_col: &str,
    default: &str,
    skip: &[String],
) -> Result<Vec<usize>> {
    let Some(statuses) = Texts::defaulted(df, "status_col", status_col, default)? else {
        return Ok((0..df.height()).collect());
    };
    let skipped = |row: &usize| {
        statuses
            .get(*row)
            .is_some_and(|status| skip.iter().any(|skip| skip == status))
    };
    Ok((0..df.height()).filter(|row| !skipped(row)).collect())
}
