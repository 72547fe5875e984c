//! How large the parts of a page became: what the builders of the next one begin with.
//!
//! The pages of a resource are much alike. To let each column of each page grow from nothing
//! would copy it again and again. A guess that is wrong costs some memory until the page is done.

use arrow::array::StringViewArray;

use super::page::{Node, Objects, Page, Values};

/// What to expect of a node and of those below it; nothing, where nothing is known.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    pub(super) rows: usize,
    /// The bytes of strings that are stored beside their views.
    pub(super) text: usize,
    /// Whether there were numbers, ever, that are no 64-bit integers.
    pub(super) by_text: bool,
    /// By the position among the properties of an object.
    children: Vec<Sizes>,
    elements: Option<Box<Sizes>>,
}

static UNKNOWN: Sizes = Sizes {
    rows: 0,
    text: 0,
    by_text: false,
    children: Vec::new(),
    elements: None,
};

impl Sizes {
    /// The sizes of a page, and what was known `before`.
    pub(super) fn of(page: &Page, before: &Self) -> Self {
        Self {
            rows: page.len(),
            children: children(&page.root, page.len(), before),
            ..Self::default()
        }
    }

    fn of_node(node: &Node, rows: usize, before: &Self) -> Self {
        let mut sizes = Self {
            rows,
            by_text: before.by_text,
            ..Self::default()
        };
        for values in &node.values {
            match values {
                Values::Strings(array) => sizes.text = stored(array),
                Values::Objects(objects) => sizes.children = children(objects, rows, before),
                Values::Lists(lists) => {
                    let elements = with_room(lists.elements());
                    sizes.elements = Some(Box::new(Self::of_node(
                        &lists.child,
                        elements,
                        before.elements(),
                    )));
                }
                Values::Floats(_) | Values::Numbers(_) => sizes.by_text = true,
                Values::Booleans(_) | Values::Integers(_) => {}
            }
        }
        sizes
    }

    pub(super) fn child(&self, position: usize) -> &Self {
        self.children.get(position).unwrap_or(&UNKNOWN)
    }

    pub(super) fn elements(&self) -> &Self {
        self.elements.as_deref().unwrap_or(&UNKNOWN)
    }
}

fn children(objects: &Objects, rows: usize, before: &Sizes) -> Vec<Sizes> {
    let nodes = objects.children.iter().enumerate();
    nodes
        .map(|(position, node)| Sizes::of_node(node, rows, before.child(position)))
        .collect()
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
