//! How a client is configured, and what is refused before anything is sent.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::auth::Credentials;
use super::edfi_client::{Auth, ClientConfig, EdFiClient, STUDENT_ASSESSMENTS};
use super::metadata::MetadataFolder;
use super::profile::Profile;
use super::retry::{Callers, Repeats, RetryPolicy};
use super::secret::Secret;
use super::token_cache::TokenFolder;
use super::transport::{Transport, TransportConfig};
use super::urls::{self, BaseUrl};
use crate::{Error, Result};

/// A longer time is as good as none: clocks end somewhere.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);
/// What requests say themselves, or the connection, or an option of its own.
const OWN_HEADERS: [&str; 22] = [
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-unmodified-since",
    "keep-alive",
    "proxy-authorization",
    "range",
    "snapshot-identifier",
    "te",
    "transfer-encoding",
    "upgrade",
    "use-snapshot",
    "user-agent",
];
/// The largest body that is read, decompressed.
const MAX_BODY: u64 = 1 << 30;

/// The configuration of an [`EdFiClient`].
#[derive(Clone)]
pub struct EdFiClientBuilder {
    pub(crate) base_url: String,
    pub(crate) api_version: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) client_id: Option<String>,
    pub(crate) client_secret: Option<Secret>,
    pub(crate) token_url: Option<String>,
    pub(crate) bearer_token: Option<Secret>,
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) max_retries: u32,
    pub(crate) max_wait: Duration,
    pub(crate) allow_http: bool,
    pub(crate) ca_certs: Option<Vec<u8>>,
    pub(crate) user_agent: Option<String>,
    pub(crate) headers: Vec<(String, Secret)>,
    pub(crate) max_body: u64,
    pub(crate) max_rate: Option<f64>,
    pub(crate) profile: Option<String>,
    pub(crate) token_cache: Option<PathBuf>,
    pub(crate) metadata_cache: Option<PathBuf>,
}

impl Default for EdFiClientBuilder {
    fn default() -> Self {
        Self {
            base_url: String::new(),
            api_version: None,
            endpoint: Some(STUDENT_ASSESSMENTS.into()),
            client_id: None,
            client_secret: None,
            token_url: None,
            bearer_token: None,
            timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(10),
            max_retries: 5,
            max_wait: Duration::from_secs(120),
            allow_http: false,
            ca_certs: None,
            user_agent: None,
            headers: Vec::new(),
            max_body: MAX_BODY,
            max_rate: None,
            profile: None,
            token_cache: None,
            metadata_cache: None,
        }
    }
}

impl fmt::Debug for EdFiClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EdFiClientBuilder").finish_non_exhaustive()
    }
}

impl EdFiClient {
    /// Starts the configuration of a client.
    pub fn builder() -> EdFiClientBuilder {
        EdFiClientBuilder::default()
    }
}

