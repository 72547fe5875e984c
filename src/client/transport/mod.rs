//! HTTP itself: a request sent until it is answered, redirects, and how much is read.

mod budget;
mod error;
mod host;
mod message;
mod pool;
mod throttle;
mod tls;
mod watch;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, LOCATION};
use reqwest::{Method, Url};

use self::budget::Budget;
use self::error::TransportError;
pub(crate) use self::message::{Body, Request, Response};
use self::pool::Pool;
use self::throttle::Throttle;
use self::watch::{Silent, Watch};
use super::control::{Cancellation, Control, RequestLimit};
use super::origins::Origins;
use super::permits::{self, Rank};
use super::problem;
use super::retry::{self, NoMoreTries, Repeats, RetryPolicy, Trouble};
use super::secret::Redaction;
use crate::per_process::PerProcess;
use crate::{Failure, Result};

/// A read follows this many redirects at most.
const MOST_REDIRECTS: usize = 5;
/// Error bodies, tokens and discovery documents are small; more than this is not read.
const SMALL_BODY: u64 = 1 << 20;
/// What a server says about the length of a body is believed so far; the rest as it comes.
const FIRST_RESERVE: u64 = 1 << 16;

/// How often this process has sent anything but reads.
static WRITES: AtomicU64 = AtomicU64::new(0);

/// Tells whether this process has written since the same number was given.
pub(crate) fn writes() -> u64 {
    WRITES.load(Ordering::Relaxed)
}

/// How to talk HTTP, whoever with.
#[derive(Debug, Clone)]
pub(crate) struct TransportConfig {
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) user_agent: String,
    /// Sent with every request; their values are secrets.
    pub(crate) headers: HeaderMap,
    /// PEM certificates trusted beside those of the system.
    pub(crate) ca_certs: Option<Vec<u8>>,
    pub(crate) max_body: u64,
}

/// What sends the requests of one client.
#[derive(Debug)]
pub(crate) struct Transport {
    pool: Pool,
    throttle: Throttle,
    origins: PerProcess<Origins>,
    timeout: Duration,
    connect_timeout: Duration,
    headers: HeaderMap,
    budget: Budget,
}

/// How a request is sent: how often it is tried, what stops it, and what limits it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SendOptions<'a> {
    pub(crate) policy: RetryPolicy,
    pub(super) cancellation: &'a Cancellation,
    limit: &'a RequestLimit,
    began: Instant,
}

impl<'a> SendOptions<'a> {
    pub(crate) fn new(policy: RetryPolicy, control: &'a Control) -> Self {
        Self {
            policy,
            cancellation: &control.cancellation,
            limit: &control.limit,
            began: control.began,
        }
    }
}

impl Transport {
    pub(crate) fn new(config: TransportConfig) -> Result<Self> {
        Ok(Self {
            pool: Pool::new(
                config.connect_timeout,
                config.user_agent,
                config.headers.clone(),
                config.ca_certs.as_deref(),
            )?,
            throttle: Throttle::default(),
            origins: PerProcess::new(),
            timeout: config.timeout,
            connect_timeout: config.connect_timeout,
            headers: config.headers,
            budget: Budget::new(config.max_body),
        })
    }

    /// Closes the connections; new requests open new ones.
    #[cfg(feature = "python")]
    pub(crate) fn close(&self) {
        self.pool.close();
    }

