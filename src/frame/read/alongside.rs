//! Collections read for something else than their records: page by page, in bounded memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::stream::BoxStream;
use polars::prelude::*;

use super::options::{GetAllOptions, OnShort, SchemaChoice};
use super::prefetch::Task;
use super::rows::new_rows;
use super::scan::window;
use super::source::{Convert, Converted, Decoders, District, PlacedPage, Source};
use super::stream::{self, ConvertedPage, PageRows, StreamOptions};
use crate::client::session::{Access, CallContext};
use crate::columns::Layout;
use crate::{Error, Result, runtime};

/// The columns of a given schema, of every record of one ODS that a call has access to.
pub(crate) fn columns_of(
    context: Arc<CallContext>,
    access: Access,
    endpoint: &str,
    read: &GetAllOptions,
) -> Result<BoxStream<'static, Result<DataFrame>>> {
    let SchemaChoice::Given(schema) = &read.schema else {
        return Err(Error::Config("the columns must be given".into()));
    };
    let plan = Layout::from_schema(schema, &read.separator)?.plan(&read.separator, &[]);
    let names: Vec<&str> = schema.iter_names().map(PlSmallStr::as_str).collect();
    let plan = plan.select(&names)?;
    let decoders = Decoders::for_plan(read.links, plan.clone());
    let convert = move |page: &PlacedPage| new_rows(plan.frame(&page.page)?, &page.repeated);
    Ok(open(
        context,
        access,
        endpoint,
        read,
        Some(decoders),
        convert,
    ))
}

/// Every record of one ODS that a call has access to, as JSON without links: the column `json`.
pub(crate) fn records_of(
    context: Arc<CallContext>,
    access: Access,
    endpoint: &str,
    workers: usize,
) -> BoxStream<'static, Result<DataFrame>> {
    let mut read = GetAllOptions {
        links: false,
        ..GetAllOptions::default()
    };
    read.batch.workers = workers;
    let convert = |placed: &PlacedPage| {
        let page = &placed.page;
        let mut texts = StringChunkedBuilder::new("json".into(), page.len());
        let mut text = Vec::new();
        for row in 0..page.len() {
            text.clear();
            page.write_json(row, &mut text);
            texts.append_option(std::str::from_utf8(&text).ok());
        }
        let df = DataFrame::new(page.len(), vec![texts.finish().into_column()])?;
        new_rows(df, &placed.repeated)
    };
    open(context, access, endpoint, &read, None, convert)
}

fn open(
    context: Arc<CallContext>,
    access: Access,
    endpoint: &str,
    read: &GetAllOptions,
    decoders: Option<Decoders>,
    convert: impl Fn(&PlacedPage) -> Result<DataFrame> + Send + Sync + 'static,
) -> BoxStream<'static, Result<DataFrame>> {
    let convert = Arc::new(convert);
    let convert: Convert<PageRows<DataFrame>> = Box::new(move |placed| {
        let convert = convert.clone();
        let work = runtime::compute(move || {
            Ok(ConvertedPage {
                rows: vec![convert(&placed)?],
                records: placed.new_records(),
                with_unknown: 0,
            })
        });
        Converted::Pending(Task::spawn(
            async move { Ok(work.await.and_then(|work| work)) },
        ))
    });
    let workers = read.batch.workers;
    let mut source = Source::new(context, endpoint.to_owned(), read, window(workers), convert);
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
