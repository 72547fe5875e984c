//! Streams of pages: order, what is fetched ahead, what ends them.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures_util::{FutureExt, Stream, StreamExt, TryStreamExt};
use polars::prelude::*;
use polars_edfi::sandbox::{Faults, Sandbox};
use polars_edfi::{
    BatchOptions, EdFiClient, Error, Filter, GetAllOptions, Paging, Scan, ScanOptions,
    SchemaChoice, blocking,
};
use serde_json::json;

use crate::support::{
    BAD, DISTRICTS, KEY, RESULTS, client, data_requests, names, own, renewing, sandbox, soon,
    start, texts, until, with_tokens, words,
};

fn paged(limit: usize, workers: usize, paging: Paging) -> ScanOptions {
    ScanOptions {
        read: GetAllOptions {
            limit,
            paging,
            schema: SchemaChoice::Infer,
            batch: BatchOptions {
                workers,
                ..BatchOptions::default()
            },
            ..GetAllOptions::default()
        },
        ..ScanOptions::default()
    }
}

/// The next page.
async fn page_of<T>(pages: &mut (impl Stream<Item = Result<T, Error>> + Unpin)) -> T {
    let page = soon(pages.try_next()).await.expect("no error");
    page.expect("a page")
}

async fn collected(pages: impl Stream<Item = Result<DataFrame, Error>> + Unpin) -> DataFrame {
    let pages: Vec<DataFrame> = soon(pages.try_collect()).await.expect("pages");
    stacked(pages)
}

fn stacked(pages: Vec<DataFrame>) -> DataFrame {
    let mut pages = pages.into_iter();
    let mut df = pages.next().expect("a page");
    for page in pages {
        df.vstack_mut(&page).expect("the same columns");
    }
    df
}

fn client_of(ods: &Sandbox) -> EdFiClient {
    own(ods, BAD).build().expect("a client")
}

/// Forgets what was asked for the columns, and the pages that came with them.
fn forget(ods: &Sandbox, scan: &Scan) {
    drop(scan.pages());
    ods.clear_requests();
}

/// What a read of everything gives.
async fn whole(client: &EdFiClient, options: &ScanOptions) -> DataFrame {
    soon(client.get_all(&options.read)).await.expect("records")
}

/// The scan has these rows in this order; what its first page had no column for is in `_unknown`.
fn assert_same(scanned: &DataFrame, all: &DataFrame) {
    let known = scanned.drop("_unknown").expect("_unknown");
    let late = all.width() - known.width();
    let unknown = scanned.column("_unknown").expect("_unknown");
    assert_eq!(unknown.null_count() < all.height(), late > 0);
    let all = all.select(names(&known)).expect("the same columns");
    assert_eq!(known.schema(), all.schema());
    assert!(known.equals_missing(&all));
}

#[tokio::test]
async fn pages_come_in_order_whatever_the_way() {
    let ods = sandbox().records(203).start().expect("a sandbox");
    let client = client_of(&ods);
    for paging in [Paging::Offset, Paging::Auto, Paging::Cursor] {
        for (limit, workers) in [(7, 1), (10, 3), (50, 8), (500, 2)] {
            let options = paged(limit, workers, paging);
            let all = whole(&client, &options).await;
            let pages = client.pages(RESULTS, &options);
            let scanned = collected(pages).await;
            assert_same(&scanned, &all);
            assert_eq!(scanned.height(), 203);
        }
    }
}

#[tokio::test]
async fn no_more_is_fetched_than_workers_ahead() {
    let ods = sandbox().records(400).start().expect("a sandbox");
    let client = client_of(&ods);
    for workers in [1, 4] {
        let options = paged(10, workers, Paging::Offset);
        let scan = soon(client.scan(RESULTS, &options)).await.expect("a scan");
        forget(&ods, &scan);
        let mut pages = scan.pages().expect("pages");
        let seen = || data_requests(&ods, BAD).len();
        assert!(pages.next().now_or_never().is_none());
        until("the first pages", || seen() == workers).await;
        assert_nothing_more(&ods).await;
        page_of(&mut pages).await;
        until("the pages ahead", || seen() == workers + 1).await;
        assert_nothing_more(&ods).await;
        page_of(&mut pages).await;
        until("one more", || seen() == workers + 2).await;
        // Nobody wants the rest.
        drop(pages);
        assert_nothing_more(&ods).await;
        assert!(ods.max_in_flight() <= workers);
    }
}

