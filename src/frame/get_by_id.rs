//! Items read by id: each row with a result and a record of its own.

use std::sync::Arc;

use polars::prelude::*;
use rayon::prelude::*;
use reqwest::StatusCode;
use reqwest::header::ACCEPT;

use super::input::Keys;
use super::json::check_object;
use super::options::{BatchOptions, check_single};
use super::outcome::Outcome;
use super::request::ItemRows;
use super::result::{self, Outcomes, Report, STATUS_NAME};
use super::run::{RowOperation, for_each_row};
use crate::client::EdFiClient;
use crate::client::profile;
use crate::client::session::{Access, CallContext};
use crate::client::transport::{Request, Response};
use crate::columns::{self, Layout, Page, PageDecoder, Plan};
use crate::runtime::Threads;
use crate::{Error, Failure, Result, runtime};

/// The result's column of the ids that were asked for.
const ID: &str = "id";
/// Records that are decoded together have no more different properties.
const MOST_PATHS: usize = 1 << 14;
/// Records that are decoded together.
const CHUNK: usize = 256;

/// The options of [`EdFiClient::get_by_id`] and [`EdFiClient::batch_get_by_id`].
#[derive(Debug, Clone, Default)]
pub struct GetByIdOptions {
    /// Columns, workers and the like. `get_by_id` looks at `endpoint` and `control`, and refuses
    /// `flatten` and `schema`, since it gives the JSON text.
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
        check_single(
            "batch_get_by_id",
            &[
                ("flatten", options.flatten),
                ("schema", options.schema.is_some()),
            ],
        )?;
        let context = self.default_context(&options.batch);
        let read = get(&context, &self.default_access()?, &endpoint, id.trim()).await;
        let response = read.map_err(Error::from_failure)?;
        if let Err(error) = PageDecoder::new(true).decode_object(&response.body) {
            return Err(Error::Http(response.unusable(&error.to_string())));
        }
        String::from_utf8(response.body.into_vec())
            .map_err(|_| Error::Json("the body is not UTF-8".into()))
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
        if let Some(schema) = &options.schema {
            Layout::from_schema(schema, ".")?;
        }
        let items = Items::read(self, df, id_col, &options.batch).await?;
        let control = options.batch.control.clone();
        let (df, options) = (df.clone(), options.clone());
        let frame = runtime::compute(move || items.frame(df, &options)).await??;
        Ok(result::finish(&control, STATUS_NAME, frame))
    }
}

/// The items of a frame's rows, as they came.
pub(crate) struct Items {
    ids: Keys,
    /// The rows that took part.
    rows: Vec<usize>,
    pub(crate) outcomes: Vec<Outcome>,
    /// Each a JSON object; `None` where there is no item.
    pub(crate) bodies: Vec<Option<Vec<u8>>>,
}

impl Items {
    pub(crate) async fn read(
        client: &EdFiClient,
        df: &DataFrame,
        id_col: &str,
        batch: &BatchOptions,
    ) -> Result<Self> {
        let ids = Keys::required(df, "id_col", id_col)?;
        let endpoint = client.endpoint_or(batch.endpoint.as_deref())?;
        let items = ItemRows::new(df, client, ids.clone(), endpoint, batch)?;
        items.rows.check_complete(df)?;
        items.rows.tell_left_out();
        let rows = items.rows.active.clone();
        let (workers, control) = (batch.workers, &batch.control);
        let read = for_each_row(&Arc::new(Gets(items)), &rows, None, workers, control, ()).await;
        let read = read.into_iter().map(|item| (item.outcome, item.body));
        let (outcomes, bodies) = read.unzip();
        Ok(Self {
            ids,
            rows,
            outcomes,
            bodies,
        })
    }

    /// The result: what became of each row, and its record.
    fn frame(mut self, df: DataFrame, options: &GetByIdOptions) -> Result<DataFrame> {
        // Records that cannot be decoded become errors of their rows first.
        let records = self.decoded(options)?;
        let report = Report {
            df,
            rows: self.rows,
            outcomes: Outcomes::Sent(self.outcomes),
        };
        let mut columns = vec![report.keys(&self.ids, ID)?];
        columns.extend(report.outcomes(result::ANSWER));
        columns.extend(report.places(options.batch.row_id_col.as_deref())?);
        columns.extend(records.into_columns());
        report.frame(columns)
    }

    /// The records as one Struct column `data`, or flattened; a row of nulls where there is none.
    fn decoded(&mut self, options: &GetByIdOptions) -> Result<DataFrame> {
        match (options.flatten, &options.schema) {
            (true, schema) => {
                let mut reserved = vec![ID, result::ROW_INDEX, result::ROW_ID];
                reserved.extend(result::ANSWER.iter().map(|column| column.name));
                Ok(self.leaves(schema.as_ref(), &reserved)?.0)
            }
            (false, None) => self.structs(),
            (false, Some(schema)) => {
                let data = self.given(schema, true)?;
                Ok(DataFrame::new(data.len(), vec![data.into_column()])?)
            }
        }
    }

    /// The records as a Struct column `data` of a given schema, with what has no place in it
    /// as one more field, `_unknown`, or without.
    pub(crate) fn given(&mut self, schema: &Schema, unknown: bool) -> Result<Series> {
        let (leaves, _) = self.leaves(Some(schema), &[])?;
        let present: Vec<bool> = self.bodies.iter().map(Option::is_some).collect();
        let nested = columns::nest(leaves, "data", schema, unknown)?;
        let nested = nested.rechunk().into_owned();
        Ok(nested
            .with_outer_validity(Some(present.into()))
            .into_series())
    }

