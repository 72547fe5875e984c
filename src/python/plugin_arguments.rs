//! What an expression says beside its columns: checked where it is written, held by a plan, read
//! where it runs.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use polars::prelude::{DataType, Field, Schema, Series};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde::Deserialize;

use super::arguments::read;
use super::client::Client;
use super::errors::raise;
use super::logging::follow_level;
use super::options::{self, Target};
use super::registry::{self, CLIENTS};
use crate::client::{Auth, Limiter, STUDENT_ASSESSMENTS, urls};
use crate::per_process::PerProcess;
use crate::runtime::lock;
use crate::{BatchOptions, Control, EdFiClient, Error, PostOptions, Result, TokenOptions};

/// The arguments of an expression, as a plan holds them.
#[derive(Deserialize, Hash, Default, IntoPyObject)]
pub(crate) struct PluginArguments {
    /// A registered client, or 0.
    client: u64,
    pub(super) has_url: bool,
    pub(super) has_token: bool,
    pub(super) has_schema: bool,
    endpoint: String,
    api_version: Option<String>,
    pub(super) workers: usize,
    pub(super) commit: bool,
    pub(super) limit: usize,
    pub(super) params: Vec<(String, String)>,
    retry_statuses: Vec<u16>,
    retry_messages: Vec<String>,
    max_retries: u32,
    retry_backoff_us: u64,
    allow_statuses: Vec<(u16, Option<String>)>,
    retry_broken: bool,
    pub(super) oauth_endpoint: String,
}

/// The arguments of an expression, checked where it is written.
#[pyfunction]
#[pyo3(signature = (call, client, url, token, schema, **given))]
pub(crate) fn plugin_arguments(
    py: Python<'_>,
    call: &str,
    client: Option<&Client>,
    url: bool,
    token: bool,
    schema: bool,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<PluginArguments> {
    follow_level(py);
    let target = |target| PluginArguments::of(client, (url, token, schema), target);
    let config = |error| raise(py, error);
    match call {
        "post_payload" => {
            let (at, post) = read(py, given, options::post_expression)?;
            post.check().map_err(config)?;
            target(at).map(|arguments| arguments.posting(post))
        }
        "delete_by_id" => {
            let (at, delete) = read(py, given, options::delete_expression)?;
            target(at).map(|arguments| PluginArguments {
                commit: delete.commit,
                ..arguments
            })
        }
        "get_by_id" => target(read(py, given, options::item_expression)?),
        "get_all" => {
            let (at, all) = read(py, given, options::collection_expression)?;
            target(at).map(|arguments| PluginArguments {
                params: all.params,
                limit: all.limit,
                ..arguments
            })
        }
        _ => Ok(PluginArguments {
            oauth_endpoint: read(py, given, options::token_expression)?,
            workers: TokenOptions::default().workers,
            ..PluginArguments::default()
        }),
    }
    .map_err(config)
}

impl PluginArguments {
    /// Those of a call on an ODS: the rows' own, where there is a column of URLs.
    fn of(
        client: Option<&Client>,
        (has_url, has_token, has_schema): (bool, bool, bool),
        target: Target,
    ) -> Result<Self> {
        let client = client.map(|client| &client.0);
        let missing = |argument: &str, what: &str, setting: &str| {
            Err(Error::Config(format!(
                "{argument} is missing: name a column of {what}, or give a client with {setting}"
            )))
        };
        if !has_url && client.is_none_or(|client| client.base().is_none()) {
            return missing("url", "base URLs", "a base_url");
        }
        if !has_token && client.is_none_or(|client| matches!(client.auth(), Auth::None)) {
            return missing("token", "tokens", "credentials");
        }
        let own = client.and_then(EdFiClient::endpoint);
        let endpoint = target.endpoint.as_deref().or(own);
        let endpoint = urls::endpoint(endpoint.unwrap_or(STUDENT_ASSESSMENTS));
        let endpoint = endpoint.map_err(Error::Config)?;
        // Of clients that are kept for plans alone, which may never run again.
        CLIENTS.for_each(EdFiClient::close_if_unused);
        Ok(Self {
            client: client.map_or(Ok(0), |client| {
                CLIENTS.number(client.clone(), |known| known.is(client))
            })?,
            has_url,
            has_token,
            has_schema,
            endpoint,
            api_version: target.api_version,
            workers: target.workers,
            ..Self::default()
        })
    }

    fn posting(self, post: PostOptions) -> Self {
        Self {
            commit: post.commit,
            retry_statuses: post.retry_statuses,
            retry_messages: post.retry_messages,
            max_retries: post.max_retries,
            retry_backoff_us: u64::try_from(post.retry_backoff.as_micros()).unwrap_or(u64::MAX),
            allow_statuses: post.allow_statuses,
            retry_broken: post.retry_broken,
            ..self
        }
    }

    pub(super) fn post(&self, control: &Control) -> PostOptions {
        PostOptions {
            batch: self.batch(control),
            commit: self.commit,
            retry_statuses: self.retry_statuses.clone(),
            retry_messages: self.retry_messages.clone(),
            max_retries: self.max_retries,
            retry_backoff: Duration::from_micros(self.retry_backoff_us),
            allow_statuses: self.allow_statuses.clone(),
            retry_broken: self.retry_broken,
            ..PostOptions::default()
        }
    }

    pub(super) fn client(&self) -> Result<EdFiClient> {
        let client = match self.client {
            0 => return anonymous(self.api_version.as_deref().unwrap_or("v3")),
            number => registry::client(number)?,
        };
        match &self.api_version {
            Some(version) => client.with_api_version(version),
            None => Ok(client),
        }
    }

    /// One limit for each client, or for each expression that is written in the same way.
    pub(super) fn control(&self) -> Control {
        static LIMITERS: PerProcess<Mutex<HashMap<u64, Arc<Limiter>>>> = PerProcess::new();
        let number = match self.client {
            0 => {
                let mut hasher = DefaultHasher::new();
                self.hash(&mut hasher);
                hasher.finish()
            }
            client => client,
        };
        let limiter = lock(LIMITERS.get()).entry(number).or_default().clone();
        Control::sharing(limiter, self.workers)
    }

    pub(super) fn batch(&self, control: &Control) -> BatchOptions {
        BatchOptions {
            endpoint: Some(self.endpoint.clone()),
            workers: self.workers,
            control: control.clone(),
            ..BatchOptions::default()
        }
    }

    /// The columns that a typed null, the last input, asks for.
    pub(super) fn schema(&self, inputs: &[Series]) -> Option<Schema> {
        let last = inputs.last().filter(|_| self.has_schema)?;
        match last.dtype() {
            DataType::Struct(fields) => Some(fields.iter().cloned().collect()),
            _ => None,
        }
    }

    /// The dtype of an item: what a typed null, the last input, has, else JSON text.
    pub(super) fn item(&self, inputs: &[Field]) -> DataType {
        match inputs.last() {
            Some(field) if self.has_schema => field.dtype().clone(),
            _ => DataType::String,
        }
    }
}

/// The client of expressions whose rows bring everything; one for each API version, so that its
/// connections serve all calls.
fn anonymous(api_version: &str) -> Result<EdFiClient> {
    static CLIENTS: PerProcess<Mutex<HashMap<String, EdFiClient>>> = PerProcess::new();
    let mut clients = lock(CLIENTS.get());
    if let Some(client) = clients.get(api_version) {
        return Ok(client.clone());
    }
    let client = EdFiClient::builder().api_version(api_version).build()?;
    clients.insert(api_version.to_owned(), client.clone());
    Ok(client)
}