#[tokio::test]
async fn twice_as_many_pages_are_ahead_of_one_who_waits() {
    let builder = sandbox().records(400).latency(Duration::from_millis(5));
    let ods = builder.start().expect("a sandbox");
    let scan = soon(client_of(&ods).scan(RESULTS, &paged(10, 4, Paging::Offset))).await;
    let scan = scan.expect("a scan");
    forget(&ods, &scan);
    let mut pages = scan.pages().expect("pages");
    for _ in 0..6 {
        page_of(&mut pages).await;
    }
    let seen = || data_requests(&ods, BAD).len();
    until("twice as many", || seen() == 6 + 2 * 4).await;
    assert_nothing_more(&ods).await;
    assert!(ods.max_in_flight() <= 4);
}

#[tokio::test]
async fn a_search_begins_with_few_pages() {
    let ods = sandbox().records(400).start().expect("a sandbox");
    let options = ScanOptions {
        filters: vec![Filter::is_in("id", Series::new("".into(), ["nobody"]))],
        pushdown: false,
        ..paged(10, 8, Paging::Offset)
    };
    let scan = soon(client_of(&ods).scan(RESULTS, &options))
        .await
        .expect("a scan");
    forget(&ods, &scan);
    let mut pages = scan.pages().expect("pages");
    let seen = || data_requests(&ods, BAD).len();
    for taken in 1..4 {
        page_of(&mut pages).await;
        until("the pages ahead", || seen() == 4 + taken).await;
        assert_nothing_more(&ods).await;
    }
    assert_eq!(collected(pages).await.height(), 0);
    assert!(ods.max_in_flight() <= 8);
}

/// No request comes for a while that is long for a request on loopback.
async fn assert_nothing_more(ods: &Sandbox) {
    let before = ods.requests().len();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(ods.requests().len(), before);
}

#[tokio::test]
async fn partitions_are_bounded_too() {
    let builder = sandbox().records(600).page_limit(10);
    let ods = builder.start().expect("a sandbox");
    let client = client_of(&ods);
    let scan = soon(client.scan(RESULTS, &paged(2, 2, Paging::Cursor)))
        .await
        .expect("a scan");
    forget(&ods, &scan);
    let mut pages = scan.pages().expect("pages");
    page_of(&mut pages).await;
    // The first page, the partitions, one page taken, and four waiting in each of two partitions.
    let seen = || data_requests(&ods, BAD).len();
    until("the pages ahead", || seen() == 2 + 1 + 2 * 4).await;
    assert_nothing_more(&ods).await;
    assert!(ods.max_in_flight() <= 2);
    let rest: Vec<DataFrame> = soon(pages.try_collect()).await.expect("pages");
    assert_eq!(rest.iter().map(DataFrame::height).sum::<usize>(), 598);
}

#[tokio::test]
async fn a_head_costs_no_more_than_its_pages() {
    let ods = sandbox().records(400).start().expect("a sandbox");
    let client = client_of(&ods);
    for paging in [Paging::Offset, Paging::Auto, Paging::Cursor] {
        let all = whole(&client, &paged(100, 4, paging)).await;
        let scan = soon(client.scan(RESULTS, &paged(100, 8, paging)))
            .await
            .expect("a scan");
        for (rows, requests) in [(0, 0), (1, 1), (10, 1), (100, 1), (101, 2), (250, 3)] {
            ods.clear_requests();
            let options = ScanOptions {
                n_rows: Some(rows),
                ..paged(100, 8, paging)
            };
            let given = SchemaChoice::Given(without_unknown(scan.schema()));
            let options = with_schema(options, given);
            let pages: Vec<DataFrame> = soon(client.pages(RESULTS, &options).try_collect())
                .await
                .expect("pages");
            let asked = data_requests(&ods, BAD);
            assert_eq!(asked.len(), requests, "{rows} rows: {asked:?}");
            if rows > 0 {
                assert_same(&stacked(pages), &all.head(Some(rows)));
            }
            if rows == 10 {
                assert_eq!(asked[0].query, "offset=0&limit=10");
            }
        }
    }
    // More than there is: everything, and the check.
    let options = ScanOptions {
        n_rows: Some(1000),
        ..paged(100, 8, Paging::Offset)
    };
    assert_eq!(
        collected(client.pages(RESULTS, &options)).await.height(),
        400
    );
    ods.load(BAD, RESULTS, (0..3).map(|n| json!({"n": n})))
        .expect("records");
    let options = ScanOptions {
        n_rows: Some(10),
        ..options
    };
    assert_eq!(collected(client.pages(RESULTS, &options)).await.height(), 3);
}

