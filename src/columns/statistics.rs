//! Type statistics: the kinds of value of every path of all pages, and the type that holds them.

use super::names::Names;
use super::page::{Node, Objects, Page, Values};
use super::types::Type;

/// What was seen at one path.
#[derive(Debug, Default)]
pub(super) struct Statistics {
    /// When the path was first seen: the page in the upper half, its node in the lower.
    first: u64,
    kinds: Kinds,
    names: Names,
    children: Vec<Statistics>,
    element: Option<Box<Statistics>>,
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

/// Objects, and nothing else.
const OBJECTS: Kinds = Kinds {
    booleans: false,
    integers: false,
    wide: false,
    floats: false,
    numbers: false,
    strings: false,
    objects: true,
    lists: false,
};

impl Statistics {
    /// Adds the records of a page, the one after those added before.
    pub(super) fn add_page(&mut self, page: &Page, number: u64) {
        self.kinds.objects |= !page.is_empty();
        self.add_objects(&page.root, number << 32);
    }

    /// The columns that the records become, in the order in which they were first seen: the path of
    /// each, and its type.
    pub(super) fn leaves(&self) -> Vec<(Vec<Box<str>>, Type)> {
        let mut leaves = Vec::new();
        self.gather(&mut Vec::new(), &mut leaves);
        leaves.sort_by_key(|(_, leaf)| leaf.first);
        let leaves = leaves.into_iter();
        leaves.map(|(path, leaf)| (path, leaf.resolve())).collect()
    }

    fn gather<'a>(&'a self, path: &mut Vec<Box<str>>, leaves: &mut Vec<(Vec<Box<str>>, &'a Self)>) {
        for (name, child) in self.names.iter().zip(&self.children) {
            path.push(name.into());
            if child.is_flattened() {
                child.gather(path, leaves);
            } else {
                leaves.push((path.clone(), child));
            }
            path.pop();
        }
    }

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
    fn is_flattened(&self) -> bool {
        self.kinds == OBJECTS && !self.children.is_empty()
    }

    /// The type of the elements of lists. An object without properties is not nothing there.
    fn resolve_element(&self) -> Type {
        match self.kinds == OBJECTS && self.children.is_empty() {
            true => Type::Struct(Vec::new()),
            false => self.resolve(),
        }
    }

    /// The type that holds every value of the path.
    fn resolve(&self) -> Type {
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
                Type::List(Box::new(
                    element.map_or(Type::Null, |seen| seen.resolve_element()),
                ))
            }
            _ => Type::String,
        }
    }
}
