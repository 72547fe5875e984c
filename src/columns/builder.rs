//! A page while it is being read: one node per path, which takes every kind of value side by side.
//!
//! Nothing is known about the types beforehand, and nothing is guessed: a node opens a buffer for
//! a kind when the first value of that kind comes. What they become together is decided when all
//! pages are there (see [`super::statistics`]).

use arrow_array::types::{ArrowPrimitiveType, Float64Type, Int64Type};
use arrow_array::{BooleanArray, PrimitiveArray};
use arrow_buffer::{BooleanBufferBuilder, NullBufferBuilder, OffsetBuffer, ScalarBuffer};

use super::capacity::{CapacityHints, trim};
use super::number::EXACT;
use super::page::{Lists, Node, Values};
use super::room;
use super::shape::ObjectBuilder;
use super::text::TextBuilder;

/// Collects the values of one path. A row that gets no value is null: missing and null keys cost
/// nothing here.
#[derive(Debug)]
pub(super) struct NodeBuilder<'s> {
    hints: &'s CapacityHints,
    first: u32,
    wide: bool,
    raw_numbers: bool,
    booleans: Option<Box<BooleanBuilder>>,
    integers: Option<Box<PrimitiveBuilder<Int64Type>>>,
    floats: Option<Box<PrimitiveBuilder<Float64Type>>>,
    exact: Option<Box<TextBuilder>>,
    numbers: Option<Box<TextBuilder>>,
    strings: Option<Box<TextBuilder>>,
    objects: Option<Box<ObjectBuilder<'s>>>,
    lists: Option<Box<ListBuilder<'s>>>,
}

impl<'s> NodeBuilder<'s> {
    /// A node that is the `first`th to appear in the page.
    pub(super) fn new(first: u32, hints: &'s CapacityHints) -> Self {
        Self {
            hints,
            first,
            wide: false,
            raw_numbers: hints.raw_numbers,
            booleans: None,
            integers: None,
            floats: None,
            exact: None,
            numbers: None,
            strings: None,
            objects: None,
            lists: None,
        }
    }

    /// Whether there may be numbers here of which the text is needed.
    #[inline]
    pub(super) fn raw_numbers(&self) -> bool {
        self.raw_numbers
    }

    /// Whether there were objects or lists.
    pub(super) fn is_nested(&self) -> bool {
        self.objects.is_some() || self.lists.is_some()
    }

    #[inline]
    pub(super) fn push_boolean(&mut self, row: usize, value: bool) {
        self.booleans.get_or_insert_default().push(row, value);
    }

    #[inline]
    pub(super) fn push_integer(&mut self, row: usize, value: i64) {
        self.wide |= value.unsigned_abs() > EXACT;
        self.integers
            .get_or_insert_with(|| Box::new(PrimitiveBuilder::new(self.hints)))
            .push(row, value);
    }

    #[inline]
    pub(super) fn push_float(&mut self, row: usize, value: f64) {
        self.floats
            .get_or_insert_with(|| Box::new(PrimitiveBuilder::new(self.hints)))
            .push(row, value);
    }

    /// The text of a float that has more digits than the float holds.
    #[cold]
    pub(super) fn push_exact(&mut self, row: usize, text: &str) {
        self.exact.get_or_insert_default().push(row, text);
    }

    /// A number that neither an integer nor a float holds.
    pub(super) fn push_number(&mut self, row: usize, text: &str) {
        self.numbers
            .get_or_insert_with(|| Box::new(TextBuilder::new(self.hints)))
            .push(row, text);
    }

    #[inline]
    pub(super) fn push_string(&mut self, row: usize, text: &str) {
        self.strings
            .get_or_insert_with(|| Box::new(TextBuilder::new(self.hints)))
            .push(row, text);
    }

    #[inline]
    pub(super) fn objects(&mut self) -> &mut ObjectBuilder<'s> {
        self.objects
            .get_or_insert_with(|| Box::new(ObjectBuilder::new(self.hints)))
    }

    #[inline]
    pub(super) fn lists(&mut self) -> &mut ListBuilder<'s> {
        self.lists
            .get_or_insert_with(|| Box::new(ListBuilder::new(self.hints)))
    }

    /// How many cells it has in a space of `rows` rows.
    pub(super) fn cells(&self, rows: usize) -> u64 {
        let own = [
            self.booleans.is_some(),
            self.integers.is_some(),
            self.floats.is_some(),
            self.exact.is_some(),
            self.numbers.is_some(),
            self.strings.is_some(),
        ];
        let own = own.iter().filter(|is_there| **is_there).count() as u64;
        let objects = self.objects.as_ref();
        let lists = self.lists.as_ref();
        (own.saturating_mul(rows as u64))
            .saturating_add(objects.map_or(0, |objects| objects.cells(rows)))
            .saturating_add(lists.map_or(0, |lists| lists.cells(rows)))
    }

    /// The finished node in a space of `rows` rows.
    pub(super) fn finish(self, rows: usize) -> Node {
        let mut values = Vec::new();
        if let Some(booleans) = self.booleans {
            values.push(Values::Booleans(booleans.finish(rows)));
        }
        if let Some(integers) = self.integers {
            values.push(Values::Integers(integers.finish(rows)));
        }
        if let Some(floats) = self.floats {
            values.push(Values::Floats(floats.finish(rows)));
        }
        if let Some(numbers) = self.numbers {
            values.push(Values::Numbers(numbers.finish(rows)));
        }
        if let Some(strings) = self.strings {
            values.push(Values::Strings(strings.finish(rows)));
        }
        if let Some(objects) = self.objects {
            values.push(Values::Objects(objects.finish(rows)));
        }
        if let Some(lists) = self.lists {
            values.push(Values::Lists(lists.finish(rows)));
        }
        Node {
            first: self.first,
            wide: self.wide,
            exact: self.exact.map(|exact| exact.finish(rows)),
            values,
        }
    }
}

