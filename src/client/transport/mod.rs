//! HTTP itself: a request sent until it is answered, redirects, and how much is read.

mod budget;
mod encoding;
mod error;
mod host;
mod message;
mod pool;
mod reading;
mod tls;
mod watch;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Method, Url};

use self::budget::Budget;
use self::encoding::{Decoder, GZIP};
use self::error::TransportError;
pub(crate) use self::message::{Body, Request, Response};
use self::pool::Pool;
use self::watch::{Silent, Watch};
use super::control::{Cancellation, Control, RequestLimit, Stats};
use super::flight::Patience;
use super::origins::Origins;
use super::pace::{Departure, Paces};
use super::permits::{self, Rank};
use super::problem;
use super::retry::{self, NoMoreTries, RetryPolicy, Trouble};
use super::secret::Redaction;
use super::urls;
use crate::per_process::PerProcess;
use crate::{Failure, Result};

/// Each pause after a refusal that names no time is so many times as long as the one before: limits
/// are counted in windows of seconds.
const REFUSED_FACTOR: u32 = 3;
/// A read follows this many redirects at most.
const MOST_REDIRECTS: usize = 5;

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
    /// Requests a second to one origin.
    pub(crate) max_rate: Option<f64>,
}

impl TransportConfig {
    /// By which way a server is asked, beside how long it is waited for.
    fn way(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let mut headers: Vec<_> = self.headers.iter().collect();
        headers.sort_unstable_by_key(|(name, _)| name.as_str());
        headers.hash(&mut hasher);
        let rest = (&self.connect_timeout, &self.user_agent, &self.ca_certs);
        rest.hash(&mut hasher);
        hasher.finish()
    }
}

/// What sends the requests of one client.
#[derive(Debug)]
pub(crate) struct Transport {
    pool: Pool,
    paces: Paces,
    origins: PerProcess<Origins>,
    timeout: Duration,
    connect_timeout: Duration,
    headers: HeaderMap,
    budget: Budget,
    /// What tells clients apart of which one may be refused and the other not.
    way: u64,
}

/// How a request is sent: how often it is tried, what stops it, and what limits it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SendOptions<'a> {
    pub(crate) policy: RetryPolicy,
    pub(super) cancellation: &'a Cancellation,
    limit: &'a RequestLimit,
    stats: &'a Stats,
    began: Instant,
}

impl<'a> SendOptions<'a> {
    pub(crate) fn new(policy: RetryPolicy, control: &'a Control) -> Self {
        Self {
            policy,
            cancellation: &control.cancellation,
            limit: &control.limit,
            stats: &control.stats,
            began: control.began,
        }
    }
}

impl Transport {
    /// How long it waits for answers.
    pub(super) fn patience(&self, policy: RetryPolicy) -> Patience {
        Patience::new(self.timeout, policy, self.way)
    }

