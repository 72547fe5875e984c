//! Items deleted by id: each row with a result of its own.

use std::sync::Arc;

use futures_util::future::FutureExt;
use polars::prelude::*;
use reqwest::{Method, StatusCode};

use super::input::Keys;
use super::options::BatchOptions;
use super::outcome::{DELETED, Outcome, Report};
use super::request::ItemRows;
use super::run::for_each_row;
use crate::Result;
use crate::client::EdFiClient;
use crate::client::session::{Access, CallContext};
use crate::client::transport::Request;

/// The options of [`EdFiClient::delete_by_id`] and [`EdFiClient::batch_delete_by_id`].
#[derive(Debug, Clone, Default)]
pub struct DeleteOptions {
    /// Columns, workers and the like. `delete_by_id` looks at `endpoint` and `control`.
    pub batch: BatchOptions,
    /// Without it nothing is sent.
    pub commit: bool,
}

impl EdFiClient {
    /// Deletes one item of this client's ODS.
    ///
    /// # Errors
    /// Wrong options, no base URL, no credentials. What the server answers is in the [`Outcome`].
    pub async fn delete_by_id(&self, id: &str, options: &DeleteOptions) -> Result<Outcome> {
        let endpoint = self.endpoint_or(options.batch.endpoint.as_deref())?;
        if !options.commit {
            return Ok(Outcome::dry_run());
        }
        let context = self.own_context(&options.batch);
        Ok(delete(&context, &self.own_access()?, &endpoint, id.trim()).await)
    }

    /// Deletes the item of each row.
    ///
    /// Returns one row per row that took part, in input order: `id` (as in `id_col`), `key` (as in
    /// `key_col`), `status` (String: `"deleted"`, `"error"`, or `"dry_run"` without
    /// [`commit`](DeleteOptions::commit)), `message` (String), `http_status` (Int32),
    /// `correlation_id` (String), `row_index` (IdxSize), `row_id` (as in `row_id_col`).
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
        let batch = &options.batch;
        let ids = Keys::required(df, "id_col", id_col)?;
        let keys = Keys::required(df, "key_col", key_col)?;
        let endpoint = self.endpoint_or(batch.endpoint.as_deref())?;
        let items = Arc::new(ItemRows::new(df, self, ids, endpoint, batch)?);
        let kept = &items.rows.kept;
        let outcomes = if options.commit {
            items.rows.check_complete(df)?;
            let (workers, control) = (batch.workers, &batch.control);
            for_each_row(&items, kept, None, workers, control, |items, row| {
                async move {
                    match items.item(row) {
                        Ok((access, id)) => {
                            delete(&items.context, &access, &items.endpoint, id).await
                        }
                        Err(failure) => failure.into(),
                    }
                }
                .boxed()
            })
            .await
        } else {
            vec![Outcome::dry_run(); kept.len()]
        };
        let report = Report {
            df,
            rows: kept,
            outcomes: &outcomes,
        };
        let mut columns = vec![report.keys(&items.ids, "id")?, report.keys(&keys, "key")?];
        columns.extend(report.answers());
        columns.extend(report.places(batch.row_id_col.as_deref())?);
        report.frame(columns)
    }
}

async fn delete(context: &CallContext, access: &Access, endpoint: &str, id: &str) -> Outcome {
    let url = match context.item_url(access, endpoint, id).await {
        Ok(url) => url,
        Err(failure) => return failure.into(),
    };
    let mut request = Request {
        method: Method::DELETE,
        small: true,
        ..Request::get(url)
    };
    let sent = context
        .send(access, &mut request, context.client.policy())
        .await;
    let outcome = match sent {
        // The item was there before the connection broke: the first try has done it.
        Ok(response)
            if response.is_written()
                || (request.broke && response.status == StatusCode::NOT_FOUND) =>
        {
            Outcome {
                status: Some(DELETED.into()),
                ..Outcome::success(&response)
            }
        }
        Ok(response) => response.refusal().into(),
        Err(failure) => failure.into(),
    };
    outcome.after(request.sent)
}
