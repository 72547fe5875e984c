//! Items read by id: each row with a result and a record of its own.

use futures_util::future::{FutureExt, ready};
use polars::prelude::*;
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, HeaderValue};

use super::input::{self, Keys, kept_rows};
use super::json::check_object;
use super::options::{BatchOptions, STATUS_COL};
use super::outcome::{Outcome, Report};
use super::request::Rows;
use super::run::for_each_row;
use crate::client::EdFiClient;
use crate::client::session::{Access, CallContext};
use crate::client::transport::{Answer, Call};
use crate::columns::{self, Layout, Page, PageDecoder};
use crate::{Error, Failure, Result, runtime};

/// What the result of a read by id begins with.
const RESULT_COLUMNS: [&str; 7] = [
    "id",
    "status",
    "message",
    "http_status",
    "correlation_id",
    "row_index",
    "row_id",
];
/// Stands between names where records are flattened only to be put together again.
const INNER_SEPARATOR: &str = "\u{1f}";
/// Records that are decoded together.
const CHUNK: usize = 512;

/// The options of [`EdFiClient::get_by_id`] and [`EdFiClient::batch_get_by_id`].
#[derive(Debug, Clone, Default)]
pub struct GetByIdOptions {
    /// Columns, workers and the like. `get_by_id` looks at `endpoint` and `control`.
    pub batch: BatchOptions,
    /// Whether the record's properties become columns, in place of one Struct column `data`.
    pub flatten: bool,
    /// The columns of a record, named as flattened, whatever it holds; inferred by default.
    pub schema: Option<Schema>,
}

impl EdFiClient {
    /// Reads one item of this client's ODS, as the JSON text that the server sent.
    ///
    /// # Errors
    /// Wrong options, no base URL, no credentials; [`Error::Auth`] and [`Error::Http`] where the
    /// ODS does not answer with the item.
    pub async fn get_by_id(&self, id: &str, options: &GetByIdOptions) -> Result<String> {
        let endpoint = self.endpoint_or(options.batch.endpoint.as_deref())?;
        let context = self.own_context(&options.batch);
        let read = get(&context, &self.own_access()?, &endpoint, id.trim()).await;
        let answer = read.map_err(Error::from_failure)?;
        if let Err(error) = PageDecoder::new(true).decode_object(&answer.body) {
            return Err(Error::Http(answer.unusable(&error.to_string())));
        }
        String::from_utf8(answer.body).map_err(|_| Error::Json("the body is not UTF-8".into()))
    }

    /// Reads the item of each row.
    ///
    /// Returns one row per row that took part, in input order: `id` (as in `id_col`), `status`
    /// (String: null or `"error"`), `message` (String), `http_status` (Int32), `correlation_id`
    /// (String), `row_index` (IdxSize), `row_id` (as in `row_id_col`), and `data` (Struct; null
    /// where there is no item) or its flattened columns.
    ///
    /// # Errors
    /// Wrong options, a column that is missing or of a wrong type: all before anything is sent.
    pub async fn batch_get_by_id(
        &self,
        df: &DataFrame,
        id_col: &str,
        options: &GetByIdOptions,
    ) -> Result<DataFrame> {
        let batch = &options.batch;
        let ids = Keys::required(df, "id_col", id_col)?;
        let row_id = batch.row_id_col.as_deref();
        if let Some(name) = row_id {
            input::required(df, "row_id_col", name)?;
        }
        let endpoint = self.endpoint_or(batch.endpoint.as_deref())?;
        let kept = kept_rows(df, &batch.status_col, STATUS_COL, &batch.skip_statuses)?;
        let rows = Rows::new(df, self, batch)?;
        rows.check_complete(df)?;
        let context = rows.context();
        let item = |row| {
            rows.access(row)
                .and_then(|access| Ok((access, ids.need(row)?)))
        };
        let (shared, endpoint) = (&context, &endpoint);
        let work = |row| match item(row) {
            Ok((access, id)) => async move { get(shared, &access, endpoint, id).await }.boxed(),
            Err(failure) => ready(Err(failure)).boxed(),
        };
        let answers = for_each_row(&kept, None, batch.workers, &batch.control, work).await;

        let mut outcomes: Vec<Outcome> = Vec::with_capacity(answers.len());
        let mut bodies = Vec::with_capacity(answers.len());
        for answer in answers {
            let (outcome, body) = match answer {
                Ok(answer) => (Outcome::success(&answer), Some(answer.body)),
                Err(failure) => (failure.into(), None),
            };
            outcomes.push(outcome);
            bodies.push(body);
        }
        let schema = options.schema.clone();
        let flatten = options.flatten;
        let decode =
            move || decode(&mut outcomes, bodies, schema.as_ref(), flatten).map(|r| (outcomes, r));
        let (outcomes, records) = runtime::compute(decode).await??;
        let report = Report {
            df,
            rows: &kept,
            outcomes: &outcomes,
        };
        let mut columns = vec![report.keys(&ids, "id")?];
        columns.extend(report.answers());
        columns.extend(report.places(row_id)?);
        columns.extend(records.into_columns());
        report.frame(columns)
    }
}

