//! Some of the columns: the same as all of them, of which some are taken.

use fastrand::Rng;
use polars::prelude::*;
use polars_edfi::Error;
use polars_edfi::columns::{Layout, PageDecoder, Plan};

use super::property::{KEYS, Style, object, page};
use super::{cell, dtypes, list_of, strings, structs};

/// The records of a body as the columns of a plan, nothing else decoded.
fn part(plan: &Plan, links: bool, body: &str) -> DataFrame {
    let page = PageDecoder::for_plan(links, plan).decode(body.as_bytes());
    plan.frame(page.unwrap()).unwrap()
}

fn whole(plan: &Plan, links: bool, body: &str) -> DataFrame {
    try_whole(plan, links, body).unwrap()
}

fn try_whole(plan: &Plan, links: bool, body: &str) -> Result<DataFrame, Error> {
    let page = PageDecoder::new(links).decode(body.as_bytes()).unwrap();
    plan.frame(page)
}

/// Takes some columns, in any order, both ways.
fn assert_projects(rng: &mut Rng, plan: &Plan, links: bool, bodies: &[String], about: &str) {
    let all: Vec<&str> = plan.schema().iter_names().map(PlSmallStr::as_str).collect();
    for _ in 0..4 {
        let mut names: Vec<&str> = all.clone();
        rng.shuffle(&mut names);
        names.truncate(rng.usize(..=names.len()));
        let selected = plan.select(&names).unwrap();
        for body in bodies {
            let expected = whole(plan, links, body);
            let rows = expected.height();
            let expected = expected.select(names.iter().copied()).unwrap();
            let got = part(&selected, links, body);
            assert_eq!(got.height(), rows, "{about}: {names:?}");
            assert_eq!(got.schema(), expected.schema(), "{about}: {names:?}");
            assert!(got.equals_missing(&expected), "{about}: {names:?}");
        }
    }
}

#[test]
fn random_records_project_as_they_select() {
    for seed in 0..200 {
        let mut rng = Rng::with_seed(seed);
        let style = Style {
            keys: rng.usize(1..=KEYS.len()),
            chaos: *rng.choice(&[0, 1, 20]).unwrap(),
            depth: rng.usize(..4),
        };
        let bodies: Vec<String> = (0..3)
            .map(|_| {
                let count = rng.usize(..6);
                let records: Vec<_> = (0..count)
                    .map(|_| object(&mut rng, &style, style.depth))
                    .collect();
                page(&mut rng, &records)
            })
            .collect();
        let links = rng.bool();
        let mut layout = Layout::new();
        let mut decoder = PageDecoder::new(links);
        layout.add(&decoder.decode(bodies[0].as_bytes()).unwrap());
        // Frozen after the first page, and again with another page's types.
        let frozen = layout.freeze(".").plan(".", &["id"]);
        let fits = |body: &&String| try_whole(&frozen, links, body).is_ok();
        let fitting: Vec<String> = bodies.iter().filter(fits).cloned().collect();
        assert!(!fitting.is_empty(), "seed {seed}: the first page fits");
        assert_projects(&mut rng, &frozen, links, &fitting, &format!("seed {seed}"));
        for body in &bodies[1..] {
            layout.add(&decoder.decode(body.as_bytes()).unwrap());
        }
        let plan = layout.plan(".", &["id"]);
        assert_projects(&mut rng, &plan, links, &bodies, &format!("seed {seed}"));
        // A schema with names that are split where they have a dot.
        let given = Layout::from_schema(&frozen_schema(&layout), ".").unwrap();
        let plan = given.plan(".", &[]);
        assert_projects(&mut rng, &plan, links, &bodies, &format!("seed {seed}"));
    }
}

/// The inferred columns, those left out that stand for two paths.
fn frozen_schema(layout: &Layout) -> Schema {
    let plan = layout.plan(".", &[]);
    let columns = plan.schema().iter().filter(|(name, dtype)| {
        !name.ends_with("_record") && !matches!(dtype, DataType::List(_)) && **name != "_unknown"
    });
    columns
        .map(|(name, dtype)| (name.clone(), dtype.clone()))
        .collect()
}

