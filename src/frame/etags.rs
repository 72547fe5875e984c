//! `If-Match`: the etag that each row's item must still have.

use polars::prelude::DataFrame;
use reqwest::header::HeaderValue;

use super::input::Texts;
use crate::{Failure, Result};

/// A column of etags, if a call has one.
#[derive(Debug, Default)]
pub(super) struct Etags(Option<Texts>);

impl Etags {
    pub(super) fn new(df: &DataFrame, name: Option<&str>) -> Result<Self> {
        Texts::optional(df, "etag_col", name).map(Self)
    }

    /// The header of a row; a null or blank cell sends none.
    pub(super) fn get(&self, row: usize) -> Result<Option<HeaderValue>, Failure> {
        let Some(etag) = self.0.as_ref().and_then(|etags| etags.get(row)) else {
            return Ok(None);
        };
        // Bodies have it bare, the header of an answer in quotes: servers take quotes.
        let is_whole = etag == "*" || etag.starts_with('"') || etag.starts_with("W/\"");
        let header = match is_whole {
            true => HeaderValue::from_str(etag),
            false => HeaderValue::from_str(&format!("\"{etag}\"")),
        };
        let wrong = |_| Failure::new("the etag holds characters that no header can carry");
        header.map(Some).map_err(wrong)
    }
}
