//! A schema that is given: columns that never depend on the data, and `_unknown` for the rest.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::{ArrayRef, StringViewArray};
use polars::prelude::{DataType, Field, PlSmallStr, Schema};

use super::fit::Fit;
use super::interop::string_array;
use super::names::Names;
use super::page::{Node, Objects, Page, Value};
use super::plan::free_name;
use super::record::{Kind, Record};
use super::rest::{Rest, Rests};
use super::schema::Type;
use super::text::TextBuilder;
use super::wanted::Wanted;
use crate::{Error, Result};

/// The name of the column of what the schema has no place for.
pub(super) const UNKNOWN: &str = "_unknown";

/// A given schema, ready for pages.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) columns: Vec<Place>,
    root: Group,
    /// Whether `_unknown` is one of the arrays.
    unknown: bool,
}

/// One column of the schema.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) dtype: DataType,
    fit: Fit,
}

impl Place {
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
struct Group {
    column: Option<usize>,
    names: Names,
    members: Vec<Group>,
}

impl Group {
    fn member(&mut self, name: &str) -> &mut Self {
        let position = self.names.find(name, 0).unwrap_or_else(|| {
            self.members.push(Self::default());
            self.names.push(name)
        });
        &mut self.members[position]
    }

    /// What leads to these columns, of which each gets its position there.
    fn select(&self, columns: &[usize]) -> Self {
        let mut selected = Self {
            column: self
                .column
                .and_then(|column| columns.iter().position(|chosen| *chosen == column)),
            ..Self::default()
        };
        for (name, member) in self.names.iter().zip(&self.members) {
            let member = member.select(columns);
            if member.column.is_some() || !member.members.is_empty() {
                selected.names.push(name);
                selected.members.push(member);
            }
        }
        selected
    }

    fn add_wanted(&self, columns: &[Place], wanted: &mut Wanted) {
        if let Some(column) = self.column {
            wanted.add_fit(&columns[column].fit);
        }
        for (name, member) in self.names.iter().zip(&self.members) {
            member.add_wanted(columns, wanted.member(name));
        }
    }
}

impl Given {
    pub(super) fn new(schema: &Schema, separator: &str) -> Result<Self> {
        let mut given = Self {
            columns: Vec::new(),
            root: Group::default(),
            unknown: true,
        };
        for (name, dtype) in schema.iter() {
            // A schema that was taken from an earlier result has it already.
            if name == UNKNOWN && *dtype == DataType::String {
                continue;
            }
            let path: Vec<&str> = match separator {
                "" => vec![name],
                _ => name.split(separator).collect(),
            };
            let mut group = &mut given.root;
            for name in path {
                group = group.member(name);
            }
            add(
                &mut given.columns,
                group,
                name.to_string(),
                dtype,
                separator,
            )?;
        }
        Ok(given)
    }

    /// The leaves of a record, each found by its own path: a separator within a name is no matter.
    pub(super) fn of_record(record: &Record, separator: &str) -> Self {
        let mut given = Self {
            columns: Vec::new(),
            root: Group::default(),
            unknown: true,
        };
        add_record(&mut given.columns, &mut given.root, "", record, separator);
        given
    }

    /// Inferred columns, each with its path.
    pub(super) fn of_leaves(
        leaves: impl Iterator<Item = (Vec<Box<str>>, Type)>,
        separator: &str,
    ) -> Self {
        let mut given = Self {
            columns: Vec::new(),
            root: Group::default(),
            unknown: true,
        };
        for (path, dtype) in leaves {
            let root = &mut given.root;
            let group = path.iter().fold(root, |group, name| group.member(name));
            group.column = Some(given.columns.len());
            let mut name = path.join(separator);
            if name == UNKNOWN {
                name.push_str("_record");
            }
            given.columns.push(Place {
                name,
                dtype: dtype.to_polars(),
                fit: Fit::of_type(&dtype),
            });
        }
        given
    }

    /// Some of the columns, without `_unknown`.
    pub(super) fn select(&self, columns: &[usize]) -> Self {
        Self {
            columns: columns
                .iter()
                .map(|column| self.columns[*column].clone())
                .collect(),
            root: self.root.select(columns),
            unknown: false,
        }
    }

    /// What the columns are made of; `None` is everything.
    pub(super) fn wanted(&self) -> Option<Wanted> {
        (!self.unknown).then(|| {
            let mut wanted = Wanted::default();
            self.root.add_wanted(&self.columns, &mut wanted);
            wanted
        })
    }

    /// The names of the columns and of `_unknown`, none of which is `reserved`.
    pub(super) fn names(&self, reserved: &[&str]) -> Vec<PlSmallStr> {
        let mut taken: HashSet<String> = reserved.iter().map(|&name| name.to_owned()).collect();
        let columns = self.columns.iter().map(|place| place.name.clone());
        let names = columns.chain([UNKNOWN.to_owned()]);
        names.map(|name| free_name(name, &mut taken)).collect()
    }

