//! A journal as a frame.

use std::path::Path;

use polars::prelude::*;

use super::file::told;
use super::registry::Journal;
use super::row::{Method, State};
use super::store::{Store, hex, unpacked};
use crate::{Error, Result, runtime};

/// What stands in a journal: one row for each write, in the order in which they were first sent.
///
/// Columns: `endpoint`, `method` (`"POST"`, `"PUT"`, `"DELETE"`), `key` (the row's key, as text),
/// `digest` (of base URL, endpoint, method, key and payload, in hexadecimal), `state`
/// (`"sent"`: nobody knows what became of it; `"confirmed"`; `"failed"`), `http_status` (Int32),
/// `message`, `correlation_id`, `resource_id`, `attempts` (UInt32), `at` (Datetime us UTC: when it
/// was noted last). All others are String.
///
/// # Errors
/// No such file, a file that is no journal, or one that another process has open.
pub async fn read_journal(path: &Path) -> Result<DataFrame> {
    let at = path.to_owned();
    let journal = runtime::compute(move || Journal::open_existing(&at)).await??;
    let rows = journal.rows().await;
    let rows = rows.map_err(|what| Error::Config(journal.say(&what)));
    let _ = runtime::compute(move || drop(journal)).await;
    rows
}

/// All rows of a store.
pub(super) fn rows_of(store: &mut Store) -> Result<DataFrame, String> {
    store.sort_in().map_err(|error| told(&error))?;
    let columns = columns_of(store).map_err(|error| told(&error))?;
    let height = columns.first().map_or(0, Column::len);
    DataFrame::new(height, columns).map_err(|error| error.to_string())
}

fn columns_of(store: &Store) -> rusqlite::Result<Vec<Column>> {
    const TEXTS: [&str; 5] = ["key", "digest", "message", "correlation_id", "resource_id"];
    let count: i64 = store
        .db
        .query_row("SELECT count(*) FROM rows", (), |row| row.get(0))?;
    let count = usize::try_from(count).unwrap_or_default();
    let texts = |name: &str| StringChunkedBuilder::new(name.into(), count);
    let [mut endpoint, mut method, mut state] = ["endpoint", "method", "state"].map(texts);
    let [
        mut key,
        mut digest,
        mut message,
        mut correlation_id,
        mut resource_id,
    ] = TEXTS.map(texts);
    let mut http_status: PrimitiveChunkedBuilder<Int32Type> =
        PrimitiveChunkedBuilder::new("http_status".into(), count);
    let mut attempts: PrimitiveChunkedBuilder<UInt32Type> =
        PrimitiveChunkedBuilder::new("attempts".into(), count);
    let mut at: PrimitiveChunkedBuilder<Int64Type> =
        PrimitiveChunkedBuilder::new("at".into(), count);
    let select = "SELECT targets.endpoint, method, key, digest, state, http_status, message, \
         correlation_id, resource_id, attempts, at \
         FROM rows JOIN targets ON targets.id = rows.target ORDER BY rows.id";
    let mut select = store.db.prepare(select)?;
    let mut rows = select.query(())?;
    while let Some(row) = rows.next()? {
        endpoint.append_value(row.get_ref(0)?.as_str()?);
        method.append_value(Method::of(row.get(1)?).word());
        key.append_option(row.get_ref(2)?.as_str_or_null()?);
        digest.append_value(hex(row.get_ref(3)?.as_blob()?));
        state.append_value(State::of(row.get(4)?).word());
        http_status.append_option(row.get(5)?);
        message.append_option(row.get_ref(6)?.as_str_or_null()?);
        correlation_id.append_option(row.get_ref(7)?.as_str_or_null()?);
        resource_id.append_option(unpacked(row, 8)?);
        attempts.append_value(row.get(9)?);
        at.append_value(row.get(10)?);
    }
    let at = at
        .finish()
        .into_datetime(TimeUnit::Microseconds, Some(TimeZone::UTC));
    Ok(vec![
        endpoint.finish().into_column(),
        method.finish().into_column(),
        key.finish().into_column(),
        digest.finish().into_column(),
        state.finish().into_column(),
        http_status.finish().into_column(),
        message.finish().into_column(),
        correlation_id.finish().into_column(),
        resource_id.finish().into_column(),
        attempts.finish().into_column(),
        at.into_column(),
    ])
}
