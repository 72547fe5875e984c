//! Every record of every district, as one flat frame.

use std::collections::HashMap;

use futures_util::stream::{self, StreamExt};
use polars::prelude::*;

use super::changes::{check_window, window_params};
use super::district::{Reader, Records};
use super::input::Keys;
use super::options::BatchOptions;
use super::request::Rows;
use crate::client::paging::{Collection, Paging};
use crate::client::session::{Access, CallContext};
use crate::client::{Control, EdFiClient};
use crate::columns::{self, Layout, Plan};
use crate::{Error, Failure, Result};

/// What every result of a batch read begins with, after the key.
const RESULT_COLUMNS: [&str; 4] = ["status", "message", "http_status", "correlation_id"];
/// Parameters that a call sets by itself.
const OWN_PARAMS: [&str; 5] = ["limit", "offset", "totalCount", "pageToken", "pageSize"];

/// How records become columns.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum SchemaChoice {
    /// The types of the ODS's own OpenAPI document where it serves one, else inferred.
    /// Until the document is read, this infers.
    #[default]
    Auto,
    /// From the records.
    Infer,
    /// These columns, whatever the records hold; the rest goes to `_unknown`.
    Given(Schema),
}

/// What happens to a district that has fewer records than its server counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnShort {
    /// It is an error row.
    #[default]
    Error,
    /// Its records are kept, and a warning is given.
    Warn,
}

/// The options of [`EdFiClient::get_all`] and [`EdFiClient::batch_get_all`].
#[derive(Debug, Clone)]
pub struct GetAllOptions {
    /// Columns, workers and the like. `get_all` looks at `endpoint`, `workers` and `control`.
    pub batch: BatchOptions,
    /// Filters, as the API names them.
    pub params: Vec<(String, String)>,
    /// Records a page; a server that allows fewer is asked for what it allows.
    pub limit: usize,
    /// Whether pages are asked for by offset or by token.
    pub paging: Paging,
    /// How records become columns.
    pub schema: SchemaChoice,
    /// What stands between the names of nested properties in the name of a column.
    pub separator: String,
    /// Whether the `link` objects of references become columns.
    pub links: bool,
    /// List columns that become one row for each element, one after another.
    pub explode: Vec<String>,
    /// Only records that changed at this version or later.
    pub min_change_version: Option<i64>,
    /// Only records that changed at this version or before.
    pub max_change_version: Option<i64>,
    /// Read from the ODS's snapshot.
    pub snapshot: bool,
    /// What happens to a district with missing records.
    pub on_short: OnShort,
}

impl Default for GetAllOptions {
    fn default() -> Self {
        Self {
            batch: BatchOptions::default(),
            params: Vec::new(),
            limit: 500,
            paging: Paging::default(),
            schema: SchemaChoice::default(),
            separator: ".".into(),
            links: true,
            explode: Vec::new(),
            min_change_version: None,
            max_change_version: None,
            snapshot: false,
            on_short: OnShort::default(),
        }
    }
}

impl GetAllOptions {
    pub(super) fn check(&self) -> Result<()> {
        if self.limit == 0 {
            return Err(Error::Config("limit must be at least 1".into()));
        }
        if self.batch.workers == 0 {
            return Err(Error::Config("workers must be at least 1".into()));
        }
        check_window(self.min_change_version, self.max_change_version)?;
        if let Some((name, _)) = self
            .params
            .iter()
            .find(|(name, _)| OWN_PARAMS.iter().any(|own| own.eq_ignore_ascii_case(name)))
        {
            return Err(Error::Config(format!(
                "params must not hold {name:?}: pages are counted by the call itself (limit=)"
            )));
        }
        Ok(())
    }

    fn all_params(&self) -> Vec<(String, String)> {
        let mut params = self.params.clone();
        params.extend(window_params(
            self.min_change_version,
            self.max_change_version,
        ));
        params
    }
}

/// What became of one district.
struct District {
    /// The row that stands for it.
    row: usize,
    outcome: Result<Records, Failure>,
}

impl EdFiClient {
    /// Reads every record of one resource of this client's ODS.
    ///
    /// Returns one row per record; the columns are those of the flattened records.
    ///
    /// # Errors
    /// [`Error::Config`] without a base URL or credentials, [`Error::Auth`] and [`Error::Http`]
    /// where the ODS does not answer as it should: a part of the records is never returned.
    pub async fn get_all(&self, options: &GetAllOptions) -> Result<DataFrame> {
        options.check()?;
        let batch = &options.batch;
        let access = self.own_access()?;
        let context = self.own_context(batch);
        let reading = Reading::new(&context, options)?;
        batch.control.begin(1);
        let outcome = reading.district(&access).await;
        batch.control.one_done();
        let records = outcome.map_err(|failure| match batch.control.is_cancelled() {
            true => Error::Interrupted,
            false => Error::from_failure(failure),
        })?;
        if let Some(warning) = &records.warning {
            batch.control.warn(warning.clone());
        }
        let frame = Assembly::new(options, &[])?
            .add(0, Ok(records))
            .finish()?
            .records;
        explode(frame, options)
    }

