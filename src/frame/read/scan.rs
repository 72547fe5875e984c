//! Records page by page, in bounded memory: columns that are known first, then a stream.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use arrow_array::{Array, RecordBatch};
use futures_util::stream::{BoxStream, Stream, StreamExt, TryStreamExt};
use polars::prelude::*;

use super::opening::Kept;
use super::options::{GetAllOptions, OnError, OnShort, ScanOptions, SchemaChoice};
use super::pieces::Piece;
use super::prefetch::{Slots, Task};
use super::rows::{Reading, View, chosen, distinct, new_pieces, new_rows};
use super::source::{Convert, Converted, Decoders, PlacedPage, SharedWindow, Source, Window};
use super::sources::Sources;
use super::stream::{self, ConvertedPage, FailedRow, PageRows, StreamOptions, Table};
use crate::client::{Control, EdFiClient};
use crate::columns::{self, Lists, Plan};
use crate::frame::outcome::Outcome;
use crate::frame::result;
use crate::{Error, Failure, Result, runtime};

/// How many pages of a partition may wait until it is its turn.
const PARTITION_PAGES: usize = 4;

/// A resource of one ODS or of many, with columns that are known; nothing of it is kept.
///
/// Made by [`EdFiClient::scan`] and [`EdFiClient::scan_all`]. Each call of [`pages`](Self::pages)
/// reads anew.
#[derive(Clone)]
pub struct Scan(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) client: EdFiClient,
    pub(super) endpoint: String,
    pub(super) options: ScanOptions,
    /// The districts and the name of their key; `None` is the client's own ODS.
    pub(super) districts: Option<(DataFrame, String)>,
    /// The columns of a page, before lists are exploded.
    pub(super) plan: Plan,
    pub(super) schema: Schema,
    /// Pages that were read to find the columns.
    pub(super) openings: Kept,
    /// The districts that failed when they were asked for their columns, where they are rows.
    pub(super) failed: BTreeMap<usize, Failure>,
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A frame of districts holds their secrets.
        let districts = self.0.districts.as_ref().map(|(frame, _)| frame.height());
        f.debug_struct("Scan")
            .field("client", &self.0.client)
            .field("endpoint", &self.0.endpoint)
            .field("districts", &districts)
            .finish_non_exhaustive()
    }
}

impl EdFiClient {
    /// A scan of a resource of this client's own ODS.
    ///
    /// With a given schema nothing is sent, unless there are `params`, whose names are checked
    /// against the ODS's own OpenAPI document. Otherwise the columns are those of that document.
    /// Where there is none, and with [`SchemaChoice::Infer`], they are those of the first page and of
    /// one more far from it, which are read for it (of many districts, of their first pages): strings
    /// stand for anything. The first page serves a reading that begins within a second. In all of them `_unknown` (String) has one
    /// JSON object for each record with something that the columns have no place for, such as
    /// properties that come up later; a later value that does not fit a column that was inferred
    /// is an error of the stream. [`EdFiClient::get_all`], which holds all records before it infers
    /// types, has columns of these instead.
    ///
    /// # Errors
    /// Wrong options; [`Error::Auth`] and [`Error::Http`] if the first page does not come.
    pub async fn scan(&self, endpoint: &str, options: &ScanOptions) -> Result<Scan> {
        Scan::new(self, Some(endpoint), options, None).await
    }

    /// A scan of a resource of many districts, one after another, the key column first.
    ///
    /// A frame of districts is read as [`EdFiClient::batch_get_all`] reads it. There is no
    /// `status`: a district that fails ends the stream with an error that names its key, and so
    /// does, at once, a row that cannot be visited. With [`OnError::Row`] `status`, `message`,
    /// `http_status` and `correlation_id` stand after the key, and such a district is one row more. Without a given schema the columns are those
    /// of the first pages of all districts together. A property named as the key column is kept
    /// as `<name>_record`. The first pages of as many districts as there are workers are fetched
    /// ahead, and as many other pages.
    ///
    /// # Errors
    /// As [`EdFiClient::scan`], and those of a wrong frame.
    pub async fn scan_all(
        &self,
        districts: &DataFrame,
        key_col: &str,
        options: &ScanOptions,
    ) -> Result<Scan> {
        let districts = (districts.clone(), key_col.to_owned());
        let endpoint = options.read.batch.endpoint.clone();
        Scan::new(self, endpoint.as_deref(), options, Some(districts)).await
    }

