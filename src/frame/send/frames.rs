//! The frames of a call, each the rows of one resource: whole, or in batches.

use std::fmt;

use polars::prelude::*;

use crate::client::urls;
use crate::{Error, Result};

/// The rows of one resource.
///
/// ```
/// use polars::prelude::*;
/// use polars_edfi::ResourceFrame;
///
/// let payload = Column::new("payload".into(), [r#"{"studentUniqueId": "604822"}"#]);
/// let students = DataFrame::new(1, vec![payload])?;
/// let frame = ResourceFrame::new("ed-fi/students", students);
/// assert_eq!(frame.endpoint(), "ed-fi/students");
/// # Ok::<(), PolarsError>(())
/// ```
pub struct ResourceFrame {
    endpoint: String,
    content: Content,
}

/// What is read when its level comes.
type Batches = Box<dyn Iterator<Item = Result<DataFrame>> + Send>;

enum Content {
    Whole(DataFrame),
    Batches { schema: DataFrame, batches: Batches },
}

impl ResourceFrame {
    /// All rows at once.
    pub fn new(endpoint: impl Into<String>, df: DataFrame) -> Self {
        Self {
            endpoint: endpoint.into(),
            content: Content::Whole(df),
        }
    }

    /// Rows that are made when they are sent, so that no more than a few batches are in memory.
    pub fn batches(
        endpoint: impl Into<String>,
        schema: &Schema,
        batches: impl IntoIterator<Item = Result<DataFrame>, IntoIter: Send + 'static>,
    ) -> Self {
        Self {
            endpoint: endpoint.into(),
            content: Content::Batches {
                schema: DataFrame::empty_with_schema(schema),
                batches: Box::new(batches.into_iter()),
            },
        }
    }

    /// The resource.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// All rows that are known, or none, but with all columns.
    pub(super) fn known(&self) -> &DataFrame {
        match &self.content {
            Content::Whole(df) => df,
            Content::Batches { schema, .. } => schema,
        }
    }

    /// The endpoint, and all rows.
    pub(super) fn read(self) -> Result<(String, DataFrame)> {
        let df = match self.content {
            Content::Whole(df) => df,
            Content::Batches { schema, batches } => {
                let mut whole = schema;
                for batch in batches {
                    whole.vstack_mut(&batch?)?;
                }
                whole
            }
        };
        Ok((self.endpoint, df))
    }

    /// The frame, or the batches of which nothing was read.
    pub(super) fn into_parts(self) -> (Option<DataFrame>, Batches) {
        match self.content {
            Content::Whole(df) => (Some(df), Box::new(std::iter::empty())),
            Content::Batches { batches, .. } => (None, batches),
        }
    }
}

impl fmt::Debug for ResourceFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourceFrame")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// The endpoints of all frames, each as it is written in a URL.
pub(super) fn endpoints(frames: &[ResourceFrame]) -> Result<Vec<String>> {
    let names = frames.iter().map(|frame| frame.endpoint.as_str());
    distinct(names, "frames")
}

/// Endpoints that must not stand twice in an argument.
pub(super) fn distinct<'a>(
    names: impl Iterator<Item = &'a str>,
    argument: &str,
) -> Result<Vec<String>> {
    let mut endpoints: Vec<String> = Vec::new();
    for name in names {
        let endpoint = urls::endpoint(name).map_err(Error::Config)?;
        let is_same = |other: &String| other.eq_ignore_ascii_case(&endpoint);
        if endpoints.iter().any(is_same) {
            let text = format!("{argument}: {endpoint:?} stands there twice");
            return Err(Error::Config(text));
        }
        endpoints.push(endpoint);
    }
    Ok(endpoints)
}

/// The error of a frame, which says whose it is.
pub(super) fn of_frame(endpoint: &str, error: Error) -> Error {
    let place = |text: String| format!("frames[{endpoint:?}]: {text}");
    match error {
        Error::ColumnNotFound(text) => Error::ColumnNotFound(place(text)),
        Error::ColumnType(text) => Error::ColumnType(place(text)),
        Error::Config(text) => Error::Config(place(text)),
        other => other,
    }
}
