//! Filters of a scan: which rows have one of some values, and what the server is asked for.

use polars::prelude::*;
use serde::{Deserialize, Serialize};

use super::source::District;
use crate::client::metadata::{Described, Metadata};
use crate::client::permits::Permits;
use crate::client::session::{Access, CallContext};
use crate::openapi::Resource;
use crate::{Error, Result};

/// A property that was renamed since its name was taken.
const RENAMED: &str = "_record";
/// Values that are longer together may be too much for a URL.
const MOST_BYTES: usize = 2_000;

/// Only records that have one of some values in a column.
///
/// ```
/// use polars::prelude::*;
/// use polars_edfi::{Filter, ScanOptions};
///
/// let of_two_students = ScanOptions {
///     filters: vec![Filter::is_in(
///         "studentReference.studentUniqueId",
///         Series::new("ids".into(), ["604822", "604823"]),
///     )],
///     ..ScanOptions::default()
/// };
/// # let _ = of_two_students;
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Filter {
    /// The column: one of the records, outside of lists that are exploded, or that of the keys of
    /// districts.
    pub column: String,
    /// The values, of the kind that the column has: texts, whole numbers, booleans or dates.
    pub values: Series,
}

impl Filter {
    /// Records that have one of these values in a column.
    pub fn is_in(column: impl Into<String>, values: Series) -> Self {
        Self {
            column: column.into(),
            values,
        }
    }
}

/// What kinds of value can be told apart by their texts.
#[derive(PartialEq, Eq)]
enum Class {
    Text,
    Whole,
    Boolean,
    Date,
}

impl Class {
    fn of(dtype: &DataType) -> Option<Self> {
        Some(match dtype {
            DataType::String | DataType::Categorical(..) | DataType::Enum(..) => Self::Text,
            DataType::Boolean => Self::Boolean,
            DataType::Date => Self::Date,
            dtype if dtype.is_integer() => Self::Whole,
            _ => return None,
        })
    }
}

/// A filter whose values suit its column: each as its text, which is also what a parameter takes.
#[derive(Debug, Clone)]
pub(super) struct PreparedFilter {
    column: PlSmallStr,
    texts: PlIndexSet<PlSmallStr>,
}

impl PreparedFilter {
    /// # Errors
    /// [`Error::ColumnNotFound`], and [`Error::ColumnType`] for values of another kind.
    pub(super) fn new(filter: &Filter, schema: &Schema) -> Result<Self> {
        let name = filter.column.as_str();
        let Some(dtype) = schema.get(name) else {
            return Err(Error::ColumnNotFound(format!(
                "filters: no column '{name}' that a record has but once"
            )));
        };
        let values = filter.values.drop_nulls();
        let class = Class::of(dtype);
        if class.is_none() || !values.is_empty() && Class::of(values.dtype()) != class {
            return Err(Error::ColumnType(format!(
                "filters: '{name}' is {dtype}, its values are {}; there are filters by texts, whole \
                 numbers, booleans and dates",
                values.dtype()
            )));
        }
        let texts = values.cast(&DataType::String)?;
        Ok(Self {
            column: name.into(),
            texts: texts.str()?.iter().flatten().map(Into::into).collect(),
        })
    }

    pub(super) fn column(&self) -> &str {
        &self.column
    }

    /// Whether there is no value at all, so that no record has one.
    pub(super) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Which rows of its column have one of the values, or only the one of this number.
    pub(super) fn mask(&self, column: &Column, only: Option<usize>) -> Result<Vec<bool>> {
        let texts = column.cast(&DataType::String)?;
        let is_wanted = |text: Option<&str>| match (text, only) {
            (None, _) => false,
            (Some(text), None) => self.texts.contains(text),
            (Some(text), Some(only)) => self.texts.get_index_of(text) == Some(only),
        };
        Ok(texts.str()?.iter().map(is_wanted).collect())
    }

    /// The most bytes that a value takes.
    fn longest(&self) -> usize {
        self.texts.iter().map(|text| text.len()).max().unwrap_or(0)
    }

    /// Whether each value reaches the server as it is.
    fn can_be_sent(&self) -> bool {
        let is_plain = |text: &PlSmallStr| {
            !text.is_empty() && text.trim() == text.as_str() && !text.contains(char::is_control)
        };
        self.texts.iter().all(is_plain)
    }
}

/// What a server is asked for because of filters.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Sent {
    pub(super) params: Vec<(String, String)>,
    /// Values of one more parameter, each of which a part of the records has.
    pub(super) alternatives: Option<Alternatives>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Alternatives {
    /// The number of their filter.
    pub(super) filter: usize,
    pub(super) param: String,
    /// In the order of the filter's values.
    pub(super) values: Vec<String>,
}

impl Sent {
    /// What of these filters an ODS can be asked for: those on fields that its document lists as
    /// query parameters. Where that cannot be known, nothing.
    pub(super) async fn of(
        filters: &[PreparedFilter],
        district: &District,
        (context, requests): (&CallContext, &Permits),
        (endpoint, separator): (&str, &str),
        own: &[(String, String)],
    ) -> Self {
        let mut sent = Self::default();
        if filters.is_empty() {
            return sent;
        }
        let access: &Access = &district.access;
        let metadata = Metadata::of(context, access).limited(requests).as_hint();
        let Ok(Described::Resource(resource)) = metadata.describe(endpoint).await else {
            return sent;
        };
        let mut room = MOST_BYTES;
        for (number, filter) in filters.iter().enumerate() {
            let Some(param) = parameter(&resource, filter, separator) else {
                continue;
            };
            let mut known = own.iter().chain(&sent.params);
            if known.any(|(name, _)| name.eq_ignore_ascii_case(param)) || !filter.can_be_sent() {
                continue;
            }
            let Some(left) = room.checked_sub(filter.longest()) else {
                continue;
            };
            room = left;
            let values: Vec<String> = filter.texts.iter().map(ToString::to_string).collect();
            let fewest = sent.alternatives.as_ref();
            let fewest = fewest.map_or(usize::MAX, |known| known.values.len());
            match &values[..] {
                [value] => sent.params.push((param.to_owned(), value.clone())),
                values if values.len() >= fewest => {}
                _ => {
                    sent.alternatives = Some(Alternatives {
                        filter: number,
                        param: param.to_owned(),
                        values,
                    });
                }
            }
        }
        if let Some(Alternatives { param, .. }) = &sent.alternatives
            && sent.params.iter().any(|(name, _)| name == param)
        {
            sent.alternatives = None;
        }
        sent
    }
}

/// The query parameter that a column is.
fn parameter<'a>(
    resource: &'a Resource,
    filter: &PreparedFilter,
    separator: &str,
) -> Option<&'a str> {
    let column = filter.column();
    let (_, param) = resource
        .filters
        .iter()
        .find(|(path, _)| path.replace('.', separator) == column)?;
    (!column.ends_with(RENAMED)).then_some(param)
}
