//! A declared schema: columns that never depend on the data, and `_unknown` for the overflow.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, StringViewArray};
use polars::prelude::{DataType, Schema};

use super::cast::Cast;
use super::found::Found;
#[cfg(feature = "python")]
use super::found::Told;
use super::names::Names;
use super::overflow::{FieldOverflow, Overflow};
use super::page::{Node, Objects, Page, Value};
use super::paths::{UNKNOWN, split};
use super::projection::Projection;
use super::text::TextBuilder;
use super::types::Type;
use crate::openapi::{Kind, Record};
use crate::{Error, Result};

/// A declared schema, ready for pages.
#[derive(Debug, Clone)]
pub(super) struct DeclaredSchema {
    pub(super) columns: Vec<DeclaredColumn>,
    root: PathNode,
    /// Whether `_unknown` is one of the arrays.
    unknown: bool,
    /// Whether a value that does not fit its column is an error.
    strict: bool,
}

/// One column of the schema.
#[derive(Debug, Clone)]
pub(super) struct DeclaredColumn {
    pub(super) name: String,
    pub(super) dtype: DataType,
    cast: Cast,
}

impl DeclaredColumn {
    /// Whether the array that is built has another dtype than the column, one that Polars casts.
    pub(super) fn is_cast(&self) -> bool {
        fn contains(dtype: &DataType) -> bool {
            match dtype {
                DataType::Categorical(..) | DataType::Enum(..) => true,
                DataType::List(inner) => contains(inner),
                DataType::Struct(fields) => fields.iter().any(|field| contains(field.dtype())),
                _ => false,
            }
        }
        contains(&self.dtype)
    }
}

/// What the schema knows of one path: a column, properties below it, or both.
#[derive(Debug, Clone, Default)]
struct PathNode {
    column: Option<usize>,
    names: Names,
    members: Vec<PathNode>,
}

impl PathNode {
    fn member(&mut self, name: &str) -> &mut Self {
        let position = self.names.find(name, 0).unwrap_or_else(|| {
            self.members.push(Self::default());
            self.names.push(name)
        });
        &mut self.members[position]
    }

    /// Objects go to the properties below a path, also where a column of it would take them.
    fn leave_objects_to_members(&self, columns: &mut [DeclaredColumn]) {
        if let Some(column) = self.column.filter(|_| !self.members.is_empty()) {
            columns[column].cast.refuse_objects();
        }
        for member in &self.members {
            member.leave_objects_to_members(columns);
        }
    }

    /// What leads to these columns, of which each gets the position given.
    fn select(&self, positions: &HashMap<usize, usize>) -> Self {
        let mut selected = Self {
            column: self
                .column
                .and_then(|column| positions.get(&column).copied()),
            ..Self::default()
        };
        for (name, member) in self.names.iter().zip(&self.members) {
            let member = member.select(positions);
            if member.column.is_some() || !member.members.is_empty() {
                selected.names.push(name);
                selected.members.push(member);
            }
        }
        selected
    }

    #[cfg(feature = "python")]
    fn add_paths(&self, path: &mut Vec<Box<str>>, paths: &mut [Vec<Box<str>>]) {
        if let Some(column) = self.column {
            paths[column].clone_from(path);
        }
        for (name, member) in self.names.iter().zip(&self.members) {
            path.push(name.into());
            member.add_paths(path, paths);
            path.pop();
        }
    }

    fn add_to_projection(&self, columns: &[DeclaredColumn], projection: &mut Projection) {
        if let Some(column) = self.column {
            projection.add_cast(&columns[column].cast);
        }
        for (name, member) in self.names.iter().zip(&self.members) {
            member.add_to_projection(columns, projection.member(name));
        }
    }
}

impl DeclaredSchema {
    /// Of `_unknown` alone.
    fn empty() -> Self {
        Self {
            columns: Vec::new(),
            root: PathNode::default(),
            unknown: true,
            strict: false,
        }
    }

