//! A few columns of a whole collection, as texts: all that is decoded of its records.

use std::sync::Arc;

use polars::prelude::*;

use super::assemble::frame_of;
use super::options::GetAllOptions;
use super::packed::rows;
use super::source::{Decoders, Source};
use super::whole::WholePages;
use crate::client::changes::Snapshot;
use crate::client::paging::{Collection, Paging};
use crate::client::permits::Permits;
use crate::client::session::{Access, CallContext};
use crate::columns::{Layout, Plan};
use crate::openapi::Record;
use crate::{Failure, Result, runtime};

/// Some properties of a resource, whichever ODS has it.
pub(crate) struct SomeColumns {
    source: Arc<Source<WholePages>>,
    plan: Plan,
}

impl SomeColumns {
    /// The properties at these paths, their names joined by dots. Requests share the permits of
    /// the call.
    pub(crate) fn new<'a>(
        context: Arc<CallContext>,
        endpoint: &str,
        paths: impl IntoIterator<Item = &'a str>,
        requests: &Permits,
        workers: usize,
        paging: Paging,
    ) -> Result<Self> {
        let mut read = GetAllOptions {
            paging,
            ..GetAllOptions::default()
        };
        read.batch.workers = workers;
        let names: Vec<&str> = paths.into_iter().collect();
        let layout = Layout::from_record(&Record::of_texts(names.iter().copied()), ".");
        let plan = layout.plan(".", &[]).select(&names)?;
        let mut source = Source::of_wholes(context, endpoint.to_owned(), &read);
        source.decoders = Decoders::for_plan(true, plan.clone());
        source.requests = requests.clone();
        Ok(Self {
            source: Arc::new(source),
            plan,
        })
    }

    /// How many records one ODS has, as it counts them itself; `None` where it does not count.
    pub(crate) async fn count(&self, access: &Access) -> Result<Option<u64>, Failure> {
        let source = &self.source;
        let count = async {
            let context = &source.context;
            let collection = Collection::of(context, access, &source.path, Snapshot::No);
            collection.await?.count(context, access).await
        };
        source.requests.run(count).await
    }

    /// These properties of every record of one ODS, in columns named by their paths, String.
    pub(crate) async fn read(&self, access: &Access) -> Result<DataFrame, Failure> {
        let records = Source::read_whole(&self.source, access, true).await?;
        let plan = self.plan.clone();
        let frame = runtime::compute(move || frame_of(&plan, rows(vec![Some(records)])?)).await;
        let frame = frame.and_then(|frame| frame);
        frame.map_err(|error| Failure::new(error.to_string()))
    }
}
