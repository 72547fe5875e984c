//! What the newest records of a copy are known by: eight bytes each, whatever they hold.
//!
//! An `_etag` follows the last modification, and stays where the key of something else changes that
//! a record refers to. So what stands in references counts as well, wherever it is.

use std::fmt;

use polars::prelude::*;
use ring::digest::{Context, SHA256};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::tracked::ID;
use crate::Result;
use crate::columns::Encoder;
use crate::openapi::time;

const ETAG: &str = "_etag";
const REFERENCE: &str = "Reference";
const LINK: &str = "link";
const SIZE: usize = 8;

/// Records by their `id`, their `_etag` and their references, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Stamps(Vec<u64>);

impl Stamps {
    /// Those of the rows of a frame; rows without an id or an etag have none.
    pub(crate) fn of(rows: &DataFrame) -> Result<Self> {
        // Both must be there.
        rows.column(ID)?;
        rows.column(ETAG)?;
        let structs =
            StructChunked::from_columns(PlSmallStr::EMPTY, rows.height(), rows.columns())?;
        let encoder = Encoder::new(&structs.into_series(), true)?;
        let mut stamps = Vec::with_capacity(rows.height());
        for row in 0..rows.height() {
            // What cannot be told is read again.
            let record = encoder.encode(row).ok().flatten();
            let told = record.and_then(|record| of_record(&record));
            stamps.extend(told.map(|(_, stamp)| stamp));
        }
        Ok(stamps.into_iter().collect())
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
    pub(crate) fn has(&self, stamp: u64) -> bool {
        self.0.binary_search(&stamp).is_ok()
    }
}

impl FromIterator<u64> for Stamps {
    fn from_iter<T: IntoIterator<Item = u64>>(stamps: T) -> Self {
        let mut stamps: Vec<_> = stamps.into_iter().collect();
        stamps.sort_unstable();
        Self(stamps)
    }
}

/// The records of a page, each by its `id` and its stamp; nothing where one has no id or no etag.
pub(super) fn of_page(body: &[u8]) -> Option<Vec<(String, u64)>> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let stamps = deserializer.deserialize_seq(Records).ok()?;
    deserializer.end().ok()?;
    stamps
}

/// Reads a list of records.
struct Records;

impl<'de> Visitor<'de> for Records {
    type Value = Option<Vec<(String, u64)>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let (mut seen, mut stamps) = (Seen::default(), Some(Vec::new()));
        while list.next_element_seed(Value(&mut seen))?.is_some() {
            stamps = stamps.zip(seen.take()).map(|(mut stamps, stamp)| {
                stamps.push(stamp);
                stamps
            });
        }
        Ok(stamps)
    }
}

fn of_record(json: &[u8]) -> Option<(String, u64)> {
    let (mut seen, mut deserializer) =
        (Seen::default(), serde_json::Deserializer::from_slice(json));
    Value(&mut seen).deserialize(&mut deserializer).ok()?;
    seen.take()
}

/// What of a record counts.
#[derive(Default)]
struct Seen {
    id: Option<String>,
    etag: Option<String>,
    /// The sum over all values in references, for columns may stand in another order than
    /// properties.
    references: u64,
    at: At,
}

/// Where the reading is.
#[derive(Clone, Copy, Default)]
struct At {
    /// Of the names that led there, without what separates them.
    path: Hash,
    depth: usize,
    is_in_reference: bool,
    is_link: bool,
}

