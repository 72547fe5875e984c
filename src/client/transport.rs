//! HTTP itself: connections, time limits, redirects, retries, and how much is read.

use std::collections::HashMap;
use std::error::Error as _;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Client, Method, Request, StatusCode, Url};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_platform_verifier::Verifier;
use serde::de::IgnoredAny;

use super::control::Control;
use super::problem;
use super::retry::{self, Again, NoMoreTries, RetryPolicy};
use super::urls;
use crate::{Error, Failure, Result, runtime};

/// A read follows this many redirects at most.
const MOST_REDIRECTS: usize = 5;
/// Error bodies, tokens and discovery documents are small; more than this is not read.
const SMALL_BODY: u64 = 1 << 20;

/// How to talk HTTP, whoever with.
#[derive(Debug, Clone)]
pub(crate) struct TransportConfig {
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) user_agent: String,
    /// PEM certificates trusted beside those of the system.
    pub(crate) ca_certs: Option<Vec<u8>>,
    pub(crate) max_body: u64,
}

/// The connections of one client.
///
/// Connections do not survive a fork: they are made anew in each process.
#[derive(Debug)]
pub(crate) struct Transport {
    config: TransportConfig,
    roots: Vec<CertificateDer<'static>>,
    clients: Mutex<Clients>,
    gates: Gates,
}

/// Hosts that asked to be left alone for a while, and until when: a `Retry-After` that one request
/// is given holds for all of them.
#[derive(Debug, Default)]
struct Gates {
    any: AtomicBool,
    until: Mutex<HashMap<String, Instant>>,
}

impl Gates {
    fn close(&self, url: &Url, time: Duration) {
        let until = Instant::now() + time;
        let mut gates = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let gate = gates
            .entry(url.origin().ascii_serialization())
            .or_insert(until);
        *gate = until.max(*gate);
        self.any.store(true, Ordering::Release);
    }

    fn closed_for(&self, url: &Url) -> Option<Duration> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut gates = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        gates.retain(|_, until| *until > now);
        self.any.store(!gates.is_empty(), Ordering::Release);
        gates
            .get(&url.origin().ascii_serialization())
            .map(|until| *until - now)
    }
}

#[derive(Debug, Default)]
struct Clients {
    process: u32,
    tls: Option<ClientConfig>,
    /// By lane, after that of other runtimes: a connection lives where it was opened.
    lanes: Vec<LaneClients>,
}

#[derive(Debug, Default)]
struct LaneClients {
    plain_loopback: Option<Client>,
    tls_loopback: Option<Client>,
    remote: Option<Client>,
}

/// One request that can be sent more than once.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) body: Option<Bytes>,
    /// Whether a body with a success status is small, too.
    pub(crate) small: bool,
    /// Whether a body with a success status is a page, which is left in parts.
    pub(crate) page: bool,
    /// How often it was sent.
    pub(crate) sent: u32,
    /// Whether a connection broke after it was sent.
    pub(crate) broke: bool,
}

impl Call {
    pub(crate) fn get(url: Url) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: Vec::new(),
            authorization: None,
            body: None,
            small: false,
            page: false,
            sent: 0,
            broke: false,
        }
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

/// The bytes of an answer. Those of a page stay in the parts that they came in: to put them
/// together would copy all of them once more.
#[derive(Debug, Default)]
pub(crate) struct Body {
    parts: Vec<Bytes>,
    whole: OnceLock<Vec<u8>>,
}

impl Body {
    pub(crate) fn parts(&self) -> &[Bytes] {
        &self.parts
    }

    pub(crate) fn into_vec(self) -> Vec<u8> {
        match <[Bytes; 1]>::try_from(self.parts) {
            // Free of copies where nobody else has it.
            Ok([one]) => one.into(),
            Err(parts) => parts.concat(),
        }
    }
}

