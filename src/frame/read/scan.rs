//! Scans: a resource whose columns are known before its records, which come page by page.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::RecordBatch;
use futures_util::stream::{BoxStream, Stream, StreamExt, TryStreamExt};
use polars::prelude::*;

use super::frames::{about_columns, explode, leading};
use super::opening::{FRESH, Kept, Openings};
use super::options::ScanOptions;
use super::resource::Unchecked;
use super::sources::Sources;
use crate::client::{Control, EdFiClient};
use crate::columns::{Layout, Plan};
use crate::{Error, Failure, Result};

/// A resource of one ODS or of many, with columns that are known; nothing of it is kept.
///
/// Made by [`EdFiClient::scan`] and [`EdFiClient::scan_all`]. Each call of [`pages`](Self::pages)
/// reads anew.
#[derive(Clone)]
pub struct Scan(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) client: EdFiClient,
    pub(super) endpoint: String,
    pub(super) options: ScanOptions,
    /// The districts and the name of their key; `None` is the client's own ODS.
    pub(super) districts: Option<(DataFrame, String)>,
    /// The columns of a page, before lists are exploded.
    pub(super) plan: Plan,
    pub(super) schema: Schema,
    /// What the plan was made of.
    #[cfg(feature = "python")]
    layout: Layout,
    /// Pages that were read to find the columns.
    pub(super) openings: Kept,
    /// The districts that failed when they were asked for their columns, where they are rows.
    pub(super) failed: BTreeMap<usize, Failure>,
    /// When that was.
    planned: Instant,
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A frame of districts holds their secrets.
        let districts = self.0.districts.as_ref().map(|(frame, _)| frame.height());
        f.debug_struct("Scan")
            .field("client", &self.0.client)
            .field("endpoint", &self.0.endpoint)
            .field("districts", &districts)
            .finish_non_exhaustive()
    }
}

impl EdFiClient {
    /// A scan of a resource of this client's own ODS.
    ///
    /// With a given schema nothing is sent, unless there are `params`, whose names are checked
    /// against the ODS's own OpenAPI document. Otherwise the columns are those of that document.
    /// Where there is none, and with [`SchemaChoice::Infer`](crate::SchemaChoice::Infer), they are those of the first page and of
    /// one more far from it, which are read for it (of many districts, of their first pages): strings
    /// stand for anything. The first page serves a reading that begins within a second. In all of
    /// them `_unknown` (String) has one JSON object for each record with something that the columns
    /// have no place for, such as properties that come up later; a later value that does not fit a
    /// column that was inferred is an error of the stream. [`EdFiClient::get_all`], which holds all records before it infers
    /// types, has columns of these instead.
    ///
    /// # Errors
    /// Wrong options; [`Error::Auth`] and [`Error::Http`] if the first page does not come.
    pub async fn scan(&self, endpoint: &str, options: &ScanOptions) -> Result<Scan> {
        Scan::new(self, Some(endpoint), options, None, None).await
    }

    /// A scan of a resource of many districts, one after another, the key column first.
    ///
    /// A frame of districts is read as [`EdFiClient::batch_get_all`] reads it. There is no
    /// `status`: a district that fails ends the stream with an error that names its key, and so
    /// does, at once, a row that cannot be visited. With [`OnError::Row`](crate::OnError::Row) `status`, `message`,
    /// `http_status` and `correlation_id` stand after the key, and such a district is one row more. Without a given schema the columns are those
    /// of the first pages of all districts together. A property named as the key column is kept
    /// as `<name>_record`. The first pages of as many districts as there are workers are fetched
    /// ahead, those of up to 64 more while the consumer waits for a district that does not answer,
    /// and other pages as for [`EdFiClient::pages`].
    ///
    /// # Errors
    /// As [`EdFiClient::scan`], and those of a wrong frame.
    pub async fn scan_all(
        &self,
        districts: &DataFrame,
        key_col: &str,
        options: &ScanOptions,
    ) -> Result<Scan> {
        let districts = (districts.clone(), key_col.to_owned());
        let endpoint = options.read.batch.endpoint.clone();
        Scan::new(self, endpoint.as_deref(), options, Some(districts), None).await
    }

    /// The records of a resource of this client's own ODS, a frame for each page, in order.
    ///
    /// As many pages as there are workers are fetched and decoded ahead of the consumer, and up to
    /// twice as many while it waits for pages, never more; where parts of a collection are read side
    /// by side (by page token, by windows, by the values of a filter), up to four pages of each of as
    /// many parts as there are workers. Dropping the stream stops that. Fewer rows than the server counts are an error at the end of the stream; rows handed on
    /// before are not withdrawn. A record that comes twice, since others were written meanwhile, is
    /// handed on once. The stream must be polled within a tokio runtime.
    ///
    /// ```
    /// # #[cfg(feature = "sandbox")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> polars_edfi::Result<()> {
    /// use futures_util::TryStreamExt;
    /// use polars_edfi::{EdFiClient, ScanOptions, sandbox::Sandbox};
    ///
    /// let ods = Sandbox::builder().records(1200).start()?;
    /// let (key, secret) = ods.credentials("255901").expect("a district");
    /// let client = EdFiClient::builder()
    ///     .base_url(ods.district_url("255901").expect("a district"))
    ///     .client_credentials(key, secret)
    ///     .build()?;
    /// let mut pages = client.pages("ed-fi/studentAssessments", &ScanOptions::default());
    /// let mut rows = 0;
    /// while let Some(page) = pages.try_next().await? {
    ///     rows += page.height();
    /// }
    /// assert_eq!(rows, 1200);
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "sandbox"))]
    /// # fn main() {}
    /// ```
    pub fn pages(
        &self,
        endpoint: &str,
        options: &ScanOptions,
    ) -> impl Stream<Item = Result<DataFrame>> + Send + Unpin + use<> {
        self.streamed(endpoint, options, |scan| scan.pages())
    }

    /// The same as Arrow record batches.
    ///
    /// Categorical and Enum columns of a given schema are strings there; `explode` is not for
    /// record batches.
    pub fn record_batches(
        &self,
        endpoint: &str,
        options: &ScanOptions,
    ) -> impl Stream<Item = Result<RecordBatch>> + Send + Unpin + use<> {
        self.streamed(endpoint, options, |scan| scan.record_batches())
    }

    fn streamed<T: Send + 'static>(
        &self,
        endpoint: &str,
        options: &ScanOptions,
        open: impl FnOnce(Scan) -> Result<BoxStream<'static, Result<T>>> + Send + 'static,
    ) -> BoxStream<'static, Result<T>> {
        let (client, options) = (self.clone(), options.clone());
        let endpoint = endpoint.to_owned();
        let opened = async move { open(client.scan(&endpoint, &options).await?) };
        futures_util::stream::once(opened).try_flatten().boxed()
    }
}