fn without_unknown(schema: &Schema) -> Schema {
    let columns = schema.iter().filter(|(name, _)| **name != "_unknown");
    columns
        .map(|(name, dtype)| (name.clone(), dtype.clone()))
        .collect()
}

fn with_schema(mut options: ScanOptions, schema: SchemaChoice) -> ScanOptions {
    options.read.schema = schema;
    options
}

#[tokio::test]
async fn fewer_records_than_counted_are_an_error_at_the_end() {
    let ods = sandbox().records(30).start().expect("a sandbox");
    let client = client_of(&ods);
    ods.set_faults(
        BAD,
        Faults {
            lose_records: 2,
            lose_reads: usize::MAX,
            ..Faults::default()
        },
    );
    for paging in [Paging::Offset, Paging::Cursor] {
        let mut pages = client.pages(RESULTS, &paged(10, 2, paging));
        let mut rows = 0;
        let error = loop {
            match soon(pages.next()).await.expect("an error first") {
                Ok(page) => rows += page.height(),
                Err(error) => break error,
            }
        };
        assert_eq!(rows, 28);
        let text = error.to_string();
        assert!(matches!(error, Error::Http(_)), "{text}");
        assert!(text.contains(RESULTS), "{text}");
        assert!(
            text.contains("28 records came where the server counts 30"),
            "{text}"
        );
        assert!(soon(pages.next()).await.is_none());
    }
}

#[tokio::test]
async fn record_batches_are_the_same_rows() {
    let ods = start();
    let client = client_of(&ods);
    let options = ScanOptions {
        n_rows: Some(25),
        columns: Some(vec!["id".into(), "studentReference.studentUniqueId".into()]),
        ..paged(10, 2, Paging::Auto)
    };
    let batches: Vec<_> = soon(client.record_batches(RESULTS, &options).try_collect())
        .await
        .expect("batches");
    let rows: Vec<usize> = batches.iter().map(|batch| batch.num_rows()).collect();
    assert_eq!(rows, [10, 10, 5]);
    let fields: Vec<_> = batches[0]
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    assert_eq!(fields, ["id", "studentReference.studentUniqueId"]);
    let exploding = ScanOptions {
        read: GetAllOptions {
            explode: vec!["scoreResults".into()],
            ..paged(10, 2, Paging::Auto).read
        },
        ..ScanOptions::default()
    };
    let error = soon(client.record_batches(RESULTS, &exploding).try_next()).await;
    assert!(matches!(error, Err(Error::Config(_))));
}

#[tokio::test]
async fn lists_explode_page_by_page() {
    let ods = start();
    let client = client_of(&ods);
    let options = |columns: Option<Vec<String>>| ScanOptions {
        read: GetAllOptions {
            explode: vec!["scoreResults".into()],
            ..paged(7, 2, Paging::Auto).read
        },
        columns,
        n_rows: None,
        ..ScanOptions::default()
    };
    let all = whole(&client, &options(None)).await;
    assert_same(
        &collected(client.pages(RESULTS, &options(None))).await,
        &all,
    );
    for columns in [vec!["scoreResults.result", "id"], vec!["id"]] {
        let wanted = columns.iter().map(|name| (*name).to_owned()).collect();
        let some = collected(client.pages(RESULTS, &options(Some(wanted)))).await;
        assert!(some.equals_missing(&all.select(columns).expect("columns")));
    }
}

