//! Struct rows -> JSON payloads.

use fastrand::Rng;
use polars::prelude::*;
use polars_edfi::Error;
use polars_edfi::columns::{ColumnOptions, Encoder, decode_pages, unflatten};

use super::{decode, list_of, structs};

/// The payloads of records that were read and put together again.
fn payloads(page: &str, schema: Option<Schema>, keep: bool) -> Vec<String> {
    let df = decode(
        &[page],
        &ColumnOptions {
            schema,
            ..ColumnOptions::default()
        },
    );
    let df = unflatten(&df, "payload", ".", None).unwrap();
    encode(df.column("payload").unwrap(), keep)
        .into_iter()
        .map(Option::unwrap)
        .collect()
}

fn encode(column: &Column, keep: bool) -> Vec<Option<String>> {
    let encoder = Encoder::new(column.as_materialized_series(), keep).unwrap();
    let text = |row| {
        encoder
            .encode(row)
            .unwrap()
            .map(|json| String::from_utf8(json).unwrap())
    };
    (0..encoder.len()).map(text).collect()
}

fn one(columns: Vec<Column>) -> Result<String, Error> {
    let df = DataFrame::new(1, columns).unwrap();
    let df = unflatten(&df, "p", ".", None).unwrap();
    let encoder = Encoder::new(df.column("p").unwrap().as_materialized_series(), false)?;
    encoder
        .encode(0)
        .map(|json| String::from_utf8(json.unwrap()).unwrap())
}

#[test]
fn nulls_and_empty_objects_are_left_out_but_elements_stay() {
    let page = r#"[{"a": null, "b": {"c": null, "d": {"e": null}}, "f": [], "g": [{"h": null}, null, {"h": 1}], "i": [null]},
        {"a": 1, "b": {"d": {"e": "x"}}}]"#;
    assert_eq!(
        payloads(page, None, false),
        [
            r#"{"f":[],"g":[{},null,{"h":1}],"i":[null]}"#,
            r#"{"a":1,"b":{"d":{"e":"x"}}}"#
        ]
    );
}

#[test]
fn what_a_server_adds_is_left_out() {
    let page = r#"[{"id": "x", "_etag": "1", "_lastModifiedDate": "2024-01-01", "link": {"rel": "own"},
        "schoolReference": {"schoolId": 1, "link": {"rel": "School", "href": "/x"}},
        "list": [{"id": 5, "link": "kept", "bReference": {"c": {"link": 1, "d": 2}}}], "onlyReference": {"link": {"rel": "r"}}}]"#;
    assert_eq!(
        payloads(page, None, false),
        [
            r#"{"link":{"rel":"own"},"schoolReference":{"schoolId":1},"list":[{"id":5,"link":"kept","bReference":{"c":{"d":2}}}]}"#
        ]
    );
    let kept = payloads(page, None, true).remove(0);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&kept).unwrap(),
        serde_json::from_str::<serde_json::Value>(&page[1..page.len() - 1]).unwrap()
    );
}

#[test]
fn values_are_exact() {
    let timestamp = |value: i64, unit, zone: Option<TimeZone>| {
        let column = Column::new("v".into(), [value]);
        column.cast(&DataType::Datetime(unit, zone)).unwrap()
    };
    let cast = |value: Column, dtype: DataType| value.strict_cast(&dtype).unwrap();
    let text = |text: &str| Column::new("v".into(), [text]);
    let chicago = TimeZone::opt_try_new(Some("America/Chicago")).unwrap();
    for (column, json) in [
        (Column::new("v".into(), [i64::MIN]), "-9223372036854775808"),
        (Column::new("v".into(), [u64::MAX]), "18446744073709551615"),
        (Column::new("v".into(), [0.1_f64]), "0.1"),
        (Column::new("v".into(), [0.1_f32]), "0.1"),
        (Column::new("v".into(), [1.0_f64]), "1.0"),
        (Column::new("v".into(), [true]), "true"),
        (cast(text("12.50"), DataType::Decimal(10, 3)), "12.500"),
        (cast(text("-0.05"), DataType::Decimal(10, 2)), "-0.05"),
        (text("\"é\n\u{1}"), "\"\\\"é\\n\\u0001\""),
        (
            cast(text("cat"), DataType::from_categories(Categories::global())),
            "\"cat\"",
        ),
        (
            cast(Column::new("v".into(), [19_782_i32]), DataType::Date),
            "\"2024-02-29\"",
        ),
        (
            cast(
                Column::new("v".into(), [30_600_500_000_000_i64]),
                DataType::Time,
            ),
            "\"08:30:00.500\"",
        ),
        (
            timestamp(
                1_638_374_400_000_000,
                TimeUnit::Microseconds,
                Some(TimeZone::UTC),
            ),
            "\"2021-12-01T16:00:00Z\"",
        ),
        (
            timestamp(1_638_374_400_001, TimeUnit::Milliseconds, chicago),
            "\"2021-12-01T16:00:00.001Z\"",
        ),
        (
            timestamp(-1, TimeUnit::Nanoseconds, None),
            "\"1969-12-31T23:59:59.999999999\"",
        ),
    ] {
        let dtype = column.dtype().clone();
        assert_eq!(
            one(vec![column]).unwrap(),
            format!("{{\"v\":{json}}}"),
            "{dtype}"
        );
    }
}

