//! Every record of every district, as one flat frame.

use std::collections::HashMap;

use futures_util::stream::{self, StreamExt};
use polars::prelude::*;
use rayon::prelude::*;

use super::changes::{check_window, window_params};
use super::client_defaults::into_error;
use super::district::{Reader, Records};
use super::input::Keys;
use super::options::BatchOptions;
use super::outcome::Outcome;
use super::request::Rows;
use super::result;
use crate::choice::choice;
use crate::client::metadata::{Described, Metadata};
use crate::client::paging::{Collection, Paging};
use crate::client::session::{Access, CallContext};
use crate::client::{Control, EdFiClient, urls};
use crate::columns::{self, Layout, Page, Plan};
use crate::openapi::{self, Record};
use crate::runtime::Threads;
use crate::{Error, Failure, Result};

/// How many names of unknown properties a warning tells.
const SHOWN: usize = 5;
/// Parameters that a call sets by itself.
const OWN_PARAMS: [&str; 5] = ["limit", "offset", "totalCount", "pageToken", "pageSize"];

/// How records become columns.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum SchemaChoice {
    /// The types of the ODS's own OpenAPI document; where it serves none, or where the document
    /// does not know the resource, inferred. If some districts of a batch have a document, theirs
    /// hold for all of them.
    #[default]
    Auto,
    /// The types of the ODS's own OpenAPI document, and `_unknown` (String) for what it has no
    /// place for. A district without a document that knows the resource fails.
    OpenApi,
    /// From the records.
    Infer,
    /// These columns, whatever the records hold; the rest goes to `_unknown`.
    Given(Schema),
}

choice!(SchemaChoice: "auto" => Auto, "infer" => Infer, "openapi" => OpenApi; "given");

/// What happens to a district that has fewer records than its server counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnShort {
    /// It is an error row.
    #[default]
    Error,
    /// Its records are kept, and a warning is given.
    Warn,
}

choice!(OnShort: "error" => Error, "warn" => Warn);

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
        check_own_params(&self.params)?;
        if let SchemaChoice::Given(schema) = &self.schema {
            Layout::from_schema(schema, &self.separator)?;
        }
        Ok(())
    }

    pub(super) fn all_params(&self) -> Vec<(String, String)> {
        let mut params = self.params.clone();
        params.extend(window_params(
            self.min_change_version,
            self.max_change_version,
        ));
        params
    }
}

/// Refuses parameters that a call sets by itself.
pub(super) fn check_own_params(params: &[(String, String)]) -> Result<()> {
    let is_own = |name: &str| OWN_PARAMS.iter().any(|own| own.eq_ignore_ascii_case(name));
    match params.iter().find(|(name, _)| is_own(name)) {
        Some((name, _)) => Err(Error::Config(format!(
            "params must not hold {name:?}: pages are counted by the call itself (limit=)"
        ))),
        None => Ok(()),
    }
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
        let access = self.default_access()?;
        let context = self.default_context(batch);
        let reading = Reading::new(&context, options)?;
        batch.control.progress.begin(1);
        let described = reading.describe(&access).await;
        if let Ok(described) = &described
            && let Some(wrong) = reading.unknown_param(described)
        {
            return Err(Error::Config(wrong));
        }
        let district = reading.district(0, &access, described).await;
        batch.control.progress.one_done();
        if let Err(failure) = district.outcome {
            return Err(into_error(failure, &batch.control));
        }
        if let Ok(Some(warning)) = district.outcome.as_ref().map(|r| r.warning.as_ref()) {
            batch.control.progress.warn(warning.clone());
        }
        let frame = assemble(vec![district], options, &[])?.records;
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
        if result::ANSWER.iter().any(|column| column.name == key_col) {
            return Err(Error::Config(format!(
                "key_col must not be {key_col:?}: the result has a column of that name"
            )));
        }
        let rows = Rows::new(districts, self, batch)?;
        rows.check_complete(districts)?;
        let context = rows.context();
        let reading = Reading::new(&context, options)?;
        let visits = visits(&keys, &rows);
        batch.control.progress.begin(visits.len());

        let described = reading.checked_params(&visits, &rows).await?;
        let (reading, rows) = (&reading, &rows);
        let districts: Vec<District> = stream::iter(visits.into_iter().zip(described))
            .map(|(visit, described)| async move {
                let access = match visit.doubled {
                    Some(failure) => Err(failure),
                    None => rows.access(visit.row),
                };
                let district = match access {
                    Ok(access) => {
                        let described = match described {
                            Some(described) => described,
                            None => reading.describe(&access).await,
                        };
                        reading.district(visit.row, &access, described).await
                    }
                    Err(failure) => District::failed(visit.row, failure),
                };
                batch.control.progress.one_done();
                district
            })
            .buffered(batch.workers)
            .collect()
            .await;

        let mut reserved = vec![key_col];
        reserved.extend(result::ANSWER.iter().map(|column| column.name));
        let mut whole = Vec::with_capacity(districts.len());
        for mut district in districts {
            if let Ok(Some(warning)) = district.outcome.as_ref().map(|r| r.warning.as_ref()) {
                let key = keys.get(district.row).unwrap_or_default();
                batch
                    .control
                    .progress
                    .warn(format!("{key_col} {key}: {warning}"));
            }
            district.outcome = district
                .outcome
                .map_err(|failure| interrupted(failure, &batch.control));
            whole.push(district);
        }
        let parts = assemble(whole, options, &reserved)?;
        explode(parts.with_result_columns(&keys)?, options)
    }
}

