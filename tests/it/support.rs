//! What the tests of the client share: districts with tokens, bounded waits, rows beside records.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use polars::prelude::*;
use polars_edfi::sandbox::{LoggedRequest, Sandbox, SandboxBuilder};
use polars_edfi::{
    BatchOptions, EdFiClient, EdFiClientBuilder, GetAllOptions, SchemaChoice, TokenOptions,
};
use serde_json::{Map, Value};

pub(crate) const RESULTS: &str = "ed-fi/studentAssessments";
pub(crate) const STUDENTS: &str = "ed-fi/students";
pub(crate) const KEY: &str = "District BK";
/// Three districts; what goes wrong goes wrong in the one in the middle.
pub(crate) const DISTRICTS: [&str; 3] = ["255901", "255902", "255903"];
pub(crate) const BAD: &str = DISTRICTS[1];

/// A record or a row: its leaves by their paths, without nulls.
pub(crate) type Leaves = BTreeMap<String, Value>;

/// A sandbox with credentials that no other test has: tokens are kept for the whole process.
pub(crate) fn sandbox() -> SandboxBuilder {
    static SEED: AtomicU64 = AtomicU64::new(1_000);
    Sandbox::builder()
        .districts(DISTRICTS)
        .records(40)
        // Students are posted again and again here, without an enrolment.
        .strict(false)
        .seed(SEED.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn start() -> Sandbox {
    sandbox().start().expect("a sandbox")
}

/// A client without an ODS of its own.
pub(crate) fn patient(timeout: Duration, retries: u32) -> EdFiClient {
    let builder = EdFiClient::builder().api_version("v3");
    let client = builder.timeout(timeout).max_retries(retries).build();
    client.expect("a client")
}

pub(crate) fn client() -> EdFiClient {
    patient(Duration::from_secs(20), 3)
}

/// A client of one district.
pub(crate) fn own(ods: &Sandbox, district: &str) -> EdFiClientBuilder {
    let (key, secret) = ods.credentials(district).expect("a district");
    EdFiClient::builder()
        .base_url(ods.district_url(district).expect("a district"))
        .api_version("v3")
        .client_credentials(key, secret)
        .timeout(Duration::from_secs(20))
        .max_retries(3)
}

/// Options of a read whose cells are what the JSON of the records says: no type is known before,
/// and no metadata asked for.
pub(crate) fn inferred() -> GetAllOptions {
    GetAllOptions {
        schema: SchemaChoice::Infer,
        ..GetAllOptions::default()
    }
}

/// The districts with a token each, and when it ends.
pub(crate) async fn with_tokens(ods: &Sandbox) -> DataFrame {
    let (client, districts) = (client(), ods.districts());
    let options = TokenOptions::default();
    let call = client.batch_fetch_tokens(&districts, KEY, "oauth/token", &options);
    let tokens = soon(call).await.expect("tokens");
    let new = tokens.select(["EdFi Token", "token_expires_at"]);
    let new = new.expect("the columns of tokens");
    districts.hstack(new.columns()).expect("the same rows")
}

/// Options that renew tokens.
pub(crate) fn renewing() -> BatchOptions {
    BatchOptions {
        auth_key_col: Some("oAuthKey".into()),
        auth_secret_col: Some("oAuthSecret".into()),
        oauth_endpoint: Some("oauth/token".into()),
        ..BatchOptions::default()
    }
}

/// The result of a call that must not hang.
pub(crate) async fn soon<T>(call: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, call)
        .await
        .expect("an end within a minute")
}

/// Waits until something is so that nobody tells about.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(30), "never: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The requests for a district's tokens.
pub(crate) fn token_requests(ods: &Sandbox, district: &str) -> usize {
    of_district(ods, district)
        .iter()
        .filter(|one| one.path == "/oauth/token")
        .count()
}

/// The requests that reached a district.
pub(crate) fn of_district(ods: &Sandbox, district: &str) -> Vec<LoggedRequest> {
    let mut requests = ods.requests();
    requests.retain(|one| one.district.as_deref() == Some(district));
    requests
}

/// The requests for a district's data.
pub(crate) fn data_requests(ods: &Sandbox, district: &str) -> Vec<LoggedRequest> {
    let mut requests = of_district(ods, district);
    requests.retain(|one| one.path.starts_with("/data/"));
    requests
}

pub(crate) fn names(df: &DataFrame) -> Vec<&str> {
    df.columns()
        .iter()
        .map(|column| column.name().as_str())
        .collect()
}

/// The cells of a String column.
pub(crate) fn texts(df: &DataFrame, name: &str) -> Vec<Option<String>> {
    let column = df.column(name).expect("a column");
    let column = column.str().expect("a String column");
    column.iter().map(|text| text.map(str::to_owned)).collect()
}

/// The texts of a String column that has no null.
pub(crate) fn words(df: &DataFrame, name: &str) -> Vec<String> {
    texts(df, name)
        .into_iter()
        .map(|text| text.expect("a text"))
        .collect()
}

/// `http_status`.
pub(crate) fn statuses(df: &DataFrame) -> Vec<Option<i32>> {
    let column = df.column("http_status").expect("a column");
    column.i32().expect("an Int32 column").iter().collect()
}

/// A frame with other texts in a column.
pub(crate) fn with_texts<'a>(
    df: &DataFrame,
    name: &str,
    values: impl IntoIterator<Item = Option<&'a str>>,
) -> DataFrame {
    let mut df = df.clone();
    let column = StringChunked::from_iter_options(name.into(), values.into_iter()).into_column();
    df.with_column(column).expect("as many rows");
    df
}

