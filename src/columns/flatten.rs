//! Nested columns of a frame -> one column per leaf, and lists -> rows.

use std::collections::{HashMap, HashSet};

use polars::prelude::{Column, DataFrame, DataType, ExplodeOptions, PlSmallStr, Series};

use super::paths::{FreeNames, check_part};
use crate::{Error, Result};

/// Flattens the Struct columns of a frame.
///
/// Each Struct column (each of `columns`, if given) is replaced, where it stands, by one column per
/// leaf, named by the path joined with `separator`: `studentReference.studentUniqueId`. A null
/// Struct has null leaves; a Struct without fields becomes a column of nulls. Lists stay lists.
///
/// Then the lists named in `explode` become rows, one name after another, so that a name may be a
/// column that an earlier one made. Each element gets a row, in which the other columns repeat, and
/// the fields of a Struct element are flattened in turn: `scoreResults.result`. A row whose list is
/// null or empty keeps one row. A column of nulls alone has nothing to explode and stays.
///
/// A new name that is taken gets `_record` appended.
///
/// # Errors
/// [`Error::ColumnNotFound`] for a name that is not there, [`Error::ColumnType`] for a column of
/// `explode` that is no list.
///
/// ```
/// use polars::prelude::*;
/// use polars_edfi::columns::{ColumnOptions, decode_pages, flatten};
///
/// let page = br#"[{"id": "a", "scoreResults": [{"result": "18"}, {"result": "21"}]}, {"id": "b"}]"#;
/// let df = decode_pages([&page[..]], &ColumnOptions::default())?;
/// let df = flatten(&df, None, ".", Some(&["scoreResults"]))?;
/// assert_eq!(df, df!("id" => ["a", "a", "b"], "scoreResults.result" => [Some("18"), Some("21"), None])?);
/// # Ok::<(), polars_edfi::Error>(())
/// ```
pub fn flatten(
    df: &DataFrame,
    columns: Option<&[&str]>,
    separator: &str,
    explode: Option<&[&str]>,
) -> Result<DataFrame> {
    check_part("separator", separator)?;
    find_all(df, columns.unwrap_or_default())?;
    let columns: Option<HashSet<&str>> = columns.map(|columns| columns.iter().copied().collect());
    let mut df = unnest(df, separator, |name| {
        columns
            .as_ref()
            .is_none_or(|columns| columns.contains(name))
    })?;
    for name in explode.unwrap_or_default() {
        df = explode_one(&df, name, separator)?;
    }
    Ok(df)
}

/// Columns that were left as they are, each with its dtype if it is there at all.
type Left<'a> = Vec<(&'a str, Option<DataType>)>;

/// Explodes those of the columns that are lists; the others are given back.
///
/// For records that were read: whether they have a property, only they can tell.
pub(crate) fn explode_lists<'a>(
    mut df: DataFrame,
    names: &'a [String],
    separator: &str,
) -> Result<(DataFrame, Left<'a>)> {
    let mut left = Vec::new();
    for name in names {
        match df.column(name).map(|column| column.dtype().clone()) {
            Ok(DataType::List(_) | DataType::Null) => df = explode_one(&df, name, separator)?,
            other => left.push((name.as_str(), other.ok())),
        }
    }
    Ok((df, left))
}

fn explode_one(df: &DataFrame, name: &str, separator: &str) -> Result<DataFrame> {
    match find(df, name)?.dtype() {
        DataType::Null => Ok(df.clone()),
        DataType::List(_) | DataType::Array(..) => {
            let options = ExplodeOptions {
                empty_as_null: true,
                keep_nulls: true,
            };
            let rows = df.explode([name], options)?;
            unnest(&rows, separator, |column| column == name)
        }
        dtype => Err(Error::ColumnType(format!(
            "column '{name}' cannot be exploded: it is {dtype}, not a list"
        ))),
    }
}

/// The columns of these names.
pub(super) fn find_all<'a>(df: &'a DataFrame, names: &[&str]) -> Result<Vec<&'a Column>> {
    // To look through all columns for each of many names takes long.
    let named = df
        .columns()
        .iter()
        .map(|column| (column.name().as_str(), column));
    let named: HashMap<&str, &Column> = named.collect();
    let found = |name: &&str| {
        named
            .get(*name)
            .map_or_else(|| find(df, name), |column| Ok(*column))
    };
    names.iter().map(found).collect()
}

pub(super) fn find<'a>(df: &'a DataFrame, name: &str) -> Result<&'a Column> {
    df.column(name).map_err(|_| {
        let names: Vec<&str> = df
            .columns()
            .iter()
            .map(|column| column.name().as_str())
            .collect();
        Error::ColumnNotFound(format!(
            "no column '{name}'; there are {}",
            names.join(", ")
        ))
    })
}

/// Replaces the Struct columns of which `chosen` says so.
fn unnest(df: &DataFrame, separator: &str, chosen: impl Fn(&str) -> bool) -> Result<DataFrame> {
    let is_chosen = |column: &Column| column.dtype().is_struct() && chosen(column.name());
    let stay = df.columns().iter().filter(|column| !is_chosen(column));
    let stay: Vec<&str> = stay.map(|column| column.name().as_str()).collect();
    let mut names = FreeNames::new(&stay);
    let mut flat = Vec::with_capacity(df.width());
    for column in df.columns() {
        if is_chosen(column) {
            let mut leaves = Vec::new();
            let series = column.as_materialized_series();
            gather(series, column.name().to_string(), separator, &mut leaves)?;
            flat.extend(leaves.into_iter().map(|(name, mut leaf)| {
                leaf.rename(names.take(name));
                Column::from(leaf)
            }));
        } else {
            flat.push(column.clone());
        }
    }
    Ok(DataFrame::new(df.height(), flat)?)
}

/// Collects the leaves of a column, each with its path.
pub(super) fn gather(
    series: &Series,
    name: String,
    separator: &str,
    leaves: &mut Vec<(String, Series)>,
) -> Result<()> {
    let DataType::Struct(fields) = series.dtype() else {
        leaves.push((name, series.clone()));
        return Ok(());
    };
    if fields.is_empty() {
        let nulls = Series::full_null(PlSmallStr::EMPTY, series.len(), &DataType::Null);
        leaves.push((name, nulls));
        return Ok(());
    }
    let series = series.propagate_nulls().unwrap_or_else(|| series.clone());
    for field in series.struct_()?.fields_as_series() {
        let name = format!("{name}{separator}{}", field.name());
        gather(&field, name, separator, leaves)?;
    }
    Ok(())
}
