//! The districts of a frame: each key is visited once.

use std::collections::{HashMap, HashSet};
#[cfg(feature = "python")]
use std::time::SystemTime;

#[cfg(feature = "python")]
use polars::prelude::DataFrame;

use crate::Failure;
#[cfg(feature = "python")]
use crate::client::EdFiClient;
#[cfg(feature = "python")]
use crate::client::session::{Access, Renewal, TokenSource};
use crate::frame::input::Keys;
#[cfg(feature = "python")]
use crate::frame::input::Texts;
#[cfg(feature = "python")]
use crate::frame::options::{BatchOptions, STATUS_COL};
use crate::frame::request::Rows;

/// One district to visit, or why its row is not visited.
pub(crate) struct Visit {
    pub(crate) row: usize,
    pub(crate) refused: Option<Failure>,
}

/// The districts of a frame: each key once; the same key with another URL or API version is a
/// failed visit.
pub(crate) fn visits(keys: &Keys, rows: &Rows) -> Vec<Visit> {
    type Ods = (Option<String>, Option<String>);
    let mut seen: HashMap<&str, HashSet<Ods>> = HashMap::new();
    let mut visits = Vec::new();
    for &row in &rows.active {
        let Some(key) = keys.get(row) else {
            continue;
        };
        let before = seen.entry(key).or_default();
        let ods = (rows.normalized_url(row), rows.version_segment(row));
        if before.contains(&ods) {
            continue;
        }
        let refused = (!before.is_empty()).then(|| {
            let differs = match before.iter().any(|(url, _)| *url == ods.0) {
                true => "API version",
                false => "URL",
            };
            Failure::new(format!(
                "not read: this key stands in the frame with another {differs} before; give each \
                 ODS a key of its own"
            ))
        });
        before.insert(ods);
        visits.push(Visit { row, refused });
    }
    visits
}

/// Says how many rows of a frame of districts are in no result.
pub(crate) fn tell_left_out(keys: &Keys, rows: &Rows) {
    tell_blank(keys, rows);
    rows.tell_left_out();
}

fn tell_blank(keys: &Keys, rows: &Rows) {
    let is_blank = |row: &&usize| keys.get(**row).is_none();
    let blank = rows.active.iter().filter(is_blank).count();
    if blank > 0 {
        rows.tell(format!("rows with a blank key, which are skipped: {blank}"));
    }
}

/// What is said of the rows of a frame that their status leaves out.
#[cfg(feature = "python")]
fn left_out(df: &DataFrame, options: &BatchOptions) -> crate::Result<Vec<(usize, Failure)>> {
    let status_col = &options.status_col;
    let Some(statuses) = Texts::defaulted(df, "status_col", status_col, STATUS_COL)? else {
        return Ok(Vec::new());
    };
    // That of `batch_fetch_tokens`, where it stands there.
    let reasons = Texts::defaulted(df, "message", "message", "message").unwrap_or_default();
    let said = |row| {
        let status = statuses.get(row)?;
        if !options.skip_statuses.iter().any(|skip| skip == status) {
            return None;
        }
        let mut text = format!("not read: '{status_col}' is '{status}'");
        if let Some(reason) = reasons.as_ref().and_then(|reasons| reasons.get(row)) {
            text = format!("{text}: {reason}");
        }
        Some((row, Failure::new(text)))
    };
    Ok((0..df.height()).filter_map(said).collect())
}

/// A client of its own for each district of a frame, on the connections of the one that is given:
/// the row, and the client or what is the matter with the row. A district that its status leaves
/// out is such a row as well: its copy stays as it was, and somebody has to know.
#[cfg(feature = "python")]
pub(crate) fn district_clients(
    df: &DataFrame,
    key_col: &str,
    client: &EdFiClient,
    options: &BatchOptions,
) -> crate::Result<Vec<(usize, Result<EdFiClient, Failure>)>> {
    let keys = Keys::required(df, "key_col", key_col)?;
    let rows = Rows::new(df, client, options)?;
    rows.check_complete(df)?;
    tell_blank(&keys, &rows);
    let mut visits = visits(&keys, &rows);
    let mut seen: HashSet<&str> = visits
        .iter()
        .filter_map(|visit| keys.get(visit.row))
        .collect();
    for (row, failure) in left_out(df, options)? {
        if keys.get(row).is_some_and(|key| seen.insert(key)) {
            let refused = Some(failure);
            visits.push(Visit { row, refused });
        }
    }
    visits.sort_by_key(|visit| visit.row);
    let made = visits.into_iter().map(|visit| {
        let access = match visit.refused {
            Some(failure) => Err(failure),
            None => rows.access(visit.row),
        };
        if let Ok(access) = &access {
            adopt(access, rows.token_end(visit.row));
        }
        (visit.row, access.map(|access| client.with_access(access)))
    });
    Ok(made.collect())
}

/// Leaves to a client's credentials the token that its row has already: whoever has many processes
/// fetches it once for all of them.
#[cfg(feature = "python")]
fn adopt(access: &Access, end: Option<SystemTime>) {
    if let Renewal::Possible(credentials) = &access.renewal
        && let TokenSource::Row { token, expired } = &access.token
        && !expired
        && let Some(end) = end
    {
        credentials.adopt(token.clone(), end);
    }
}
