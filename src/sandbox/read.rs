//! Reads: collections page by page, single items, partitions.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH};
use hyper::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::body::{Body, empty, json as json_answer, typed};
use super::definitions::{Definitions, lookup};
use super::district::District;
use super::faults::Faults;
use super::problem::Problem;
use super::query::{Limits, Page, Query, Window, page_token};
use super::release::Release;
use super::store::{Record, State, Table, Tables, read_id};

/// How many items match, where the request asks for it.
const TOTAL_COUNT: HeaderName = HeaderName::from_static("total-count");
const NEXT_PAGE_TOKEN: HeaderName = HeaderName::from_static("next-page-token");
const USE_SNAPSHOT: HeaderName = HeaderName::from_static("use-snapshot");

const JSON: &str = "application/json; charset=utf-8";

/// What is the same for all reads of a request.
pub(super) struct Reader<'a> {
    pub(super) definitions: &'a Definitions,
    pub(super) district: &'a District,
    pub(super) headers: &'a HeaderMap,
    pub(super) query: &'a Query,
    pub(super) limits: Limits,
    pub(super) release: Release,
    /// Whether the host answers `totalCount=true`.
    pub(super) counts: bool,
    /// Whether only resources that stand in the documents are there.
    pub(super) strict: bool,
}

impl Reader<'_> {
    /// `GET /data/v3/{namespace}/{resource}`.
    pub(super) fn collection(&self, endpoint: &str) -> Result<Response<Body>, Problem> {
        let state = self.district.state();
        let table = self.table(&state, endpoint)?;
        let (no_cursor, gaps) = {
            let faults = &self.district.faults().faults;
            let no_cursor = faults.no_cursor || !self.release.has_cursor();
            (no_cursor, faults.token_gaps)
        };
        let page = match no_cursor {
            true => Page::Window(self.query.window(self.limits)?),
            false => self.query.page(self.limits)?,
        };
        let wants_total = self.query.total_count()?;
        let filter = self.filter(endpoint, table)?;

        let mut faults = self.district.faults();
        if matches!(&page, Page::Window(window) if window.offset == 0 && window.limit > 0) {
            faults.begin_read(endpoint);
        }
        let lost = faults.lost(endpoint);
        let faults = &mut faults.faults;

        let records = table.ordered(self.release.order());
        let shown = &records[..records.len().saturating_sub(lost)];
        let fits = |one: &&Arc<Record>| filter.as_ref().is_none_or(|filter| filter.fits(one));
        let (chosen, total): (Vec<_>, _) = match page {
            Page::Window(Window { offset, limit }) => {
                let repeat = usize::from(faults.repeat_records && offset > 0 && limit > 0);
                let (start, size) = (offset - repeat, faults.page_size(limit) + repeat);
                let total = || match filter {
                    Some(_) => records.iter().filter(fits).count(),
                    None => records.len(),
                };
                let chosen = match filter {
                    Some(_) => shown.iter().filter(fits).skip(start).take(size).collect(),
                    None => shown.iter().skip(start).take(size).collect(),
                };
                (chosen, wants_total.then(total))
            }
            Page::Cursor { gap: true, .. } if gaps => (Vec::new(), None),
            Page::Cursor { from, to, size, .. } => {
                let size = faults.page_size(if gaps { size.div_ceil(2) } else { size });
                let last_shown = shown.last().map_or(0, |record| record.seq);
                let range = table.between(from, to.min(last_shown)).iter();
                (range.filter(fits).take(size).collect(), None)
            }
        };

        let mut frames = VecDeque::from([Bytes::from_static(b"[")]);
        if faults.mistype || faults.no_ids {
            let half = records
                .get(records.len() / 2)
                .map_or(0, |record| record.seq);
            let wrong_from = if faults.mistype { half } else { u64::MAX };
            frames.push_back(tampered(&chosen, wrong_from, faults.no_ids).into());
        } else {
            frames.extend(table.runs(chosen.iter().copied()));
        }
        frames.push_back(Bytes::from_static(b"]"));
        let mut answer = typed(StatusCode::OK, JSON, Body::frames(frames));
        self.count(total, faults, &mut answer);
        let next = match (page, chosen.last()) {
            (Page::Cursor { from, to, gap, .. }, None) => {
                (gap && gaps).then(|| page_token(from, to, false))
            }
            (Page::Cursor { to, .. }, Some(last)) => Some(page_token(last.seq + 1, to, true)),
            (Page::Window(_), Some(last)) => Some(page_token(last.seq + 1, u64::MAX, true)),
            (Page::Window(_), None) => None,
        };
        if let Some(token) = next.filter(|_| !no_cursor)
            && let Ok(token) = HeaderValue::from_str(&token)
        {
            answer.headers_mut().insert(NEXT_PAGE_TOKEN, token);
        }
        Ok(answer)
    }

    /// Tells how many there are, where somebody asked and the host counts.
    pub(super) fn count(&self, total: Option<usize>, faults: &Faults, answer: &mut Response<Body>) {
        let total = total
            .filter(|_| self.counts)
            .and_then(|right| faults.total(right));
        if let Some(total) = total {
            answer.headers_mut().insert(TOTAL_COUNT, total.into());
        }
    }

    /// `GET /data/v3/{namespace}/{resource}/{id}`.
    pub(super) fn item(&self, endpoint: &str, id: &str) -> Result<Response<Body>, Problem> {
        let state = self.district.state();
        let table = self.table(&state, endpoint)?;
        let record = read_id(id)
            .and_then(|id| table.by_id(id))
            .ok_or_else(no_item)?;
        let mut answer = if self.is_current(record.etag) {
            empty(StatusCode::NOT_MODIFIED)
        } else {
            let faults = self.district.faults();
            let body = if faults.faults.no_ids {
                tampered(&[record], u64::MAX, true).into()
            } else {
                record.wire.clone()
            };
            typed(StatusCode::OK, JSON, Body::frames([body]))
        };
        answer.headers_mut().insert(ETAG, etag_header(record.etag));
        Ok(answer)
    }

    /// `GET /data/v3/{namespace}/{resource}/partitions`.
    pub(super) fn partitions(&self, endpoint: &str) -> Result<Response<Body>, Problem> {
        let state = self.district.state();
        let table = self.table(&state, endpoint)?;
        let number = self.query.partitions()?;
        let filter = self.filter(endpoint, table)?;
        if self.district.faults().faults.no_cursor || !self.release.has_cursor() {
            return Err(no_item());
        }
        let fits = |one: &&Arc<Record>| filter.as_ref().is_none_or(|filter| filter.fits(one));
        let chosen: Vec<u64> = table
            .records()
            .iter()
            .filter(fits)
            .map(|record| record.seq)
            .collect();
        // A partition has five pages at least, as in the ODS.
        let size = chosen
            .len()
            .div_ceil(number)
            .max(5 * self.limits.most)
            .max(1);
        let starts: Vec<u64> = chosen.chunks(size).map(|part| part[0]).collect();
        let tokens = starts.iter().enumerate().map(|(index, start)| {
            let end = starts
                .get(index + 1)
                .or(chosen.last().map(|last| last + 1).as_ref())
                .map_or(0, |next| next - 1);
            page_token(*start, end, true)
        });
        Ok(json_answer(
            StatusCode::OK,
            &json!({"pageTokens": tokens.collect::<Vec<_>>()}),
        ))
    }

    /// The table to read: of the snapshot where the request wants one.
    pub(super) fn table<'s>(&self, state: &'s State, endpoint: &str) -> Result<&'s Table, Problem> {
        static NOTHING: std::sync::LazyLock<Table> = std::sync::LazyLock::new(Table::default);
        let tables = self.tables(state)?;
        match tables.get(endpoint) {
            Some(table) => Ok(table),
            None if self.definitions.serves(endpoint) => Ok(&NOTHING),
            None if !self.strict && self.definitions.knows(endpoint) => Ok(&NOTHING),
            None => Err(no_item()),
        }
    }

    pub(super) fn tables<'s>(&self, state: &'s State) -> Result<&'s Tables, Problem> {
        if wants_snapshot(self.headers) {
            let text = "Snapshots are not available: none has been taken.";
            return state
                .snapshot
                .as_ref()
                .ok_or_else(|| Problem::not_found(text));
        }
        Ok(&state.tables)
    }

    fn is_current(&self, etag: u64) -> bool {
        let header = self
            .headers
            .get(IF_NONE_MATCH)
            .and_then(|value| value.to_str().ok());
        header.is_some_and(|text| text.split(',').any(|one| unquoted(one) == etag.to_string()))
    }

    /// What the query string says about members; unknown names are ignored, as the ODS does.
    fn filter(&self, endpoint: &str, table: &Table) -> Result<Option<Filter>, Problem> {
        let ignored = self.district.faults().faults.ignore_filters;
        let known = |name: &str| {
            if ignored {
                return false;
            }
            name.eq_ignore_ascii_case("id")
                || self.definitions.has_member(endpoint, name)
                || table
                    .members
                    .iter()
                    .any(|member| member.eq_ignore_ascii_case(name))
        };
        let members = self.query.filters().filter(|(name, _)| known(name));
        let filter = Filter {
            members: members
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            versions: self.query.change_versions()?,
        };
        let idle = filter.members.is_empty() && filter.versions == (0, u64::MAX);
        Ok((!idle).then_some(filter))
    }
}

