//! What became of each district, in one row: its records, or what went wrong with it and where.

use std::collections::HashMap;

use polars::prelude::*;

use super::input::{Keys, Texts, required};
use super::options::STATUS_COL;
use crate::{Error, Result};

/// Which step failed.
const TOKEN: &str = "token";
const READ: &str = "read";
/// The columns beside the key.
const COLUMNS: [&str; 5] = ["status", "stage", "message", "http_status", "records"];
/// How a message begins, or what it goes on with, where no token could be had for the reading.
const TOKEN_FAILED: [&str; 5] = [
    "token endpoint: ",
    "auth error: HTTP 401: ",
    "auth refresh failed: ",
    "missing token",
    "missing 'EdFi Token'",
];

/// What is known of one district.
#[derive(Default)]
struct Told<'a> {
    status: Option<&'a str>,
    stage: Option<&'static str>,
    message: Option<&'a str>,
    http_status: Option<i32>,
    records: u32,
    /// Whether the records have a row of it.
    was_read: bool,
}

/// One row per district, in the order of `districts`: what [`batch_get_all`] brought of it.
///
/// `districts` is the frame that was read, `records` the result; both have `key_col`. Columns:
/// `key_col` (as in `districts`), `status` (String: null or `"error"`, or the `row status` for which
/// a district was left out), `stage` (String: `"token"` or `"read"`, what failed), `message`
/// (String), `http_status` (Int32) and `records` (UInt32). A district that was left out for its
/// token, by the columns `row status` and `message` of [`batch_fetch_tokens`], says so. Rows
/// with a blank key are left out.
///
/// # Errors
/// [`Error::ColumnNotFound`] and [`Error::ColumnType`]: `key_col` is not in both frames, or
/// `records` is no result of a reading.
///
/// [`batch_get_all`]: crate::EdFiClient::batch_get_all
/// [`batch_fetch_tokens`]: crate::EdFiClient::batch_fetch_tokens
///
/// ```
/// use polars::prelude::*;
///
/// let districts = df!("BK" => ["a", "b"], "row status" => [None, Some("error")],
///     "message" => [None, Some("auth error: HTTP 401")])?;
/// let records = df!("BK" => ["a", "a"], "status" => [None::<&str>; 2], "message" => [None::<&str>; 2],
///     "http_status" => [200, 200], "id" => ["1", "2"])?;
/// let summary = polars_edfi::summary(&districts, &records, "BK")?;
/// assert_eq!(summary.column("records")?, &Column::new("records".into(), [2u32, 0]));
/// assert_eq!(summary.column("stage")?.str()?.get(1), Some("token"));
/// # Ok::<(), polars_edfi::Error>(())
/// ```
pub fn summary(districts: &DataFrame, records: &DataFrame, key_col: &str) -> Result<DataFrame> {
    if COLUMNS.contains(&key_col) {
        return Err(Error::Config(format!(
            "key_col must not be {key_col:?}: the result has a column of that name"
        )));
    }
    let keys = Keys::required(districts, "key_col", key_col)?;
    let mut rows: Vec<IdxSize> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for row in 0..districts.height() {
        if let Some(key) = keys.get_number(row)
            && !places.contains_key(key)
        {
            places.insert(key, rows.len());
            rows.push(row as IdxSize);
        }
    }
    let mut told: Vec<Told<'_>> = rows.iter().map(|_| Told::default()).collect();

    let read_keys = Keys::required(records, "key_col", key_col)?;
    let text = |name| Texts::required(records, "records", name);
    let (statuses, messages) = (text("status")?, text("message")?);
    let codes = required(records, "records", "http_status")?.cast(&DataType::Int32)?;
    let codes = codes.i32()?;
    for row in 0..records.height() {
        let Some(&place) = read_keys.get_number(row).and_then(|key| places.get(key)) else {
            continue;
        };
        let district = &mut told[place];
        district.was_read = true;
        match statuses.get(row) {
            None => district.records += 1,
            status => {
                district.status = status;
                district.message = messages.get(row);
                district.http_status = codes.get(row);
                district.stage = Some(stage(district.message.unwrap_or_default()));
            }
        }
        if district.status.is_none() {
            district.http_status = codes.get(row);
        }
    }

    let skipped = Texts::defaulted(districts, "status_col", STATUS_COL, STATUS_COL)?;
    let reasons = Texts::defaulted(districts, "message", "message", "message")?;
    for (district, row) in told.iter_mut().zip(&rows) {
        let status = skipped.as_ref().and_then(|texts| texts.get(*row as usize));
        if let (false, Some(status)) = (district.was_read, status) {
            district.status = Some(status);
            district.stage = Some(TOKEN);
            district.message = reasons.as_ref().and_then(|texts| texts.get(*row as usize));
        }
    }

    let [status, stage, message, http_status, records] = COLUMNS;
    let texts = |name: &str, get: fn(&Told<'_>) -> Option<String>| {
        StringChunked::from_iter_options(name.into(), told.iter().map(get)).into_column()
    };
    let codes: Int32Chunked = told.iter().map(|one| one.http_status).collect();
    let counts: UInt32Chunked = told.iter().map(|one| Some(one.records)).collect();
    let columns = vec![
        keys.take(&rows)?,
        texts(status, |one| one.status.map(str::to_owned)),
        texts(stage, |one| one.stage.map(str::to_owned)),
        texts(message, |one| one.message.map(str::to_owned)),
        codes.with_name(http_status.into()).into_column(),
        counts.with_name(records.into()).into_column(),
    ];
    Ok(DataFrame::new(rows.len(), columns)?)
}

/// The step whose request failed last, by the words of its message.
fn stage(message: &str) -> &'static str {
    let mut parts = message.split("; ");
    let is_about_token = |part: &str| TOKEN_FAILED.iter().any(|words| part.starts_with(words));
    match parts.any(is_about_token) {
        true => TOKEN,
        false => READ,
    }
}