async fn scan_of(districts: &DataFrame, options: &ScanOptions) -> Scan {
    let scan = soon(client().scan_all(districts, KEY, options)).await;
    scan.expect("a scan")
}

#[tokio::test]
async fn many_districts_follow_one_another() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    for (limit, workers) in [(7, 1), (10, 2), (500, 8)] {
        let options = paged(limit, workers, Paging::Auto);
        let all = soon(client().batch_get_all(&districts, KEY, &options.read)).await;
        let about = ["status", "message", "http_status", "correlation_id"];
        let all = all.expect("a frame").drop_many(about);
        let scan = scan_of(&districts, &options).await;
        assert_eq!(scan.schema().get_at_index(0).expect("a column").0, KEY);
        let shown = format!("{scan:?}");
        assert!(shown.contains(RESULTS), "{shown}");
        for name in ["EdFi Token", "oAuthKey", "oAuthSecret"] {
            let secrets = words(&districts, name);
            assert!(
                !secrets.iter().any(|secret| shown.contains(secret)),
                "{shown}"
            );
        }
        // A second reading is one.
        for _ in 0..2 {
            let df = collected(scan.pages().expect("pages")).await;
            assert_same(&df, &all);
        }
    }
}

#[tokio::test]
async fn a_district_that_fails_is_named() {
    let ods = start();
    let districts = with_tokens(&ods).await;
    let scan = scan_of(&districts, &paged(10, 2, Paging::Auto)).await;
    forget(&ods, &scan);
    let faults = Faults {
        always_status: Some(400),
        ..Faults::default()
    };
    ods.set_faults(BAD, faults);
    let mut pages = scan.pages().expect("pages");
    let mut seen = HashSet::new();
    let error = loop {
        match soon(pages.next()).await.expect("an error first") {
            Ok(page) => seen.extend(words(&page, KEY)),
            Err(error) => break error.to_string(),
        }
    };
    assert_eq!(seen, HashSet::from([DISTRICTS[0].to_owned()]));
    let expected = format!("{RESULTS}: {KEY} {BAD}: HTTP 400 Bad Request");
    assert!(error.starts_with(&expected), "{error}");
    // A row that cannot be visited is an error at once.
    let doubled = districts.vstack(&districts.head(Some(1))).expect("rows");
    let urls = ["targetUrl"].map(|name| {
        let mut urls = words(&doubled, name);
        *urls.last_mut().expect("a row") = "http://127.0.0.1:9/elsewhere".into();
        Column::new(name.into(), urls)
    });
    let mut doubled = doubled;
    for urls in urls {
        doubled.with_column(urls).expect("a column");
    }
    let error = soon(client().scan_all(&doubled, KEY, &ScanOptions::default())).await;
    let error = error.expect_err("a doubled key").to_string();
    assert!(
        error.contains(DISTRICTS[0]) && error.contains("another URL"),
        "{error}"
    );
}

/// Districts with so many records each.
async fn with_records(counts: [usize; 3]) -> (Sandbox, DataFrame) {
    let ods = start();
    for (district, count) in DISTRICTS.into_iter().zip(counts) {
        load(&ods, district, count);
    }
    let districts = with_tokens(&ods).await;
    (ods, districts)
}

/// Loaded again, a record is as it was.
fn load(ods: &Sandbox, district: &str, count: usize) {
    let records = (0..count).map(|n| json!({"n": n, "_etag": "1"}));
    ods.load(district, RESULTS, records).expect("records");
}

/// How many requests for data each district had.
fn asked(ods: &Sandbox) -> [usize; 3] {
    DISTRICTS.map(|district| data_requests(ods, district).len())
}

/// Long enough for what has to happen meanwhile.
fn slow() -> Faults {
    Faults {
        latency: Duration::from_millis(500),
        ..Faults::default()
    }
}

