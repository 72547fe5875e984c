//! A query over a scan gives what it gives over the collected frame.

use fastrand::Rng;
use polars::prelude::*;
use polars_edfi::sandbox::{Faults, Sandbox};
use polars_edfi::{Filter, ScanOptions};

use crate::support::{BAD, DISTRICTS, KEY, RESULTS, names, renewing, sandbox, start, words};
use crate::{
    ASSESSMENT, ID, MINUTES, STUDENT, YEAR, client_of, collected, paged, scanned, soon, tried,
};

fn all(ods: &Sandbox) -> DataFrame {
    let options = paged(500).read;
    client_of(ods).get_all(&options).expect("records")
}

fn assert_equal(query: &str, scanned: &DataFrame, expected: &DataFrame) {
    assert_eq!(scanned.schema(), expected.schema(), "{query}");
    assert!(
        scanned.equals_missing(expected),
        "{query}:\n{scanned}\ninstead of\n{expected}"
    );
}

fn by_id(df: DataFrame) -> DataFrame {
    df.sort([ID], SortMultipleOptions::default())
        .expect("the column")
}

#[test]
fn a_scan_is_the_collected_frame() {
    let ods = start();
    let all = all(&ods);
    let lf = scanned(&ods, &paged(7));
    let schema = lf.clone().collect_schema().expect("columns");
    assert_eq!(&schema, all.schema());
    assert_equal("all", &collected(lf.clone()), &all);
    assert_equal("all, again", &collected(lf), &all);
}