impl EdFiClientBuilder {
    /// The ODS for calls that name none; empty (the default) means that there is none.
    #[must_use]
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        self.base_url = url.into();
        self
    }

    /// `"v3"`, an ODS/API release such as `"7.1"` or `"8.0"` (which has no version in its URLs), or
    /// `""` where the base URL is the data URL. Without it, the discovery document at the base URL
    /// says.
    #[must_use]
    pub fn api_version(mut self, version: impl Into<String>) -> Self {
        self.api_version = Some(version.into());
        self
    }

    /// The resource of calls that name none; `ed-fi/studentAssessments` by default.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// No resource of its own: each call must name one.
    #[must_use]
    pub fn without_endpoint(mut self) -> Self {
        self.endpoint = None;
        self
    }

    /// Key and secret for OAuth2 client credentials.
    #[must_use]
    pub fn client_credentials(self, id: impl Into<String>, secret: impl Into<Secret>) -> Self {
        self.client_id(Some(id.into()))
            .client_secret(Some(secret.into()))
    }

    pub(crate) fn client_id(mut self, id: Option<String>) -> Self {
        self.client_id = id;
        self
    }

    pub(crate) fn client_secret(mut self, secret: Option<Secret>) -> Self {
        self.client_secret = secret;
        self
    }

    /// Where tokens come from; `{base_url}/oauth/token` by default.
    #[must_use]
    pub fn token_url(mut self, url: impl Into<String>) -> Self {
        self.token_url = Some(url.into());
        self
    }

    /// A token that was fetched before, instead of credentials.
    #[must_use]
    pub fn bearer_token(mut self, token: impl Into<Secret>) -> Self {
        self.bearer_token = Some(token.into());
        self
    }

    /// How long a server may stay silent; 60 s by default.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long a connection may take to be made; 10 s by default.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Tries after the first; 5 by default.
    #[must_use]
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.max_retries = retries;
        self
    }

    /// The longest wait between two tries, 120 s by default. A server that asks for a longer one
    /// by `Retry-After` is not waited for: that is an error.
    #[must_use]
    pub fn max_wait(mut self, wait: Duration) -> Self {
        self.max_wait = wait;
        self
    }

    /// Lets credentials and tokens go over plain http to other machines than this one.
    #[must_use]
    pub fn allow_http(mut self, allow: bool) -> Self {
        self.allow_http = allow;
        self
    }

    /// PEM certificates to trust beside those of the system.
    #[must_use]
    pub fn ca_certs(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_certs = Some(pem.into());
        self
    }

    /// The `User-Agent`; `polars-edfi/<version>` by default.
    #[must_use]
    pub fn user_agent(mut self, name: impl Into<String>) -> Self {
        self.user_agent = Some(name.into());
        self
    }

    /// A header that is sent with every request, such as a gateway's subscription key. Its value
    /// is a secret, as tokens are.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The most bytes, after decompression, that all answers being read at once may hold together;
    /// 1 GiB by default.
    #[must_use]
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.max_body = bytes;
        self
    }

    /// Requests a second to one origin, those for tokens and metadata included; unlimited by
    /// default. What a server refuses (429, or 503 with `Retry-After`) pauses its origin either way,
    /// and lessens the requests in flight to it for a while.
    #[must_use]
    pub fn max_rate(mut self, requests_per_second: f64) -> Self {
        self.max_rate = Some(requests_per_second);
        self
    }

    /// The profile through whose media types resources are read and written: what a readable one
    /// leaves out does not come, and what a writable one leaves out an ODS drops without a word.
    #[must_use]
    pub fn profile(mut self, name: impl Into<String>) -> Self {
        self.profile = Some(name.into());
        self
    }

    /// A folder in which the processes of this user share tokens: one for each token URL, client
    /// and secret, whoever asks, and one request for it, however many need it at once. It is made
    /// if it is not there. [`EdFiClient::fetch_token`] and [`EdFiClient::batch_fetch_tokens`] give
    /// the shared token while it has life left.
    ///
    /// Files are for this user alone, and hold no secret but the token. On Windows the folder has
    /// the permissions of the one that it is in: name one below the user's own.
    #[must_use]
    pub fn token_cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.token_cache = Some(folder.into());
        self
    }

    /// A folder in which the OpenAPI documents of ODSs are kept between processes, by their URL and
    /// by what the discovery document says of version, build and data models. It is made if it is
    /// not there, and its own files grow to 1 GiB at most, where the oldest go first; others in the
    /// folder are left alone.
    ///
    /// A document with an ETag is asked for again, once in a process, by a conditional request; one
    /// without is taken as it is as long as the discovery document says the same.
    #[must_use]
    pub fn metadata_cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.metadata_cache = Some(folder.into());
        self
    }

    /// Checks the configuration; nothing is sent.
    ///
    /// # Errors
    /// [`Error::Config`]: a URL that is not one, plain http to another machine without
    /// [`allow_http`](Self::allow_http), half a pair of credentials, or both kinds of them, a
    /// certificate that is none, a header that is no header or is set by each request itself, a
    /// folder of tokens that others can enter, a folder in which nothing can be written.
    pub fn build(self) -> Result<EdFiClient> {
        let base = match self.base_url.trim() {
            "" => None,
            text => Some(BaseUrl::parse(text, self.allow_http).map_err(wrong("base_url"))?),
        };
        if let Some(base) = &base
            && self.api_version.as_deref() != Some("")
        {
            base.check_root().map_err(wrong("base_url"))?;
        }
        if let Some(version) = &self.api_version {
            urls::check_version(version).map_err(wrong("api_version"))?;
        }
        let endpoint = self.endpoint.as_deref().map(urls::endpoint);
        let tokens = self.token_cache.as_deref().map(TokenFolder::open);
        let tokens = tokens.transpose().map_err(wrong("token_cache"))?;
        let metadata = self.metadata_cache.as_deref().map(MetadataFolder::open);
        let metadata = metadata.transpose().map_err(wrong("metadata_cache"))?;
        let auth = self.auth(base.as_ref(), tokens.clone())?;
        let headers = headers(&self.headers)?;
        let user_agent = self
            .user_agent
            .unwrap_or_else(|| concat!("polars-edfi/", env!("CARGO_PKG_VERSION")).into());
        HeaderValue::from_str(&user_agent)
            .map_err(|_| Error::Config("user_agent cannot stand in a header".into()))?;
        for (name, timeout) in [
            ("timeout", self.timeout),
            ("connect_timeout", self.connect_timeout),
        ] {
            if timeout.is_zero() {
                return Err(Error::Config(format!("{name} must be more than 0 seconds")));
            }
        }
        if self.max_body == 0 {
            return Err(Error::Config("max_body must be positive".into()));
        }
        if let Some(rate) = self.max_rate
            && !(rate > 0.0 && rate.is_finite())
        {
            return Err(Error::Config(format!(
                "max_rate must be a positive number of requests a second, not {rate}"
            )));
        }
        let profile = self.profile.as_deref().map(Profile::new);
        let profile = profile.transpose();
        let profile = profile.map_err(|what| Error::Config(what.to_owned()))?;
        let transport = Transport::new(TransportConfig {
            timeout: self.timeout.min(LONGEST_TIMEOUT),
            connect_timeout: self.connect_timeout.min(LONGEST_TIMEOUT),
            user_agent,
            headers,
            ca_certs: self.ca_certs,
            max_body: self.max_body,
            max_rate: self.max_rate,
        })?;
        Ok(EdFiClient::new(ClientConfig {
            base,
            api_version: self.api_version,
            endpoint: endpoint.transpose().map_err(Error::Config)?,
            auth,
            allow_http: self.allow_http,
            policy: RetryPolicy {
                max_retries: self.max_retries,
                max_wait: self.max_wait.min(LONGEST_TIMEOUT),
                repeats: Repeats::Safe,
                callers: Callers::default(),
            },
            transport: Arc::new(transport),
            profile,
            tokens,
            metadata,
        }))
    }

    fn auth(&self, base: Option<&BaseUrl>, tokens: Option<TokenFolder>) -> Result<Auth> {
        match (&self.client_id, &self.client_secret, &self.bearer_token) {
            (None, None, None) => Ok(Auth::None),
            (None, None, Some(token)) if token.bearer().is_none() || token.is_empty() => {
                Err(Error::Config("bearer_token is not a token".into()))
            }
            (None, None, Some(token)) => Ok(Auth::Bearer(token.clone())),
            (_, _, Some(_)) => Err(Error::Config(
                "give either client_id and client_secret or bearer_token, not both".into(),
            )),
            (Some(client_id), Some(secret), None) => {
                let token_url = self.own_token_url(base)?;
                let client_id = client_id.trim().to_owned();
                if client_id.is_empty() || secret.is_empty() {
                    return Err(Error::Config("client_id or client_secret is empty".into()));
                }
                let credentials = Credentials::new(token_url, client_id, secret.clone(), tokens);
                Ok(Auth::Credentials(credentials))
            }
            _ => Err(Error::Config(
                "client_id and client_secret belong together; one is missing".into(),
            )),
        }
    }

    fn own_token_url(&self, base: Option<&BaseUrl>) -> Result<Url> {
        match (&self.token_url, base) {
            (Some(text), _) => {
                let url = urls::parse_url(text).map_err(wrong("token_url"))?;
                urls::may_carry_secrets(&url, self.allow_http).map_err(wrong("token_url"))?;
                Ok(url)
            }
            (None, Some(base)) => Ok(base.join("oauth/token")),
            (None, None) => Err(Error::Config(
                "client_id and client_secret need a base_url or a token_url".into(),
            )),
        }
    }
}

/// The headers that every request bears.
fn headers(given: &[(String, Secret)]) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let wrong = |what: &str| Error::Config(format!("headers: {name:?} {what}"));
        let parsed = HeaderName::try_from(name.trim()).map_err(|_| wrong("is no header name"))?;
        if OWN_HEADERS.contains(&parsed.as_str()) {
            return Err(wrong("is set by each request itself"));
        }
        let value = value
            .header()
            .ok_or_else(|| wrong("has a value that cannot stand in a header"))?;
        if headers.insert(parsed, value).is_some() {
            return Err(wrong("is there twice"));
        }
    }
    Ok(headers)
}

/// The error of an argument that is none.
fn wrong(name: &'static str) -> impl Fn(String) -> Error {
    move |text| Error::Config(format!("{name}: {text}"))
}
