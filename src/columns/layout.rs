//! What all pages have together, or what was declared: the columns that follow from it.

use polars::prelude::Schema;

use super::declared::DeclaredSchema;
use super::page::Page;
use super::plan::Plan;
use super::statistics::Statistics;
use crate::openapi::Record;
use crate::{Error, Result};

/// The union of what pages have: paths, kinds of value, order of first appearance.
///
/// Add the pages in the order of their records: then columns and types depend on the records
/// alone, not on where a page ends or which came first over the network.
#[derive(Debug, Default)]
pub struct Layout {
    records: Statistics,
    declared: Option<DeclaredSchema>,
    pages: u64,
}

impl Layout {
    /// A layout of nothing: a plan of it has no columns.
    pub fn new() -> Self {
        Self::default()
    }

    /// A layout of declared columns, which no page changes.
    ///
    /// A field is found in a record by the path that its name is, split at `separator`; the
    /// fields of a `Struct` become columns of their own, of which the name is the path. Its plan
    /// has one more column at the end, `_unknown`, see [`Layout::plan`].
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) names a column whose dtype no JSON value has
    /// (Binary, Duration, Array, Object, 128-bit integers, 16-bit floats).
    pub fn from_schema(schema: &Schema, separator: &str) -> Result<Self> {
        Ok(Self::of_declared(DeclaredSchema::new(schema, separator)?))
    }

    fn of_declared(declared: DeclaredSchema) -> Self {
        Self {
            declared: Some(declared),
            ..Self::default()
        }
    }

    /// A layout of the columns of a record, which no page changes; `_unknown` stands at the end as
    /// in [`Layout::from_schema`].
    pub(crate) fn from_record(record: &Record, separator: &str) -> Self {
        Self::of_declared(DeclaredSchema::of_record(record, separator))
    }

    /// What another process needs to have the same columns; `None` of those that somebody declared,
    /// whose schema says it all.
    #[cfg(feature = "python")]
    pub(crate) fn found(&self) -> Option<String> {
        serde_json::to_string(&self.declared.as_ref()?.found()?).ok()
    }

    /// The layout that was told by [`Layout::found`].
    pub(crate) fn from_found(found: &str, separator: &str) -> Result<Self> {
        let found = serde_json::from_str(found)
            .map_err(|error| Error::Config(format!("columns that were found: {error}")))?;
        Ok(Self::of_declared(DeclaredSchema::of_found(
            found, separator,
        )))
    }

    /// Adds what a page has, the page that follows all those added before.
    pub fn add(&mut self, page: &Page) {
        if self.declared.is_some() {
            return;
        }
        self.records.add_page(page, self.pages);
        self.pages += 1;
    }

    /// The columns of these pages.
    ///
    /// Objects outside of lists become a column for each of their leaves, named by the path joined
    /// with `separator`, in the order in which the leaves were first seen. A name that is
    /// `reserved`, or taken by an earlier leaf, gets `_record` appended.
    ///
    /// A layout of a declared schema has its columns in its order, and `_unknown` after them: null,
    /// or one JSON object of what the schema has no place for. These are the properties that it
    /// does not know, and the values that do not fit and so are null in their column, nested as
    /// they are in the record; a list of which some elements are left over has null for the others.
    ///
    /// What fits: null everywhere; `true` and `false` a Boolean; a number without fraction and
    /// exponent, within range, an integer; any number a Float, except integers beyond 2^53 (2^24) and
    /// numbers beyond its range; a number, or a string of one, a Decimal that holds it exactly; a
    /// string a String, a Categorical that has room for it, and an Enum that has it; `YYYY-MM-DD` a
    /// Date; an ISO 8601 date-time, or date, a Datetime (without offset it is UTC; decimals beyond
    /// its unit are cut off); `HH:MM:SS` with decimals a Time; lists and objects a List and a
    /// Struct, and a String as their JSON text.
    pub fn plan(&self, separator: &str, reserved: &[&str]) -> Plan {
        match &self.declared {
            Some(declared) => Plan::declared(declared, reserved),
            None => Plan::inferred(self.records.leaves(), separator, reserved),
        }
    }

    /// The layout of the columns seen so far, which no later page changes.
    ///
    /// Its plan has `_unknown` after these columns, as that of a declared schema, for properties
    /// that come up later. Strings stand for anything, as they do in inferred columns, and so does
    /// what was always null; a value that does not fit another type is an error of the plan.
    #[must_use]
    pub fn freeze(&self, separator: &str) -> Self {
        Self::of_declared(match &self.declared {
            Some(declared) => declared.clone(),
            None => DeclaredSchema::of_leaves(self.records.leaves(), separator),
        })
    }
}