#[test]
fn each_query_gives_what_it_gives_on_the_collected_frame() {
    type Query = (&'static str, fn(LazyFrame) -> LazyFrame);
    const QUERIES: [Query; 25] = [
        ("two columns", |lf| lf.select([col(STUDENT), col(ID)])),
        ("a computed column", |lf| {
            lf.select([col(ID), (col(MINUTES) * lit(2)).alias("twice")])
        }),
        ("the first", |lf| lf.limit(9)),
        ("none", |lf| lf.limit(0)),
        ("more than there are", |lf| lf.limit(1000)),
        ("some in the middle", |lf| lf.slice(5, 11)),
        ("the last", |lf| lf.tail(3)),
        ("the first of the first", |lf| lf.limit(20).limit(4)),
        ("backwards", |lf| lf.reverse().limit(4)),
        ("how many", |lf| lf.select([len()])),
        ("how many of the first", |lf| lf.limit(9).select([len()])),
        ("how many of some", |lf| {
            lf.filter(col(MINUTES).gt(lit(60))).select([len()])
        }),
        ("no column of it", |lf| lf.select([lit(1).alias("one")])),
        ("numbered", |lf| lf.with_row_index("n", Some(3))),
        ("numbered and chosen", |lf| {
            lf.with_row_index("n", None)
                .filter(col("n").gt(lit(30)))
                .select([col("n"), col(ID)])
        }),
        ("numbers of some", |lf| {
            lf.filter(col(MINUTES).is_not_null())
                .with_row_index("n", None)
                .select([col("n"), col(MINUTES)])
        }),
        ("grouped", |lf| {
            lf.group_by_stable([col(ASSESSMENT)])
                .agg([len(), col(MINUTES).max()])
        }),
        ("sorted", |lf| {
            lf.sort([ID], SortMultipleOptions::default()).limit(6)
        }),
        ("sorted, of some", |lf| {
            lf.filter(col(MINUTES).gt(lit(40)))
                .sort([ID], SortMultipleOptions::default())
                .slice(1, 5)
                .select([col(STUDENT)])
        }),
        ("by the others", |lf| {
            lf.filter(len().over([col(ASSESSMENT)]).expect("a window").gt(lit(9)))
        }),
        ("by all", |lf| {
            lf.filter(col(MINUTES).gt(col(MINUTES).mean()))
        }),
        ("by a function", |lf| {
            lf.filter(col(MINUTES).fill_null(lit(0)).lt(lit(50)))
        }),
        ("by nothing", |lf| lf.filter(lit(false))),
        ("by null", |lf| {
            lf.filter(col(MINUTES).eq(lit(NULL).cast(DataType::Int32)))
        }),
        ("with itself", |lf| {
            let right = lf.clone().select([col(ID), col(MINUTES).alias("right")]);
            lf.inner_join(right, col(ID), col(ID))
                .sort([ID], SortMultipleOptions::default())
        }),
    ];
    let ods = start();
    let all = all(&ods);
    let lf = scanned(&ods, &paged(7));
    for (name, query) in QUERIES {
        let expected = collected(query(all.clone().lazy()));
        assert_equal(name, &collected(query(lf.clone())), &expected);
        let plain = query(lf.clone()).without_optimizations();
        assert_equal(name, &collected(plain), &expected);
    }
}

/// A condition on the records, by one of its values.
fn condition(random: &mut Rng, all: &DataFrame, depth: usize) -> Expr {
    let student = || {
        let students = words(all, STUDENT);
        students[all.height() / 2].clone()
    };
    match random.usize(..if depth == 0 { 9 } else { 12 }) {
        0 => col(STUDENT).eq(lit(student())),
        1 => lit(student()).eq(col(STUDENT)),
        2 => {
            let listed = Series::new("students".into(), [student()]);
            col(STUDENT).is_in(lit(listed).implode(true), random.bool())
        }
        3 => col(YEAR).eq(lit(2024 + random.i32(0..3))),
        4 => col(MINUTES).gt(lit(random.i32(20..110))),
        5 => col(MINUTES).is_null(),
        6 => col(ASSESSMENT).neq(lit("STATE-ELA")),
        7 => col(MINUTES).cast(DataType::Float64).lt(lit(60.5)),
        8 => len().over([col(STUDENT)]).expect("a window").gt(lit(1)),
        9 => condition(random, all, depth - 1).not(),
        10 => condition(random, all, depth - 1).or(condition(random, all, depth - 1)),
        _ => condition(random, all, depth - 1).and(condition(random, all, depth - 1)),
    }
}

type Step = Box<dyn Fn(LazyFrame) -> LazyFrame>;

/// A query of some steps, and what it is.
fn query(seed: u64, all: &DataFrame) -> (String, Vec<Step>) {
    let mut random = Rng::with_seed(seed);
    let mut told = format!("seed {seed}");
    let mut steps: Vec<Step> = Vec::new();
    for number in 0..random.usize(1..5) {
        let (from, rows) = (random.i64(0..15), random.u32(0..40));
        steps.push(match random.usize(..10) {
            0..4 => {
                let condition = condition(&mut random, all, 2);
                told += &format!(", filter {condition}");
                Box::new(move |lf| lf.filter(condition.clone()))
            }
            4 => {
                told += &format!(", limit {rows}");
                Box::new(move |lf| lf.limit(rows))
            }
            5 => {
                told += &format!(", slice {from} {rows}");
                Box::new(move |lf| lf.slice(from, rows))
            }
            6 => {
                told += ", select";
                let mut columns = [ID, STUDENT, ASSESSMENT, YEAR, MINUTES].map(col);
                random.shuffle(&mut columns);
                Box::new(move |lf| lf.select(columns.clone()))
            }
            7 => {
                told += ", number";
                let name = format!("n{number}");
                Box::new(move |lf| lf.with_row_index(name.as_str(), None))
            }
            8 => {
                told += ", sort";
                Box::new(|lf| lf.sort([ID], SortMultipleOptions::default()))
            }
            _ => {
                told += ", tail";
                Box::new(move |lf| lf.tail(rows))
            }
        });
    }
    (told, steps)
}

#[test]
fn random_queries_give_what_they_give_on_the_collected_frame() {
    let ods = start();
    let all = all(&ods);
    let lf = scanned(&ods, &paged(11));
    for seed in 0..150 {
        let (told, steps) = query(seed, &all);
        let of = |lf: LazyFrame| steps.iter().fold(lf, |lf, step| step(lf));
        match (tried(of(lf.clone())), tried(of(all.clone().lazy()))) {
            (Ok(scanned), Ok(expected)) => assert_equal(&told, &scanned, &expected),
            (scanned, expected) => assert_eq!(scanned.is_err(), expected.is_err(), "{told}"),
        }
    }
}

#[test]
fn the_rows_are_right_whatever_the_server_makes_of_a_filter() {
    let ods = sandbox().records(200).start().expect("a sandbox");
    let all = all(&ods);
    let students = words(&all, STUDENT);
    let listed = Series::new("students".into(), &students[..3]);
    let minutes = col(MINUTES).gt(lit(30));
    let wanted = col(STUDENT)
        .is_in(lit(listed).implode(true), false)
        .and(minutes);
    let expected = by_id(collected(all.lazy().filter(wanted.clone())));
    assert!(expected.height() > 0);
    for faults in [
        Faults::default(),
        Faults {
            ignore_filters: true,
            ..Faults::default()
        },
        Faults {
            no_metadata: true,
            ..Faults::default()
        },
    ] {
        let told = format!("{faults:?}");
        let lf = scanned(&ods, &paged(10)).filter(wanted.clone());
        ods.set_faults(BAD, faults);
        assert_equal(&told, &by_id(collected(lf)), &expected);
        ods.set_faults(BAD, Faults::default());
    }
}

#[test]
fn the_scan_s_own_options_hold() {
    let ods = start();
    let all = all(&ods);
    let student = words(&all, STUDENT).remove(4);
    let of_one = collected(
        all.clone()
            .lazy()
            .filter(col(STUDENT).eq(lit(student.as_str()))),
    );
    let columns = [STUDENT, ID];
    let options = ScanOptions {
        columns: Some(columns.map(str::to_owned).to_vec()),
        ..paged(10)
    };
    let lf = scanned(&ods, &options);
    assert_equal(
        "columns",
        &collected(lf),
        &all.select(columns).expect("them"),
    );
    let filtered = ScanOptions {
        filters: vec![Filter::is_in(
            STUDENT,
            Series::new("".into(), [student.as_str()]),
        )],
        ..options.clone()
    };
    let expected = of_one.select(columns).expect("them");
    assert_equal("filters", &collected(scanned(&ods, &filtered)), &expected);
    let of_none = scanned(&ods, &filtered).filter(col(STUDENT).eq(lit("nobody")));
    assert_eq!(collected(of_none).height(), 0);
    let few = ScanOptions {
        n_rows: Some(12),
        ..options
    };
    let first = all.head(Some(12));
    assert_equal(
        "rows",
        &collected(scanned(&ods, &few)),
        &first.select(columns).expect("them"),
    );
    // It is the rows of the scan that are filtered.
    let query = |lf: LazyFrame| {
        lf.filter(col(STUDENT).eq(lit(student.as_str())))
            .select([col(ID)])
    };
    let expected = collected(query(first.lazy()));
    assert_equal(
        "of the first",
        &collected(query(scanned(&ods, &few))),
        &expected,
    );
    let fewer = collected(scanned(&ods, &few).limit(5));
    assert_eq!(fewer.height(), 5);
}

#[test]
fn many_districts_are_one_lazy_frame() {
    let ods = start();
    let mut options = paged(10);
    options.read.batch = renewing();
    options.read.batch.endpoint = Some(RESULTS.into());
    let client = client_of(&ods);
    let scan = client.scan_all(&ods.districts(), KEY, &options);
    let scan = scan.expect("a scan");
    let lf = scan.lazy();
    let pages: PolarsResult<Vec<LazyFrame>> = soon(move || {
        let pages = scan.pages().expect("pages");
        pages.map(|page| Ok(page.expect("a page").lazy())).collect()
    });
    let all = concat(pages.expect("pages"), UnionArgs::default()).expect("one frame");
    let all = collected(all);
    assert_eq!(names(&all)[0], KEY);
    assert_eq!(all.height(), 40 * DISTRICTS.len());
    assert_equal("all", &collected(lf.clone()), &all);
    let queries: [fn(LazyFrame) -> LazyFrame; 5] = [
        |lf| lf.filter(col(KEY).eq(lit(BAD))),
        |lf| lf.filter(col(KEY).gt(lit(BAD)).and(col(MINUTES).gt(lit(50)))),
        |lf| lf.limit(50).filter(col(KEY).neq(lit(BAD))),
        |lf| lf.filter(col(KEY).eq(lit("nobody"))),
        |lf| lf.group_by_stable([col(KEY)]).agg([len()]),
    ];
    for (number, query) in queries.into_iter().enumerate() {
        let expected = collected(query(all.clone().lazy()));
        assert_equal(
            &format!("query {number}"),
            &collected(query(lf.clone())),
            &expected,
        );
    }
}
