//! Frames that hold structs and lists -> flat ones, and back.

use polars::prelude::*;
use polars_edfi::Error;
use polars_edfi::columns::{flatten, unflatten};

use super::{cell, dtypes, frame, names, structs};

/// A frame with a Struct column `s` of records, and two columns around it.
fn nested(records: &str) -> DataFrame {
    let flat = frame(&[records]);
    let mut df = unflatten(&flat, "s", ".", None).unwrap();
    df.insert_column(
        0,
        Column::new("first".into(), (0..df.height() as i64).collect::<Vec<_>>()),
    )
    .unwrap();
    df.with_column(Column::new("last".into(), vec!["x"; df.height()]))
        .unwrap();
    df
}

#[test]
fn structs_become_columns_at_their_place() {
    let df = nested(r#"[{"a": {"b": {"c": 1}, "d": [{"e": 1}]}, "f": true}, {"f": null}]"#);
    let flat = flatten(&df, None, "/", None).unwrap();
    assert_eq!(names(&flat), ["first", "s/a/b/c", "s/a/d", "s/f", "last"]);
    assert_eq!(flat.column("s/a/b/c").unwrap().null_count(), 1);
    assert_eq!(
        flat.column("s/a/d").unwrap().dtype().to_string(),
        "list[struct[1]]"
    );
    assert!(
        flatten(&flat, None, ".", None)
            .unwrap()
            .equals_missing(&flat)
    );
}

#[test]
fn a_null_struct_has_null_leaves() {
    let df = nested(r#"[{"a": 1}, {"a": 2}]"#);
    let mut column = df.column("s").unwrap().head(Some(1));
    let null = Column::full_null("s".into(), 1, column.dtype());
    column.append(&null).unwrap();
    let df = DataFrame::new(2, vec![column]).unwrap();
    let flat = flatten(&df, None, ".", None).unwrap();
    assert_eq!(flat, df!("s.a" => [Some(1_i64), None]).unwrap());
}

#[test]
fn chosen_columns_alone_are_flattened() {
    let df = nested(r#"[{"a": 1}]"#);
    let df = df
        .hstack(&[df.column("s").unwrap().clone().with_name("t".into())])
        .unwrap();
    let flat = flatten(&df, Some(&["t", "last"]), ".", None).unwrap();
    assert_eq!(names(&flat), ["first", "s", "last", "t.a"]);
    assert_eq!(
        names(&flatten(&df, Some(&[]), ".", None).unwrap()),
        ["first", "s", "last", "t"]
    );
    match flatten(&df, Some(&["nope"]), ".", None) {
        Err(Error::ColumnNotFound(text)) => {
            assert_eq!(text, "no column 'nope'; there are first, s, last, t")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn taken_names_get_a_suffix() {
    let df = nested(r#"[{"a": 1}]"#);
    let df = df.hstack(&[Column::new("s.a".into(), [7])]).unwrap();
    assert_eq!(
        names(&flatten(&df, None, ".", None).unwrap()),
        ["first", "s.a_record", "last", "s.a"]
    );
}

#[test]
fn an_empty_struct_becomes_nulls() {
    let empty = StructChunked::from_series("s".into(), 2, [].iter()).unwrap();
    let df = DataFrame::new(2, vec![empty.into_series().into()]).unwrap();
    assert_eq!(
        dtypes(&flatten(&df, None, ".", None).unwrap()),
        [("s", DataType::Null)]
    );
}

#[test]
fn each_element_gets_a_row() {
    let df = frame(&[r#"[
        {"id": "a", "scores": [{"result": "1", "parts": [{"p": 1}, {"p": 2}]}, {"result": "2"}], "tags": ["x", "y"]},
        {"id": "b", "scores": []},
        {"id": "c"},
        {"id": "d", "scores": [null, {"result": "3", "parts": []}]}
    ]"#]);
    let once = flatten(&df, None, ".", Some(&["scores"])).unwrap();
    assert_eq!(
        names(&once),
        ["id", "scores.result", "scores.parts", "tags"]
    );
    let ids: Vec<String> = (0..once.height())
        .map(|row| cell(&once, "id", row))
        .collect();
    assert_eq!(ids.join(""), r#""a""a""b""c""d""d""#);
    assert_eq!(once.column("scores.result").unwrap().null_count(), 3);
    let twice = flatten(&df, None, ".", Some(&["scores", "scores.parts"])).unwrap();
    assert_eq!(
        names(&twice),
        ["id", "scores.result", "scores.parts.p", "tags"]
    );
    assert_eq!(twice.height(), 7);
    let both = flatten(&df, None, ".", Some(&["tags", "scores"])).unwrap();
    assert_eq!(both.height(), 8);
    assert_eq!(both.column("tags").unwrap().dtype(), &DataType::String);
}

#[test]
fn what_cannot_be_exploded_is_named() {
    let df = frame(&[r#"[{"id": "a", "l": [1], "never": null, "empty": []}]"#]);
    match flatten(&df, None, ".", Some(&["id"])) {
        Err(Error::ColumnType(text)) => assert_eq!(
            text,
            "column 'id' cannot be exploded: it is str, not a list"
        ),
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        flatten(&df, None, ".", Some(&["x"])),
        Err(Error::ColumnNotFound(_))
    ));
    let same = flatten(&df, None, ".", Some(&["never", "empty"])).unwrap();
    assert_eq!(same.height(), 1);
    assert_eq!(same.column("empty").unwrap().dtype(), &DataType::Null);
    let none = flatten(&df.head(Some(0)), None, ".", Some(&["l"])).unwrap();
    assert_eq!(
        (none.height(), none.column("l").unwrap().dtype()),
        (0, &DataType::Int64)
    );
}

#[test]
fn a_frame_of_one_list_explodes() {
    let df = frame(&[r#"[{"l": [{"a": 1}, {"a": 2}]}, {"l": []}]"#]);
    let rows = flatten(&df, None, ".", Some(&["l"])).unwrap();
    assert_eq!(rows, df!("l.a" => [Some(1_i64), Some(2), None]).unwrap());
}

#[test]
fn unflatten_is_the_inverse() {
    let flat = frame(&[
        r#"[{"a": {"b": {"c": 1}, "d": [{"e": 1}]}, "f": true}, {"f": null}, {"a": {"b": {"c": 2}}}]"#,
    ]);
    let df = unflatten(&flat, "payload", ".", None).unwrap();
    assert_eq!(
        dtypes(&df),
        [(
            "payload",
            structs([
                (
                    "a",
                    structs([
                        ("b", structs([("c", DataType::Int64)])),
                        ("d", flat.column("a.d").unwrap().dtype().clone())
                    ])
                ),
                ("f", DataType::Boolean),
            ])
        )]
    );
    let a = df
        .column("payload")
        .unwrap()
        .struct_()
        .unwrap()
        .field_by_name("a")
        .unwrap();
    assert_eq!(
        a.null_count(),
        1,
        "an object of which nothing is there is null"
    );
    let mut again = flatten(&df, None, ".", None).unwrap();
    again.set_column_names(&["a.b.c", "a.d", "f"]).unwrap();
    assert!(again.equals_missing(&flat));
}

#[test]
fn columns_not_taken_stay_beside() {
    let df = df!("a.b" => [1], "key" => ["k"], "a.c" => [2], "d" => [3]).unwrap();
    let nested = unflatten(&df, "payload", ".", Some(&["d", "a.c", "a.b"])).unwrap();
    assert_eq!(names(&nested), ["key", "payload"]);
    let fields = nested.column("payload").unwrap().dtype().to_string();
    assert_eq!(fields, "struct[2]");
    let flat = flatten(&nested, None, ".", None).unwrap();
    assert_eq!(
        names(&flat),
        ["key", "payload.d", "payload.a.c", "payload.a.b"]
    );
    assert_eq!(unflatten(&df, "x", "_", None).unwrap().width(), 1);
}

#[test]
fn unflatten_refuses_what_has_no_place() {
    let df = df!("a" => [1], "a.b" => [2], "c" => [3]).unwrap();
    for (into, columns) in [
        ("p", None),
        ("p", Some(&["a.b", "a"][..])),
        ("c", Some(&["a"][..])),
    ] {
        assert!(
            matches!(unflatten(&df, into, ".", columns), Err(Error::Config(_))),
            "{into} {columns:?}"
        );
    }
    assert!(matches!(
        unflatten(&df, "p", ".", Some(&["z"])),
        Err(Error::ColumnNotFound(_))
    ));
    assert!(matches!(
        unflatten(&df, "p", ".", Some(&[])),
        Err(Error::Config(_))
    ));
    let twice = unflatten(&df, "p", ".", Some(&["c", "c"]));
    assert!(matches!(twice, Err(Error::Config(_))));
    let nulls = df!("a" => [None::<i64>], "a.b" => [2]).unwrap();
    let nulls = nulls
        .hstack(&[
            Column::full_null("n".into(), 1, &DataType::Null),
            Column::new("n.m".into(), [1]),
        ])
        .unwrap();
    assert!(unflatten(&nulls, "p", ".", Some(&["n", "n.m"])).is_ok());
}