    /// The records of a resource of this client's own ODS, a frame for each page, in order.
    ///
    /// As many pages as there are workers are fetched and decoded ahead of the one who takes
    /// them, never more; dropping the stream stops that. Fewer rows than the server counts are an
    /// error at the end of the stream; rows handed on before are not withdrawn. A record that comes
    /// twice, since others were written meanwhile, is handed on once. The stream must be polled within a tokio runtime.
    ///
    /// ```
    /// # #[cfg(feature = "sandbox")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> polars_edfi::Result<()> {
    /// use futures_util::TryStreamExt;
    /// use polars_edfi::{EdFiClient, ScanOptions, sandbox::Sandbox};
    ///
    /// let ods = Sandbox::builder().records(1200).start()?;
    /// let (key, secret) = ods.credentials("255901").expect("a district");
    /// let client = EdFiClient::builder()
    ///     .base_url(ods.district_url("255901").expect("a district"))
    ///     .client_credentials(key, secret)
    ///     .build()?;
    /// let mut pages = client.pages("ed-fi/studentAssessments", &ScanOptions::default());
    /// let mut rows = 0;
    /// while let Some(page) = pages.try_next().await? {
    ///     rows += page.height();
    /// }
    /// assert_eq!(rows, 1200);
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "sandbox"))]
    /// # fn main() {}
    /// ```
    pub fn pages(
        &self,
        endpoint: &str,
        options: &ScanOptions,
    ) -> impl Stream<Item = Result<DataFrame>> + Send + Unpin + use<> {
        self.streamed(endpoint, options, |scan| scan.pages())
    }

    /// The same as Arrow record batches.
    ///
    /// Categorical and Enum columns of a given schema are strings there; `explode` is not for
    /// record batches.
    pub fn record_batches(
        &self,
        endpoint: &str,
        options: &ScanOptions,
    ) -> impl Stream<Item = Result<RecordBatch>> + Send + Unpin + use<> {
        self.streamed(endpoint, options, |scan| scan.record_batches())
    }

    fn streamed<T: Send + 'static>(
        &self,
        endpoint: &str,
        options: &ScanOptions,
        open: impl FnOnce(Scan) -> Result<BoxStream<'static, Result<T>>> + Send + 'static,
    ) -> BoxStream<'static, Result<T>> {
        let (client, options) = (self.clone(), options.clone());
        let endpoint = endpoint.to_owned();
        let opened = async move { open(client.scan(&endpoint, &options).await?) };
        futures_util::stream::once(opened).try_flatten().boxed()
    }
}

impl Scan {
    pub(crate) async fn new(
        client: &EdFiClient,
        endpoint: Option<&str>,
        options: &ScanOptions,
        districts: Option<(DataFrame, String)>,
    ) -> Result<Self> {
        let read = &options.read;
        let mut sources = Self::check(client, endpoint, options, districts.as_ref())?;
        let endpoint = client.endpoint_or(endpoint)?;
        let key_col = districts.as_ref().map(|(_, key_col)| key_col.clone());
        let first_key = match &districts {
            Some((frame, key_col)) => Some(frame.column(key_col)?.clear()),
            None => None,
        };
        let (layout, openings) = sources.layout(read, &endpoint).await?;
        let mut reserved: Vec<&str> = key_col.as_deref().into_iter().collect();
        let about = about_columns(options.on_error, &[]);
        reserved.extend(about.iter().map(|column| column.name().as_str()));
        let plan = layout.plan(&read.separator, &reserved);
        let leading = leading(first_key.as_ref(), &about);
        let empty = explode(DataFrame::empty_with_schema(plan.schema()), &leading, read)?;
        let schema = empty.schema().as_ref().clone();
        let scan = Self(Arc::new(Inner {
            client: client.clone(),
            endpoint,
            options: options.clone(),
            districts,
            plan,
            schema,
            openings: Kept::new(openings),
            failed: sources.failed,
        }));
        if let Some(columns) = &options.columns {
            scan.check_columns(columns)?;
        }
        Ok(scan)
    }

