//! Payloads checked before they are sent: by the documents, and by what the ODS and the batch have.
//!
//! | file | |
//! |---|---|
//! | `options` | the rules, and how a call is set up |
//! | `rows` | the rows of all frames, by the ODS that they are for |
//! | `collect` | the first pass: what is wrong by the documents, and what rows refer to |
//! | `known` | which of that an ODS has: each collection read once, or asked by key |
//! | `resolve` | the second pass: what neither the ODS nor the batch has |
//! | `finding` | findings, and the frame of them |

mod collect;
mod finding;
pub(super) mod known;
mod options;
mod resolve;
pub(super) mod rows;

use std::collections::HashMap;
use std::sync::Arc;

use polars::prelude::DataFrame;

pub(super) use self::collect::{Keys, digest, values_of, written};
use self::finding::Findings;
pub use self::options::{Rule, ValidateOptions};
use self::rows::Batch;
use super::post::PostOptions;
use super::result;
use crate::client::EdFiClient;
use crate::{Error, Failure, Result, runtime};

impl EdFiClient {
    /// Checks payloads before they are sent: all findings of all rows.
    ///
    /// `frames` are endpoints with their payloads, String (JSON) or Struct. Returns one row for
    /// each finding, in the order of frames and rows: `endpoint` (String), `row_index` (IdxSize),
    /// `row_id` (as in `row_id_col`; String where frames differ), `severity` (`"error"`,
    /// `"warning"`), `rule` (`"schema"`, `"keys"`, `"descriptors"`, `"references"`), `path`
    /// (`$.scoreResults[2].result`), `detail` (String). What could not be checked at all, such as a
    /// collection that these credentials must not read, is a warning with a null `row_index`.
    ///
    /// Nothing is written. The ODS's documents are fetched, and what rows refer to is looked for:
    /// each collection is read once at most, its key columns only, or asked by key where that takes
    /// fewer requests. Items that rows of the same call bring count as there, unless these rows
    /// have errors themselves. What counts is what a row's own credentials see.
    ///
    /// # Errors
    /// Wrong options, a column that is missing or of a wrong type: all before anything is sent.
    /// [`Error::Interrupted`] where the call is cancelled.
    pub async fn validate(
        &self,
        frames: &[(String, DataFrame)],
        options: &ValidateOptions,
    ) -> Result<DataFrame> {
        let findings = self.findings(frames, options, false).await?;
        let (frames, row_id_col) = (frames.to_vec(), options.batch.row_id_col.clone());
        let frame = runtime::compute(move || findings.frame(&frames, row_id_col.as_deref()));
        let control = &options.batch.control;
        Ok(result::finish(control, result::STATUS_NAME, frame.await??))
    }

    /// The findings; whoever does not want them any more need not wait for them.
    async fn findings(
        &self,
        frames: &[(String, DataFrame)],
        options: &ValidateOptions,
        replaces: bool,
    ) -> Result<Findings> {
        let cancellation = &options.batch.control.cancellation;
        let found = cancellation.unless_cancelled(Box::pin(self.find(frames, options, replaces)));
        found.await.unwrap_or(Err(Error::Interrupted))
    }

    async fn find(
        &self,
        frames: &[(String, DataFrame)],
        options: &ValidateOptions,
        replaces: bool,
    ) -> Result<Findings> {
        let mut batch = {
            let (client, frames, options) = (self.clone(), frames.to_vec(), options.clone());
            runtime::compute(move || Batch::new(&client, &frames, &options)).await??
        };
        batch.replaces = replaces;
        let batch = Arc::new(batch.described().await);
        let collected = {
            let batch = batch.clone();
            runtime::compute(move || collect::collect(&batch)).await?
        };
        let open = known::missing(&batch, &collected.needs).await;
        runtime::compute(move || resolve::resolve(&batch, collected, open)).await
    }

    /// Why rows of a batch of posts, or of puts, should not be sent: those with errors, by their
    /// place.
    pub(crate) async fn invalid_rows(
        &self,
        df: &DataFrame,
        payload_col: &str,
        post: &PostOptions,
        replaces: bool,
    ) -> Result<HashMap<usize, Failure>> {
        let endpoint = self.endpoint_or(post.batch.endpoint.as_deref())?;
        let options = ValidateOptions {
            batch: post.batch.clone(),
            payload_col: payload_col.to_owned(),
            keep_server_fields: post.keep_server_fields,
            ..ValidateOptions::default()
        };
        let frames = [(endpoint, df.clone())];
        let mut all = self.invalid_rows_of(&frames, &options, replaces).await?;
        Ok(all.pop().unwrap_or_default())
    }

    /// The same for several frames, by their places.
    pub(crate) async fn invalid_rows_of(
        &self,
        frames: &[(String, DataFrame)],
        options: &ValidateOptions,
        replaces: bool,
    ) -> Result<Vec<HashMap<usize, Failure>>> {
        match self.findings(frames, options, replaces).await {
            Ok(findings) => Ok(findings.failures(frames.len())),
            // Nothing is sent any more.
            Err(Error::Interrupted) => Ok(vec![HashMap::new(); frames.len()]),
            Err(error) => Err(error),
        }
    }
}
