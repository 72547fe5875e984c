//! Capacity hints: how large the parts of a page became, for the builders of the next one.
//!
//! The pages of a resource are much alike. To let each column of each page grow from nothing
//! would copy it again and again. A guess that is wrong costs some memory until the page is done.

use std::mem;
use std::sync::LazyLock;

use arrow_array::StringViewArray;

use super::names::Names;
use super::page::{Node, Objects, Page, Values};

/// What to expect of a node and of those below it; nothing, where nothing is known.
#[derive(Debug, Default)]
pub(super) struct CapacityHints {
    pub(super) rows: usize,
    /// The bytes of strings that are stored beside their views.
    pub(super) text: usize,
    /// Whether there were numbers, in page after page with this node, that are no 64-bit integers.
    pub(super) raw_numbers: bool,
    /// The properties of objects.
    names: Names,
    children: Vec<CapacityHints>,
    elements: Option<Box<CapacityHints>>,
}

static NONE: LazyLock<CapacityHints> = LazyLock::new(CapacityHints::default);

impl CapacityHints {
    /// The hints of a page, and what was known `before`.
    pub(super) fn of(page: &Page, before: Self) -> Self {
        let mut hints = Self {
            rows: page.len(),
            ..Self::default()
        };
        hints.set_children(&page.root, before.names, before.children);
        hints
    }

    fn of_node(node: &Node, rows: usize, before: Self) -> Self {
        let mut hints = Self {
            rows,
            raw_numbers: before.raw_numbers,
            ..Self::default()
        };
        let (mut names, mut children) = (before.names, before.children);
        let mut elements_before = before.elements;
        for values in &node.values {
            match values {
                Values::Strings(array) => hints.text = stored(array),
                Values::Objects(objects) => {
                    hints.set_children(objects, mem::take(&mut names), mem::take(&mut children));
                }
                Values::Lists(lists) => {
                    let before = elements_before.take().map(|elements| *elements);
                    let count = with_room(lists.elements());
                    let elements = Self::of_node(&lists.child, count, before.unwrap_or_default());
                    hints.elements = Some(Box::new(elements));
                }
                Values::Floats(_) | Values::Numbers(_) => hints.raw_numbers = true,
                Values::Booleans(_) | Values::Integers(_) => {}
            }
        }
        hints
    }

    fn set_children(&mut self, objects: &Objects, before: Names, mut known: Vec<Self>) {
        let children = objects.names.iter().zip(&objects.children).enumerate();
        let children = children.map(|(position, (name, node))| {
            let known = before
                .find(name, position)
                .map(|at| mem::take(&mut known[at]));
            Self::of_node(node, self.rows, known.unwrap_or_default())
        });
        self.children = children.collect();
        self.names = match before == objects.names {
            true => before,
            false => objects.names.clone(),
        };
    }

    /// What to expect of a property; `guess` is the position looked at first.
    pub(super) fn child(&self, name: &str, guess: usize) -> &Self {
        match self.names.find(name, guess) {
            Some(position) => &self.children[position],
            None => &NONE,
        }
    }

    pub(super) fn elements(&self) -> &Self {
        self.elements.as_deref().unwrap_or(&NONE)
    }
}

fn stored(array: &StringViewArray) -> usize {
    with_room(array.data_buffers().iter().map(|block| block.len()).sum())
}

/// What differs from page to page differs by less than this, most often.
fn with_room(size: usize) -> usize {
    size + size / 16
}

/// Gives back memory that was not needed, where it is worth a copy.
pub(super) fn trim<T>(values: &mut Vec<T>) {
    if values.capacity() - values.len() > values.len() / 6 {
        values.shrink_to_fit();
    }
}
