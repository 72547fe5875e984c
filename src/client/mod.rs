//! HTTP with one or many ODSs. Knows requests, not frames.

mod auth;
pub(crate) mod changes;
mod control;
mod discovery;
pub(crate) mod metadata;
pub(crate) mod paging;
pub(crate) mod params;
pub(crate) mod problem;
mod renewal;
pub(crate) mod retry;
mod secret;
pub(crate) mod session;
pub(crate) mod transport;
pub(crate) mod urls;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;

pub use self::auth::Token;
pub(crate) use self::auth::{Credentials, epoch};
pub use self::changes::ChangeVersions;
pub use self::control::Control;
#[cfg(feature = "python")]
pub(crate) use self::control::Limiter;
use self::discovery::Discovery;
pub use self::paging::Paging;
pub(crate) use self::renewal::Renewals;
use self::retry::{Again, RetryPolicy};
pub use self::secret::Secret;
use self::transport::{Transport, TransportConfig};
use self::urls::BaseUrl;
use crate::{Error, Failure, Result};

/// The default endpoint of a client.
pub const STUDENT_ASSESSMENTS: &str = "ed-fi/studentAssessments";

/// The largest body that is read, decompressed.
const MAX_BODY: u64 = 1 << 30;

/// A client for one or many Ed-Fi ODSs. Cheap to clone: clones share connections.
///
/// ```
/// use polars_edfi::EdFiClient;
///
/// let client = EdFiClient::builder()
///     .base_url("https://ods.example.org/api")
///     .api_version("v3")
///     .client_credentials("key", "secret")
///     .build()?;
/// assert!(!format!("{client:?}").contains("secret\""));
/// # Ok::<(), polars_edfi::Error>(())
/// ```
#[derive(Clone)]
pub struct EdFiClient(Arc<Inner>);

struct Inner {
    base: Option<BaseUrl>,
    api_version: Option<String>,
    endpoint: String,
    auth: Auth,
    allow_http: bool,
    policy: RetryPolicy,
    transport: Arc<Transport>,
    discoveries: Mutex<HashMap<BaseUrl, Arc<OnceCell<Discovery>>>>,
    /// The ODSs that were seen to serve no metadata.
    no_metadata: Mutex<HashSet<BaseUrl>>,
}

#[derive(Debug, Clone)]
pub(crate) enum Auth {
    None,
    Bearer(Secret),
    Credentials(Credentials),
}

impl fmt::Debug for EdFiClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let auth = match &self.0.auth {
            Auth::None => "none",
            Auth::Bearer(_) => "bearer token",
            Auth::Credentials(_) => "client credentials",
        };
        f.debug_struct("EdFiClient")
            .field(
                "base_url",
                &self.0.base.as_ref().map(|base| base.as_url().as_str()),
            )
            .field("api_version", &self.0.api_version)
            .field("endpoint", &self.0.endpoint)
            .field("auth", &auth)
            .finish_non_exhaustive()
    }
}

impl EdFiClient {
    /// Starts the configuration of a client.
    pub fn builder() -> EdFiClientBuilder {
        EdFiClientBuilder::default()
    }

    /// Fetches a token with this client's credentials, always by a request, and keeps it for the
    /// other calls of this process. A client with a given bearer token gives that back.
    ///
    /// # Errors
    /// [`Error::Config`] without credentials, [`Error::Auth`] where they are refused.
    pub async fn fetch_token(&self) -> Result<Token> {
        match &self.0.auth {
            Auth::None => Err(Error::Config("No auth configured.".into())),
            Auth::Bearer(token) => Ok(Token::given(token.clone())),
            Auth::Credentials(credentials) => credentials
                .fetch(&self.0.transport, self.0.policy, &Control::new())
                .await
                .map_err(Error::Auth),
        }
    }

    /// The endpoint of calls that name none.
    pub fn endpoint(&self) -> &str {
        &self.0.endpoint
    }

