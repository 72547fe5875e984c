//! The records of many districts as one frame of the same columns.

use polars::prelude::*;

use super::options::{GetAllOptions, SchemaChoice};
use super::packed::{Rows, rows};
use super::resource::Outcome;
use super::whole::Records;
use crate::client::Control;
use crate::columns::{self, Layout, Plan};
use crate::frame::input::Keys;
use crate::frame::outcome::Outcome as RowOutcome;
use crate::frame::result;
use crate::openapi::Record;
use crate::runtime::{self, Threads};
use crate::{Failure, Result};

/// How many names of unknown properties a warning tells.
const SHOWN: usize = 5;

/// What came of one district.
pub(super) struct District {
    pub(super) row: usize,
    pub(super) outcome: Outcome,
}

/// Puts the districts' records into one frame, in their order, off the caller's executor; with
/// keys, the key and the columns about the request stand before the records, and a district that
/// failed is one row.
pub(super) async fn frame(
    districts: Vec<District>,
    options: &GetAllOptions,
    keys: Option<(&str, Keys)>,
) -> Result<DataFrame> {
    let options = options.clone();
    let keys = keys.map(|(name, keys)| (name.to_owned(), keys));
    runtime::compute(move || {
        let mut reserved: Vec<&str> = Vec::new();
        if let Some((name, _)) = &keys {
            reserved.push(name);
            reserved.extend(result::ANSWER.iter().map(|column| column.name));
        }
        let parts = assemble(districts, &options, &reserved)?;
        let frame = match &keys {
            Some((_, keys)) => parts.with_about_columns(keys)?,
            None => parts.records,
        };
        explode(frame, &options)
    })
    .await?
}

/// The frame with the lists one after another that a call asks for. A list that no record has, or
/// that holds something else in some, stays as it is: what was read is not lost.
fn explode(frame: DataFrame, options: &GetAllOptions) -> Result<DataFrame> {
    let (frame, left) = columns::explode_lists(frame, &options.explode, &options.separator)?;
    for (name, dtype) in left {
        let control = &options.batch.control;
        match dtype {
            None => log::info!("explode: no record has {name:?}"),
            Some(dtype) => control.progress.warn(format!(
                "explode: {name:?} stays as it is: some records have no list there ({dtype})"
            )),
        }
    }
    options.lists.of(frame)
}

/// The columns of records as documents describe them.
pub(super) fn documented_layout(record: &Record, options: &GetAllOptions) -> Layout {
    match options.links {
        true => Layout::from_record(record, &options.separator),
        false => Layout::from_record(&record.without_links(), &options.separator),
    }
}

fn assemble(districts: Vec<District>, options: &GetAllOptions, reserved: &[&str]) -> Result<Parts> {
    let records = |one: &District| one.outcome.record.clone();
    let documented = districts
        .iter()
        .filter_map(records)
        .reduce(|one, two| one.widen(&two));
    let mut layout = match (&options.schema, &documented) {
        (SchemaChoice::Given(schema), _) => Layout::from_schema(schema, &options.separator)?,
        (_, Some(record)) => documented_layout(record, options),
        // Every district has failed.
        (SchemaChoice::OpenApi, None) => {
            Layout::from_schema(&Schema::default(), &options.separator)?
        }
        _ => Layout::new(),
    };
    let mut spans = Vec::with_capacity(districts.len());
    let mut read = Vec::with_capacity(districts.len());
    for District { row, outcome } in districts {
        let (records, failure) = match outcome.records {
            Ok(records) => (Some(records), None),
            Err(failure) => (None, Some(failure)),
        };
        let rows = records.as_ref().map_or(1, Records::len);
        read.push(records);
        spans.push(Span { row, rows, failure });
    }
    let read = rows(read)?;
    for rows in &read {
        if let Rows::Page(page) = rows {
            layout.add(&page.page);
        }
    }
    let plan = layout.plan(&options.separator, reserved);
    let records = frame_of(&plan, read)?;
    if let (Some(_), Some(name)) = (documented, plan.unknown()) {
        warn_of_unknown(records.column(name)?, &options.batch.control)?;
    }
    Ok(Parts { records, spans })
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

/// The rows in the columns of a plan, on all cores.
pub(super) fn frame_of(plan: &Plan, rows: Vec<Rows>) -> Result<DataFrame> {
    let frame = |rows| match rows {
        Rows::Page(page) => page.select(plan.frame(&page.page)?),
        Rows::Nulls(count) => Ok(DataFrame::full_null(plan.schema(), count)),
    };
    Threads::get()?.on_all_cores(|| columns::stack_parallel(rows, plan, frame))
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
    fn with_about_columns(mut self, keys: &Keys) -> Result<DataFrame> {
        let rows: Vec<IdxSize> = self.spans.iter().map(|span| span.row as IdxSize).collect();
        let outcomes: Vec<RowOutcome> = self
            .spans
            .iter_mut()
            .map(|span| match span.failure.take() {
                Some(failure) => failure.into(),
                None => RowOutcome::read(),
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
