//! Collections read for each row of a frame, each into one cell.

use std::sync::Arc;

use polars::prelude::*;

use super::assemble::frame_of;
use super::options::GetAllOptions;
use super::packed::rows;
use super::resource::Resource;
use super::whole::Records;
use crate::client::EdFiClient;
use crate::columns::{self, Layout};
use crate::frame::outcome::Outcome;
use crate::frame::request::Rows;
use crate::frame::side_by_side::{in_order, side_by_side};
use crate::{Failure, Result};

/// The collections of a frame's rows, in their order.
pub(crate) struct Collections(Vec<Result<Records, Failure>>);

impl Collections {
    /// Reads them, as many requests at once as there are workers.
    pub(crate) async fn read(
        client: &EdFiClient,
        df: &DataFrame,
        options: &GetAllOptions,
    ) -> Result<Self> {
        options.check()?;
        let rows = Rows::new(df, client, &options.batch)?;
        rows.check_complete(df)?;
        let resource = &Resource::new(Arc::new(rows.context()), options)?;
        let control = &options.batch.control;
        control.progress.begin(rows.active.len());
        let accesses: Vec<_> = rows.active.iter().map(|row| rows.access(*row)).collect();
        let read = |access| async move {
            let read = match access {
                Ok(access) => resource.read_alone(&access).await.map(Records::packed),
                Err(failure) => Err(failure),
            };
            control.progress.one_done();
            read
        };
        let workers = options.batch.workers;
        let read = side_by_side(resource.requests(), workers, accesses, read);
        Ok(Self(in_order(read).await))
    }

    /// What became of each.
    pub(crate) fn outcomes(&self) -> Vec<Outcome> {
        let outcome = |read: &Result<Records, Failure>| match read {
            Ok(_) => Outcome::read(),
            Err(failure) => failure.clone().into(),
        };
        self.0.iter().map(outcome).collect()
    }

    /// Each as one JSON array; null where there is none.
    pub(crate) fn json(&self, name: &str) -> Result<Series> {
        let texts = self.0.iter().map(|read| {
            let records = read.as_ref().ok()?;
            let mut text = vec![b'['];
            if let Some(packed) = &records.packed {
                // Without the comma after the last.
                text.extend_from_slice(&packed.text[..packed.text.len() - 1]);
            }
            for page in &records.pages {
                for row in page.kept() {
                    if text.len() > 1 {
                        text.push(b',');
                    }
                    page.page.write_json(row, &mut text);
                }
            }
            text.push(b']');
            String::from_utf8(text).ok()
        });
        Ok(StringChunked::from_iter_options(name.into(), texts).into_series())
    }

    /// Each as a list of Structs of a given schema; null where there is none.
    pub(crate) fn lists(self, name: &str, schema: &Schema) -> Result<Series> {
        let plan = Layout::from_schema(schema, ".")?.plan(".", &[]);
        let lengths = self.0.iter();
        let lengths: Vec<Option<usize>> = lengths
            .map(|read| read.as_ref().ok().map(Records::len))
            .collect();
        let read = self.0.into_iter().flatten().map(Some).collect();
        let records = frame_of(&plan, rows(read)?)?;
        let structs = columns::nest(records, "item", schema, false)?;
        columns::lists(name, &structs.into_series(), &lengths)
    }
}