    /// The records as JSON text, as it came; null where there is none.
    #[cfg(feature = "python")]
    pub(crate) fn json(&mut self, name: &str) -> Series {
        let texts = self.bodies.iter().map(|body| {
            // A body that was found to be JSON is UTF-8.
            body.as_deref()
                .and_then(|body| std::str::from_utf8(body).ok())
        });
        StringChunked::from_iter_options(name.into(), texts).into_series()
    }

    /// The records as a Struct column `data` of what they hold.
    fn structs(&mut self) -> Result<DataFrame> {
        let (leaves, plan) = self.leaves(None, &[])?;
        let height = self.bodies.len();
        if leaves.width() == 0 {
            let data = Column::full_null("data".into(), height, &DataType::Null);
            return Ok(DataFrame::new(height, vec![data])?);
        }
        let present: Vec<bool> = self.bodies.iter().map(Option::is_some).collect();
        let nested = columns::nest_inferred(&leaves, "data", &plan)?;
        let data = nested.rechunk().into_owned();
        let data = data.with_outer_validity(Some(present.into()));
        Ok(DataFrame::new(height, vec![data.into_column()])?)
    }

    /// The leaves of the records. A record that cannot be decoded becomes an error of its row.
    fn leaves(&mut self, schema: Option<&Schema>, reserved: &[&str]) -> Result<(DataFrame, Plan)> {
        let mut layout = match schema {
            Some(schema) => Layout::from_schema(schema, ".")?,
            None => Layout::default(),
        };
        let decode =
            |decoder: &mut PageDecoder,
             (bodies, outcomes): (&mut [Option<Vec<u8>>], &mut [Outcome])| {
                let together = |decoder: &mut PageDecoder, bodies: &[Option<Vec<u8>>]| {
                    let page = decoder.decode(&array_of(bodies))?;
                    few_paths(page, MOST_PATHS)
                };
                let mut decoded = together(decoder, bodies);
                // Items that have no room beside others go, those of the most properties first.
                for most in [usize::MAX, 1 << 12, 1 << 10, 1 << 8, 0] {
                    if decoded.is_ok() {
                        break;
                    }
                    drop_undecodable(decoder, bodies, outcomes, most);
                    decoded = together(decoder, bodies);
                }
                decoded
            };
        let threads = Threads::get()?;
        let bodies = self.bodies.par_chunks_mut(CHUNK);
        let chunks = bodies.zip(self.outcomes.par_chunks_mut(CHUNK));
        let pages: Result<Vec<Page>> = threads.on_all_cores(|| {
            let pages = chunks.map_init(PageDecoder::default, decode);
            pages.collect()
        });
        let pages = pages?;
        pages.iter().for_each(|page| layout.add(page));
        let plan = layout.plan(".", reserved);
        let frame = |page: Page| plan.frame(page);
        let frame = threads.on_all_cores(|| columns::stack_parallel(pages, &plan, frame))?;
        Ok((frame, plan))
    }
}

/// The rows of one batch.
struct Gets(ItemRows);

/// What a row brought.
struct Item {
    outcome: Outcome,
    body: Option<Vec<u8>>,
}

impl From<Failure> for Item {
    fn from(failure: Failure) -> Self {
        Self {
            outcome: failure.into(),
            body: None,
        }
    }
}

impl RowOperation for Gets {
    type Request = (Access, String);
    type Outcome = Item;

    fn district(&self, row: usize) -> Option<&str> {
        self.0.rows.url(row)
    }

    fn prepare(&self, row: usize) -> Result<(Access, String), Failure> {
        self.0.item(row)
    }

    async fn send(&self, (access, id): (Access, String)) -> Item {
        match get(&self.0.context, &access, &self.0.endpoint, &id).await {
            // Its headers go: they would keep the memory that they were read into.
            Ok(response) => Item {
                outcome: Outcome::success(&response),
                body: Some(response.body.into_vec()),
            },
            Err(failure) => failure.into(),
        }
    }
}

async fn get(
    context: &CallContext,
    access: &Access,
    endpoint: &str,
    id: &str,
) -> Result<Response, Failure> {
    let mut request = Request::get(context.item_url(access, endpoint, id).await?);
    let accept = profile::readable(context.client.profile(), endpoint);
    request.headers.push((ACCEPT, accept));
    let response = context
        .send(access, &mut request, context.client.policy())
        .await?;
    if response.status != StatusCode::OK {
        return Err(response.refusal());
    }
    check_object(&response.body)
        .map_err(|what| response.unusable(&format!("the body is not JSON of an item: {what}")))?;
    Ok(response)
}

/// The bodies as one page.
fn array_of(bodies: &[Option<Vec<u8>>]) -> Vec<u8> {
    let records: Vec<&[u8]> = bodies
        .iter()
        .map(|body| body.as_deref().unwrap_or(b"{}"))
        .collect();
    [b"[", records.join(&b","[..]).as_slice(), b"]"].concat()
}

/// A page whose records have no more different properties than there may be columns.
fn few_paths(page: Page, most: usize) -> Result<Page> {
    match page.paths() > most {
        true => Err(Error::Json(
            "it has more different properties than any item of an ODS".to_owned(),
        )),
        false => Ok(page),
    }
}

/// Turns the records that cannot be decoded into errors of their rows.
fn drop_undecodable(
    decoder: &mut PageDecoder,
    bodies: &mut [Option<Vec<u8>>],
    outcomes: &mut [Outcome],
    most: usize,
) {
    for (body, outcome) in bodies.iter_mut().zip(outcomes) {
        let decode = |body| few_paths(decoder.decode_object(body)?, most);
        let decoded = body.as_deref().map(decode);
        if let Some(Err(error)) = decoded {
            *outcome = Outcome {
                http_status: outcome.http_status,
                ..Failure::new(format!("HTTP 200 OK: {error}")).into()
            };
            *body = None;
        }
    }
}