    pub(crate) fn new(config: TransportConfig) -> Result<Self> {
        Ok(Self {
            way: config.way(),
            pool: Pool::new(
                config.connect_timeout,
                config.user_agent,
                config.headers.clone(),
                config.ca_certs.as_deref(),
            )?,
            paces: Paces::new(config.max_rate),
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
            // A cancellation is noticed below.
            let departure = match passage.enter(options.began, options.cancellation).await {
                Ok(()) => {
                    self.paces
                        .depart(&url, options.began, options.cancellation)
                        .await
                }
                Err(why) => Err(why),
            };
            let departure = match departure {
                Ok(departure) => departure,
                Err(why) => {
                    return match last {
                        Some(Err(error)) if request.sent > 0 => {
                            Err(error.into_failure(repeats, request.in_doubt))
                        }
                        Some(Ok(response)) => Ok(response),
                        Some(Err(_)) | None => Err(Failure::new(format!("not sent: {why}"))),
                    };
                }
            };
            let permit = options.limit.permit(passage.is_in_doubt());
            let permit = options.cancellation.unless_cancelled(permit).await;
            if options.cancellation.is_cancelled() {
                passage.hand_on();
                let Some(outcome) = last else {
                    return Err(Failure::not_sent());
                };
                return outcome.map_err(|error| error.into_failure(repeats, request.in_doubt));
            }
            let is_retry = attempt > 0 || request.sent > 0;
            let body = request.body.as_ref().map_or(0, Bytes::len);
            options.stats.request(is_retry, request.token, body);
            let sent = Instant::now();
            let outcome = self.try_once(request, options).await;
            drop(permit);
            log_request(request, &outcome, sent.elapsed());
            let trouble = trouble(request, &outcome);
            match &outcome {
                Ok(_) => passage.answered(),
                Err(error) if error.trouble.is_unanswered() && repeats.counts_silence() => {
                    passage.unanswered(&error.what);
                }
                Err(_) => {}
            }
            request.sent += u32::from(!trouble.is_some_and(Trouble::is_unsent));
            request.in_doubt |= is_in_doubt(&outcome);
            let asked = outcome
                .as_ref()
                .ok()
                .and_then(|response| retry::retry_after(&response.headers));
            let refusal = self.heed(&departure, trouble, asked, options);
            let status = outcome.as_ref().ok().map(|response| response.status);
            if !trouble.is_some_and(|trouble| options.policy.repeats_after(trouble, status)) {
                return outcome.map_err(|error| error.into_failure(repeats, request.in_doubt));
            }
            let is_over = refusal.is_some_and(|(refusals, _)| {
                let status = status.map(problem::status_line).unwrap_or_default();
                departure.gives_up(refusals, options.policy.max_retries, &status)
            });
            let end = match options.policy.pause(attempt, asked) {
                Ok(_) if is_over => NoMoreTries::Used,
                Ok(pause) => {
                    log_repetition(request, &outcome, refusal.map_or(pause, |(_, pause)| pause));
                    // A cancellation is noticed above; a refusal pauses the whole origin.
                    let pause = options.cancellation.sleep(pause);
                    let _ = match (refusal, &outcome) {
                        (Some(_), _) => Ok(()),
                        // A server that is busy has less to do while its requests pause.
                        (None, Ok(_)) => pause.await,
                        (None, Err(_)) => permits::lend(Rank::Again, pause).await,
                    };
                    last = Some(outcome);
                    attempt += 1;
                    continue;
                }
                Err(end) => end,
            };
            let response =
                outcome.map_err(|error| error.into_failure(repeats, request.in_doubt))?;
            return match end {
                NoMoreTries::Used => Ok(response),
                NoMoreTries::TooLong(wait) => {
                    let mut failure = response.failure();
                    let wait = match wait {
                        Duration::MAX => "beyond all numbers".to_owned(),
                        wait => format!("{} s", wait.as_secs()),
                    };
                    failure.message = format!(
                        "{} (the server asks to wait {wait}, longer than max_wait)",
                        failure.message,
                    );
                    Err(failure)
                }
            };
        }
    }

    /// Lets the answer to a try tell how fast its origin is asked from now on; the number of its
    /// refusals in a row and the pause that it leads to, where it is one.
    fn heed(
        &self,
        departure: &Departure<'_>,
        trouble: Option<Trouble>,
        asked: Option<Duration>,
        options: SendOptions<'_>,
    ) -> Option<(u32, Duration)> {
        match trouble {
            Some(Trouble::Refused) => {
                let refusals = departure.refused();
                let back_off = options
                    .policy
                    .back_off(refusals.saturating_sub(1), REFUSED_FACTOR);
                let pause = asked.unwrap_or_default().max(back_off);
                if pause <= options.policy.max_wait && departure.pause(back_off, asked) {
                    options.stats.pause();
                }
                Some((refusals, pause))
            }
            Some(Trouble::Passing) | None => {
                departure.taken();
                None
            }
            Some(_) => None,
        }
    }

    /// Sends a request once, unless the call is stopped meanwhile.
    async fn try_once(
        &self,
        request: &Request,
        options: SendOptions<'_>,
    ) -> Result<Response, TransportError> {
        let (cancellation, repeats) = (options.cancellation, options.policy.repeats);
        if repeats.is_read() {
            return tokio::select! {
                outcome = self.send_once(request, options) => outcome,
                () = cancellation.cancelled() => Err(TransportError::interrupted(true)),
            };
        }
        let _writing = cancellation.writing();
        tokio::select! {
            outcome = self.send_once(request, options) => outcome,
            () = cancellation.aborted() => Err(TransportError::interrupted(false)),
        }
    }

    /// Sends a request once; a read follows redirects within its origin.
    async fn send_once(
        &self,
        request: &Request,
        options: SendOptions<'_>,
    ) -> Result<Response, TransportError> {
        let mut url = request.url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let response = self.send_to(request, url.clone(), options).await?;
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
        options: SendOptions<'_>,
    ) -> Result<Response, TransportError> {
        let mut lease = self.pool.lease(&url).map_err(TransportError::fatal)?;
        let watch = Watch::new();
        let mut wire = reqwest::Request::new(request.method.clone(), url);
        wire.headers_mut().insert(ACCEPT_ENCODING, GZIP);
        for (name, value) in &request.headers {
            wire.headers_mut().insert(name, value.clone());
        }
        if let Some(value) = &request.authorization {
            wire.headers_mut().insert(AUTHORIZATION, value.clone());
        }
        if let Some(body) = &request.body {
            *wire.body_mut() = Some(watch.upload(body.clone()));
        }
        let exchange = lease
            .client(options.policy.repeats.is_read())
            .await
            .execute(wire);
        let mut response = match watch.run(self.timeout, exchange).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                lease.broke(&watch);
                return Err(TransportError::new(
                    error,
                    self.connect_timeout,
                    &request.url,
                ));
            }
            Err(Silent) => return Err(TransportError::silent(self.timeout, Trouble::Broken)),
        };
        let headers = std::mem::take(response.headers_mut());
        let status = response.status();
        let decoder = Decoder::of(&headers);
        let body = self.read(request, response, decoder, options.stats).await?;
        lease.answered(&watch);
        let shown = request.authorization.iter().chain(self.headers.values());
        Ok(Response {
            status,
            headers,
            body: body.into(),
            redaction: Redaction::new(shown),
            meant: None,
            profile: None,
        })
    }
}

