//! The columns of results: their names and dtypes, and what stands in them.

use std::collections::HashMap;
#[cfg(feature = "python")]
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use polars::chunked_array::builder::AnonymousOwnedListBuilder;
use polars::prelude::*;

use super::input::Keys;
use super::outcome::{ERROR, Outcome};
use super::tokens::FetchedToken;
use crate::client::ProblemError;
use crate::columns::lists_as_json;
use crate::{Control, Result, runtime};

/// A column that tells something of each outcome.
pub(crate) struct ResultColumn<T = Outcome> {
    pub(crate) name: &'static str,
    cell: Cell<T>,
}

/// What stands in a cell, by dtype.
enum Cell<T> {
    String(fn(&T) -> Option<&str>),
    Int32(fn(&T) -> Option<i32>),
    UInt32(fn(&T) -> Option<u32>),
    /// List(Struct{path: String, message: String}); null where there are none.
    Errors(fn(&T) -> &[ProblemError]),
    /// Datetime(us, UTC)
    Time(fn(&T) -> Option<SystemTime>),
}

const fn column<T>(name: &'static str, cell: Cell<T>) -> ResultColumn<T> {
    ResultColumn { name, cell }
}

/// The column that says what became of a row.
pub(crate) const STATUS_NAME: &str = "status";

const STATUS: ResultColumn = column(
    STATUS_NAME,
    Cell::String(|outcome| outcome.status.as_deref()),
);
const MESSAGE: ResultColumn = column(
    "message",
    Cell::String(|outcome| outcome.message.as_deref()),
);
const HTTP_STATUS: ResultColumn = column(
    "http_status",
    Cell::Int32(|outcome| outcome.http_status.map(i32::from)),
);
const CORRELATION_ID: ResultColumn = column(
    "correlation_id",
    Cell::String(|outcome| outcome.correlation_id.as_deref()),
);
const RESOURCE_ID: ResultColumn = column(
    "resource_id",
    Cell::String(|outcome| outcome.resource_id.as_deref()),
);
const ATTEMPTS: ResultColumn = column("attempts", Cell::UInt32(|outcome| Some(outcome.attempts)));

const PROBLEM: ResultColumn = column(
    "problem",
    Cell::String(|outcome| outcome.problem.as_deref()),
);
const ERRORS: ResultColumn = column("errors", Cell::Errors(|outcome| &outcome.errors));

/// What every call tells of a request.
pub(crate) const ANSWER: &[ResultColumn] = &[STATUS, MESSAGE, HTTP_STATUS, CORRELATION_ID];
/// What the expressions that write tell of each row.
#[cfg(feature = "python")]
pub(crate) const WRITE: &[ResultColumn] =
    &[STATUS, MESSAGE, HTTP_STATUS, CORRELATION_ID, RESOURCE_ID];
/// What a batch of posts tells of each row.
pub(crate) const POST: &[ResultColumn] = &[
    STATUS,
    MESSAGE,
    HTTP_STATUS,
    CORRELATION_ID,
    RESOURCE_ID,
    ATTEMPTS,
];
/// What is told of each item that was to go, where it may take several requests.
pub(crate) const DELETE: &[ResultColumn] =
    &[STATUS, MESSAGE, HTTP_STATUS, CORRELATION_ID, ATTEMPTS];
/// What a batch of replacements tells of each row.
pub(crate) const PUT: &[ResultColumn] = &[STATUS, MESSAGE, HTTP_STATUS, CORRELATION_ID, ATTEMPTS];
/// What error bodies tell of a row, where details are asked for.
pub(crate) const DETAILS: &[ResultColumn] = &[PROBLEM, ERRORS];
/// What is told of an account's token.
pub(crate) const TOKEN: &[ResultColumn<FetchedToken>] = &[
    column(
        "token",
        Cell::String(|fetched| fetched.token().map(|token| token.token.reveal())),
    ),
    column(
        "expires_at",
        Cell::Time(|fetched| fetched.token()?.expires_at),
    ),
    column(
        "status",
        Cell::String(|fetched| fetched.failure().map(|_| ERROR)),
    ),
    column(
        "message",
        Cell::String(|fetched| fetched.failure().map(|failure| &*failure.message)),
    ),
];

/// The place of a result row in the frame that was passed.
pub(crate) const ROW_INDEX: &str = "row_index";
/// Whether Python's Polars counts rows by UInt64, whatever this crate is built with.
#[cfg(feature = "python")]
pub(crate) static WIDE_INDEX: AtomicBool = AtomicBool::new(false);