#[test]
fn lists_of_structs_are_decoded_by_their_fields() {
    let body = r#"[{"s": [{"a": 1, "b": {"c": "x", "link": {"rel": "r"}}, "d": [1]}, null], "t": 1},
                   {"s": [], "t": 2, "u": [{"a": 1}]}, {"s": 5}, {}]"#;
    let schema: Schema = [
        (
            "s",
            list_of(structs([
                ("b", structs([("c", DataType::String)])),
                ("e", DataType::Int64),
            ])),
        ),
        ("t", DataType::Int32),
        ("nowhere", DataType::Date),
    ]
    .into_iter()
    .map(|(name, dtype)| (name.into(), dtype))
    .collect();
    let plan = Layout::from_schema(&schema, ".").unwrap().plan(".", &[]);
    let mut rng = Rng::with_seed(1);
    for links in [true, false] {
        assert_projects(&mut rng, &plan, links, &[body.to_owned()], "lists");
    }
    let df = part(&plan.select(&["nowhere", "s"]).unwrap(), true, body);
    assert_eq!(cell(&df, "s", 0), "[{{\"x\"},null}, null]");
    // All of them but `_unknown`, which alone needs everything.
    let df = part(&plan.select(&["_unknown"]).unwrap(), true, body);
    assert_eq!(
        strings(&df, "_unknown"),
        strings(&whole(&plan, true, body), "_unknown")
    );
}

#[test]
fn no_columns_at_all_keep_the_height() {
    let plan = Layout::new().plan(".", &[]);
    assert_eq!(
        part(&plan, true, r#"[{"a": 1}, {}, {"a": {"b": 2}}]"#).shape(),
        (3, 0)
    );
}

#[test]
fn a_key_that_comes_twice_counts_with_its_last_value() {
    let body = r#"[{"a": 1, "b": 2, "a": 3, "c": {"x": 1, "x": 2, "y": 0}, "b": 4}]"#;
    let mut layout = Layout::new();
    layout.add(&PageDecoder::default().decode(body.as_bytes()).unwrap());
    let mut rng = Rng::with_seed(2);
    assert_projects(
        &mut rng,
        &layout.plan(".", &[]),
        true,
        &[body.to_owned()],
        "twice",
    );
    let plan = layout.plan(".", &[]).select(&["c.x", "a"]).unwrap();
    assert_eq!(
        part(&plan, true, body),
        df!("c.x" => [2i64], "a" => [3i64]).unwrap()
    );
}

#[test]
fn a_column_that_is_none_is_named() {
    let mut layout = Layout::new();
    layout.add(&PageDecoder::default().decode(br#"[{"a": 1}]"#).unwrap());
    let error = layout.plan(".", &[]).select(&["a", "z"]).unwrap_err();
    assert!(
        matches!(&error, Error::ColumnNotFound(text) if text.contains("'z'")),
        "{error}"
    );
}

#[test]
fn a_frozen_layout_holds_what_comes_or_says_so() {
    let first = r#"[{"n": 1, "s": "x", "z": null, "e": [], "a.b": 1, "a": {"b": "y"}, "l": [{"k": 1}], "_unknown": "u"}]"#;
    let later = r#"[{"n": 2, "s": {"t": 1}, "z": {"x": [1]}, "l": [{"k": 1, "m": 1}], "e": [5], "new": true}]"#;
    let mut layout = Layout::new();
    layout.add(&PageDecoder::default().decode(first.as_bytes()).unwrap());
    let mut frozen = layout.freeze(".");
    let plan = frozen.plan(".", &["n"]);
    let df = whole(&plan, true, first);
    assert_eq!(
        dtypes(&df),
        [
            ("n_record", DataType::Int64),
            ("s", DataType::String),
            ("z", DataType::String),
            ("e", list_of(DataType::String)),
            ("a.b", DataType::Int64),
            ("a.b_record", DataType::String),
            ("l", list_of(structs([("k", DataType::Int64)]))),
            ("_unknown_record", DataType::String),
            ("_unknown", DataType::String),
        ]
    );
    assert_eq!(strings(&df, "_unknown"), [None]);
    frozen.add(&PageDecoder::default().decode(later.as_bytes()).unwrap());
    assert_eq!(frozen.plan(".", &["n"]).schema(), plan.schema());
    let df = whole(&plan, true, later);
    assert_eq!(strings(&df, "s"), [Some(r#"{"t":1}"#.to_owned())]);
    assert_eq!(strings(&df, "z"), [Some(r#"{"x":[1]}"#.to_owned())]);
    assert_eq!(cell(&df, "e", 0), "[\"5\"]");
    let unknown = r#"{"l":[{"m":1}],"new":true}"#;
    assert_eq!(strings(&df, "_unknown"), [Some(unknown.to_owned())]);
    // Also where nobody looks at `_unknown`.
    let plan = plan.select(&["n_record", "a.b_record", "l"]).unwrap();
    for (body, path) in [
        (r#"[{"n": 1.5}]"#, "'n'"),
        (r#"[{"a": 7}]"#, "'a'"),
        (r#"[{"l": [null, {"k": "z"}]}]"#, "'l.k'"),
    ] {
        let page = PageDecoder::for_plan(true, &plan).decode(body.as_bytes());
        match plan.frame(page.unwrap()) {
            Err(Error::ColumnType(text)) => {
                assert!(text.contains(path) && text.contains("schema="), "{text}");
            }
            other => panic!("{body}: {other:?}"),
        }
    }
}
