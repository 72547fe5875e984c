//! Collections read for something else than their records: page by page, in bounded memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::stream::BoxStream;
use polars::prelude::*;

use super::options::{GetAllOptions, OnShort, SchemaChoice};
use super::prefetch::Task;
use super::rows::new_rows;
use super::source::{Convert, Converted, Decoders, District, PlacedPage, Source, Window};
use super::stream::{self, ConvertedPage, PageRows, StreamOptions, Table};
use crate::client::permits::Permits;
use crate::client::session::{Access, CallContext};
use crate::columns::Layout;
use crate::{Error, Result, runtime};

/// The columns of a given schema, of every record of one ODS that a call has access to. Requests
/// share the permits of the call.
pub(crate) fn columns_of(
    context: Arc<CallContext>,
    access: Access,
    endpoint: &str,
    read: &GetAllOptions,
    requests: &Permits,
) -> Result<BoxStream<'static, Result<DataFrame>>> {
    let SchemaChoice::Given(schema) = &read.schema else {
        return Err(Error::Config("the columns must be given".into()));
    };
    let plan = Layout::from_schema(schema, &read.separator)?.plan(&read.separator, &[]);
    let names: Vec<&str> = schema.iter_names().map(PlSmallStr::as_str).collect();
    let plan = plan.select(&names)?;
    let decoders = Decoders::for_plan(read.links, plan.clone());
    let convert = move |page: &PlacedPage| {
        let rows = new_rows(plan.frame(&page.page)?, &page.repeated)?;
        Ok((rows, page.new_records()))
    };
    Ok(open(
        context,
        access,
        endpoint,
        (read, requests),
        Some(decoders),
        convert,
    ))
}

/// What becomes of every record of one ODS that a call has access to, a list for each page; each
/// is given as the server wrote it, while its page is at hand. Requests share the permits of the
/// call.
pub(crate) fn records_of<T: Send + 'static>(
    context: Arc<CallContext>,
    access: Access,
    endpoint: &str,
    (workers, requests): (usize, &Permits),
    become_of: impl Fn(&str) -> Option<T> + Send + Sync + 'static,
) -> BoxStream<'static, Result<Vec<T>>> {
    let mut read = GetAllOptions::default();
    read.batch.workers = workers;
    let convert = move |placed: &PlacedPage| {
        let (page, repeated) = (&placed.page, &placed.repeated);
        let rows = repeated.leading..page.len();
        let rows = rows.filter(|row| repeated.others.binary_search(row).is_err());
        let all = rows.filter_map(|row| become_of(page.record(row)?));
        Ok((all.collect(), placed.new_records()))
    };
    let decoders = Some(Decoders::of_texts());
    let read = (&read, requests);
    open(context, access, endpoint, read, decoders, convert)
}

impl<T: Send + 'static> Table for Vec<T> {
    fn height(&self) -> usize {
        self.len()
    }

    fn first(mut self, rows: usize) -> Self {
        self.truncate(rows);
        self
    }
}

fn open<T: Table>(
    context: Arc<CallContext>,
    access: Access,
    endpoint: &str,
    (read, requests): (&GetAllOptions, &Permits),
    decoders: Option<Decoders>,
    convert: impl Fn(&PlacedPage) -> Result<(T, usize)> + Send + Sync + 'static,
) -> BoxStream<'static, Result<T>> {
    let convert = Arc::new(convert);
    let convert: Convert<PageRows<T>> = Box::new(move |placed| {
        let convert = convert.clone();
        let work = runtime::compute_first(move || {
            let (rows, records) = convert(&placed)?;
            Ok(ConvertedPage {
                rows: vec![rows],
                records,
                with_unknown: 0,
            })
        });
        Converted::Pending(Task::spawn(
            async move { Ok(work.await.and_then(|work| work)) },
        ))
    });
    let workers = read.batch.workers;
    let window = Window::of_stream(workers, false);
    let mut source = Source::new(context, endpoint.to_owned(), read, window, convert);
    source.requests = requests.clone();
    if let Some(decoders) = decoders {
        source.decoders = decoders;
    }
    let options = StreamOptions {
        endpoint: endpoint.to_owned(),
        labels: vec![String::new()],
        ahead: workers,
        n_rows: None,
        short_is_error: read.on_short == OnShort::Error,
        tells_empty: false,
        tells_unknown: false,
        failed: BTreeMap::new(),
        failed_row: None,
    };
    stream::open(source, vec![District { number: 0, access }], options)
}
