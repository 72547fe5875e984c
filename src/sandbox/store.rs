//! What a district holds: records in the order of their arrival, each serialised once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use fastrand::Rng;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};

use super::clock;
use super::schedule::Movement;

/// A stored item. Its bytes are what every read sends.
#[derive(Clone)]
pub(super) struct Record {
    /// Order of arrival in the district; what page tokens count in.
    pub(super) seq: u64,
    pub(super) id: u128,
    /// Digest of the natural key.
    pub(super) key: u128,
    /// Text of the natural key: what items are sorted by where they are served in the order of keys.
    pub(super) key_text: Box<str>,
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
    /// Digest of `old_key`.
    pub(super) key: u128,
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
    deletes: Vec<Tracked>,
    key_changes: Vec<Tracked>,
    /// The records by natural key, made when first asked for.
    in_key_order: OnceLock<Vec<Arc<Record>>>,
}

/// In which order a collection is served.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// By natural key, as its text: releases before 7.3.
    Key,
    /// By arrival: 7.3 and later.
    Arrival,
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

    /// The records in the order of their arrival.
    pub(super) fn records(&self) -> &[Arc<Record>] {
        &self.records
    }

    /// The records in the order in which they are served.
    pub(super) fn ordered(&self, order: Order) -> &[Arc<Record>] {
        match order {
            Order::Arrival => &self.records,
            Order::Key => self.in_key_order.get_or_init(|| {
                let mut records = self.records.clone();
                records.sort_by(|a, b| (&a.key_text, a.seq).cmp(&(&b.key_text, b.seq)));
                records
            }),
        }
    }

    /// Deletions in the order of their versions. One whose natural key lives again is hidden, as an ODS
    /// hides it.
    pub(super) fn deletes(&self) -> impl Iterator<Item = &Tracked> {
        self.deletes
            .iter()
            .filter(|one| self.by_key(one.key).is_none())
    }

    /// Changes of natural keys in the order of their versions.
    pub(super) fn key_changes(&self) -> &[Tracked] {
        &self.key_changes
    }

    /// Remembers a deletion or a change of a key at the place of its version, which may be older than the
    /// last one's: it was committed late.
    pub(super) fn track(&mut self, tracked: Tracked) {
        let list = match tracked.new_key {
            None => &mut self.deletes,
            Some(_) => &mut self.key_changes,
        };
        let at = list.partition_point(|one| one.change_version < tracked.change_version);
        list.insert(at, tracked);
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

    /// Adds a record at the place of its sequence number.
    pub(super) fn insert(&mut self, record: Record) {
        self.in_key_order.take();
        self.by_id.insert(record.id, record.seq);
        self.by_key.entry(record.key).or_insert(record.seq);
        let at = self.records.partition_point(|one| one.seq < record.seq);
        self.records.insert(at, Arc::new(record));
    }

    /// Puts a record in the place of the one with its sequence number.
    pub(super) fn replace(&mut self, record: Record) {
        self.in_key_order.take();
        if let Some(position) = self.position(record.seq) {
            self.by_key.remove(&self.records[position].key);
            self.by_key.insert(record.key, record.seq);
            self.records[position] = Arc::new(record);
        }
    }

    /// Takes the record out.
    pub(super) fn remove(&mut self, id: u128) -> Option<Arc<Record>> {
        self.in_key_order.take();
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
pub(super) type Tables = BTreeMap<String, Table>;

/// All that a district holds.
pub(super) struct State {
    pub(super) tables: Tables,
    pub(super) snapshot: Option<Tables>,
    /// The newest change version when the snapshot was taken.
    pub(super) snapshot_version: u64,
    /// The last change version that a write has taken, whether it is committed or not.
    pub(super) change_version: u64,
    seq: u64,
    /// Whether a write has the version of the one before, as in a database that was migrated.
    pub(super) one_version: bool,
    /// What moves by itself.
    pub(super) movement: Movement,
    pub(super) random: Rng,
}

/// The numbers that a write takes when it begins.
#[derive(Clone, Copy)]
pub(super) struct Stamp {
    pub(super) seq: u64,
    pub(super) change_version: u64,
}

impl State {
    /// Nothing yet; `random` is what made-up items are made from.
    pub(super) fn new(random: Rng) -> Self {
        Self {
            tables: Tables::new(),
            snapshot: None,
            snapshot_version: 0,
            change_version: 0,
            seq: 0,
            one_version: false,
            movement: Movement::default(),
            random,
        }
    }

    /// Begins a write.
    pub(super) fn stamp(&mut self) -> Stamp {
        self.seq += 1;
        if !self.one_version || self.change_version == 0 {
            self.change_version += 1;
        }
        Stamp {
            seq: self.seq,
            change_version: self.change_version,
        }
    }
}

/// The digest that stands for a natural key, and is the id of an item that the sandbox makes or loads.
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

/// 32 hexadecimal digits as a GUID.
pub(super) fn dashed(hex: &str) -> String {
    [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-")
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
