//! The rows of all frames of a call, by the ODS that they are for.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use polars::prelude::DataFrame;

use super::finding::Finding;
use super::options::{Rule, ValidateOptions};
use crate::client::EdFiClient;
use crate::client::metadata::Metadata;
use crate::client::permits::Permits;
use crate::client::session::{Access, Account, CallContext, MOST_ACCOUNTS, Site};
use crate::client::urls;
use crate::frame::payloads::Payloads;
use crate::frame::request::Rows;
use crate::frame::side_by_side::{in_order, side_by_side};
use crate::openapi::validate::Model;
use crate::{Failure, Result, runtime};

/// So many rows are worked at in one piece.
const PIECE: usize = 2048;

/// All rows of a call.
pub(in crate::frame) struct Batch {
    pub(in crate::frame) context: Arc<CallContext>,
    /// Those of all requests.
    pub(in crate::frame) requests: Permits,
    pub(in crate::frame) options: ValidateOptions,
    pub(in crate::frame) frames: Vec<Frame>,
    pub(in crate::frame) sources: Vec<Ods>,
    /// Whether payloads replace items, whose ids they may hold.
    pub(super) replaces: bool,
    /// What was found before any payload was looked at.
    pub(in crate::frame) findings: Vec<Finding>,
}

/// One endpoint and its rows.
pub(in crate::frame) struct Frame {
    pub(in crate::frame) endpoint: String,
    pub(in crate::frame) payloads: Payloads,
    /// The rows that take part.
    pub(in crate::frame) active: Vec<usize>,
    /// The number of the first of them among the rows of all frames.
    pub(in crate::frame) first: usize,
}

/// One ODS, and which rows are for it.
pub(in crate::frame) struct Ods {
    /// Whose rows they are: what one account sees of an ODS, another one need not see.
    pub(in crate::frame) accounts: Vec<Seen>,
    /// What its documents say; `None` where it serves none.
    pub(in crate::frame) model: Option<Arc<Model>>,
}

/// The rows that see an ODS with the same eyes.
pub(in crate::frame) struct Seen {
    pub(in crate::frame) access: Access,
    /// By frame, the places among its active rows.
    pub(in crate::frame) rows: Vec<Vec<u32>>,
}

/// Some rows of one frame for one ODS.
pub(in crate::frame) struct Piece<'b> {
    pub(in crate::frame) ods: usize,
    pub(in crate::frame) account: usize,
    pub(in crate::frame) frame: usize,
    pub(in crate::frame) places: &'b [u32],
}

impl Batch {
    pub(in crate::frame) fn new(
        client: &EdFiClient,
        frames: &[(String, DataFrame)],
        options: &ValidateOptions,
    ) -> Result<Self> {
        options.check()?;
        // The progress of a call is that of what it sends.
        let mut watched = options.batch.clone();
        watched.control = watched.control.without_progress();
        let mut batch = Self {
            context: Arc::new(client.default_context(&watched)),
            requests: Permits::new(options.batch.workers),
            options: options.clone(),
            frames: Vec::new(),
            sources: Vec::new(),
            replaces: false,
            findings: Vec::new(),
        };
        let mut sites: HashMap<Site, usize> = HashMap::new();
        let mut accounts: HashMap<Account, [usize; 2]> = HashMap::new();
        let mut first = 0;
        for (number, (endpoint, df)) in frames.iter().enumerate() {
            let endpoint = client.endpoint_or(Some(endpoint))?;
            let rows = Rows::new(df, client, &options.batch)?;
            let payloads = Payloads::new(df, &options.payload_col, options.keep_server_fields)?;
            rows.check_complete(df)?;
            rows.tell_left_out();
            for (place, row) in rows.active.iter().enumerate() {
                let access = match rows.access(*row) {
                    Ok(access) => access,
                    Err(failure) => {
                        let finding = Finding::error(Rule::Schema, "$", failure.message);
                        batch.findings.push(finding.of(number, first + place));
                        continue;
                    }
                };
                let [ods, account] = *accounts.entry(access.account()).or_insert_with(|| {
                    let ods = *sites.entry(access.site()).or_insert(batch.sources.len());
                    if ods == batch.sources.len() {
                        let (accounts, model) = (Vec::new(), None);
                        batch.sources.push(Ods { accounts, model });
                    }
                    let rows = vec![Vec::new(); frames.len()];
                    let accounts = &mut batch.sources[ods].accounts;
                    accounts.push(Seen { access, rows });
                    [ods, accounts.len() - 1]
                });
                let rows = &mut batch.sources[ods].accounts[account].rows;
                rows[number].push(place as u32);
            }
            let active = rows.active;
            let count = active.len();
            batch.frames.push(Frame {
                endpoint,
                payloads,
                active,
                first,
            });
            first += count;
        }
        Ok(batch)
    }