/// What is the matter with a try, where something is.
fn trouble(request: &Request, outcome: &Result<Response, TransportError>) -> Option<Trouble> {
    match outcome {
        Ok(response) if retry::is_refusal(response.status, &response.headers) => {
            // A client that holds as many tokens as it may is no trouble of its host's.
            match request.token && !response.headers.contains_key(RETRY_AFTER) {
                true => Some(Trouble::Passing),
                false => Some(Trouble::Refused),
            }
        }
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

/// One line a request: no body, no key, nothing that names a person.
fn log_request(request: &Request, outcome: &Result<Response, TransportError>, took: Duration) {
    if !log::log_enabled!(log::Level::Debug) {
        return;
    }
    let (what, bytes) = match outcome {
        Ok(response) => {
            let parts = response.body.parts().iter();
            let bytes: usize = parts.map(Bytes::len).sum();
            (response.status.as_u16().to_string(), bytes)
        }
        Err(error) => (format!("({})", error.what), 0),
    };
    log::debug!(
        "{} {} {what}, {} ms, {bytes} bytes",
        request.method,
        request.shown(),
        took.as_millis()
    );
}

fn log_repetition(request: &Request, outcome: &Result<Response, TransportError>, pause: Duration) {
    let what = match outcome {
        Ok(response) => problem::status_line(response.status),
        Err(error) => error.what.clone(),
    };
    log::info!(
        "{} {}: {what}; trying again in {:.1} s",
        request.method,
        urls::origin(&request.url),
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
    let is_plain = next.username().is_empty() && next.password().is_none();
    (is_plain && next.origin() == from.origin()).then_some(next)
}