impl From<Vec<Bytes>> for Body {
    fn from(parts: Vec<Bytes>) -> Self {
        Self {
            parts,
            whole: OnceLock::new(),
        }
    }
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &*self.parts {
            [] => &[],
            [one] => one,
            parts => self.whole.get_or_init(|| parts.concat()),
        }
    }
}

impl Answer {
    pub(crate) fn failure(&self) -> Failure {
        problem::failure(self.status, &self.headers, &self.body)
    }

    pub(crate) fn unusable(&self, what: &str) -> Failure {
        problem::unusable(self.status, &self.headers, what)
    }

    /// A write has succeeded only on 200, 201 or 204 with an empty or a JSON body: a page of HTML
    /// with status 200 comes from a gateway, not from an ODS.
    pub(crate) fn is_written(&self) -> bool {
        let written = [StatusCode::OK, StatusCode::CREATED, StatusCode::NO_CONTENT];
        let is_json = |body| serde_json::from_slice::<IgnoredAny>(body).is_ok();
        written.contains(&self.status) && (self.body.trim_ascii().is_empty() || is_json(&self.body))
    }

    /// The failure of a request that was not answered as it must be.
    pub(crate) fn refusal(&self) -> Failure {
        if self.status.is_redirection() {
            return self.unusable("a redirect that leads elsewhere is not followed");
        }
        if self.status.is_success() {
            return self.unusable("this is not an answer that an ODS gives");
        }
        self.failure()
    }
}

/// No answer, or not all of it.
#[derive(Debug)]
struct Broken {
    what: String,
    kind: BrokenKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BrokenKind {
    /// There was no connection: nothing was sent.
    NotSent,
    /// It was sent; what became of it is not known.
    AfterSending,
    /// Another try would end in the same way.
    Final,
}

impl Broken {
    fn final_(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            kind: BrokenKind::Final,
        }
    }

    /// What is said of it in the end.
    fn failure(self, policy: RetryPolicy, broke: bool) -> Failure {
        if policy.again == Again::Always || !broke {
            return Failure::new(self.what);
        }
        let sentence = "connection broken after the request was sent; it may have been applied";
        match self.what.strip_prefix("connection broken") {
            Some(_) => Failure::new(sentence),
            None => Failure::new(format!("{sentence} ({})", self.what)),
        }
    }
}

