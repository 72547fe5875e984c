//! What a send would do with each row, as columns.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use polars::prelude::*;

use crate::Result;
use crate::columns;
use crate::frame::nested::{strings, structs};
use crate::frame::outcome::ERROR;
use crate::frame::result::{self, ROW_ID};
use crate::frame::validate::rows::Batch;
use crate::openapi::validate::Change;

/// What a send would do with a row.
#[derive(Debug)]
pub(super) enum Compared {
    New,
    /// With the item's id, and whether all rows of its key, however it is written, are the same: then
    /// none need be sent.
    Same(Option<String>, bool),
    Changed(Option<String>, Vec<Change>),
    Error(String),
}

/// What came of all rows of a call.
pub(crate) struct Comparison {
    pub(super) batch: Arc<Batch>,
    pub(super) rows: Vec<Compared>,
    /// By frame, the ids of items that no row names.
    pub(super) extra: Vec<(usize, Option<String>)>,
}

impl Compared {
    fn status(&self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Same(..) => "same",
            Self::Changed(..) => "changed",
            Self::Error(_) => ERROR,
        }
    }

    fn id(&self) -> Option<&str> {
        match self {
            Self::Same(id, _) | Self::Changed(id, _) => id.as_deref(),
            Self::New | Self::Error(_) => None,
        }
    }
}

impl Comparison {
    /// By frame, the rows that the ODS has as they are, and the ids of their items.
    pub(crate) fn same(&self) -> Vec<HashMap<usize, Option<String>>> {
        let frames = self.batch.frames.iter();
        let same = frames.map(|frame| {
            let rows = frame.active.iter().enumerate();
            let same = rows.filter_map(|(place, row)| match &self.rows[frame.first + place] {
                Compared::Same(id, true) => Some((*row, id.clone())),
                _ => None,
            });
            same.collect()
        });
        same.collect()
    }

    /// By frame, the rows that the ODS does not have as they are.
    pub(crate) fn differing(&self) -> Vec<HashSet<usize>> {
        let frames = self.batch.frames.iter();
        let differing = frames.map(|frame| {
            let rows = frame.active.iter().enumerate();
            let differing = rows.filter(|(place, _)| {
                let row = &self.rows[frame.first + place];
                matches!(row, Compared::New | Compared::Changed(..))
            });
            differing.map(|(_, row)| *row).collect()
        });
        differing.collect()
    }

    /// One row each, and one for each item that no row names.
    pub(super) fn frame(
        self,
        frames: &[(String, DataFrame)],
        row_id_col: Option<&str>,
    ) -> Result<DataFrame> {
        let (mut lines, mut endpoints) = (Vec::new(), Vec::new());
        let mut index: Vec<Option<IdxSize>> = Vec::new();
        let mut row_ids = Vec::new();
        for (number, frame) in self.batch.frames.iter().enumerate() {
            let before = index.len();
            let rows = &self.rows[frame.first..frame.first + frame.active.len()];
            lines.extend(rows.iter().map(Line::Row));
            index.extend(frame.active.iter().map(|row| Some(*row as IdxSize)));
            let extra = self.extra.iter().filter(|(of, _)| *of == number);
            lines.extend(extra.map(|(_, id)| Line::Extra(id.as_deref())));
            index.resize(lines.len(), None);
            endpoints.resize(lines.len(), Some(frame.endpoint.as_str()));
            if let Some(name) = row_id_col {
                let places: IdxCa = index[before..].iter().copied().collect();
                row_ids.push(frames[number].1.column(name)?.take(&places)?);
            }
        }
        let (height, lines) = (lines.len(), &lines[..]);
        let columns = vec![
            strings("endpoint", endpoints.into_iter()).into_column(),
            result::row_index(index.into_iter().collect())?,
            result::of_frames(ROW_ID, row_ids, height)?,
            strings("id", lines.iter().map(Line::id)).into_column(),
            strings("status", lines.iter().map(|line| Some(line.status()))).into_column(),
            changes(lines)?,
        ];
        Ok(DataFrame::new(height, columns)?)
    }
}

/// A row of the result.
enum Line<'c> {
    Row(&'c Compared),
    /// An item that no row names, by its id.
    Extra(Option<&'c str>),
}

impl Line<'_> {
    fn id(&self) -> Option<&str> {
        match self {
            Self::Row(compared) => compared.id(),
            Self::Extra(id) => *id,
        }
    }

    fn status(&self) -> &'static str {
        match self {
            Self::Row(compared) => compared.status(),
            Self::Extra(_) => "extra",
        }
    }
}

/// The changes of rows; of an error the path says why.
fn changes(lines: &[Line<'_>]) -> Result<Column> {
    let mut all: Vec<(Cow<'_, str>, Option<&str>, Option<&str>)> = Vec::new();
    let mut lengths = Vec::with_capacity(lines.len());
    for line in lines {
        let before = all.len();
        match line {
            Line::Row(Compared::Changed(_, changes)) => all.extend(changes.iter().map(|one| {
                let (ours, theirs) = (one.ours.as_deref(), one.theirs.as_deref());
                (Cow::Borrowed(&*one.path), ours, theirs)
            })),
            Line::Row(Compared::Error(why)) => all.push((format!("$: {why}").into(), None, None)),
            Line::Row(Compared::New | Compared::Same(..)) | Line::Extra(_) => {}
        }
        lengths.push(Some(all.len() - before));
    }
    let elements = structs(&[
        strings("path", all.iter().map(|one| Some(&*one.0))),
        strings("ours", all.iter().map(|one| one.1)),
        strings("theirs", all.iter().map(|one| one.2)),
    ])?;
    Ok(columns::lists("changes", &elements, &lengths)?.into_column())
}
