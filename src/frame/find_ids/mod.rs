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

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use polars::prelude::*;

use self::keys::{Asked, Group, KeySource, SiteRows, Unknown};
use self::lookup::{Found, Lookups};
use super::options::BatchOptions;
use super::request::Rows;
use super::result::{self, Outcomes, Report};
use super::run::{Workers, chains, for_each_chain};
use super::side_by_side::{in_order, side_by_side};
use crate::choice::choice;
use crate::client::EdFiClient;
use crate::client::paging::{Paging, pages_by_offset};
use crate::client::permits::Permits;
use crate::client::session::CallContext;
use crate::{Error, Failure, Result, runtime};

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
        let active = rows.active.clone();
        let finder = &Finder {
            context: Arc::new(rows.context()),
            source: Arc::new(keys),
            endpoint,
            requests: Permits::new(batch.workers),
            options,
        };
        batch.control.progress.begin(0);
        let (sites, wrong) = keys::by_site(rows).await?;
        let find = |rows: SiteRows| async move { Box::pin(finder.find_rows(rows)).await };
        let found = side_by_side(&finder.requests, batch.workers, sites, find);
        let mut answers: HashMap<usize, Found> = HashMap::with_capacity(active.len());
        answers.extend(
            wrong
                .into_iter()
                .map(|(row, failure)| (row, failure.into())),
        );
        let mut wrong: Option<Error> = None;
        let mut is_right = false;
        for found in in_order(found).await {
            let found = found?;
            is_right |= found.is_known;
            wrong = wrong.or(found.wrong);
            answers.extend(found.rows);
        }
        // What is wrong for every ODS whose key is known is wrong with the call.
        if let (Some(error), false) = (wrong, is_right) {
            return Err(error);
        }
        let mut answer = |row: &usize| answers.remove(row);
        let (outcomes, ids) = active
            .iter()
            .map(|row| answer(row).unwrap_or_else(|| Failure::not_sent().into()))
            .map(|found| (found.outcome, found.id))
            .unzip();
        let report = Report {
            df: df.clone(),
            rows: active,
            outcomes: Outcomes::Sent(outcomes),
        };
        Ok((report, ids))
    }
}

/// Finds the keys of one call.
struct Finder<'a> {
    context: Arc<CallContext>,
    source: Arc<KeySource>,
    endpoint: String,
    requests: Permits,
    options: &'a FindIdsOptions,
}

/// What became of the rows of one ODS.
struct OfSite {
    rows: Vec<(usize, Found)>,
    /// Whether it was known what their keys are.
    is_known: bool,
    /// What is wrong with the call, if it is so for every ODS.
    wrong: Option<Error>,
}

impl Finder<'_> {
    /// What was found for each row of one ODS.
    async fn find_rows(&self, rows: SiteRows) -> Result<OfSite> {
        let places: Vec<usize> = rows.iter().map(|(row, _)| *row).collect();
        let paths = self.options.key_cols.iter();
        let paths: Vec<&str> = paths.map(|(part, _)| &**part).collect();
        let (source, context) = (self.source.clone(), &self.context);
        let asked = keys::ask(
            source,
            rows,
            context,
            &self.requests,
            &self.endpoint,
            &paths,
        );
        let (failure, wrong) = match asked.await? {
            Ok((asked, groups)) => {
                let found = self.find(&asked, &groups.into()).await?;
                return Ok(OfSite {
                    rows: asked.answers(&found),
                    is_known: true,
                    wrong: None,
                });
            }
            Err(Unknown::Failed(failure)) => (failure, None),
            Err(Unknown::Wrong(error)) => (Failure::new(error.to_string()), Some(error)),
        };
        let rows = places.into_iter().map(|row| (row, failure.clone().into()));
        Ok(OfSite {
            rows: rows.collect(),
            is_known: false,
            wrong,
        })
    }

    /// What was found for each key of one ODS.
    async fn find(&self, asked: &Asked, groups: &Arc<[Group]>) -> Result<Vec<Found>> {
        let keys = &asked.keys;
        let mut counts = vec![0; groups.len()];
        keys.iter().for_each(|key| counts[key.group] += 1);
        let plans = self.plans(groups, &counts).await?;
        let mut answers: Vec<Option<Found>> = vec![None; keys.len()];

        let looked_up: Vec<usize> = (0..keys.len())
            .filter(|key| plans[keys[*key].group] == Plan::Lookup)
            .collect();
        let is_final = self.options.how == How::Lookup;
        let lookups = Arc::new(Lookups::new(
            self.context.clone(),
            self.endpoint.clone(),
            keys.clone(),
            groups.clone(),
            is_final,
        ));
        let control = &self.options.batch.control;
        control.progress.add_total(looked_up.len());
        let workers = Workers::sharing(self.options.batch.workers, &self.requests);
        let chains = chains(&looked_up, None, |_| None::<()>);
        let found = for_each_chain(&lookups, chains, &workers, control, ()).await;
        for (key, (_, found)) in looked_up.into_iter().zip(found) {
            // Where one answer shows that the server does not look at keys, no other one says
            // what is missing.
            let is_open = lookups.are_ignored(keys[key].group) && !is_final;
            answers[key] = (!is_open || control.is_cancelled()).then_some(found);
        }
        self.scan_open(groups, keys, &plans, &mut answers).await?;
        let answers = answers.into_iter();
        Ok(answers
            .map(|found| found.unwrap_or_else(|| Failure::not_sent().into()))
            .collect())
    }

    /// How the keys of each account are looked for, by their number.
    async fn plans(&self, groups: &[Group], counts: &[usize]) -> Result<Vec<Plan>> {
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
        let decided: Vec<Result<Plan>> = stream::iter(groups.iter().zip(counts))
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