/// FNV-1a, of bytes as they come.
#[derive(Clone, Copy, PartialEq)]
struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    fn and(self, bytes: &[u8]) -> Self {
        let add = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        Self(bytes.iter().fold(self.0, add))
    }

    fn name(self, name: &str) -> Self {
        if name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return self.and(name.as_bytes());
        }
        let parts = name.split(|letter: char| !letter.is_alphanumeric());
        parts.fold(self, |hash, part| hash.and(part.as_bytes()))
    }

    /// Its bits well mixed, so that a sum of many tells them.
    fn mixed(self) -> u64 {
        let one = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let two = (one ^ (one >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        two ^ (two >> 31)
    }
}

impl Seen {
    /// The id and the stamp of a record that was read; the next one may come.
    fn take(&mut self) -> Option<(String, u64)> {
        let Self {
            id,
            etag,
            references,
            ..
        } = std::mem::take(self);
        let (id, etag) = id.zip(etag)?;
        let mut context = Context::new(&SHA256);
        context.update(&(id.len() as u64).to_le_bytes());
        context.update(&references.to_le_bytes());
        context.update(id.as_bytes());
        context.update(etag.as_bytes());
        let digest = context.finish();
        let first = digest.as_ref().first_chunk();
        let stamp = u64::from_le_bytes(*first.expect("SHA-256 has more bytes"));
        Some((id, stamp))
    }

    fn note(&mut self, value: impl fmt::Display) {
        if self.at.is_in_reference {
            self.note_value(&value.to_string());
        }
    }

    fn note_value(&mut self, value: &str) {
        let hash = self.at.path.and(b"=").and(value.as_bytes());
        self.references = self.references.wrapping_add(hash.mixed());
    }

    fn note_text(&mut self, text: &str) {
        if self.at.is_in_reference {
            match time(text) {
                Some(time) => self.note_value(&time),
                None => self.note_value(text),
            }
        } else if self.at.depth == 1 {
            if self.at.path == Hash::default().name(ID) {
                self.id = Some(text.to_owned());
            } else if self.at.path == Hash::default().name(ETAG) {
                self.etag = Some(text.to_owned());
            }
        }
    }
}

/// The name of a property, which goes on from where the reading was.
struct Name(At);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = At;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<At, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = At;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<At, E> {
        // Most names are short, and looked at byte by byte in less time.
        let is_joined = !name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let mut parts = name.split(|letter: char| !letter.is_alphanumeric());
        let may_be_reference = name.bytes().any(|byte| byte == b'R');
        Ok(At {
            path: self.0.path.name(name),
            depth: self.0.depth + 1,
            is_in_reference: self.0.is_in_reference || may_be_reference && name.contains(REFERENCE),
            is_link: name == LINK || is_joined && parts.any(|part| part == LINK),
        })
    }
}

/// One value where the reading is.
struct Value<'s>(&'s mut Seen);

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self(seen) = self;
        let here = seen.at;
        while let Some(at) = map.next_key_seed(Name(here))? {
            seen.at = at;
            match at.is_link {
                true => drop(map.next_value::<IgnoredAny>()?),
                false => map.next_value_seed(Value(&mut *seen))?,
            }
        }
        seen.at = here;
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self(seen) = self;
        let here = seen.at;
        for place in 0u64.. {
            seen.at.path = here.path.and(&place.to_le_bytes());
            let is_there = list.next_element_seed(Value(&mut *seen))?.is_some();
            if !is_there {
                break;
            }
        }
        seen.at = here;
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.note_text(text);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.0.note(value);
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.0.note(number);
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.0.note(number);
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.0.note(number);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_known_by_what_they_hold_now() -> Result<()> {
        let rows = df!(
            "District" => ["d"; 3],
            "schoolReference.schoolId" => [5, 5, 5],
            "id" => ["a", "b", "c"],
            "dayReference.date" => [Some("2024-08-01"), None, None],
            "_etag" => [Some("1"), None, Some("3")],
            "_unknown" => [None, None, Some(r#"{"x": [{"yReference": {"z": "w"}}]}"#)],
        )?;
        let stamps = Stamps::from_bytes(&Stamps::of(&rows)?.to_bytes());
        let known = |record: &str| {
            let page = of_page(format!("[{record}]").as_bytes());
            page.is_some_and(|page| stamps.has(page[0].1))
        };
        let a = r#"{"_etag": "1", "id": "a", "n": [1, {}], "dayReference": {"date": "2024-08-01T00:00:00"},
            "schoolReference": {"schoolId": 5.0, "link": {"rel": "School"}}}"#;
        assert!(known(a));
        assert!(known(&a.replace("[1", "[2")));
        for (from, to) in [("5.0", "6"), ("08-01", "08-02"), ("\"1\"", "\"2\"")] {
            assert!(!known(&a.replace(from, to)), "{to}");
        }
        let c = r#"{"_etag": "3", "id": "c", "x": [{"yReference": {"z": "w"}}],
            "schoolReference": {"schoolId": 5}}"#;
        assert!(known(c) && !known(&c.replace("w", "v")));
        assert!(!known(r#"{"id": "b", "schoolReference": {"schoolId": 5}}"#));
        assert!(!known("1") && !known(r#"{"id": 1, "_etag": "3"}"#));
        Ok(())
    }

    #[test]
    fn other_bytes_know_nothing() {
        assert_eq!(Stamps::from_bytes(b"seven b"), Stamps::default());
    }
}
