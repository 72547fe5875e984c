//! Why there is no response, or not all of it.

use std::error::Error;
use std::time::Duration;

use crate::Failure;
use crate::client::retry::{Repeats, Trouble};

/// No response, or not all of it.
#[derive(Debug)]
pub(super) struct TransportError {
    /// What happened, in words without a URL.
    pub(super) what: String,
    pub(super) trouble: Trouble,
}

impl TransportError {
    /// An error that another try would end in, too.
    pub(super) fn fatal(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            trouble: Trouble::Fatal,
        }
    }

    /// What HTTP library and system say, told in words.
    pub(super) fn new(
        error: &reqwest::Error,
        connect_timeout: Duration,
        timeout: Duration,
    ) -> Self {
        let what = if error.is_timeout() && error.is_connect() {
            format!("connect timeout after {} s", connect_timeout.as_secs_f64())
        } else if error.is_timeout() {
            format!("no byte for {} s", timeout.as_secs_f64())
        } else {
            let what = match (error.is_connect(), error.is_builder()) {
                (true, _) => "could not connect",
                (_, true) => "not a request",
                _ => "connection broken",
            };
            match root_cause(error) {
                Some(root) => format!("{what}: {root}"),
                None => what.to_owned(),
            }
        };
        let trouble = match (error.is_builder(), error.is_connect()) {
            (true, _) => Trouble::Fatal,
            (_, true) => Trouble::NotConnected,
            _ => Trouble::Broken,
        };
        Self { what, trouble }
    }

    /// What is said of it in the end; `broke` where a connection broke after the request was sent,
    /// now or before.
    pub(super) fn into_failure(self, repeats: Repeats, broke: bool) -> Failure {
        if repeats == Repeats::Idempotent || !broke {
            return Failure::new(self.what);
        }
        let sentence = "connection broken after the request was sent; it may have been applied";
        match self.what.strip_prefix("connection broken") {
            Some(_) => Failure::new(sentence),
            None => Failure::new(format!("{sentence} ({})", self.what)),
        }
    }
}

fn root_cause(error: &reqwest::Error) -> Option<String> {
    let mut cause = error.source();
    let mut root = None;
    while let Some(inner) = cause {
        root = Some(inner.to_string());
        cause = inner.source();
    }
    root
}
