//! Each rule by which records become columns.

use polars::prelude::*;
use polars_edfi::columns::{ColumnOptions, Layout, PageDecoder, decode_pages};

use super::{cell, decode, dtypes, frame, list_of, names, strings, structs};

#[test]
fn objects_become_one_column_per_leaf() {
    let df = frame(&[r#"[
        {"id": "a", "studentReference": {"studentUniqueId": "1", "link": {"rel": "Student", "href": "/x"}}},
        {"id": "b", "studentReference": null},
        {"id": "c"}
    ]"#]);
    let expected = df!(
        "id" => ["a", "b", "c"],
        "studentReference.studentUniqueId" => [Some("1"), None, None],
        "studentReference.link.rel" => [Some("Student"), None, None],
        "studentReference.link.href" => [Some("/x"), None, None],
    );
    assert_eq!(df, expected.unwrap());
}

#[test]
fn links_can_be_left_out_at_every_depth() {
    let options = ColumnOptions {
        links: false,
        ..ColumnOptions::default()
    };
    let page = r#"[{"link": {"a": 1}, "ref": {"x": 1, "link": {"rel": "r"}},
        "list": [{"y": 1, "link": {}}], "other": {"link": "text"}}]"#;
    let df = decode(&[page], &options);
    assert_eq!(
        dtypes(&df),
        [
            ("ref.x", DataType::Int64),
            ("list", list_of(structs([("y", DataType::Int64)]))),
            ("other.link", DataType::String),
        ]
    );
}