    /// Sends a request, again and again as the policy allows, until it is answered with something
    /// other than a passing trouble or the tries are used up. The last response comes back
    /// whatever its status.
    pub(crate) async fn send(
        &self,
        request: &mut Request,
        options: SendOptions<'_>,
    ) -> Result<Response, Failure> {
        if request.method != Method::GET {
            WRITES.fetch_add(1, Ordering::Relaxed);
        }
        let repeats = options.policy.repeats;
        let mut attempt = 0;
        let mut last: Option<Result<Response, TransportError>> = None;
        let url = request.url.clone();
        let mut passage = self.origins.get().passage(&url);
        loop {
            if let Some(wait) = self.throttle.remaining(&request.url) {
                // A cancellation is noticed below.
                let _ = permits::lend(Rank::First, options.cancellation.sleep(wait)).await;
            }
            if let Err(why) = passage.enter(options.began, options.cancellation).await {
                return match last {
                    Some(Err(error)) if request.sent > 0 => {
                        Err(error.into_failure(repeats, request.in_doubt))
                    }
                    Some(Ok(response)) => Ok(response),
                    Some(Err(_)) | None => Err(Failure::new(format!("not sent: {why}"))),
                };
            }
            let permit = options.limit.permit();
            let permit = options.cancellation.unless_cancelled(permit).await;
            if options.cancellation.is_cancelled() {
                passage.hand_on();
                let Some(outcome) = last else {
                    return Err(Failure::not_sent());
                };
                return outcome.map_err(|error| error.into_failure(repeats, request.in_doubt));
            }
            let outcome = self.try_once(request, options).await;
            drop(permit);
            let trouble = trouble(&outcome);
            match &outcome {
                Ok(_) => passage.answered(),
                Err(error) if error.trouble.is_unanswered() => passage.unanswered(&error.what),
                Err(_) => {}
            }
            request.sent += u32::from(!trouble.is_some_and(Trouble::is_unsent));
            request.in_doubt |= is_in_doubt(&outcome);
            let asked = outcome
                .as_ref()
                .ok()
                .and_then(|response| retry::retry_after(&response.headers));
            if let (Ok(response), Some(wait)) = (&outcome, asked)
                && matches!(response.status.as_u16(), 429 | 503)
                && wait <= options.policy.max_wait
            {
                self.throttle.pause(&request.url, wait);
            }
            if !trouble.is_some_and(|trouble| repeats.after(trouble)) {
                return outcome.map_err(|error| error.into_failure(repeats, request.in_doubt));
            }
            match options.policy.pause(attempt, asked) {
                Ok(pause) => {
                    log_repetition(request, &outcome, pause);
                    // A cancellation is noticed above.
                    let pause = options.cancellation.sleep(pause);
                    let _ = match outcome.is_ok() {
                        // A server that is busy has less to do while its requests pause.
                        true => pause.await,
                        false => permits::lend(Rank::Again, pause).await,
                    };
                    last = Some(outcome);
                    attempt += 1;
                }
                Err(NoMoreTries::Used) => {
                    return outcome.map_err(|error| error.into_failure(repeats, request.in_doubt));
                }
                Err(NoMoreTries::TooLong(wait)) => {
                    let response =
                        outcome.map_err(|error| error.into_failure(repeats, request.in_doubt))?;
                    let mut failure = response.failure();
                    let wait = match wait {
                        Duration::MAX => "beyond all numbers".to_owned(),
                        wait => format!("{} s", wait.as_secs()),
                    };
                    failure.message = format!(
                        "{} (the server asks to wait {wait}, longer than max_wait)",
                        failure.message,
                    );
                    return Err(failure);
                }
            }
        }
    }

    /// Sends a request once, unless the call is stopped meanwhile.
    async fn try_once(
        &self,
        request: &Request,
        options: SendOptions<'_>,
    ) -> Result<Response, TransportError> {
        let (cancellation, repeats) = (options.cancellation, options.policy.repeats);
        if repeats == Repeats::Safe {
            return tokio::select! {
                outcome = self.send_once(request, repeats) => outcome,
                () = cancellation.cancelled() => Err(TransportError::interrupted(true)),
            };
        }
        let _writing = cancellation.writing();
        tokio::select! {
            outcome = self.send_once(request, repeats) => outcome,
            () = cancellation.aborted() => Err(TransportError::interrupted(false)),
        }
    }

