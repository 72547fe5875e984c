//! A client: how it was configured, and what it has learnt about ODSs.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use reqwest::Url;

use super::auth::{Credentials, Token};
use super::control::Control;
use super::discovery::{self, Discovery};
use super::flight::Flight;
use super::metadata::{MetadataFolder, UsualPlaces};
use super::profile::Profile;
use super::retry::RetryPolicy;
use super::secret::Secret;
#[cfg(feature = "python")]
use super::session::{Access, Renewal, TokenSource};
use super::token_cache::TokenFolder;
use super::transport::{SendOptions, Transport};
use super::urls::{self, BaseUrl};
use crate::per_process::PerProcess;
use crate::runtime::lock;
use crate::{Error, Failure, Result};

/// The default endpoint of a client.
pub const STUDENT_ASSESSMENTS: &str = "ed-fi/studentAssessments";

/// An ODS that serves no metadata, or failed to serve it as a hint, is asked again after this time: it
/// may have been an accident.
const METADATA_MAY_COME: Duration = Duration::from_secs(60);

/// A client that lives so long may see its ODSs upgraded: it asks again.
const METADATA_MAY_CHANGE: Duration = Duration::from_secs(3600);

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
    config: ClientConfig,
    learnt: Arc<Learnt>,
}

/// What a client has learnt about ODSs, which it shares with those that are made of it.
#[derive(Default)]
struct Learnt {
    discoveries: PerProcess<Mutex<HashMap<BaseUrl, Arc<Flight<Discovery>>>>>,
    /// The ODSs that were seen to serve no metadata, and when.
    no_metadata: PerProcess<Mutex<HashMap<BaseUrl, Instant>>>,
    /// The ODSs whose metadata failed where it was but a hint, and when.
    no_hints: PerProcess<Mutex<HashMap<BaseUrl, (Failure, Instant)>>>,
    /// The metadata that was asked for, and when.
    seen: PerProcess<Mutex<HashMap<Url, Instant>>>,
    /// Where ODSs have their documents.
    places: PerProcess<Mutex<UsualPlaces>>,
    /// The paths of data, as documents say.
    data: PerProcess<Mutex<HashMap<BaseUrl, Arc<str>>>>,
}

/// What a client was configured to.
#[derive(Clone)]
pub(super) struct ClientConfig {
    pub(super) base: Option<BaseUrl>,
    pub(super) api_version: Option<String>,
    pub(super) endpoint: Option<String>,
    pub(super) auth: Auth,
    pub(super) allow_http: bool,
    pub(super) policy: RetryPolicy,
    pub(super) transport: Arc<Transport>,
    pub(super) profile: Option<Profile>,
    pub(super) tokens: Option<TokenFolder>,
    pub(super) metadata: Option<MetadataFolder>,
}

#[derive(Debug, Clone)]
pub(crate) enum Auth {
    None,
    Bearer(Secret),
    Credentials(Credentials),
}

impl Auth {
    /// What it is called where a client is shown.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Bearer(_) => "bearer token",
            Self::Credentials(_) => "client credentials",
        }
    }
}

impl fmt::Debug for EdFiClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EdFiClient")
            .field("base_url", &self.base().map(|base| base.as_url().as_str()))
            .field("api_version", &self.0.config.api_version)
            .field("endpoint", &self.0.config.endpoint)
            .field("auth", &self.auth().kind())
            .finish_non_exhaustive()
    }
}

impl EdFiClient {
    pub(super) fn new(config: ClientConfig) -> Self {
        Self(Arc::new(Inner {
            config,
            learnt: Arc::default(),
        }))
    }

    /// The same client, on the same connections and as wise, but for a part of its configuration.
    #[cfg(feature = "python")]
    fn with(&self, config: ClientConfig) -> Self {
        Self(Arc::new(Inner {
            config,
            learnt: self.0.learnt.clone(),
        }))
    }

    /// Fetches a token with this client's credentials, always by a request but where processes
    /// share tokens, and keeps it for the other calls of this process. A client with a given bearer token gives that back.
    ///
    /// # Errors
    /// [`Error::Config`] without credentials, [`Error::Auth`] where they are refused.
    pub async fn fetch_token(&self) -> Result<Token> {
        self.fetch_token_under(&Control::new()).await
    }

    pub(crate) async fn fetch_token_under(&self, control: &Control) -> Result<Token> {
        let control = &control.beginning();
        match &self.0.config.auth {
            Auth::None => Err(Error::Config("No auth configured.".into())),
            Auth::Bearer(token) => Ok(Token::given(token.clone())),
            Auth::Credentials(credentials) => credentials
                .fetch(&self.0.config.transport, self.options(control))
                .await
                .map_err(Error::Auth),
        }
    }