    /// The columns of a page, `_unknown` the last of them if there is one.
    pub(super) fn arrays(&self, page: &Page) -> Vec<ArrayRef> {
        let mut columns = vec![None; self.columns.len()];
        let rests = self.split_objects(&self.root, &page.root, page.len(), &mut columns);
        let mut arrays: Vec<ArrayRef> = columns
            .into_iter()
            .zip(&self.columns)
            .map(|(array, place)| array.unwrap_or_else(|| place.fit.array(None, page.len()).0))
            .collect();
        if self.unknown {
            arrays.push(Arc::new(unknown(&rests, page)));
        }
        arrays
    }

    fn split_objects(
        &self,
        group: &Group,
        objects: &Objects,
        rows: usize,
        columns: &mut [Option<ArrayRef>],
    ) -> Rests {
        let mut rests = Rests::new(Some(objects));
        for (guess, (name, group)) in group.names.iter().zip(&group.members).enumerate() {
            if let Some(position) = objects.names.find(name, guess) {
                let rest = self.split(group, &objects.children[position], rows, columns);
                rests.set(position, rest);
            }
        }
        rests
    }

    fn split(
        &self,
        group: &Group,
        node: &Node,
        rows: usize,
        columns: &mut [Option<ArrayRef>],
    ) -> Rest {
        let mut rest = Rest::default();
        if let Some(column) = group.column {
            let (array, left) = self.columns[column].fit.array(Some(node), rows);
            columns[column] = Some(array);
            rest = left;
        }
        if group.members.is_empty() {
            return rest;
        }
        // Objects go to the properties below, everything else to the column, if there is one.
        if !self.unknown {
            // Nobody asks for the rest.
        } else if group.column.is_some() {
            rest.unmark(|row| matches!(node.get(row), Some(Value::Object(_))));
        } else {
            for row in 0..rows {
                if !matches!(node.get(row), None | Some(Value::Object(_))) {
                    rest.mark(row, rows);
                }
            }
        }
        if let Some(objects) = node.objects() {
            rest.set_fields(self.split_objects(group, objects, rows, columns));
        }
        rest
    }
}

/// Adds a column for each leaf of a record.
fn add_record(
    columns: &mut Vec<Place>,
    group: &mut Group,
    prefix: &str,
    record: &Record,
    separator: &str,
) {
    for (name, kind) in record.fields() {
        let group = group.member(name);
        let name = match prefix {
            "" => name.to_string(),
            prefix => format!("{prefix}{separator}{name}"),
        };
        match kind {
            Kind::Struct(record) => add_record(columns, group, &name, record, separator),
            kind => {
                group.column = Some(columns.len());
                columns.push(Place {
                    name,
                    dtype: kind.dtype(),
                    fit: Fit::of_kind(kind),
                });
            }
        }
    }
}

/// Adds a column for each leaf of a dtype.
fn add(
    columns: &mut Vec<Place>,
    group: &mut Group,
    name: String,
    dtype: &DataType,
    separator: &str,
) -> Result<()> {
    match dtype {
        DataType::Struct(fields) if !fields.is_empty() => {
            for field in fields {
                let group = group.member(field.name());
                let name = format!("{name}{separator}{}", field.name());
                add(columns, group, name, field.dtype(), separator)?;
            }
        }
        _ => {
            let Some(fit) = Fit::new(dtype) else {
                return Err(Error::Config(format!(
                    "schema: column '{name}' has the dtype {dtype}, which JSON values cannot be \
                     read into"
                )));
            };
            if group.column.is_some() {
                return Err(Error::Config(format!(
                    "schema: '{name}' stands in it twice, once as a field of a Struct"
                )));
            }
            group.column = Some(columns.len());
            columns.push(Place {
                name,
                dtype: without_empty_structs(dtype),
                fit,
            });
        }
    }
    Ok(())
}

/// Polars has no use for a struct without fields; it is all null.
fn without_empty_structs(dtype: &DataType) -> DataType {
    match dtype {
        DataType::List(inner) => DataType::List(Box::new(without_empty_structs(inner))),
        DataType::Struct(fields) if fields.is_empty() => DataType::Null,
        DataType::Struct(fields) => DataType::Struct(
            fields
                .iter()
                .map(|field| Field::new(field.name().clone(), without_empty_structs(field.dtype())))
                .collect(),
        ),
        _ => dtype.clone(),
    }
}

fn unknown(rests: &Rests, page: &Page) -> StringViewArray {
    let mut texts = TextBuilder::default();
    if !rests.is_empty() {
        let mut json = Vec::new();
        for row in 0..page.len() {
            json.clear();
            if rests.write(&mut json, &page.root, row) {
                texts.push(row, std::str::from_utf8(&json).unwrap_or_default());
            }
        }
    }
    string_array(texts, page.len())
}