#[test]
fn what_json_cannot_hold_is_an_error() {
    for value in [f64::NAN, f64::INFINITY] {
        match one(vec![Column::new("a.b".into(), [value])]) {
            Err(Error::Json(text)) => {
                assert_eq!(text, "field 'a.b': JSON has neither NaN nor infinity")
            }
            other => panic!("{other:?}"),
        }
    }
    let duration = Column::new("a".into(), [1_i64])
        .cast(&DataType::Duration(TimeUnit::Milliseconds))
        .unwrap();
    match one(vec![duration]) {
        Err(Error::ColumnType(text)) => {
            assert_eq!(text, "'p.a' is duration[ms], which JSON cannot hold")
        }
        other => panic!("{other:?}"),
    }
    let series = Series::new("p".into(), ["{}"]);
    assert!(matches!(
        Encoder::new(&series, false),
        Err(Error::ColumnType(_))
    ));
}

#[test]
fn a_null_struct_is_no_payload() {
    let df = decode(&[r#"[{"a": 1}]"#], &ColumnOptions::default());
    let df = unflatten(&df, "p", ".", None).unwrap();
    let series = df.column("p").unwrap().as_materialized_series();
    let nulls = Series::full_null("p".into(), 2, series.dtype());
    let mut both = series.clone();
    both.append(&nulls).unwrap();
    assert_eq!(
        encode(&both.into(), false),
        [Some(r#"{"a":1}"#.to_owned()), None, None]
    );
}

#[test]
fn a_slice_of_a_frame_is_itself() {
    let records: Vec<String> = (0..40)
        .map(|n| format!(r#"{{"b": {}, "n": {n}, "s": {{"t": "{n} is longer than twelve"}}, "l": [{{"x": [{n}]}}, null]}}"#, n % 3 == 0))
        .collect();
    let df = decode(
        &[&format!("[{}]", records.join(","))],
        &ColumnOptions::default(),
    );
    let df = unflatten(&df, "p", ".", None).unwrap();
    let all = encode(df.column("p").unwrap(), false);
    for (offset, length) in [(0, 40), (3, 5), (9, 31), (39, 1), (7, 0)] {
        let part = df.slice(offset as i64, length);
        assert_eq!(
            encode(part.column("p").unwrap(), false),
            all[offset..offset + length]
        );
    }
}

#[test]
fn an_encoder_can_be_shared() {
    fn shared<T: Send + Sync>() {}
    shared::<Encoder>();
}

#[test]
fn the_rest_goes_back_to_its_place() {
    let schema: Schema = [
        ("a", DataType::Int64),
        ("ref.x", DataType::Int64),
        (
            "l",
            list_of(structs([("p", DataType::Int64), ("q", DataType::Date)])),
        ),
        ("n", list_of(DataType::Int64)),
        ("dReference.k", DataType::Int64),
    ]
    .into_iter()
    .map(|(name, dtype)| (PlSmallStr::from_str(name), dtype))
    .collect();
    let page = r#"[
        {"a": "x", "ref": {"y": 2, "x": 1, "z": null}, "l": [{"p": 1, "r": [{}]}, {"q": "no"}, null, 7], "n": [1, 2.5, null],
         "extra": {"big": 123456789012345678901234567890, "none": {"null": null}}, "_etag": "e", "dReference": {"link": {"rel": "D"}, "k": 1}},
        {"a": 1}, {"ref": "text", "n": {"o": 1}}
    ]"#;
    assert_eq!(
        payloads(page, Some(schema.clone()), false),
        [
            r#"{"a":"x","ref":{"x":1,"y":2},"l":[{"p":1,"r":[{}]},{"q":"no"},null,7],"n":[1,2.5,null],"dReference":{"k":1},"extra":{"big":123456789012345678901234567890}}"#,
            r#"{"a":1}"#,
            r#"{"ref":"text","n":{"o":1}}"#,
        ]
    );
    // A column that has a value by now is not overwritten; a list of another length is refused.
    let mut df = decode(
        &[page],
        &ColumnOptions {
            schema: Some(schema),
            ..ColumnOptions::default()
        },
    );
    df.with_column(Column::new("a".into(), [5_i64, 5, 5]))
        .unwrap();
    let changed = unflatten(&df, "p", ".", None).unwrap();
    assert!(
        encode(changed.column("p").unwrap(), false)[0]
            .as_ref()
            .unwrap()
            .starts_with(r#"{"a":5,"#)
    );
    let lists = df.column("l").unwrap().list().unwrap();
    let shorter: Vec<Option<Series>> = (0..3)
        .map(|row| lists.get_as_series(row).map(|list| list.head(Some(1))))
        .collect();
    df.with_column(Column::from(Series::new("l".into(), shorter)))
        .unwrap();
    let changed = unflatten(&df, "p", ".", None).unwrap();
    let encoder =
        Encoder::new(changed.column("p").unwrap().as_materialized_series(), false).unwrap();
    match encoder.encode(0) {
        Err(Error::Json(text)) => assert_eq!(
            text,
            "field 'l': the list has another length than in '_unknown'"
        ),
        other => panic!("{other:?}"),
    }
    assert!(encoder.encode(1).is_ok());
}

#[test]
fn a_broken_rest_is_an_error_of_its_row() {
    for text in ["", "[]", "{", "{\"a\": 1.}"] {
        let error = one(vec![
            Column::new("b".into(), [1]),
            Column::new("_unknown".into(), [text]),
        ])
        .unwrap_err();
        assert!(
            matches!(&error, Error::Json(text) if text.starts_with("_unknown: ")),
            "{error}"
        );
    }
}

/// A random record in which nothing is null or empty, so that all of it is a payload.
fn record(rng: &mut Rng, depth: usize) -> serde_json::Value {
    let mut members = serde_json::Map::new();
    for key in ["a", "b", "c", "d", "e"] {
        if members.is_empty() || rng.bool() {
            members.insert(key.to_owned(), value(rng, depth));
        }
    }
    members.into()
}

fn value(rng: &mut Rng, depth: usize) -> serde_json::Value {
    match rng.u32(..12) {
        0 | 1 => rng.i64(-200..200).into(),
        2 => rng.i64(..).into(),
        // serde_json reads longer floats one bit wrong at times.
        3 => (f64::from(rng.i32(-999..999)) / 8.0).into(),
        4 => rng.bool().into(),
        5 => "2024-02-29".into(),
        6 => "08:30:00".into(),
        7 => "12.50".into(),
        8 if depth > 0 => (0..rng.usize(..4)).map(|_| value(rng, depth - 1)).collect(),
        9..=11 if depth > 0 => record(rng, depth - 1),
        _ => "text".into(),
    }
}

fn dtype(rng: &mut Rng, depth: usize) -> DataType {
    match rng.u32(..10) {
        0 => DataType::Int8,
        1 => DataType::Int64,
        2 => DataType::Float64,
        // Texts alone: a String takes objects and lists as text, which they are from then on.
        3 => DataType::from_categories(Categories::global()),
        4 => DataType::Date,
        5 => DataType::Time,
        6 | 7 if depth > 0 => list_of(dtype(rng, depth - 1)),
        8 | 9 if depth > 0 => {
            let fields = [
                ("a", dtype(rng, depth - 1)),
                ("c", dtype(rng, depth - 1)),
                ("x", DataType::Int64),
            ];
            structs(fields)
        }
        _ => DataType::Boolean,
    }
}

#[test]
fn whatever_the_schema_nothing_is_lost() {
    for seed in 0..300 {
        let mut rng = Rng::with_seed(seed);
        let schema =
            ["a", "b", "c", "f"].map(|name| (PlSmallStr::from_static(name), dtype(&mut rng, 3)));
        let records: Vec<_> = (0..rng.usize(..20)).map(|_| record(&mut rng, 3)).collect();
        let page = serde_json::to_vec(&records).unwrap();
        let options = ColumnOptions {
            schema: Some(schema.into_iter().collect()),
            ..ColumnOptions::default()
        };
        let df = decode_pages([&page[..]], &options).unwrap();
        let df = unflatten(&df, "payload", ".", None).unwrap();
        let again = encode(df.column("payload").unwrap(), true);
        for (record, json) in records.iter().zip(again) {
            let mut json: serde_json::Value = serde_json::from_str(&json.unwrap()).unwrap();
            // An integer in a float column has a fraction afterwards.
            same_numbers(record, &mut json);
            assert_eq!(&json, record, "seed {seed}");
        }
    }
}

fn same_numbers(expected: &serde_json::Value, got: &mut serde_json::Value) {
    use serde_json::Value::{Array, Number, Object};
    match (expected, got) {
        (Number(expected), Number(got)) if expected.as_f64() == got.as_f64() && got.is_f64() => {
            *got = expected.clone();
        }
        (Array(expected), Array(got)) => {
            expected
                .iter()
                .zip(got)
                .for_each(|(expected, got)| same_numbers(expected, got));
        }
        (Object(expected), Object(got)) => {
            for (key, value) in got {
                same_numbers(&expected[key], value);
            }
        }
        _ => {}
    }
}

#[test]
fn an_array_is_written_by_its_values() {
    let categories = FrozenCategories::new(["a", "b"]).unwrap();
    let dtype = DataType::from_frozen_categories(categories);
    let array = |inner: DataType| DataType::Array(Box::new(inner), 1);
    let texts = Series::new("e".into(), ["b"]);
    let enums = texts.cast(&dtype).unwrap();
    let arrays = enums
        .reshape_array(&[ReshapeDimension::Infer, ReshapeDimension::new_dimension(1)])
        .unwrap();
    assert_eq!(arrays.dtype(), &array(dtype.clone()));
    assert_eq!(one(vec![arrays.clone().into()]).unwrap(), r#"{"e":["b"]}"#);
    let fields = [arrays];
    let structs = StructChunked::from_series("s".into(), 1, fields.iter()).unwrap();
    let list = structs.into_series().implode().unwrap().into_series();
    assert_eq!(
        one(vec![list.with_name("l".into()).into()]).unwrap(),
        r#"{"l":[{"e":["b"]}]}"#
    );
}

#[test]
fn what_was_read_is_written_with_every_digit() {
    let record = r#"{"a":[922337203685477.5807,"x"],"b":[{}],"c":1e400}"#;
    // Values of several types are texts.
    let expected = r#"{"a":["922337203685477.5807","x"],"b":[{}],"c":"1e400"}"#;
    assert_eq!(payloads(&format!("[{record}]"), None, false), [expected]);
    let schema: Schema = [("a".into(), list_of(DataType::Int64))]
        .into_iter()
        .collect();
    assert_eq!(
        payloads(&format!("[{record}]"), Some(schema), false),
        [record]
    );
}

#[test]
fn server_fields_are_put_back_whatever_the_separator() {
    let df = df!("_etag" => ["e"], "ref_id" => [1], "_unknown" => [r#"{"x":1}"#]).unwrap();
    let df = unflatten(&df, "p", "_", None).unwrap();
    assert_eq!(
        encode(df.column("p").unwrap(), true),
        [Some(r#"{"_etag":"e","ref":{"id":1},"x":1}"#.to_owned())]
    );
}