    /// Other credentials than this client's own, whose tokens are kept where its own are.
    pub(crate) fn credentials(&self, token_url: Url, id: String, secret: Secret) -> Credentials {
        Credentials::new(token_url, id, secret, self.0.config.tokens.clone())
    }

    /// The endpoint of calls that name none, if there is one.
    pub fn endpoint(&self) -> Option<&str> {
        self.0.config.endpoint.as_deref()
    }

    /// The same client, on the same connections, for another API version.
    #[cfg(feature = "python")]
    pub(crate) fn with_api_version(&self, version: &str) -> Result<Self> {
        let wrong = |what| Error::Config(format!("api_version: {what}"));
        urls::check_version(version).map_err(wrong)?;
        Ok(self.with(ClientConfig {
            api_version: Some(version.to_owned()),
            ..self.0.config.clone()
        }))
    }

    /// The same client, on the same connections, for an ODS and credentials of its own.
    #[cfg(feature = "python")]
    pub(crate) fn with_access(&self, access: Access) -> Self {
        let auth = match (access.renewal, access.token) {
            (Renewal::Possible(credentials), _) => Auth::Credentials(credentials),
            (_, TokenSource::Row { token, .. }) => Auth::Bearer(token),
            (_, TokenSource::Missing | TokenSource::Client) => self.auth().clone(),
        };
        let config = self.0.config.clone();
        self.with(ClientConfig {
            base: Some(access.base),
            api_version: access.api_version.or(config.api_version.clone()),
            auth,
            ..config
        })
    }

    /// Whether two handles are of one client.
    #[cfg(feature = "python")]
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Closes the connections if this is the only handle: who keeps it for later needs none.
    #[cfg(feature = "python")]
    pub(crate) fn close_if_unused(&self) {
        let transport = &self.0.config.transport;
        if Arc::strong_count(&self.0) == 1 && Arc::strong_count(transport) == 1 {
            transport.close();
        }
    }

    pub(crate) fn base(&self) -> Option<&BaseUrl> {
        self.0.config.base.as_ref()
    }

    pub(crate) fn auth(&self) -> &Auth {
        &self.0.config.auth
    }

    pub(crate) fn api_version(&self) -> Option<&str> {
        self.0.config.api_version.as_deref()
    }

    /// The profile that resources are read and written through.
    pub(crate) fn profile(&self) -> Option<&Profile> {
        self.0.config.profile.as_ref()
    }

    pub(crate) fn allow_http(&self) -> bool {
        self.0.config.allow_http
    }

    pub(crate) fn policy(&self) -> RetryPolicy {
        self.0.config.policy
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.0.config.transport
    }

