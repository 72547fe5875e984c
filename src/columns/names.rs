//! The property names of one object, in the order in which they were first seen.

use std::collections::HashMap;

/// From so many names on, a name is looked up by its hash instead of one after another.
const FEW: usize = 16;

/// Names in first-seen order, each with its position.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    list: Vec<Box<str>>,
    index: HashMap<Box<str>, usize>,
}

impl Names {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.list.iter().map(AsRef::as_ref)
    }

    #[inline]
    pub(super) fn get(&self, position: usize) -> &str {
        &self.list[position]
    }

    /// The position of a name; `guess` is looked at first.
    pub(super) fn find(&self, name: &str, guess: usize) -> Option<usize> {
        if self.list.get(guess).is_some_and(|at| **at == *name) {
            return Some(guess);
        }
        if self.list.len() <= FEW {
            self.list.iter().position(|at| **at == *name)
        } else {
            self.index.get(name).copied()
        }
    }

    /// Adds a name that is not there yet.
    pub(super) fn push(&mut self, name: &str) -> usize {
        let position = self.list.len();
        self.list.push(name.into());
        if self.list.len() == FEW + 1 {
            self.index = self.list.iter().cloned().zip(0..).collect();
        } else if self.list.len() > FEW {
            self.index.insert(name.into(), position);
        }
        position
    }
}
