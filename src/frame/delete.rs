//! Items deleted by id: each row with a result of its own.

use std::sync::Arc;

use polars::prelude::*;
use reqwest::header::{HeaderValue, IF_MATCH};
use reqwest::{Method, StatusCode};

use super::etags::Etags;
use super::input::Keys;
use super::journaled::{Write, send_rows};
use super::options::{BatchOptions, check_single};
use super::outcome::{DELETED, Outcome};
use super::request::{ItemRows, check_id};
use super::result::{self, Outcomes, Report, STATUS_NAME};
use super::run::{RowOperation, dry_run};
use crate::client::EdFiClient;
use crate::client::session::{Access, CallContext};
use crate::client::transport::Request;
use crate::journal::{self, JournalOptions};
use crate::{Failure, Result};

/// The options of [`EdFiClient::delete_by_id`] and [`EdFiClient::batch_delete_by_id`].
#[derive(Debug, Clone, Default)]
pub struct DeleteOptions {
    /// Columns, workers and the like. `delete_by_id` looks at `endpoint` and `control`, and refuses
    /// a journal and `etag_col`, which are for batches alone.
    pub batch: BatchOptions,
    /// Without it nothing is sent.
    pub commit: bool,
    /// A column of etags: an item is deleted only while it has that one (`If-Match`), quoted or not.
    /// A null cell sends none.
    pub etag_col: Option<String>,
    /// Whether the result tells the single errors of refused rows.
    pub details: bool,
    /// Where [`batch_delete_by_id`](EdFiClient::batch_delete_by_id) notes what it has done.
    pub journaling: JournalOptions,
}

impl EdFiClient {
    /// Deletes one item of this client's ODS.
    ///
    /// # Errors
    /// Wrong options, no base URL, no credentials. What the server answers is in the [`Outcome`].
    pub async fn delete_by_id(&self, id: &str, options: &DeleteOptions) -> Result<Outcome> {
        let endpoint = self.endpoint_or(options.batch.endpoint.as_deref())?;
        check_single(
            "batch_delete_by_id",
            &[
                ("journal", options.journaling.journal.is_some()),
                ("etag_col", options.etag_col.is_some()),
            ],
        )?;
        let access = options.commit.then(|| self.default_access()).transpose()?;
        let id = id.trim();
        if let Err(failure) = check_id(id) {
            return Ok(failure.into());
        }
        let Some(access) = access else {
            return Ok(Outcome::dry_run());
        };
        let context = self.default_context(&options.batch);
        Ok(delete(&context, &access, &endpoint, (id, None), options.details).await)
    }

    /// Deletes the item of each row.
    ///
    /// Returns one row per row that took part, in input order: `id` (as in `id_col`), `key` (as in
    /// `key_col`), `status` (String: `"deleted"`, `"error"`, or `"dry_run"` without
    /// [`commit`](DeleteOptions::commit)), `message` (String), `http_status` (Int32),
    /// `correlation_id` (String), `row_index` (IdxSize), `row_id` (as in `row_id_col`), and with
    /// [`details`](DeleteOptions::details) `problem` and `errors` as in
    /// [`batch_post_payload`](EdFiClient::batch_post_payload).
    ///
    /// # Errors
    /// Wrong options, a column that is missing or of a wrong type: all before anything is sent.
    pub async fn batch_delete_by_id(
        &self,
        df: &DataFrame,
        id_col: &str,
        key_col: &str,
        options: &DeleteOptions,
    ) -> Result<DataFrame> {
        let ids = Keys::required(df, "id_col", id_col)?;
        let keys = Keys::required(df, "key_col", key_col)?;
        let report = self.delete_rows(df, id_col, Some(&keys), options).await?;
        let row_id_col = options.batch.row_id_col.as_deref();
        let keys = vec![("id", ids), ("key", keys)];
        let frame = report
            .of_writes(keys, result::ANSWER, row_id_col, options.details)
            .await?;
        Ok(result::finish(&options.batch.control, STATUS_NAME, frame))
    }

