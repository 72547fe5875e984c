//! The objects of one path: their properties, and which keys each of them had in which order.
//!
//! A *shape* is a sequence of keys, those with a null among them. Records of one resource have
//! few shapes, so a shape is a state and each key leads from state to state: following the last
//! known transitions, a key costs one comparison of bytes, and an object costs four bytes beside its
//! values. With its shape an object can be written again exactly: missing is not null, and the
//! keys keep their order.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::builder::NodeBuilder;
use super::capacity::{CapacityHints, trim};
use super::names::Names;
use super::page::{Node, Objects};
use super::room;

/// How many transitions from a shape are tried before the names are looked up.
const TRANSITIONS: usize = 4;

/// The C data interface, by which columns reach Polars and Python, has no NUL in names.
pub(super) fn without_nul(key: &str) -> Cow<'_, str> {
    match key.contains('\0') {
        true => Cow::Owned(key.replace('\0', "\u{2400}")),
        false => Cow::Borrowed(key),
    }
}

/// A key occurs in one object for the second time.
#[derive(Debug)]
pub(super) struct Duplicate;

/// One state: the keys up to here.
#[derive(Debug)]
struct Shape {
    before: u32,
    field: u32,
    transitions: [(u32, u32); TRANSITIONS],
    known: usize,
}

/// Collects the objects of one path.
#[derive(Debug)]
pub(super) struct ObjectBuilder<'s> {
    hints: &'s CapacityHints,
    names: Names,
    children: Vec<NodeBuilder<'s>>,
    shapes: Vec<Shape>,
    /// The transitions that a shape itself does not hold: (shape, field) -> shape.
    transitions: HashMap<(u32, u32), u32>,
    /// The shape that was added last, and its fields.
    last: (u32, HashSet<u32>),
    /// Per row the shape of the object plus one, 0 where there is no object.
    rows: Vec<u32>,
}

impl Shape {
    fn new(before: u32, field: u32) -> Self {
        Self {
            before,
            field,
            transitions: [(0, 0); TRANSITIONS],
            known: 0,
        }
    }
}

impl<'s> ObjectBuilder<'s> {
    pub(super) fn new(hints: &'s CapacityHints) -> Self {
        Self {
            hints,
            names: Names::default(),
            children: Vec::new(),
            shapes: vec![Shape::new(0, u32::MAX)],
            transitions: HashMap::new(),
            last: (0, HashSet::new()),
            rows: Vec::with_capacity(hints.rows),
        }
    }

    /// The next key of the object that is being read: moves `shape` on and gives the node of the
    /// key. `created` numbers the nodes in the order of their first appearance.
    #[inline]
    pub(super) fn enter(
        &mut self,
        shape: &mut u32,
        key: &str,
        created: &mut u32,
    ) -> Result<&mut NodeBuilder<'s>, Duplicate> {
        let state = &self.shapes[*shape as usize];
        for &(field, next) in &state.transitions[..state.known] {
            if self.names.is(field as usize, key) {
                *shape = next;
                return Ok(&mut self.children[field as usize]);
            }
        }
        self.search(shape, key, created)
    }

    #[inline(never)]
    fn search(
        &mut self,
        shape: &mut u32,
        key: &str,
        created: &mut u32,
    ) -> Result<&mut NodeBuilder<'s>, Duplicate> {
        let key = &*without_nul(key);
        let field = match self.names.find(key, 0) {
            Some(field) => field,
            None => {
                let hints = self.hints.child(key, self.children.len());
                self.children.push(NodeBuilder::new(*created, hints));
                *created += 1;
                self.names.push(key)
            }
        };
        let transition = (*shape, field as u32);
        let next = match self.transitions.get(&transition) {
            Some(&next) => next,
            None => self.add_transition(transition)?,
        };
        *shape = next;
        Ok(&mut self.children[field])
    }

    fn add_transition(
        &mut self,
        transition @ (shape, field): (u32, u32),
    ) -> Result<u32, Duplicate> {
        // From a new shape on, all transitions of an object are new: its fields are gathered once.
        if self.last.0 != shape {
            self.last = (shape, HashSet::new());
            let mut before = shape;
            while before != 0 {
                let state = &self.shapes[before as usize];
                self.last.1.insert(state.field);
                before = state.before;
            }
        }
        if !self.last.1.insert(field) {
            return Err(Duplicate);
        }
        let next = self.shapes.len() as u32;
        self.last.0 = next;
        self.shapes.push(Shape::new(shape, field));
        let state = &mut self.shapes[shape as usize];
        if state.known < TRANSITIONS {
            state.transitions[state.known] = (field, next);
            state.known += 1;
        } else {
            self.transitions.insert(transition, next);
        }
        Ok(next)
    }

    /// The object of a row is complete.
    #[inline]
    pub(super) fn close(&mut self, row: usize, shape: u32) {
        if self.rows.len() < row && room::take(row - self.rows.len()) {
            self.rows.resize(row, 0);
        }
        self.rows.push(shape + 1);
    }

    /// How many cells they have in a space of `rows` rows.
    pub(super) fn cells(&self, rows: usize) -> u64 {
        let children = self.children.iter();
        let below = children.fold(0u64, |sum, child| sum.saturating_add(child.cells(rows)));
        below.saturating_add(rows as u64)
    }

    /// The finished objects in a space of `rows` rows.
    pub(super) fn finish(mut self, rows: usize) -> Objects {
        self.rows.resize(rows, 0);
        trim(&mut self.rows);
        let children = self.children.into_iter();
        let children: Vec<Node> = children.map(|child| child.finish(rows)).collect();
        let shapes = self.shapes.iter().map(|shape| (shape.before, shape.field));
        Objects::new(self.names, children, shapes.collect(), self.rows)
    }
}
