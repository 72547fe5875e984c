//! The ids of items by their natural keys: asked for one by one, or read from the whole collection.
//!
//! | file | |
//! |---|---|
//! | `keys` | the key of each row, and which rows ask for the same one |
//! | `lookup` | one request for each key, and what its answer proves |
//! | `scan` | the whole collection by its keys |

mod keys;
mod lookup;
mod scan;

use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use polars::prelude::*;

use self::keys::{Asked, Group, KeySource};
use self::lookup::{Found, Lookups};
use super::options::BatchOptions;
use super::request::Rows;
use super::result::{self, Report};
use super::run::for_each_row;
use crate::choice::choice;
use crate::client::EdFiClient;
use crate::client::paging::{Paging, pages_by_offset};
use crate::client::permits::Permits;
use crate::client::session::CallContext;
use crate::{Failure, Result, runtime};

/// The result's column of what was found.
const ID: &str = "id";
/// The status of a row whose item is not there.
const MISSING: &str = "missing";
/// So few keys of one ODS are asked for without asking first how large the collection is.
const FEW: usize = 3;
/// Records a page, as a server gives them by default.
const PAGE: u64 = 500;
/// Pages of so few records are not worth the extra requests of page tokens.
const SHALLOW: u64 = 50_000;

/// How ids are looked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum How {
    /// Whichever takes fewer requests, for each ODS. Where a server ignores what it is asked and
    /// answers with something else, its collection is read.
    #[default]
    Auto,
    /// One request for each distinct key.
    Lookup,
    /// The whole collection, once.
    Scan,
}

choice!(How: "auto" => Auto, "lookup" => Lookup, "scan" => Scan);

/// The options of [`EdFiClient::batch_find_ids`].
#[derive(Debug, Clone, Default)]
pub struct FindIdsOptions {
    /// Columns, workers and the like.
    pub batch: BatchOptions,
    /// Parts of the key, by their path in a body or by the name of their query parameter, and the
    /// column that holds each. Parts that are not named are columns of the name of their path or
    /// parameter. With `payload_col`, the paths of the key alone, for ODSs whose documents do not
    /// tell it.
    pub key_cols: Vec<(String, String)>,
    /// A column of payloads, String or Struct, in which the keys stand.
    pub payload_col: Option<String>,
    /// How ids are looked for.
    pub how: How,
}

impl EdFiClient {
    /// Finds the id of each row's item by its natural key.
    ///
    /// The key of a resource is what the ODS's own OpenAPI document says: the query parameters that
    /// are flagged as its identity; of descriptors it is `namespace` and `codeValue`. Of values that
    /// a body has at several places (`schoolReference.schoolId`, `sessionReference.schoolId`) one
    /// is enough, and several must agree. A key that comes back must be the key that was asked
    /// for: numbers are compared by value, descriptors in any case, all else exactly.
    ///
    /// Returns one row per row that took part, in input order: `id` (String), `status` (String:
    /// null for an item that was found, `"missing"`, `"error"`), `message` (String), `http_status`
    /// (Int32), `correlation_id` (String), `row_index` (IdxSize), `row_id` (as in `row_id_col`).
    ///
    /// # Errors
    /// Wrong options; a column that is missing or of a wrong type; a key that neither a document
    /// nor `key_cols` tells: all before anything but metadata is asked for.
    pub async fn batch_find_ids(
        &self,
        df: &DataFrame,
        options: &FindIdsOptions,
    ) -> Result<DataFrame> {
        let (report, ids) = self.find_rows(df, options).await?;
        let row_id_col = options.batch.row_id_col.clone();
        let frame = runtime::compute(move || {
            let ids = ids.iter().map(Option::as_deref);
            let ids = StringChunked::from_iter_options(ID.into(), ids);
            let mut columns = vec![ids.into_column()];
            columns.extend(report.outcomes(result::ANSWER));
            columns.extend(report.places(row_id_col.as_deref())?);
            report.frame(columns)
        });
        let control = &options.batch.control;
        Ok(result::finish(control, result::STATUS_NAME, frame.await??))
    }