/// The column of such places; null where a result row is of no row of the frame.
pub(crate) fn row_index(index: IdxCa) -> Result<Column> {
    let column = index.with_name(ROW_INDEX.into()).into_column();
    #[cfg(feature = "python")]
    if WIDE_INDEX.load(Ordering::Relaxed) {
        return Ok(column.cast(&DataType::UInt64)?);
    }
    Ok(column)
}

/// What `row_id_col` holds there.
pub(crate) const ROW_ID: &str = "row_id";

/// Cells of several frames in one column: String where their dtypes differ, null where nobody asked.
pub(crate) fn of_frames(name: &str, cells: Vec<Column>, height: usize) -> Result<Column> {
    let mut cells = cells.into_iter();
    let Some(mut all) = cells.next() else {
        return Ok(Column::full_null(name.into(), height, &DataType::String));
    };
    for mut more in cells {
        if all.dtype() != more.dtype() {
            all = texts(all)?;
            more = texts(more)?;
        }
        all.append_owned(more)?;
    }
    Ok(all.rechunk().with_name(name.into()))
}

/// Cells as texts, lists as JSON. There is a text for each, or what was sent would be told of nobody.
fn texts(column: Column) -> Result<Column> {
    if let Ok(texts) = column.cast(&DataType::String) {
        return Ok(texts);
    }
    let name = column.name().clone();
    let lists = DataFrame::new(column.len(), vec![column.clone()])?;
    if let Ok(texts) = lists_as_json(&lists)
        && let Ok(texts) = texts.column(&name)
        && texts.dtype() == &DataType::String
    {
        return Ok(texts.clone());
    }
    let text = |row| match column.get(row) {
        Ok(AnyValue::Null) | Err(_) => None,
        Ok(value) => Some(value.to_string()),
    };
    let texts: Vec<Option<String>> = (0..column.len()).map(text).collect();
    Ok(StringChunked::from_iter_options(name, texts.into_iter()).into_column())
}

impl<T> ResultColumn<T> {
    /// Name and dtype.
    #[cfg(feature = "python")]
    pub(crate) fn field(&self) -> Field {
        let dtype = match self.cell {
            Cell::String(_) => DataType::String,
            Cell::Int32(_) => DataType::Int32,
            Cell::UInt32(_) => DataType::UInt32,
            Cell::Errors(_) => DataType::List(Box::new(error_dtype())),
            Cell::Time(_) => DataType::Datetime(TimeUnit::Microseconds, Some(TimeZone::UTC)),
        };
        Field::new(self.name.into(), dtype)
    }

    fn of<'a>(&self, outcomes: impl ExactSizeIterator<Item = &'a T>) -> Column
    where
        T: 'a,
    {
        let name = PlSmallStr::from_static(self.name);
        match self.cell {
            Cell::String(get) => {
                StringChunked::from_iter_options(name, outcomes.map(get)).into_column()
            }
            Cell::Int32(get) => {
                let values: Int32Chunked = outcomes.map(get).collect();
                values.with_name(name).into_column()
            }
            Cell::UInt32(get) => {
                let values: UInt32Chunked = outcomes.map(get).collect();
                values.with_name(name).into_column()
            }
            Cell::Errors(get) => errors(name, outcomes.map(get)),
            Cell::Time(get) => {
                let micros = |outcome| {
                    let since = get(outcome)?.duration_since(UNIX_EPOCH).ok()?;
                    i64::try_from(since.as_micros()).ok()
                };
                let values: Int64Chunked = outcomes.map(micros).collect();
                values
                    .with_name(name)
                    .into_datetime(TimeUnit::Microseconds, Some(TimeZone::UTC))
                    .into_column()
            }
        }
    }
}

/// Names and dtypes of columns.
#[cfg(feature = "python")]
pub(crate) fn fields<T>(columns: &[ResultColumn<T>]) -> Vec<Field> {
    columns.iter().map(ResultColumn::field).collect()
}

/// Columns filled with what is told of each outcome.
pub(crate) fn fill<'a, T: 'a>(
    columns: &[ResultColumn<T>],
    outcomes: impl IntoIterator<Item = &'a T, IntoIter: ExactSizeIterator + Clone>,
) -> Vec<Column> {
    let outcomes = outcomes.into_iter();
    let column = |column: &ResultColumn<T>| column.of(outcomes.clone());
    columns.iter().map(column).collect()
}

fn error_dtype() -> DataType {
    let field = |name: &str| Field::new(name.into(), DataType::String);
    DataType::Struct(vec![field("path"), field("message")])
}

