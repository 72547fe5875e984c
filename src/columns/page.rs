//! A page that has been read: its records as a tree of nodes, one per path.

use std::hash::{DefaultHasher, Hasher};
use std::ops::Range;

use arrow_array::{Array, BooleanArray, Float64Array, Int64Array, StringViewArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use serde_json::value::RawValue;

use super::names::Names;
use crate::{Error, Result};

/// The records of one page, taken apart into values by path, types as they came.
///
/// A page is made by a [`PageDecoder`](super::PageDecoder). A [`Layout`](super::Layout) of all
/// pages says which columns and types they have together, and a [`Plan`](super::Plan) turns each
/// page into a frame of these. Values that need no conversion are shared, not copied.
#[derive(Debug)]
pub struct Page {
    len: usize,
    pub(super) root: Objects,
    id: Option<usize>,
    etag: Option<usize>,
    id_hashes: Option<Vec<u64>>,
    state_hashes: Option<Vec<u64>>,
    /// The text of the whole page, where it was kept, and where each record stands in it.
    text: String,
    places: Vec<Range<usize>>,
}

impl Page {
    pub(super) fn new(len: usize, root: Objects) -> Self {
        let mut page = Self {
            len,
            id: root.names.find("id", 0),
            etag: None,
            root,
            id_hashes: None,
            state_hashes: None,
            text: String::new(),
            places: Vec::new(),
        };
        page.id_hashes = (0..len).map(|row| Some(hash(&[page.id(row)?]))).collect();
        page.etag = page.root.names.find("_etag", 0);
        if page.has_etags() {
            page.state_hashes = (0..len).map(|row| page.state_hash(row)).collect();
        }
        page
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the page has no records.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The `id` of a record, if it has one that is a string.
    ///
    /// # Panics
    /// If `row` is not below [`Page::len`].
    pub fn id(&self, row: usize) -> Option<&str> {
        assert!(row < self.len, "the page has {} records", self.len);
        self.text(self.id, row)
    }

    fn text(&self, node: Option<usize>, row: usize) -> Option<&str> {
        match self.root.children[node?].get(row)? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }
}

impl Page {
    pub(super) fn with_places(mut self, places: Vec<Range<usize>>) -> Self {
        self.places = places;
        self
    }

    /// Keeps the text that the page was read from.
    pub(super) fn keep_text(&mut self, text: String) -> Result<()> {
        if self.places.len() != self.len {
            let records: Vec<&RawValue> = serde_json::from_str(&text)
                .map_err(|error| Error::Json(format!("not JSON: {error}")))?;
            let start = text.as_ptr().addr();
            let place = |record: &&RawValue| {
                let first = record.get().as_ptr().addr() - start;
                first..first + record.get().len()
            };
            self.places = records.iter().map(place).collect();
        }
        self.text = text;
        Ok(())
    }

    /// How many different paths its records have.
    pub(crate) fn paths(&self) -> usize {
        self.root.children.iter().map(Node::paths).sum()
    }

    /// The text of a record, where it was kept.
    pub(crate) fn record(&self, row: usize) -> Option<&str> {
        self.text.get(self.places.get(row)?.clone())
    }

    /// A hash of the `id` of each record, if all have one that is a string.
    ///
    /// Different hashes prove different ids. They are made while the ids lie in the cache, by the
    /// thread that reads the page: to compare all ids of a district would keep one core waiting.
    pub(crate) fn id_hashes(&self) -> Option<&[u64]> {
        self.id_hashes.as_deref()
    }

    /// Whether any record has an `_etag`.
    pub(crate) fn has_etags(&self) -> bool {
        self.etag.is_some()
    }

    /// The hash of the `id` and the `_etag` of a record that has an `id`.
    pub(crate) fn state_hash(&self, row: usize) -> Option<u64> {
        let etag = self.text(self.etag, row).unwrap_or_default();
        Some(hash(&[self.id(row)?, etag]))
    }

    /// The same of `id` and `_etag`, where there are any: a record that was changed meanwhile has
    /// another.
    pub(crate) fn state_hashes(&self) -> Option<&[u64]> {
        self.state_hashes.as_deref()
    }

    /// The `changeVersion` of a record, if it has one that is a whole number, or the text of one.
    pub(crate) fn change_version(&self, row: usize) -> Option<i64> {
        let node = self.root.names.find("changeVersion", 0)?;
        match self.root.children[node].get(row)? {
            Value::Integer(version) => Some(version),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        }
    }
}

fn hash(texts: &[&str]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for text in texts {
        hasher.write(text.as_bytes());
    }
    hasher.finish()
}

/// All values of one path. A row has a value of one kind at most; null and missing have none.
#[derive(Debug)]
pub(super) struct Node {
    /// The how many-th node of the page this was to appear.
    pub(super) first: u32,
    /// Whether there is an integer that a 64-bit float does not hold exactly.
    pub(super) wide: bool,
    /// The texts of the floats that have more digits than a float holds, if there are any.
    pub(super) exact: Option<StringViewArray>,
    /// One entry for each kind of value that there is.
    pub(super) values: Vec<Values>,
}

/// All values of one kind of one path.
#[derive(Debug)]
pub(super) enum Values {
    Booleans(BooleanArray),
    Integers(Int64Array),
    Floats(Float64Array),
    /// Numbers that are neither, as they are written.
    Numbers(StringViewArray),
    Strings(StringViewArray),
    Objects(Objects),
    Lists(Lists),
}

/// One value of a node.
#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Number(&'a str),
    String(&'a str),
    Object(&'a Objects),
    List(&'a Node, Range<usize>),
}

impl Node {
    /// The value of a row; `None` is null, or that there is none.
    pub(super) fn get(&self, row: usize) -> Option<Value<'_>> {
        self.values.iter().find_map(|values| values.get(row))
    }

    /// The text of the float of a row, if it has more digits than a float holds.
    pub(super) fn exact(&self, row: usize) -> Option<&str> {
        let exact = self.exact.as_ref()?;
        exact.is_valid(row).then(|| exact.value(row))
    }

    /// Whether every value is an object.
    pub(super) fn holds_objects_alone(&self) -> bool {
        let mut values = self.values.iter();
        values.all(|values| matches!(values, Values::Objects(_)))
    }

    /// How many paths there are from here on.
    fn paths(&self) -> usize {
        let objects = self
            .objects()
            .map_or(0, |objects| objects.children.iter().map(Self::paths).sum());
        1 + objects + self.lists().map_or(0, |lists| lists.child.paths())
    }

    /// The lists among the values.
    pub(super) fn lists(&self) -> Option<&Lists> {
        self.values.iter().find_map(|values| match values {
            Values::Lists(lists) => Some(lists),
            _ => None,
        })
    }

    /// The objects among the values.
    pub(super) fn objects(&self) -> Option<&Objects> {
        self.values.iter().find_map(|values| match values {
            Values::Objects(objects) => Some(objects),
            _ => None,
        })
    }
}

impl Values {
    fn get(&self, row: usize) -> Option<Value<'_>> {
        match self {
            Self::Booleans(array) => array
                .is_valid(row)
                .then(|| Value::Boolean(array.value(row))),
            Self::Integers(array) => array
                .is_valid(row)
                .then(|| Value::Integer(array.value(row))),
            Self::Floats(array) => array.is_valid(row).then(|| Value::Float(array.value(row))),
            Self::Numbers(array) => array.is_valid(row).then(|| Value::Number(array.value(row))),
            Self::Strings(array) => array.is_valid(row).then(|| Value::String(array.value(row))),
            Self::Objects(objects) => (objects.rows[row] > 0).then_some(Value::Object(objects)),
            Self::Lists(lists) => lists
                .range(row)
                .map(|range| Value::List(&lists.child, range)),
        }
    }
}

/// The objects of one path. Their children have the same rows.
#[derive(Debug)]
pub(super) struct Objects {
    pub(super) names: Names,
    pub(super) children: Vec<Node>,
    shapes: Vec<(u32, u32)>,
    /// Per row the shape of the object plus one, 0 where there is no object.
    rows: Vec<u32>,
}

impl Objects {
    pub(super) fn new(
        names: Names,
        children: Vec<Node>,
        shapes: Vec<(u32, u32)>,
        rows: Vec<u32>,
    ) -> Self {
        Self {
            names,
            children,
            shapes,
            rows,
        }
    }

    /// The child of a name; `guess` is the position looked at first.
    pub(super) fn child(&self, name: &str, guess: usize) -> Option<&Node> {
        self.names
            .find(name, guess)
            .map(|position| &self.children[position])
    }

    /// The positions of the keys of the object of a row, in their order there.
    pub(super) fn fields(&self, row: usize) -> Vec<usize> {
        let mut fields = Vec::new();
        let mut shape = self.rows[row].saturating_sub(1);
        while shape != 0 {
            let (before, field) = self.shapes[shape as usize];
            fields.push(field as usize);
            shape = before;
        }
        fields.reverse();
        fields
    }

    /// The rows without an object, if there are any.
    pub(super) fn nulls(&self) -> Option<NullBuffer> {
        let nulls: NullBuffer = self.rows.iter().map(|&shape| shape > 0).collect();
        (nulls.null_count() > 0).then_some(nulls)
    }
}

/// The lists of one path. Their elements have rows of their own.
#[derive(Debug)]
pub(super) struct Lists {
    pub(super) offsets: OffsetBuffer<i64>,
    pub(super) nulls: Option<NullBuffer>,
    pub(super) child: Box<Node>,
}

impl Lists {
    /// The number of elements of all lists together.
    pub(super) fn elements(&self) -> usize {
        self.offsets[self.offsets.len() - 1] as usize
    }

    /// The elements of the list of a row, if there is one.
    pub(super) fn range(&self, row: usize) -> Option<Range<usize>> {
        let valid = self.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        valid.then(|| self.offsets[row] as usize..self.offsets[row + 1] as usize)
    }
}
