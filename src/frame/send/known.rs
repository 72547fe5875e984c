//! Which rows stay here: wrong ones, and those that the ODS has as they are.

use std::collections::HashMap;

use polars::prelude::DataFrame;

use super::frames::ResourceFrame;
use crate::client::EdFiClient;
use crate::frame::compare::CompareOptions;
use crate::frame::outcome::Outcome;
use crate::frame::post::PostOptions;
use crate::frame::validate::ValidateOptions;
use crate::{Error, Result, runtime};

/// The message of a row that the ODS has as it is.
const SAME: &str = "same";

impl EdFiClient {
    /// All frames, read to their ends, and by frame what is known of their rows.
    pub(super) async fn known(
        &self,
        frames: Vec<ResourceFrame>,
        payload_col: &str,
        post: &PostOptions,
        skip_same: bool,
    ) -> Result<(Vec<ResourceFrame>, Vec<HashMap<usize, Outcome>>)> {
        let whole = frames.into_iter().map(ResourceFrame::read).collect();
        let whole: Result<Vec<(String, DataFrame)>> = runtime::compute(move || whole).await?;
        let frames = whole?;
        let mut known = vec![HashMap::new(); frames.len()];
        if post.validate {
            let options = ValidateOptions {
                batch: post.batch.clone(),
                payload_col: payload_col.to_owned(),
                keep_server_fields: post.keep_server_fields,
                ..ValidateOptions::default()
            };
            let invalid = self.invalid_rows_of(&frames, &options).await?;
            for (known, invalid) in known.iter_mut().zip(invalid) {
                let rows = invalid.into_iter();
                known.extend(rows.map(|(row, failure)| (row, Outcome::from(failure))));
            }
        }
        if skip_same {
            let options = CompareOptions {
                batch: post.batch.clone(),
                payload_col: payload_col.to_owned(),
                keep_server_fields: post.keep_server_fields,
                ..CompareOptions::default()
            };
            let same = match self.compared(&frames, &options).await {
                Ok(compared) => compared.same(),
                // Nothing is sent any more.
                Err(Error::Interrupted) => Vec::new(),
                Err(error) => return Err(error),
            };
            for (known, same) in known.iter_mut().zip(same) {
                for (row, id) in same {
                    known.entry(row).or_insert_with(|| Outcome {
                        message: Some(SAME.into()),
                        resource_id: id,
                        ..Outcome::default()
                    });
                }
            }
        }
        let frames = frames.into_iter();
        let frames = frames.map(|(endpoint, df)| ResourceFrame::new(endpoint, df));
        Ok((frames.collect(), known))
    }
}