    /// What became of each row, and the id that was found.
    pub(crate) async fn find_rows(
        &self,
        df: &DataFrame,
        options: &FindIdsOptions,
    ) -> Result<(Report, Vec<Option<String>>)> {
        let batch = &options.batch;
        let endpoint = self.endpoint_or(batch.endpoint.as_deref())?;
        let keys = KeySource::new(df, options)?;
        let rows = Rows::new(df, self, batch)?;
        rows.check_complete(df)?;
        rows.tell_left_out();
        let context = Arc::new(rows.context());
        let requests = Permits::new(batch.workers);
        let active = rows.active.clone();
        let (asked, groups) =
            keys::ask(keys, rows, &context, &requests, &endpoint, options).await?;
        let finder = Finder {
            context,
            endpoint,
            requests,
            options,
            groups: groups.into(),
        };
        let answers = finder.find(&asked).await?;
        let (outcomes, ids) = active
            .iter()
            .map(|row| asked.answer(*row, &answers))
            .map(|found| (found.outcome, found.id))
            .unzip();
        let report = Report {
            df: df.clone(),
            rows: active,
            outcomes,
        };
        Ok((report, ids))
    }
}

/// Finds the keys of one call.
struct Finder<'a> {
    context: Arc<CallContext>,
    endpoint: String,
    requests: Permits,
    options: &'a FindIdsOptions,
    groups: Arc<[Group]>,
}

impl Finder<'_> {
    /// What was found for each key.
    async fn find(&self, asked: &Asked) -> Result<Vec<Found>> {
        let keys = &asked.keys;
        let mut counts = vec![0; self.groups.len()];
        keys.iter().for_each(|key| counts[key.group] += 1);
        let plans = self.plans(&counts).await?;
        let mut answers: Vec<Option<Found>> = vec![None; keys.len()];

        let looked_up: Vec<usize> = (0..keys.len())
            .filter(|key| plans[keys[*key].group] == Plan::Lookup)
            .collect();
        let is_final = self.options.how == How::Lookup;
        let (context, endpoint) = (self.context.clone(), self.endpoint.clone());
        let lookups = Lookups::new(
            context,
            endpoint,
            keys.clone(),
            self.groups.clone(),
            is_final,
        );
        let lookups = Arc::new(lookups);
        let (workers, control) = (self.options.batch.workers, &self.options.batch.control);
        let found = for_each_row(&lookups, &looked_up, None, workers, control, ()).await;
        for (key, found) in looked_up.into_iter().zip(found) {
            // Where one answer shows that the server does not look at keys, no other one says
            // what is missing.
            let is_open = lookups.are_ignored(keys[key].group) && !is_final;
            answers[key] = (!is_open || control.is_cancelled()).then_some(found);
        }
        self.scan_open(keys, &plans, &mut answers).await?;
        let answers = answers.into_iter();
        Ok(answers
            .map(|found| found.unwrap_or_else(|| Failure::not_sent().into()))
            .collect())
    }

    /// How the keys of each ODS are looked for, by their number.
    async fn plans(&self, counts: &[usize]) -> Result<Vec<Plan>> {
        let workers = self.options.batch.workers;
        let decide = async |(group, keys): (&Group, &usize)| -> Result<Plan> {
            let total = match self.options.how {
                How::Lookup => return Ok(Plan::Lookup),
                How::Scan => None,
                How::Auto if *keys <= FEW => return Ok(Plan::Lookup),
                How::Auto => {
                    let columns = self.columns(group, Paging::Auto)?;
                    // An ODS that does not count says what is the matter when it is asked for keys.
                    match columns.count(&group.access).await.ok().flatten() {
                        Some(total) if pages_by_offset(total, PAGE) < *keys as u64 => Some(total),
                        _ => return Ok(Plan::Lookup),
                    }
                }
            };
            Ok(Plan::Scan(total))
        };
        let decided: Vec<Result<Plan>> = stream::iter(self.groups.iter().zip(counts))
            .map(decide)
            .buffered(workers)
            .collect()
            .await;
        decided.into_iter().collect()
    }
}

/// How the keys of one ODS are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    Lookup,
    /// With the number of records, where it is known.
    Scan(Option<u64>),
}

impl Plan {
    /// How the collection is read, where it is.
    fn paging(self) -> Paging {
        match self {
            Self::Scan(Some(total)) if total <= SHALLOW => Paging::Offset,
            Self::Scan(_) | Self::Lookup => Paging::Auto,
        }
    }
}