fn errors<'a>(name: PlSmallStr, rows: impl ExactSizeIterator<Item = &'a [ProblemError]>) -> Column {
    let dtype = Some(error_dtype());
    let mut lists = AnonymousOwnedListBuilder::new(name, rows.len(), dtype);
    for row in rows {
        if row.is_empty() {
            lists.append_null();
            continue;
        }
        let text = |name: &str, get: fn(&ProblemError) -> Option<&str>| {
            StringChunked::from_iter_options(name.into(), row.iter().map(get)).into_series()
        };
        let fields = [
            text("path", |error| error.path.as_deref()),
            text("message", |error| Some(&error.message)),
        ];
        let structs = StructChunked::from_series(PlSmallStr::EMPTY, row.len(), fields.iter());
        let appended = structs.and_then(|row| lists.append_series(&row.into_series()));
        // Two columns of one length always make a Struct of that dtype.
        debug_assert!(appended.is_ok(), "{appended:?}");
    }
    lists.finish().into_column()
}

/// What became of rows, in their order.
pub(crate) enum Outcomes {
    Sent(Vec<Outcome>),
    /// In a dry run most rows have nothing to tell, and take no room.
    DryRun(Vec<Option<Box<Outcome>>>),
}

/// What became of the rows of a frame that took part: a result row for each.
pub(crate) struct Report {
    pub(crate) df: DataFrame,
    pub(crate) rows: Vec<usize>,
    pub(crate) outcomes: Outcomes,
}

impl Report {
    fn index(&self) -> Vec<IdxSize> {
        self.rows.iter().map(|row| *row as IdxSize).collect()
    }

    /// A key or id column of the frame, under its name in the result.
    pub(crate) fn keys(&self, keys: &Keys, name: &str) -> Result<Column> {
        Ok(keys.take(&self.index())?.with_name(name.into()))
    }

    /// What is told of each outcome.
    pub(crate) fn outcomes(&self, columns: &[ResultColumn]) -> Vec<Column> {
        match &self.outcomes {
            Outcomes::Sent(outcomes) => fill(columns, outcomes),
            Outcomes::DryRun(wrong) => {
                let right = Outcome::dry_run();
                fill(
                    columns,
                    wrong.iter().map(|row| row.as_deref().unwrap_or(&right)),
                )
            }
        }
    }

    /// Where each result row belongs in the frame.
    pub(crate) fn places(&self, row_id_col: Option<&str>) -> Result<[Column; 2]> {
        let index = IdxCa::from_vec(PlSmallStr::EMPTY, self.index());
        let row_id = match row_id_col {
            Some(name) => self.df.column(name)?.take(&index)?.with_name(ROW_ID.into()),
            None => Column::full_null(ROW_ID.into(), index.len(), &DataType::String),
        };
        Ok([row_index(index)?, row_id])
    }

    /// The frame of a batch of writes, put together off the caller's executor: keys and ids under
    /// their names, what is told of each outcome, where each row belongs, and the single errors
    /// where `details` are wanted.
    pub(crate) async fn of_writes(
        self,
        keys: Vec<(&'static str, Keys)>,
        told: &'static [ResultColumn],
        row_id_col: Option<&str>,
        details: bool,
    ) -> Result<DataFrame> {
        let row_id_col = row_id_col.map(str::to_owned);
        runtime::compute(move || {
            let keys = keys.iter().map(|(name, keys)| self.keys(keys, name));
            let mut columns = keys.collect::<Result<Vec<Column>>>()?;
            columns.extend(self.outcomes(told));
            columns.extend(self.places(row_id_col.as_deref())?);
            if details {
                columns.extend(self.outcomes(DETAILS));
            }
            self.frame(columns)
        })
        .await?
    }

    pub(crate) fn frame(&self, columns: Vec<Column>) -> Result<DataFrame> {
        Ok(DataFrame::new(self.rows.len(), columns)?)
    }
}

/// Ends a batch: the rows of its result are counted by their status.
pub(crate) fn finish(control: &Control, status_col: &str, frame: DataFrame) -> DataFrame {
    control.stats.end(|| by_status(&frame, status_col));
    frame
}

/// How many rows have which status, the most frequent first.
fn by_status(frame: &DataFrame, status_col: &str) -> Vec<(Option<String>, u64)> {
    let Some(statuses) = frame
        .column(status_col)
        .ok()
        .and_then(|column| column.str().ok())
    else {
        return Vec::new();
    };
    let mut counts: HashMap<Option<&str>, u64> = HashMap::new();
    match statuses.null_count() == statuses.len() {
        true if statuses.is_empty() => {}
        true => drop(counts.insert(None, statuses.len() as u64)),
        false => statuses
            .iter()
            .for_each(|status| *counts.entry(status).or_default() += 1),
    }
    let own = |(status, count): (Option<&str>, u64)| (status.map(str::to_owned), count);
    let mut counts: Vec<_> = counts.into_iter().map(own).collect();
    counts.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    counts
}
