//! Bodies that are not what they should be.

use polars_edfi::Error;
use polars_edfi::columns::{Page, PageDecoder};

fn decode(body: &[u8]) -> Result<Page, String> {
    PageDecoder::default().decode(body).map_err(text)
}

fn text(error: Error) -> String {
    match error {
        Error::Json(text) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_error_says_what_the_body_is() {
    for (body, error) in [
        ("", "expected a JSON array, got an empty body"),
        (" \n", "expected a JSON array, got an empty body"),
        (
            r#"{"message": "x"}"#,
            "expected a JSON array, got an object",
        ),
        ("\"x\"", "expected a JSON array, got a string"),
        ("12", "expected a JSON array, got a number"),
        ("null", "expected a JSON array, got null"),
        ("true", "expected a JSON array, got a boolean"),
        (
            "<!DOCTYPE html><html>",
            "expected a JSON array, got HTML or XML",
        ),
        (
            "Service Unavailable",
            "expected a JSON array, got text that is not JSON",
        ),
        (
            "[1]",
            "expected an object, got something else in record 1 of the page",
        ),
        (
            "[{}, null]",
            "expected an object, got something else in record 2 of the page",
        ),
        (r#"[{"a": 1}, {"a": "#, "the JSON ends in the middle"),
        ("[{}", "the JSON ends in the middle"),
        ("[{}] []", "not JSON: more text after its end"),
        ("[{}]}", "not JSON: more text after its end"),
        (
            r#"[{"a": 01}]"#,
            "not JSON: invalid number at line 1 column 9",
        ),
        (
            r#"[{}, {"a": [1.]}]"#,
            "not JSON: invalid number at line 1 column 15",
        ),
        (
            r#"[{"a": 1-2}]"#,
            "not JSON: expected `,` or `}` at line 1 column 9",
        ),
    ] {
        assert_eq!(
            decode(body.as_bytes()).map(|page| page.len()),
            Err(error.to_owned()),
            "{body}"
        );
    }
    let object = PageDecoder::default().decode_object(b"[{}]").map_err(text);
    assert_eq!(object.unwrap_err(), "expected a JSON object, got an array");
}

#[test]
fn the_error_never_quotes_the_body() {
    for body in [
        r#"[{"name": SECRET}]"#,
        r#"[{"name": "x" SECRET}]"#,
        r#"[{"name": 12SECRET}]"#,
        r#"[{"name": "\xSECRET"}]"#,
        r#"[{"name": "\udc0SECRET"}]"#,
        r#"[{"SECRET": 1, "SECRET" 2}]"#,
        r#"["SECRET"]"#,
        r#"[{"name": nulSECRET}]"#,
        "SECRET",
    ] {
        let error = decode(body.as_bytes()).unwrap_err();
        assert!(!error.contains("SECRET"), "{error}");
        assert!(
            error.contains("not JSON") || error.contains("expected an object"),
            "{error}"
        );
    }
    let error = decode(b"[{\"name\": \"\xff\xfe\"}]").unwrap_err();
    assert_eq!(error, "not JSON: text that is not UTF-8");
}

#[test]
fn commas_and_colons_stand_where_they_belong() {
    for body in [
        r#"[{"a": 1,}]"#,
        r#"[{,"a": 1}]"#,
        r#"[{"a": 1,, "b": 2}]"#,
        r#"[{"a": 1 "b": 2}]"#,
        r#"[{"a" 1}]"#,
        r#"[{"a":: 1}]"#,
        r#"[{"a": }]"#,
        r#"[{"a": [1,]}]"#,
        r#"[{"a": [1 2]}]"#,
        r#"[{"a": [,]}]"#,
        "[{},]",
        "[{} {}]",
        "[,]",
        "[{}, ]",
    ] {
        let error = decode(body.as_bytes()).unwrap_err();
        assert!(error.starts_with("not JSON: "), "{body}: {error}");
    }
}

#[test]
fn nesting_has_an_end() {
    let nested = |depth: usize| format!("[{{\"a\": {}{}}}]", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(decode(nested(127).as_bytes()).unwrap().len(), 1);
    let error = decode(nested(128).as_bytes()).unwrap_err();
    assert_eq!(
        error,
        "nested deeper than 128 levels in record 1 of the page"
    );
    let error = decode(nested(3_000_000).as_bytes()).unwrap_err();
    assert_eq!(
        error,
        "nested deeper than 128 levels in record 1 of the page"
    );
    let objects = format!("[{}{}]", r#"{"a": "#.repeat(129), "}".repeat(129));
    assert!(decode(objects.replace(r#": }"#, r#": 1}"#).as_bytes()).is_err());
}

#[test]
fn the_deepest_record_becomes_a_frame() {
    for (open, close) in [("[", "]"), (r#"[{"x": "#, "}]")] {
        let depth = if open.len() > 1 { 63 } else { 127 };
        let page = format!(
            r#"[{{"a": {}1{}}}]"#,
            open.repeat(depth),
            close.repeat(depth)
        );
        let df = super::frame(&[&page]);
        assert_eq!(df.shape(), (1, 1));
    }
}

#[test]
fn a_decoder_is_as_good_as_new_after_an_error() {
    let mut decoder = PageDecoder::default();
    for body in [
        "[{\"a\": ",
        "[{\"a\": x}]",
        "[1]",
        "[{}] 1",
        "{}",
        "[{\"a\": 1.}]",
        "[{\"\u{fffd}",
    ] {
        assert!(decoder.decode(body.as_bytes()).is_err(), "{body}");
        assert_eq!(
            decoder.decode(br#"[{"id": "x"}]"#).unwrap().id(0),
            Some("x")
        );
    }
    assert!(decoder.decode(b"[{\"a\": \"\xff\"}]").is_err());
    assert_eq!(
        decoder.decode(br#"[{"id": "y"}]"#).unwrap().id(0),
        Some("y")
    );
}

#[test]
fn a_body_cut_off_anywhere_is_an_error() {
    let body = r#"[{"id": "é\u00e9\n", "n": [-1.5e+3, null, {"t": true, "f": false}]}, {}]"#;
    let whole = serde_json::from_str::<Vec<serde_json::Value>>(body)
        .unwrap()
        .len();
    let mut decoder = PageDecoder::default();
    for end in 0..body.len() {
        let cut = &body.as_bytes()[..end];
        assert!(
            decoder.decode(cut).is_err(),
            "{}",
            String::from_utf8_lossy(cut)
        );
    }
    assert_eq!(decoder.decode(body.as_bytes()).unwrap().len(), whole);
    let with_mark = [b"\xEF\xBB\xBF", body.as_bytes(), b" \r\n"].concat();
    assert_eq!(decoder.decode(&with_mark).unwrap().len(), whole);
}
