//! What the newest records of a copy are known by: eight bytes each, whatever they hold.
//!
//! An `_etag` follows the last modification, and stays where the key of something else changes that
//! a record refers to. So what stands in references counts as well, wherever it is.

use std::fmt::{self, Write};

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
const REFERENCE_LINK: &str = "Referencelink";
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
    /// Each value with its path, without what separates its names.
    references: Vec<String>,
    path: String,
    depth: usize,
}

impl Seen {
    /// The id and the stamp of a record that was read; the next one may come.
    fn take(&mut self) -> Option<(String, u64)> {
        let (id, etag) = (self.id.take(), self.etag.take());
        let mut references = std::mem::take(&mut self.references);
        let (id, etag) = id.zip(etag)?;
        // Columns may stand in another order than properties.
        references.sort_unstable();
        let mut context = Context::new(&SHA256);
        for text in [&id, &etag].into_iter().chain(&references) {
            context.update(&(text.len() as u64).to_le_bytes());
            context.update(text.as_bytes());
        }
        let digest = context.finish();
        let first = digest.as_ref().first_chunk();
        let stamp = u64::from_le_bytes(*first.expect("SHA-256 has more bytes"));
        Some((id, stamp))
    }

    fn is_in_reference(&self) -> bool {
        self.path.contains(REFERENCE)
    }

    fn note(&mut self, value: impl fmt::Display) {
        if self.is_in_reference() {
            self.references.push(format!("{}={value}", self.path));
        }
    }

    fn note_text(&mut self, text: &str) {
        match (self.depth, &*self.path) {
            (1, ID) => self.id = Some(text.to_owned()),
            (1, "etag") => self.etag = Some(text.to_owned()),
            _ if !self.is_in_reference() => {}
            _ => match time(text) {
                Some(time) => self.note(time),
                None => self.note(text),
            },
        }
    }
}

/// Whether a name is that of a link, or ends with it.
fn is_link(name: &str) -> bool {
    name == LINK || name.contains(REFERENCE_LINK)
}

/// The name of a property, which goes on from the path before.
struct Name<'s>(&'s mut String);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<(), E> {
        match name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            true => self.0.push_str(name),
            false => self
                .0
                .extend(name.chars().filter(|letter| letter.is_alphanumeric())),
        }
        Ok(())
    }
}

/// One value at the path of what was seen so far.
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
        let end = seen.path.len();
        seen.depth += 1;
        while map.next_key_seed(Name(&mut seen.path))?.is_some() {
            match is_link(&seen.path[end..]) {
                true => drop(map.next_value::<IgnoredAny>()?),
                false => map.next_value_seed(Value(&mut *seen))?,
            }
            seen.path.truncate(end);
        }
        seen.depth -= 1;
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self(seen) = self;
        let end = seen.path.len();
        for place in 0.. {
            // Nothing goes wrong where a text grows.
            let _ = write!(seen.path, "{place}");
            let is_there = list.next_element_seed(Value(&mut *seen))?.is_some();
            seen.path.truncate(end);
            if !is_there {
                break;
            }
        }
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
