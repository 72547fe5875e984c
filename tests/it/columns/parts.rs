//! Bodies in parts, and one after another through the same decoder.

use polars::prelude::DataFrame;
use polars_edfi::Error;
use polars_edfi::columns::{Layout, PageDecoder};

fn frame(parts: &[&[u8]], decoder: &mut PageDecoder) -> Result<DataFrame, Error> {
    let page = decoder.decode_parts(parts)?;
    let mut layout = Layout::new();
    layout.add(&page);
    layout.plan(".", &[]).frame(page)
}

/// What a body becomes that comes in some parts, or why it becomes nothing.
fn read(parts: &[&[u8]], decoder: &mut PageDecoder) -> Result<DataFrame, String> {
    frame(parts, decoder).map_err(|error| error.to_string())
}

fn same(one: &Result<DataFrame, String>, other: &Result<DataFrame, String>) -> bool {
    match (one, other) {
        (Ok(one), Ok(other)) => one.equals_missing(other),
        (one, other) => one.as_ref().err() == other.as_ref().err(),
    }
}

#[test]
fn a_body_is_the_same_in_whatever_parts_it_comes() {
    for body in [
        "\u{feff} [{\"id\": \"\\u00e9é\", \"n\": -1.5e3, \"l\": [true, null]}, {\"o\": {}}] \n",
        "[]",
        "",
        " \n ",
        "[{\"a\": 1}",
        "[{\"a\": 1}] []",
        "[{\"a\": 01}]",
        "{\"message\": \"no\"}",
        "null",
        "<html>",
        "[{\"a\": tru}]",
    ] {
        let body = body.as_bytes();
        let whole = read(&[body], &mut PageDecoder::default());
        let decoder = &mut PageDecoder::default();
        for at in 0..=body.len() {
            let (first, rest) = body.split_at(at);
            let (second, third) = rest.split_at(rest.len().min(1));
            for parts in [&[first, rest][..], &[first, second, third]] {
                let read = read(parts, decoder);
                assert!(same(&read, &whole), "{parts:?}: {read:?}, not {whole:?}");
            }
        }
    }
    let nothing = read(&[], &mut PageDecoder::default());
    assert!(same(&nothing, &read(&[b""], &mut PageDecoder::default())));
}

#[test]
fn a_page_does_not_depend_on_the_one_before() {
    let many = |record: &str, count: usize| format!("[{}]", vec![record; count].join(","));
    let pages = [
        many(
            r#"{"id": "0123456789abcdef", "l": [{"x": 1}, {"x": 2}], "n": 1}"#,
            50,
        ),
        many(
            r#"{"n": "text longer than a view holds", "l": {"x": [1.5]}}"#,
            60,
        ),
        many(
            r#"{"l": [[1], [2, 3]], "id": true, "new": {"deep": {"er": "x"}}}"#,
            49,
        ),
        many(r#"{"id": "a"}"#, 1),
        many(r#"{"id": 1, "id": 2}"#, 40),
        many(
            r#"{"n": 0.1, "id": 18446744073709551616, "l": [1e400, {"x": -0}]}"#,
            45,
        ),
        many(
            r#"{"n": {"n": [0.12345678901234567890]}, "id": "é\n", "l": [{"x": true}, [null]]}"#,
            45,
        ),
        many(r#"{"id": "0123456789abcdef", "l": [{"x": 1}], "n": 1}"#, 55),
    ];
    let decoder = &mut PageDecoder::default();
    for page in pages.iter().chain(pages.iter().rev()) {
        let page = [page.as_bytes()];
        let fresh = read(&page, &mut PageDecoder::default());
        assert!(fresh.is_ok(), "{fresh:?}");
        assert!(same(&read(&page, decoder), &fresh), "{fresh:?}");
    }
}