    /// The same client, on the same connections, for another API version.
    #[cfg(feature = "python")]
    pub(crate) fn with_api_version(&self, version: &str) -> Self {
        let inner = &self.0;
        Self(Arc::new(Inner {
            base: inner.base.clone(),
            api_version: Some(version.to_owned()),
            endpoint: inner.endpoint.clone(),
            auth: inner.auth.clone(),
            allow_http: inner.allow_http,
            policy: inner.policy,
            transport: inner.transport.clone(),
            discoveries: Mutex::default(),
            no_metadata: Mutex::default(),
        }))
    }

    /// Whether two handles are of one client.
    #[cfg(feature = "python")]
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn base(&self) -> Option<&BaseUrl> {
        self.0.base.as_ref()
    }

    pub(crate) fn auth(&self) -> &Auth {
        &self.0.auth
    }

    pub(crate) fn api_version(&self) -> Option<&str> {
        self.0.api_version.as_deref()
    }

    pub(crate) fn allow_http(&self) -> bool {
        self.0.allow_http
    }

    pub(crate) fn policy(&self) -> RetryPolicy {
        self.0.policy
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.0.transport
    }

    /// The token of this client's own credentials: the process's, or a new one.
    pub(crate) async fn own_token(&self, control: &Control) -> Result<Token, Failure> {
        match &self.0.auth {
            Auth::None => Err(Failure::new("No auth configured.")),
            Auth::Bearer(token) => Ok(Token::given(token.clone())),
            Auth::Credentials(credentials) => {
                let (transport, policy) = (&self.0.transport, self.0.policy);
                let (token, _) = credentials
                    .token(transport, policy, control, |_| true)
                    .await?;
                Ok(token)
            }
        }
    }

    /// The data URL of an ODS; what discovery finds is remembered.
    pub(crate) async fn data_root(
        &self,
        base: &BaseUrl,
        api_version: Option<&str>,
        control: &Control,
    ) -> Result<BaseUrl, Failure> {
        if let Some(version) = api_version.or(self.api_version()) {
            return Ok(discovery::with_version(
                base,
                &urls::version_segment(version),
            ));
        }
        Ok(self.discovery(base, control).await?.data_root(base))
    }

    /// What the discovery document of an ODS says; it is fetched once.
    pub(crate) async fn discovery(
        &self,
        base: &BaseUrl,
        control: &Control,
    ) -> Result<Discovery, Failure> {
        let cell = {
            let discoveries = &self.0.discoveries;
            let mut cells = discoveries.lock().unwrap_or_else(PoisonError::into_inner);
            cells.entry(base.clone()).or_default().clone()
        };
        let fetch = || Discovery::fetch(base, self.transport(), self.policy(), control);
        cell.get_or_try_init(fetch).await.cloned()
    }

    pub(crate) fn lacks_metadata(&self, base: &BaseUrl) -> bool {
        let bases = &self.0.no_metadata;
        let bases = bases.lock().unwrap_or_else(PoisonError::into_inner);
        bases.contains(base)
    }

    pub(crate) fn set_lacks_metadata(&self, base: &BaseUrl, lacks: bool) {
        let bases = &self.0.no_metadata;
        let mut bases = bases.lock().unwrap_or_else(PoisonError::into_inner);
        match lacks {
            true => bases.insert(base.clone()),
            false => bases.remove(base),
        };
    }

    /// Where an ODS tells about its changes.
    pub(crate) async fn change_queries_root(
        &self,
        base: &BaseUrl,
        api_version: Option<&str>,
        control: &Control,
    ) -> Result<BaseUrl, Failure> {
        match api_version.or(self.api_version()) {
            Some(version) => Ok(discovery::change_queries(
                base,
                &urls::version_segment(version),
            )),
            None => Ok(self
                .discovery(base, control)
                .await?
                .change_queries_root(base)),
        }
    }
}

/// The configuration of an [`EdFiClient`].
#[derive(Clone)]
pub struct EdFiClientBuilder {
    pub(crate) base_url: String,
    pub(crate) api_version: Option<String>,
    pub(crate) endpoint: String,
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
    pub(crate) max_body: u64,
}