#[tokio::test]
async fn a_district_goes_on_while_the_last_pages_of_another_come() {
    // Two, three and one pages, each sharing a record with the one before.
    let (ods, districts) = with_records([18, 27, 9]).await;
    let scan = scan_of(&districts, &paged(10, 2, Paging::Offset)).await;
    forget(&ods, &scan);
    let mut pages = scan.pages().expect("pages");
    page_of(&mut pages).await;
    // Two pages ahead beside the first pages of two districts.
    let asked = || asked(&ods);
    until("the pages ahead", || asked() == [2, 2, 0]).await;
    assert_nothing_more(&ods).await;
    let rest = collected(pages).await;
    assert_eq!(rest.height(), 44);
    assert_eq!(asked(), [2, 3, 1]);
    assert!(ods.max_in_flight() <= 2);
}

#[tokio::test]
async fn a_head_of_one_district_leaves_the_others_alone() {
    let (ods, districts) = with_records([30, 30, 30]).await;
    let options = paged(10, 8, Paging::Offset);
    let scan = scan_of(&districts, &options).await;
    let given = SchemaChoice::Given(without_unknown(scan.schema()));
    let options = ScanOptions {
        n_rows: Some(28),
        ..with_schema(options, given)
    };
    let scan = scan_of(&districts, &options).await;
    ods.clear_requests();
    assert_eq!(collected(scan.pages().expect("pages")).await.height(), 28);
    let asked = asked(&ods);
    assert_eq!(asked[0], 3);
    // Their first pages are fetched ahead.
    assert!(asked[1] <= 1 && asked[2] <= 1, "{asked:?}");
}

#[tokio::test]
async fn a_district_that_grows_while_it_is_read_ends() {
    let (ods, districts) = with_records([18, 60, 10]).await;
    let scan = scan_of(&districts, &paged(10, 2, Paging::Offset)).await;
    ods.set_faults(DISTRICTS[0], slow());
    forget(&ods, &scan);
    let mut pages = scan.pages().expect("pages");
    assert_eq!(page_of(&mut pages).await.height(), 10);
    // Its last page is on its way, and the other district holds the places that are left.
    until("the last page", || {
        data_requests(&ods, DISTRICTS[0]).len() == 2
    })
    .await;
    load(&ods, DISTRICTS[0], 45);
    ods.set_faults(DISTRICTS[0], Faults::default());
    assert_eq!(collected(pages).await.height(), 35 + 60 + 10);
    assert_eq!(data_requests(&ods, DISTRICTS[0]).len(), 5);
}

#[tokio::test]
async fn what_has_grown_is_fetched_ahead_too() {
    let (ods, _) = with_records([0, 18, 0]).await;
    let scan = soon(client_of(&ods).scan(RESULTS, &paged(10, 4, Paging::Offset)))
        .await
        .expect("a scan");
    ods.set_faults(BAD, slow());
    forget(&ods, &scan);
    let mut pages = scan.pages().expect("pages");
    assert_eq!(page_of(&mut pages).await.height(), 10);
    let seen = || data_requests(&ods, BAD).len();
    until("the last page", || seen() == 2).await;
    load(&ods, BAD, 100);
    ods.set_faults(BAD, Faults::default());
    until("the pages ahead", || seen() == 1 + 4).await;
    assert_eq!(collected(pages).await.height(), 90);
}

#[tokio::test]
async fn a_district_that_ends_early_lets_nobody_jump_the_queue() {
    for status in [None, Some(404)] {
        let (ods, districts) = with_records([40, 0, 60]).await;
        let scan = scan_of(&districts, &paged(10, 3, Paging::Offset)).await;
        ods.set_faults(DISTRICTS[0], slow());
        let ended = Faults {
            always_status: status,
            ..Faults::default()
        };
        ods.set_faults(DISTRICTS[1], ended);
        forget(&ods, &scan);
        let mut pages = scan.pages().expect("pages");
        assert!(pages.next().now_or_never().is_none());
        // What the one in the middle has to say is known; it is not the turn of the last for that.
        let asked = || asked(&ods);
        // Where a collection is not there, its ODS is asked what the base URL may lack.
        let all = 3 + usize::from(status.is_some());
        let is_all = || asked() == [1, 1, 1] && ods.requests().len() == all;
        until("all first pages", is_all).await;
        assert_nothing_more(&ods).await;
        ods.set_faults(DISTRICTS[0], Faults::default());
        let rows = soon(pages.try_fold(0, async |rows, page| Ok(rows + page.height()))).await;
        match status {
            None => assert_eq!(rows.expect("no error"), 100),
            Some(_) => assert!(matches!(rows, Err(Error::Http(_))), "{rows:?}"),
        }
    }
}

