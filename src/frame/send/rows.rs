//! Rows as requests: payloads that are posted, items that are deleted.

use std::sync::Arc;

use bytes::Bytes;
use polars::prelude::DataFrame;

use super::Job;
use super::answers::{self, Meaning};
use crate::client::session::{Access, CallContext};
use crate::frame::delete::delete;
use crate::frame::input::Keys;
use crate::frame::journaled::{Told, Write};
use crate::frame::outcome::Outcome;
use crate::frame::payloads::Payloads;
use crate::frame::post::{PostOptions, Poster};
use crate::frame::request::{Rows, check_id};
use crate::frame::run::RowOperation;
use crate::journal;
use crate::{Failure, Result};

/// What is done with each row.
pub(super) enum Verb {
    Post {
        payload_col: String,
        options: Box<PostOptions>,
        /// One for each frame.
        posters: Vec<Poster>,
    },
    Delete {
        id_col: String,
    },
}

/// What is sent for a row.
pub(super) enum Content {
    Payload(Bytes),
    Id(String),
}

/// Rows of one frame that were read together.
pub(super) struct Part {
    pub(super) frame: usize,
    pub(super) rows: Rows,
    cells: Cells,
    order_by: Option<Keys>,
    keys: Option<Keys>,
    /// The place of the first row that takes part among all of its frame, and which rows do.
    first: usize,
}

enum Cells {
    Payloads(Payloads),
    Ids(Keys),
}

impl Part {
    /// Finds the columns, and checks their types.
    pub(super) fn new(job: &Job, frame: usize, df: &DataFrame, first: usize) -> Result<Self> {
        let (cells, order_by) = match &job.verb {
            Verb::Post {
                payload_col,
                options,
                ..
            } => {
                let order_by = options.order_by_col.as_deref();
                let order_by = order_by.map(|name| Keys::required(df, "order_by_col", name));
                let payloads = Payloads::new(df, payload_col, options.keep_server_fields)?;
                (Cells::Payloads(payloads), order_by.transpose()?)
            }
            Verb::Delete { id_col, .. } => {
                let ids = Keys::required(df, "id_col", id_col)?;
                (Cells::Ids(ids), None)
            }
        };
        let keys = job.key_col.as_deref();
        let keys = keys.map(|name| Keys::required(df, "key_col", name));
        Ok(Self {
            frame,
            keys: keys.transpose()?,
            rows: Rows::new(df, &job.client, &job.batch)?,
            cells,
            order_by,
            first,
        })
    }

    /// The place of a row in the result of its frame.
    pub(super) fn slot(&self, row: usize) -> usize {
        // Rows that take part stand in their order; without others the row is the place.
        let active = &self.rows.active;
        let place = match active.get(row) {
            Some(same) if *same == row => row,
            _ => active.partition_point(|active| *active < row),
        };
        self.first + place
    }

    fn content(&self, row: usize) -> Result<Content, Failure> {
        match &self.cells {
            Cells::Payloads(payloads) => payloads.get(row).map(Content::Payload),
            Cells::Ids(ids) => Ok(Content::Id(ids.need(row)?.to_owned())),
        }
    }

    /// What is the matter with a row that is not to be sent.
    pub(super) fn check(&self, row: usize) -> Result<(), Failure> {
        self.rows.check(row)?;
        match self.content(row)? {
            Content::Payload(_) => Ok(()),
            Content::Id(id) => check_id(&id),
        }
    }

    /// What rows have in common that must go one after another; `identify` tells the item of a
    /// payload.
    pub(super) fn chain_key(
        &self,
        row: usize,
        identify: impl Fn(&[u8]) -> Option<String>,
    ) -> Option<String> {
        if let Some(order_by) = &self.order_by {
            return order_by.get(row).map(str::to_owned);
        }
        match self.content(row).ok()? {
            Content::Payload(payload) => identify(&payload),
            Content::Id(id) => Some(id),
        }
    }
}

/// Rows of one frame and one ODS that are sent now.
pub(super) struct Pass {
    pub(super) job: Arc<Job>,
    pub(super) frame: usize,
    pub(super) rows: Vec<PassRow>,
    /// Whether nothing will be sent again.
    pub(super) is_last: bool,
}

