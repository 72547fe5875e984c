//! The natural keys of rows: which are equal, and which columns hold them.

use std::hash::{BuildHasher, Hasher};

use polars::prelude::*;

use super::widen;
use crate::Result;

/// Rows by the hash of their key.
pub(super) type ByHash = PlHashMap<u64, Vec<usize>>;

/// The natural keys of the rows of a frame.
pub(super) struct RowKeys {
    columns: Vec<Column>,
    /// `None` for a row that holds a null in its key.
    hashes: Vec<Option<u64>>,
}

impl RowKeys {
    /// The keys of two frames, which can be compared; `None` for a frame that lacks a column of
    /// them.
    pub(super) fn pair(
        one: &DataFrame,
        two: &DataFrame,
        fields: &[&str],
    ) -> Result<(Option<Self>, Option<Self>)> {
        let columns = |df: &DataFrame| {
            let columns = fields.iter().map(|field| df.column(field).cloned().ok());
            columns.collect::<Option<Vec<Column>>>()
        };
        let (Some(mut one), Some(mut two)) = (columns(one), columns(two)) else {
            return Ok((None, None));
        };
        if fields.is_empty() {
            return Ok((None, None));
        }
        for (one, two) in one.iter_mut().zip(&mut two) {
            if one.dtype() != two.dtype() {
                let dtype = widen::dtype(one, two)?;
                *one = widen::cast(one, &dtype)?;
                *two = widen::cast(two, &dtype)?;
            }
        }
        let state = PlFixedStateQuality::default();
        Ok((Some(Self::new(one, &state)?), Some(Self::new(two, &state)?)))
    }

    fn new(columns: Vec<Column>, state: &PlFixedStateQuality) -> Result<Self> {
        let height = columns.first().map_or(0, Column::len);
        let mut hashes: Vec<Option<u64>> = vec![Some(0); height];
        for column in &columns {
            let add = |hash: &mut Option<u64>, value: Option<&[u8]>| {
                *hash = hash.zip(value).map(|(hash, value)| {
                    let mut hasher = state.build_hasher();
                    hasher.write_u64(hash);
                    hasher.write(value);
                    hasher.finish()
                });
            };
            let physical = column.to_physical_repr();
            match physical.dtype() {
                dtype if dtype.is_integer() => {
                    let numbers = physical.cast(&DataType::Int64)?;
                    for (hash, number) in hashes.iter_mut().zip(numbers.i64()?.iter()) {
                        let bytes = number.map(i64::to_le_bytes);
                        add(hash, bytes.as_ref().map(<[u8; 8]>::as_slice));
                    }
                }
                _ => {
                    let texts = widen::cast(column, &DataType::String)?;
                    for (hash, text) in hashes.iter_mut().zip(texts.str()?.iter()) {
                        add(hash, text.map(str::as_bytes));
                    }
                }
            }
        }
        Ok(Self { columns, hashes })
    }

    pub(super) fn none(&self) -> ByHash {
        ByHash::new()
    }

    /// Notes the key of a row.
    pub(super) fn add(&self, row: usize, known: &mut ByHash) {
        if let Some(hash) = self.hashes[row] {
            known.entry(hash).or_default().push(row);
        }
    }

    /// All rows.
    pub(super) fn by_hash(&self) -> ByHash {
        let mut all = ByHash::new();
        (0..self.hashes.len()).for_each(|row| self.add(row, &mut all));
        all
    }

    /// Whether a row has the key of one of these rows of `others`.
    pub(super) fn is_among(&self, row: usize, others: &Self, known: &ByHash) -> Result<bool> {
        let Some(rows) = self.hashes[row].and_then(|hash| known.get(&hash)) else {
            return Ok(false);
        };
        for other in rows {
            let mut equal = true;
            for (ours, theirs) in self.columns.iter().zip(&others.columns) {
                equal = equal && ours.get(row)? == theirs.get(*other)?;
            }
            if equal {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The last part of a column's name: what stands behind the last separator, whatever that is.
fn last_part(field: &str) -> &str {
    let mut parts = field.rsplit(|letter: char| !letter.is_alphanumeric());
    parts.next().unwrap_or(field)
}

/// The name under which change queries tell a column of the natural key.
pub(super) fn value_of<'n>(field: &str, names: &[&'n str]) -> Option<&'n str> {
    let last = last_part(field);
    let before = field[..field.len() - last.len()].trim_end_matches(|c: char| !c.is_alphanumeric());
    let reference = last_part(before);
    let role = reference.strip_suffix("Reference").unwrap_or(reference);
    let with_role = |name: &&&str| {
        let start = name.len().checked_sub(last.len());
        start.is_some_and(|start| {
            start > 0
                && name.is_char_boundary(start)
                && name[start..].eq_ignore_ascii_case(last)
                && name[start..].starts_with(|c: char| c.is_uppercase())
                && role
                    .to_ascii_lowercase()
                    .starts_with(&name[..start].to_ascii_lowercase())
        })
    };
    let behind_role = names.iter().filter(with_role).max_by_key(|name| name.len());
    let by_name = || names.iter().find(|name| name.eq_ignore_ascii_case(last));
    behind_role.or_else(by_name).copied()
}

/// The columns that bear these names, as far as no other could be meant.
pub(super) fn fields_by_name<'a>(
    columns: &'a [&'a str],
    names: &'a [&'a str],
) -> impl Iterator<Item = (&'a str, &'a str)> {
    names.iter().filter_map(|name| {
        let exact = columns.iter().find(|column| *column == name);
        let mut alike = columns.iter().filter(|column| last_part(column) == *name);
        let only = || alike.next().filter(|_| alike.next().is_none());
        Some((*exact.or_else(only)?, *name))
    })
}