impl Transport {
    pub(crate) fn new(config: TransportConfig) -> Result<Self> {
        let mut roots = Vec::new();
        if let Some(pem) = &config.ca_certs {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                roots.push(certificate.map_err(|error| {
                    Error::Config(format!("ca_certs is not a PEM bundle: {error}"))
                })?);
            }
            if roots.is_empty() {
                return Err(Error::Config("ca_certs holds no certificate".into()));
            }
        }
        Ok(Self {
            config,
            roots,
            clients: Mutex::default(),
            gates: Gates::default(),
        })
    }

    /// Sends a call, again and again as the policy allows, until it is answered with something
    /// other than a passing trouble or the tries are used up. The last answer comes back whatever
    /// its status.
    pub(crate) async fn send(
        &self,
        call: &mut Call,
        policy: RetryPolicy,
        control: &Control,
    ) -> Result<Answer, Failure> {
        let mut attempt = 0;
        let mut last: Option<Result<Answer, Broken>> = None;
        loop {
            if let Some(wait) = self.gates.closed_for(&call.url) {
                // A cancellation is noticed below.
                let _ = control.sleep(wait).await;
            }
            if control.is_cancelled() {
                let outcome =
                    last.unwrap_or_else(|| Err(Broken::final_(control.not_sent().message)));
                return outcome.map_err(|error| error.failure(policy, call.broke));
            }
            let outcome = {
                let _place = control.place().await;
                self.send_once(call).await
            };
            call.sent += u32::from(!matches!(&outcome, Err(e) if e.kind == BrokenKind::NotSent));
            call.broke |= matches!(&outcome, Err(e) if e.kind == BrokenKind::AfterSending);
            let (asked, again) = match &outcome {
                Ok(answer) => {
                    let asked = retry::retry_after(&answer.headers);
                    if let (429 | 503, Some(wait)) = (answer.status.as_u16(), asked)
                        && wait <= policy.max_wait
                    {
                        self.gates.close(&call.url, wait);
                    }
                    let passing = retry::is_passing(answer.status);
                    (asked, passing && policy.again == Again::Always)
                }
                Err(error) => match error.kind {
                    BrokenKind::NotSent => (None, true),
                    BrokenKind::AfterSending => (None, policy.again != Again::Nothing),
                    BrokenKind::Final => (None, false),
                },
            };
            if !again {
                return outcome.map_err(|error| error.failure(policy, call.broke));
            }
            match policy.pause(attempt, asked) {
                Ok(pause) => {
                    let what = match &outcome {
                        Ok(answer) => problem::status_line(answer.status),
                        Err(error) => error.what.clone(),
                    };
                    log::info!(
                        "{} {}: {what}; trying again in {:.1} s",
                        call.method,
                        urls::shown(&call.url),
                        pause.as_secs_f64()
                    );
                    // A cancellation is noticed above.
                    let _ = control.sleep(pause).await;
                    last = Some(outcome);
                    attempt += 1;
                }
                Err(NoMoreTries::Used) => {
                    return outcome.map_err(|error| error.failure(policy, call.broke));
                }
                Err(NoMoreTries::TooLong(wait)) => {
                    let answer = outcome.map_err(|error| error.failure(policy, call.broke))?;
                    let mut failure = answer.failure();
                    failure.message = format!(
                        "{} (the server asks to wait {} s, longer than max_wait)",
                        failure.message,
                        wait.as_secs()
                    );
                    return Err(failure);
                }
            }
        }
    }

    /// Sends a call once; a read follows redirects within its origin.
    async fn send_once(&self, call: &Call) -> Result<Answer, Broken> {
        let mut url = call.url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let answer = self.send_to(call, url.clone()).await?;
            let Some(next) = redirect(call, &url, &answer) else {
                return Ok(answer);
            };
            url = next;
        }
        Err(Broken::final_(format!(
            "more than {MOST_REDIRECTS} redirects"
        )))
    }

    async fn send_to(&self, call: &Call, url: Url) -> Result<Answer, Broken> {
        let client = self.client(&url).map_err(Broken::final_)?;
        let mut request = Request::new(call.method.clone(), url);
        for (name, value) in &call.headers {
            request.headers_mut().insert(name, value.clone());
        }
        if let Some(value) = &call.authorization {
            request.headers_mut().insert(AUTHORIZATION, value.clone());
        }
        if let Some(body) = &call.body {
            *request.body_mut() = Some(body.clone().into());
        }
        let mut response = client.execute(request).await.map_err(|e| self.broken(&e))?;
        let status = response.status();
        let headers = std::mem::take(response.headers_mut());
        let most = match status.is_success() && !call.small {
            true => self.config.max_body,
            false => SMALL_BODY,
        };
        let in_parts = status.is_success() && call.page;
        let mut parts = Vec::new();
        let mut body = Vec::new();
        if !in_parts {
            body.reserve(response.content_length().unwrap_or(0).min(most) as usize);
        }
        let mut length = 0;
        while let Some(chunk) = response.chunk().await.map_err(|e| self.broken(&e))? {
            length += chunk.len();
            if length as u64 > most {
                if !status.is_success() {
                    break;
                }
                return Err(Broken {
                    what: format!("the answer is larger than {} MiB", most >> 20),
                    kind: match call.method {
                        Method::GET => BrokenKind::Final,
                        _ => BrokenKind::AfterSending,
                    },
                });
            }
            match in_parts {
                true => parts.push(chunk),
                false => body.extend_from_slice(&chunk),
            }
        }
        if !in_parts {
            parts.push(body.into());
        }
        Ok(Answer {
            status,
            headers,
            body: parts.into(),
        })
    }

    /// What broke, in words without a URL.
    fn broken(&self, error: &reqwest::Error) -> Broken {
        let seconds = |limit: Duration| limit.as_secs_f64();
        let what = if error.is_timeout() && error.is_connect() {
            format!(
                "connect timeout after {} s",
                seconds(self.config.connect_timeout)
            )
        } else if error.is_timeout() {
            format!("no byte for {} s", seconds(self.config.timeout))
        } else {
            let mut cause = error.source();
            let mut root = None;
            while let Some(inner) = cause {
                root = Some(inner.to_string());
                cause = inner.source();
            }
            let what = match (error.is_connect(), error.is_builder()) {
                (true, _) => "could not connect",
                (_, true) => "not a request",
                _ => "connection broken",
            };
            match root {
                Some(root) => format!("{what}: {root}"),
                None => what.to_owned(),
            }
        };
        let kind = match (error.is_builder(), error.is_connect()) {
            (true, _) => BrokenKind::Final,
            (_, true) => BrokenKind::NotSent,
            _ => BrokenKind::AfterSending,
        };
        Broken { what, kind }
    }

    /// The connections that serve a URL: loopback never goes through a proxy.
    fn client(&self, url: &Url) -> Result<Client, String> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, process) = match runtime::lane() {
            Some(lane) => (lane.number + 1, lane.process),
            None => (0, std::process::id()),
        };
        if clients.process != process {
            *clients = Clients {
                process,
                ..Clients::default()
            };
        }
        let loopback = urls::is_loopback(url);
        let tls = url.scheme() == "https";
        let Clients {
            lanes, tls: known, ..
        } = &mut *clients;
        if lanes.len() <= number {
            lanes.resize_with(number + 1, LaneClients::default);
        }
        let lane = &mut lanes[number];
        let slot = match (loopback, tls) {
            (true, false) => &mut lane.plain_loopback,
            (true, true) => &mut lane.tls_loopback,
            (false, _) => &mut lane.remote,
        };
        if let Some(client) = slot {
            return Ok(client.clone());
        }
        let config = match (tls || !loopback, &known) {
            (false, _) => self.tls_config(false)?,
            (true, Some(config)) => config.clone(),
            (true, None) => known.insert(self.tls_config(true)?).clone(),
        };
        let client = self.build(loopback, config)?;
        *slot = Some(client.clone());
        Ok(client)
    }

    /// What TLS trusts; nobody where there is to be none.
    fn tls_config(&self, tls: bool) -> Result<ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        if tls {
            let verifier = Verifier::new_with_extra_roots(self.roots.iter().cloned(), provider)
                .map_err(|error| format!("no trusted certificates: {error}"))?;
            Ok(versions
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
                .with_no_client_auth())
        } else {
            Ok(versions
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth())
        }
    }

    fn build(&self, loopback: bool, tls: ClientConfig) -> Result<Client, String> {
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            // What is sent again is decided here; and each request would be copied for it.
            .retry(reqwest::retry::never().max_retries_per_request(0))
            .referer(false)
            .connect_timeout(self.config.connect_timeout)
            .read_timeout(self.config.timeout)
            .tcp_nodelay(true)
            .user_agent(&self.config.user_agent);
        if loopback {
            builder = builder.no_proxy();
        }
        builder
            .build()
            .map_err(|error| format!("no HTTP client: {error}"))
    }
}

/// Where a read goes on: the same origin only, so that no token leaves it.
fn redirect(call: &Call, from: &Url, answer: &Answer) -> Option<Url> {
    if call.method != Method::GET || !answer.status.is_redirection() {
        return None;
    }
    let location = answer.headers.get(LOCATION)?.to_str().ok()?;
    let next = from.join(location).ok()?;
    (next.origin() == from.origin()).then_some(next)
}
