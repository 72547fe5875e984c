//! JSON <-> columns: decode recorded pages into frames, without HTTP.
//!
//! A page is the body of a list request: a JSON array of records. [`decode_pages`] does all at
//! once. Its parts, for pages that arrive over time: a [`PageDecoder`] takes each body apart into
//! a [`Page`], a [`Layout`] collects what all pages have together, and a [`Plan`] turns each page
//! into a frame (or an Arrow record batch) of the same columns. [`flatten()`] and [`unflatten`] do
//! the same to frames that are nested, and undo it; an [`Encoder`] writes a nested column as JSON.
//!
//! The rules:
//!
//! - A nested object becomes one column per leaf, named by its path. An array stays a list.
//! - A missing key is null. Columns stand in the order in which the records first show them.
//! - Integers with floats become `Float64`; if one of the integers is beyond 2^53, `String`.
//!   Values that do not agree become `String`: strings as they are, other values as JSON.
//! - Of a key that stands in an object twice, the last value counts.
//! - Half of a surrogate pair, as an escape, is U+FFFD; a NUL in a key is U+2400.
//! - Only nulls become `Null`, only empty arrays `List(Null)`, only empty objects `Null`.
//!
//! ```
//! use polars_edfi::columns::{ColumnOptions, decode_pages};
//!
//! let pages = [
//!     r#"[{"id": "a", "schoolReference": {"schoolId": 255901001}}]"#,
//!     r#"[{"id": "b", "schoolReference": {"schoolId": 255901044}, "score": 1.5}]"#,
//! ];
//! let df = decode_pages(pages.map(str::as_bytes), &ColumnOptions::default())?;
//! assert_eq!(df.get_column_names(), ["id", "schoolReference.schoolId", "score"]);
//! assert_eq!(df.column("score")?.null_count(), 1);
//! # Ok::<(), polars_edfi::Error>(())
//! ```

mod arrays;
mod builder;
mod capacity;
mod cast;
mod decimal;
mod declared;
mod decode;
mod encode;
mod flatten;
mod found;
mod infer;
mod interop;
mod json;
mod layout;
mod lists;
mod names;
mod number;
mod overflow;
mod page;
mod parse;
mod paths;
mod plan;
mod projection;
mod room;
mod shape;
mod stack;
mod statistics;
mod tables;
mod temporal;
mod text;
mod types;
mod unflatten;

pub use decode::PageDecoder;
pub use encode::Encoder;
pub(crate) use flatten::explode_lists;
pub use flatten::flatten;
pub(crate) use interop::lists;
pub use layout::Layout;
pub use lists::{Lists, lists_as_json};
pub use page::Page;
pub(crate) use paths::check_part;
pub use plan::Plan;
#[cfg(feature = "python")]
pub(crate) use stack::stack_frames;
pub(crate) use stack::stack_parallel;
pub use tables::tables;
pub(crate) use temporal::{date, in_utc};
pub use unflatten::unflatten;
pub(crate) use unflatten::{nest, nest_inferred};

use polars::prelude::{DataFrame, Schema};

use self::stack::stack;
use crate::Result;

/// How records become columns.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnOptions {
    /// What joins the names of a path (default `"."`).
    pub separator: String,
    /// Whether to keep the `link` objects, at any depth (default true).
    pub links: bool,
    /// The columns to make, and `_unknown` for what they have no place for
    /// (see [`Layout::from_schema`]); `None` (the default) infers them.
    pub schema: Option<Schema>,
}

impl Default for ColumnOptions {
    fn default() -> Self {
        Self {
            separator: ".".to_owned(),
            links: true,
            schema: None,
        }
    }
}

/// Turns the bodies of pages, in the order of their records, into one frame.
///
/// # Errors
/// [`Error::Json`](crate::Error::Json) if a body is not a JSON array of objects.
pub fn decode_pages<'a>(
    pages: impl IntoIterator<Item = &'a [u8]>,
    options: &ColumnOptions,
) -> Result<DataFrame> {
    let mut decoder = PageDecoder::new(options.links);
    let mut layout = match &options.schema {
        Some(schema) => Layout::from_schema(schema, &options.separator)?,
        None => Layout::new(),
    };
    let mut decoded = Vec::new();
    for body in pages {
        let page = decoder.decode(body)?;
        layout.add(&page);
        decoded.push(page);
    }
    let plan = layout.plan(&options.separator, &[]);
    stack(decoded.into_iter().map(|page| plan.frame(page)), &plan)
}