#[tokio::test]
async fn one_district_does_not_wait_for_another_to_begin() {
    let ods = sandbox()
        .records(40)
        .latency(Duration::from_millis(20))
        .start()
        .expect("a sandbox");
    let districts = with_tokens(&ods).await;
    let scan = scan_of(&districts, &paged(10, 3, Paging::Offset)).await;
    forget(&ods, &scan);
    let mut pages = scan.pages().expect("pages");
    page_of(&mut pages).await;
    let first = |district: &&str| !data_requests(&ods, district).is_empty();
    until("all begun", || DISTRICTS.iter().all(&first)).await;
    // The others' first pages alone, while the first one needs all places.
    assert_eq!(data_requests(&ods, DISTRICTS[2]).len(), 1);
    let rows: usize = soon(pages.try_collect::<Vec<_>>())
        .await
        .expect("pages")
        .iter()
        .map(DataFrame::height)
        .sum();
    assert_eq!(rows, 110);
    assert!(ods.max_in_flight() <= 3);
}

#[tokio::test]
async fn what_the_first_page_lacks_is_in_unknown() {
    let ods = start();
    // One page more is looked at: the last one.
    let records = (0..15).map(|n| match n {
        7 => json!({"n": n, "late": true, "status": "s"}),
        8 => json!({"n": n, "status": 5}),
        _ => json!({"n": n, "status": "s", KEY: "theirs"}),
    });
    ods.load(BAD, RESULTS, records).expect("records");
    let control = polars_edfi::Control::new();
    let mut options = paged(5, 2, Paging::Offset);
    options.read.batch.control = control.clone();
    options.read.links = false;
    let client = client_of(&ods);
    let df = collected(client.pages(RESULTS, &options)).await;
    assert_eq!(texts(&df, "status")[8].as_deref(), Some("5"));
    let unknown = texts(&df, "_unknown");
    assert_eq!(unknown[7].as_deref(), Some(r#"{"late":true}"#));
    assert_eq!(unknown.iter().flatten().count(), 1);
    let warnings = control.warnings();
    assert!(
        warnings[0].contains("1 record has") && warnings.len() == 1,
        "{warnings:?}"
    );
    // Not looked at, not counted; and a property that is named as the key keeps its place.
    let districts = with_tokens(&ods).await.slice(1, 1);
    let mut options = paged(5, 2, Paging::Offset);
    options.read.batch = renewing();
    let scan = scan_of(&districts, &options).await;
    let record = format!("{KEY}_record");
    assert!(scan.schema().contains(&record));
    let df = collected(scan.pages().expect("pages")).await;
    assert_eq!(texts(&df, &record)[0].as_deref(), Some("theirs"));
    assert_eq!(names(&df)[0], KEY);
}

#[tokio::test]
async fn wrong_arguments_are_told_before_anything_is_sent() {
    let ods = start();
    let client = client_of(&ods);
    for options in [paged(0, 1, Paging::Auto), paged(1, 0, Paging::Auto)] {
        let error = soon(client.pages(RESULTS, &options).next())
            .await
            .expect("an item");
        assert!(matches!(error, Err(Error::Config(_))));
    }
    let nobody = EdFiClient::builder().build().expect("a client");
    let error = soon(nobody.scan(RESULTS, &ScanOptions::default())).await;
    assert!(matches!(error, Err(Error::Config(_))));
    assert_eq!(ods.requests().len(), 0);
    let options = ScanOptions {
        columns: Some(vec!["nowhere".into()]),
        ..ScanOptions::default()
    };
    let error = soon(client.scan(RESULTS, &options))
        .await
        .expect_err("no such column");
    assert!(
        matches!(&error, Error::ColumnNotFound(text) if text.contains("nowhere")),
        "{error}"
    );
}

#[test]
fn the_blocking_twin_gives_the_same_pages() {
    let ods = start();
    let client: blocking::EdFiClient = client_of(&ods).into();
    let options = paged(15, 2, Paging::Auto);
    let heights = |pages: Vec<DataFrame>| pages.iter().map(DataFrame::height).collect::<Vec<_>>();
    let pages: Result<Vec<_>, _> = client.pages(RESULTS, &options).collect();
    assert_eq!(heights(pages.expect("pages")), [15, 15, 10]);
    let scan = client.scan(RESULTS, &options).expect("a scan");
    assert!(scan.schema().contains("_unknown"));
    let pages: Result<Vec<_>, _> = scan.pages().expect("pages").collect();
    assert_eq!(heights(pages.expect("pages")), [15, 15, 10]);
    let batches: Result<Vec<_>, _> = client.record_batches(RESULTS, &options).collect();
    assert_eq!(batches.expect("batches").len(), 3);
}

#[test]
fn pages_are_fetched_ahead_while_nobody_waits() {
    let ods = sandbox().records(400).start().expect("a sandbox");
    let client: blocking::EdFiClient = client_of(&ods).into();
    let options = paged(10, 4, Paging::Offset);
    let scan = client.scan(RESULTS, &options).expect("a scan");
    drop(scan.pages());
    ods.clear_requests();
    let mut pages = scan.pages().expect("pages");
    pages.next().expect("a page").expect("no error");
    let start = Instant::now();
    while data_requests(&ods, BAD)
        .iter()
        .filter(|one| one.status == Some(200))
        .count()
        < 5
    {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "nothing is fetched ahead"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[tokio::test]
async fn documents_tell_the_columns_before_the_first_record() {
    let ods = start();
    for district in DISTRICTS {
        let late = json!({"id": "late", "notInTheDocument": 1});
        let mut records = ods.items(district, RESULTS);
        records.push(late);
        ods.load(district, RESULTS, records).expect("records");
    }
    let client = client_of(&ods);
    let control = polars_edfi::Control::new();
    for choice in [SchemaChoice::Auto, SchemaChoice::OpenApi] {
        let mut options = with_schema(paged(10, 2, Paging::Auto), choice);
        options.read.batch.control = control.clone();
        let all = whole(&client, &options).await;
        ods.clear_requests();
        let scan = soon(client.scan(RESULTS, &options)).await.expect("a scan");
        assert_eq!(data_requests(&ods, BAD).len(), 0);
        assert_eq!(scan.schema(), all.schema().as_ref());
        let moment = DataType::Datetime(TimeUnit::Microseconds, Some(TimeZone::UTC));
        assert_eq!(scan.schema().get("administrationDate"), Some(&moment));
        let df = collected(scan.pages().expect("pages")).await;
        assert!(df.equals_missing(&all));
        assert_eq!(df.column("_unknown").expect("_unknown").null_count(), 40);
    }
    let told = control.warnings();
    let told = told.iter().filter(|text| text.starts_with(RESULTS)).count();
    assert_eq!(told, 2, "{:?}", control.warnings());
    // Many districts widen, and empty ones have all columns.
    let districts = with_tokens(&ods).await;
    let options = with_schema(paged(10, 2, Paging::Auto), SchemaChoice::Auto);
    let all = soon(self::client().batch_get_all(&districts, KEY, &options.read)).await;
    let about = ["status", "message", "http_status", "correlation_id"];
    let all = all.expect("a frame").drop_many(about);
    let df = collected(scan_of(&districts, &options).await.pages().expect("pages")).await;
    assert!(df.equals_missing(&all));
}

#[tokio::test]
async fn parameters_that_nobody_knows_are_refused() {
    let ods = start();
    let client = client_of(&ods);
    let mut options = paged(10, 2, Paging::Auto);
    options.read.params = vec![("schoolYeer".into(), "2026".into())];
    let error = soon(client.scan(RESULTS, &options))
        .await
        .expect_err("no such parameter");
    assert!(
        matches!(&error, Error::Config(text) if text.contains("schoolYear")),
        "{error}"
    );
    let districts = with_tokens(&ods).await;
    let error = soon(self::client().scan_all(&districts, KEY, &options)).await;
    assert!(matches!(error, Err(Error::Config(_))));
    assert_eq!(data_requests(&ods, BAD).len(), 0);
}
