//! The same client without `await`, on threads of this library.

use polars::prelude::DataFrame;

use crate::client::Token;
use crate::runtime::Threads;
use crate::{GetAllOptions, Result, TokenOptions};

/// [`EdFiClient`](crate::EdFiClient), each call waited for.
///
/// Not to be used inside an async runtime: waiting there would block it.
///
/// ```
/// use polars_edfi::blocking;
///
/// let client: blocking::EdFiClient = polars_edfi::EdFiClient::builder()
///     .base_url("http://127.0.0.1:8001/255901")
///     .bearer_token("a-token")
///     .build()?
///     .into();
/// let token = client.fetch_token()?;
/// assert_eq!(token.token.reveal(), "a-token");
/// # Ok::<(), polars_edfi::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct EdFiClient(crate::EdFiClient);

impl From<crate::EdFiClient> for EdFiClient {
    fn from(client: crate::EdFiClient) -> Self {
        Self(client)
    }
}

impl EdFiClient {
    /// See [`crate::EdFiClient::fetch_token`].
    ///
    /// # Errors
    /// As there.
    pub fn fetch_token(&self) -> Result<Token> {
        Threads::get()?.runtime().block_on(self.0.fetch_token())
    }

    /// See [`crate::EdFiClient::batch_fetch_tokens`].
    ///
    /// # Errors
    /// As there.
    pub fn batch_fetch_tokens(
        &self,
        df: &DataFrame,
        account_col: &str,
        oauth_endpoint: &str,
        options: &TokenOptions,
    ) -> Result<DataFrame> {
        let call = self
            .0
            .batch_fetch_tokens(df, account_col, oauth_endpoint, options);
        Threads::get()?.runtime().block_on(call)
    }

    /// See [`crate::EdFiClient::get_all`].
    ///
    /// # Errors
    /// As there.
    pub fn get_all(&self, options: &GetAllOptions) -> Result<DataFrame> {
        Threads::get()?.runtime().block_on(self.0.get_all(options))
    }

    /// See [`crate::EdFiClient::batch_get_all`].
    ///
    /// # Errors
    /// As there.
    pub fn batch_get_all(
        &self,
        districts: &DataFrame,
        key_col: &str,
        options: &GetAllOptions,
    ) -> Result<DataFrame> {
        let call = self.0.batch_get_all(districts, key_col, options);
        Threads::get()?.runtime().block_on(call)
    }
}