/// Which records are wanted.
struct Filter {
    members: Vec<(String, String)>,
    versions: (u64, u64),
}

impl Filter {
    fn fits(&self, record: &Record) -> bool {
        let (from, to) = self.versions;
        if !(from..=to).contains(&record.change_version) {
            return false;
        }
        // Most records do not even hold the text: only the others are parsed.
        let may_fit = self
            .members
            .iter()
            .all(|(_, value)| !is_plain(value) || contains(&record.wire, value));
        if self.members.is_empty() || !may_fit {
            return may_fit;
        }
        let body = record.parse();
        self.members
            .iter()
            .all(|(name, value)| lookup(&body, name).is_some_and(|own| same(own, value)))
    }
}

/// Whether the text stands in JSON as it is.
fn is_plain(text: &str) -> bool {
    let is_boolean = text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false");
    !text.is_empty() && !is_boolean && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn contains(bytes: &[u8], text: &str) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|whole| whole.contains(text))
}

fn same(value: &Value, text: &str) -> bool {
    match value {
        Value::String(own) => own == text,
        Value::Bool(own) => text.eq_ignore_ascii_case(if *own { "true" } else { "false" }),
        Value::Number(own) => own.to_string() == text || text.parse().ok() == own.as_f64(),
        _ => false,
    }
}

