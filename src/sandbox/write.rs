//! Writes: upsert by natural key, replacement by id, deletion.

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_MATCH, LOCATION};
use hyper::{Response, StatusCode};
use serde_json::{Map, Value};

use super::body::{Body, empty};
use super::clock;
use super::definitions::{Definitions, Reference, is_descriptor};
use super::district::District;
use super::links::Rewriter;
use super::load::note_members;
use super::problem::Problem;
use super::read::{etag_header, no_item, unquoted};
use super::store::{Record, State, Tracked, digest_of, etag_of, id_text, key_text, read_id, wire};
use super::validate::validate;

/// What is the same for all writes of a request.
pub(super) struct Writer<'a> {
    pub(super) definitions: &'a Definitions,
    pub(super) district: &'a District,
    pub(super) headers: &'a HeaderMap,
    /// Where items are: `http://…/data/v3`.
    pub(super) data_url: &'a str,
    pub(super) links: bool,
}

/// A posted body, read and checked.
struct Posted {
    body: Map<String, Value>,
    members: String,
    identity: Map<String, Value>,
    key: u128,
    references: Vec<Reference>,
    /// Digests of what `references` refer to.
    refers_to: Box<[u128]>,
}

impl Writer<'_> {
    /// `POST /data/v3/{namespace}/{resource}`: 201 where the natural key is new, 200 where it is not.
    pub(super) fn upsert(&self, endpoint: &str, body: &[u8]) -> Result<Response<Body>, Problem> {
        let mut state = self.district.state();
        if !self.exists(&state, endpoint) {
            return Err(no_item());
        }
        let posted = self.read(endpoint, body)?;
        if posted.body.contains_key("id") {
            return Err(Problem::bad_request(
                "Resource identifiers cannot be assigned by the client. The 'id' property should not be included in the request body.",
            ));
        }
        let before = state
            .tables
            .get(endpoint)
            .and_then(|table| table.by_key(posted.key))
            .cloned();
        self.check_match(before.as_deref())?;
        self.check(&state, endpoint, &posted)?;
        let status = if before.is_some() {
            StatusCode::OK
        } else {
            StatusCode::CREATED
        };
        let record = store(&mut state, endpoint, posted, before);
        let mut answer = empty(status);
        let location = format!("{}/{endpoint}/{}", self.data_url, id_text(record.id));
        if let Ok(location) = HeaderValue::from_str(&location) {
            answer.headers_mut().insert(LOCATION, location);
        }
        answer.headers_mut().insert(ETAG, etag_header(record.etag));
        Ok(answer)
    }

    /// `PUT /data/v3/{namespace}/{resource}/{id}`.
    pub(super) fn replace(
        &self,
        endpoint: &str,
        id: &str,
        body: &[u8],
    ) -> Result<Response<Body>, Problem> {
        let mut state = self.district.state();
        let before = find(&state, endpoint, id).cloned().ok_or_else(no_item)?;
        let posted = self.read(endpoint, body)?;
        if posted
            .body
            .get("id")
            .is_some_and(|own| own.as_str().and_then(read_id) != Some(before.id))
        {
            return Err(Problem::bad_request(
                "The id in the body is not the id in the URL.",
            ));
        }
        self.check_match(Some(&before))?;
        self.check(&state, endpoint, &posted)?;
        if posted.key != before.key {
            if !self.definitions.updatable(endpoint) {
                return Err(Problem::key_change(&self.definitions.item_name(endpoint)));
            }
            if state
                .tables
                .get(endpoint)
                .is_some_and(|table| table.by_key(posted.key).is_some())
            {
                return Err(Problem::not_unique());
            }
        }
        let old_key = self.definitions.identity(endpoint, &before.parse());
        let change = (posted.key != before.key).then(|| (old_key, posted.identity.clone()));
        let record = store(&mut state, endpoint, posted, Some(before));
        if let (Some((old, new)), Some(table)) = (change, state.tables.get_mut(endpoint)) {
            table.key_changes.push(Tracked {
                id: record.id,
                change_version: record.change_version,
                old_key: old.into(),
                new_key: Some(new.into()),
            });
        }
        let mut answer = empty(StatusCode::NO_CONTENT);
        answer.headers_mut().insert(ETAG, etag_header(record.etag));
        Ok(answer)
    }

    /// `DELETE /data/v3/{namespace}/{resource}/{id}`.
    pub(super) fn delete(&self, endpoint: &str, id: &str) -> Result<Response<Body>, Problem> {
        let mut state = self.district.state();
        let record = find(&state, endpoint, id).ok_or_else(no_item)?;
        self.check_match(Some(record))?;
        let (id, key) = (record.id, record.key);
        for (other, table) in &state.tables {
            let refers = |other: &Arc<Record>| other.id != id && other.refers_to.contains(&key);
            if self.definitions.may_refer(other, endpoint) && table.records().iter().any(refers) {
                return Err(Problem::dependent(&self.definitions.item_name(other)));
            }
        }
        let change_version = state.next_version();
        if let Some(table) = state.tables.get_mut(endpoint)
            && let Some(record) = table.remove(id)
        {
            let old_key = self.definitions.identity(endpoint, &record.parse()).into();
            table.deletes.push(Tracked {
                id,
                change_version,
                old_key,
                new_key: None,
            });
        }
        Ok(empty(StatusCode::NO_CONTENT))
    }

    /// Resources outside `ed-fi` are created by the first item; inside it a typing error is a 404.
    fn exists(&self, state: &State, endpoint: &str) -> bool {
        state.tables.contains_key(endpoint)
            || self.definitions.knows(endpoint)
            || !endpoint.starts_with("ed-fi/")
    }

    fn read(&self, endpoint: &str, text: &[u8]) -> Result<Posted, Problem> {
        let kind = self
            .headers
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or_default();
        let kind = kind
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        let of_profile = kind.starts_with("application/vnd.ed-fi.") && kind.ends_with("+json");
        if kind != "application/json" && !of_profile {
            return Err(Problem::media_type());
        }
        if text.is_empty() {
            return Err(Problem::bad_request(
                "A non-empty request body is required.",
            ));
        }
        let unreadable = |error: serde_json::Error| {
            let place = format!("line {}, position {}", error.line(), error.column());
            Problem::validation(vec![(
                "$".to_owned(),
                vec![format!("The body is not a JSON object: {place}.")],
            )])
        };
        let body: Map<String, Value> = serde_json::from_slice(text).map_err(unreadable)?;
        let rewriter = Rewriter {
            definitions: self.definitions,
            district: &self.district.id,
            links: self.links,
        };
        let members = rewriter
            .members(endpoint, &String::from_utf8_lossy(text))
            .map_err(unreadable)?;
        let identity = self.definitions.identity(endpoint, &body);
        let references = self.definitions.references(endpoint, &body);
        let digest = |target: &str, key: &str| digest_of(&self.district.id, target, key);
        Ok(Posted {
            key: digest(endpoint, &key_text(identity.values().map(Some))),
            refers_to: references
                .iter()
                .map(|one| digest(&one.target, &one.key))
                .collect(),
            references,
            body,
            members,
            identity,
        })
    }

    /// Schema first, then references; only those into resources that the district holds are looked up.
    fn check(&self, state: &State, endpoint: &str, posted: &Posted) -> Result<(), Problem> {
        let errors = validate(self.definitions, endpoint, &posted.body);
        if !errors.is_empty() {
            return Err(Problem::validation(errors));
        }
        for (reference, digest) in posted.references.iter().zip(&posted.refers_to) {
            let there = state
                .tables
                .get(&reference.target)
                .is_none_or(|table| table.by_key(*digest).is_some());
            if !there {
                return Err(Problem::unresolved(
                    &self.definitions.item_name(&reference.target),
                ));
            }
        }
        Ok(())
    }

    fn check_match(&self, record: Option<&Record>) -> Result<(), Problem> {
        let Some(header) = self
            .headers
            .get(IF_MATCH)
            .and_then(|value| value.to_str().ok())
        else {
            return Ok(());
        };
        let is = |record: &Record| {
            unquoted(header) == "*" || unquoted(header) == record.etag.to_string()
        };
        if record.is_some_and(is) {
            Ok(())
        } else {
            Err(Problem::stale())
        }
    }
}

