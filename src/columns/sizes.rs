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
    /// By the position among the properties of an object.
    children: Vec<Sizes>,
    elements: Option<Box<Sizes>>,
}

static UNKNOWN: Sizes = Sizes {
    rows: 0,
    text: 0,
    children: Vec::new(),
    elements: None,
};

impl Sizes {
    pub(super) fn of(page: &Page) -> Self {
        Self {
            rows: page.len(),
            children: children(&page.root, page.len()),
            ..Self::default()
        }
    }

    fn of_node(node: &Node, rows: usize) -> Self {
        let mut sizes = Self {
            rows,
            ..Self::default()
        };
        for values in &node.values {
            match values {
                Values::Strings(array) | Values::Numbers(array) => sizes.text = stored(array),
                Values::Objects(objects) => sizes.children = children(objects, rows),
                Values::Lists(lists) => {
                    let elements = with_room(lists.elements());
                    sizes.elements = Some(Box::new(Self::of_node(&lists.child, elements)));
                }
                Values::Booleans(_) | Values::Integers(_) | Values::Floats(_) => {}
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

fn children(objects: &Objects, rows: usize) -> Vec<Sizes> {
    let nodes = objects.children.iter();
    nodes.map(|node| Sizes::of_node(node, rows)).collect()
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
