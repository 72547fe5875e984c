//! Payloads to an ODS: each row an upsert, or the replacement of an item, with a result of its own.

mod poster;
mod rows;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use polars::prelude::*;
use reqwest::StatusCode;

pub(super) use self::poster::Poster;
use self::rows::Posts;
use super::input::Keys;
use super::journaled::send_rows;
use super::options::{BatchOptions, check_single};
use super::outcome::Outcome;
use super::payloads::check_json;
use super::result::{self, Outcomes, Report, STATUS_NAME};
use super::run::dry_run;
use crate::client::EdFiClient;
use crate::client::session::CallContext;
use crate::journal::JournalOptions;
use crate::{Error, Result, runtime};

/// What [`EdFiClient::post_payload`] and [`EdFiClient::batch_post_payload`] do with an error.
#[derive(Debug, Clone)]
pub struct PostOptions {
    /// Columns, workers and the like. `post_payload` looks at `endpoint` and `control`, and refuses
    /// what is for batches alone: `validate`, a journal, `etag_col`, `order_by_col`.
    pub batch: BatchOptions,
    /// Without it nothing is sent.
    pub commit: bool,
    /// Rows that have the same value here are sent one after another, in the frame's order.
    pub order_by_col: Option<String>,
    /// Whether a Struct payload keeps `id`, `_etag`, `_lastModifiedDate` and the `link` objects.
    pub keep_server_fields: bool,
    /// Answers that are posted again.
    pub retry_statuses: Vec<u16>,
    /// Only where the message holds one of these texts; empty: always.
    pub retry_messages: Vec<String>,
    /// How often such an answer is posted again.
    pub max_retries: u32,
    /// The wait before the first repetition; each later one is twice as long.
    pub retry_backoff: Duration,
    /// Answers that are no errors but get this row status, if they were not posted again.
    pub allow_statuses: Vec<(u16, Option<String>)>,
    /// A column of etags: a row is written only while its item has that one (`If-Match`), quoted or
    /// not. A null cell sends none.
    pub etag_col: Option<String>,
    /// Whether the result tells the single errors of refused rows.
    pub details: bool,
    /// Whether rows are checked as [`EdFiClient::validate`] does, and those with errors stay here.
    /// A dry run then reads what the checks need.
    pub validate: bool,
    /// Whether to post again where a connection broke after the payload was sent. An upsert done
    /// twice leaves what one leaves.
    pub retry_broken: bool,
    /// Where [`batch_post_payload`](EdFiClient::batch_post_payload) notes what it has done.
    pub journaling: JournalOptions,
}

impl Default for PostOptions {
    fn default() -> Self {
        Self {
            batch: BatchOptions::default(),
            commit: false,
            order_by_col: None,
            keep_server_fields: false,
            retry_statuses: Vec::new(),
            retry_messages: Vec::new(),
            max_retries: 2,
            retry_backoff: Duration::from_secs(1),
            allow_statuses: Vec::new(),
            etag_col: None,
            details: false,
            validate: false,
            retry_broken: false,
            journaling: JournalOptions::default(),
        }
    }
}

impl PostOptions {
    pub(crate) fn check(&self) -> Result<()> {
        if self.retry_statuses.contains(&401) {
            return Err(Error::Config(
                "401 cannot be in retry_statuses; give auth_key_col, auth_secret_col and \
                 oauth_endpoint to renew tokens"
                    .into(),
            ));
        }
        Ok(())
    }

    /// Has a 401 be an answer like others where a status is asked for in its place.
    pub(super) fn accept_401(&self, context: &mut CallContext) {
        context.accepts_401 = self.allowed(StatusCode::UNAUTHORIZED).is_some();
    }

    /// The row status that is asked for in place of an error.
    fn allowed(&self, status: StatusCode) -> Option<&Option<String>> {
        let found = self
            .allow_statuses
            .iter()
            .find(|(code, _)| *code == status.as_u16());
        found.map(|(_, status)| status)
    }

    fn is_retried(&self, status: StatusCode, message: &str) -> bool {
        let message = message.to_lowercase();
        self.retry_statuses.contains(&status.as_u16())
            && (self.retry_messages.is_empty()
                || self
                    .retry_messages
                    .iter()
                    .any(|text| message.contains(&text.to_lowercase())))
    }
}

impl EdFiClient {
    /// Posts one payload to this client's ODS: JSON text, sent byte for byte.
    ///
    /// # Errors
    /// Wrong options, no base URL, no credentials. What the server answers is in the [`Outcome`].
    pub async fn post_payload(&self, payload: &str, options: &PostOptions) -> Result<Outcome> {
        options.check()?;
        check_single(
            "batch_post_payload",
            &[
                ("validate", options.validate),
                ("journal", options.journaling.journal.is_some()),
                ("etag_col", options.etag_col.is_some()),
                ("order_by_col", options.order_by_col.is_some()),
            ],
        )?;
        let poster = Poster::new(self.default_context(&options.batch), options)?;
        let access = options.commit.then(|| self.default_access()).transpose()?;
        if let Err(failure) = check_json(payload.as_bytes()) {
            return Ok(failure.into());
        }
        let Some(access) = access else {
            return Ok(Outcome::dry_run());
        };
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        Ok(poster.post(&access, payload).await)
    }

