//! How many records a resource has.

use super::options::check_params;
use crate::client::metadata::{self, Metadata};
use crate::client::paging::Collection;
use crate::client::{Control, EdFiClient};
use crate::frame::client_defaults::into_error;
use crate::openapi;
use crate::{Error, Failure, Result};

impl EdFiClient {
    /// How many records of a resource there are that this client may see, as the ODS counts them
    /// (`totalCount`): no record is read.
    ///
    /// `params` are filters, as the API names them; names that the ODS's OpenAPI document does not
    /// list are refused.
    ///
    /// # Errors
    /// [`Error::Config`] without a base URL or credentials or with an unknown parameter,
    /// [`Error::Auth`] and [`Error::Http`] where the ODS does not answer as it should, or sends no
    /// `Total-Count`.
    pub async fn count(&self, endpoint: &str, params: &[(String, String)]) -> Result<u64> {
        let control = Control::new();
        self.count_under(endpoint, params, false, &control).await
    }

    pub(crate) async fn count_under(
        &self,
        endpoint: &str,
        params: &[(String, String)],
        snapshot: bool,
        control: &Control,
    ) -> Result<u64> {
        let endpoint = self.endpoint_or(Some(endpoint))?;
        check_params(params)?;
        let access = self.default_access()?;
        let context = self.watched_context(control);
        if !params.is_empty() {
            // A count does not depend on types: where the metadata fails, the ODS may still count.
            match Metadata::of(&context, &access).describe(&endpoint).await {
                Ok(described) => {
                    let resource = described.resource();
                    if let Some(wrong) =
                        resource.and_then(|one| openapi::unknown_param(one, params))
                    {
                        return Err(Error::Config(wrong));
                    }
                }
                Err(_) => {
                    log::warn!("the names of parameters are not checked: the metadata fails");
                }
            }
        }
        let to_error = |failure| into_error(failure, control);
        let root = context.data_root(&access).await.map_err(to_error)?;
        let snapshot = context.snapshot(&access, snapshot).await;
        let collection = Collection {
            url: root.join(&endpoint),
            snapshot: snapshot.map_err(to_error)?,
        }
        .with_params(params);
        let counted = match collection.count(&context, &access).await {
            Ok(counted) => counted,
            Err(failure) => {
                let explained = metadata::explained(failure, (&context, &access), &endpoint);
                return Err(to_error(Box::pin(explained).await));
            }
        };
        counted.ok_or_else(|| {
            Error::Http(Failure {
                http_status: Some(200),
                ..Failure::new(
                    "the server sends no Total-Count: it does not say how many records there are",
                )
            })
        })
    }
}
