//! The same client without `await`, on threads of this library.

use std::sync::Arc;

use arrow_array::RecordBatch;
use futures_core::Stream;
use futures_util::StreamExt;
use polars::prelude::{DataFrame, Schema};

use crate::client::Token;
use crate::runtime::{AtWork, Threads};
use crate::{
    BatchOptions, ChangeOptions, ChangeVersions, Changes, CompareOptions, DeleteOptions, Error,
    FindIdsOptions, GetAllOptions, GetByIdOptions, Outcome, PostOptions, RemoveOptions,
    ResourceFrame, Result, ScanOptions, SchemaOptions, SendOptions, Since, TokenOptions,
    ValidateOptions,
};

/// [`EdFiClient`](crate::EdFiClient), with calls that block until they are done.
///
/// A call inside an async runtime, which waiting would block, is an
/// [`Error::Internal`]. Another thread can stop a call by the
/// [`Control`](crate::Control) in its options.
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

/// The threads to wait on, where this thread may wait.
fn waiting() -> Result<Arc<Threads>> {
    match tokio::runtime::Handle::try_current() {
        Ok(_) => Err(Error::Internal(
            "a blocking call inside an async runtime: await the call of polars_edfi::EdFiClient, or \
             make this one from a thread of its own"
                .into(),
        )),
        Err(_) => Threads::get(),
    }
}

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
        waiting()?.block_on(self.0.fetch_token())
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
        waiting()?.block_on(call)
    }

    /// See [`crate::EdFiClient::get_all`].
    ///
    /// # Errors
    /// As there.
    pub fn get_all(&self, options: &GetAllOptions) -> Result<DataFrame> {
        waiting()?.block_on(self.0.get_all(options))
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
        waiting()?.block_on(call)
    }

    /// See [`crate::EdFiClient::resources`].
    ///
    /// # Errors
    /// As there.
    pub fn resources(&self) -> Result<DataFrame> {
        waiting()?.block_on(self.0.resources())
    }

    /// See [`crate::EdFiClient::dependencies`].
    ///
    /// # Errors
    /// As there.
    pub fn dependencies(&self) -> Result<DataFrame> {
        waiting()?.block_on(self.0.dependencies())
    }

    /// See [`crate::EdFiClient::schema`].
    ///
    /// # Errors
    /// As there.
    pub fn schema(&self, endpoint: &str, options: &SchemaOptions) -> Result<Schema> {
        let call = self.0.schema(endpoint, options);
        waiting()?.block_on(call)
    }

    /// See [`crate::EdFiClient::permissions`].
    ///
    /// # Errors
    /// As there.
    pub fn permissions(&self) -> Result<DataFrame> {
        waiting()?.block_on(self.0.permissions())
    }

    /// See [`crate::EdFiClient::batch_permissions`].
    ///
    /// # Errors
    /// As there.
    pub fn batch_permissions(
        &self,
        districts: &DataFrame,
        key_col: &str,
        options: &BatchOptions,
    ) -> Result<DataFrame> {
        let call = self.0.batch_permissions(districts, key_col, options);
        waiting()?.block_on(call)
    }

    /// See [`crate::EdFiClient::validate`].
    ///
    /// # Errors
    /// As there.
    pub fn validate(
        &self,
        frames: &[(String, DataFrame)],
        options: &ValidateOptions,
    ) -> Result<DataFrame> {
        let call = self.0.validate(frames, options);
        waiting()?.block_on(call)
    }

    /// See [`crate::EdFiClient::compare`].
    ///
    /// # Errors
    /// As there.
    pub fn compare(
        &self,
        frames: &[(String, DataFrame)],
        options: &CompareOptions,
    ) -> Result<DataFrame> {
        let call = self.0.compare(frames, options);
        waiting()?.block_on(call)
    }

    /// See [`crate::EdFiClient::count`].
    ///
    /// # Errors
    /// As there.
    pub fn count(&self, endpoint: &str, params: &[(String, String)]) -> Result<u64> {
        let call = self.0.count(endpoint, params);
        waiting()?.block_on(call)
    }

    /// See [`crate::EdFiClient::scan`].
    ///
    /// # Errors
    /// As there.
    pub fn scan(&self, endpoint: &str, options: &ScanOptions) -> Result<Scan> {
        let call = self.0.scan(endpoint, options);
        waiting()?.block_on(call).map(Scan)
    }

    /// See [`crate::EdFiClient::scan_all`].
    ///
    /// # Errors
    /// As there.
    pub fn scan_all(
        &self,
        districts: &DataFrame,
        key_col: &str,
        options: &ScanOptions,
    ) -> Result<Scan> {
        let call = self.0.scan_all(districts, key_col, options);
        waiting()?.block_on(call).map(Scan)
    }

    /// See [`crate::EdFiClient::pages`].
    pub fn pages(
        &self,
        endpoint: &str,
        options: &ScanOptions,
    ) -> impl Iterator<Item = Result<DataFrame>> + Send + use<> {
        Waiting::new(self.0.pages(endpoint, options))
    }

    /// See [`crate::EdFiClient::record_batches`].
    pub fn record_batches(
        &self,
        endpoint: &str,
        options: &ScanOptions,
    ) -> impl Iterator<Item = Result<RecordBatch>> + Send + use<> {
        Waiting::new(self.0.record_batches(endpoint, options))
    }

    /// See [`crate::EdFiClient::post_payload`].
    ///
    /// # Errors
    /// As there.
    pub fn post_payload(&self, payload: &str, options: &PostOptions) -> Result<Outcome> {
        let call = self.0.post_payload(payload, options);
        waiting()?.block_on(call)
    }

    /// See [`crate::EdFiClient::batch_post_payload`].
    ///
    /// # Errors
    /// As there.
    pub fn batch_post_payload(
        &self,
        df: &DataFrame,
        payload_col: &str,
        key_col: &str,
        options: &PostOptions,
    ) -> Result<DataFrame> {
        let call = self.0.batch_post_payload(df, payload_col, key_col, options);
        waiting()?.block_on(call)
    }

    /// See [`crate::EdFiClient::batch_put_payload`].
    ///
    /// # Errors
    /// As there.
    pub fn batch_put_payload(
        &self,
        df: &DataFrame,
        payload_col: &str,
        id_col: &str,
        key_col: &str,
        options: &PostOptions,
    ) -> Result<DataFrame> {
        let call = self
            .0
            .batch_put_payload(df, payload_col, id_col, key_col, options);
        waiting()?.block_on(call)
    }

    /// See [`crate::EdFiClient::get_by_id`].
    ///
    /// # Errors
    /// As there.
    pub fn get_by_id(&self, id: &str, options: &GetByIdOptions) -> Result<String> {
        let call = self.0.get_by_id(id, options);
        waiting()?.block_on(call)
    }

    /// See [`crate::EdFiClient::batch_get_by_id`].
    ///
    /// # Errors
    /// As there.
    pub fn batch_get_by_id(
        &self,
        df: &DataFrame,
        id_col: &str,
        options: &GetByIdOptions,
    ) -> Result<DataFrame> {
        let call = self.0.batch_get_by_id(df, id_col, options);
        waiting()?.block_on(call)
    }

    /// See [`crate::EdFiClient::batch_find_ids`].
    ///
    /// # Errors
    /// As there.
    pub fn batch_find_ids(&self, df: &DataFrame, options: &FindIdsOptions) -> Result<DataFrame> {
        let call = self.0.batch_find_ids(df, options);
        waiting()?.block_on(call)
    }

    /// See [`crate::EdFiClient::delete_by_id`].
    ///
    /// # Errors
    /// As there.
    pub fn delete_by_id(&self, id: &str, options: &DeleteOptions) -> Result<Outcome> {
        let call = self.0.delete_by_id(id, options);
        waiting()?.block_on(call)
    }

    /// See [`crate::EdFiClient::batch_delete_by_id`].
    ///
    /// # Errors
    /// As there.
    pub fn batch_delete_by_id(
        &self,
        df: &DataFrame,
        id_col: &str,
        key_col: &str,
        options: &DeleteOptions,
    ) -> Result<DataFrame> {
        let call = self.0.batch_delete_by_id(df, id_col, key_col, options);
        waiting()?.block_on(call)
    }

    /// See [`crate::EdFiClient::send`].
    ///
    /// # Errors
    /// As there.
    pub fn send(
        &self,
        frames: Vec<ResourceFrame>,
        payload_col: &str,
        key_col: Option<&str>,
        options: &SendOptions,
    ) -> Result<DataFrame> {
        let call = self.0.send(frames, payload_col, key_col, options);
        waiting()?.block_on(call)
    }

    /// See [`crate::EdFiClient::remove`].
    ///
    /// # Errors
    /// As there.
    pub fn remove(
        &self,
        frames: Vec<ResourceFrame>,
        id_col: &str,
        key_col: Option<&str>,
        options: &RemoveOptions,
    ) -> Result<DataFrame> {
        let call = self.0.remove(frames, id_col, key_col, options);
        waiting()?.block_on(call)
    }

    /// See [`crate::EdFiClient::available_change_versions`].
    ///
    /// # Errors
    /// As there.
    pub fn available_change_versions(&self) -> Result<ChangeVersions> {
        let call = self.0.available_change_versions();
        waiting()?.block_on(call)
    }

    /// See [`crate::EdFiClient::deletes`].
    ///
    /// # Errors
    /// As there.
    pub fn deletes(&self, endpoint: &str, options: &ChangeOptions) -> Result<DataFrame> {
        let call = self.0.deletes(endpoint, options);
        waiting()?.block_on(call)
    }

    /// See [`crate::EdFiClient::key_changes`].
    ///
    /// # Errors
    /// As there.
    pub fn key_changes(&self, endpoint: &str, options: &ChangeOptions) -> Result<DataFrame> {
        let call = self.0.key_changes(endpoint, options);
        waiting()?.block_on(call)
    }

    /// See [`crate::EdFiClient::changes`].
    ///
    /// # Errors
    /// As there.
    pub fn changes(
        &self,
        endpoint: &str,
        since: impl Into<Since>,
        options: &GetAllOptions,
    ) -> Result<Changes> {
        let call = self.0.changes(endpoint, since, options);
        waiting()?.block_on(call)
    }
}

