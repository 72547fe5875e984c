//! What became of one row, and the frame of all of them.

use polars::prelude::*;

use super::input::Keys;
use crate::client::transport::Response;
use crate::{Error, Failure, Result};

/// The status of a row that was not sent because nothing was to be written.
pub(crate) const DRY_RUN: &str = "dry_run";
/// The status of a row whose item is gone.
pub(crate) const DELETED: &str = "deleted";

/// What became of one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// `None` for success, `"error"`, `"dry_run"`, `"deleted"`, or what a call maps a status to.
    pub status: Option<String>,
    /// Why it did not succeed.
    pub message: Option<String>,
    /// The answer's status, where there was one.
    pub http_status: Option<u16>,
    /// What the server calls a request that it refused.
    pub correlation_id: Option<String>,
    /// The id of the item that was written.
    pub resource_id: Option<String>,
    /// How many requests were sent.
    pub attempts: u32,
}

impl Outcome {
    pub(crate) fn dry_run() -> Self {
        Self {
            status: Some(DRY_RUN.into()),
            ..Self::default()
        }
    }

    pub(crate) fn success(response: &Response) -> Self {
        Self {
            http_status: Some(response.status.as_u16()),
            ..Self::default()
        }
    }

    /// The columns `status`, `message`, `http_status`, `correlation_id` of many.
    pub(crate) fn answers(outcomes: &[Self]) -> [Column; 4] {
        let http_status: Int32Chunked = outcomes
            .iter()
            .map(|outcome| outcome.http_status.map(i32::from))
            .collect();
        [
            text(outcomes, "status", |outcome| outcome.status.as_deref()),
            text(outcomes, "message", |outcome| outcome.message.as_deref()),
            http_status.with_name("http_status".into()).into_column(),
            text(outcomes, "correlation_id", |outcome| {
                outcome.correlation_id.as_deref()
            }),
        ]
    }

    pub(crate) fn after(mut self, sent: u32) -> Self {
        self.attempts = sent;
        self
    }
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        Self {
            status: Some("error".into()),
            message: Some(failure.message),
            http_status: failure.http_status,
            correlation_id: failure.correlation_id,
            ..Self::default()
        }
    }
}

fn text(outcomes: &[Outcome], name: &str, get: impl Fn(&Outcome) -> Option<&str>) -> Column {
    let values = outcomes.iter().map(get);
    StringChunked::from_iter_options(name.into(), values).into_column()
}

/// The columns of a result frame, for the rows that took part.
pub(crate) struct Report<'a> {
    pub(crate) df: &'a DataFrame,
    pub(crate) rows: &'a [usize],
    pub(crate) outcomes: &'a [Outcome],
}

impl Report<'_> {
    fn index(&self) -> Vec<IdxSize> {
        self.rows.iter().map(|row| *row as IdxSize).collect()
    }

    /// A key or id column of the frame, under its name in the result.
    pub(crate) fn keys(&self, keys: &Keys, name: &str) -> Result<Column> {
        Ok(keys.take(&self.index())?.with_name(name.into()))
    }

    /// `status`, `message`, `http_status`, `correlation_id`.
    pub(crate) fn answers(&self) -> [Column; 4] {
        Outcome::answers(self.outcomes)
    }

    /// `resource_id`, `attempts`.
    pub(crate) fn writes(&self) -> [Column; 2] {
        let attempts: Vec<u32> = self
            .outcomes
            .iter()
            .map(|outcome| outcome.attempts)
            .collect();
        [
            text(self.outcomes, "resource_id", |outcome| {
                outcome.resource_id.as_deref()
            }),
            Column::new("attempts".into(), attempts),
        ]
    }

    /// `row_index`, `row_id`.
    pub(crate) fn places(&self, row_id_col: Option<&str>) -> Result<[Column; 2]> {
        let index = self.index();
        let row_id = match row_id_col {
            Some(name) => {
                let positions = IdxCa::from_vec(PlSmallStr::EMPTY, index.clone());
                let column = self.df.column(name)?.take(&positions)?;
                column.with_name("row_id".into())
            }
            None => Column::full_null("row_id".into(), index.len(), &DataType::String),
        };
        Ok([Column::new("row_index".into(), index), row_id])
    }

    pub(crate) fn frame(&self, columns: Vec<Column>) -> Result<DataFrame> {
        DataFrame::new(self.rows.len(), columns).map_err(Error::from)
    }
}