/// Numbers of one type.
#[derive(Debug)]
struct PrimitiveBuilder<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    nulls: NullBufferBuilder,
}

impl<T: ArrowPrimitiveType> PrimitiveBuilder<T> {
    fn new(hints: &CapacityHints) -> Self {
        Self {
            values: Vec::with_capacity(hints.rows),
            nulls: NullBufferBuilder::new(hints.rows),
        }
    }

    #[inline]
    fn push(&mut self, row: usize, value: T::Native) {
        if self.values.len() < row {
            self.pad(row);
        }
        self.values.push(value);
        self.nulls.append_non_null();
    }

    #[cold]
    fn pad(&mut self, rows: usize) {
        if !room::take(rows - self.values.len()) {
            return;
        }
        self.nulls.append_n_nulls(rows - self.values.len());
        self.values.resize(rows, T::Native::default());
    }

    fn finish(mut self, rows: usize) -> PrimitiveArray<T> {
        if self.values.len() < rows {
            self.pad(rows);
        }
        trim(&mut self.values);
        PrimitiveArray::new(ScalarBuffer::from(self.values), self.nulls.build())
    }
}

#[derive(Debug)]
struct BooleanBuilder {
    values: BooleanBufferBuilder,
    nulls: NullBufferBuilder,
}

impl Default for BooleanBuilder {
    fn default() -> Self {
        Self {
            values: BooleanBufferBuilder::new(0),
            nulls: NullBufferBuilder::new(0),
        }
    }
}

impl BooleanBuilder {
    #[inline]
    fn push(&mut self, row: usize, value: bool) {
        self.pad(row);
        self.values.append(value);
        self.nulls.append_non_null();
    }

    fn pad(&mut self, rows: usize) {
        let missing = rows - self.values.len();
        if missing > 0 && room::take(missing) {
            self.values.append_n(missing, false);
            self.nulls.append_n_nulls(missing);
        }
    }

    fn finish(mut self, rows: usize) -> BooleanArray {
        self.pad(rows);
        BooleanArray::new(self.values.build(), self.nulls.build())
    }
}

/// Lists. Their elements are a space of rows of their own.
#[derive(Debug)]
pub(super) struct ListBuilder<'s> {
    offsets: Vec<i64>,
    nulls: NullBufferBuilder,
    child: NodeBuilder<'s>,
}

impl<'s> ListBuilder<'s> {
    fn new(hints: &'s CapacityHints) -> Self {
        let mut offsets = Vec::with_capacity(hints.rows + 1);
        offsets.push(0);
        Self {
            offsets,
            nulls: NullBufferBuilder::new(hints.rows),
            child: NodeBuilder::new(0, hints.elements()),
        }
    }

    /// The node of the elements, and the row there of the next element.
    #[inline]
    pub(super) fn open(&mut self) -> (&mut NodeBuilder<'s>, usize) {
        let next = self.end() as usize;
        (&mut self.child, next)
    }

    /// The list of a row is complete; `end` is the row after its last element.
    #[inline]
    pub(super) fn close(&mut self, row: usize, end: usize) {
        self.pad(row);
        self.offsets.push(end as i64);
        self.nulls.append_non_null();
    }

    fn cells(&self, rows: usize) -> u64 {
        let elements = self.child.cells(self.end() as usize);
        elements.saturating_add(rows as u64)
    }

    fn end(&self) -> i64 {
        self.offsets[self.offsets.len() - 1]
    }

    fn pad(&mut self, rows: usize) {
        let missing = rows + 1 - self.offsets.len();
        if missing > 0 && room::take(missing) {
            self.offsets.resize(rows + 1, self.end());
            self.nulls.append_n_nulls(missing);
        }
    }

    fn finish(mut self, rows: usize) -> Lists {
        self.pad(rows);
        trim(&mut self.offsets);
        let elements = self.end() as usize;
        Lists {
            offsets: OffsetBuffer::new(ScalarBuffer::from(self.offsets)),
            nulls: self.nulls.build(),
            child: Box::new(self.child.finish(elements)),
        }
    }
}
