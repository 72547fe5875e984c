//! Calls that use the client's own ODS: no frame, no rows.

use super::options::BatchOptions;
use crate::client::session::{Access, CallContext, Renewal, TokenSource};
use crate::client::{Auth, EdFiClient, Renewals, urls};
use crate::{Error, Result};

impl EdFiClient {
    /// What the requests of one call share.
    pub(crate) fn own_context(&self, batch: &BatchOptions) -> CallContext {
        let renewals = Renewals::new(batch.refresh_cooldown, self.policy());
        CallContext::new(self, batch.control.clone(), renewals)
    }

    /// The client's own ODS and credentials.
    pub(crate) fn own_access(&self) -> Result<Access> {
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
            None => Ok(self.endpoint().to_owned()),
        }
    }
}