pub(super) struct PassRow {
    pub(super) part: Arc<Part>,
    pub(super) row: usize,
    /// Whether it was sent once more already because nobody might see the item.
    pub(super) was_unauthorized: bool,
    /// Whether it will be sent again if it is not resolvable yet.
    pub(super) has_next: bool,
}

impl Pass {
    pub(super) fn meaning(&self, outcome: &Outcome) -> Meaning {
        match &self.job.verb {
            Verb::Post { .. } => answers::of_post(&self.job.endpoints[self.frame], outcome),
            Verb::Delete { .. } => answers::of_delete(outcome),
        }
    }
}

impl RowOperation for Pass {
    type Request = (Access, Content);
    type Outcome = Outcome;

    fn district(&self, row: usize) -> Option<&str> {
        let PassRow { part, row, .. } = &self.rows[row];
        part.rows.url(*row)
    }

    fn prepare(&self, row: usize) -> Result<(Access, Content), Failure> {
        self.job.check_stopped()?;
        let PassRow { part, row, .. } = &self.rows[row];
        Ok((part.rows.access(*row)?, part.content(*row)?))
    }

    fn waits(&self, row: usize, outcome: &Outcome) -> bool {
        match self.meaning(outcome) {
            _ if self.is_last => false,
            Meaning::Unresolved | Meaning::Referenced => self.rows[row].has_next,
            Meaning::Unauthorized => !self.rows[row].was_unauthorized,
            _ => false,
        }
    }

    async fn send(&self, (access, content): (Access, Content)) -> Outcome {
        let Job { context, verb, .. } = &*self.job;
        let endpoint = &self.job.endpoints[self.frame];
        match (verb, content) {
            (Verb::Post { posters, .. }, Content::Payload(payload)) => {
                let mut outcome = posters[self.frame].post(&access, payload).await;
                if self.meaning(&outcome) == Meaning::There {
                    outcome.status = None;
                }
                outcome
            }
            (_, Content::Id(id)) => {
                let (mut sent, mut retries) = (0, 0);
                loop {
                    let mut outcome = delete(context, &access, endpoint, (&id, None), true).await;
                    sent += outcome.attempts;
                    outcome.attempts = sent;
                    let again = self.meaning(&outcome) == Meaning::Passing;
                    if !again || !self.job.pause(retries).await {
                        return outcome;
                    }
                    retries += 1;
                }
            }
            (Verb::Delete { .. }, Content::Payload(_)) => Failure::new("no id").into(),
        }
    }
}

impl Write for Pass {
    fn method(&self) -> journal::Method {
        match &self.job.verb {
            Verb::Post { .. } => journal::Method::Post,
            Verb::Delete { .. } => journal::Method::Delete,
        }
    }

    fn context(&self) -> &CallContext {
        &self.job.context
    }

    fn endpoint(&self) -> &str {
        &self.job.endpoints[self.frame]
    }

    fn api_version(&self, row: usize) -> Option<&str> {
        let PassRow { part, row, .. } = &self.rows[row];
        part.rows.api_version(*row)
    }

    fn repeats(&self, row: usize) -> bool {
        match &self.job.verb {
            Verb::Post { options, .. } => options.retry_broken || self.is_stale(row),
            Verb::Delete { .. } => true,
        }
    }

    fn is_stale(&self, row: usize) -> bool {
        let known = self.job.known.get(self.frame);
        known.is_some_and(|known| known.differing.contains(&self.rows[row].row))
    }

    fn seen(&self, row: usize) -> Option<&Outcome> {
        self.job.known.get(self.frame)?.same(self.rows[row].row)
    }

    fn key(&self, row: usize) -> Option<&str> {
        let PassRow { part, row, .. } = &self.rows[row];
        part.keys.as_ref()?.get(*row)
    }

    fn id(&self, row: usize) -> Option<&str> {
        let PassRow { part, row, .. } = &self.rows[row];
        match &part.cells {
            Cells::Payloads(_) => None,
            Cells::Ids(ids) => ids.get(*row),
        }
    }

    fn written<'a>(&self, (access, content): &'a (Access, Content)) -> (&'a Access, &'a [u8]) {
        match content {
            Content::Payload(payload) => (access, payload),
            Content::Id(_) => (access, &[]),
        }
    }

    fn told(&self) -> Option<&Told> {
        Some(&self.job.told)
    }

    fn is_there(&self, outcome: &Outcome) -> bool {
        self.meaning(outcome) == Meaning::There
    }
}