    /// Everything that can be known to be wrong before anything is sent.
    pub(crate) fn check(
        client: &EdFiClient,
        endpoint: Option<&str>,
        options: &ScanOptions,
        districts: Option<&(DataFrame, String)>,
    ) -> Result<Sources> {
        options.read.check()?;
        client.endpoint_or(endpoint)?;
        let about = about_columns(options.on_error, &[]);
        match districts {
            None if !about.is_empty() => Err(Error::Config(
                "on_error: a scan of one ODS has no rows of districts".into(),
            )),
            Some((_, key_col)) if about.iter().any(|column| column.name() == key_col) => {
                Err(Error::Config(format!(
                    "key_col must not be {key_col:?}: the result has a column of that name"
                )))
            }
            _ => Sources::new(client, options, districts),
        }
    }

    /// The columns, all of them.
    pub fn schema(&self) -> &Schema {
        &self.0.schema
    }

    /// The records, a frame for each page, in order: see [`EdFiClient::pages`].
    ///
    /// # Errors
    /// A frame of districts that has become wrong for its client; filters of columns that are not
    /// there, or by values of another kind.
    pub fn pages(&self) -> Result<BoxStream<'static, Result<DataFrame>>> {
        let options = &self.0.options;
        let view = View {
            columns: options.columns.clone(),
            n_rows: options.n_rows,
            filters: options.filters.clone(),
            ..View::default()
        };
        self.frames(view, options.read.batch.control.clone())
    }

    /// The same with other columns, rows and districts.
    pub(crate) fn frames(
        &self,
        view: View,
        control: Control,
    ) -> Result<BoxStream<'static, Result<DataFrame>>> {
        if let Some(columns) = &view.columns {
            self.check_columns(columns)?;
        }
        let reading = self.reading(&view, self.sources(control)?)?;
        let plan = self.plan_of(view.columns.as_deref())?;
        let keys = reading.sources.keys.clone();
        let read = self.0.options.read.clone();
        let unknown = plan.unknown().map(str::to_owned);
        let (decoded, chosen_rows) = (plan.clone(), reading.rows.clone());
        let about = about_columns(self.0.options.on_error, &[Outcome::read()]);
        let failed = self.failed_row(keys.clone(), view.columns.clone());
        let columns = view.columns;
        let convert = move |placed: PlacedPage| {
            let records = placed.new_records();
            let dropped = chosen_rows.dropped(&placed)?;
            let frame = new_rows(decoded.frame(&placed.page)?, &dropped)?;
            let with_unknown = match &unknown {
                Some(unknown) => frame.height() - frame.column(unknown)?.null_count(),
                None => 0,
            };
            let leading = leading(keys[placed.district].as_ref(), &about);
            let frame = explode(frame, &leading, &read)?;
            Ok(ConvertedPage {
                rows: vec![match &columns {
                    None => frame,
                    Some(columns) => chosen(&frame, columns)?,
                }],
                records,
                with_unknown,
            })
        };
        self.open(reading, plan, (view.n_rows, view.piece), convert, failed)
    }

    /// The row of a district that failed, where there are such rows.
    fn failed_row(
        &self,
        keys: Vec<Option<Column>>,
        columns: Option<Vec<String>>,
    ) -> Option<FailedRow<DataFrame>> {
        if self.0.options.on_error == OnError::Raise {
            return None;
        }
        let (schema, on_error) = (self.0.schema.clone(), self.0.options.on_error);
        Some(Box::new(move |number, failure| {
            let mut told = about_columns(on_error, &[failure.into()]);
            told.extend(keys[number].clone());
            let cell = |(name, dtype): (&PlSmallStr, &DataType)| {
                let known = told.iter().find(|column| column.name() == name);
                known.map_or_else(|| Column::full_null(name.clone(), 1, dtype), Clone::clone)
            };
            let row = DataFrame::new(1, schema.iter().map(cell).collect())?;
            match &columns {
                None => Ok(row),
                Some(columns) => chosen(&row, columns),
            }
        }))
    }

    /// The records of one ODS as Arrow record batches: see [`EdFiClient::record_batches`].
    ///
    /// # Errors
    /// [`Error::Config`] for a scan of many districts and for one that explodes lists.
    pub fn record_batches(&self) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let options = &self.0.options;
        let changes_lists = !options.read.explode.is_empty() || options.read.lists != Lists::List;
        if self.0.districts.is_some() || changes_lists {
            return Err(Error::Config(
                "record batches are there for one ODS, without explode, and with lists as they \
                 are; take the frames of pages()"
                    .into(),
            ));
        }
        let view = View {
            filters: options.filters.clone(),
            ..View::default()
        };
        let control = options.read.batch.control.clone();
        let reading = self.reading(&view, self.sources(control)?)?;
        let plan = match &options.columns {
            Some(columns) => self.0.plan.select(&as_strs(columns))?,
            None => self.0.plan.clone(),
        };
        let (decoded, chosen_rows) = (plan.clone(), reading.rows.clone());
        let convert = move |placed: PlacedPage| {
            let batch = decoded.record_batch(&placed.page)?;
            let unknown = decoded.unknown();
            let unknown = unknown.and_then(|name| batch.column_by_name(name));
            let with_unknown = unknown.map_or(0, |column| column.len() - column.null_count());
            Ok(ConvertedPage {
                rows: new_pieces(&batch, &chosen_rows.dropped(&placed)?),
                records: placed.new_records(),
                with_unknown,
            })
        };
        self.open(reading, plan, (options.n_rows, None), convert, None)
    }

    fn check_columns(&self, columns: &[String]) -> Result<()> {
        let schema = &self.0.schema;
        let mut seen = HashSet::new();
        for name in columns {
            if !schema.contains(name) {
                let all: Vec<&str> = schema.iter_names().map(PlSmallStr::as_str).collect();
                return Err(Error::ColumnNotFound(format!(
                    "no column '{name}'; there are {}",
                    all.join(", ")
                )));
            }
            if !seen.insert(name) {
                return Err(Error::Config(format!(
                    "columns: '{name}' stands in it twice"
                )));
            }
        }
        Ok(())
    }

    pub(super) fn sources(&self, control: Control) -> Result<Sources> {
        let mut options = self.0.options.clone();
        options.read.batch.control = control;
        let mut sources = Sources::new(&self.0.client, &options, self.0.districts.as_ref())?;
        sources.leave_out(&self.0.failed);
        Ok(sources)
    }

    /// The columns of two selections of this scan's.
    fn with_columns(&self, plan: Plan, more: &Plan) -> Result<Plan> {
        let names = plan.schema().iter_names().chain(more.schema().iter_names());
        let names: Vec<&str> = names.map(PlSmallStr::as_str).collect();
        match more.schema().is_empty() {
            true => Ok(plan),
            false => self.0.plan.select(&distinct(&names)),
        }
    }

    /// What has to be decoded for these columns of the result.
    fn plan_of(&self, columns: Option<&[String]>) -> Result<Plan> {
        let (plan, read) = (&self.0.plan, &self.0.options.read);
        let Some(columns) = columns else {
            return Ok(plan.clone());
        };
        let mut names: Vec<&str> = Vec::new();
        // A list that is exploded makes rows, whether anyone looks at it or not.
        let exploded = as_strs(&read.explode);
        for name in plan.schema().iter_names() {
            let name = name.as_str();
            if exploded.contains(&name) || columns.iter().any(|column| column == name) {
                names.push(name);
            }
        }
        let selected = plan.select(&names)?;
        let key = match &self.0.districts {
            Some((frame, key_col)) => Some(frame.column(key_col)?),
            None => None,
        };
        let about = about_columns(self.0.options.on_error, &[]);
        let leading = leading(key, &about);
        let made = explode(
            DataFrame::empty_with_schema(selected.schema()),
            &leading,
            read,
        )?;
        // A name may have got its suffix from a column that would be missing now.
        let is_there = |name: &String| made.schema().get(name) == self.0.schema.get(name);
        match columns.iter().all(is_there) {
            true => Ok(selected),
            false => Ok(plan.clone()),
        }
    }

    fn open<T: Table>(
        &self,
        Reading { sources, rows }: Reading,
        plan: Plan,
        (n_rows, piece): (Option<usize>, Option<Piece>),
        convert: impl Fn(PlacedPage) -> Result<ConvertedPage<T>> + Send + Sync + 'static,
        failed_row: Option<FailedRow<T>>,
    ) -> Result<BoxStream<'static, Result<T>>> {
        let read = &self.0.options.read;
        let links = read.links;
        let convert = Arc::new(convert);
        let convert: Convert<PageRows<T>> = Box::new(move |placed| {
            let convert = convert.clone();
            let work = runtime::compute(move || convert(placed));
            Converted::Pending(Task::spawn(
                async move { Ok(work.await.and_then(|page| page)) },
            ))
        });
        let window = window(read.batch.workers);
        let path = self.0.endpoint.clone();
        let mut source = Source::new(sources.context, path, read, window, convert);
        source.decoders = Decoders::for_plan(links, self.with_columns(plan, &rows.plan)?);
        let tells_empty = !rows.filters.is_empty();
        match rows.filters.is_empty() {
            true => source.need = n_rows.map(|rows| rows as u64),
            false if self.0.options.pushdown => source.filters = rows.filters,
            false => {}
        }
        source.openings = self.0.openings.take().into();
        source.piece = piece;
        let options = StreamOptions {
            endpoint: self.0.endpoint.clone(),
            labels: sources.labels,
            ahead: read.batch.workers,
            n_rows,
            short_is_error: read.on_short == OnShort::Error,
            tells_empty,
            tells_unknown: !matches!(read.schema, SchemaChoice::Given(_)),
            failed: sources.failed,
            failed_row,
        };
        Ok(stream::open(source, sources.districts, options))
    }
}

