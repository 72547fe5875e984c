//! How every record of a resource is read: the options, and what of them can be wrong.

use polars::prelude::{DataFrame, Schema};

use super::filter::Filter;
use super::reader::Versions;
use crate::choice::choice;
use crate::client::changes::check_window;
use crate::client::paging::Paging;
use crate::columns::{self, Layout, Lists};
use crate::frame::options::BatchOptions;
use crate::{Error, Result};

/// Parameters that a call sets by itself.
const PAGING_PARAMS: [&str; 5] = ["limit", "offset", "totalCount", "pageToken", "pageSize"];

/// Parameters that stand for options.
const WINDOW_PARAMS: [&str; 2] = ["minChangeVersion", "maxChangeVersion"];

fn is_name(name: &str, known: &str) -> bool {
    name.eq_ignore_ascii_case(known)
}

/// How records become columns.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum SchemaChoice {
    /// The types of the ODS's own OpenAPI document; where it serves none, or where the document
    /// does not know the resource, inferred. If some districts of a batch have a document, theirs
    /// hold for all of them.
    #[default]
    Auto,
    /// The types of the ODS's own OpenAPI document, and `_unknown` (String) for what it has no
    /// place for. A district without a document that knows the resource fails.
    OpenApi,
    /// From the records.
    Infer,
    /// These columns, whatever the records hold; the rest goes to `_unknown`.
    Given(Schema),
}

choice!(SchemaChoice: "auto" => Auto, "infer" => Infer, "openapi" => OpenApi; "given");

/// What happens to a district that has fewer records than its server counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnShort {
    /// It is an error row.
    #[default]
    Error,
    /// Its records are kept, and a warning is given.
    Warn,
}

choice!(OnShort: "error" => Error, "warn" => Warn);

/// What a district that fails means for a scan of many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnError {
    /// The stream ends with an error that names its key.
    #[default]
    Raise,
    /// It is one row with the status `"error"`, after what it gave, and the others go on. One that
    /// failed when the columns were looked for is asked again by each reading more than a second later.
    Row,
}

choice!(OnError: "raise" => Raise, "row" => Row);

/// The options of [`EdFiClient::get_all`](crate::EdFiClient::get_all) and
/// [`EdFiClient::batch_get_all`](crate::EdFiClient::batch_get_all).
#[derive(Debug, Clone)]
pub struct GetAllOptions {
    /// Columns, workers and the like. `get_all` looks at `endpoint`, `workers` and `control`.
    pub batch: BatchOptions,
    /// Filters, as the API names them.
    pub params: Vec<(String, String)>,
    /// Records a page, at least 1; a server that allows fewer is asked for what it allows. Pages
    /// by offset overlap by one record, so that 1 is read in pages of 2.
    pub limit: usize,
    /// How pages are asked for: by offset, by token, or by windows of change versions.
    pub paging: Paging,
    /// How records become columns.
    pub schema: SchemaChoice,
    /// What stands between the names of nested properties in the name of a column.
    pub separator: String,
    /// Whether the `link` objects of references become columns.
    pub links: bool,
    /// List columns that become one row for each element, one after another.
    pub explode: Vec<String>,
    /// What becomes of all other lists.
    pub lists: Lists,
    /// Only records that changed at this version or later.
    pub min_change_version: Option<i64>,
    /// Only records that changed at this version or before.
    pub max_change_version: Option<i64>,
    /// Read from the ODS's snapshot.
    pub snapshot: bool,
    /// What happens to a district with missing records.
    pub on_short: OnShort,
}

impl Default for GetAllOptions {
    fn default() -> Self {
        Self {
            batch: BatchOptions::default(),
            params: Vec::new(),
            limit: 500,
            paging: Paging::default(),
            schema: SchemaChoice::default(),
            separator: ".".into(),
            links: true,
            explode: Vec::new(),
            lists: Lists::default(),
            min_change_version: None,
            max_change_version: None,
            snapshot: false,
            on_short: OnShort::default(),
        }
    }
}

