//! Which rows stay here: wrong ones, and those that the ODS has as they are.

use std::collections::{HashMap, HashSet};

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

/// What is known of the rows of a frame before anything is sent.
#[derive(Clone, Default)]
pub(super) struct Known {
    /// What became of those that stay here.
    pub(super) outcomes: HashMap<usize, Outcome>,
    /// Those that the ODS does not have as they are, whatever a journal says.
    pub(super) differing: HashSet<usize>,
}

impl Known {
    /// What became of a row that the ODS has as it is.
    pub(super) fn same(&self, row: usize) -> Option<&Outcome> {
        let known = self.outcomes.get(&row);
        known.filter(|outcome| outcome.status.is_none())
    }
}

impl EdFiClient {
    /// All frames, read to their ends, and by frame what is known of their rows.
    pub(super) async fn known(
        &self,
        frames: Vec<ResourceFrame>,
        payload_col: &str,
        post: &PostOptions,
        skip_same: bool,
    ) -> Result<(Vec<ResourceFrame>, Vec<Known>)> {
        let whole = frames.into_iter().map(ResourceFrame::read).collect();
        let whole: Result<Vec<(String, DataFrame)>> = runtime::compute(move || whole).await?;
        let frames = whole?;
        let mut known = vec![Known::default(); frames.len()];
        if post.validate {
            let options = ValidateOptions {
                batch: post.batch.clone(),
                payload_col: payload_col.to_owned(),
                keep_server_fields: post.keep_server_fields,
                ..ValidateOptions::default()
            };
            let invalid = self.invalid_rows_of(&frames, &options, false).await?;
            for (known, invalid) in known.iter_mut().zip(invalid) {
                let rows = invalid.into_iter();
                let rows = rows.map(|(row, failure)| (row, Outcome::from(failure)));
                known.outcomes.extend(rows);
            }
        }
        if skip_same {
            let options = CompareOptions {
                batch: post.batch.clone(),
                payload_col: payload_col.to_owned(),
                keep_server_fields: post.keep_server_fields,
                ..CompareOptions::default()
            };
            let compared = match self.compared(&frames, &options).await {
                Ok(compared) => compared
                    .same()
                    .into_iter()
                    .zip(compared.differing())
                    .collect(),
                // Nothing is sent any more.
                Err(Error::Interrupted) => Vec::new(),
                Err(error) => return Err(error),
            };
            for (known, (same, differing)) in known.iter_mut().zip(compared) {
                known.differing = differing;
                for (row, id) in same {
                    known.outcomes.entry(row).or_insert_with(|| Outcome {
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