/// How far a stream goes ahead of its consumer: so many pages and partitions as there are workers,
/// and the first page of each of as many districts.
pub(super) fn window(workers: usize) -> Window {
    Window {
        shared: Some(SharedWindow {
            pages: Slots::new(workers),
            partitions: Slots::new(workers),
        }),
        pages: 1,
        partitions: 0,
        partition_pages: PARTITION_PAGES,
        part_pages: PARTITION_PAGES,
        bounded: true,
    }
}

/// What stands before the records: the key of their district, and what is told of its requests.
fn leading(key: Option<&Column>, about: &[Column]) -> Vec<Column> {
    key.into_iter().chain(about).cloned().collect()
}

/// The frame with the values of its district before all others, and with the lists one after
/// another that a scan asks for, where its columns are lists.
fn explode(mut frame: DataFrame, leading: &[Column], read: &GetAllOptions) -> Result<DataFrame> {
    for (place, column) in leading.iter().enumerate() {
        let column = match frame.height() {
            0 => column.clear(),
            height => column.new_from_index(0, height),
        };
        frame.insert_column(place, column)?;
    }
    let (frame, _) = columns::explode_lists(frame, &read.explode, &read.separator)?;
    read.lists.of(frame)
}

/// What is told of a district's requests, where failed districts are rows.
fn about_columns(on_error: OnError, outcomes: &[Outcome]) -> Vec<Column> {
    match on_error {
        OnError::Raise => Vec::new(),
        OnError::Row => result::fill(result::ANSWER, outcomes),
    }
}

fn as_strs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}
