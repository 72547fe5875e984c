//! JSON -> columns: pages of bytes in, frames out.

mod declared;
mod encode;
mod errors;
mod flatten;
mod parts;
mod projection;
mod property;
mod reference;
mod rules;
mod stack;

use polars::prelude::*;
use polars_edfi::columns::{ColumnOptions, decode_pages};

/// The frame of some pages.
fn frame(pages: &[&str]) -> DataFrame {
    decode(pages, &ColumnOptions::default())
}

fn decode(pages: &[&str], options: &ColumnOptions) -> DataFrame {
    decode_pages(pages.iter().map(|page| page.as_bytes()), options).unwrap()
}

/// The names and dtypes of a frame.
fn dtypes(df: &DataFrame) -> Vec<(&str, DataType)> {
    df.columns()
        .iter()
        .map(|column| (column.name().as_str(), column.dtype().clone()))
        .collect()
}

fn names(df: &DataFrame) -> Vec<&str> {
    df.columns()
        .iter()
        .map(|column| column.name().as_str())
        .collect()
}

fn list_of(inner: DataType) -> DataType {
    DataType::List(Box::new(inner))
}

fn structs<const N: usize>(fields: [(&str, DataType); N]) -> DataType {
    DataType::Struct(
        fields
            .into_iter()
            .map(|(name, dtype)| Field::new(name.into(), dtype))
            .collect(),
    )
}

/// The strings of a column.
fn strings(df: &DataFrame, name: &str) -> Vec<Option<String>> {
    let column = df.column(name).unwrap().str().unwrap();
    column.iter().map(|text| text.map(str::to_owned)).collect()
}

/// A cell as a person would write it.
fn cell(df: &DataFrame, name: &str, row: usize) -> String {
    df.column(name).unwrap().get(row).unwrap().to_string()
}
