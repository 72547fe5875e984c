//! What became of one row.

use crate::Failure;
use crate::client::transport::{Request, Response};
use crate::client::{Details, ProblemError};

/// The status of a row that failed.
pub(crate) const ERROR: &str = "error";
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
    /// What the server calls the kind of problem: the `type` of its error body. Only where a call
    /// asks for details.
    pub problem: Option<String>,
    /// The single errors that its error body lists. Only where a call asks for details.
    pub errors: Vec<ProblemError>,
    /// Whether one of these requests may have been applied although no answer tells it.
    pub(crate) in_doubt: bool,
}

impl Outcome {
    pub(crate) fn dry_run() -> Self {
        Self {
            status: Some(DRY_RUN.into()),
            ..Self::default()
        }
    }

    /// The outcome of records that were read.
    pub(crate) fn read() -> Self {
        Self {
            http_status: Some(200),
            ..Self::default()
        }
    }

    pub(crate) fn success(response: &Response) -> Self {
        Self {
            http_status: Some(response.status.as_u16()),
            ..Self::default()
        }
    }

    /// The same with what an error body tells, where details are asked for.
    pub(crate) fn with_details(mut self, wanted: bool, response: &Response) -> Self {
        if wanted {
            let Details { problem, errors } = response.details();
            (self.problem, self.errors) = (problem, errors);
        }
        self
    }

    /// The same, at the end of a request.
    pub(crate) fn after(mut self, request: &Request) -> Self {
        (self.attempts, self.in_doubt) = (request.sent, request.in_doubt);
        self
    }
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        Self {
            status: Some(ERROR.into()),
            message: Some(failure.message),
            http_status: failure.http_status,
            correlation_id: failure.correlation_id,
            ..Self::default()
        }
    }
}
