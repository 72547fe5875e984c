//! One call's right to ask one ODS: which token a request carries, and what a 401 leads to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use reqwest::{Method, StatusCode, Url};

use super::auth::{Credentials, Owner, Token};
use super::control::Control;
use super::edfi_client::EdFiClient;
use super::metadata;
use super::renewal::{Renewals, Renewed};
use super::retry::RetryPolicy;
use super::secret::Secret;
use super::transport::{Request, Response, SendOptions};
use super::urls::{self, BaseUrl};
use crate::Failure;
use crate::runtime::lock;

/// What all requests of one call share.
#[derive(Debug)]
pub(crate) struct CallContext {
    pub(crate) client: EdFiClient,
    pub(crate) control: Control,
    pub(crate) renewals: Renewals,
    /// Whether a 401 is an answer like others, and leads to no renewal.
    pub(crate) accepts_401: bool,
    /// The token of the client's own credentials that this call began with, or has now.
    own: Mutex<Option<Token>>,
    /// The resources that rows have asked for so far: few ODSs serve many rows.
    resources: Mutex<HashMap<BaseUrl, Vec<Resource>>>,
    /// What base URLs lack, of the ODSs that have been asked for it.
    gaps: Mutex<HashMap<BaseUrl, Option<String>>>,
}

/// Where one ODS has one resource.
#[derive(Debug)]
struct Resource {
    api_version: Option<String>,
    endpoint: String,
    url: BaseUrl,
}

/// One ODS, and what may be shown to it.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) base: BaseUrl,
    pub(crate) api_version: Option<String>,
    pub(crate) token: TokenSource,
    pub(crate) renewal: Renewal,
}

/// Where the first token comes from.
#[derive(Debug, Clone)]
pub(crate) enum TokenSource {
    /// The row's own; `expired` where the row says that its time is over.
    Row { token: Secret, expired: bool },
    /// The row has none, but its credentials can fetch one.
    Missing,
    /// The client's credentials.
    Client,
}

/// Whether a refused token can be replaced.
#[derive(Debug, Clone)]
pub(crate) enum Renewal {
    NotConfigured,
    /// Asked for, but something is missing: what.
    Impossible(String),
    Possible(Credentials),
}

/// So many accounts ask for the documents of one ODS, where each is refused: one row's token that is
/// wrong is no reason for others.
pub(crate) const MOST_ACCOUNTS: usize = 3;

/// What tells ODSs apart.
pub(crate) type Site = (BaseUrl, Option<String>);

/// What tells apart who asks which ODS.
pub(crate) type Account = (BaseUrl, Option<String>, Option<Secret>, Option<Arc<Owner>>);

impl Access {
    /// Equal for rows that see the same ODS with the same eyes.
    pub(crate) fn account(&self) -> Account {
        let token = match &self.token {
            TokenSource::Row { token, .. } => Some(token.clone()),
            TokenSource::Missing | TokenSource::Client => None,
        };
        let owner = match &self.renewal {
            Renewal::Possible(credentials) => Some(credentials.owner().clone()),
            Renewal::NotConfigured | Renewal::Impossible(_) => None,
        };
        let (base, api_version) = self.site();
        (base, api_version, token, owner)
    }

    /// Equal for rows of the same ODS, whoever they see it as.
    pub(crate) fn site(&self) -> Site {
        (self.base.clone(), self.api_version.clone())
    }
}

impl CallContext {
    pub(crate) fn new(client: &EdFiClient, control: &Control, renewals: Renewals) -> Self {
        Self {
            client: client.clone(),
            control: control.beginning(),
            renewals,
            accepts_401: false,
            own: Mutex::default(),
            resources: Mutex::default(),
            gaps: Mutex::default(),
        }
    }

