//! What a district holds: records in the order of their arrival, each serialised once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};

use super::clock;

/// A stored item. Its bytes are what every read sends.
#[derive(Clone)]
pub(super) struct Record {
    /// Order of arrival in the district; what page tokens count in.
    pub(super) seq: u64,
    pub(super) id: u128,
    /// Digest of the natural key.
    pub(super) key: u128,
    pub(super) etag: u64,
    pub(super) change_version: u64,
    pub(super) wire: Bytes,
    /// Where `wire` stands in the table's arena, if it does.
    pub(super) at: Option<usize>,
    /// Digests of the items that this one refers to.
    pub(super) refers_to: Box<[u128]>,
}

impl Record {
    /// The item as an object.
    pub(super) fn parse(&self) -> Map<String, Value> {
        serde_json::from_slice(&self.wire).unwrap_or_default()
    }
}

/// A deletion or a change of a natural key.
#[derive(Clone)]
pub(super) struct Tracked {
    pub(super) id: u128,
    pub(super) change_version: u64,
    pub(super) old_key: Value,
    /// `None` for a deletion.
    pub(super) new_key: Option<Value>,
}

/// The items of one resource.
#[derive(Clone, Default)]
pub(super) struct Table {
    /// Shared, so that taking one out moves pointers only, and a snapshot copies no record.
    records: Vec<Arc<Record>>,
    by_id: HashMap<u128, u64>,
    by_key: HashMap<u128, u64>,
    /// Consecutive records, a comma between: a page of them is one slice.
    arena: Bytes,
    /// Names of members that a filter can mean, as far as the records tell.
    pub(super) members: HashSet<String>,
    pub(super) deletes: Vec<Tracked>,
    pub(super) key_changes: Vec<Tracked>,
}

impl Table {
    /// A table of records whose bytes stand in `arena`.
    pub(super) fn of(arena: Bytes, records: Vec<Record>) -> Self {
        let mut table = Self {
            arena,
            ..Self::default()
        };
        table.by_id.reserve(records.len());
        table.by_key.reserve(records.len());
        for record in records {
            table.insert(record);
        }
        table
    }

    pub(super) fn records(&self) -> &[Arc<Record>] {
        &self.records
    }

    /// The records whose sequence numbers are in `from..=to`.
    pub(super) fn between(&self, from: u64, to: u64) -> &[Arc<Record>] {
        let start = self.records.partition_point(|record| record.seq < from);
        let end = self.records.partition_point(|record| record.seq <= to);
        self.records.get(start..end).unwrap_or(&[])
    }

    pub(super) fn by_id(&self, id: u128) -> Option<&Arc<Record>> {
        self.at_seq(*self.by_id.get(&id)?)
    }

    pub(super) fn by_key(&self, key: u128) -> Option<&Arc<Record>> {
        self.at_seq(*self.by_key.get(&key)?)
    }

    fn at_seq(&self, seq: u64) -> Option<&Arc<Record>> {
        self.position(seq).map(|position| &self.records[position])
    }

    fn position(&self, seq: u64) -> Option<usize> {
        self.records
            .binary_search_by_key(&seq, |record| record.seq)
            .ok()
    }

    /// Adds a record; its sequence number is higher than all before.
    pub(super) fn insert(&mut self, record: Record) {
        self.by_id.insert(record.id, record.seq);
        self.by_key.entry(record.key).or_insert(record.seq);
        self.records.push(Arc::new(record));
    }

    /// Puts a record in the place of the one with its sequence number.
    pub(super) fn replace(&mut self, record: Record) {
        if let Some(position) = self.position(record.seq) {
            self.by_key.remove(&self.records[position].key);
            self.by_key.insert(record.key, record.seq);
            self.records[position] = Arc::new(record);
        }
    }

    /// Takes the record out.
    pub(super) fn remove(&mut self, id: u128) -> Option<Arc<Record>> {
        let seq = self.by_id.remove(&id)?;
        let position = self.position(seq)?;
        let record = self.records.remove(position);
        // Raw records may share a key: it leads to the first of them.
        if self.by_key.get(&record.key) == Some(&record.seq) {
            self.by_key.remove(&record.key);
        }
        Some(record)
    }

    /// The bytes of these records with commas between, in as few pieces as the arena allows.
    pub(super) fn runs<'a>(&self, records: impl Iterator<Item = &'a Arc<Record>>) -> Vec<Bytes> {
        let mut frames = Vec::new();
        let mut run: Option<(usize, usize)> = None;
        for record in records {
            let next = record.at.map(|at| (at, at + record.wire.len()));
            match (&mut run, next) {
                (Some((_, end)), Some((start, new_end))) if start == *end + 1 => {
                    *end = new_end;
                    continue;
                }
                _ => self.flush(&mut run, &mut frames),
            }
            if !frames.is_empty() {
                frames.push(Bytes::from_static(b","));
            }
            match next {
                Some(_) => run = next,
                None => frames.push(record.wire.clone()),
            }
        }
        self.flush(&mut run, &mut frames);
        frames
    }

    fn flush(&self, run: &mut Option<(usize, usize)>, frames: &mut Vec<Bytes>) {
        if let Some((start, end)) = run.take() {
            frames.push(self.arena.slice(start..end));
        }
    }
}

/// The tables of a district, by endpoint.
pub(super) type Tables = HashMap<String, Table>;

/// All that a district holds.
#[derive(Default)]
pub(super) struct State {
    pub(super) tables: Tables,
    pub(super) snapshot: Option<Tables>,
    /// The newest change version when the snapshot was taken.
    pub(super) snapshot_version: u64,
    seq: u64,
    pub(super) change_version: u64,
}

impl State {
    /// The next sequence number.
    pub(super) fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    /// The next change version.
    pub(super) fn next_version(&mut self) -> u64 {
        self.change_version += 1;
        self.change_version
    }
}

/// The digest that stands for a natural key, and is the id of an item when it is created.
pub(super) fn digest_of(district: &str, endpoint: &str, key: &str) -> u128 {
    let text = format!("{district}\0{endpoint}\0{key}");
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest(&SHA256, text.as_bytes()).as_ref()[..16]);
    u128::from_be_bytes(bytes)
}

/// Parts of a natural key as one text. Numbers and strings of the same digits are the same key.
pub(super) fn key_text<'a>(values: impl Iterator<Item = Option<&'a Value>>) -> String {
    let mut text = String::new();
    for value in values {
        match value {
            Some(Value::String(part)) => text.push_str(part),
            Some(Value::Null) | None => {}
            Some(other) => text.push_str(&other.to_string()),
        }
        text.push('\u{1f}');
    }
    text
}

/// An id as it stands in URLs and bodies: 32 hexadecimal digits.
pub(super) fn id_text(id: u128) -> String {
    format!("{id:032x}")
}

/// The id that a path segment means.
pub(super) fn read_id(text: &str) -> Option<u128> {
    let plain = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

/// A value that no other version of any item has, shaped like the ODS's ticks.
pub(super) fn etag_of(id: u128, change_version: u64) -> u64 {
    5_250_000_000_000_000_000 + change_version * 7_919 + (id % 7_919) as u64
}

/// The bytes of an item: `members` is the text between the braces of its body.
pub(super) fn wire(id: u128, etag: u64, modified: u64, members: &str, out: &mut Vec<u8>) {
    let comma = if members.is_empty() { "" } else { "," };
    let modified = clock::date_time(modified);
    out.extend_from_slice(
        format!(
            r#"{{"id":"{id:032x}"{comma}{members},"_etag":"{etag}","_lastModifiedDate":"{modified}"}}"#
        )
        .as_bytes(),
    );
}
