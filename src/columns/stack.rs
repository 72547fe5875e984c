//! Frames below each other, in few chunks of a sane size.
//!
//! A chunk of a column costs more than a kilobyte beside its values, and whoever reads it pays for
//! each. So small frames are merged as they come, a few at a time and then those that came of it;
//! large ones are not copied.

use polars::prelude::{Column, DataFrame};
use rayon::prelude::*;

use super::plan::Plan;
use crate::Result;

/// Frames of so many rows stand as they are.
const LARGE: usize = 4_096;
/// How many frames are merged at once.
const FAN: usize = 16;

/// Fewer frames than this are not shared out among cores.
const SHARE: usize = 16;

/// Frames below each other; without any, the columns of a plan without rows.
pub(super) fn stack(
    frames: impl Iterator<Item = Result<DataFrame>>,
    plan: &Plan,
) -> Result<DataFrame> {
    let empty = || DataFrame::empty_with_schema(plan.schema());
    Ok(stack_frames(frames)?.unwrap_or_else(empty))
}

/// Frames of the same columns below each other, if there are any.
pub(crate) fn stack_frames(
    frames: impl IntoIterator<Item = Result<DataFrame>>,
) -> Result<Option<DataFrame>> {
    let mut stack = Stack::default();
    for frame in frames {
        stack.push(frame?)?;
    }
    stack.finish()
}

/// The same of the frames that `make` makes of items, on all cores of the rayon pool that this is
/// called in.
pub(crate) fn stack_parallel<T: Send>(
    items: Vec<T>,
    plan: &Plan,
    make: impl Fn(T) -> Result<DataFrame> + Sync,
) -> Result<DataFrame> {
    let push = |mut stack: Stack, item| stack.push(make(item)?).map(|()| stack);
    let shares = items.into_par_iter().with_min_len(SHARE);
    let stacks: Result<Vec<Stack>> = shares.try_fold(Stack::default, push).collect();
    let shares = stacks?.into_iter().map(Stack::finish);
    stack(shares.filter_map(Result::transpose), plan)
}

/// Puts frames of the same columns below each other.
#[derive(Debug, Default)]
struct Stack {
    done: Option<DataFrame>,
    /// Small frames in their order, each with how often its rows were merged; never less often
    /// than those of the next one.
    small: Vec<(u32, DataFrame)>,
}

impl Stack {
    /// Adds a frame below the others.
    fn push(&mut self, frame: DataFrame) -> Result<()> {
        if frame.height() >= LARGE {
            self.flush()?;
            return self.finish_chunk(frame);
        }
        self.small.push((0, frame));
        while let Some(start) = self.small.len().checked_sub(FAN)
            && self.small[start].0 == self.small[self.small.len() - 1].0
        {
            let merges = self.small[start].0 + 1;
            let merged = self.merge(start)?;
            if merged.height() < LARGE {
                self.small.push((merges, merged));
            } else {
                self.flush()?;
                self.finish_chunk(merged)?;
            }
        }
        Ok(())
    }

    /// All of them, if there are any.
    fn finish(mut self) -> Result<Option<DataFrame>> {
        self.flush()?;
        Ok(self.done)
    }

    fn flush(&mut self) -> Result<()> {
        match self.small.is_empty() {
            true => Ok(()),
            false => {
                let merged = self.merge(0)?;
                self.finish_chunk(merged)
            }
        }
    }

    /// Takes the small frames from `start` on as one.
    fn merge(&mut self, start: usize) -> Result<DataFrame> {
        let frames = self.small.drain(start..).map(|(_, frame)| frame);
        let mut height = 0;
        let mut parts: Vec<_> = frames
            .map(|frame| {
                height += frame.height();
                frame.into_columns().into_iter()
            })
            .collect();
        let Some(first) = parts.first_mut().map(std::mem::take) else {
            return Ok(DataFrame::default());
        };
        let mut columns = Vec::with_capacity(first.len());
        // Column by column, so that parts are gone before the next ones are merged.
        for column in first {
            let others = parts[1..].iter_mut().filter_map(Iterator::next);
            columns.push(below_each_other(column, others.collect(), height)?);
        }
        Ok(DataFrame::new(height, columns)?)
    }

    fn finish_chunk(&mut self, frame: DataFrame) -> Result<()> {
        match &mut self.done {
            Some(done) => done.vstack_mut_owned(frame).map(drop)?,
            None => self.done = Some(frame),
        }
        Ok(())
    }
}

/// One column of `height` rows in one chunk. Nulls alone stay a value that stands for all rows.
fn below_each_other(mut column: Column, others: Vec<Column>, height: usize) -> Result<Column> {
    let is_empty = |column: &Column| match column {
        Column::Scalar(column) => column.scalar().is_null(),
        Column::Series(_) => false,
    };
    if is_empty(&column) && others.iter().all(is_empty) {
        return Ok(Column::full_null(
            column.name().clone(),
            height,
            column.dtype(),
        ));
    }
    for other in others {
        column.append_owned(other)?;
    }
    Ok(column.rechunk())
}
