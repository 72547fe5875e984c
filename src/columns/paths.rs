//! The names of columns: paths that a separator joins, none of them twice.

use std::collections::HashSet;

use polars::prelude::PlSmallStr;

/// The name of the column of what a declared schema has no place for.
pub(super) const UNKNOWN: &str = "_unknown";

/// The path that a name is. Without a separator a name is a path of its own.
pub(super) fn split<'a>(name: &'a str, separator: &str) -> Vec<&'a str> {
    match separator {
        "" => vec![name],
        _ => name.split(separator).collect(),
    }
}

/// Names that are given away once each.
#[derive(Debug)]
pub(super) struct FreeNames(HashSet<String>);

impl FreeNames {
    /// These names are taken.
    pub(super) fn new(taken: &[&str]) -> Self {
        Self(taken.iter().map(|&name| name.to_owned()).collect())
    }

    /// Takes a name, with `_record` appended as long as it is taken.
    pub(super) fn take(&mut self, mut name: String) -> PlSmallStr {
        while self.0.contains(&name) {
            name.push_str("_record");
        }
        let free = PlSmallStr::from_str(&name);
        self.0.insert(name);
        free
    }
}