    /// Sends a request once; a read follows redirects within its origin.
    async fn send_once(
        &self,
        request: &Request,
        repeats: Repeats,
    ) -> Result<Response, TransportError> {
        let mut url = request.url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let response = self.send_to(request, url.clone(), repeats).await?;
            let Some(next) = redirect(request, &url, &response) else {
                return Ok(response);
            };
            url = next;
        }
        Err(TransportError::fatal(format!(
            "more than {MOST_REDIRECTS} redirects"
        )))
    }

    async fn send_to(
        &self,
        request: &Request,
        url: Url,
        repeats: Repeats,
    ) -> Result<Response, TransportError> {
        let mut lease = self.pool.lease(&url).map_err(TransportError::fatal)?;
        let watch = Watch::new();
        let mut wire = reqwest::Request::new(request.method.clone(), url);
        for (name, value) in &request.headers {
            wire.headers_mut().insert(name, value.clone());
        }
        if let Some(value) = &request.authorization {
            wire.headers_mut().insert(AUTHORIZATION, value.clone());
        }
        if let Some(body) = &request.body {
            *wire.body_mut() = Some(watch.upload(body.clone()));
        }
        let exchange = lease.client(repeats == Repeats::Safe).await.execute(wire);
        let mut response = match watch.run(self.timeout, exchange).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                lease.broke(&watch);
                return Err(TransportError::new(
                    &error,
                    self.connect_timeout,
                    &request.url,
                ));
            }
            Err(Silent) => return Err(TransportError::silent(self.timeout, Trouble::Broken)),
        };
        let headers = std::mem::take(response.headers_mut());
        let status = response.status();
        let body = self.read(request, response).await?;
        lease.answered(&watch);
        let shown = request.authorization.iter().chain(self.headers.values());
        Ok(Response {
            status,
            headers,
            body: body.into(),
            redaction: Redaction::new(shown),
            meant: None,
        })
    }

    /// Reads a body, as much of it as may be read; one part but for pages.
    async fn read(
        &self,
        request: &Request,
        mut response: reqwest::Response,
    ) -> Result<Vec<Bytes>, TransportError> {
        let is_success = response.status().is_success();
        let most = match is_success && !request.small {
            true => u64::MAX,
            false => SMALL_BODY,
        };
        let in_parts = is_success && request.page;
        let mut parts = Vec::new();
        let mut body = Vec::new();
        if !in_parts {
            let length = response.content_length().unwrap_or(0);
            body.reserve(length.min(FIRST_RESERVE) as usize);
        }
        let too_large = |most: u64, whose: &str| TransportError {
            what: format!("{whose} larger than {} MiB", most >> 20),
            trouble: match request.method {
                Method::GET => Trouble::Fatal,
                _ => Trouble::Broken,
            },
        };
        let mut held = self.budget.hold();
        let mut length = 0;
        while let Some(chunk) = self.chunk(request, &mut response).await? {
            length += chunk.len() as u64;
            if length > most {
                if !is_success {
                    break;
                }
                return Err(too_large(most, "the answer is"));
            }
            if !held.add(chunk.len() as u64) {
                let whose = "what is read at once, in all answers together, is";
                return Err(too_large(self.budget.most, whose));
            }
            match in_parts {
                true => parts.push(chunk),
                false => body.extend_from_slice(&chunk),
            }
        }
        if !in_parts {
            parts.push(body.into());
        }
        Ok(parts)
    }

    async fn chunk(
        &self,
        request: &Request,
        response: &mut reqwest::Response,
    ) -> Result<Option<Bytes>, TransportError> {
        match tokio::time::timeout(self.timeout, response.chunk()).await {
            Ok(chunk) => chunk
                .map_err(|error| TransportError::new(&error, self.connect_timeout, &request.url)),
            Err(_) => Err(TransportError::silent(self.timeout, Trouble::Broken)),
        }
    }
}

/// What is the matter with a try, where something is.
fn trouble(outcome: &Result<Response, TransportError>) -> Option<Trouble> {
    match outcome {
        Ok(response) => retry::is_passing(response.status).then_some(Trouble::Passing),
        Err(error) => Some(error.trouble),
    }
}

/// Whether a try may have been applied although no answer tells it: a gateway that gave up, or a
/// server that failed on the way.
fn is_in_doubt(outcome: &Result<Response, TransportError>) -> bool {
    match outcome {
        Ok(response) => matches!(response.status.as_u16(), 500 | 502 | 504),
        Err(error) => error.trouble == Trouble::Broken,
    }
}

fn log_repetition(request: &Request, outcome: &Result<Response, TransportError>, pause: Duration) {
    let what = match outcome {
        Ok(response) => problem::status_line(response.status),
        Err(error) => error.what.clone(),
    };
    log::info!(
        "{} {}: {what}; trying again in {:.1} s",
        request.method,
        request.url.origin().ascii_serialization(),
        pause.as_secs_f64()
    );
}

/// Where a read goes on: the same origin only, so that no token leaves it.
fn redirect(request: &Request, from: &Url, response: &Response) -> Option<Url> {
    if request.method != Method::GET || !response.status.is_redirection() {
        return None;
    }
    let location = response.headers.get(LOCATION)?.to_str().ok()?;
    let next = from.join(location).ok()?;
    (next.origin() == from.origin()).then_some(next)
}
