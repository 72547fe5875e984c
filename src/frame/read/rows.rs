//! Which districts a scan reads, and which rows and columns of a page it hands on.

use std::collections::HashSet;

use arrow_array::RecordBatch;
use polars::prelude::*;

use super::filter::{Filter, PreparedFilter};
use super::keys::Repeated;
use super::pieces::Piece;
use super::scan::Scan;
use super::source::PlacedPage;
use super::sources::Sources;
use super::whole::without_rows;
use crate::Result;
#[cfg(any(feature = "python", feature = "lazy"))]
use crate::client::Control;
use crate::columns::Plan;

/// What of a scan is read.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    pub(crate) columns: Option<Vec<String>>,
    pub(crate) n_rows: Option<usize>,
    pub(crate) filters: Vec<Filter>,
    /// Whether someone looks for some of the rows, and may be content with the first pages.
    pub(crate) is_search: bool,
    /// The numbers of the districts; `None` is all of them.
    pub(crate) districts: Option<Vec<usize>>,
    /// What of each district is read.
    pub(crate) piece: Option<Piece>,
}

/// The districts that are read, and the rows that are kept.
pub(super) struct Reading {
    pub(super) sources: Sources,
    pub(super) rows: ChosenRows,
    pub(super) is_search: bool,
}

impl Scan {
    /// The keys of all districts, one row for each; `None` for a scan of one ODS.
    #[cfg(any(feature = "python", feature = "lazy"))]
    pub(crate) fn keys(&self) -> Result<Option<Column>> {
        let sources = self.sources(Control::new())?;
        let mut keys = sources.keys.into_iter().flatten();
        let Some(mut all) = keys.next() else {
            return Ok(None);
        };
        for key in keys {
            all.append(&key)?;
        }
        Ok(Some(all))
    }

    /// Whether rows or districts can be chosen by a filter.
    #[cfg(any(feature = "python", feature = "lazy"))]
    pub(crate) fn takes(&self, filter: &Filter) -> bool {
        let key_col = self.0.districts.as_ref().map(|(_, key_col)| key_col);
        let schema = match key_col == Some(&filter.column) {
            true => &self.0.schema,
            false => self.0.plan.schema(),
        };
        PreparedFilter::new(filter, schema).is_ok()
    }

    /// What is read for a view.
    pub(super) fn reading(&self, view: &View, mut sources: Sources) -> Result<Reading> {
        if let Some(districts) = &view.districts {
            sources.retain(|number| Ok(districts.contains(&number)))?;
        }
        let key_col = self.0.districts.as_ref().map(|(_, key_col)| key_col);
        let mut filters = Vec::new();
        for filter in &view.filters {
            if key_col == Some(&filter.column) {
                let schema = &self.0.schema;
                let prepared = PreparedFilter::new(filter, schema)?;
                let keys = sources.keys.clone();
                sources.retain(|number| match &keys[number] {
                    Some(key) => Ok(prepared.mask(key, None)?[0]),
                    None => Ok(true),
                })?;
            } else {
                filters.push(PreparedFilter::new(filter, self.0.plan.schema())?);
            }
        }
        if filters.iter().any(PreparedFilter::is_empty) {
            sources.retain(|_| Ok(false))?;
        }
        let columns: Vec<&str> = filters.iter().map(PreparedFilter::column).collect();
        Ok(Reading {
            rows: ChosenRows {
                plan: self.0.plan.select(&distinct(&columns))?,
                filters,
            },
            sources,
            is_search: view.is_search,
        })
    }
}

/// The rows that filters keep.
#[derive(Clone)]
pub(super) struct ChosenRows {
    pub(super) filters: Vec<PreparedFilter>,
    /// The columns of the filters.
    pub(super) plan: Plan,
}

impl ChosenRows {
    /// The rows of a page that are not handed on: those that came before, and those that a filter
    /// does not keep.
    pub(super) fn dropped(&self, placed: &PlacedPage) -> Result<Repeated> {
        if self.filters.is_empty() {
            return Ok(placed.repeated.clone());
        }
        let columns = self.plan.frame(&placed.page)?;
        let mut is_kept = vec![true; placed.page.len()];
        for (number, filter) in self.filters.iter().enumerate() {
            let only = placed.only.as_ref();
            let only = only.filter(|(filter, ..)| *filter == number);
            let only = only.map(|(_, value, _)| *value);
            let mask = filter.mask(columns.column(filter.column())?, only)?;
            is_kept
                .iter_mut()
                .zip(mask)
                .for_each(|(kept, fits)| *kept &= fits);
        }
        let Repeated { leading, others } = &placed.repeated;
        is_kept[..*leading].fill(false);
        others.iter().for_each(|row| is_kept[*row] = false);
        if let Some((.., whole)) = &placed.only {
            whole.hand_on(&placed.page, &mut is_kept);
        }
        let rows = *leading..is_kept.len();
        Ok(Repeated {
            leading: *leading,
            others: rows.filter(|row| !is_kept[*row]).collect(),
        })
    }
}

/// The rows of a page that no page before had.
pub(super) fn new_rows(df: DataFrame, repeated: &Repeated) -> Result<DataFrame> {
    let Repeated { leading, others } = repeated;
    let df = match leading {
        0 => df,
        leading => df.slice(*leading as i64, df.height() - leading),
    };
    without_rows(df, others.iter().map(|row| row - leading))
}

/// The same of a record batch: the pieces between the records that came before.
pub(super) fn new_pieces(batch: &RecordBatch, repeated: &Repeated) -> Vec<RecordBatch> {
    let mut pieces = Vec::with_capacity(1 + repeated.others.len());
    let mut start = repeated.leading;
    for end in repeated.others.iter().copied().chain([batch.num_rows()]) {
        if start < end {
            pieces.push(batch.slice(start, end - start));
        }
        start = end + 1;
    }
    pieces
}

pub(super) fn chosen(frame: &DataFrame, columns: &[String]) -> Result<DataFrame> {
    let chosen = columns.iter().map(|name| frame.column(name).cloned());
    Ok(DataFrame::new(
        frame.height(),
        chosen.collect::<PolarsResult<_>>()?,
    )?)
}

pub(super) fn distinct<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut seen = HashSet::new();
    names
        .iter()
        .copied()
        .filter(|name| seen.insert(*name))
        .collect()
}
