//! What a query asks of the server.

use polars::prelude::*;
use polars_edfi::sandbox::{LoggedRequest, Sandbox};
use polars_edfi::{ScanOptions, SchemaChoice};

use crate::support::{
    BAD, DISTRICTS, KEY, RESULTS, data_requests, renewing, sandbox, texts, words,
};
use crate::{ID, MINUTES, STUDENT, YEAR, client_of, collected, paged, scanned};

fn full() -> Sandbox {
    sandbox().records(400).start().expect("a sandbox")
}

/// The rows of a query, and the requests for data that they took.
fn asked(ods: &Sandbox, query: LazyFrame) -> (DataFrame, Vec<LoggedRequest>) {
    ods.clear_requests();
    let rows = collected(query);
    (rows, data_requests(ods, BAD))
}

fn sent<'a>(requests: &'a [LoggedRequest], param: &str) -> Vec<&'a str> {
    let pairs = requests.iter().flat_map(|one| one.query.split('&'));
    let mut sent: Vec<&str> = pairs
        .filter_map(|pair| pair.strip_prefix(param)?.strip_prefix('='))
        .collect();
    sent.dedup();
    sent
}

#[test]
fn a_frame_that_nobody_collects_asks_nothing() {
    let ods = full();
    let lf = scanned(&ods, &paged(100));
    ods.clear_requests();
    let lf = lf.filter(col(STUDENT).eq(lit("604822"))).limit(3);
    lf.clone().collect_schema().expect("columns");
    lf.explain(true).expect("a plan");
    assert_eq!(ods.requests().len(), 0);
}

#[test]
fn the_first_rows_cost_no_more_than_their_pages() {
    let ods = full();
    let lf = scanned(&ods, &paged(100));
    for (rows, requests) in [(0, 0), (1, 1), (10, 1), (100, 1), (101, 2), (250, 3)] {
        let (df, asked) = asked(&ods, lf.clone().limit(rows));
        assert_eq!(df.height(), rows as usize);
        assert_eq!(asked.len(), requests, "{rows} rows: {asked:?}");
        if rows == 10 {
            assert_eq!(asked[0].query, "offset=0&limit=10");
        }
    }
    let (df, asked) = asked(
        &ods,
        lf.limit(10).filter(col(MINUTES).is_null()).select([len()]),
    );
    assert_eq!((df.height(), asked.len()), (1, 1));
}

#[test]
fn what_can_be_read_of_a_filter_is_sent() {
    let ods = full();
    let lf = scanned(&ods, &paged(10));
    let student = words(&collected(lf.clone().select([col(STUDENT)])), STUDENT).remove(7);
    let is_student = || col(STUDENT).eq(lit(student.as_str()));
    let of_student = lf.clone().filter(is_student());
    for query in [
        of_student.clone(),
        of_student.clone().select([len()]),
        of_student.clone().limit(2),
        of_student.clone().filter(col(MINUTES).gt(lit(5))),
        lf.clone().filter(lit(student.as_str()).eq(col(STUDENT))),
        lf.clone()
            .filter(is_student().and(col(MINUTES).gt(lit(5)).or(col(ID).eq(lit("x"))))),
        lf.clone()
            .select([col(STUDENT), col(ID)])
            .filter(is_student()),
        lf.clone()
            .sort([ID], SortMultipleOptions::default())
            .filter(is_student()),
        of_student
            .clone()
            .sort([ID], SortMultipleOptions::default())
            .limit(3),
    ] {
        let plan = query.explain(true).expect("a plan");
        let (_, asked) = asked(&ods, query);
        assert_eq!(
            sent(&asked, "studentUniqueId"),
            [student.as_str()],
            "{plan}"
        );
        assert!(asked.len() <= 3, "{plan}: {asked:?}");
    }
    let both = of_student.filter(col(YEAR).eq(lit(2025)));
    let (_, asked) = asked(&ods, both);
    assert_eq!(sent(&asked, "studentUniqueId"), [student.as_str()]);
    assert_eq!(sent(&asked, "schoolYear"), ["2025"]);
}

#[test]
fn a_list_is_one_request_for_each_value() {
    let ods = full();
    let lf = scanned(&ods, &paged(10));
    let mut students = words(&collected(lf.clone().select([col(STUDENT)])), STUDENT);
    students.sort();
    students.dedup();
    students.truncate(3);
    let listed = Series::new("students".into(), &students);
    let listed = lit(listed).implode(true);
    let (df, asked) = asked(&ods, lf.clone().filter(col(STUDENT).is_in(listed, false)));
    let mut found: Vec<_> = texts(&df, STUDENT).into_iter().flatten().collect();
    found.sort();
    found.dedup();
    assert_eq!(found, students);
    let mut sent = sent(&asked, "studentUniqueId");
    sent.sort_unstable();
    sent.dedup();
    assert_eq!(sent, students);
    assert!(asked.len() < 10, "{asked:?}");
}

