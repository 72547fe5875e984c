//! Items on their way into tables and out of them, and what is remembered of it: versions, deletes, changed
//! keys.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::cascade::Renamed;
use super::clock;
use super::definitions::{Definitions, Reference};
use super::links::Rewriter;
use super::load::note_members;
use super::store::{
    Record, Stamp, State, Tables, Tracked, digest_of, etag_of, id_text, key_text, wire,
};

/// What all writes of a district have in common, those of clients and those of the sandbox itself.
pub(super) struct Committer<'a> {
    pub(super) definitions: &'a Definitions,
    /// The district's name.
    pub(super) district: &'a str,
    pub(super) links: bool,
    /// Whether it takes what an ODS takes, and nothing else.
    pub(super) strict: bool,
}

/// A body that can be stored.
pub(super) struct Draft {
    pub(super) body: Map<String, Value>,
    /// Digest of the natural key.
    pub(super) key: u128,
    pub(super) references: Vec<Reference>,
    /// Digests of what `references` may mean.
    pub(super) refers_to: Box<[u128]>,
    identity: Map<String, Value>,
    key_text: String,
    members: String,
}

impl Committer<'_> {
    /// Reads a body.
    pub(super) fn draft(
        &self,
        tables: &Tables,
        endpoint: &str,
        text: &str,
    ) -> Result<Draft, serde_json::Error> {
        let body: Map<String, Value> = serde_json::from_str(text)?;
        let rewriter = Rewriter {
            definitions: self.definitions,
            district: self.district,
            links: self.links,
            keeps_unknown: !self.strict,
            tables,
        };
        let members = rewriter.members(endpoint, text)?;
        let identity = self.definitions.identity(endpoint, &body);
        let references = self.definitions.references(endpoint, &body);
        let key_text = key_text(identity.values().map(Some));
        Ok(Draft {
            key: digest_of(self.district, endpoint, &key_text),
            refers_to: digests(self.district, &references),
            references,
            body,
            identity,
            key_text,
            members,
        })
    }

    /// Stores the draft: in the place of `before`, or as a new item.
    pub(super) fn store(
        &self,
        state: &mut State,
        endpoint: &str,
        draft: Draft,
        before: Option<&Record>,
        stamp: Stamp,
    ) -> Record {
        let change_version = stamp.change_version;
        let (seq, id) = match before {
            Some(before) => (before.seq, before.id),
            // An item that is made again has another id than the one that was there before.
            None => (
                stamp.seq,
                digest_of(endpoint, &id_text(draft.key), &change_version.to_string()),
            ),
        };
        let etag = etag_of(id, change_version);
        let mut bytes = Vec::with_capacity(draft.members.len() + 160);
        wire(id, etag, clock::now(), &draft.members, &mut bytes);
        let record = Record {
            seq,
            id,
            key: draft.key,
            key_text: draft.key_text.into(),
            etag,
            change_version,
            wire: Bytes::from(bytes),
            at: None,
            refers_to: draft.refers_to,
        };
        let table = state.tables.entry(endpoint.to_owned()).or_default();
        note_members(&draft.body, &mut table.members);
        let Some(before) = before else {
            table.insert(record.clone());
            return record;
        };
        table.replace(record.clone());
        if before.key != draft.key {
            let old_key = self.definitions.identity(endpoint, &before.parse());
            table.track(Tracked {
                id,
                change_version,
                key: before.key,
                old_key: old_key.into(),
                new_key: Some(draft.identity.clone().into()),
            });
            let renamed = Renamed {
                endpoint,
                old: &before.key_text,
                new: &draft.identity,
            };
            self.cascade(state, &renamed);
        }
        record
    }

    /// Takes the item out; nothing where it is not there.
    pub(super) fn remove(
        &self,
        state: &mut State,
        endpoint: &str,
        id: u128,
        stamp: Stamp,
    ) -> Option<Arc<Record>> {
        let table = state.tables.get_mut(endpoint)?;
        let record = table.remove(id)?;
        table.track(Tracked {
            id,
            change_version: stamp.change_version,
            key: record.key,
            old_key: self.definitions.identity(endpoint, &record.parse()).into(),
            new_key: None,
        });
        Some(record)
    }
}

/// Digests of what these references may mean.
pub(super) fn digests(district: &str, references: &[Reference]) -> Box<[u128]> {
    references
        .iter()
        .flat_map(|one| {
            let targets = one.targets.iter();
            targets.map(|target| digest_of(district, target, &one.key))
        })
        .collect()
}
