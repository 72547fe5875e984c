//! Writes: upsert by natural key, replacement by id, deletion.

use std::sync::Arc;

use hyper::header::{CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_MATCH, LOCATION};
use hyper::{Response, StatusCode};

use super::body::{Body, empty};
use super::commit::{Committer, Draft};
use super::definitions::{Definitions, is_descriptor};
use super::dependencies::associations;
use super::descriptors::Descriptors;
use super::district::District;
use super::problem::Problem;
use super::read::{etag_header, no_item, unquoted};
use super::store::{Record, State, digest_of, id_text, read_id};
use super::validate::{Findings, Validator};

/// What is the same for all writes of a request.
pub(super) struct Writer<'a> {
    pub(super) committer: Committer<'a>,
    pub(super) district: &'a District,
    pub(super) headers: &'a HeaderMap,
    /// Where items are: `http://…/data/v3`.
    pub(super) data_url: &'a str,
}

impl Writer<'_> {
    fn definitions(&self) -> &Definitions {
        self.committer.definitions
    }

    /// `POST /data/v3/{namespace}/{resource}`: 201 where the natural key is new, 200 where it is not.
    pub(super) fn upsert(&self, endpoint: &str, body: &[u8]) -> Result<Response<Body>, Problem> {
        let mut state = self.district.state();
        if !self.exists(&state, endpoint) {
            return Err(no_item());
        }
        let posted = self.read(&state, endpoint, body)?;
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
        self.check(&state, endpoint, &posted, before.as_deref())?;
        let status = if before.is_some() {
            StatusCode::OK
        } else {
            StatusCode::CREATED
        };
        let stamp = state.stamp();
        let record = self
            .committer
            .store(&mut state, endpoint, posted, before.as_deref(), stamp);
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
        let posted = self.read(&state, endpoint, body)?;
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
        self.check(&state, endpoint, &posted, Some(&before))?;
        if posted.key != before.key {
            if !self.definitions().updatable(endpoint) {
                return Err(Problem::key_change(&self.definitions().item_name(endpoint)));
            }
            if state
                .tables
                .get(endpoint)
                .is_some_and(|table| table.by_key(posted.key).is_some())
            {
                return Err(Problem::not_unique());
            }
        }
        let stamp = state.stamp();
        let record = self
            .committer
            .store(&mut state, endpoint, posted, Some(&before), stamp);
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
            if self.definitions().may_refer(other, endpoint) && table.records().iter().any(refers) {
                return Err(Problem::dependent(&self.definitions().item_name(other)));
            }
        }
        let stamp = state.stamp();
        self.committer.remove(&mut state, endpoint, id, stamp);
        Ok(empty(StatusCode::NO_CONTENT))
    }

    /// An ODS has what its documents have. One that is not strict has all of the Data Standard, and whatever
    /// is posted outside `ed-fi`.
    fn exists(&self, state: &State, endpoint: &str) -> bool {
        let not_strict = || self.definitions().knows(endpoint) || !endpoint.starts_with("ed-fi/");
        state.tables.contains_key(endpoint)
            || self.definitions().serves(endpoint)
            || (!self.committer.strict && not_strict())
    }

    fn read(&self, state: &State, endpoint: &str, text: &[u8]) -> Result<Draft, Problem> {
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
        self.committer
            .draft(&state.tables, endpoint, &String::from_utf8_lossy(text))
            .map_err(unreadable)
    }

    /// Schema first, then references, then whether the client may.
    fn check(
        &self,
        state: &State,
        endpoint: &str,
        posted: &Draft,
        before: Option<&Record>,
    ) -> Result<(), Problem> {
        let Committer {
            definitions,
            district,
            strict,
            ..
        } = self.committer;
        let descriptors = strict.then_some(Descriptors {
            definitions,
            district,
            tables: &state.tables,
        });
        let Findings { errors, missing } =
            Validator::new(definitions, descriptors).validate(endpoint, &posted.body);
        if !errors.is_empty() {
            let lacks_descriptors = missing.len() == errors.len();
            return Err(if lacks_descriptors {
                Problem::descriptors(errors, &missing)
            } else {
                Problem::validation(errors)
            });
        }
        for reference in &posted.references {
            let there = |target: &String| match state.tables.get(target) {
                Some(table) => {
                    let key = digest_of(district, target, &reference.key);
                    table.by_key(key).is_some()
                }
                None => !strict,
            };
            // One that is not strict may lack the kind that an abstract reference means.
            let is_checked = strict || reference.targets.len() == 1;
            if is_checked && !reference.targets.iter().any(there) {
                return Err(Problem::unresolved(&reference.item));
            }
        }
        match before {
            Some(person) if strict => self.check_reach(state, endpoint, person),
            _ => Ok(()),
        }
    }

    /// A person who exists may be written again once an association brings them into the client's reach.
    fn check_reach(&self, state: &State, endpoint: &str, person: &Record) -> Result<(), Problem> {
        let definitions = self.definitions();
        let associations = associations(definitions, endpoint);
        let reaches = |association: &&str| {
            let table = state.tables.get(*association);
            table.is_some_and(|table| {
                let mut records = table.records().iter();
                records.any(|record| record.refers_to.contains(&person.key))
            })
        };
        match associations.first() {
            Some(first) if !associations.iter().any(reaches) => Err(Problem::out_of_reach(
                &definitions.item_name(endpoint),
                &definitions.item_name(first),
            )),
            _ => Ok(()),
        }
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
