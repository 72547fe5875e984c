//! What the newest records of a copy are known by: eight bytes each, whatever they hold.

use polars::prelude::*;
use ring::digest::{Context, SHA256};

use super::tracked::ID;
use crate::Result;

const ETAG: &str = "_etag";
const SIZE: usize = 8;

/// Records by their `id` and `_etag`, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Stamps(Vec<u64>);

impl Stamps {
    /// Those of the rows of a frame; rows without an id or an etag have none.
    pub(crate) fn of(rows: &DataFrame) -> Result<Self> {
        let (ids, etags) = (rows.column(ID)?.str()?, rows.column(ETAG)?.str()?);
        let pairs = ids.iter().zip(etags.iter());
        Ok(pairs
            .filter_map(|(id, etag)| Some(stamp(id?, etag?)))
            .collect())
    }

    /// Reads what [`to_bytes`](Self::to_bytes) gave. Bytes that are none know nothing.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let (stamps, _) = bytes.as_chunks::<SIZE>();
        stamps.iter().copied().map(u64::from_le_bytes).collect()
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let bytes = self.0.iter().flat_map(|stamp| stamp.to_le_bytes());
        bytes.collect()
    }

    /// Whether a record is among them, as it is.
    pub(crate) fn has(&self, id: &str, etag: &str) -> bool {
        self.0.binary_search(&stamp(id, etag)).is_ok()
    }
}

impl FromIterator<u64> for Stamps {
    fn from_iter<T: IntoIterator<Item = u64>>(stamps: T) -> Self {
        let mut stamps: Vec<_> = stamps.into_iter().collect();
        stamps.sort_unstable();
        Self(stamps)
    }
}

fn stamp(id: &str, etag: &str) -> u64 {
    let mut context = Context::new(&SHA256);
    context.update(&(id.len() as u64).to_le_bytes());
    context.update(id.as_bytes());
    context.update(etag.as_bytes());
    let digest = context.finish();
    let first = digest.as_ref().first_chunk();
    u64::from_le_bytes(*first.expect("SHA-256 has more bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_known_by_id_and_etag() -> Result<()> {
        let rows = df!("id" => ["a", "b", "c"], "_etag" => [Some("1"), None, Some("3")])?;
        let stamps = Stamps::from_bytes(&Stamps::of(&rows)?.to_bytes());
        assert!(stamps.has("a", "1") && stamps.has("c", "3"));
        assert!(!stamps.has("a", "3") && !stamps.has("b", "1") && !stamps.has("a1", ""));
        Ok(())
    }

    #[test]
    fn other_bytes_know_nothing() {
        assert_eq!(Stamps::from_bytes(b"seven b"), Stamps::default());
    }
}
