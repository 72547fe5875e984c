//! What all pages have together: the kinds of value of every path, and the types these become.

use polars::prelude::{DataType, Field, Schema};

use super::given::Given;
use super::names::Names;
use super::page::{Node, Objects, Page, Values};
use super::record::Record;
use crate::Result;

/// The union of what pages have: paths, kinds of value, order of first appearance.
///
/// Add the pages in the order of their records: then columns and types depend on the records
/// alone, not on where a page ends or which came first over the network.
#[derive(Debug, Default)]
pub struct Layout {
    pub(super) root: Seen,
    pub(super) given: Option<Given>,
    pages: u64,
}

impl Layout {
    /// A layout of nothing: a plan of it has no columns.
    pub fn new() -> Self {
        Self::default()
    }

    /// A layout of given columns, which no page changes.
    ///
    /// A field is found in a record by the path that its name is, split at `separator`; the
    /// fields of a `Struct` become columns of their own, of which the name is the path. Its plan
    /// has one more column at the end, `_unknown`, see [`Layout::plan`].
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) names a column whose dtype no JSON value has
    /// (Binary, Duration, Array, Object, 128-bit integers, 16-bit floats).
    pub fn from_schema(schema: &Schema, separator: &str) -> Result<Self> {
        Ok(Self::of_given(Given::new(schema, separator)?))
    }

    pub(super) fn of_given(given: Given) -> Self {
        Self {
            given: Some(given),
            ..Self::default()
        }
    }

    /// A layout of the columns of a record, which no page changes; `_unknown` stands at the end as
    /// in [`Layout::from_schema`].
    pub(crate) fn from_record(record: &Record, separator: &str) -> Self {
        Self::of_given(Given::of_record(record, separator))
    }

    /// Adds what a page has, the page that follows all those added before.
    pub fn add(&mut self, page: &Page) {
        if self.given.is_some() {
            return;
        }
        self.root.kinds.objects |= !page.is_empty();
        self.root.add_objects(&page.root, self.pages << 32);
        self.pages += 1;
    }
}

/// Everything that was seen at one path.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// When the path was first seen: the page in the upper half, its node in the lower.
    pub(super) first: u64,
    kinds: Kinds,
    pub(super) names: Names,
    pub(super) children: Vec<Seen>,
    element: Option<Box<Seen>>,
}

/// Which kinds of value were seen. Nulls need no mention: they go with everything.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Kinds {
    booleans: bool,
    integers: bool,
    /// Integers that a 64-bit float does not hold exactly.
    wide: bool,
    floats: bool,
    /// Numbers that are neither.
    numbers: bool,
    strings: bool,
    objects: bool,
    lists: bool,
}

impl Seen {
    fn add(&mut self, node: &Node, page: u64) {
        self.kinds.wide |= node.wide;
        for values in &node.values {
            match values {
                Values::Booleans(_) => self.kinds.booleans = true,
                Values::Integers(_) => self.kinds.integers = true,
                Values::Floats(_) => self.kinds.floats = true,
                Values::Numbers(_) => self.kinds.numbers = true,
                Values::Strings(_) => self.kinds.strings = true,
                Values::Objects(objects) => {
                    self.kinds.objects = true;
                    self.add_objects(objects, page);
                }
                Values::Lists(lists) => {
                    self.kinds.lists = true;
                    self.element.get_or_insert_default().add(&lists.child, page);
                }
            }
        }
    }

    fn add_objects(&mut self, objects: &Objects, page: u64) {
        for (guess, (name, node)) in objects.names.iter().zip(&objects.children).enumerate() {
            let position = self.names.find(name, guess).unwrap_or_else(|| {
                self.children.push(Self {
                    first: page | u64::from(node.first),
                    ..Self::default()
                });
                self.names.push(name)
            });
            self.children[position].add(node, page);
        }
    }

    /// Whether the path is an object wherever it is not null, and one with properties: then its
    /// place is taken by the columns of these.
    pub(super) fn is_flattened(&self) -> bool {
        let objects = Kinds {
            objects: true,
            ..Kinds::default()
        };
        self.kinds == objects && !self.children.is_empty()
    }

    /// The type that holds every value of the path.
    pub(super) fn resolve(&self) -> Type {
        let seen = self.kinds;
        let kinds = [
            seen.booleans,
            seen.integers || seen.floats,
            seen.numbers,
            seen.strings,
            seen.objects,
            seen.lists,
        ];
        match kinds {
            [false, false, false, false, false, false] => Type::Null,
            [true, false, false, false, false, false] => Type::Boolean,
            [false, true, false, false, false, false] => match (seen.integers, seen.floats) {
                (true, true) if seen.wide => Type::String,
                (_, true) => Type::Float,
                _ => Type::Integer,
            },
            // Polars has no use for a struct without fields.
            [false, false, false, false, true, false] if self.children.is_empty() => Type::Null,
            [false, false, false, false, true, false] => {
                let children = self.children.iter().map(Self::resolve);
                Type::Struct(self.names.iter().map(Into::into).zip(children).collect())
            }
            [false, false, false, false, false, true] => {
                let element = self.element.as_ref();
                Type::List(Box::new(element.map_or(Type::Null, |seen| seen.resolve())))
            }
            _ => Type::String,
        }
    }
}

/// The type of a column that was inferred.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Type {
    Null,
    Boolean,
    Integer,
    Float,
    /// Strings as they are, everything else as canonical JSON.
    String,
    List(Box<Type>),
    Struct(Vec<(Box<str>, Type)>),
}

impl Type {
    pub(super) fn to_polars(&self) -> DataType {
        match self {
            Self::Null => DataType::Null,
            Self::Boolean => DataType::Boolean,
            Self::Integer => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::String => DataType::String,
            Self::List(element) => DataType::List(Box::new(element.to_polars())),
            Self::Struct(fields) => {
                let fields = fields.iter();
                let fields =
                    fields.map(|(name, dtype)| Field::new(name.as_ref().into(), dtype.to_polars()));
                DataType::Struct(fields.collect())
            }
        }
    }
}
