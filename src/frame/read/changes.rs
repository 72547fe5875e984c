//! What changed in one resource, in one window of change versions.

use std::sync::Arc;

use polars::prelude::*;

use super::assemble::{self, District};
use super::options::GetAllOptions;
use super::resource::{Outcome, Resource};
use super::tracked::{ChangeOptions, ID};
use super::whole::Records;
use crate::client::{ChangeVersions, Control, EdFiClient, urls};
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

impl Changes {
    /// Changes that were read elsewhere, or kept.
    pub fn new(
        records: DataFrame,
        deletes: DataFrame,
        key_changes: DataFrame,
        next_version: i64,
    ) -> Self {
        Self {
            records,
            deletes,
            key_changes,
            next_version,
        }
    }
}

/// Where a window of changes begins: a change version, or the beginning of everything.
///
/// ```
/// use polars_edfi::Since;
///
/// let tonight = Since::from(Some(234_551));
/// let from_a_snapshot = Since::from(Some(234_551)).with_overlap(0);
/// # let _ = (tonight, from_a_snapshot);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since {
    version: Option<i64>,
    overlap: i64,
}

impl Since {
    /// How many versions before its beginning a window goes back, if nothing else is said.
    pub const OVERLAP: i64 = 1_000;

    /// Goes back by this many versions. An ODS numbers a change before its transaction is
    /// committed: what commits late has a version below the newest that was told before. To apply
    /// a change twice does no harm. A window that follows a reading of a snapshot needs none.
    pub fn with_overlap(self, versions: i64) -> Self {
        Self {
            overlap: versions,
            ..self
        }
    }

    fn check(&self) -> Result<()> {
        let since = self.version.unwrap_or(0);
        for (name, value) in [("since", since), ("overlap", self.overlap)] {
            if value < 0 {
                return Err(Error::Config(format!(
                    "{name} must be a whole number >= 0, got {value}"
                )));
            }
        }
        Ok(())
    }
}

impl From<Option<i64>> for Since {
    fn from(version: Option<i64>) -> Self {
        Self {
            version,
            overlap: Self::OVERLAP,
        }
    }
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

    pub(crate) async fn versions(
        &self,
        control: &Control,
        snapshot: bool,
    ) -> Result<ChangeVersions> {
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
    /// deletes, no changed keys. The window begins [`Since::OVERLAP`] versions earlier, so that late
    /// commits are in it, and ends with the newest version that the ODS has when the call begins;
    /// what changes later belongs to the next one. Where the window is empty, nothing else is asked
    /// for.
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
        since: impl Into<Since>,
        options: &GetAllOptions,
    ) -> Result<Changes> {
        let since = since.into();
        since.check()?;
        let control = &options.batch.control;
        let mut options = options.clone();
        if !matches!(options.window(), Ok((None, None))) {
            return Err(Error::Config(
                "the window of changes is counted by the call itself (since)".into(),
            ));
        }
        options.batch.endpoint = Some(urls::endpoint(endpoint).map_err(Error::Config)?);
        options.check()?;

        let versions = self.versions(control, options.snapshot).await?;
        let next_version = versions.newest + 1;
        let endpoint = endpoint.trim_matches('/');
        let records_alone = async |records| {
            let [deletes, key_changes] = self.nothing_tracked(endpoint, control).await?;
            Ok(Changes {
                records: with_id(records)?,
                deletes,
                key_changes,
                next_version,
            })
        };
        let overlap = since.overlap;
        let Some(since) = since.version else {
            return records_alone(self.get_all(&options).await?).await;
        };
        if 0 < since && since < versions.oldest {
            return Err(Error::Config(format!(
                "the ODS has forgotten changes before version {}, and since is {since}: read \
                 everything anew (since=None)",
                versions.oldest
            )));
        }
        if since > next_version {
            control.progress.warn(format!(
                "since is {since}, but the ODS's newest change version is {}: was it restored or \
                 replaced? Then read everything anew (since=None)",
                versions.newest
            ));
        }
        let begin = (since - overlap).max(versions.oldest).min(since);
        if begin > versions.newest {
            return records_alone(self.no_records(&options).await?).await;
        }
        let window = ChangeOptions {
            min_change_version: Some(begin),
            max_change_version: Some(versions.newest),
            limit: options.limit,
            workers: options.batch.workers,
            snapshot: options.snapshot,
            control: control.clone(),
        };
        options.min_change_version = window.min_change_version;
        options.max_change_version = window.max_change_version;
        let key_changes = match self.key_changes(endpoint, &window).await {
            Err(Error::Http(failure)) if failure.http_status == Some(404) => {
                let [_, key_changes] = self.nothing_tracked(endpoint, control).await?;
                key_changes
            }
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

    /// The columns that records would have, no rows.
    async fn no_records(&self, options: &GetAllOptions) -> Result<DataFrame> {
        let context = Arc::new(self.default_context(&options.batch));
        let resource = Resource::new(context, options)?;
        let described = resource.describe(&self.default_access()?).await;
        let described = described.map_err(|failure| into_error(failure, &options.batch.control))?;
        let outcome = Outcome {
            record: resource.record_of(&described),
            records: Ok(Records::default()),
        };
        assemble::frame(vec![District { row: 0, outcome }], options, None).await
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