    pub(super) fn new(schema: &Schema, separator: &str) -> Result<Self> {
        let mut declared = Self::empty();
        for (name, dtype) in schema.iter() {
            // A schema that was taken from an earlier result has it already.
            if name == UNKNOWN && *dtype == DataType::String {
                continue;
            }
            let mut at = &mut declared.root;
            for name in split(name, separator)? {
                at = at.member(name);
            }
            add(
                &mut declared.columns,
                at,
                name.to_string(),
                dtype,
                separator,
            )?;
        }
        declared
            .root
            .leave_objects_to_members(&mut declared.columns);
        Ok(declared)
    }

    /// The leaves of a record, each found by its own path: a separator within a name is no matter.
    pub(super) fn of_record(record: &Record, separator: &str) -> Self {
        let mut declared = Self::empty();
        add_record(
            &mut declared.columns,
            &mut declared.root,
            "",
            record,
            separator,
        );
        declared
    }

    /// Columns that were inferred from some of the records, each with its path. A value of another
    /// record that does not fit is an error: nobody declared that it should be null.
    pub(super) fn of_leaves(leaves: Vec<(Vec<Box<str>>, Type)>, separator: &str) -> Self {
        let mut declared = Self {
            strict: true,
            ..Self::empty()
        };
        for (path, dtype) in leaves {
            let dtype = dtype.open();
            let cast = Cast::of_type(&dtype);
            declared.push(&path, separator, dtype.to_polars(), cast);
        }
        declared
    }

    /// What another process needs to have the same; `None` of columns that somebody declared.
    #[cfg(feature = "python")]
    pub(super) fn found(&self) -> Option<Found> {
        let mut paths = vec![Vec::new(); self.columns.len()];
        self.root.add_paths(&mut Vec::new(), &mut paths);
        let columns = paths.into_iter().zip(&self.columns);
        let columns = columns.map(|(path, column)| Some((path, Told::of_cast(&column.cast)?)));
        Some(Found {
            columns: columns.collect::<Option<_>>()?,
            strict: self.strict,
        })
    }

    pub(super) fn of_found(found: Found, separator: &str) -> Self {
        let mut declared = Self {
            strict: found.strict,
            ..Self::empty()
        };
        for (path, told) in found.columns {
            let kind = told.kind();
            declared.push(&path, separator, kind.dtype(), Cast::of_kind(&kind));
        }
        declared
    }

    /// Adds the column at a path.
    fn push(&mut self, path: &[Box<str>], separator: &str, dtype: DataType, cast: Cast) {
        let root = &mut self.root;
        let at = path.iter().fold(root, |at, name| at.member(name));
        at.column = Some(self.columns.len());
        self.columns.push(DeclaredColumn {
            name: path.join(separator),
            dtype,
            cast,
        });
    }

    /// Some of the columns, without `_unknown`.
    pub(super) fn select(&self, columns: &[usize]) -> Self {
        Self {
            columns: columns
                .iter()
                .map(|column| self.columns[*column].clone())
                .collect(),
            root: self
                .root
                .select(&columns.iter().copied().zip(0..).collect()),
            unknown: false,
            strict: self.strict,
        }
    }

    /// What the columns are made of; `None` is everything.
    pub(super) fn projection(&self) -> Option<Projection> {
        (!self.unknown).then(|| {
            let mut projection = Projection::default();
            self.root.add_to_projection(&self.columns, &mut projection);
            projection
        })
    }

    /// The columns of a page, `_unknown` the last of them if there is one.
    pub(super) fn arrays(&self, page: &Page) -> Result<Vec<ArrayRef>> {
        let mut columns = vec![None; self.columns.len()];
        let overflow = self.split_objects(&self.root, &page.root, page.len(), &mut columns);
        if self.strict
            && let Some(path) = overflow.misfit(&page.root)
        {
            return Err(Error::ColumnType(format!(
                "'{}' has another type here than in the records that its column was inferred \
                 from; give schema= with a type that holds both (pl.String holds texts, and \
                 objects and lists as JSON)",
                path.join(".")
            )));
        }
        let mut arrays: Vec<ArrayRef> = columns
            .into_iter()
            .zip(&self.columns)
            .map(|(array, column)| array.unwrap_or_else(|| column.cast.array(None, page.len()).0))
            .collect();
        if self.unknown {
            arrays.push(Arc::new(unknown(&overflow, page)));
        }
        Ok(arrays)
    }

