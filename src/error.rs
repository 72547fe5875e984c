//! What can go wrong: [`Error`] ends a call, [`Failure`] is the story of one failed row.

use std::fmt;
use std::sync::Arc;

use polars::prelude::{DataFrame, PolarsError};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that ends a whole call. What goes wrong with one row or one district is no `Error`:
/// it is told in that row's `status` and `message` (see [`Failure`]).
///
/// Texts, those of rows included, are the same in Rust and in Python, and name options as Python
/// writes them: `snapshot=True` is `snapshot: true` in the options of a call or a method of the
/// builder, `paging="cursor"` is [`Paging::Cursor`](crate::Paging::Cursor), `key=` is a parameter.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Wrong configuration or arguments; nothing was sent.
    Config(String),
    /// A column that was named, or that the call cannot do without, is not in the frame.
    ColumnNotFound(String),
    /// A column has a type that the call cannot use.
    ColumnType(String),
    /// Credentials were refused, or there are none.
    Auth(Failure),
    /// The server answered with an error, or not at all.
    Http(Failure),
    /// A body that is not the JSON it should be.
    Json(String),
    /// A frame could not be read to its end while others were sent: what became of the rows that
    /// were read, and why there are no more.
    Unread {
        /// A row for each that was read.
        rows: Box<DataFrame>,
        /// What went wrong.
        source: Box<Self>,
    },
    /// This library or its system could not do its part: no threads, a panic, a blocking call
    /// inside an async runtime. No other arguments would help.
    Internal(String),
    /// The work was cancelled before its end.
    Interrupted,
    /// Polars could not do its part.
    Polars(PolarsError),
    /// Arrow could not do its part.
    Arrow(arrow_schema::ArrowError),
}

impl Error {
    /// What the server said, where an answer or the want of one is the error.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Auth(failure) | Self::Http(failure) => Some(failure),
            _ => None,
        }
    }

    /// The error of a call that has one request to make, and whose request failed.
    pub(crate) fn from_failure(failure: Failure) -> Self {
        match failure.http_status {
            Some(401) => Self::Auth(failure),
            None if failure.is_refused_secret => Self::Auth(failure),
            _ => Self::Http(failure),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(text)
            | Self::ColumnNotFound(text)
            | Self::ColumnType(text)
            | Self::Internal(text)
            | Self::Json(text) => f.write_str(text),
            Self::Auth(failure) | Self::Http(failure) => f.write_str(&failure.message),
            Self::Unread { source, .. } => source.fmt(f),
            Self::Interrupted => f.write_str("interrupted"),
            Self::Polars(error) => error.fmt(f),
            Self::Arrow(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Polars(error) => Some(error),
            Self::Arrow(error) => Some(error),
            Self::Unread { source, .. } => Some(source),
            // Its words are this error's own.
            Self::Auth(failure) | Self::Http(failure) => failure.source(),
            _ => None,
        }
    }
}

impl From<PolarsError> for Error {
    fn from(error: PolarsError) -> Self {
        Self::Polars(error)
    }
}

impl From<arrow_schema::ArrowError> for Error {
    fn from(error: arrow_schema::ArrowError) -> Self {
        Self::Arrow(error)
    }
}

/// Why one request, and so one row or one district, did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Failure {
    /// One sentence for a person: what failed, in the server's own words where it gave any.
    pub message: String,
    /// The status of the answer; `None` where there was no answer.
    pub http_status: Option<u16>,
    /// What the server calls this request in its own log.
    pub correlation_id: Option<String>,
    pub(crate) cause: Cause,
    /// Whether the token endpoint refused the credentials, which a request of its own told.
    pub(crate) is_refused_secret: bool,
}

/// The error of HTTP library or system that a failure comes from, which does not make it another
/// failure. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Cause(Option<Arc<dyn std::error::Error + Send + Sync>>);

impl From<reqwest::Error> for Cause {
    fn from(error: reqwest::Error) -> Self {
        // A URL may hold a secret.
        Self(Some(Arc::new(error.without_url())))
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.as_ref().map(ToString::to_string);
        fmt::Debug::fmt(&text, f)
    }
}

impl PartialEq for Cause {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Cause {}

impl Failure {
    /// A failure without an answer from the server.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            ..Self::default()
        }
    }

    /// What is said of a read that was dropped because of a cancellation.
    pub(crate) fn interrupted() -> Self {
        Self::new("interrupted")
    }

    /// What is said of a row that was not sent because of a cancellation.
    pub(crate) fn not_sent() -> Self {
        Self::new("not sent: interrupted")
    }

    /// The failure of a request for a resource that there is not, with the one that was most likely
    /// meant.
    pub(crate) fn meaning(mut self, endpoint: &str) -> Self {
        self.message = format!("{} (did you mean {endpoint}?)", self.message);
        self
    }

    /// Whether a server does not take who asks: it may take another account.
    pub(crate) fn is_of_account(&self) -> bool {
        self.http_status == Some(401) || self.message.contains("auth refresh failed")
    }

    /// The failure of a step on the way to the request that was wanted: its status is not that
    /// request's. A refused secret stays a 401.
    pub(crate) fn on_the_way(mut self, step: &str) -> Self {
        if self.http_status != Some(401) && self != Self::not_sent() {
            self.message = format!("{step}: {}", self.message);
            self.http_status = None;
        }
        self
    }
}

impl std::error::Error for Failure {
    /// The error of the HTTP library, where there was no answer; the system's own stands at the end
    /// of its sources.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let cause = self.cause.0.as_deref()?;
        Some(cause)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
