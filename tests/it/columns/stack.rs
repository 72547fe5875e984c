//! How many chunks results have.

use std::fmt::Write as _;

use polars::prelude::*;

use super::{cell, frame};

fn pages(count: usize, rows: usize) -> Vec<String> {
    (0..count)
        .map(|page| {
            let mut body = String::from("[");
            for row in 0..rows {
                let n = page * rows + row;
                let next = if row == 0 { "" } else { "," };
                write!(
                    body,
                    r#"{next}{{"n":{n},"s":"a text of some length {n}","l":[{n}]}}"#
                )
                .unwrap();
            }
            body + "]"
        })
        .collect()
}

fn stacked(pages: &[String]) -> DataFrame {
    let pages: Vec<&str> = pages.iter().map(String::as_str).collect();
    let df = frame(&pages);
    let n: Vec<i64> = df
        .column("n")
        .unwrap()
        .i64()
        .unwrap()
        .into_no_null_iter()
        .collect();
    assert_eq!(n, (0..df.height() as i64).collect::<Vec<_>>());
    let last = df.height() - 1;
    assert_eq!(
        cell(&df, "s", last),
        format!("\"a text of some length {last}\"")
    );
    assert_eq!(cell(&df, "l", last), format!("[{last}]"));
    df
}

#[test]
fn columns_that_few_pages_have_are_merged_with_nulls() {
    let bodies: Vec<String> = (0..60)
        .map(|page| {
            format!(r#"[{{"n":{page},"s{page}":"a text","l{page}":[{page}]}},{{"n":{page}}}]"#)
        })
        .collect();
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    let df = frame(&bodies);
    assert_eq!(df.shape(), (120, 1 + 2 * 60));
    for page in 0..60 {
        for (name, value) in [("s", "\"a text\"".to_owned()), ("l", format!("[{page}]"))] {
            let name = format!("{name}{page}");
            let column = df.column(&name).unwrap();
            assert_eq!((column.len(), column.null_count()), (120, 119), "{name}");
            assert_eq!(column.as_materialized_series().n_chunks(), 1, "{name}");
            assert_eq!(cell(&df, &name, 2 * page), value);
        }
    }
}

#[test]
fn small_pages_are_merged() {
    for (count, rows) in [(1, 1), (3, 1), (17, 1), (5_000, 1), (300, 40), (40, 1_000)] {
        let df = stacked(&pages(count, rows));
        assert_eq!(df.height(), count * rows);
        let most = 1 + df.height() / 2_048;
        for column in df.columns() {
            let chunks = column.as_materialized_series().n_chunks();
            assert!(chunks <= most, "{count} pages of {rows}: {chunks} chunks");
        }
    }
}

#[test]
fn large_pages_stand_as_they_are_between_small_ones() {
    let all = pages(14, 1_000);
    let body = |pages: &[String]| {
        let records: Vec<&str> = pages.iter().map(|page| &page[1..page.len() - 1]).collect();
        format!("[{}]", records.join(","))
    };
    let df = stacked(&[
        body(&all[..1]),
        body(&all[1..2]),
        body(&all[2..7]),
        body(&all[7..13]),
        body(&all[13..]),
    ]);
    let lengths = df
        .column("n")
        .unwrap()
        .as_materialized_series()
        .chunk_lengths();
    assert_eq!(lengths.collect::<Vec<_>>(), [2_000, 5_000, 6_000, 1_000]);
}
