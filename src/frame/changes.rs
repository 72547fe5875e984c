//! What changed in one resource: deletes, changed keys, and all of a window at once.

use polars::prelude::*;

use super::client_defaults::into_error;
use super::district::{Reader, Records};
use super::get_all::{GetAllOptions, SchemaChoice, frames};
use crate::client::paging::{Collection, Paging};
use crate::client::session::Access;
use crate::client::{ChangeVersions, Control, EdFiClient, urls};
use crate::columns::Layout;
use crate::{Error, Failure, Result};

const ID: &str = "id";
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
        if self.limit == 0 {
            return Err(Error::Config("limit must be at least 1".into()));
        }
        if self.workers == 0 {
            return Err(Error::Config("workers must be at least 1".into()));
        }
        check_window(self.min_change_version, self.max_change_version)
    }
}

/// What [`EdFiClient::changes`] found. Apply `key_changes` first, then `records`, then `deletes`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Changes {
    /// The records that are new or changed, flat, as [`EdFiClient::get_all`] gives them.
    pub records: DataFrame,
    /// The items that are gone: `id` (String), `changeVersion` (Int64), `keyValues.*`.
    pub deletes: DataFrame,
    /// The items whose natural key changed: `id` (String), `changeVersion` (Int64),
    /// `oldKeyValues.*`, `newKeyValues.*`.
    pub key_changes: DataFrame,
    /// The change version that the next window begins with.
    pub next_version: i64,
}

/// Refuses a window of change versions that is none.
pub(super) fn check_window(min: Option<i64>, max: Option<i64>) -> Result<()> {
    for (name, version) in [("min_change_version", min), ("max_change_version", max)] {
        if let Some(version) = version.filter(|version| *version < 0) {
            return Err(Error::Config(format!(
                "{name} must be a whole number >= 0, got {version}"
            )));
        }
    }
    match (min, max) {
        (Some(min), Some(max)) if min > max => Err(Error::Config(format!(
            "min_change_version must not be greater than max_change_version: {min} > {max}"
        ))),
        _ => Ok(()),
    }
}

/// A window of change versions as query parameters.
pub(super) fn window_params(
    min: Option<i64>,
    max: Option<i64>,
) -> impl Iterator<Item = (String, String)> {
    [("minChangeVersion", min), ("maxChangeVersion", max)]
        .into_iter()
        .filter_map(|(name, version)| Some((name.to_owned(), version?.to_string())))
}

/// What the ODS remembers beside the records of a resource.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Deletes,
    KeyChanges,
}

impl EdFiClient {
    /// Which change versions this client's ODS has.
    ///
    /// # Errors
    /// [`Error::Config`] without a base URL or credentials, [`Error::Auth`] and [`Error::Http`]
    /// where the ODS does not answer as it should; its message says so if change queries are off.
    pub async fn available_change_versions(&self) -> Result<ChangeVersions> {
        let control = Control::new();
        self.versions(&control, false).await
    }

    async fn versions(&self, control: &Control, snapshot: bool) -> Result<ChangeVersions> {
        let access = self.default_access()?;
        let context = self.watched_context(control);
        let asked = async {
            let snapshot = context.snapshot(&access, snapshot).await?;
            context.change_versions(&access, &snapshot).await
        };
        asked.await.map_err(|failure| into_error(failure, control))
    }

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
        let context = self.watched_context(control);
        // No ODS gives page tokens here.
        let (limit, paging) = (options.limit as u64, Paging::Offset);
        let mut reader = Reader::new(&context, options.workers, limit, paging, true, true);
        reader.by_version = true;
        control.progress.begin(1);
        let records = read(&reader, &access, &endpoint, kind, options).await;
        control.progress.one_done();
        let records = records.map_err(|failure| into_error(failure, control))?;

