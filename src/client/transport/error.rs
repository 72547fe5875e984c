//! Why there is no response, or not all of it.

use std::error::Error;
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;

use crate::Failure;
use crate::client::retry::{Repeats, Trouble};
use crate::client::urls;
use crate::error::Cause;

/// No response, or not all of it.
#[derive(Debug)]
pub(super) struct TransportError {
    /// What happened, in words without a URL.
    pub(super) what: String,
    pub(super) trouble: Trouble,
    /// What the HTTP library said.
    pub(super) cause: Cause,
}

impl TransportError {
    /// An error that another try would end in, too.
    pub(super) fn fatal(what: impl Into<String>) -> Self {
        Self::of(what, Trouble::Fatal)
    }

    pub(super) fn of(what: impl Into<String>, trouble: Trouble) -> Self {
        Self {
            what: what.into(),
            trouble,
            cause: Cause::default(),
        }
    }

    /// A server that stayed silent.
    pub(super) fn silent(limit: Duration, trouble: Trouble) -> Self {
        Self::of(format!("no byte for {} s", limit.as_secs_f64()), trouble)
    }

    /// The call was stopped while it waited for an answer.
    pub(super) fn interrupted(only_reads: bool) -> Self {
        Self::fatal(match only_reads {
            true => Failure::interrupted().message,
            false => "interrupted; it may have been applied".to_owned(),
        })
    }

    /// What HTTP library and system say, told in words.
    pub(super) fn new(error: reqwest::Error, connect_timeout: Duration, url: &Url) -> Self {
        let what = if error.is_timeout() && error.is_connect() {
            format!("connect timeout after {} s", connect_timeout.as_secs_f64())
        } else {
            let what = match (error.is_connect(), error.is_builder()) {
                (true, _) => match proxy(url) {
                    Some(proxy) => format!("could not connect through the proxy {proxy}"),
                    None => "could not connect".to_owned(),
                },
                (_, true) => "not a request".to_owned(),
                _ => "connection broken".to_owned(),
            };
            match root_cause(&error) {
                Some(root) => format!("{what}: {root}"),
                None => what,
            }
        };
        let trouble = match (error.is_builder(), error.is_connect()) {
            (true, _) => Trouble::Fatal,
            (_, true) if is_of_trust(&error) => Trouble::NotTrusted,
            (_, true) => Trouble::NotConnected,
            _ => Trouble::Broken,
        };
        Self {
            what,
            trouble,
            cause: error.into(),
        }
    }

    /// What is said of it in the end; `in_doubt` where this try, or one before, may have been
    /// applied.
    pub(super) fn into_failure(self, repeats: Repeats, in_doubt: bool) -> Failure {
        let sentence = "connection broken after the request was sent; it may have been applied";
        let message = match self.what.strip_prefix("connection broken") {
            _ if repeats.is_read() || !in_doubt => self.what,
            Some(_) => sentence.to_owned(),
            None => format!("{sentence} ({})", self.what),
        };
        Failure {
            cause: self.cause,
            ..Failure::new(message)
        }
    }
}

/// The proxy on the way to a URL: its host and port.
fn proxy(url: &Url) -> Option<String> {
    if urls::is_loopback(url) {
        return None;
    }
    let proxy = Matcher::from_system().intercept(&url.as_str().parse().ok()?)?;
    let authority = proxy.uri().authority()?.as_str();
    // Whoever may use it stays unnamed.
    authority.rsplit('@').next().map(str::to_owned)
}

fn root_cause(error: &reqwest::Error) -> Option<String> {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.last().map(ToString::to_string)
}

/// Whether it is the server's certificate that is wrong.
fn is_of_trust(error: &(dyn Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return matches!(error, rustls::Error::InvalidCertificate(_));
    }
    // The source of an error of the system is not the error that it wraps, but that one's source.
    let wrapped = error
        .downcast_ref::<std::io::Error>()
        .and_then(|io| io.get_ref());
    match (wrapped, error.source()) {
        (Some(wrapped), _) => is_of_trust(wrapped),
        (None, Some(cause)) => is_of_trust(cause),
        (None, None) => false,
    }
}