    /// The same with what the documents of each ODS say.
    pub(in crate::frame) async fn described(mut self) -> Self {
        let workers = self.options.batch.workers;
        let (context, requests) = (self.context.clone(), self.requests.clone());
        let documents = |accesses: Vec<Access>| {
            let (context, requests) = (&context, &requests);
            async move {
                let mut documents = Err(Failure::not_sent());
                for access in &accesses {
                    let metadata = Metadata::of(context, access).limited(requests);
                    documents = metadata.documents().await;
                    if !documents.as_ref().is_err_and(Failure::is_of_account) {
                        break;
                    }
                }
                documents
            }
        };
        let sources = self.sources.iter();
        let accesses = sources.map(|ods| {
            let accounts = ods.accounts.iter().take(MOST_ACCOUNTS);
            accounts.map(|account| account.access.clone()).collect()
        });
        let accesses: Vec<Vec<Access>> = accesses.collect();
        let documents = in_order(side_by_side(&requests, workers, accesses, documents)).await;
        // Most districts have the same documents.
        let mut models: Vec<(Vec<usize>, Arc<Model>)> = Vec::new();
        for (number, documents) in documents.into_iter().enumerate() {
            match documents {
                Ok(Some(documents)) => {
                    let addresses = documents
                        .iter()
                        .map(|document| Arc::as_ptr(document).addr());
                    let identity: Vec<usize> = addresses.collect();
                    let known = models.iter().find(|(known, _)| *known == identity);
                    let model = match known {
                        Some((_, model)) => Ok(model.clone()),
                        None => runtime::compute(move || Arc::new(Model::new(documents))).await,
                    };
                    if let Ok(model) = model {
                        models.push((identity, model.clone()));
                        self.sources[number].model = Some(model);
                    }
                }
                Ok(None) => self.unchecked(number, "it serves no OpenAPI metadata", false),
                Err(failure) => self.unchecked(number, &failure.message, true),
            }
        }
        self.find_unknown_endpoints();
        self
    }

    /// Says of an ODS that its rows were not checked; `failed` where they might have been.
    fn unchecked(&mut self, ods: usize, why: &str, failed: bool) {
        let source = &self.sources[ods];
        let detail = format!("{} was not checked against: {why}", source.shown());
        for (frame, of_frame) in self.frames.iter().enumerate() {
            if failed {
                let places = source.accounts.iter().flat_map(|seen| &seen.rows[frame]);
                self.findings.extend(places.map(|place| {
                    let finding = Finding::error(Rule::Schema, "$", detail.clone());
                    finding.of(frame, of_frame.first + *place as usize)
                }));
            } else if source.has_rows(frame) {
                self.findings
                    .push(Finding::unchecked(frame, Rule::Schema, detail.clone()));
            }
        }
    }

    fn find_unknown_endpoints(&mut self) {
        for ods in &self.sources {
            let Some(model) = &ods.model else { continue };
            for (number, frame) in self.frames.iter().enumerate() {
                if ods.has_rows(number) && model.resource(&frame.endpoint).is_none() {
                    let detail = format!(
                        "the documents of {} do not describe what {} takes: nothing was checked",
                        ods.shown(),
                        frame.endpoint
                    );
                    self.findings
                        .push(Finding::unchecked(number, Rule::Schema, detail));
                }
            }
        }
    }

    /// How many rows there are, those of all frames together.
    pub(in crate::frame) fn len(&self) -> usize {
        let last = self.frames.last();
        last.map_or(0, |frame| frame.first + frame.active.len())
    }

    /// All rows in pieces.
    pub(in crate::frame) fn pieces(&self) -> Vec<Piece<'_>> {
        let mut pieces = Vec::new();
        for (ods, source) in self.sources.iter().enumerate() {
            for (account, seen) in source.accounts.iter().enumerate() {
                for (frame, places) in seen.rows.iter().enumerate() {
                    let parts = places.chunks(PIECE);
                    pieces.extend(parts.map(|places| Piece {
                        ods,
                        account,
                        frame,
                        places,
                    }));
                }
            }
        }
        pieces
    }
}

impl Ods {
    pub(in crate::frame) fn has_rows(&self, frame: usize) -> bool {
        self.accounts
            .iter()
            .any(|seen| !seen.rows[frame].is_empty())
    }

    /// How it is named to people.
    fn shown(&self) -> String {
        urls::shown(self.accounts[0].access.base.as_url())
    }
}

impl Frame {
    /// The payload at a place, which need not be JSON, or why there is none.
    pub(in crate::frame) fn payload(&self, place: u32) -> Result<Cow<'_, [u8]>, Failure> {
        self.payloads.unread(self.active[place as usize])
    }
}