        let mut layout = Layout::new();
        records.pages.iter().for_each(|page| layout.add(page));
        let plan = layout.plan(".", &[]);
        let frame = frames(&plan, vec![records])?.pop().unwrap_or_default();
        with_fixed_columns(frame)
    }

    /// What changed in a resource of this client's ODS since a version, and where to go on from.
    ///
    /// `since` is the `next_version` of the call before. `None` reads everything: all records, no
    /// deletes, no changed keys. The window ends with the newest version that the ODS has when the
    /// call begins; what changes later belongs to the next one. Where the window is empty, nothing
    /// else is asked for.
    ///
    /// `deletes` has no item that is among `records`: it was made again. An ODS without key
    /// changes (before 5.3) has none.
    ///
    /// # Errors
    /// As [`get_all`](Self::get_all); [`Error::Config`] for a negative `since`, for change versions
    /// in the options, and where the ODS has forgotten changes after `since`: then everything must
    /// be read anew.
    pub async fn changes(
        &self,
        endpoint: &str,
        since: Option<i64>,
        options: &GetAllOptions,
    ) -> Result<Changes> {
        let control = &options.batch.control;
        let mut options = options.clone();
        if options.min_change_version.is_some() || options.max_change_version.is_some() {
            return Err(Error::Config(
                "the window of changes is counted by the call itself (since)".into(),
            ));
        }
        if let Some(since) = since.filter(|since| *since < 0) {
            return Err(Error::Config(format!(
                "since must be a whole number >= 0, got {since}"
            )));
        }
        options.batch.endpoint = Some(urls::endpoint(endpoint).map_err(Error::Config)?);
        options.check()?;

        let versions = self.versions(control, options.snapshot).await?;
        let next_version = versions.newest + 1;
        let nothing = || with_fixed_columns(DataFrame::empty());
        let Some(since) = since else {
            return Ok(Changes {
                records: with_id(self.get_all(&options).await?)?,
                deletes: nothing()?,
                key_changes: nothing()?,
                next_version,
            });
        };
        if 0 < since && since < versions.oldest {
            return Err(Error::Config(format!(
                "the ODS has forgotten changes before version {}, and since is {since}: read \
                 everything anew (since=None)",
                versions.oldest
            )));
        }
        if since > versions.newest {
            if since > next_version {
                control.progress.warn(format!(
                    "since is {since}, but the ODS's newest change version is {}: was it restored \
                     or replaced? Then read everything anew (since=None)",
                    versions.newest
                ));
            }
            return Ok(Changes {
                records: with_id(no_records(&options)?)?,
                deletes: nothing()?,
                key_changes: nothing()?,
                next_version,
            });
        }
        let window = ChangeOptions {
            min_change_version: Some(since),
            max_change_version: Some(versions.newest),
            limit: options.limit,
            workers: options.batch.workers,
            snapshot: options.snapshot,
            control: control.clone(),
        };
        options.min_change_version = window.min_change_version;
        options.max_change_version = window.max_change_version;
        let key_changes = match self.key_changes(endpoint, &window).await {
            Err(Error::Http(failure)) if failure.http_status == Some(404) => nothing()?,
            other => other?,
        };
        let records = with_id(self.get_all(&options).await?)?;
        let deletes = self.deletes(endpoint, &window).await?;
        Ok(Changes {
            deletes: without(deletes, &records)?,
            records,
            key_changes,
            next_version,
        })
    }
}

async fn read(
    reader: &Reader<'_>,
    access: &Access,
    endpoint: &str,
    kind: Kind,
    options: &ChangeOptions,
) -> Result<Records, Failure> {
    let root = reader.data_root(access).await?;
    let path = match kind {
        Kind::Deletes => "deletes",
        Kind::KeyChanges => "keyChanges",
    };
    let collection = Collection {
        url: root.join(&format!("{endpoint}/{path}")),
        snapshot: reader.snapshot(access, options.snapshot).await?,
    };
    let window = window_params(options.min_change_version, options.max_change_version);
    let window: Vec<_> = window.collect();
    let read = reader.read(access, &collection.with_params(&window)).await;
    read.map_err(|mut failure| {
        if failure.http_status == Some(404) {
            failure.message = format!(
                "{} (no such resource, or change queries are turned off in this ODS)",
                failure.message
            );
        }
        failure
    })
}

/// The frame with `id` and `changeVersion` before all others, whatever there is.
fn with_fixed_columns(frame: DataFrame) -> Result<DataFrame> {
    let height = frame.height();
    let fixed = [(ID, DataType::String), (CHANGE_VERSION, DataType::Int64)];
    let mut columns = Vec::with_capacity(frame.width() + fixed.len());
    for (name, dtype) in &fixed {
        columns.push(match frame.column(name) {
            Ok(column) => column.cast(dtype)?,
            Err(_) => Column::full_null((*name).into(), height, dtype),
        });
    }
    let is_fixed = |column: &Column| fixed.iter().any(|(name, _)| column.name() == *name);
    columns.extend(frame.into_columns().into_iter().filter(|c| !is_fixed(c)));
    Ok(DataFrame::new(height, columns)?)
}

/// A frame of no records has the column that updates are made by.
fn with_id(frame: DataFrame) -> Result<DataFrame> {
    if frame.width() > 0 {
        return Ok(frame);
    }
    let id = Column::new_empty(ID.into(), &DataType::String);
    Ok(DataFrame::new(0, vec![id])?)
}

/// The columns of a given schema, no rows.
fn no_records(options: &GetAllOptions) -> Result<DataFrame> {
    let layout = match &options.schema {
        SchemaChoice::Given(schema) => Layout::from_schema(schema, &options.separator)?,
        _ => Layout::new(),
    };
    let plan = layout.plan(&options.separator, &[]);
    Ok(DataFrame::empty_with_schema(plan.schema()))
}

/// The deletions of items that are not among the records.
fn without(deletes: DataFrame, records: &DataFrame) -> Result<DataFrame> {
    let Ok(Ok(there)) = records.column(ID).map(|column| column.str()) else {
        return Ok(deletes);
    };
    let there: PlHashSet<&str> = there.iter().flatten().collect();
    let gone: BooleanChunked = deletes
        .column(ID)?
        .str()?
        .iter()
        .map(|id| Some(id.is_none_or(|id| !there.contains(id))))
        .collect();
    Ok(deletes.filter(&gone)?)
}