impl GetAllOptions {
    /// The first and the last change version that are asked for, by their options or by `params`:
    /// a call that divides a collection into windows sends no second pair of them.
    pub(super) fn window(&self) -> Result<Versions> {
        let one = |option: &str, own: Option<i64>, name: &str| {
            let mut told = own;
            for (_, text) in self.params.iter().filter(|(known, _)| is_name(known, name)) {
                let version = text.trim().parse().map_err(|_| {
                    Error::Config(format!("params: {name:?} must be a whole number"))
                })?;
                if told.is_some_and(|told| told != version) {
                    return Err(Error::Config(format!(
                        "params must not hold {name:?} beside another {option}"
                    )));
                }
                told = Some(version);
            }
            Ok(told)
        };
        let [min, max] = WINDOW_PARAMS;
        let min = one("min_change_version", self.min_change_version, min)?;
        let max = one("max_change_version", self.max_change_version, max)?;
        check_window(min, max)?;
        Ok((min, max))
    }

    /// The filters that are no change versions.
    pub(super) fn filters(&self) -> Vec<(String, String)> {
        let is_version = |name: &str| WINDOW_PARAMS.iter().any(|own| is_name(name, own));
        let filters = self.params.iter().filter(|(name, _)| !is_version(name));
        filters.cloned().collect()
    }

    /// Refuses what is wrong whatever a server says.
    pub(crate) fn check(&self) -> Result<()> {
        check_sizes(self.limit, self.batch.workers)?;
        self.window()?;
        check_params(&self.params)?;
        columns::check_part("separator", &self.separator)?;
        if let SchemaChoice::Given(schema) = &self.schema {
            let layout = Layout::from_schema(schema, &self.separator)?;
            let plan = layout.plan(&self.separator, &[]);
            let empty = DataFrame::empty_with_schema(plan.schema());
            // What no record can change is known to be wrong before anything is sent.
            let explode: Vec<&str> = self.explode.iter().map(String::as_str).collect();
            columns::flatten(&empty, None, &self.separator, Some(&explode))?;
        }
        Ok(())
    }
}

pub(super) fn check_sizes(limit: usize, workers: usize) -> Result<()> {
    match (limit, workers) {
        (0, _) => Err(Error::Config("limit must be at least 1".into())),
        (_, 0) => Err(Error::Config("workers must be at least 1".into())),
        _ => Ok(()),
    }
}

/// Refuses parameters that a call sets by itself.
pub(super) fn check_params(params: &[(String, String)]) -> Result<()> {
    let is_own = |name: &str| PAGING_PARAMS.iter().any(|own| is_name(name, own));
    match params.iter().find(|(name, _)| is_own(name)) {
        Some((name, _)) => Err(Error::Config(format!(
            "params must not hold {name:?}: pages are counted by the call itself (limit=)"
        ))),
        None => Ok(()),
    }
}

/// The options of [`EdFiClient::pages`](crate::EdFiClient::pages),
/// [`EdFiClient::record_batches`](crate::EdFiClient::record_batches),
/// [`EdFiClient::scan`](crate::EdFiClient::scan) and
/// [`EdFiClient::scan_all`](crate::EdFiClient::scan_all).
///
/// ```
/// use polars_edfi::{GetAllOptions, ScanOptions};
///
/// let first_ten = ScanOptions {
///     read: GetAllOptions { limit: 100, ..GetAllOptions::default() },
///     columns: Some(vec!["id".into()]),
///     n_rows: Some(10),
///     ..ScanOptions::default()
/// };
/// # let _ = first_ten;
/// ```
#[derive(Debug, Clone)]
pub struct ScanOptions {
    /// What is read and how, as for [`EdFiClient::batch_get_all`](crate::EdFiClient::batch_get_all).
    /// The endpoint is named by the scan itself, and nothing is read a second time for `on_short`:
    /// rows are handed on as they come.
    pub read: GetAllOptions,
    /// The only columns that are decoded, in this order; `None` is all of them.
    pub columns: Option<Vec<String>>,
    /// The most rows that are read, of those that the filters keep.
    pub n_rows: Option<usize>,
    /// Only records that pass all of these.
    ///
    /// Filters on fields that the ODS's OpenAPI document lists as query parameters are sent to the
    /// server: one value with each request, several values of one filter as one request for each,
    /// while that takes fewer requests than pages; records come in the order of the values then. All
    /// filters are applied here as well. One on the key column leaves out districts.
    pub filters: Vec<Filter>,
    /// Whether filters are sent to the server.
    pub pushdown: bool,
    /// What a district that fails means, in a scan of many.
    pub on_error: OnError,
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self {
            read: GetAllOptions::default(),
            columns: None,
            n_rows: None,
            filters: Vec::new(),
            pushdown: true,
            on_error: OnError::default(),
        }
    }
}
