//! The districts of a frame: each key is visited once.

use std::collections::{HashMap, HashSet};

#[cfg(feature = "python")]
use polars::prelude::DataFrame;

use crate::Failure;
#[cfg(feature = "python")]
use crate::client::EdFiClient;
use crate::frame::input::Keys;
#[cfg(feature = "python")]
use crate::frame::options::BatchOptions;
use crate::frame::request::Rows;

/// One district to visit, or why its row is not visited.
pub(crate) struct Visit {
    pub(crate) row: usize,
    pub(crate) refused: Option<Failure>,
}

/// The districts of a frame: each key once; the same key with another URL is a failed visit.
pub(crate) fn visits(keys: &Keys, rows: &Rows) -> Vec<Visit> {
    let mut seen: HashMap<&str, HashSet<Option<String>>> = HashMap::new();
    let mut visits = Vec::new();
    let mut blank = 0;
    for &row in &rows.active {
        let Some(key) = keys.get(row) else {
            blank += 1;
            continue;
        };
        let urls = seen.entry(key).or_default();
        let url = rows.normalized_url(row);
        if urls.contains(&url) {
            continue;
        }
        let refused = (!urls.is_empty()).then(|| {
            Failure::new(
                "not read: this key stands in the frame with another URL before; give each ODS a \
                 key of its own",
            )
        });
        urls.insert(url);
        visits.push(Visit { row, refused });
    }
    if blank > 0 {
        log::warn!("rows with a blank key, which are skipped: {blank}");
    }
    visits
}

/// A client of its own for each district of a frame, on the connections of the one that is given:
/// the row, and the client or what is the matter with the row.
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
    let made = visits(&keys, &rows).into_iter().map(|visit| {
        let access = match visit.refused {
            Some(failure) => Err(failure),
            None => rows.access(visit.row),
        };
        (visit.row, access.map(|access| client.with_access(access)))
    });
    Ok(made.collect())
}