    /// How the requests of a call are sent that do no harm when they are sent twice.
    pub(crate) fn options<'a>(&self, control: &'a Control) -> SendOptions<'a> {
        SendOptions::new(self.0.config.policy, control)
    }

    /// Checks that this client's own credentials may go to a URL: to the origins of its `base_url`
    /// and `token_url` only. `missing` is what a row would need instead.
    pub(crate) fn check_origin(&self, url: &Url, missing: &str) -> Result<(), Failure> {
        let token_url = match self.auth() {
            Auth::Credentials(credentials) => Some(credentials.token_url()),
            Auth::None | Auth::Bearer(_) => None,
        };
        let own = [self.base().map(BaseUrl::as_url), token_url];
        match own.iter().flatten().any(|own| own.origin() == url.origin()) {
            true => Ok(()),
            false => Err(Failure::new(format!(
                "missing '{missing}': the client's own credentials go to its own base_url only"
            ))),
        }
    }

    /// The token of this client's own credentials: the process's, as long as that lives, or a new
    /// one.
    pub(crate) async fn own_token(&self, control: &Control) -> Result<Token, Failure> {
        match &self.0.config.auth {
            Auth::None => Err(Failure::new("No auth configured.")),
            Auth::Bearer(token) => Ok(Token::given(token.clone())),
            Auth::Credentials(credentials) => {
                let (transport, options) = (self.transport(), self.options(control));
                let token = credentials.token(transport, options, |_| true).await;
                token
                    .map(|(token, _)| token)
                    .map_err(|failure| failure.on_the_way("token endpoint"))
            }
        }
    }

    /// The data URL of an ODS; what discovery finds, or a document says, is remembered.
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
        if let Some(path) = self.data_path(base) {
            return Ok(base.with_path(&path));
        }
        Ok(self.discovered(base, control).await?.data_root(base))
    }

    /// Notes what a document says of the path of the data: below the base URL, where the paths of
    /// a proxy are not the ODS's own.
    pub(super) fn told_data(&self, base: &BaseUrl, path: &Arc<str>) {
        let root = base.as_url().path().trim_end_matches('/');
        let below = path
            .strip_prefix(root)
            .and_then(|path| path.strip_prefix("/data"));
        if below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            lock(self.0.learnt.data.get()).insert(base.clone(), path.clone());
        }
    }

    /// What a document says, where nobody has asked for the discovery document, which knows best.
    fn data_path(&self, base: &BaseUrl) -> Option<Arc<str>> {
        if self.has_discovered(base) {
            return None;
        }
        lock(self.0.learnt.data.get()).get(base).cloned()
    }

    /// Whether the discovery document of an ODS is there.
    pub(super) fn has_discovered(&self, base: &BaseUrl) -> bool {
        let flights = lock(self.0.learnt.discoveries.get());
        let last = flights.get(base).and_then(|flight| flight.peek());
        last.is_some_and(|last| last.is_document())
    }

    /// The folder in which metadata is kept.
    pub(super) fn metadata_folder(&self) -> Option<&MetadataFolder> {
        self.0.config.metadata.as_ref()
    }

    /// Whether this client has asked for the metadata at a URL, and not too long ago.
    pub(super) fn knows(&self, url: &Url) -> bool {
        let seen = lock(self.0.learnt.seen.get());
        let asked = seen.get(url);
        asked.is_some_and(|asked| asked.elapsed() < METADATA_MAY_CHANGE)
    }

    pub(super) fn has_seen(&self, url: &Url) {
        lock(self.0.learnt.seen.get()).insert(url.clone(), Instant::now());
    }

    /// Where ODSs have their documents.
    pub(super) fn usual_places(&self) -> MutexGuard<'_, UsualPlaces> {
        lock(self.0.learnt.places.get())
    }

    /// What the discovery document of an ODS says. A document is fetched once; where there is
    /// none, or no answer, the next call asks again.
    pub(crate) async fn discovery(
        &self,
        base: &BaseUrl,
        options: SendOptions<'_>,
    ) -> Result<Discovery, Failure> {
        let flight = {
            let mut flights = lock(self.0.learnt.discoveries.get());
            flights.entry(base.clone()).or_default().clone()
        };
        let patience = self.transport().patience(options.policy);
        let turn = flight.turn(options.cancellation, patience).await?;
        if let Some((last, waited_for)) = turn.last()
            && (last.is_document() || waited_for)
        {
            return Ok(last.clone());
        }
        if let Some(failure) = turn.recent_failure() {
            return Err(failure);
        }
        let fetch = || Discovery::fetch(base, self.transport(), options).boxed();
        turn.fetch(fetch()).await
    }

    /// What discovery says on the way to another request.
    async fn discovered(&self, base: &BaseUrl, control: &Control) -> Result<Discovery, Failure> {
        let discovery = self.discovery(base, self.options(control)).await;
        discovery
            .and_then(|discovery| discovery.check(base).map(|()| discovery))
            .map_err(|failure| failure.on_the_way("discovery"))
    }

    pub(crate) fn lacks_metadata(&self, base: &BaseUrl) -> bool {
        let bases = lock(self.0.learnt.no_metadata.get());
        let seen = bases.get(base);
        seen.is_some_and(|seen| seen.elapsed() < METADATA_MAY_COME)
    }

    pub(crate) fn set_lacks_metadata(&self, base: &BaseUrl, lacks: bool) {
        let mut bases = lock(self.0.learnt.no_metadata.get());
        match lacks {
            true => bases.insert(base.clone(), Instant::now()),
            false => bases.remove(base),
        };
    }

    /// Why an ODS's metadata did not come when it was last asked for as a hint, not long ago.
    pub(super) fn hint_failure(&self, base: &BaseUrl) -> Option<Failure> {
        let failures = lock(self.0.learnt.no_hints.get());
        let (failure, at) = failures.get(base)?;
        (at.elapsed() < METADATA_MAY_COME).then(|| failure.clone())
    }

    pub(super) fn set_hint_failure(&self, base: &BaseUrl, failure: Option<Failure>) {
        let mut failures = lock(self.0.learnt.no_hints.get());
        match failure {
            Some(failure) => failures.insert(base.clone(), (failure, Instant::now())),
            None => failures.remove(base),
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
                .discovered(base, control)
                .await?
                .change_queries_root(base)),
        }
    }
}