#[test]
fn the_separator_is_free() {
    let options = ColumnOptions {
        separator: "__".to_owned(),
        ..ColumnOptions::default()
    };
    assert_eq!(
        names(&decode(&[r#"[{"a": {"b": {"c": 1}}}]"#], &options)),
        ["a__b__c"]
    );
}

#[test]
fn columns_stand_in_first_seen_order_by_record() {
    let pages = [
        r#"[{"a": {"x": 1}, "b": 1}, {"c": 1, "a": {"y": 1}}]"#,
        r#"[{"d": 1, "a": {"x": 2, "z": {"q": 1}}, "b": {}}]"#,
    ];
    assert_eq!(
        names(&frame(&pages)),
        ["a.x", "b", "c", "a.y", "d", "a.z.q"]
    );
}

#[test]
fn numbers_widen_without_loss() {
    let column = |values: &str| {
        let df = frame(&[&format!(
            "[{}]",
            values
                .split(' ')
                .map(|v| format!(r#"{{"n": {v}}}"#))
                .collect::<Vec<_>>()
                .join(",")
        )]);
        let dtype = df.column("n").unwrap().dtype().clone();
        let cells: Vec<String> = (0..df.height()).map(|row| cell(&df, "n", row)).collect();
        (dtype, cells.join(" ").replace('"', ""))
    };
    for (values, dtype, cells) in [
        ("1 -2 null", DataType::Int64, "1 -2 null"),
        (
            "9223372036854775807 -9223372036854775808",
            DataType::Int64,
            "9223372036854775807 -9223372036854775808",
        ),
        ("1 1.5", DataType::Float64, "1.0 1.5"),
        ("1 1e3", DataType::Float64, "1.0 1000.0"),
        ("9007199254740992 0.5", DataType::Float64, "9.0072e15 0.5"),
        (
            "9007199254740993 0.5 1e3",
            DataType::String,
            "9007199254740993 0.5 1000.0",
        ),
        ("9007199254740993 1", DataType::Int64, "9007199254740993 1"),
        (
            "9223372036854775808 1 1.0",
            DataType::String,
            "9223372036854775808 1 1.0",
        ),
        ("1e400 0.10", DataType::String, "1e400 0.1"),
        ("-0 0", DataType::Int64, "0 0"),
        ("-0.0 5e-324", DataType::Float64, "-0.0 4.9407e-324"),
    ] {
        assert_eq!(column(values), (dtype, cells.to_owned()), "{values}");
    }
}

#[test]
fn types_that_do_not_agree_become_text() {
    let df = frame(&[
        r#"[{"v": "text"}, {"v": 1}, {"v": 1.0}, {"v": true}, {"v": null}, {}]"#,
        r#"[{"v": {"b": [1, {"c": null, "a": "\u00e9\"\n"}], "a": 1e3}}, {"v": [ ]}, {"v": {}}, {"v": ""}]"#,
    ]);
    assert_eq!(names(&df), ["v"]);
    let expected = [
        Some("text"),
        Some("1"),
        Some("1.0"),
        Some("true"),
        None,
        None,
        Some(r#"{"b":[1,{"c":null,"a":"é\"\n"}],"a":1000.0}"#),
        Some("[]"),
        Some("{}"),
        Some(""),
    ];
    assert_eq!(
        strings(&df, "v"),
        expected.map(|text| text.map(str::to_owned))
    );
}

#[test]
fn lists_stay_lists() {
    let df = frame(&[r#"[
        {"s": ["x", null], "o": [{"a": 1}, null, {"b": {"c": true}}], "l": [[1], [], [2, 3]]},
        {"s": [], "o": [], "l": null},
        {"o": [{}]}
    ]"#]);
    assert_eq!(
        dtypes(&df),
        [
            ("s", list_of(DataType::String)),
            (
                "o",
                list_of(structs([
                    ("a", DataType::Int64),
                    ("b", structs([("c", DataType::Boolean)]))
                ]))
            ),
            ("l", list_of(list_of(DataType::Int64))),
        ]
    );
    assert_eq!(df.column("s").unwrap().null_count(), 1);
    assert_eq!(df.column("l").unwrap().null_count(), 2);
    let first = df
        .column("o")
        .unwrap()
        .list()
        .unwrap()
        .get_as_series(0)
        .unwrap();
    assert_eq!(first.null_count(), 1);
    assert_eq!(cell(&df, "o", 0), cell(&df, "o", 0));
    let third = df
        .column("o")
        .unwrap()
        .list()
        .unwrap()
        .get_as_series(2)
        .unwrap();
    assert_eq!(
        third.null_count(),
        0,
        "an object without properties is not null"
    );
}

#[test]
fn disagreement_within_a_list_stays_within_it() {
    let df = frame(&[r#"[{"l": [1, "a", {"x": [1.5]}, null]}, {"l": [{"x": 2}]}]"#]);
    assert_eq!(dtypes(&df), [("l", list_of(DataType::String))]);
    let texts = df
        .column("l")
        .unwrap()
        .explode(ExplodeOptions {
            empty_as_null: true,
            keep_nulls: true,
        })
        .unwrap();
    let texts: Vec<Option<&str>> = texts.str().unwrap().iter().collect();
    assert_eq!(
        texts,
        [
            Some("1"),
            Some("a"),
            Some(r#"{"x":[1.5]}"#),
            None,
            Some(r#"{"x":2}"#)
        ]
    );
}

#[test]
fn what_is_never_more_than_empty_is_null() {
    let df = frame(&[r#"[{"n": null, "o": {}, "l": [], "e": [{}], "p": {"q": null}}]"#]);
    assert_eq!(
        dtypes(&df),
        [
            ("n", DataType::Null),
            ("o", DataType::Null),
            ("l", list_of(DataType::Null)),
            ("e", list_of(structs([]))),
            ("p.q", DataType::Null),
        ]
    );
    assert_eq!(df.height(), 1);
}

#[test]
fn empty_pages_and_records_have_their_height() {
    assert_eq!(frame(&[]).shape(), (0, 0));
    assert_eq!(frame(&["[]", " [ ]\n"]).shape(), (0, 0));
    assert_eq!(frame(&["[{}, {}]", "[]", "[{}]"]).shape(), (3, 0));
    assert_eq!(frame(&["[{}]", r#"[{"a": 1}]"#]).shape(), (2, 1));
}

#[test]
fn names_that_are_taken_get_a_suffix() {
    let mut decoder = PageDecoder::default();
    let page = br#"[{"a": {"b": 1}, "a.b": 2, "status": 3, "status_record": 4, "": 5}]"#;
    let page = decoder.decode(page).unwrap();
    let mut layout = Layout::new();
    layout.add(&page);
    let df = layout.plan(".", &["status", "id"]).frame(page).unwrap();
    assert_eq!(
        names(&df),
        [
            "a.b",
            "a.b_record",
            "status_record",
            "status_record_record",
            ""
        ]
    );
    let cells: Vec<i64> = df
        .columns()
        .iter()
        .map(|c| c.i64().unwrap().get(0).unwrap())
        .collect();
    assert_eq!(cells, [1, 2, 3, 4, 5]);
}

#[test]
fn odd_keys_are_kept_as_they_are() {
    let df = frame(&[r#"[{"": 1, "a\"b": {"c.d": 2, "é\u0000\ud83d\ude00": 3}, "'": [{"": 4}]}]"#]);
    // A NUL, which names cannot have in Polars, becomes the symbol for it.
    assert_eq!(names(&df), ["", "a\"b.c.d", "a\"b.é␀😀", "'"]);
}

#[test]
fn half_a_surrogate_pair_stands_for_no_character() {
    let df = frame(&[
        r#"[{"a": "x\ud800y", "b": 1}, {"a": "\udc00\ud83d\ude00é\ud83d", "\udfff": "c"}]"#,
    ]);
    assert_eq!(names(&df), ["a", "b", "\u{fffd}"]);
    let expected = ["x\u{fffd}y", "\u{fffd}😀é\u{fffd}"];
    assert_eq!(
        strings(&df, "a"),
        expected.map(|text| Some(text.to_owned()))
    );
}

#[test]
fn the_last_of_two_equal_keys_counts() {
    let df = frame(&[
        r#"[{"a": "x", "b": {"p": 1}, "a": 1, "b": {"q": 2}}, {"a": 2, "b": {"q": 3, "q": 4}}]"#,
        r#"[{"a": 3, "l": [{"k": 1, "k": [1]}, {"k": [2], "m": "\"", "m": null}]}]"#,
    ]);
    let twice = frame(&[
        r#"[{"a": 1, "b": {"q": 2}}, {"a": 2, "b": {"q": 4}}]"#,
        r#"[{"a": 3, "l": [{"k": [1]}, {"k": [2], "m": null}]}]"#,
    ]);
    assert_eq!(dtypes(&df), dtypes(&twice));
    assert!(df.equals_missing(&twice));
}

#[test]
fn wide_objects_are_no_trap() {
    let member = |n: u32| format!(r#""key {n}": {n}"#);
    let there: Vec<String> = (0..30_000).map(member).collect();
    let back: Vec<String> = (0..30_000).rev().map(member).collect();
    let page = format!("[{{{}}}, {{{}}}, {{}}]", there.join(","), back.join(","));
    let df = frame(&[&page]);
    assert_eq!(df.shape(), (3, 30_000));
    assert_eq!(names(&df)[29_999], "key 29999");
    assert_eq!(cell(&df, "key 12345", 1), "12345");
    let text = format!("[{{\"v\": {{{}}}}}, {{\"v\": 1}}]", back.join(","));
    assert_eq!(
        strings(&frame(&[&text]), "v")[0],
        Some(format!("{{{}}}", back.join(",").replace(": ", ":")))
    );
}

#[test]
fn strings_are_exact_whatever_their_length() {
    let texts: Vec<String> = (0..40)
        .flat_map(|length| {
            [
                ("é".repeat(length)),
                "x".repeat(length),
                format!("{}y", "x".repeat(length)),
            ]
        })
        .collect();
    let records: Vec<_> = texts
        .iter()
        .cycle()
        .take(400)
        .map(|t| serde_json::json!({"t": t}))
        .collect();
    let page = serde_json::to_vec(&records).unwrap();
    let df = decode_pages([&page[..]], &ColumnOptions::default()).unwrap();
    let expected: Vec<_> = texts
        .iter()
        .cycle()
        .take(400)
        .map(|t| Some(t.clone()))
        .collect();
    assert_eq!(strings(&df, "t"), expected);
}

#[test]
fn a_page_knows_its_ids() {
    let mut decoder = PageDecoder::default();
    let page = decoder
        .decode(br#"[{"id": "x"}, {"id": 1}, {"id": null}, {}]"#)
        .unwrap();
    assert_eq!(page.len(), 4);
    let ids: Vec<_> = (0..4).map(|row| page.id(row)).collect();
    assert_eq!(ids, [Some("x"), None, None, None]);
    assert!(decoder.decode(b"[]").unwrap().is_empty());
}

#[test]
fn a_single_object_is_a_page_of_one_record() {
    let mut decoder = PageDecoder::default();
    let page = decoder
        .decode_object(br#" {"id": "x", "a": {"b": 1}} "#)
        .unwrap();
    assert_eq!((page.len(), page.id(0)), (1, Some("x")));
    let mut layout = Layout::new();
    layout.add(&page);
    let df = layout.plan(".", &[]).frame(&page).unwrap();
    assert_eq!(names(&df), ["id", "a.b"]);
}

#[test]
fn a_record_batch_has_the_same_columns() {
    let mut decoder = PageDecoder::default();
    let page = decoder
        .decode(br#"[{"id": "x", "l": [{"a": 1}], "f": 1.5}, {"b": true, "n": null}]"#)
        .unwrap();
    let mut layout = Layout::new();
    layout.add(&page);
    let plan = layout.plan(".", &[]);
    let batch = plan.record_batch(&page).unwrap();
    let df = plan.frame(&page).unwrap();
    assert_eq!(batch.num_rows(), 2);
    let schema = batch.schema();
    let fields: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(fields, names(&df));
    assert_eq!(batch.column(2).null_count(), 1);
}

#[test]
fn pages_can_be_sent_between_threads() {
    fn send<T: Send + Sync>() {}
    send::<polars_edfi::columns::Page>();
    send::<polars_edfi::columns::Plan>();
}
