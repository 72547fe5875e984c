//! A frame with lists taken apart: one frame without lists, and one for each list.

use std::collections::HashSet;
use std::ops::Range;

use polars::prelude::*;
use polars_arrow::array::Array;

use super::flatten::{find, flatten, gather};
use super::lists::array_as_list;
use super::paths::FreeNames;
use crate::{Error, Result};

/// What identifies a record if nobody says it.
const ID: &str = "id";
/// Columns that stand before a record's own, and that no caller named.
const ABOUT: [&str; 4] = ["status", "message", "http_status", "correlation_id"];
/// The place of an element in its list.
const INDEX: &str = "_index";
/// The column of elements that are no objects.
const VALUE: &str = "value";

/// Takes a frame apart, for databases and files that know no lists.
///
/// The first frame, named `""`, is the frame without its lists. Then comes one for each list, named
/// by its path (`scoreResults`, `studentObjectiveAssessments.scoreResults`): the `key` columns (by
/// default `id`, and what stands before it but `status`, `message`, `http_status` and
/// `correlation_id`), `_index` (UInt32: the place in the list; `_index_2` and so on for lists in
/// lists), and the elements: their fields, flattened, or `value`. A column whose name is taken gets
/// `_record` appended. A row without elements has none there. Joined by key and index they are the
/// frame again.
///
/// ```
/// use polars::prelude::*;
/// use polars_edfi::columns::{ColumnOptions, decode_pages, tables};
///
/// let page = br#"[{"id": "a", "scores": [{"result": 18}, {"result": 21}]}, {"id": "b"}]"#;
/// let df = decode_pages([&page[..]], &ColumnOptions::default())?;
/// let all = tables(&df, None)?;
/// assert_eq!(all[0], ("".into(), df!("id" => ["a", "b"])?));
/// assert_eq!(all[1].0, "scores");
/// assert_eq!(all[1].1, df!("id" => ["a", "a"], "_index" => [0u32, 1], "result" => [18i64, 21])?);
/// # Ok::<(), polars_edfi::Error>(())
/// ```
///
/// # Errors
/// [`Error::ColumnNotFound`] for a key column that is not there, [`Error::ColumnType`] for one that
/// is a list, [`Error::Config`] where no key is given and there is no `id`, where a column stands in
/// the key twice, and where two rows with lists have the same key.
pub fn tables(df: &DataFrame, key: Option<&[&str]>) -> Result<Vec<(String, DataFrame)>> {
    let df = flatten(df, None, ".", None)?;
    let key = match key {
        Some(key) => key.iter().map(|&name| name.to_owned()).collect(),
        None => default_key(&df)?,
    };
    for (place, name) in key.iter().enumerate() {
        if key[..place].contains(name) {
            return Err(Error::Config(format!("key: '{name}' stands in it twice")));
        }
        let dtype = find(&df, name)?.dtype();
        if matches!(dtype, DataType::List(_) | DataType::Array(..)) {
            return Err(Error::ColumnType(format!(
                "column '{name}' (key) is {dtype}; a key is no list"
            )));
        }
    }
    check_unique(&df, &key)?;
    let mut all = Vec::new();
    take_apart(df, &key, String::new(), 1, &mut all)?;
    Ok(all)
}

fn default_key(df: &DataFrame) -> Result<Vec<String>> {
    let names: Vec<&str> = df.columns().iter().map(|column| &**column.name()).collect();
    let id = names.iter().position(|name| *name == ID).ok_or_else(|| {
        Error::Config(
            "there is no column 'id': give key=, the columns that tell the rows apart".into(),
        )
    })?;
    let before = names[..id].iter().filter(|name| !ABOUT.contains(name));
    Ok(before.chain([&ID]).map(|&name| name.to_owned()).collect())
}

