//! Scans as lazy frames: the same rows as collected ones, from no more requests than a query needs.

use polars::prelude::*;
use polars_edfi::sandbox::Sandbox;
use polars_edfi::{EdFiClient, Filter, GetAllOptions, ScanOptions};

const DISTRICT: &str = "255901";
const RESULTS: &str = "ed-fi/studentAssessments";
const STUDENT: &str = "studentReference.studentUniqueId";
const RECORDS: usize = 230;

fn start() -> Sandbox {
    let builder = Sandbox::builder().districts([DISTRICT]).records(RECORDS);
    builder.start().expect("a sandbox")
}

fn client(ods: &Sandbox) -> EdFiClient {
    let (key, secret) = ods.credentials(DISTRICT).expect("a district");
    EdFiClient::builder()
        .base_url(ods.district_url(DISTRICT).expect("a district"))
        .client_credentials(key, secret)
        .build()
        .expect("a client")
}

fn options() -> ScanOptions {
    ScanOptions {
        read: GetAllOptions {
            limit: 20,
            ..GetAllOptions::default()
        },
        ..ScanOptions::default()
    }
}

async fn lazy(ods: &Sandbox, options: &ScanOptions) -> LazyFrame {
    let scan = client(ods).scan(RESULTS, options).await.expect("a scan");
    scan.lazy().expect("a lazy frame")
}

/// The queries of all pages that were asked for since the last call.
fn queries(ods: &Sandbox) -> Vec<String> {
    let requests = ods.requests().into_iter();
    let pages = requests.filter(|one| one.method == "GET" && one.path.ends_with(RESULTS));
    let queries = pages.map(|one| one.query).collect();
    ods.clear_requests();
    queries
}

#[tokio::test]
async fn queries_equal_those_of_the_collected_frame() {
    let ods = start();
    let lazy = lazy(&ods, &options()).await;
    let all = lazy.clone().collect().expect("rows");
    assert_eq!(all.height(), RECORDS);
    let student = all
        .column(STUDENT)
        .expect("a column")
        .get(7)
        .expect("a row");
    let student = student.get_str().expect("a text").to_owned();
    let some = Series::new("ids".into(), [student.as_str(), "nobody"]);
    type Step = Box<dyn Fn(LazyFrame) -> LazyFrame>;
    let is = move |student: &str| col(STUDENT).eq(lit(student));
    let steps: Vec<Step> = vec![
        Box::new(|lf| lf.select([col("id"), col("administrationDate")])),
        Box::new(|lf| lf.select([len()])),
        Box::new(|lf| lf.limit(33)),
        Box::new(|lf| lf.slice(30, 20)),
        Box::new(|lf| lf.with_row_index("n", None).select([col("n")])),
        Box::new({
            let student = student.clone();
            move |lf| lf.filter(is(&student)).select([col("id")])
        }),
        Box::new({
            let student = student.clone();
            move |lf| lf.filter(is(&student).and(col("id").is_not_null()))
        }),
        Box::new({
            let student = student.clone();
            move |lf| lf.limit(5).filter(is(&student))
        }),
        Box::new({
            let student = student.clone();
            move |lf| lf.filter(is(&student).not()).select([col("id")])
        }),
        Box::new(move |lf| lf.filter(col(STUDENT).is_in(lit(some.clone()).implode(true), false))),
        Box::new(|lf| lf.filter(col(STUDENT).eq(lit(NULL)))),
        Box::new(|lf| lf.filter(col("id").is_not_null().all(true))),
        Box::new(|lf| lf.filter(col("id").gt(lit("8"))).limit(3)),
    ];
    for (number, step) in steps.iter().enumerate() {
        let came = step(lazy.clone()).collect().expect("rows");
        let expected = step(all.clone().lazy()).collect().expect("rows");
        assert!(
            came.equals_missing(&expected),
            "query {number}: {came} {expected}"
        );
    }
}

#[tokio::test]
async fn filters_and_slices_spare_the_server() {
    let ods = start();
    let lazy = lazy(&ods, &options()).await;
    let all = lazy.clone().select([col(STUDENT)]).collect().expect("rows");
    let student = all
        .column(STUDENT)
        .expect("a column")
        .get(0)
        .expect("a row");
    let student = student.get_str().expect("a text").to_owned();
    queries(&ods);

    let query = lazy.clone().filter(col(STUDENT).eq(lit(student.as_str())));
    assert!(query.clone().collect().expect("rows").height() > 0);
    let sent = queries(&ods);
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(
        sent[0].contains(&format!("studentUniqueId={student}")),
        "{sent:?}"
    );

    assert_eq!(lazy.clone().limit(7).collect().expect("rows").height(), 7);
    let sent = queries(&ods);
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(sent[0].contains("limit=7"), "{sent:?}");

    // The rows of the slice are meant, not the first that fit.
    lazy.limit(7)
        .filter(col(STUDENT).eq(lit(student)))
        .collect()
        .expect("rows");
    assert!(
        queries(&ods)
            .iter()
            .all(|query| !query.contains("studentUniqueId"))
    );
}

#[tokio::test]
async fn the_columns_rows_and_filters_of_the_options_hold() {
    let ods = start();
    let options = ScanOptions {
        columns: Some(vec!["id".into(), STUDENT.into()]),
        n_rows: Some(50),
        ..options()
    };
    let mut lazy = lazy(&ods, &options).await;
    let schema = lazy.collect_schema().expect("columns");
    assert_eq!(
        schema
            .iter_names()
            .map(|name| name.as_str())
            .collect::<Vec<_>>(),
        ["id", STUDENT]
    );
    let rows = lazy.clone().collect().expect("rows");
    assert_eq!(rows.shape(), (50, 2));
    let first = rows
        .column("id")
        .expect("ids")
        .as_materialized_series()
        .head(Some(1));
    let filtered = ScanOptions {
        filters: vec![Filter::is_in("id", first)],
        ..options
    };
    let scan = client(&ods).scan(RESULTS, &filtered).await.expect("a scan");
    assert_eq!(
        scan.lazy()
            .expect("a lazy frame")
            .collect()
            .expect("rows")
            .height(),
        1
    );
}

#[tokio::test]
async fn a_reading_that_fails_is_the_error_of_the_query() {
    let ods = start();
    let lazy = lazy(&ods, &options()).await;
    drop(ods);
    let error = lazy.collect().expect_err("no server").to_string();
    assert!(error.contains(RESULTS), "{error}");
}