    /// Sends one call with a token that is good, as far as one can know, and renews it once where
    /// the server refuses it. The answer may have any status but a 401 that is not accepted.
    pub(crate) async fn send(
        &self,
        access: &Access,
        request: &mut Request,
        policy: RetryPolicy,
    ) -> Result<Response, Failure> {
        request.shown = self.shown(access, &request.url);
        let mut response = self.authorized(access, request, policy).await?;
        if response.status == StatusCode::NOT_FOUND {
            response.meant = metadata::meant(&self.client, &access.base, &request.url).await;
            let is_of_collection = request.page || request.method == Method::POST;
            if is_of_collection && let Some(gap) = Box::pin(self.gap(access)).await {
                let mut failure = response.failure();
                failure.message = format!("{}; {gap}", failure.message);
                return Err(failure);
            }
        }
        // A method, a representation or a body that the ODS does not take.
        if matches!(response.status.as_u16(), 405 | 406 | 415) {
            let profile = self.client.profile();
            response.profile = profile.map(|profile| profile.name().to_owned());
        }
        Ok(response)
    }

    /// How much of a URL's path may be shown: that of the resource that it is below.
    fn shown(&self, access: &Access, url: &Url) -> Option<usize> {
        if !log::log_enabled!(log::Level::Debug) {
            return None;
        }
        let resources = self.resources();
        let mut paths = resources.get(&access.base)?.iter();
        let is_below = |path: &&str| {
            let rest = url.path().strip_prefix(path);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let found = paths.find_map(|resource| Some(resource.url.as_url().path()).filter(is_below));
        found.map(str::len)
    }

    /// What a base URL lacks whose API version was given, so that nobody has asked before.
    async fn gap(&self, access: &Access) -> Option<String> {
        let version = access.api_version.as_deref();
        let version = version.or_else(|| self.client.api_version())?;
        if urls::version_segment(version).is_empty() {
            return None;
        }
        let gaps = || lock(&self.gaps);
        if let Some(known) = gaps().get(&access.base) {
            return known.clone();
        }
        let options = self.client.options(&self.control);
        let discovery = self.client.discovery(&access.base, options).await;
        let gap = discovery.map_or(None, |discovery| discovery.check(&access.base).err());
        let gap = gap.map(|failure| failure.message);
        gaps().insert(access.base.clone(), gap.clone());
        gap
    }

    pub(super) async fn authorized(
        &self,
        access: &Access,
        request: &mut Request,
        policy: RetryPolicy,
    ) -> Result<Response, Failure> {
        let token = self.token(access).await?;
        let sent = Instant::now();
        let response = self.send_as(&token, request, policy).await?;
        if response.status != StatusCode::UNAUTHORIZED || self.accepts_401 {
            if let Renewal::Possible(credentials) = &access.renewal {
                self.renewals.accept(credentials, &token).await;
            }
            return Ok(response);
        }
        let mut failure = response.failure();
        let credentials = match &access.renewal {
            Renewal::NotConfigured => return Err(failure),
            Renewal::Impossible(gap) => {
                failure.message = format!("{} (re-auth not possible: {gap})", failure.message);
                return Err(failure);
            }
            Renewal::Possible(credentials) => credentials,
        };
        // Where the token is the valid one all the same, the refusal is about this request.
        if !self.renewals.refuse(credentials, &token, sent).await {
            return Err(failure);
        }
        let mut stale = token;
        loop {
            let renewed = match Box::pin(self.renew(credentials, Some(&stale))).await {
                Ok(Some(renewed)) => renewed,
                Ok(None) => return Err(failure),
                Err(reason) => {
                    failure.message = format!("{}; auth refresh failed: {reason}", failure.message);
                    return Err(failure);
                }
            };
            let sent = Instant::now();
            let response = self.send_as(&renewed.token, request, policy).await?;
            if response.status != StatusCode::UNAUTHORIZED {
                self.renewals.accept(credentials, &renewed.token).await;
                return Ok(response);
            }
            let renewals = &self.renewals;
            let in_doubt = renewals.refuse(credentials, &renewed.token, sent).await;
            if renewed.requested || !in_doubt {
                return Err(response.failure());
            }
            // A token that the process had was dead, too: now one is asked for.
            stale = renewed.token;
        }
    }

    /// The URL of one item.
    pub(crate) async fn item_url(
        &self,
        access: &Access,
        endpoint: &str,
        id: &str,
    ) -> Result<Url, Failure> {
        let segment = urls::id_segment(id).map_err(Failure::new)?;
        Ok(self.resource(access, endpoint).await?.join(&segment))
    }

    /// The URL of a resource.
    pub(crate) async fn resource(
        &self,
        access: &Access,
        endpoint: &str,
    ) -> Result<BaseUrl, Failure> {
        let known = |resource: &&Resource| {
            resource.api_version == access.api_version && resource.endpoint == endpoint
        };
        if let Some(resources) = self.resources().get(&access.base)
            && let Some(resource) = resources.iter().find(known)
        {
            return Ok(resource.url.clone());
        }
        let url = self.data_root(access).await?.below(endpoint);
        let mut all = self.resources();
        let resources = all.entry(access.base.clone()).or_default();
        resources.push(Resource {
            api_version: access.api_version.clone(),
            endpoint: endpoint.to_owned(),
            url: url.clone(),
        });
        Ok(url)
    }

    fn resources(&self) -> MutexGuard<'_, HashMap<BaseUrl, Vec<Resource>>> {
        lock(&self.resources)
    }