impl Scan {
    /// With `found`, of another scan of the same, nothing is asked for.
    pub(crate) async fn new(
        client: &EdFiClient,
        endpoint: Option<&str>,
        options: &ScanOptions,
        districts: Option<(DataFrame, String)>,
        found: Option<&str>,
    ) -> Result<Self> {
        let read = &options.read;
        let mut sources = Self::check(client, endpoint, options, districts.as_ref())?;
        let endpoint = client.endpoint_or(endpoint)?;
        let key_col = districts.as_ref().map(|(_, key_col)| key_col.clone());
        let first_key = match &districts {
            Some((frame, key_col)) => Some(frame.column(key_col)?.clear()),
            None => None,
        };
        let (layout, openings) = match found {
            Some(found) => (Layout::from_found(found, &read.separator)?, Openings::new()),
            None => sources.layout(read, &endpoint).await?,
        };
        let mut reserved: Vec<&str> = key_col.as_deref().into_iter().collect();
        let about = about_columns(options.on_error, &[]);
        reserved.extend(about.iter().map(|column| column.name().as_str()));
        let plan = layout.plan(&read.separator, &reserved);
        let leading = leading(first_key.as_ref(), &about);
        let empty = explode(DataFrame::empty_with_schema(plan.schema()), &leading, read)?;
        let schema = empty.schema().as_ref().clone();
        let scan = Self(Arc::new(Inner {
            client: client.clone(),
            endpoint,
            options: options.clone(),
            districts,
            plan,
            schema,
            #[cfg(feature = "python")]
            layout,
            openings: Kept::new(openings),
            failed: sources.failed,
            planned: Instant::now(),
        }));
        if let Some(columns) = &options.columns {
            scan.check_columns(columns)?;
        }
        Ok(scan)
    }

    /// Everything that can be known to be wrong before anything is sent.
    pub(crate) fn check(
        client: &EdFiClient,
        endpoint: Option<&str>,
        options: &ScanOptions,
        districts: Option<&(DataFrame, String)>,
    ) -> Result<Sources> {
        options.read.check()?;
        client.endpoint_or(endpoint)?;
        let about = about_columns(options.on_error, &[]);
        match districts {
            None if !about.is_empty() => Err(Error::Config(
                "on_error: a scan of one ODS has no rows of districts".into(),
            )),
            Some((_, key_col)) if about.iter().any(|column| column.name() == key_col) => {
                Err(Error::Config(format!(
                    "key_col must not be {key_col:?}: the result has a column of that name"
                )))
            }
            _ => Sources::new(client, options, districts, false),
        }
    }

    /// The columns, all of them.
    pub fn schema(&self) -> &Schema {
        &self.0.schema
    }

    /// The columns as a text by which another process has the same without asking; `None` where they
    /// were declared.
    #[cfg(feature = "python")]
    pub(crate) fn found(&self) -> Option<String> {
        self.0.layout.found()
    }

    pub(super) fn check_columns(&self, columns: &[String]) -> Result<()> {
        let schema = &self.0.schema;
        let mut seen = HashSet::new();
        for name in columns {
            if !schema.contains(name) {
                let all: Vec<&str> = schema.iter_names().map(PlSmallStr::as_str).collect();
                return Err(Error::ColumnNotFound(format!(
                    "no column '{name}'; there are {}",
                    all.join(", ")
                )));
            }
            if !seen.insert(name) {
                return Err(Error::Config(format!(
                    "columns: '{name}' stands in it twice"
                )));
            }
        }
        Ok(())
    }

    pub(super) fn sources(&self, control: Control) -> Result<Sources> {
        let mut options = self.0.options.clone();
        options.read.batch.control = control;
        let districts = self.0.districts.as_ref();
        let mut sources = Sources::new(&self.0.client, &options, districts, true)?;
        // Nobody waits twice for a district that was silent a moment ago.
        if self.0.planned.elapsed() < FRESH {
            sources.leave_out(&self.0.failed);
        }
        Ok(sources)
    }

    pub(super) fn unchecked(&self) -> Option<Unchecked> {
        let Inner {
            failed, options, ..
        } = &*self.0;
        (!failed.is_empty()).then(|| Unchecked {
            districts: failed.keys().copied().collect(),
            options: options.read.clone(),
        })
    }
}