    /// Reads every record of one resource from each district of a frame.
    ///
    /// Each distinct `key_col` is visited once, in first-seen order; rows with a blank key are
    /// skipped. The result begins with the key column, `status` (String), `message` (String),
    /// `http_status` (Int32) and `correlation_id` (String); the flattened records follow, one row
    /// per record. A district that fails is one row with the status `"error"`: half a district
    /// is never returned. A property whose name is taken is kept as `<name>_record`.
    ///
    /// # Errors
    /// Wrong options, a column that is missing or of a wrong type: all before anything is sent.
    pub async fn batch_get_all(
        &self,
        districts: &DataFrame,
        key_col: &str,
        options: &GetAllOptions,
    ) -> Result<DataFrame> {
        options.check()?;
        let batch = &options.batch;
        let keys = Keys::required(districts, "key_col", key_col)?;
        if RESULT_COLUMNS.contains(&key_col) {
            return Err(Error::Config(format!(
                "key_col must not be {key_col:?}: the result has a column of that name"
            )));
        }
        let rows = Rows::new(districts, self, batch)?;
        rows.check_complete(districts)?;
        let context = rows.context();
        let reading = Reading::new(&context, options)?;
        let visits = visits(&keys, &rows);
        batch.control.begin(visits.len());

        let access = |row| rows.access(row);
        let district = async |access| reading.district(&access).await;
        let (access, district) = (&access, &district);
        let outcomes: Vec<District> = stream::iter(visits)
            .map(|visit| async move {
                let outcome = match visit.doubled {
                    Some(failure) => Err(failure),
                    None => match access(visit.row) {
                        Ok(access) => district(access).await,
                        Err(failure) => Err(failure),
                    },
                };
                batch.control.one_done();
                District {
                    row: visit.row,
                    outcome: outcome.map_err(|failure| interrupted(failure, &batch.control)),
                }
            })
            .buffered(batch.workers)
            .collect()
            .await;

        let mut reserved = vec![key_col];
        reserved.extend(RESULT_COLUMNS);
        let mut assembly = Assembly::new(options, &reserved)?;
        for district in outcomes {
            if let Ok(Some(warning)) = district.outcome.as_ref().map(|r| r.warning.as_ref()) {
                let key = keys.get(district.row).unwrap_or_default();
                batch.control.warn(format!("{key_col} {key}: {warning}"));
            }
            assembly = assembly.add(district.row, district.outcome);
        }
        let parts = assembly.finish()?;
        explode(parts.with_result_columns(&keys)?, options)
    }
}

fn explode(frame: DataFrame, options: &GetAllOptions) -> Result<DataFrame> {
    if options.explode.is_empty() {
        return Ok(frame);
    }
    let names: Vec<&str> = options.explode.iter().map(String::as_str).collect();
    columns::flatten(&frame, None, &options.separator, Some(&names))
}

fn interrupted(mut failure: Failure, control: &Control) -> Failure {
    if control.is_cancelled() && failure.message != control.not_sent().message {
        failure.message = format!("interrupted; {}", failure.message);
    }
    failure
}

/// One district to visit, or why its row is not visited.
struct Visit {
    row: usize,
    doubled: Option<Failure>,
}

/// The districts of a frame: each key once; the same key with another URL is a failed visit.
fn visits(keys: &Keys, rows: &Rows<'_>) -> Vec<Visit> {
    let mut seen: HashMap<&str, Vec<Option<&str>>> = HashMap::new();
    let mut visits = Vec::new();
    let mut blank = 0;
    for &row in &rows.kept {
        let Some(key) = keys.get(row) else {
            blank += 1;
            continue;
        };
        let urls = seen.entry(key).or_default();
        let url = rows.url(row);
        if urls.contains(&url) {
            continue;
        }
        let doubled = (!urls.is_empty()).then(|| {
            Failure::new(
                "not read: this key stands in the frame with another URL before; give each ODS a \
                 key of its own",
            )
        });
        urls.push(url);
        visits.push(Visit { row, doubled });
    }
    if blank > 0 {
        log::warn!("{blank} rows have a blank key and are skipped");
    }
    visits
}

/// What is the same for all districts of one call.
pub(super) struct Reading<'a> {
    reader: Reader<'a>,
    endpoint: String,
    params: Vec<(String, String)>,
    snapshot: bool,
}

