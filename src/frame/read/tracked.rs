//! What an ODS remembers of one resource beside its records: deletes and changed keys.

use std::borrow::Cow;
use std::sync::Arc;

use polars::prelude::*;

use super::assemble::frame_of;
use super::options::{GetAllOptions, check_sizes};
use super::packed::rows;
use super::source::Source;
use super::whole::Records;
use crate::client::changes::check_window;
use crate::client::metadata::{self, Described, Metadata};
use crate::client::paging::Paging;
use crate::client::session::{Access, CallContext};
use crate::client::{Control, EdFiClient, urls};
use crate::columns::Layout;
use crate::frame::client_defaults::into_error;
use crate::frame::options::BatchOptions;
use crate::{Error, Failure, Result, runtime};

pub(crate) const ID: &str = "id";
const CHANGE_VERSION: &str = "changeVersion";

/// The options of [`EdFiClient::deletes`] and [`EdFiClient::key_changes`].
#[derive(Debug, Clone)]
pub struct ChangeOptions {
    /// Only changes of this version or later.
    pub min_change_version: Option<i64>,
    /// Only changes of this version or before.
    pub max_change_version: Option<i64>,
    /// Records a page; a server that allows fewer is asked for what it allows.
    pub limit: usize,
    /// How many requests are in flight at once.
    pub workers: usize,
    /// Read from the ODS's snapshot.
    pub snapshot: bool,
    /// Watches and stops the call.
    pub control: Control,
}

impl Default for ChangeOptions {
    fn default() -> Self {
        Self {
            min_change_version: None,
            max_change_version: None,
            limit: 500,
            workers: 8,
            snapshot: false,
            control: Control::new(),
        }
    }
}

impl ChangeOptions {
    fn check(&self) -> Result<()> {
        check_sizes(self.limit, self.workers)?;
        check_window(self.min_change_version, self.max_change_version)
    }

    fn as_read(&self) -> GetAllOptions {
        GetAllOptions {
            batch: BatchOptions {
                workers: self.workers,
                control: self.control.clone(),
                ..BatchOptions::default()
            },
            limit: self.limit,
            // No ODS gives page tokens here.
            paging: Paging::Offset,
            min_change_version: self.min_change_version,
            max_change_version: self.max_change_version,
            snapshot: self.snapshot,
            ..GetAllOptions::default()
        }
    }
}

/// What the ODS remembers beside the records of a resource.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Deletes,
    KeyChanges,
}

impl Kind {
    fn path(self) -> &'static str {
        match self {
            Self::Deletes => "deletes",
            Self::KeyChanges => "keyChanges",
        }
    }

    /// The objects that hold natural keys.
    fn key_columns(self) -> &'static [&'static str] {
        match self {
            Self::Deletes => &["keyValues"],
            Self::KeyChanges => &["oldKeyValues", "newKeyValues"],
        }
    }
}

impl EdFiClient {
    /// The items of a resource of this client's ODS that were deleted.
    ///
    /// Returns one row per deletion: `id` (String), `changeVersion` (Int64), then `keyValues.*`,
    /// which ODSs up to 5.3 do not tell. An item that was deleted, made again and deleted again
    /// has two rows; one and the same deletion (same id and version), which a page can repeat when
    /// others shift it, has one.
    ///
    /// # Errors
    /// Wrong options ([`Error::Config`]), all before anything is sent. [`Error::Auth`] and
    /// [`Error::Http`]: as [`get_all`](Self::get_all), never a part of the deletions.
    pub async fn deletes(&self, endpoint: &str, options: &ChangeOptions) -> Result<DataFrame> {
        self.tracked(endpoint, Kind::Deletes, options).await
    }

    /// The items of a resource of this client's ODS whose natural key changed.
    ///
    /// Returns one row per item: `id` (String), `changeVersion` (Int64), then `oldKeyValues.*` and
    /// `newKeyValues.*`, the first and the last key in the window.
    ///
    /// # Errors
    /// As [`deletes`](Self::deletes).
    pub async fn key_changes(&self, endpoint: &str, options: &ChangeOptions) -> Result<DataFrame> {
        self.tracked(endpoint, Kind::KeyChanges, options).await
    }

    async fn tracked(
        &self,
        endpoint: &str,
        kind: Kind,
        options: &ChangeOptions,
    ) -> Result<DataFrame> {
        options.check()?;
        let endpoint = urls::endpoint(endpoint).map_err(Error::Config)?;
        let access = self.default_access()?;
        let control = &options.control;
        let context = Arc::new(self.watched_context(control));
        let path = format!("{endpoint}/{}", kind.path());
        let mut source = Source::of_wholes(context.clone(), path, &options.as_read());
        source.by_version = true;
        control.progress.begin(1);
        let records = Source::read_whole(&Arc::new(source), &access, true).await;
        control.progress.one_done();
        let records = match records {
            Ok(records) => records,
            Err(failure) => {
                let explained = metadata::explained(failure, (&context, &access), &endpoint);
                return Err(into_error(explain_404(Box::pin(explained).await), control));
            }
        };
        let frame = runtime::compute(move || frame(records)).await??;
        match frame.height() {
            0 => with_keys(frame, &context, &access, &endpoint, kind).await,
            _ => Ok(frame),
        }
    }

