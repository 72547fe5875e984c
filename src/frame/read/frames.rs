//! What a scan hands on: its pages as frames, or as Arrow record batches.

use std::sync::Arc;

use arrow_array::{Array, RecordBatch};
use futures_util::stream::BoxStream;
use polars::prelude::*;

use super::options::{GetAllOptions, OnError, OnShort, SchemaChoice};
use super::pieces::Piece;
use super::prefetch::Task;
use super::rows::{Reading, View, chosen, distinct, new_pieces, new_rows};
use super::scan::Scan;
use super::source::{Convert, Converted, Decoders, PlacedPage, Source, Window};
use super::stream::{self, ConvertedPage, FailedRow, PageRows, StreamOptions, Table};
use crate::client::Control;
use crate::columns::{self, Lists, Plan};
use crate::frame::outcome::Outcome;
use crate::frame::result;
use crate::{Error, Result, runtime};

impl Scan {
    /// The records, a frame for each page, in order: see [`EdFiClient::pages`](crate::EdFiClient::pages).
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
            is_search: !options.filters.is_empty(),
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

    /// The records of one ODS as Arrow record batches: see
    /// [`EdFiClient::record_batches`](crate::EdFiClient::record_batches).
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
            is_search: !options.filters.is_empty(),
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
        Reading {
            sources,
            rows,
            is_search,
        }: Reading,
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
            let work = runtime::compute_first(move || convert(placed));
            Converted::Pending(Task::spawn(
                async move { Ok(work.await.and_then(|page| page)) },
            ))
        });
        let window = Window::of_stream(read.batch.workers, is_search);
        let path = self.0.endpoint.clone();
        let mut source = Source::new(sources.context, path, read, window, convert);
        source.decoders = Decoders::for_plan(links, self.with_columns(plan, &rows.plan)?);
        let tells_empty = !rows.filters.is_empty();
        match rows.filters.is_empty() {
            true => source.need = n_rows.map(|rows| rows as u64),
            // Of a piece it was settled what its server is asked for.
            false if self.0.options.pushdown && piece.is_none() => source.filters = rows.filters,
            false => {}
        }
        source.openings = self.0.openings.take().into();
        source.unchecked = self.unchecked();
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

/// What stands before the records: the key of their district, and what is told of its requests.
pub(super) fn leading(key: Option<&Column>, about: &[Column]) -> Vec<Column> {
    key.into_iter().chain(about).cloned().collect()
}

/// The frame with the values of its district before all others, and with the lists one after
/// another that a scan asks for, where its columns are lists.
pub(super) fn explode(
    mut frame: DataFrame,
    leading: &[Column],
    read: &GetAllOptions,
) -> Result<DataFrame> {
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
pub(super) fn about_columns(on_error: OnError, outcomes: &[Outcome]) -> Vec<Column> {
    match on_error {
        OnError::Raise => Vec::new(),
        OnError::Row => result::fill(result::ANSWER, outcomes),
    }
}

fn as_strs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}
