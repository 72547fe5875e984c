//! Errors of queries, and the threads that queries run on.

use polars::prelude::*;
use polars_edfi::sandbox::Faults;
use polars_edfi::{Control, Error};

use crate::support::{BAD, RESULTS, own, sandbox, start};
use crate::{ASSESSMENT, ID, STUDENT, collected, paged, scanned, tried};

fn refusing() -> Faults {
    Faults {
        always_status: Some(403),
        ..Faults::default()
    }
}

#[test]
fn an_error_of_the_server_comes_out_whole() {
    let ods = start();
    let lf = scanned(&ods, &paged(10));
    let twice = || concat([lf.clone(), lf.clone()], UnionArgs::default()).expect("a plan");
    let joined = || lf.clone().inner_join(lf.clone(), col(ID), col(ID));
    for query in [lf.clone(), lf.clone().select([len()]), twice(), joined()] {
        ods.set_faults(BAD, refusing());
        let error = tried(query.clone()).expect_err("an error");
        let own = Error::of_query(&error).expect("an error of this crate");
        assert_eq!(error.to_string(), own.to_string());
        assert!(own.to_string().starts_with(RESULTS), "{own}");
        let failure = own.failure().expect("an answer");
        assert_eq!(failure.http_status, Some(403));
        assert!(failure.correlation_id.is_some(), "{own}");
        // The next run reads anew.
        ods.set_faults(BAD, Faults::default());
        assert!(collected(query).height() > 0);
    }
}

#[test]
fn fewer_records_than_counted_are_an_error() {
    let ods = start();
    let lf = scanned(&ods, &paged(10));
    ods.set_faults(
        BAD,
        Faults {
            lose_records: 2,
            lose_reads: usize::MAX,
            ..Faults::default()
        },
    );
    let error = tried(lf).expect_err("an error");
    let text = error.to_string();
    assert!(
        text.contains("38 records came where the server counts 40"),
        "{text}"
    );
    assert!(matches!(Error::of_query(&error), Some(Error::Http(_))));
}

#[test]
fn an_error_of_polars_is_polars_own() {
    let ods = start();
    let wrong = scanned(&ods, &paged(10)).filter(col(STUDENT).cast(DataType::Int64).gt(lit("x")));
    let error = tried(wrong).expect_err("an error");
    assert!(Error::of_query(&error).is_none(), "{error}");
}

#[test]
fn a_query_can_be_stopped() {
    let ods = start();
    let mut options = paged(10);
    let control = Control::new();
    options.read.batch.control = control.clone();
    let lf = scanned(&ods, &options);
    control.cancel();
    let error = tried(lf).expect_err("an error");
    assert!(
        matches!(Error::of_query(&error), Some(Error::Interrupted)),
        "{error}"
    );
}

/// More scans at once than Polars has threads, whose pages need these threads as well: rows are taken
/// out of them, since the server does not look at filters.
#[test]
fn many_scans_in_one_query_do_not_wait_for_one_another() {
    let ods = sandbox().records(300).start().expect("a sandbox");
    ods.set_faults(
        BAD,
        Faults {
            ignore_filters: true,
            ..Faults::default()
        },
    );
    let lf = scanned(&ods, &paged(20));
    let some = lf.clone().filter(col(ASSESSMENT).eq(lit("STATE-ELA")));
    let rows = collected(some.clone()).height();
    assert!((1..300).contains(&rows));
    let many = vec![some.clone(); 3 * std::thread::available_parallelism().map_or(4, usize::from)];
    let count = many.len();
    let union = concat(many, UnionArgs::default()).expect("a plan");
    assert_eq!(collected(union.clone()).height(), count * rows);
    let joined = union.inner_join(some.select([col(ID)]), col(ID), col(ID));
    assert_eq!(collected(joined).height(), count * rows);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_runs_within_a_runtime() {
    let ods = start();
    let client = own(&ods, BAD).build().expect("a client");
    let scan = client.scan(RESULTS, &paged(10)).await.expect("a scan");
    let lf = scan.lazy();
    let blocking = lf.clone();
    let rows = tokio::task::spawn_blocking(move || blocking.collect());
    assert_eq!(rows.await.expect("an end").expect("rows").height(), 40);
    assert_eq!(lf.collect().expect("rows").height(), 40);
}

#[tokio::test]
async fn a_query_runs_beside_a_runtime_of_one_thread() {
    let ods = start();
    let client = own(&ods, BAD).build().expect("a client");
    let scan = client.scan(RESULTS, &paged(10)).await.expect("a scan");
    let lf = scan.lazy();
    let rows = tokio::task::spawn_blocking(move || lf.collect());
    assert_eq!(rows.await.expect("an end").expect("rows").height(), 40);
}
