//! The names of columns: paths that a separator joins, none of them twice.

use std::collections::HashSet;

use polars::prelude::PlSmallStr;

use super::parse::DEPTH;
use crate::{Error, Result};

/// The name of the column of what a declared schema has no place for.
pub(super) const UNKNOWN: &str = "_unknown";

/// The path that a name is. Without a separator a name is a path of its own.
///
/// No name on a path is empty: what would leave one belongs to the name that follows, or to the
/// last one. So `_etag` is one name, whatever the separator, and `a__ext` two.
///
/// # Errors
/// [`Error::Config`] for a path that is deeper than any JSON that is read.
pub(super) fn split<'a>(name: &'a str, separator: &str) -> Result<Vec<&'a str>> {
    let mut path = Vec::new();
    let mut rest = name;
    while let Some((first, after)) = split_first(rest, separator) {
        path.push(first);
        rest = after;
    }
    path.push(rest);
    match path.len() {
        0..=DEPTH => Ok(path),
        parts => Err(Error::Config(format!(
            "the column {:?}... has a name of {parts} parts, more than {DEPTH}",
            path[..3].join(separator)
        ))),
    }
}

fn split_first<'a>(name: &'a str, separator: &str) -> Option<(&'a str, &'a str)> {
    if separator.is_empty() {
        return None;
    }
    let leading = name.len() - name.trim_start_matches(separator).len();
    let end = leading + name[leading..].find(separator)?;
    let after = &name[end + separator.len()..];
    (!after.is_empty()).then_some((&name[..end], after))
}

/// Refuses a part of names with a NUL: the C data interface, by which columns reach Python, has
/// none there.
pub(crate) fn check_part(argument: &str, text: &str) -> Result<()> {
    match text.contains('\0') {
        false => Ok(()),
        true => Err(Error::Config(format!(
            "{argument} must not hold a NUL character"
        ))),
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

#[cfg(test)]
mod tests {
    use super::{DEPTH, split};

    #[test]
    fn no_name_on_a_path_is_empty() {
        for (name, separator, path) in [
            ("a", ".", &["a"][..]),
            ("a.b.c", ".", &["a", "b", "c"]),
            ("a.b.c", "", &["a.b.c"]),
            ("", ".", &[""]),
            ("_etag", "_", &["_etag"]),
            ("_ext_tpdm_gpa", "_", &["_ext", "tpdm", "gpa"]),
            ("school__ext", "_", &["school", "_ext"]),
            ("a_", "_", &["a_"]),
            ("a_b_", "_", &["a", "b_"]),
            ("__", "_", &["__"]),
            ("a->->b", "->", &["a", "->b"]),
        ] {
            assert_eq!(split(name, separator).unwrap(), path, "{name}");
        }
    }

    #[test]
    fn a_name_of_too_many_parts_is_refused() {
        let name = |parts| vec!["a"; parts].join(".");
        assert_eq!(split(&name(DEPTH), ".").unwrap().len(), DEPTH);
        assert!(split(&name(DEPTH + 1), ".").is_err());
        assert_eq!(split(&name(100_000), "/").unwrap().len(), 1);
    }
}
