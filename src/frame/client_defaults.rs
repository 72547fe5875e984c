//! What a call takes from its client: ODS, credentials, endpoint.

use super::options::BatchOptions;
use crate::client::session::{Access, CallContext, Renewal, TokenSource};
use crate::client::{Auth, Control, EdFiClient, Renewals, urls};
use crate::{Error, Failure, Result};

impl EdFiClient {
    /// What the requests of one call share.
    pub(crate) fn default_context(&self, batch: &BatchOptions) -> CallContext {
        let renewals = Renewals::new(batch.refresh_cooldown);
        CallContext::new(self, &batch.control, renewals)
    }

    /// The same for a call that has nothing of a batch but a handle on it.
    pub(crate) fn watched_context(&self, control: &Control) -> CallContext {
        self.default_context(&BatchOptions {
            control: control.clone(),
            ..BatchOptions::default()
        })
    }

    /// The client's own ODS and credentials.
    pub(crate) fn default_access(&self) -> Result<Access> {
        let renewal = match self.auth() {
            Auth::None => return Err(Error::Config("No auth configured.".into())),
            Auth::Bearer(_) => Renewal::NotConfigured,
            Auth::Credentials(credentials) => Renewal::Possible(credentials.clone()),
        };
        let base = self
            .base()
            .ok_or_else(|| Error::Config("the client has no base_url".into()))?;
        Ok(Access {
            base: base.clone(),
            api_version: None,
            token: TokenSource::Client,
            renewal,
        })
    }

    /// The resource that a call names, or this client's own.
    pub(crate) fn endpoint_or(&self, endpoint: Option<&str>) -> Result<String> {
        match endpoint {
            Some(endpoint) => urls::endpoint(endpoint).map_err(Error::Config),
            None => self.endpoint().map(str::to_owned).ok_or_else(|| {
                Error::Config(
                    "no endpoint: name the resource by endpoint=\"ed-fi/students\", or use a client \
                     that has one, such as Resource(\"ed-fi/students\", ...)"
                        .into(),
                )
            }),
        }
    }
}

/// The error of a call whose request failed, or was not sent any more.
pub(super) fn into_error(failure: Failure, control: &Control) -> Error {
    match control.is_cancelled() {
        true => Error::Interrupted,
        false => Error::from_failure(failure),
    }
}