    /// The data URL of an ODS.
    pub(crate) async fn data_root(&self, access: &Access) -> Result<BaseUrl, Failure> {
        let version = access.api_version.as_deref();
        self.client
            .data_root(&access.base, version, &self.control)
            .await
    }

    async fn token(&self, access: &Access) -> Result<Secret, Failure> {
        let (own, usable) = match &access.token {
            TokenSource::Row { token, expired } => (Some(token.clone()), !expired),
            TokenSource::Missing => (None, false),
            TokenSource::Client => (Some(self.own_token().await?), true),
        };
        let Renewal::Possible(credentials) = &access.renewal else {
            return own.ok_or_else(|| Failure::new("missing token"));
        };
        if let Some(renewed) = self.renewals.renewed(credentials).await {
            return Ok(renewed);
        }
        if let Some(own) = &own
            && usable
            && !self.renewals.is_refused(credentials, own).await
        {
            return Ok(own.clone());
        }
        match Box::pin(self.renew(credentials, own.as_ref())).await {
            Ok(Some(renewed)) => Ok(renewed.token),
            // What the row says of its time is wrong.
            Ok(None) => own.ok_or_else(|| Failure::new("missing token")),
            Err(_) if self.control.is_cancelled() => Err(Failure::not_sent()),
            Err(reason) => Err(Failure {
                is_refused_secret: reason.starts_with("auth error: "),
                ..Failure::new(format!("auth refresh failed: {reason}"))
            }),
        }
    }

    async fn renew(
        &self,
        credentials: &Credentials,
        stale: Option<&Secret>,
    ) -> Result<Option<Renewed>, String> {
        let policy = self.client.policy().never();
        let mut stale = stale.cloned();
        loop {
            let options = SendOptions::new(policy, &self.control);
            let transport = self.client.transport();
            let renewals = &self.renewals;
            let renewed = renewals
                .renew(credentials, stale.as_ref(), transport, options)
                .await?;
            match renewed {
                // Another request was refused with it while this one waited.
                Some(renewed) if renewals.is_refused(credentials, &renewed.token).await => {
                    stale = Some(renewed.token);
                }
                renewed => return Ok(renewed),
            }
        }
    }

    async fn own_token(&self) -> Result<Secret, Failure> {
        let own = || lock(&self.own);
        if let Some(token) = own().as_ref().filter(|token| token.is_fresh()) {
            return Ok(token.token.clone());
        }
        let token = self.client.own_token(&self.control).await?;
        *own() = Some(token.clone());
        Ok(token.token)
    }

    async fn send_as(
        &self,
        token: &Secret,
        request: &mut Request,
        policy: RetryPolicy,
    ) -> Result<Response, Failure> {
        let Some(bearer) = token.bearer() else {
            return Err(Failure::new(
                "the token holds characters that no header can carry",
            ));
        };
        request.authorization = Some(bearer);
        if request.names_token {
            request.body = Some(token.form().into());
        }
        // The largest future of every call, which would stand in each that waits for it.
        let options = SendOptions::new(policy, &self.control);
        Box::pin(self.client.transport().send(request, options)).await
    }
}