    fn split_objects(
        &self,
        at: &PathNode,
        objects: &Objects,
        rows: usize,
        columns: &mut [Option<ArrayRef>],
    ) -> FieldOverflow {
        let mut overflow = FieldOverflow::new(Some(objects));
        for (guess, (name, at)) in at.names.iter().zip(&at.members).enumerate() {
            if let Some(position) = objects.names.find(name, guess) {
                let node = &objects.children[position];
                overflow.set(position, self.split_node(at, node, rows, columns));
            }
        }
        overflow
    }

    fn split_node(
        &self,
        at: &PathNode,
        node: &Node,
        rows: usize,
        columns: &mut [Option<ArrayRef>],
    ) -> Overflow {
        let mut overflow = Overflow::default();
        if let Some(column) = at.column {
            let (array, left) = self.columns[column].cast.array(Some(node), rows);
            columns[column] = Some(array);
            overflow = left;
        }
        if at.members.is_empty() {
            return overflow;
        }
        // Objects go to the properties below, everything else to the column, if there is one.
        if !self.unknown && !self.strict {
            // Nobody asks for what is left over.
        } else if at.column.is_some() {
            overflow.unmark(|row| matches!(node.get(row), Some(Value::Object(_))));
        } else if !node.holds_objects_alone() {
            for row in 0..rows {
                if !matches!(node.get(row), None | Some(Value::Object(_))) {
                    overflow.mark(row, rows);
                }
            }
        }
        if let Some(objects) = node.objects() {
            overflow.set_fields(self.split_objects(at, objects, rows, columns));
        }
        overflow
    }
}

/// Adds a column for each leaf of a record.
fn add_record(
    columns: &mut Vec<DeclaredColumn>,
    at: &mut PathNode,
    prefix: &str,
    record: &Record,
    separator: &str,
) {
    for (name, kind) in record.fields() {
        let at = at.member(name);
        let name = match prefix {
            "" => name.to_string(),
            prefix => format!("{prefix}{separator}{name}"),
        };
        match kind {
            Kind::Struct(record) => add_record(columns, at, &name, record, separator),
            kind => {
                at.column = Some(columns.len());
                columns.push(DeclaredColumn {
                    name,
                    dtype: kind.dtype(),
                    cast: Cast::of_kind(kind),
                });
            }
        }
    }
}

/// Adds a column for each leaf of a dtype.
fn add(
    columns: &mut Vec<DeclaredColumn>,
    at: &mut PathNode,
    name: String,
    dtype: &DataType,
    separator: &str,
) -> Result<()> {
    match dtype {
        DataType::Struct(fields) if !fields.is_empty() => {
            for field in fields {
                let at = at.member(field.name());
                let name = format!("{name}{separator}{}", field.name());
                add(columns, at, name, field.dtype(), separator)?;
            }
        }
        _ => {
            let Some(cast) = Cast::new(dtype) else {
                return Err(Error::Config(format!(
                    "schema: column '{name}' has the dtype {dtype}, which JSON values cannot be \
                     read into"
                )));
            };
            if at.column.is_some() {
                return Err(Error::Config(format!(
                    "schema: '{name}' stands in it twice, once as a field of a Struct"
                )));
            }
            at.column = Some(columns.len());
            columns.push(DeclaredColumn {
                name,
                dtype: dtype.clone(),
                cast,
            });
        }
    }
    Ok(())
}

fn unknown(overflow: &FieldOverflow, page: &Page) -> StringViewArray {
    let mut texts = TextBuilder::default();
    if !overflow.is_empty() {
        let mut json = Vec::new();
        for row in 0..page.len() {
            json.clear();
            if overflow.write(&mut json, &page.root, row) {
                texts.push(row, std::str::from_utf8(&json).unwrap_or_default());
            }
        }
    }
    texts.finish(page.len())
}