fn find<'s>(state: &'s State, endpoint: &str, id: &str) -> Option<&'s Arc<Record>> {
    state.tables.get(endpoint)?.by_id(read_id(id)?)
}

/// Stores the body: in the place of `before`, or at the end.
fn store(state: &mut State, endpoint: &str, posted: Posted, before: Option<Arc<Record>>) -> Record {
    let change_version = state.next_version();
    let (seq, id) = match &before {
        Some(before) => (before.seq, before.id),
        None => (
            state.next_seq(),
            free_id(state, endpoint, posted.key, change_version),
        ),
    };
    let etag = etag_of(id, change_version);
    let mut bytes = Vec::with_capacity(posted.members.len() + 160);
    wire(id, etag, clock::now(), &posted.members, &mut bytes);
    let record = Record {
        seq,
        id,
        key: posted.key,
        etag,
        change_version,
        wire: Bytes::from(bytes),
        at: None,
        refers_to: posted.refers_to,
    };
    let table = state.tables.entry(endpoint.to_owned()).or_default();
    note_members(&posted.body, &mut table.members);
    if before.is_some() {
        table.replace(record.clone());
    } else {
        table.insert(record.clone());
    }
    record
}

/// The id of a new item: the digest of its key, unless an item that once had this key has it.
fn free_id(state: &State, endpoint: &str, key: u128, change_version: u64) -> u128 {
    match state
        .tables
        .get(endpoint)
        .and_then(|table| table.by_id(key))
    {
        Some(_) => digest_of(endpoint, &id_text(key), &change_version.to_string()),
        None => key,
    }
}

/// What a method that means nothing for a collection or an item is told.
pub(super) fn not_allowed(endpoint: &str, method: &hyper::Method, is_item: bool) -> Problem {
    let what = if is_descriptor(endpoint) {
        "Descriptor"
    } else {
        "Resource"
    };
    Problem::method(match (method.as_str(), is_item) {
        ("POST", true) => format!(
            "{what} items can only be updated using PUT. To 'upsert' an item in the resource collection using POST, remove the 'id' from the route."
        ),
        ("PUT", false) => format!(
            "{what} collections cannot be replaced. To 'upsert' an item in the collection, use POST. To update a specific item, use PUT and include the 'id' in the route."
        ),
        ("DELETE", false) => format!(
            "{what} collections cannot be deleted. To delete a specific item, use DELETE and include the 'id' in the route."
        ),
        (other, _) => format!("The method {other} is not supported."),
    })
}