#[test]
fn what_cannot_be_read_or_means_other_rows_is_not_sent() {
    let ods = full();
    let lf = scanned(&ods, &paged(100));
    let student = words(&collected(lf.clone().limit(1)), STUDENT).remove(0);
    let is_student = || col(STUDENT).eq(lit(student.as_str()));
    let stays = ScanOptions {
        pushdown: false,
        ..paged(100)
    };
    let nulls = Series::new("students".into(), [Some(student.as_str()), None]);
    for query in [
        lf.clone().limit(50).filter(is_student()),
        lf.clone().slice(3, 50).filter(is_student()),
        lf.clone().filter(is_student().or(col(MINUTES).gt(lit(60)))),
        lf.clone().filter(is_student().not()),
        lf.clone().filter(col(STUDENT).gt(lit(student.as_str()))),
        lf.clone()
            .filter(col(STUDENT).is_in(lit(nulls).implode(true), true)),
        lf.clone()
            .filter(is_student())
            .with_predicate_pushdown(false),
        scanned(&ods, &stays).filter(is_student()),
    ] {
        let plan = query.explain(true).expect("a plan");
        let (_, asked) = asked(&ods, query);
        assert_eq!(sent(&asked, "studentUniqueId"), [""; 0], "{plan}");
        assert!(!asked.is_empty(), "{plan}");
    }
}

#[test]
fn a_day_and_a_truth_are_sent_as_they_are() {
    let ods = full();
    let schema: Schema = [
        ("adaptiveAssessment", DataType::Boolean),
        ("revisionDate", DataType::Date),
    ]
    .map(|(name, dtype)| (PlSmallStr::from(name), dtype))
    .into_iter()
    .collect();
    let mut options = paged(10);
    options.read.schema = SchemaChoice::Given(schema);
    let scan = client_of(&ods).scan("ed-fi/assessments", &options);
    let lf = scan.expect("a scan").lazy();
    let adaptive = || col("adaptiveAssessment");
    for (condition, param, value, rows) in [
        (adaptive(), "adaptiveAssessment", "true", 1),
        (adaptive().not(), "adaptiveAssessment", "false", 3),
        (adaptive().eq(lit(false)), "adaptiveAssessment", "false", 3),
        (
            col("revisionDate").eq(lit("2024-03-12").cast(DataType::Date)),
            "revisionDate",
            "2024-03-12",
            4,
        ),
    ] {
        let (df, asked) = asked(&ods, lf.clone().filter(condition));
        assert_eq!(df.height(), rows, "{param}={value}");
        assert_eq!(sent(&asked, param), [value]);
    }
}

#[test]
fn a_filter_on_the_key_leaves_out_districts() {
    let ods = full();
    let mut options = paged(100);
    options.read.batch = renewing();
    options.read.batch.endpoint = Some(RESULTS.into());
    let scan = client_of(&ods).scan_all(&ods.districts(), KEY, &options);
    let lf = scan.expect("a scan").lazy();
    let listed = || lit(Series::new("keys".into(), &DISTRICTS[..2])).implode(true);
    let others = |query: LazyFrame| {
        let (df, of_bad) = asked(&ods, query);
        let others = [DISTRICTS[0], DISTRICTS[2]];
        let asked = others.map(|district| !data_requests(&ods, district).is_empty());
        (df.height(), !of_bad.is_empty(), asked)
    };
    let key = || col(KEY);
    let one = others(lf.clone().filter(key().eq(lit(BAD))));
    assert_eq!(one, (400, true, [false, false]));
    let two = others(lf.clone().filter(key().is_in(listed(), false)));
    assert_eq!(two, (800, true, [true, false]));
    let from = others(lf.clone().filter(key().gt_eq(lit(BAD))));
    assert_eq!(from, (800, true, [false, true]));
    let none = others(lf.clone().filter(key().eq(lit("nobody"))));
    assert_eq!(none, (0, false, [false, false]));
    // The rows that are meant are the first ones.
    let first = others(lf.limit(450).filter(key().eq(lit(BAD))));
    assert_eq!(first.0, 50);
}