/// Refuses a key that several rows have of which lists are kept.
fn check_unique(df: &DataFrame, key: &[String]) -> Result<()> {
    let mut has_list = vec![false; df.height()];
    for column in df.columns() {
        let column = array_as_list(column)?;
        if let DataType::List(_) = column.dtype() {
            let list = column.list()?.rechunk();
            for (has, extent) in has_list.iter_mut().zip(extents(&list)) {
                *has |= !extent.is_empty();
            }
        }
    }
    let texts = key
        .iter()
        .map(|name| find(df, name)?.cast(&DataType::String).map_err(Error::from));
    let texts = texts.collect::<Result<Vec<Column>>>()?;
    let texts = texts
        .iter()
        .map(Column::str)
        .collect::<PolarsResult<Vec<_>>>()?;
    let mut seen = HashSet::new();
    for (row, has_list) in has_list.into_iter().enumerate() {
        let key_of: Vec<Option<&str>> = texts.iter().map(|column| column.get(row)).collect();
        if has_list && !seen.insert(key_of) {
            return Err(Error::Config(format!(
                "row {row} has the same key ({}) as a row before it: give key=, the columns that \
                 tell the rows apart",
                key.join(", ")
            )));
        }
    }
    Ok(())
}

fn take_apart(
    df: DataFrame,
    key: &[String],
    path: String,
    level: usize,
    all: &mut Vec<(String, DataFrame)>,
) -> Result<()> {
    let is_list = |column: &Column| matches!(column.dtype(), DataType::List(_));
    let columns = df.columns().iter().map(array_as_list);
    let columns = columns.collect::<Result<Vec<Column>>>()?;
    let (lists, rest): (Vec<_>, Vec<_>) = columns.into_iter().partition(is_list);
    let keys = key.iter().map(|name| find(&df, name).cloned());
    let keys = keys.collect::<Result<Vec<_>>>()?;
    all.push((path.clone(), DataFrame::new(df.height(), rest)?));
    for list in lists {
        let (elements, key) = elements_of(&list, &keys, level)?;
        let path = match path.is_empty() {
            true => list.name().to_string(),
            false => format!("{path}.{}", list.name()),
        };
        take_apart(elements, &key, path, level + 1, all)?;
    }
    Ok(())
}

/// Where the elements of each list of one chunk are; behind a null there may be some that are none.
fn extents(list: &ListChunked) -> Vec<Range<i64>> {
    let Some(array) = list.downcast_iter().next() else {
        return Vec::new();
    };
    let ends = array.offsets().buffer().windows(2).enumerate();
    ends.map(|(row, ends)| match array.is_valid(row) {
        true => ends[0]..ends[1],
        false => 0..0,
    })
    .collect()
}

/// The elements of a list column, one a row, after the keys of their rows and their places.
fn elements_of(list: &Column, keys: &[Column], level: usize) -> Result<(DataFrame, Vec<String>)> {
    let list = list.list()?.rechunk().into_owned();
    let (mut rows, mut index, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for (row, extent) in extents(&list).into_iter().enumerate() {
        for (place, element) in extent.enumerate() {
            rows.push(row as IdxSize);
            index.push(place as u32);
            places.push(element as IdxSize);
        }
    }
    let height = rows.len();
    let rows = IdxCa::from_vec(PlSmallStr::EMPTY, rows);
    let places = IdxCa::from_vec(PlSmallStr::EMPTY, places);
    let elements = list.get_inner().take(&places)?;
    let columns = keys.iter().map(|key| key.take(&rows));
    let mut columns = columns.collect::<PolarsResult<Vec<Column>>>()?;
    let name = match level {
        1 => INDEX.to_owned(),
        level => format!("{INDEX}_{level}"),
    };
    let taken: Vec<&str> = keys.iter().map(|key| &**key.name()).collect();
    let mut names = FreeNames::new(&taken);
    columns.push(Column::new(names.take(name), index));
    let key = columns.iter().map(|column| column.name().to_string());
    let key: Vec<String> = key.collect();
    let mut leaves = Vec::new();
    match elements.dtype() {
        DataType::Struct(_) => {
            let elements = elements
                .propagate_nulls()
                .unwrap_or_else(|| elements.clone());
            for field in elements.struct_()?.fields_as_series() {
                gather(&field, field.name().to_string(), ".", &mut leaves)?;
            }
        }
        _ => leaves.push((VALUE.to_owned(), elements)),
    }
    columns.extend(leaves.into_iter().map(|(name, mut leaf)| {
        leaf.rename(names.take(name));
        Column::from(leaf)
    }));
    Ok((DataFrame::new(height, columns)?, key))
}
