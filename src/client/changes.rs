//! Which change versions an ODS has, and which snapshot to read.

use reqwest::Url;
use reqwest::header::{ACCEPT, HeaderName, HeaderValue};
use serde_json::Value;

use super::retry;
use super::session::{Access, CallContext};
use super::transport::{Request, Response};
use crate::{Error, Failure, Result};

/// The change versions that an ODS can tell about (`availableChangeVersions`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeVersions {
    /// Changes before this one may be forgotten.
    pub oldest: i64,
    /// The last change.
    pub newest: i64,
}

/// What a request says about snapshots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Snapshot {
    /// It reads what there is now.
    #[default]
    No,
    /// `Use-Snapshot` (ODS/API 7).
    Only,
    /// `Snapshot-Identifier` as well (ODS/API 5.2 to 6).
    Named(HeaderValue),
}

/// Refuses a window of change versions that is none.
pub(crate) fn check_window(min: Option<i64>, max: Option<i64>) -> Result<()> {
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
pub(crate) fn window_params(
    min: Option<i64>,
    max: Option<i64>,
) -> impl Iterator<Item = (String, String)> {
    [("minChangeVersion", min), ("maxChangeVersion", max)]
        .into_iter()
        .filter_map(|(name, version)| Some((name.to_owned(), version?.to_string())))
}

impl Snapshot {
    /// Adds the headers to a request.
    pub(crate) fn apply(&self, request: &mut Request) {
        if *self == Self::No {
            return;
        }
        let name = HeaderName::from_static("use-snapshot");
        request
            .headers
            .push((name, HeaderValue::from_static("true")));
        if let Self::Named(identifier) = self {
            let name = HeaderName::from_static("snapshot-identifier");
            request.headers.push((name, identifier.clone()));
        }
    }

    /// The failure of a request that was not answered as it must be; says so where that may be for
    /// want of a snapshot.
    pub(crate) fn refusal(&self, answer: &Response) -> Failure {
        let mut failure = answer.refusal();
        let hint = match answer.status.as_u16() {
            404 => "snapshot: the ODS has none, or no such resource",
            410 => "snapshot: the one that was asked for is gone",
            _ => return failure,
        };
        if *self != Self::No {
            failure.message = format!("{} ({hint})", failure.message);
        }
        failure
    }
}

impl CallContext {
    /// Asks for the change versions that there are.
    pub(crate) async fn change_versions(
        &self,
        access: &Access,
        snapshot: &Snapshot,
    ) -> Result<ChangeVersions, Failure> {
        let answer = self
            .about_changes(access, "availableChangeVersions", snapshot)
            .await?;
        if answer.status.as_u16() != 200 {
            let mut failure = snapshot.refusal(&answer);
            if answer.status.as_u16() == 404 && *snapshot == Snapshot::No {
                failure.message = format!(
                    "{} (change queries are turned off in this ODS, or it has none)",
                    failure.message
                );
            }
            return Err(failure);
        }
        let document: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let version = |name: &str| {
            // Capitals before ODS/API 6.
            let (_, value) = document
                .as_object()?
                .iter()
                .find(|(own, _)| own.eq_ignore_ascii_case(name))?;
            // One after the newest must be a number, too.
            value
                .as_i64()
                .filter(|version| (0..i64::MAX).contains(version))
        };
        match (
            version("oldestChangeVersion"),
            version("newestChangeVersion"),
        ) {
            (Some(oldest), Some(newest)) => Ok(ChangeVersions { oldest, newest }),
            _ => Err(answer.unusable("expected oldestChangeVersion and newestChangeVersion")),
        }
    }

    /// How to ask for an ODS's snapshot: the newest by name where the ODS has a list of them. Where
    /// none is wanted, nothing is sent.
    pub(crate) async fn snapshot(
        &self,
        access: &Access,
        wanted: bool,
    ) -> Result<Snapshot, Failure> {
        if !wanted {
            return Ok(Snapshot::No);
        }
        let answer = self
            .about_changes(access, "snapshots", &Snapshot::No)
            .await?;
        if retry::is_passing(answer.status) {
            return Err(answer.failure());
        }
        let document: Option<Value> = (answer.status.as_u16() == 200)
            .then(|| serde_json::from_slice(&answer.body).ok())
            .flatten();
        let Some(snapshots) = document.as_ref().and_then(Value::as_array) else {
            return Ok(Snapshot::Only);
        };
        let text = |snapshot: &Value, name: &str| snapshot[name].as_str().map(str::to_owned);
        let newest = snapshots
            .iter()
            .max_by_key(|snapshot| text(snapshot, "snapshotDateTime"));
        // Such a server may not know Use-Snapshot, and would give what there is now.
        let newest = newest.ok_or_else(|| answer.unusable("the ODS has no snapshot to read"))?;
        text(newest, "snapshotIdentifier")
            .and_then(|identifier| HeaderValue::from_str(&identifier).ok())
            .map(Snapshot::Named)
            .ok_or_else(|| answer.unusable("a snapshot without a snapshotIdentifier"))
    }

    async fn about_changes(
        &self,
        access: &Access,
        what: &str,
        snapshot: &Snapshot,
    ) -> Result<Response, Failure> {
        let version = access.api_version.as_deref();
        let root = self
            .client
            .change_queries_root(&access.base, version, &self.control)
            .await?;
        let url: Url = root.join(what);
        let mut request = Request {
            small: true,
            ..Request::get(url)
        };
        request
            .headers
            .push((ACCEPT, HeaderValue::from_static("application/json")));
        snapshot.apply(&mut request);
        self.send(access, &mut request, self.client.policy()).await
    }
}