/// See [`crate::read_journal`].
///
/// # Errors
/// As there.
pub fn read_journal(path: &std::path::Path) -> Result<DataFrame> {
    waiting()?.block_on(crate::read_journal(path))
}

/// [`Scan`](crate::Scan), with pages that block until they are there, while others are fetched ahead.
#[derive(Debug, Clone)]
pub struct Scan(crate::Scan);

impl Scan {
    /// See [`crate::Scan::schema`].
    pub fn schema(&self) -> &Schema {
        self.0.schema()
    }

    /// See [`crate::Scan::lazy`].
    #[cfg(feature = "lazy")]
    pub fn lazy(&self) -> polars::prelude::LazyFrame {
        self.0.lazy()
    }

    /// See [`crate::Scan::pages`].
    ///
    /// # Errors
    /// As there.
    pub fn pages(&self) -> Result<impl Iterator<Item = Result<DataFrame>> + Send + use<>> {
        self.0.pages().map(Waiting::new)
    }

    /// See [`crate::Scan::record_batches`].
    ///
    /// # Errors
    /// As there.
    pub fn record_batches(
        &self,
    ) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + use<>> {
        self.0.record_batches().map(Waiting::new)
    }
}

/// A stream, each item waited for; what it fetches ahead goes on between the items.
struct Waiting<S> {
    stream: S,
    at_work: Option<AtWork>,
}

impl<S> Waiting<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            at_work: None,
        }
    }
}

impl<T, S: Stream<Item = Result<T>> + Unpin> Waiting<S> {
    fn wait(&mut self) -> Result<Option<T>> {
        let threads = waiting()?;
        if self.at_work.is_none() {
            self.at_work = Some(threads.clone().keep_at_work()?);
        }
        threads.block_on(self.stream.next()).transpose()
    }
}

impl<T, S: Stream<Item = Result<T>> + Unpin> Iterator for Waiting<S> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        self.wait().transpose()
    }
}