/// The frame with the lists one after another that a call asks for.
pub(super) fn explode(frame: DataFrame, options: &GetAllOptions) -> Result<DataFrame> {
    if options.explode.is_empty() {
        return Ok(frame);
    }
    let names: Vec<&str> = options.explode.iter().map(String::as_str).collect();
    columns::flatten(&frame, None, &options.separator, Some(&names))
}

fn interrupted(mut failure: Failure, control: &Control) -> Failure {
    if control.is_cancelled() && failure.message != Failure::not_sent().message {
        failure.message = format!("interrupted; {}", failure.message);
    }
    failure
}

/// One district to visit, or why its row is not visited.
pub(super) struct Visit {
    pub(super) row: usize,
    pub(super) doubled: Option<Failure>,
}

/// The districts of a frame: each key once; the same key with another URL is a failed visit.
pub(super) fn visits(keys: &Keys, rows: &Rows) -> Vec<Visit> {
    let mut seen: HashMap<&str, Vec<Option<&str>>> = HashMap::new();
    let mut visits = Vec::new();
    let mut blank = 0;
    for &row in &rows.active {
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
    options: &'a GetAllOptions,
}

impl<'a> Reading<'a> {
    pub(super) fn new(context: &'a CallContext, options: &'a GetAllOptions) -> Result<Self> {
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
            options,
        })
    }

    /// What the ODS's own document says of the resource, as far as the call has to know.
    pub(super) async fn describe(&self, access: &Access) -> Result<Described, Failure> {
        let needed = matches!(
            self.options.schema,
            SchemaChoice::Auto | SchemaChoice::OpenApi
        );
        if !needed && self.options.params.is_empty() {
            return Ok(Described::NoMetadata);
        }
        let metadata = Metadata::of(self.reader.context, access).limited(self.reader.requests());
        let described = metadata.describe(&self.endpoint).await;
        match (described, &self.options.schema) {
            (Ok(described), SchemaChoice::OpenApi) if described.record().is_none() => {
                Err(Failure::new(match described {
                    Described::NoMetadata => {
                        "this ODS serves no OpenAPI metadata; schema=\"infer\" \
                                              and \"auto\" do without"
                            .to_owned()
                    }
                    _ => format!(
                        "the OpenAPI document of this ODS does not describe {}; schema=\"infer\" \
                         and \"auto\" do without",
                        self.endpoint
                    ),
                }))
            }
            (Ok(described), _) => {
                if needed && matches!(described, Described::Unknown) {
                    let base = urls::shown(access.base.as_url());
                    log::info!("{base}: no document knows {}; inferred", self.endpoint);
                }
                Ok(described)
            }
            (Err(failure), _) if needed => Err(failure),
            (Err(failure), _) => {
                log::warn!("the names of parameters are not checked: {failure}");
                Ok(Described::NoMetadata)
            }
        }
    }

    /// Reads the records of one ODS that nothing is to be said of beside others.
    pub(super) async fn alone(&self, access: &Access) -> Result<Records, Failure> {
        let described = self.describe(access).await?;
        match self.unknown_param(&described) {
            Some(wrong) => Err(Failure::new(wrong)),
            None => self.records(access).await,
        }
    }

    pub(super) fn unknown_param(&self, described: &Described) -> Option<String> {
        openapi::unknown_param(described.resource()?, &self.options.params)
    }

    /// Where there are parameters, what the documents of all districts say, before any of them is
    /// read. A name that is wrong everywhere is a wrong call; one that is wrong in some districts
    /// is their failure.
    async fn checked_params(
        &self,
        visits: &[Visit],
        rows: &Rows,
    ) -> Result<Vec<Option<Result<Described, Failure>>>> {
        if self.options.params.is_empty() {
            return Ok(visits.iter().map(|_| None).collect());
        }
        let accesses: Vec<Option<Access>> = visits
            .iter()
            .map(|visit| match visit.doubled {
                Some(_) => None,
                None => rows.access(visit.row).ok(),
            })
            .collect();
        let mut described: Vec<Option<Result<Described, Failure>>> = stream::iter(accesses)
            .map(|access| async move {
                match access {
                    Some(access) => Some(self.describe(&access).await),
                    None => None,
                }
            })
            .buffered(self.options.batch.workers)
            .collect()
            .await;
        let mut first = None;
        let mut any_right = false;
        for one in described.iter_mut().flatten() {
            let Ok(said) = one else { continue };
            match self.unknown_param(said) {
                Some(wrong) => {
                    first.get_or_insert_with(|| wrong.clone());
                    *one = Err(Failure::new(wrong));
                }
                None => any_right |= said.resource().is_some(),
            }
        }
        match first {
            Some(wrong) if !any_right => Err(Error::Config(wrong)),
            _ => Ok(described),
        }
    }

    /// Reads a district of which it is known what its document says.
    async fn district(
        &self,
        row: usize,
        access: &Access,
        described: Result<Described, Failure>,
    ) -> District {
        match described {
            Ok(described) => District {
                row,
                record: match self.options.schema {
                    SchemaChoice::Auto | SchemaChoice::OpenApi => described.record().cloned(),
                    SchemaChoice::Infer | SchemaChoice::Given(_) => None,
                },
                outcome: self.records(access).await,
            },
            Err(failure) => District::failed(row, failure),
        }
    }

    async fn records(&self, access: &Access) -> Result<Records, Failure> {
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

/// What came of one district.
struct District {
    row: usize,
    /// What its document says of the records.
    record: Option<Record>,
    outcome: Result<Records, Failure>,
}

impl District {
    fn failed(row: usize, failure: Failure) -> Self {
        Self {
            row,
            record: None,
            outcome: Err(failure),
        }
    }
}

/// Puts the districts' records into one frame, in their order.
fn assemble(districts: Vec<District>, options: &GetAllOptions, reserved: &[&str]) -> Result<Parts> {
    let documented = districts
        .iter()
        .filter_map(|district| district.record.clone())
        .reduce(|one, two| one.widen(&two));
    let mut layout = match (&options.schema, &documented) {
        (SchemaChoice::Given(schema), _) => Layout::from_schema(schema, &options.separator)?,
        (_, Some(record)) => documented_layout(record, options),
        _ => Layout::new(),
    };
    let read = districts.iter().filter_map(|one| one.outcome.as_ref().ok());
    for page in read.flat_map(|records| &records.pages) {
        layout.add(page);
    }
    let plan = layout.plan(&options.separator, reserved);
    let mut spans = Vec::with_capacity(districts.len());
    let mut read = Vec::with_capacity(districts.len());
    for District { row, outcome, .. } in districts {
        let failure = outcome.map(|records| read.push(records)).err();
        let rows = usize::from(failure.is_some());
        spans.push(Span { row, rows, failure });
    }
    let mut frames = frames(&plan, read)?.into_iter();
    let parts = spans.iter_mut().map(|span| match span.failure {
        Some(_) => DataFrame::full_null(plan.schema(), 1),
        None => {
            let frame = frames.next().unwrap_or_default();
            span.rows = frame.height();
            frame
        }
    });
    let records = columns::stack(parts, &plan)?;
    if let (Some(_), Some(name)) = (documented, plan.unknown()) {
        warn_of_unknown(records.column(name)?, &options.batch.control)?;
    }
    Ok(Parts { records, spans })
}

/// The columns of records as documents describe them.
pub(super) fn documented_layout(record: &Record, options: &GetAllOptions) -> Layout {
    match options.links {
        true => Layout::from_record(record, &options.separator),
        false => Layout::from_record(&record.without_links(), &options.separator),
    }
}

/// Says how many records hold something that the document has no place for, and what.
fn warn_of_unknown(unknown: &Column, control: &Control) -> Result<()> {
    let count = unknown.len() - unknown.null_count();
    if count == 0 {
        return Ok(());
    }
    let mut names: Vec<String> = Vec::new();
    for text in unknown.str()?.iter().flatten().take(SHOWN) {
        let rest: serde_json::Map<_, _> = serde_json::from_str(text).unwrap_or_default();
        for (name, _) in rest {
            if names.len() < SHOWN && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    let records = if count == 1 {
        "record holds"
    } else {
        "records hold"
    };
    control.progress.warn(format!(
        "{count} {records} something that the ODS's OpenAPI document has no place for ({}); it \
         stands in the column {:?}",
        names.join(", "),
        unknown.name()
    ));
    Ok(())
}

/// What each of several readings brought as a frame of the same columns; on all cores.
pub(super) fn frames(plan: &Plan, read: Vec<Records>) -> Result<Vec<DataFrame>> {
    let count = read.len();
    let mut pages: Vec<(usize, Page, Vec<usize>)> = Vec::new();
    for (number, records) in read.into_iter().enumerate() {
        let mut repeated: HashMap<usize, Vec<usize>> = HashMap::new();
        for (page, row) in records.repeated {
            repeated.entry(page).or_default().push(row);
        }
        let whole = records.pages.into_iter().enumerate();
        pages.extend(whole.filter_map(|(p, page)| {
            let repeated = repeated.remove(&p).unwrap_or_default();
            (!page.is_empty()).then_some((number, page, repeated))
        }));
    }
    let put = |(number, page, repeated): (usize, Page, Vec<usize>)| {
        let mut keep = vec![true; page.len()];
        let part = plan.frame(page)?;
        if repeated.is_empty() {
            return Ok((number, part));
        }
        repeated.iter().for_each(|row| keep[*row] = false);
        let keep = BooleanChunked::from_slice(PlSmallStr::EMPTY, &keep);
        Ok((number, part.filter(&keep)?))
    };
    let parts: Result<Vec<(usize, DataFrame)>> =
        Threads::get()?.on_all_cores(|| pages.into_par_iter().map(put).collect());
    let mut parts = parts?.into_iter().peekable();
    (0..count)
        .map(|number| {
            let own = std::iter::from_fn(|| parts.next_if(|(of, _)| *of == number));
            columns::stack(own.map(|(_, part)| part), plan)
        })
        .collect()
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
    fn with_result_columns(mut self, keys: &Keys) -> Result<DataFrame> {
        let rows: Vec<IdxSize> = self.spans.iter().map(|span| span.row as IdxSize).collect();
        let outcomes: Vec<Outcome> = self
            .spans
            .iter_mut()
            .map(|span| match span.failure.take() {
                Some(failure) => failure.into(),
                None => Outcome::read(),
            })
            .collect();
        let mut of_districts = vec![keys.take(&rows)?];
        of_districts.extend(result::fill(result::ANSWER, &outcomes));
        let height = self.records.height();
        let mut owners: Vec<IdxSize> = Vec::with_capacity(height);
        for (number, span) in self.spans.iter().enumerate() {
            owners.extend(std::iter::repeat_n(number as IdxSize, span.rows));
        }
        let owners = IdxCa::from_vec(PlSmallStr::EMPTY, owners);
        let columns = of_districts.iter().map(|column| column.take(&owners));
        let mut columns = columns.collect::<PolarsResult<Vec<Column>>>()?;
        columns.extend(self.records.into_columns());
        Ok(DataFrame::new(height, columns)?)
    }
}