async fn get(
    context: &CallContext,
    access: &Access,
    endpoint: &str,
    id: &str,
) -> Result<Answer, Failure> {
    let mut call = Call::get(context.item_url(access, endpoint, id).await?);
    call.headers
        .push((ACCEPT, HeaderValue::from_static("application/json")));
    let answer = context
        .send(access, &mut call, context.client.policy())
        .await?;
    if answer.status != StatusCode::OK {
        return Err(answer.refusal());
    }
    check_object(&answer.body)
        .map_err(|what| answer.unusable(&format!("the body is not JSON of an item: {what}")))?;
    Ok(answer)
}

/// The records as one frame, a row of nulls where there is none.
fn decode(
    outcomes: &mut [Outcome],
    mut bodies: Vec<Option<Vec<u8>>>,
    schema: Option<&Schema>,
    flatten: bool,
) -> Result<DataFrame> {
    let separator = if flatten { "." } else { INNER_SEPARATOR };
    let mut layout = match schema {
        Some(schema) => Layout::from_schema(schema, separator)?,
        None => Layout::default(),
    };
    let mut decoder = PageDecoder::new(true);
    let mut pages: Vec<Page> = Vec::new();
    for (bodies, outcomes) in bodies.chunks_mut(CHUNK).zip(outcomes.chunks_mut(CHUNK)) {
        let page = match decoder.decode(&array_of(bodies)) {
            Ok(page) => page,
            Err(_) => {
                weed(&mut decoder, bodies, outcomes);
                decoder.decode(&array_of(bodies))?
            }
        };
        layout.add(&page);
        pages.push(page);
    }
    let reserved: &[&str] = if flatten { &RESULT_COLUMNS } else { &[] };
    let plan = layout.plan(separator, reserved);
    let mut frame = DataFrame::empty_with_schema(plan.schema());
    for page in pages {
        frame.vstack_mut_owned(plan.frame(page)?)?;
    }
    if flatten {
        return Ok(frame);
    }
    let present: Vec<bool> = bodies.iter().map(Option::is_some).collect();
    let data = if frame.width() == 0 {
        Column::full_null("data".into(), bodies.len(), &DataType::Null)
    } else {
        let nested = columns::unflatten(&frame, "data", INNER_SEPARATOR, None)?;
        let nested = nested.column("data")?.as_materialized_series().clone();
        let mask = BooleanChunked::from_slice(PlSmallStr::EMPTY, &present);
        let nulls = Series::full_null("data".into(), 1, nested.dtype());
        nested.zip_with(&mask, &nulls)?.into_column()
    };
    Ok(DataFrame::new(bodies.len(), vec![data])?)
}

/// The bodies as one page.
fn array_of(bodies: &[Option<Vec<u8>>]) -> Vec<u8> {
    let records: Vec<&[u8]> = bodies
        .iter()
        .map(|body| body.as_deref().unwrap_or(b"{}"))
        .collect();
    [b"[", records.join(&b","[..]).as_slice(), b"]"].concat()
}

/// Turns the records that cannot be decoded into errors of their rows.
fn weed(decoder: &mut PageDecoder, bodies: &mut [Option<Vec<u8>>], outcomes: &mut [Outcome]) {
    for (body, outcome) in bodies.iter_mut().zip(outcomes) {
        let decoded = body.as_deref().map(|body| decoder.decode_object(body));
        if let Some(Err(error)) = decoded {
            *outcome = Outcome {
                http_status: outcome.http_status,
                ..Failure::new(format!("HTTP 200 OK: {error}")).into()
            };
            *body = None;
        }
    }
}