    /// Posts each row's payload to its ODS.
    ///
    /// `payload_col` is a String column of JSON objects, sent byte for byte, or a Struct column,
    /// which is written as JSON without nulls. Returns one row per row that took part, in input
    /// order: `key` (as in `key_col`), `status` (String: null for success, `"error"`, `"dry_run"`
    /// without [`commit`](PostOptions::commit), or what `allow_statuses` says), `message`
    /// (String), `http_status` (Int32), `correlation_id`, `resource_id` (String), `attempts`
    /// (UInt32: requests sent), `row_index` (IdxSize), `row_id` (as in `row_id_col`), and with
    /// [`details`](PostOptions::details) `problem` (String: the `type` of the error body) and
    /// `errors` (List(Struct: `path`, `message`: String), null where it lists none).
    ///
    /// # Errors
    /// Wrong options, a column that is missing or of a wrong type: all before anything is sent.
    pub async fn batch_post_payload(
        &self,
        df: &DataFrame,
        payload_col: &str,
        key_col: &str,
        options: &PostOptions,
    ) -> Result<DataFrame> {
        let keys = Keys::required(df, "key_col", key_col)?;
        let report = self
            .post_rows(df, payload_col, Some(&keys), options)
            .await?;
        let row_id_col = options.batch.row_id_col.as_deref();
        let frame = report
            .of_writes(
                vec![("key", keys)],
                result::POST,
                row_id_col,
                options.details,
            )
            .await?;
        Ok(result::finish(&options.batch.control, STATUS_NAME, frame))
    }

    /// Replaces the item of each row by its payload.
    ///
    /// As [`batch_post_payload`](Self::batch_post_payload), by id (`PUT`): what the payload leaves
    /// out is gone. Repeated as deletes are. JSON text is sent as it is; a Struct payload gets the
    /// row's id. Returns `key`, `id` (as in `id_col`), `status`, `message`, `http_status`,
    /// `correlation_id`, `attempts`, `row_index`, `row_id`, and with
    /// [`details`](PostOptions::details) `problem` and `errors`.
    ///
    /// # Errors
    /// Wrong options, a column that is missing or of a wrong type: all before anything is sent.
    pub async fn batch_put_payload(
        &self,
        df: &DataFrame,
        payload_col: &str,
        id_col: &str,
        key_col: &str,
        options: &PostOptions,
    ) -> Result<DataFrame> {
        let keys = Keys::required(df, "key_col", key_col)?;
        let ids = Keys::required(df, "id_col", id_col)?;
        let report = self
            .write_rows(df, payload_col, Some(&ids), Some(&keys), options)
            .await?;
        let row_id_col = options.batch.row_id_col.as_deref();
        let keys = vec![("key", keys), ("id", ids)];
        let frame = report
            .of_writes(keys, result::PUT, row_id_col, options.details)
            .await?;
        Ok(result::finish(&options.batch.control, STATUS_NAME, frame))
    }

    /// What became of each row; a journal knows them by their `keys`.
    pub(crate) async fn post_rows(
        &self,
        df: &DataFrame,
        payload_col: &str,
        keys: Option<&Keys>,
        options: &PostOptions,
    ) -> Result<Report> {
        self.write_rows(df, payload_col, None, keys, options).await
    }

    /// The same for items with these `ids`, which are replaced, or without.
    async fn write_rows(
        &self,
        df: &DataFrame,
        payload_col: &str,
        ids: Option<&Keys>,
        keys: Option<&Keys>,
        options: &PostOptions,
    ) -> Result<Report> {
        options.check()?;
        let batch = &options.batch;
        let mut posts = {
            let (client, df, options) = (self.clone(), df.clone(), options.clone());
            let (payload_col, ids, keys) = (payload_col.to_owned(), ids.cloned(), keys.cloned());
            let new = move || Posts::new(&client, &df, &payload_col, (ids, keys), &options);
            runtime::compute(new).await??
        };
        let invalid = match options.validate {
            true => {
                let replaces = ids.is_some();
                self.invalid_rows(df, payload_col, options, replaces)
                    .await?
            }
            false => {
                posts.rows.tell_left_out();
                HashMap::new()
            }
        };
        posts.invalid = invalid;
        let posts = Arc::new(posts);
        let rows = posts.rows.active.clone();
        if options.commit {
            posts.rows.check_complete(df)?;
        }
        let outcomes = match options.commit {
            true => {
                let order_by = posts.order_by.as_ref();
                let sent = send_rows(&posts, &rows, order_by, batch, &options.journaling);
                Outcomes::Sent(sent.await?)
            }
            false => dry_run(&posts, &rows).await?,
        };
        Ok(Report {
            df: df.clone(),
            rows,
            outcomes,
        })
    }
}
