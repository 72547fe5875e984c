//! Columns of a declared schema: what fits, and where the rest goes.

use polars::prelude::*;
use polars_edfi::Error;
use polars_edfi::columns::{ColumnOptions, Layout, PageDecoder, decode_pages};

use super::{cell, decode, dtypes, list_of, names, strings, structs};

fn schema<const N: usize>(columns: [(&str, DataType); N]) -> Schema {
    columns
        .into_iter()
        .map(|(name, dtype)| (PlSmallStr::from_str(name), dtype))
        .collect()
}

fn given<const N: usize>(columns: [(&str, DataType); N]) -> ColumnOptions {
    ColumnOptions {
        schema: Some(schema(columns)),
        ..ColumnOptions::default()
    }
}

const UTC: DataType = DataType::Datetime(TimeUnit::Microseconds, Some(TimeZone::UTC));

/// What becomes of each JSON value in a column of a dtype: its cell, or that it does not fit.
fn fits(dtype: DataType, values: &[(&str, Option<&str>)]) {
    let records: Vec<String> = values
        .iter()
        .map(|(json, _)| format!(r#"{{"v": {json}}}"#))
        .collect();
    let df = decode(
        &[&format!("[{}]", records.join(","))],
        &given([("v", dtype.clone())]),
    );
    assert_eq!(
        dtypes(&df),
        [("v", dtype.clone()), ("_unknown", DataType::String)]
    );
    let unknown = strings(&df, "_unknown");
    for (row, (json, expected)) in values.iter().enumerate() {
        match expected {
            Some(expected) => {
                assert_eq!(
                    cell(&df, "v", row).trim_matches('"'),
                    *expected,
                    "{json} as {dtype}"
                );
                assert_eq!(unknown[row], None, "{json} as {dtype}");
            }
            None => {
                assert_eq!(cell(&df, "v", row), "null", "{json} as {dtype}");
                assert_eq!(
                    unknown[row],
                    Some(format!(r#"{{"v":{json}}}"#)),
                    "{json} as {dtype}"
                );
            }
        }
    }
}

#[test]
fn booleans_and_strings() {
    fits(
        DataType::Boolean,
        &[
            ("true", Some("true")),
            ("null", Some("null")),
            ("1", None),
            ("\"true\"", None),
        ],
    );
    fits(
        DataType::String,
        &[
            ("\"a\"", Some("a")),
            ("1", None),
            ("true", None),
            ("{}", Some("{}")),
            ("[1,null]", Some("[1,null]")),
        ],
    );
    fits(
        DataType::from_categories(Categories::global()),
        &[("\"a\"", Some("a")), ("true", None), ("[]", None)],
    );
    let categories = FrozenCategories::new(["a", "b"]).unwrap();
    fits(
        DataType::from_frozen_categories(categories),
        &[("\"b\"", Some("b")), ("\"c\"", None), ("1", None)],
    );
    fits(
        DataType::Null,
        &[("null", Some("null")), ("1", None), ("\"\"", None)],
    );
}

#[test]
fn integers_have_a_range_and_no_fraction() {
    fits(
        DataType::Int8,
        &[
            ("127", Some("127")),
            ("-128", Some("-128")),
            ("128", None),
            ("1.0", None),
        ],
    );
    fits(
        DataType::Int32,
        &[
            ("2147483647", Some("2147483647")),
            ("2147483648", None),
            ("\"1\"", None),
        ],
    );
    fits(
        DataType::Int64,
        &[
            ("9223372036854775807", Some("9223372036854775807")),
            ("9223372036854775808", None),
            ("1000.0", None),
            ("true", None),
        ],
    );
    fits(
        DataType::UInt8,
        &[("255", Some("255")), ("-1", None), ("256", None)],
    );
    fits(
        DataType::UInt64,
        &[
            ("18446744073709551615", Some("18446744073709551615")),
            ("18446744073709551616", None),
            ("-1", None),
        ],
    );
}

#[test]
fn floats_are_exact_where_they_were_integers() {
    fits(
        DataType::Float64,
        &[
            ("1", Some("1.0")),
            ("1.5", Some("1.5")),
            ("-9007199254740992", Some("-9.0072e15")),
            ("9007199254740993", None),
            ("1e400", None),
            ("\"1.5\"", None),
        ],
    );
    fits(
        DataType::Float32,
        &[
            ("1", Some("1.0")),
            ("0.5", Some("0.5")),
            ("16777216", Some("1.6777216e7")),
            ("16777217", None),
            ("1e+300", None),
        ],
    );
}

#[test]
fn decimals_are_exact() {
    fits(
        DataType::Decimal(6, 2),
        &[
            ("1", Some("1.00")),
            ("-12.5", Some("-12.50")),
            ("\"3.10\"", Some("3.10")),
            ("9999.99", Some("9999.99")),
            ("10000", None),
            ("0.125", None),
            ("\"a\"", None),
            ("true", None),
        ],
    );
    // More digits than a float has.
    fits(
        DataType::Decimal(38, 10),
        &[(
            "1234567890123456789.0123456789",
            Some("1234567890123456789.0123456789"),
        )],
    );
}

#[test]
fn dates_and_times() {
    fits(
        DataType::Date,
        &[
            ("\"2024-02-29\"", Some("2024-02-29")),
            ("\"2023-02-29\"", None),
            ("\"2024-02-29T00:00:00Z\"", None),
            ("1", None),
        ],
    );
    fits(
        UTC,
        &[
            ("\"2021-12-01T16:00:00Z\"", Some("2021-12-01 16:00:00 UTC")),
            (
                "\"2021-12-01T16:00:00-06:00\"",
                Some("2021-12-01 22:00:00 UTC"),
            ),
            (
                "\"2021-12-01T16:00:00.123456\"",
                Some("2021-12-01 16:00:00.123456 UTC"),
            ),
            ("\"2021-12-01\"", Some("2021-12-01 00:00:00 UTC")),
            (
                "\"2021-12-01T16:00:00.1234567Z\"",
                Some("2021-12-01 16:00:00.123456 UTC"),
            ),
            ("\"yesterday\"", None),
            ("1638374400", None),
        ],
    );
    fits(
        DataType::Datetime(TimeUnit::Milliseconds, None),
        &[
            (
                "\"2021-12-01T16:00:00.5+01:00\"",
                Some("2021-12-01 15:00:00.500"),
            ),
            (
                "\"2021-12-01T16:00:00.0019Z\"",
                Some("2021-12-01 16:00:00.001"),
            ),
        ],
    );
    fits(
        DataType::Datetime(TimeUnit::Nanoseconds, Some(TimeZone::UTC)),
        &[
            (
                "\"2021-12-01T16:00:00.1234567Z\"",
                Some("2021-12-01 16:00:00.123456700 UTC"),
            ),
            ("\"2300-01-01\"", None),
        ],
    );
    fits(
        DataType::Time,
        &[
            ("\"08:30:00\"", Some("08:30:00")),
            ("\"08:30:00.5\"", Some("08:30:00.500")),
            ("\"08:30\"", None),
        ],
    );
}

#[test]
fn a_zone_is_kept() {
    let chicago = TimeZone::opt_try_new(Some("America/Chicago")).unwrap();
    let dtype = DataType::Datetime(TimeUnit::Microseconds, chicago);
    let df = decode(
        &[r#"[{"v": "2021-12-01T16:00:00Z"}]"#],
        &given([("v", dtype.clone())]),
    );
    assert_eq!(df.column("v").unwrap().dtype(), &dtype);
    assert_eq!(cell(&df, "v", 0), "2021-12-01 10:00:00 CST");
}

#[test]
fn columns_never_depend_on_the_data() {
    let options = given([
        ("id", DataType::String),
        ("a.b", DataType::Int32),
        ("l", list_of(structs([("x", DataType::Date)]))),
    ]);
    let expected = [
        ("id", DataType::String),
        ("a.b", DataType::Int32),
        ("l", list_of(structs([("x", DataType::Date)]))),
        ("_unknown", DataType::String),
    ];
    for pages in [
        vec![],
        vec!["[]"],
        vec!["[{}]"],
        vec![r#"[{"a": {"b": 1}, "z": 1}]"#],
        vec!["[{\"l\": null}]", "[{\"l\": [{}]}]"],
    ] {
        assert_eq!(dtypes(&decode(&pages, &options)), expected);
    }
}

#[test]
fn the_rest_keeps_its_place() {
    let options = given([
        ("id", DataType::String),
        ("ref.x", DataType::Int64),
        (
            "l",
            list_of(structs([
                ("a", DataType::Int64),
                ("s", structs([("t", DataType::Boolean)])),
            ])),
        ),
        ("n", list_of(list_of(DataType::Int8))),
    ]);
    let df = decode(
        &[r#"[
            {"id": "1", "ref": {"x": 1}, "l": [{"a": 1, "s": {"t": true}}, null], "n": [[1], []]},
            {"id": 2, "ref": {"x": "x", "y": null, "z": {}}, "extra": [1, {"b": 1e3}], "gone": null},
            {"ref": "text", "l": {"a": 1}, "n": 5},
            {"ref": {}, "l": [{"a": 1}, {"a": 1.5}, null, "x", {"s": {"u": 1}}, {"s": []}], "n": [[1, 300], [2], 3]},
            {"l": [{"a": 1}, {}], "ref": null}
        ]"#],
        &options,
    );
    let unknown = [
        None,
        Some(r#"{"id":2,"ref":{"x":"x","z":{}},"extra":[1,{"b":1000.0}]}"#),
        Some(r#"{"ref":"text","l":{"a":1},"n":5}"#),
        Some(r#"{"l":[null,{"a":1.5},null,"x",{"s":{"u":1}},{"s":[]}],"n":[[null,300],null,3]}"#),
        None,
    ];
    assert_eq!(
        strings(&df, "_unknown"),
        unknown.map(|text| text.map(str::to_owned))
    );
    assert_eq!(cell(&df, "ref.x", 0), "1");
    assert_eq!(df.column("ref.x").unwrap().null_count(), 4);
    let lists = df.column("l").unwrap().list().unwrap();
    assert_eq!(lists.null_count(), 2);
    let rest = lists.get_as_series(3).unwrap();
    assert_eq!((rest.len(), rest.null_count()), (6, 2));
}

#[test]
fn the_rest_does_not_depend_on_pages() {
    let options = given([("a", DataType::Int64)]);
    let records = [
        r#"{"a": 1}"#,
        r#"{"a": "x"}"#,
        r#"{"b": {"c": []}, "a": null}"#,
        "{}",
    ];
    let one = decode(&[&format!("[{}]", records.join(","))], &options);
    let pages = records.map(|record| format!("[{record}]"));
    let many = decode(&pages.each_ref().map(String::as_str), &options);
    assert!(one.equals_missing(&many));
    assert_eq!(one.column("_unknown").unwrap().null_count(), 2);
}

#[test]
fn structs_of_the_schema_are_flattened() {
    let options = given([
        (
            "ref",
            structs([
                ("x", DataType::Int64),
                ("in.ner", structs([("y", DataType::String)])),
            ]),
        ),
        ("empty", structs([])),
    ]);
    let df = decode(
        &[r#"[{"ref": {"in.ner": {"y": "z"}, "x": 1}, "empty": {}}]"#],
        &options,
    );
    assert_eq!(names(&df), ["ref.x", "ref.in.ner.y", "empty", "_unknown"]);
    assert_eq!(cell(&df, "ref.in.ner.y", 0), "\"z\"");
    assert_eq!(df.column("empty").unwrap().dtype(), &structs([]));
    assert_eq!(strings(&df, "_unknown"), [None]);
}

#[test]
fn a_path_can_be_a_value_and_an_object() {
    let options = given([("a", DataType::String), ("a.b", DataType::Int64)]);
    let df = decode(
        &[r#"[{"a": "x"}, {"a": {"b": 1}}, {"a": 2}, {"a": {"c": 3}}]"#],
        &options,
    );
    assert_eq!(strings(&df, "a"), [Some("x".to_owned()), None, None, None]);
    assert_eq!(cell(&df, "a.b", 1), "1");
    let unknown = [None, None, Some(r#"{"a":2}"#), Some(r#"{"a":{"c":3}}"#)];
    assert_eq!(
        strings(&df, "_unknown"),
        unknown.map(|text| text.map(str::to_owned))
    );
}

#[test]
fn an_earlier_result_gives_the_schema_of_the_next() {
    let options = given([("a", DataType::Int64)]);
    let df = decode(&[r#"[{"a": 1, "b": 2}]"#], &options);
    let again = ColumnOptions {
        schema: Some((**df.schema()).clone()),
        ..ColumnOptions::default()
    };
    assert_eq!(
        names(&decode(&[r#"[{"a": 1, "b": 2}]"#], &again)),
        ["a", "_unknown"]
    );
}

#[test]
fn nested_enums_are_made() {
    let categories = FrozenCategories::new(["a", "b"]).unwrap();
    let dtype = DataType::from_frozen_categories(categories);
    let column = list_of(structs([("e", dtype)]));
    let df = decode(
        &[r#"[{"l": [{"e": "b"}, {"e": "z"}]}, {}]"#],
        &given([("l", column.clone())]),
    );
    assert_eq!(df.column("l").unwrap().dtype(), &column);
    assert_eq!(
        strings(&df, "_unknown"),
        [Some(r#"{"l":[null,{"e":"z"}]}"#.to_owned()), None]
    );
}

#[test]
fn names_of_the_schema_can_be_taken_too() {
    let mut decoder = PageDecoder::default();
    let page = decoder
        .decode(br#"[{"id": "x", "status": 1, "more": 2}]"#)
        .unwrap();
    let given = schema([("id", DataType::String), ("status", DataType::Int64)]);
    let plan = Layout::from_schema(&given, ".")
        .unwrap()
        .plan(".", &["status", "_unknown"]);
    let df = plan.frame(&page).unwrap();
    assert_eq!(names(&df), ["id", "status_record", "_unknown_record"]);
    assert_eq!(plan.unknown(), Some("_unknown_record"));
    assert_eq!(plan.schema(), &**df.schema());
    assert_eq!(page.id(0), Some("x"));
    let batch = plan.record_batch(&page).unwrap();
    assert_eq!((batch.num_rows(), batch.num_columns()), (1, 3));
}

#[test]
fn lists_and_objects_become_text_at_any_depth() {
    let options = given([
        ("o", DataType::String),
        ("l", list_of(DataType::String)),
        ("s", list_of(structs([("t", DataType::String)]))),
    ]);
    let df = decode(
        &[
            r#"[{"o": {"b": 1.50, "a": [922337203685477.5807]}, "l": ["x", {"y": null}, [1], 2],
            "s": [{"t": {}}, {"t": 1}]}]"#,
        ],
        &options,
    );
    let text = r#"{"b":1.5,"a":[922337203685477.5807]}"#;
    assert_eq!(strings(&df, "o"), [Some(text.to_owned())]);
    let list = df.column("l").unwrap().list().unwrap();
    let list = list.get_as_series(0).unwrap();
    let elements: Vec<_> = list.str().unwrap().iter().collect();
    assert_eq!(
        elements,
        [Some("x"), Some(r#"{"y":null}"#), Some("[1]"), None]
    );
    let unknown = r#"{"l":[null,null,null,2],"s":[null,{"t":1}]}"#;
    assert_eq!(strings(&df, "_unknown"), [Some(unknown.to_owned())]);
}

#[test]
fn what_is_left_over_keeps_every_digit() {
    let record = r#"{"a":922337203685477.5807,"b":[1e400,0.10000000000000000001],"c":100000000000000000000000000001}"#;
    let df = decode(
        &[&format!("[{record}]")],
        &given([("a", DataType::Boolean)]),
    );
    assert_eq!(strings(&df, "_unknown"), [Some(record.to_owned())]);
}

#[test]
fn nulls_of_unknown_properties_are_nothing() {
    let df = decode(
        &[r#"[{"a": 1, "b": null}, {"b": null, "c": {"d": null}}]"#],
        &given([("a", DataType::Int64)]),
    );
    let unknown = [None, Some(r#"{"c":{"d":null}}"#.to_owned())];
    assert_eq!(strings(&df, "_unknown"), unknown);
}

#[test]
fn a_categorical_takes_what_it_has_room_for() {
    let categories = Categories::new("declared".into(), "".into(), CategoricalPhysical::U8);
    let dtype = DataType::from_categories(categories);
    let records: Vec<String> = (0..300).map(|n| format!(r#"{{"v": "v{n}"}}"#)).collect();
    let df = decode(
        &[&format!("[{}]", records.join(","))],
        &given([("v", dtype.clone())]),
    );
    assert_eq!(df.column("v").unwrap().dtype(), &dtype);
    let unknown = strings(&df, "_unknown");
    for (row, unknown) in unknown.iter().enumerate() {
        match unknown {
            None => assert_eq!(cell(&df, "v", row), format!("\"v{row}\"")),
            Some(text) => assert_eq!(*text, format!(r#"{{"v":"v{row}"}}"#)),
        }
    }
    assert!((44..=45).contains(&unknown.iter().flatten().count()));
}

#[test]
fn server_fields_are_found_whatever_the_separator() {
    let options = ColumnOptions {
        separator: "_".to_owned(),
        ..given([
            ("_etag", DataType::String),
            ("_lastModifiedDate", UTC),
            ("ref_id", DataType::Int64),
            ("_ext_tpdm_gpa", DataType::Float64),
        ])
    };
    let df = decode(
        &[
            r#"[{"_etag": "e", "_lastModifiedDate": "2024-01-01T00:00:00Z", "ref": {"id": 1},
            "_ext": {"tpdm": {"gpa": 3.5}}}]"#,
        ],
        &options,
    );
    assert_eq!(cell(&df, "_etag", 0), "\"e\"");
    assert_eq!(df.null_count().height(), 1);
    assert!(
        df.columns()[..4]
            .iter()
            .all(|column| column.null_count() == 0)
    );
    assert_eq!(strings(&df, "_unknown"), [None]);
}

#[test]
fn the_name_of_what_is_left_over_is_its_own() {
    let df = decode(
        &[r#"[{"_unknown": 7, "b": 1}]"#],
        &given([("_unknown", DataType::Int64)]),
    );
    assert_eq!(names(&df), ["_unknown_record", "_unknown"]);
    assert_eq!(cell(&df, "_unknown_record", 0), "7");
    assert_eq!(strings(&df, "_unknown"), [Some(r#"{"b":1}"#.to_owned())]);
}

#[test]
fn a_dtype_that_no_json_value_has_is_named() {
    for dtype in [
        DataType::Binary,
        DataType::Duration(TimeUnit::Microseconds),
        DataType::Int128,
        DataType::Array(Box::new(DataType::Int64), 2),
        list_of(structs([("x", DataType::Binary)])),
    ] {
        let options = given([("good", DataType::Int64), ("bad", dtype)]);
        match decode_pages([], &options) {
            Err(Error::Config(text)) => assert!(text.contains("'bad'"), "{text}"),
            other => panic!("{other:?}"),
        }
    }
}
