//! What became of every row of a call, and the columns that say so.

use std::sync::{Mutex, MutexGuard, PoisonError};

use polars::prelude::*;

use super::Job;
use super::rows::Verb;
use crate::frame::input::{Keys, required};
use crate::frame::outcome::Outcome;
use crate::frame::result::{self, ROW_ID};
use crate::runtime::lock;
use crate::{Failure, Result};

/// One account for each frame.
pub(super) struct Account(Vec<Mutex<FrameRows>>);

#[derive(Default)]
struct FrameRows {
    /// How many rows were read, those included that take no part.
    read: usize,
    /// What became of each row that takes part, and its round.
    settled: Vec<Option<(Outcome, u32)>>,
    index: Vec<IdxSize>,
    pieces: Vec<Piece>,
}

/// The cells of rows that come back in the result.
struct Piece {
    key: Option<Column>,
    id: Option<Column>,
    row_id: Option<Column>,
}

impl Account {
    pub(super) fn new(frames: usize) -> Self {
        Self((0..frames).map(|_| Mutex::default()).collect())
    }

    fn frame(&self, frame: usize) -> MutexGuard<'_, FrameRows> {
        lock(&self.0[frame])
    }

    /// How many rows of a frame take part so far.
    pub(super) fn active(&self, frame: usize) -> usize {
        self.frame(frame).settled.len()
    }

    /// Opens an account for rows that were read.
    pub(super) fn open(
        &self,
        job: &Job,
        frame: usize,
        df: &DataFrame,
        active: &[usize],
    ) -> Result<()> {
        let index: Vec<IdxSize> = active.iter().map(|row| *row as IdxSize).collect();
        let keys = |argument: &str, name: Option<&String>| -> Result<Option<Column>> {
            let keys = name.map(|name| Keys::required(df, argument, name)?.take(&index));
            keys.transpose()
        };
        let id_col = match &job.verb {
            Verb::Delete { id_col, .. } => Some(id_col),
            Verb::Post { .. } => None,
        };
        let row_id = job.batch.row_id_col.as_ref().map(|name| -> Result<Column> {
            let positions = IdxCa::from_vec(PlSmallStr::EMPTY, index.clone());
            Ok(required(df, "row_id_col", name)?.take(&positions)?)
        });
        let piece = Piece {
            key: keys("key_col", job.key_col.as_ref())?,
            id: keys("id_col", id_col)?,
            row_id: row_id.transpose()?,
        };
        let mut rows = self.frame(frame);
        let read = rows.read as IdxSize;
        rows.index.extend(index.iter().map(|row| read + row));
        rows.read += df.height();
        let active = rows.settled.len() + active.len();
        rows.settled.resize(active, None);
        rows.pieces.push(piece);
        Ok(())
    }

    pub(super) fn settle(&self, frame: usize, slot: usize, outcome: Outcome, round: u32) {
        self.frame(frame).settled[slot] = Some((outcome, round));
    }

    /// The result: the rows of the first frame, of the second, ...
    pub(super) fn into_frame(self, job: &Job) -> Result<DataFrame> {
        let mut endpoints = Vec::new();
        let mut index = Vec::new();
        let (mut outcomes, mut rounds) = (Vec::new(), Vec::new());
        let (mut keys, mut ids, mut row_ids) = (Vec::new(), Vec::new(), Vec::new());
        for (endpoint, rows) in job.endpoints.iter().zip(self.0) {
            let rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner);
            endpoints.extend(std::iter::repeat_n(endpoint.as_str(), rows.settled.len()));
            index.extend(rows.index);
            for settled in rows.settled {
                let unsent = || (Failure::not_sent().into(), 1);
                let (outcome, round): (Outcome, u32) = settled.unwrap_or_else(unsent);
                outcomes.push(outcome);
                rounds.push(round);
            }
            for piece in rows.pieces {
                keys.extend(piece.key);
                ids.extend(piece.id);
                row_ids.extend(piece.row_id);
            }
        }
        let height = outcomes.len();
        let column = |name: &str, cells| result::of_frames(name, cells, height);
        let texts = StringChunked::from_iter_values("endpoint".into(), endpoints.into_iter());
        let mut columns = vec![texts.into_column(), column("key", keys)?];
        match &job.verb {
            Verb::Post { .. } => columns.extend(result::fill(result::POST, &outcomes)),
            Verb::Delete { .. } => {
                columns.push(column("id", ids)?);
                columns.extend(result::fill(result::DELETE, &outcomes));
            }
        }
        let places = result::row_index(IdxCa::from_vec(PlSmallStr::EMPTY, index))?;
        columns.extend([
            UInt32Chunked::from_vec("round".into(), rounds).into_column(),
            places,
            column(ROW_ID, row_ids)?,
        ]);
        if job.details {
            columns.extend(result::fill(result::DETAILS, &outcomes));
        }
        Ok(DataFrame::new(height, columns)?)
    }
}
