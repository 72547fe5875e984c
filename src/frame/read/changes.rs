//! What changed in one resource, in one window of change versions.

use polars::prelude::*;

use super::options::{GetAllOptions, SchemaChoice};
use super::tracked::{self, ChangeOptions, ID};
use crate::client::{ChangeVersions, Control, EdFiClient, urls};
use crate::columns::Layout;
use crate::frame::client_defaults::into_error;
use crate::{Error, Result};

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
        let nothing = || tracked::none();
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