/// The rows of one district.
pub(crate) fn rows_of(df: &DataFrame, district: &str) -> DataFrame {
    let keys = df
        .column(KEY)
        .expect("the key column")
        .str()
        .expect("texts");
    df.filter(&keys.equal(district)).expect("rows")
}

/// The message and the HTTP status of a district that failed: one row, and nothing but the error.
pub(crate) fn failure(df: &DataFrame, district: &str) -> (String, Option<i32>) {
    let rows = rows_of(df, district);
    assert_eq!(
        texts(&rows, "status"),
        [Some("error".to_owned())],
        "{district}"
    );
    assert!(
        records(&rows)[0].is_empty(),
        "an error row holds half a district"
    );
    (words(&rows, "message").remove(0), statuses(&rows)[0])
}

/// A district's rows are its records, all of them, in order, each once, and nothing is wrong.
pub(crate) fn assert_whole(df: &DataFrame, ods: &Sandbox, district: &str, endpoint: &str) {
    let rows = rows_of(df, district);
    for name in ["status", "message", "correlation_id"] {
        assert_eq!(
            texts(&rows, name).iter().flatten().next(),
            None,
            "{district}"
        );
    }
    assert_same(&records(&rows), &ods.items(district, endpoint));
}

/// Rows are these records, in this order.
pub(crate) fn assert_same(rows: &[Leaves], items: &[Value]) {
    assert_eq!(rows.len(), items.len());
    for (number, (row, item)) in rows.iter().zip(items).enumerate() {
        assert_eq!(*row, leaves(item), "record {number}");
    }
}

/// The records in a result: each row's leaves, without the columns about the request.
pub(crate) fn records(df: &DataFrame) -> Vec<Leaves> {
    const ABOUT: [&str; 5] = [KEY, "status", "message", "http_status", "correlation_id"];
    let mut rows = vec![Leaves::new(); df.height()];
    for column in df.columns() {
        let name = column.name().as_str();
        if ABOUT.contains(&name) {
            continue;
        }
        let cells = cells(column.as_materialized_series());
        for (row, cell) in rows.iter_mut().zip(cells) {
            add_leaves(name, &tidy(cell), row);
        }
    }
    rows
}

/// The leaves of a record. A path joins the names by dots; a list is one leaf.
pub(crate) fn leaves(item: &Value) -> Leaves {
    let mut leaves = Leaves::new();
    add_leaves("", &tidy(item.clone()), &mut leaves);
    leaves
}

fn add_leaves(path: &str, value: &Value, leaves: &mut Leaves) {
    match value {
        Value::Null => {}
        Value::Object(members) => {
            for (name, value) in members {
                let inner = match path {
                    "" => name.clone(),
                    path => format!("{path}.{name}"),
                };
                add_leaves(&inner, value, leaves);
            }
        }
        leaf => {
            let twin = leaves.insert(path.to_owned(), leaf.clone());
            assert_eq!(twin, None, "{path} is there twice");
        }
    }
}

/// A value without nulls in objects; whole numbers are integers, as they are equal to them.
fn tidy(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e15 => {
                Value::from(float as i64)
            }
            _ => Value::Number(number),
        },
        Value::Array(items) => items.into_iter().map(tidy).collect(),
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, value)| (name, tidy(value)));
            let members: Map<_, _> = members.filter(|(_, value)| !value.is_null()).collect();
            match members.is_empty() {
                true => Value::Null,
                false => members.into(),
            }
        }
        other => other,
    }
}

/// The cells of a column as JSON values.
pub(crate) fn cells(series: &Series) -> Vec<Value> {
    fn each<T>(cells: impl Iterator<Item = Option<T>>, value: impl Fn(T) -> Value) -> Vec<Value> {
        cells.map(|cell| cell.map_or(Value::Null, &value)).collect()
    }
    match series.dtype() {
        DataType::Null => vec![Value::Null; series.len()],
        DataType::Boolean => each(series.bool().expect("booleans").iter(), Value::from),
        DataType::Int32 => each(series.i32().expect("integers").iter(), Value::from),
        DataType::Date | DataType::Datetime(..) => {
            cells(&series.cast(&DataType::String).expect("texts"))
        }
        DataType::Int64 => each(series.i64().expect("integers").iter(), Value::from),
        DataType::Float64 => each(series.f64().expect("floats").iter(), Value::from),
        DataType::String => each(series.str().expect("texts").iter(), Value::from),
        DataType::List(_) => {
            let lists = series.list().expect("lists");
            let lists = (0..series.len()).map(|row| lists.get_as_series(row));
            each(lists, |list| Value::Array(cells(&list)))
        }
        DataType::Struct(_) => {
            let fields = series.struct_().expect("structs").fields_as_series();
            let mut rows = vec![Map::new(); series.len()];
            for field in &fields {
                for (row, cell) in rows.iter_mut().zip(cells(field)) {
                    row.insert(field.name().to_string(), cell);
                }
            }
            let nulls = series.is_null();
            let rows = rows.into_iter().zip(nulls.iter());
            rows.map(|(row, null)| {
                if null == Some(true) {
                    Value::Null
                } else {
                    row.into()
                }
            })
            .collect()
        }
        other => panic!("no JSON value of {other}"),
    }
}
