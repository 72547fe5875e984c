//! The rows of a batch as payloads that are posted, or that replace items.

use std::collections::HashMap;

use bytes::Bytes;
use polars::prelude::DataFrame;

use super::PostOptions;
use super::poster::{Condition, Poster};
use crate::client::EdFiClient;
use crate::client::session::{Access, CallContext};
use crate::frame::etags::Etags;
use crate::frame::input::Keys;
use crate::frame::journaled::Write;
use crate::frame::outcome::Outcome;
use crate::frame::payloads::Payloads;
use crate::frame::request::{Rows, check_id};
use crate::frame::run::RowOperation;
use crate::journal;
use crate::{Failure, Result};

/// The rows of one batch.
pub(super) struct Posts {
    pub(super) rows: Rows,
    payloads: Payloads,
    /// The items that are replaced; without, payloads are posted.
    ids: Option<Keys>,
    keys: Option<Keys>,
    etags: Etags,
    pub(super) order_by: Option<Keys>,
    poster: Poster,
    /// What is the matter with rows that were checked.
    pub(super) invalid: HashMap<usize, Failure>,
}

impl Posts {
    pub(super) fn new(
        client: &EdFiClient,
        df: &DataFrame,
        payload_col: &str,
        (ids, keys): (Option<Keys>, Option<Keys>),
        options: &PostOptions,
    ) -> Result<Self> {
        let order_by = match &options.order_by_col {
            Some(name) => Some(Keys::required(df, "order_by_col", name)?),
            None => None,
        };
        let payloads = match ids {
            Some(_) => Payloads::of_items(df, payload_col, options.keep_server_fields)?,
            None => Payloads::new(df, payload_col, options.keep_server_fields)?,
        };
        let etags = Etags::new(df, options.etag_col.as_deref())?;
        let rows = Rows::new(df, client, &options.batch)?;
        Ok(Self {
            poster: Poster::new(rows.context(), options)?,
            rows,
            payloads,
            ids,
            keys,
            etags,
            order_by,
            invalid: HashMap::new(),
        })
    }
}

/// What is sent for a row.
pub(super) struct Prepared {
    access: Access,
    payload: Bytes,
    to: Condition,
}

impl Posts {
    fn content(&self, row: usize) -> Result<(Bytes, Condition), Failure> {
        let mut to = Condition {
            id: None,
            if_match: self.etags.get(row)?,
        };
        let payload = match &self.ids {
            None => self.payloads.get(row)?,
            Some(ids) => {
                let id = ids.need(row)?;
                check_id(id)?;
                to.id = Some(id.to_owned());
                self.payloads.with_id(row, id)?
            }
        };
        match self.invalid.get(&row) {
            Some(failure) => Err(failure.clone()),
            None => Ok((payload, to)),
        }
    }
}

impl RowOperation for Posts {
    type Request = Prepared;
    type Outcome = Outcome;

    fn district(&self, row: usize) -> Option<&str> {
        self.rows.url(row)
    }

    fn prepare(&self, row: usize) -> Result<Prepared, Failure> {
        let access = self.rows.access(row)?;
        let (payload, to) = self.content(row)?;
        Ok(Prepared {
            access,
            payload,
            to,
        })
    }

    fn check(&self, row: usize) -> Result<(), Failure> {
        self.rows.check(row)?;
        self.content(row).map(drop)
    }

    async fn send(&self, prepared: Prepared) -> Outcome {
        let Prepared {
            access,
            payload,
            to,
        } = prepared;
        self.poster.write(&access, payload, to).await
    }
}

impl Write for Posts {
    fn method(&self) -> journal::Method {
        match self.ids {
            Some(_) => journal::Method::Put,
            None => journal::Method::Post,
        }
    }

    fn context(&self) -> &CallContext {
        &self.poster.context
    }

    fn endpoint(&self) -> &str {
        &self.poster.endpoint
    }

    fn api_version(&self, row: usize) -> Option<&str> {
        self.rows.api_version(row)
    }

    fn repeats(&self, _row: usize) -> bool {
        self.ids.is_some() || self.poster.options.retry_broken
    }

    fn key(&self, row: usize) -> Option<&str> {
        self.keys.as_ref()?.get(row)
    }

    fn id(&self, row: usize) -> Option<&str> {
        self.ids.as_ref()?.get(row)
    }

    fn written<'a>(&self, request: &'a Prepared) -> (&'a Access, &'a [u8]) {
        (&request.access, &request.payload)
    }
}