    /// No changes at all, in the columns of some.
    pub(super) async fn nothing_tracked(
        &self,
        endpoint: &str,
        control: &Control,
    ) -> Result<[DataFrame; 2]> {
        let (context, access) = (self.watched_context(control), self.default_access()?);
        let none = async |kind| {
            let frame = with_fixed_columns(DataFrame::empty())?;
            with_keys(frame, &context, &access, endpoint, kind).await
        };
        Ok([none(Kind::Deletes).await?, none(Kind::KeyChanges).await?])
    }
}

fn explain_404(mut failure: Failure) -> Failure {
    if failure.http_status == Some(404) {
        failure.message = format!(
            "{} (no such resource, or change queries are turned off in this ODS)",
            failure.message
        );
    }
    failure
}

/// A frame without rows, with the columns of the natural key as the ODS's own document tells it.
/// Where there is no document, or where it cannot be had, nobody knows them.
async fn with_keys(
    mut frame: DataFrame,
    context: &CallContext,
    access: &Access,
    endpoint: &str,
    kind: Kind,
) -> Result<DataFrame> {
    let described = Box::pin(Metadata::of(context, access).describe(endpoint)).await;
    let Ok(Described::Resource(resource)) = described else {
        return Ok(frame);
    };
    for prefix in kind.key_columns() {
        for (name, dtype) in resource.key_columns() {
            let name = format!("{prefix}.{name}");
            if frame.column(&name).is_err() {
                frame.with_column(Column::new_empty(name.into(), &dtype))?;
            }
        }
    }
    Ok(frame)
}

fn frame(records: Records) -> Result<DataFrame> {
    let mut layout = Layout::new();
    for page in &records.pages {
        layout.add(&page.page);
    }
    let plan = layout.plan(".", &[]);
    let frame = frame_of(&plan, rows(vec![Some(records)])?)?;
    with_fixed_columns(in_camel_case(frame)?)
}

/// ODS/API 5.x writes `Id`, `ChangeVersion` and `KeyValues`.
fn in_camel_case(mut frame: DataFrame) -> Result<DataFrame> {
    if frame.column("Id").is_err() {
        return Ok(frame);
    }
    let names: Vec<String> = frame
        .get_column_names()
        .iter()
        .map(|name| camel_case(name))
        .collect();
    frame.set_column_names(&names)?;
    Ok(frame)
}

fn camel_case(path: &str) -> String {
    let segments = path.split('.').map(|segment| {
        let mut letters = segment.chars();
        let first = letters.next().map(|first| first.to_ascii_lowercase());
        first.into_iter().chain(letters).collect::<String>()
    });
    segments.collect::<Vec<_>>().join(".")
}

/// The id as records have it: 32 lower-case hexadecimal digits, where it is a GUID (5.x writes
/// them in capitals and with dashes).
pub(crate) fn plain_id(id: &str) -> Cow<'_, str> {
    let is_guid = id.len() == 36
        && id.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    match is_guid {
        true => id.replace('-', "").to_ascii_lowercase().into(),
        false => id.into(),
    }
}

/// The frame with `id` and `changeVersion` before all others, whatever there is.
fn with_fixed_columns(frame: DataFrame) -> Result<DataFrame> {
    let height = frame.height();
    let fixed = [(ID, DataType::String), (CHANGE_VERSION, DataType::Int64)];
    let mut columns = Vec::with_capacity(frame.width() + fixed.len());
    for (name, dtype) in &fixed {
        columns.push(match frame.column(name) {
            Ok(column) if *name == ID => plain_ids(column)?,
            Ok(column) => cast(column, dtype),
            Err(_) => Column::full_null((*name).into(), height, dtype),
        });
    }
    let is_fixed = |column: &Column| fixed.iter().any(|(name, _)| column.name() == *name);
    columns.extend(frame.into_columns().into_iter().filter(|c| !is_fixed(c)));
    Ok(DataFrame::new(height, columns)?)
}

/// The values as far as they can be of a type: a list is neither a text nor a number.
fn cast(column: &Column, dtype: &DataType) -> Column {
    let cast = column.cast(dtype);
    cast.unwrap_or_else(|_| Column::full_null(column.name().clone(), column.len(), dtype))
}

fn plain_ids(column: &Column) -> Result<Column> {
    let texts = cast(column, &DataType::String);
    let ids: StringChunked = texts.str()?.iter().map(|id| id.map(plain_id)).collect();
    Ok(ids.with_name(ID.into()).into_column())
}