/// The text of records that faults have changed: types from the sequence number `wrong_from` on.
fn tampered(chosen: &[&Arc<Record>], wrong_from: u64, no_ids: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for record in chosen {
        let mut body = record.parse();
        if no_ids {
            body.shift_remove("id");
        }
        if record.seq >= wrong_from && record.seq % 3 == 0 {
            stringify(&mut body);
        }
        if !out.is_empty() {
            out.push(b',');
        }
        out.extend_from_slice(Value::from(body).to_string().as_bytes());
    }
    out
}

fn stringify(body: &mut Map<String, Value>) {
    for value in body.values_mut() {
        match value {
            Value::Number(_) | Value::Bool(_) => *value = value.to_string().into(),
            Value::Object(inner) => stringify(inner),
            Value::Array(list) => list
                .iter_mut()
                .filter_map(Value::as_object_mut)
                .for_each(stringify),
            _ => {}
        }
    }
}

/// Whether the request asks for a snapshot.
pub(super) fn wants_snapshot(headers: &HeaderMap) -> bool {
    headers
        .get(USE_SNAPSHOT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

/// An ETag as a header: quoted.
pub(super) fn etag_header(etag: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{etag}\"")).unwrap_or_else(|_| HeaderValue::from(etag))
}

/// An ETag of a header, quoted or not.
pub(super) fn unquoted(text: &str) -> &str {
    text.trim().trim_matches('"')
}

/// 404 for an item or a resource.
pub(super) fn no_item() -> Problem {
    Problem::not_found("The specified data could not be found.")
}