    /// What became of each row; a journal notes them under their `keys`.
    pub(crate) async fn delete_rows(
        &self,
        df: &DataFrame,
        id_col: &str,
        keys: Option<&Keys>,
        options: &DeleteOptions,
    ) -> Result<Report> {
        let batch = &options.batch;
        let ids = Keys::required(df, "id_col", id_col)?;
        let endpoint = self.endpoint_or(batch.endpoint.as_deref())?;
        let items = ItemRows::new(df, self, ids, endpoint, batch)?;
        items.rows.tell_left_out();
        let rows = items.rows.active.clone();
        if options.commit {
            items.rows.check_complete(df)?;
        }
        let deletes = Arc::new(Deletes {
            items,
            keys: keys.cloned(),
            etags: Etags::new(df, options.etag_col.as_deref())?,
            details: options.details,
        });
        let outcomes = match options.commit {
            true => {
                let sent = send_rows(&deletes, &rows, None, batch, &options.journaling);
                Outcomes::Sent(sent.await?)
            }
            false => dry_run(&deletes, &rows).await?,
        };
        Ok(Report {
            df: df.clone(),
            rows,
            outcomes,
        })
    }
}

/// The rows of one batch.
struct Deletes {
    items: ItemRows,
    keys: Option<Keys>,
    etags: Etags,
    details: bool,
}

impl RowOperation for Deletes {
    type Request = (Access, String, Option<HeaderValue>);
    type Outcome = Outcome;

    fn district(&self, row: usize) -> Option<&str> {
        self.items.rows.url(row)
    }

    fn prepare(&self, row: usize) -> Result<Self::Request, Failure> {
        let (access, id) = self.items.item(row)?;
        Ok((access, id, self.etags.get(row)?))
    }

    fn check(&self, row: usize) -> Result<(), Failure> {
        self.items.check(row)?;
        self.etags.get(row).map(drop)
    }

    async fn send(&self, (access, id, if_match): Self::Request) -> Outcome {
        let ItemRows {
            context, endpoint, ..
        } = &self.items;
        delete(context, &access, endpoint, (&id, if_match), self.details).await
    }
}

impl Write for Deletes {
    fn method(&self) -> journal::Method {
        journal::Method::Delete
    }

    fn context(&self) -> &CallContext {
        &self.items.context
    }

    fn endpoint(&self) -> &str {
        &self.items.endpoint
    }

    fn api_version(&self, row: usize) -> Option<&str> {
        self.items.rows.api_version(row)
    }

    fn repeats(&self, _row: usize) -> bool {
        true
    }

    fn key(&self, row: usize) -> Option<&str> {
        self.keys.as_ref()?.get(row)
    }

    fn id(&self, row: usize) -> Option<&str> {
        self.items.ids.get(row)
    }

    fn written<'a>(&self, (access, _, _): &'a Self::Request) -> (&'a Access, &'a [u8]) {
        (access, &[])
    }
}

pub(super) async fn delete(
    context: &CallContext,
    access: &Access,
    endpoint: &str,
    (id, if_match): (&str, Option<HeaderValue>),
    details: bool,
) -> Outcome {
    let url = match context.item_url(access, endpoint, id).await {
        Ok(url) => url,
        Err(failure) => return failure.into(),
    };
    let mut request = Request {
        method: Method::DELETE,
        headers: if_match.map(|etag| (IF_MATCH, etag)).into_iter().collect(),
        small: true,
        ..Request::get(url)
    };
    let sent = context
        .send(access, &mut request, context.client.policy().for_delete())
        .await;
    let outcome = match sent {
        // The item was there before the connection broke: the first try has done it.
        Ok(response)
            if response.is_written()
                || (request.in_doubt && response.status == StatusCode::NOT_FOUND) =>
        {
            Outcome {
                status: Some(DELETED.into()),
                ..Outcome::success(&response)
            }
        }
        Ok(response) => Outcome::from(response.refusal_of_write()).with_details(details, &response),
        Err(failure) => failure.into(),
    };
    outcome.after(&request)
}
