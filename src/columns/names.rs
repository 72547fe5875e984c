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

impl PartialEq for Names {
    fn eq(&self, other: &Self) -> bool {
        self.list == other.list
    }
}

impl Names {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.list.iter().map(AsRef::as_ref)
    }

    /// Whether the name at a position is this one.
    #[inline]
    pub(super) fn is(&self, position: usize, name: &str) -> bool {
        same(self.list[position].as_bytes(), name.as_bytes())
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

/// Whether two names are equal. Nearly all that are compared are, and short: a loop over words of
/// eight bytes, the last two of which may overlap, is done before `memcmp` would be called.
#[inline]
fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let (Some(last), Some(other_last)) = (one.last_chunk::<8>(), other.last_chunk::<8>()) else {
        return one.iter().zip(other).all(|(one, other)| one == other);
    };
    let (words, _) = one.as_chunks::<8>();
    let (other_words, _) = other.as_chunks::<8>();
    last == other_last
        && words
            .iter()
            .zip(other_words)
            .all(|(one, other)| one == other)
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn names_are_told_apart_at_every_byte() {
        let name = b"studentAssessmentIdentifier";
        for len in 0..=name.len() {
            let name = &name[..len];
            let copy = name.to_vec();
            assert!(same(name, &copy));
            assert!(!same(name, b"studentAssessmentIdentifiers"));
            for at in 0..len {
                let mut other = name.to_vec();
                other[at] ^= 1;
                assert!(!same(name, &other), "{len} {at}");
            }
        }
    }
}
