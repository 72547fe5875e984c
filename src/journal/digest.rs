//! What tells writes apart, and the items that they are about, without holding what they say.

use ring::digest::{Context, SHA256};

/// What one write is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Digest(pub(super) [u8; 16]);

/// What one item of an ODS is known by. Two items that share it cost a request, never a record:
/// what is left out has the same [`Digest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Item(pub(super) i64);

impl Digest {
    /// The digest of a write that is made of these parts.
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        Self(first(parts))
    }
}

impl Item {
    /// The item of a target that has these parts as its key.
    pub(super) fn of(target: i64, kind: &str, key: &str) -> Self {
        let parts = [&target.to_le_bytes()[..], kind.as_bytes(), key.as_bytes()];
        Self(i64::from_le_bytes(first(&parts)))
    }
}

/// The first bytes of what SHA-256 makes of the parts, each with its length.
fn first<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    let whole = context.finish();
    let mut first = [0; N];
    first.copy_from_slice(&whole.as_ref()[..N]);
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(Digest::of(&[b"ab", b"c"]), Digest::of(&[b"a", b"bc"]));
        assert_eq!(Digest::of(&[b"ab", b"c"]), Digest::of(&[b"ab", b"c"]));
        assert_ne!(Item::of(1, "key", "a"), Item::of(1, "id", "a"));
    }
}
