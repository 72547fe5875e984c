//! Filling tables: bodies become stored records without passing through HTTP.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::commit::digests;
use super::definitions::Definitions;
use super::definitions::is_reference;
use super::district::District;
use super::store::{Record, Stamp, Table, digest_of, etag_of, id_text, key_text, read_id, wire};
use super::{clock, store};
use crate::{Error, Result};

/// The moment at which the sandbox's own records were last changed: 2024-08-01.
pub(super) const EPOCH: u64 = 1_722_470_400;

/// Writes records one after the other into one arena.
pub(super) struct Loader<'a> {
    district: &'a District,
    endpoint: String,
    arena: Vec<u8>,
    records: Vec<(Record, std::ops::Range<usize>)>,
    keys: std::collections::HashMap<u128, u32>,
}

impl<'a> Loader<'a> {
    pub(super) fn new(district: &'a District, endpoint: &str) -> Self {
        Self {
            district,
            endpoint: endpoint.to_owned(),
            arena: Vec::new(),
            records: Vec::new(),
            keys: std::collections::HashMap::new(),
        }
    }

    /// Adds a record by the text between its braces; `key` is the text of its natural key.
    pub(super) fn add(
        &mut self,
        key_text: &str,
        members: &str,
        modified: u64,
        refers_to: Vec<u128>,
    ) {
        let key = digest_of(&self.district.id, &self.endpoint, key_text);
        let id = self.distinct(key);
        let Stamp {
            seq,
            change_version,
        } = self.district.state().stamp();
        let etag = etag_of(id, change_version);
        let start = self.start();
        wire(id, etag, modified, members, &mut self.arena);
        self.push(Record {
            seq,
            id,
            key,
            key_text: key_text.into(),
            etag,
            change_version,
            wire: Bytes::new(),
            at: Some(start),
            refers_to: refers_to.into(),
        });
    }

    /// Adds a body as it is; only `id`, `_etag` and `_lastModifiedDate` are added where it has none.
    fn add_raw(&mut self, definitions: &Definitions, body: &Map<String, Value>) {
        let identity = definitions.identity(&self.endpoint, body);
        let key_text = key_text(identity.values().map(Some));
        let key = digest_of(&self.district.id, &self.endpoint, &key_text);
        let own_id = body.get("id").and_then(Value::as_str).and_then(read_id);
        let id = own_id.unwrap_or_else(|| self.distinct(key));
        let refers_to = definitions.references(&self.endpoint, body);
        let Stamp {
            seq,
            change_version,
        } = self.district.state().stamp();
        let own_etag = body
            .get("_etag")
            .and_then(Value::as_str)
            .and_then(|text| text.parse().ok());
        let etag = own_etag.unwrap_or_else(|| etag_of(id, change_version));
        let mut item = Map::new();
        if !body.contains_key("id") {
            item.insert("id".to_owned(), id_text(id).into());
        }
        item.extend(
            body.iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        if !body.contains_key("_etag") {
            item.insert("_etag".to_owned(), etag.to_string().into());
        }
        if !body.contains_key("_lastModifiedDate") {
            item.insert(
                "_lastModifiedDate".to_owned(),
                clock::date_time(clock::now()).into(),
            );
        }
        let start = self.start();
        self.arena
            .extend_from_slice(Value::from(item).to_string().as_bytes());
        let refers_to = digests(&self.district.id, &refers_to);
        self.push(Record {
            seq,
            id,
            key,
            key_text: key_text.into(),
            etag,
            change_version,
            wire: Bytes::new(),
            at: Some(start),
            refers_to,
        });
    }

    fn start(&mut self) -> usize {
        if !self.arena.is_empty() {
            self.arena.push(b',');
        }
        self.arena.len()
    }

    fn push(&mut self, record: Record) {
        let start = record.at.unwrap_or_default();
        self.records.push((record, start..self.arena.len()));
    }

    /// An id for this natural key; a second record of the same key gets another one.
    fn distinct(&mut self, key: u128) -> u128 {
        let count = self.keys.entry(key).or_default();
        *count += 1;
        match *count {
            1 => key,
            n => digest_of(
                &self.district.id,
                &self.endpoint,
                &format!("{key:032x}/{n}"),
            ),
        }
    }

    /// Puts the records in place of what the resource held; gives back their number.
    pub(super) fn finish(self, members: impl IntoIterator<Item = String>) -> usize {
        let arena = Bytes::from(self.arena);
        let count = self.records.len();
        let records = self.records.into_iter().map(|(mut record, range)| {
            record.wire = arena.slice(range);
            record
        });
        let mut table = Table::of(arena.clone(), records.collect());
        table.members.extend(members);
        self.district.state().tables.insert(self.endpoint, table);
        count
    }
}

/// Replaces what a resource holds by these bodies.
pub(super) fn load(
    definitions: &Definitions,
    district: &District,
    endpoint: &str,
    bodies: impl IntoIterator<Item = Value>,
) -> Result<usize> {
    let mut loader = Loader::new(district, endpoint);
    let mut members = std::collections::HashSet::new();
    for (index, body) in bodies.into_iter().enumerate() {
        let Value::Object(body) = body else {
            return Err(Error::Config(format!(
                "record {index} for {endpoint} is no JSON object"
            )));
        };
        note_members(&body, &mut members);
        loader.add_raw(definitions, &body);
    }
    Ok(loader.finish(members))
}

/// Adds the names by which filters can mean members of this body.
pub(super) fn note_members(
    body: &Map<String, Value>,
    members: &mut std::collections::HashSet<String>,
) {
    let mut note = |name: &str| {
        if !members.contains(name) {
            members.insert(name.to_owned());
        }
    };
    for (name, value) in body {
        match value {
            Value::Object(inner) if is_reference(name) => {
                inner
                    .keys()
                    .filter(|key| *key != "link")
                    .for_each(|key| note(key));
            }
            Value::Object(_) | Value::Array(_) => {}
            _ => note(name),
        }
    }
}

/// The endpoint as the store knows it: `ed-fi/students`.
pub(super) fn endpoint_of(text: &str) -> Result<String> {
    let endpoint = text.trim_matches('/');
    if endpoint.split('/').count() != 2 || endpoint.split('/').any(str::is_empty) {
        return Err(Error::Config(format!(
            "{text:?} is no endpoint such as \"ed-fi/students\""
        )));
    }
    Ok(endpoint.to_owned())
}

/// The items that a resource holds.
pub(super) fn items(district: &District, endpoint: &str) -> Vec<Value> {
    let state = district.state();
    let records = state
        .tables
        .get(endpoint)
        .map_or(&[][..], store::Table::records);
    records.iter().map(|record| record.parse().into()).collect()
}
