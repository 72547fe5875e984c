//! Payloads compared with what an ODS has: what a send would do, before it does it.

mod collection;
mod told;

use std::sync::Arc;

use polars::prelude::*;

use self::collection::{Collection, Told, collections};
use self::told::{Compared, Comparison};
use super::input::Keys as KeyColumn;
use super::options::BatchOptions;
use super::result;
use super::side_by_side::{in_order, side_by_side};
use super::validate::ValidateOptions;
use super::validate::rows::Batch;
use crate::client::EdFiClient;
use crate::{Error, Result, runtime};

/// The options of [`EdFiClient::compare`].
#[derive(Debug, Clone)]
pub struct CompareOptions {
    /// Columns, workers and the like; each frame names its endpoint itself.
    pub batch: BatchOptions,
    /// The column of payloads: String (JSON) or Struct.
    pub payload_col: String,
    /// Which columns hold the natural key: body path or parameter, and column. Empty: the key is
    /// taken out of the payload, as the ODS's OpenAPI document says.
    pub key_cols: Vec<(String, String)>,
    /// Whether items that no row names are told. A row that is an error, or left out for its status,
    /// names none; a frame without rows names no ODS.
    pub extra: bool,
    /// Whether Struct payloads keep `id`, `_etag`, `_lastModifiedDate` and links.
    pub keep_server_fields: bool,
}

impl Default for CompareOptions {
    fn default() -> Self {
        Self {
            batch: BatchOptions::default(),
            payload_col: "payload".into(),
            key_cols: Vec::new(),
            extra: false,
            keep_server_fields: false,
        }
    }
}

impl EdFiClient {
    /// Compares payloads with the ODS's own records: what a send would do.
    ///
    /// `frames` are endpoints with their payloads. Returns one row for each of theirs that takes
    /// part, in their order: `endpoint` (String), `row_index` (IdxSize), `row_id` (as in
    /// `row_id_col`; String where frames differ), `id` (String: of the item there), `status`
    /// (`"new"`, `"same"`, `"changed"`, `"error"`), `changes` (List(Struct: `path`, `ours`,
    /// `theirs`: String, JSON; null where absent); of an error the path says why). With
    /// [`extra`](CompareOptions::extra) the items that no row names follow the rows of their
    /// endpoint: status `"extra"`, a null `row_index`.
    ///
    /// A POST replaces the whole item: what the server has and the payload leaves out is a change,
    /// with a null `ours`. What the server writes itself, links, and names that its document does
    /// not know are none; absent, null and an empty list are one; numbers and dates are compared by
    /// value, descriptors in any case, lists as sets of elements. Each collection is read once by
    /// each client that rows bring, since one need not see what another one does, or asked by key
    /// where that takes fewer requests.
    ///
    /// # Errors
    /// Wrong options, a column that is missing or of a wrong type: all before anything is sent.
    /// [`Error::Interrupted`] where the call is cancelled.
    pub async fn compare(
        &self,
        frames: &[(String, DataFrame)],
        options: &CompareOptions,
    ) -> Result<DataFrame> {
        let comparison = self.compared(frames, options).await?;
        let (frames, row_id_col) = (frames.to_vec(), options.batch.row_id_col.clone());
        let frame = runtime::compute(move || comparison.frame(&frames, row_id_col.as_deref()));
        let control = &options.batch.control;
        Ok(result::finish(control, result::STATUS_NAME, frame.await??))
    }

    /// The same as values; whoever does not want them any more need not wait for them.
    pub(crate) async fn compared(
        &self,
        frames: &[(String, DataFrame)],
        options: &CompareOptions,
    ) -> Result<Comparison> {
        let cancellation = &options.batch.control.cancellation;
        let compared = cancellation.unless_cancelled(Box::pin(self.beside(frames, options)));
        compared.await.unwrap_or(Err(Error::Interrupted))
    }

    async fn beside(
        &self,
        frames: &[(String, DataFrame)],
        options: &CompareOptions,
    ) -> Result<Comparison> {
        let read = ValidateOptions {
            batch: options.batch.clone(),
            payload_col: options.payload_col.clone(),
            keep_server_fields: options.keep_server_fields,
            ..ValidateOptions::default()
        };
        let key_cols = frames.iter().map(|(_, df)| {
            let columns = options.key_cols.iter();
            let columns = columns.map(|(_, name)| KeyColumn::required(df, "key_cols", name));
            columns.collect::<Result<Vec<_>>>()
        });
        let key_cols = Arc::new(key_cols.collect::<Result<Vec<_>>>()?);
        let batch = {
            let (client, frames) = (self.clone(), frames.to_vec());
            runtime::compute(move || Batch::new(&client, &frames, &read)).await??
        };
        let batch = Arc::new(batch.described().await);
        let mut of_odss: Vec<Vec<Collection>> = batch.sources.iter().map(|_| Vec::new()).collect();
        for collection in collections(&batch, options, &key_cols) {
            of_odss[collection.ods].push(collection);
        }
        let compare = |collections: Vec<Collection>| async move {
            let mut told = Vec::with_capacity(collections.len());
            for collection in collections {
                // On the heap: there are as many of them as workers.
                told.push(Box::pin(collection.compare()).await?);
            }
            Ok::<Vec<Told>, Error>(told)
        };
        let told = side_by_side(&batch.requests, options.batch.workers, of_odss, compare);
        let mut rows: Vec<Compared> = (0..batch.len()).map(|_| Compared::New).collect();
        let mut extra = Vec::new();
        for told in in_order(told)
            .await
            .into_iter()
            .collect::<Result<Vec<_>>>()?
        {
            for (compared, others) in told {
                for (row, compared) in compared {
                    rows[row] = compared;
                }
                extra.extend(others);
            }
        }
        for finding in &batch.findings {
            if let (Some(row), Compared::New) = (finding.row, &rows[finding.row.unwrap_or(0)]) {
                rows[row] = Compared::Error(finding.detail.clone());
            }
        }
        extra.sort_by_key(|(frame, _)| *frame);
        Ok(Comparison { batch, rows, extra })
    }
}
