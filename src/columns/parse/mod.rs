//! The text of one body -> [`Page`]: every value goes to the node of its path.

mod exact;
mod fast;

use super::builder::NodeBuilder;
use super::capacity::CapacityHints;
use super::decimal;
use super::number::{self, Number};
use super::page::Page;
use super::projection::Projection;
use super::room;
use crate::Result;

/// Objects and arrays nested deeper than this are refused, as most JSON parsers do.
pub(super) const DEPTH: usize = 128;

/// What a body is expected to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// An array of objects, each a record.
    Array,
    /// One object, the only record.
    Object,
}

impl Body {
    /// The words for it in errors.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Array => "a JSON array",
            Self::Object => "a JSON object",
        }
    }
}

/// What of a body is stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Selection<'a> {
    /// Whether members named `link` are, whose value is an object.
    pub(super) links: bool,
    /// The properties that are; `None` is all.
    pub(super) projection: Option<&'a Projection>,
    /// Whether the page is told where its records stand in the text, where that is known in passing.
    pub(super) places: bool,
    /// Whether it was a server that decided how much room the page takes.
    pub(super) bounded: bool,
}

/// Takes the records of a body apart. The page is expected to be as large as `hints`.
///
/// # Errors
/// [`Error::Json`](crate::Error::Json) if the text is not JSON of the right kind.
pub(super) fn parse(
    text: &str,
    body: Body,
    selection: Selection<'_>,
    hints: &CapacityHints,
) -> Result<Page> {
    match fast::parse(text, body, selection, hints) {
        Some(page) => Ok(page),
        None => exact::parse(text, body, selection, hints),
    }
}

/// Has room for the page of a text.
fn make_room(text: &str, selection: Selection<'_>) {
    room::begin(selection.bounded.then_some(text.len()));
}

/// Stores a number; `None` if it is none.
fn push_number(node: &mut NodeBuilder<'_>, row: usize, text: &str) -> Option<()> {
    match number::parse(text)? {
        Number::Integer(value) => node.push_integer(row, value),
        Number::Float(value) => {
            node.push_float(row, value);
            // Fewer characters than this are always read back.
            if text.len() > 16 && !decimal::equal(text, &value.to_string()) {
                node.push_exact(row, text);
            }
        }
        Number::Text => node.push_number(row, text),
    }
    Some(())
}

/// Whether a JSON value is a number, by its text.
fn is_number(text: &str) -> bool {
    text.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}