impl<'a> Reading<'a> {
    pub(super) fn new(context: &'a CallContext, options: &GetAllOptions) -> Result<Self> {
        let endpoint = context
            .client
            .endpoint_or(options.batch.endpoint.as_deref())?;
        Ok(Self {
            reader: Reader::new(
                context,
                options.batch.workers,
                options.limit as u64,
                options.paging,
                options.links,
                options.on_short == OnShort::Error,
            ),
            endpoint,
            params: options.all_params(),
            snapshot: options.snapshot,
        })
    }

    pub(super) async fn district(&self, access: &Access) -> Result<Records, Failure> {
        let root = self.reader.data_root(access).await?;
        let collection = Collection {
            url: root.join(&self.endpoint),
            snapshot: self.reader.snapshot(access, self.snapshot).await?,
        };
        self.reader
            .read(access, &collection.with_params(&self.params))
            .await
    }
}

/// The districts' records on their way into one frame.
struct Assembly {
    layout: Layout,
    separator: String,
    reserved: Vec<String>,
    districts: Vec<District>,
}

impl Assembly {
    fn new(options: &GetAllOptions, reserved: &[&str]) -> Result<Self> {
        let layout = match &options.schema {
            SchemaChoice::Given(schema) => Layout::from_schema(schema, &options.separator)?,
            SchemaChoice::Auto | SchemaChoice::Infer => Layout::default(),
        };
        Ok(Self {
            layout,
            separator: options.separator.clone(),
            reserved: reserved.iter().map(|name| (*name).to_owned()).collect(),
            districts: Vec::new(),
        })
    }

    /// Adds a district; the order of districts is that of the result.
    fn add(mut self, row: usize, outcome: Result<Records, Failure>) -> Self {
        if let Ok(records) = &outcome {
            records.pages.iter().for_each(|page| self.layout.add(page));
        }
        self.districts.push(District { row, outcome });
        self
    }

    fn finish(self) -> Result<Parts> {
        let reserved: Vec<&str> = self.reserved.iter().map(String::as_str).collect();
        let plan = self.layout.plan(&self.separator, &reserved);
        let mut records = DataFrame::empty_with_schema(plan.schema());
        let mut spans = Vec::with_capacity(self.districts.len());
        for District { row, outcome } in self.districts {
            let (rows, failure) = match outcome {
                Ok(district) => (append(&mut records, &plan, district)?, None),
                Err(failure) => {
                    records.vstack_mut_owned(DataFrame::full_null(plan.schema(), 1))?;
                    (1, Some(failure))
                }
            };
            spans.push(Span { row, rows, failure });
        }
        Ok(Parts { records, spans })
    }
}

/// Adds a district's pages below the frame; says how many rows that were.
pub(super) fn append(frame: &mut DataFrame, plan: &Plan, records: Records) -> Result<usize> {
    let before = frame.height();
    for (p, page) in records.pages.into_iter().enumerate() {
        if page.is_empty() {
            continue;
        }
        let height = page.len();
        let mut part = plan.frame(page)?;
        let repeated: Vec<usize> = records
            .repeated
            .iter()
            .filter(|(page, _)| *page == p)
            .map(|(_, row)| *row)
            .collect();
        if !repeated.is_empty() {
            let mut keep = vec![true; height];
            repeated.iter().for_each(|row| keep[*row] = false);
            part = part.filter(&BooleanChunked::from_slice(PlSmallStr::EMPTY, &keep))?;
        }
        frame.vstack_mut_owned(part)?;
    }
    Ok(frame.height() - before)
}

/// The rows of one district.
struct Span {
    row: usize,
    rows: usize,
    failure: Option<Failure>,
}

/// The records, and which rows are whose.
struct Parts {
    records: DataFrame,
    spans: Vec<Span>,
}

impl Parts {
    /// The frame with the key and the columns about the request before the records.
    fn with_result_columns(self, keys: &Keys) -> Result<DataFrame> {
        let height = self.records.height();
        let mut owners: Vec<IdxSize> = Vec::with_capacity(height);
        for span in &self.spans {
            owners.extend(std::iter::repeat_n(span.row as IdxSize, span.rows));
        }
        let per_row = || {
            self.spans
                .iter()
                .flat_map(|span| std::iter::repeat_n(span.failure.as_ref(), span.rows))
        };
        let text = |name: &str, get: fn(&Failure) -> Option<&str>| {
            let values = per_row().map(|failure| get(failure?));
            StringChunked::from_iter_options(name.into(), values).into_column()
        };
        let http_status: Int32Chunked = per_row()
            .map(|failure| match failure {
                Some(failure) => failure.http_status.map(i32::from),
                None => Some(200),
            })
            .collect();
        let mut columns = vec![
            keys.take(&owners)?,
            text("status", |_| Some("error")),
            text("message", |failure| Some(&failure.message)),
            http_status.with_name("http_status".into()).into_column(),
            text("correlation_id", |failure| {
                failure.correlation_id.as_deref()
            }),
        ];
        columns.extend(self.records.into_columns());
        Ok(DataFrame::new(height, columns)?)
    }
}