impl Default for EdFiClientBuilder {
    fn default() -> Self {
        Self {
            base_url: String::new(),
            api_version: None,
            endpoint: STUDENT_ASSESSMENTS.into(),
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
            max_body: MAX_BODY,
        }
    }
}

impl fmt::Debug for EdFiClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EdFiClientBuilder").finish_non_exhaustive()
    }
}

impl EdFiClientBuilder {
    /// The ODS that calls go to which name none; empty (the default) for none.
    #[must_use]
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        self.base_url = url.into();
        self
    }

    /// `"v3"`, an ODS/API release such as `"7.1"`, or `""` where the base URL is the data URL.
    /// Without it, the discovery document at the base URL says.
    #[must_use]
    pub fn api_version(mut self, version: impl Into<String>) -> Self {
        self.api_version = Some(version.into());
        self
    }

    /// The resource of calls that name none; `ed-fi/studentAssessments` by default.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = endpoint.into();
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

    /// The largest body that is read, in bytes after decompression; 1 GiB by default.
    #[must_use]
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.max_body = bytes;
        self
    }

    /// Checks the configuration; nothing is sent.
    ///
    /// # Errors
    /// [`Error::Config`]: a URL that is not one, plain http to another machine without
    /// [`allow_http`](Self::allow_http), half a pair of credentials, or both kinds of them.
    pub fn build(self) -> Result<EdFiClient> {
        let config = |name: &str| {
            let name = name.to_owned();
            move |text: String| Error::Config(format!("{name}: {text}"))
        };
        let base = match self.base_url.trim() {
            "" => None,
            text => Some(BaseUrl::parse(text, self.allow_http).map_err(config("base_url"))?),
        };
        let auth = match (self.client_id, self.client_secret, self.bearer_token) {
            (None, None, None) => Auth::None,
            (None, None, Some(token)) => {
                if token.bearer().is_none() || token.is_empty() {
                    return Err(Error::Config("bearer_token is not a token".into()));
                }
                Auth::Bearer(token)
            }
            (Some(client_id), Some(secret), None) => {
                let token_url = match (&self.token_url, &base) {
                    (Some(text), _) => {
                        let url = urls::parse_url(text).map_err(config("token_url"))?;
                        urls::may_carry_secrets(&url, self.allow_http)
                            .map_err(config("token_url"))?;
                        url
                    }
                    (None, Some(base)) => base.join("oauth/token"),
                    (None, None) => {
                        return Err(Error::Config(
                            "client_id and client_secret need a base_url or a token_url".into(),
                        ));
                    }
                };
                let client_id = client_id.trim().to_owned();
                if client_id.is_empty() || secret.is_empty() {
                    return Err(Error::Config("client_id or client_secret is empty".into()));
                }
                Auth::Credentials(Credentials::new(token_url, client_id, secret))
            }
            (None | Some(_), None | Some(_), Some(_)) => {
                return Err(Error::Config(
                    "give either client_id and client_secret or bearer_token, not both".into(),
                ));
            }
            _ => {
                return Err(Error::Config(
                    "client_id and client_secret belong together; one is missing".into(),
                ));
            }
        };
        if self.timeout.is_zero() || self.connect_timeout.is_zero() {
            return Err(Error::Config(
                "timeout and connect_timeout must be positive".into(),
            ));
        }
        let transport = Transport::new(TransportConfig {
            timeout: self.timeout,
            connect_timeout: self.connect_timeout,
            user_agent: self
                .user_agent
                .unwrap_or_else(|| concat!("polars-edfi/", env!("CARGO_PKG_VERSION")).into()),
            ca_certs: self.ca_certs,
            max_body: self.max_body,
        })?;
        Ok(EdFiClient(Arc::new(Inner {
            base,
            api_version: self.api_version,
            endpoint: urls::endpoint(&self.endpoint).map_err(Error::Config)?,
            auth,
            allow_http: self.allow_http,
            policy: RetryPolicy {
                max_retries: self.max_retries,
                max_wait: self.max_wait,
                again: Again::Always,
            },
            transport: Arc::new(transport),
            discoveries: Mutex::default(),
            no_metadata: Mutex::default(),
        })))
    }
}
