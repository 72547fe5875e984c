//! The second pass: which rows refer to what neither the ODS nor the batch has.
//!
//! It is only needed where an ODS lacks something. An item that a row of the batch brings counts as
//! there as long as that row has no errors itself; whoever refers to it otherwise has one, too, and
//! so on until nothing changes.

use std::borrow::Cow;
use std::collections::HashMap;

use rayon::prelude::*;

use super::collect::{Collected, digest, reference_key};
use super::finding::{Finding, Findings};
use super::known::Open;
use super::options::Rule;
use super::rows::{Batch, Piece};
use crate::openapi::validate::{Json, Model, Path, Severity, Target, Visitor};

/// A key that an ODS does not have.
struct OpenKey<'b> {
    target: &'b Target,
    key: String,
    other_case: Option<String>,
    /// How many rows without errors bring it.
    brought: usize,
    /// Whether rows bring it that have errors.
    is_spoilt: bool,
    is_missing: bool,
}

impl OpenKey<'_> {
    /// ODSs find descriptors in any case.
    fn is_tolerated(&self) -> bool {
        self.target.is_descriptor && self.other_case.is_some()
    }

    fn detail(&self) -> String {
        let mut detail = match self.target.is_descriptor {
            true => format!("{} '{}' does not exist", self.target.name, self.key),
            false => {
                let values: Vec<String> = serde_json::from_str(&self.key).unwrap_or_default();
                let fields = self.target.identity.fields().iter().zip(values);
                let parts: Vec<String> = fields
                    .map(|(field, value)| format!("{} {value:?}", field.param))
                    .collect();
                let name = &self.target.name;
                format!("there is no such item in {name}: {}", parts.join(", "))
            }
        };
        if let Some(other) = &self.other_case {
            let other = match self.target.is_descriptor {
                true => format!("'{other}'"),
                false => other.clone(),
            };
            detail = match self.is_tolerated() {
                true => format!("differs in case only from {other}"),
                false => format!("{detail}; {other} differs in case only"),
            };
        }
        if self.is_spoilt && !self.is_tolerated() {
            detail.push_str("; the row that would bring it has errors itself");
        }
        detail
    }
}

/// That a row refers to an open key.
#[derive(Clone, Copy)]
struct Edge {
    row: usize,
    path: usize,
    key: usize,
}

/// Adds what the batch lacks to what was found before.
pub(super) fn resolve(batch: &Batch, collected: Collected, open: Vec<Vec<Vec<Open>>>) -> Findings {
    let mut findings = Vec::new();
    let mut has_error = vec![false; batch.len()];
    for finding in batch.findings.iter().chain(&collected.findings) {
        if let (Severity::Error, Some(row)) = (finding.severity, finding.row) {
            has_error[row] = true;
        }
    }
    for (ods, open) in open.into_iter().enumerate() {
        if open.iter().flatten().any(|target| !target.is_empty()) {
            let mut resolution = Resolution::new(batch, &collected, ods, open, &has_error);
            findings.append(&mut resolution.unchecked);
            resolution.refer();
            resolution.propagate(&mut has_error);
            findings.extend(resolution.findings());
        }
    }
    if batch.options.has(Rule::Keys) {
        findings.extend(twins(batch, &collected));
    }
    let mut all = Vec::with_capacity(batch.findings.len() + findings.len());
    all.extend(batch.findings.iter().map(Finding::copied));
    all.extend(collected.findings);
    all.extend(findings);
    all.sort_by_key(|one| (one.frame, one.row.map_or(0, |row| row + 1)));
    Findings {
        all,
        active: batch
            .frames
            .iter()
            .map(|frame| (frame.active.clone(), frame.first))
            .collect(),
    }
}

/// The open keys of one ODS.
struct Resolution<'b> {
    batch: &'b Batch,
    ods: usize,
    model: &'b Model,
    keys: Vec<OpenKey<'b>>,
    /// By account, by target.
    places: Vec<Vec<HashMap<String, usize>>>,
    /// The keys that a row brings.
    brings: HashMap<usize, Vec<usize>>,
    edges: Vec<Edge>,
    paths: Vec<String>,
    unchecked: Vec<Finding>,
}

impl<'b> Resolution<'b> {
    fn new(
        batch: &'b Batch,
        collected: &Collected,
        ods: usize,
        open: Vec<Vec<Open>>,
        has_error: &[bool],
    ) -> Self {
        let source = &batch.sources[ods];
        let model = source
            .model
            .as_deref()
            .expect("an ODS with open keys has one");
        let first = (0..batch.frames.len()).find(|frame| source.has_rows(*frame));
        let mut this = Self {
            batch,
            ods,
            model,
            keys: Vec::new(),
            places: Vec::new(),
            brings: HashMap::new(),
            edges: Vec::new(),
            paths: Vec::new(),
            unchecked: Vec::new(),
        };
        for open in open {
            let places = this.note(collected, open, first.unwrap_or(0), has_error);
            this.places.push(places);
        }
        this
    }

    /// Takes down what one account does not see; by target, the places of its keys.
    fn note(
        &mut self,
        collected: &Collected,
        open: Vec<Open>,
        first: usize,
        has_error: &[bool],
    ) -> Vec<HashMap<String, usize>> {
        let mut all = Vec::with_capacity(open.len());
        for (target, open) in self.model.targets().iter().zip(open) {
            if let Some(why) = open.unchecked {
                let is_known = |known: &Finding| known.detail == why;
                if !self.unchecked.iter().any(is_known) {
                    let finding = Finding::unchecked(first, target.rule(), why);
                    self.unchecked.push(finding);
                }
            }
            let mut places = HashMap::with_capacity(open.keys.len());
            for (key, missing) in open.keys {
                let number = self.keys.len();
                let mut one = OpenKey {
                    target,
                    other_case: missing.other_case,
                    brought: 0,
                    is_spoilt: false,
                    is_missing: false,
                    key,
                };
                for row in bringing(self.batch, collected, self.ods, &one) {
                    one.brought += usize::from(!has_error[row]);
                    one.is_spoilt |= has_error[row];
                    self.brings.entry(row).or_default().push(number);
                }
                places.insert(one.key.clone(), number);
                self.keys.push(one);
            }
            all.push(places);
        }
        all
    }

    /// Finds the rows that refer to open keys.
    fn refer(&mut self) {
        if self.keys.is_empty() {
            return;
        }
        let pieces = self.batch.pieces();
        let parts: Vec<(Vec<Edge>, Vec<String>)> = pieces
            .par_iter()
            .filter(|piece| piece.ods == self.ods)
            .map(|piece| self.edges_of(piece))
            .collect();
        let mut known: HashMap<String, usize> = HashMap::new();
        for (edges, paths) in parts {
            let places: Vec<usize> = paths
                .into_iter()
                .map(|path| {
                    let next = known.len();
                    *known.entry(path).or_insert(next)
                })
                .collect();
            self.edges.extend(edges.into_iter().map(|edge| Edge {
                path: places[edge.path],
                ..edge
            }));
        }
        self.paths = vec![String::new(); known.len()];
        for (path, place) in known {
            self.paths[place] = path;
        }
        self.edges.par_sort_by_key(|edge| (edge.key, edge.row));
    }

    fn edges_of(&self, piece: &Piece<'_>) -> (Vec<Edge>, Vec<String>) {
        let frame = &self.batch.frames[piece.frame];
        let mut finder = Finder {
            resolution: self,
            account: piece.account,
            row: 0,
            edges: Vec::new(),
            paths: Vec::new(),
            places: HashMap::new(),
        };
        if let Some((_, walk)) = self.model.resource(&frame.endpoint) {
            for place in piece.places {
                finder.row = frame.first + *place as usize;
                if let Ok(text) = frame.payload(*place)
                    && let Ok(json) = Json::object(&text)
                {
                    walk.payload(&json, &mut finder);
                }
            }
        }
        (finder.edges, finder.paths)
    }

    /// The edges to a key.
    fn edges_to(&self, key: usize) -> &[Edge] {
        let start = self.edges.partition_point(|edge| edge.key < key);
        let end = self.edges.partition_point(|edge| edge.key <= key);
        &self.edges[start..end]
    }

    /// Makes errors of rows that refer to what nobody has, and of those that refer to their items.
    fn propagate(&mut self, has_error: &mut [bool]) {
        let is_missing = |key: &OpenKey<'_>| key.brought == 0 && !key.is_tolerated();
        let keys = self.keys.iter().enumerate();
        let missing = keys.filter(|(_, key)| is_missing(key));
        let mut next: Vec<usize> = missing.map(|(number, _)| number).collect();
        while let Some(number) = next.pop() {
            if std::mem::replace(&mut self.keys[number].is_missing, true) {
                continue;
            }
            let rows: Vec<usize> = self.edges_to(number).iter().map(|edge| edge.row).collect();
            for row in rows {
                if std::mem::replace(&mut has_error[row], true) {
                    continue;
                }
                for &brought in self.brings.get(&row).map_or(&[][..], Vec::as_slice) {
                    let key = &mut self.keys[brought];
                    key.brought -= 1;
                    key.is_spoilt = true;
                    if is_missing(key) {
                        next.push(brought);
                    }
                }
            }
        }
    }

    fn findings(self) -> impl Iterator<Item = Finding> {
        let details: Vec<Option<(Severity, Rule, String)>> = self
            .keys
            .iter()
            .map(|key| {
                let severity = match (key.is_missing, key.is_tolerated() && key.brought == 0) {
                    (true, _) => Severity::Error,
                    (false, true) => Severity::Warning,
                    (false, false) => return None,
                };
                Some((severity, key.target.rule(), key.detail()))
            })
            .collect();
        let mut edges = self.edges;
        edges.sort_by_key(|edge| (edge.row, edge.path));
        let (paths, frames) = (self.paths, &self.batch.frames);
        edges.into_iter().filter_map(move |edge| {
            let (severity, rule, detail) = details[edge.key].as_ref()?;
            let frame = frames.partition_point(|frame| frame.first <= edge.row) - 1;
            let finding = Finding::error(*rule, &paths[edge.path], detail.clone());
            Some(Finding {
                severity: *severity,
                ..finding.of(frame, edge.row)
            })
        })
    }
}

/// The rows that bring the item of a key.
fn bringing(batch: &Batch, collected: &Collected, ods: usize, open: &OpenKey<'_>) -> Vec<usize> {
    let digest = match open.key.split_once('#') {
        Some((namespace, code)) if open.target.is_descriptor => {
            digest(&open.target.identity.canonical(&[code, namespace]))
        }
        _ => digest(&open.key),
    };
    let mut rows = Vec::new();
    for (number, frame) in batch.frames.iter().enumerate() {
        let endpoints = open.target.endpoints.iter();
        if endpoints.into_iter().any(|endpoint| frame.is_of(endpoint))
            && let Some(own) = collected.own.get(&(ods, number))
        {
            let start = own.partition_point(|(key, _)| *key < digest);
            let same = own[start..].iter().take_while(|(key, _)| *key == digest);
            rows.extend(same.map(|(_, row)| *row));
        }
    }
    rows
}

/// Looks for references to open keys.
struct Finder<'r, 'b> {
    resolution: &'r Resolution<'b>,
    account: usize,
    row: usize,
    edges: Vec<Edge>,
    paths: Vec<String>,
    places: HashMap<String, usize>,
}

impl Finder<'_, '_> {
    fn refers(&mut self, target: usize, key: &str, path: Path<'_>) {
        let places = &self.resolution.places[self.account];
        let Some(key) = places[target].get(key) else {
            return;
        };
        let path = path.to_string();
        let next = self.paths.len();
        let place = match self.places.get(&path) {
            Some(place) => *place,
            None => {
                self.paths.push(path.clone());
                self.places.insert(path, next);
                next
            }
        };
        self.edges.push(Edge {
            row: self.row,
            path: place,
            key: *key,
        });
    }
}

impl Visitor for Finder<'_, '_> {
    fn schema(&mut self, _: Severity, _: Path<'_>, _: impl FnOnce() -> String) {}

    fn twin(&mut self, _: Path<'_>, _: usize) {}

    fn descriptor(&mut self, path: Path<'_>, property: &str, value: &str) {
        if let Some(target) = self.resolution.model.descriptor(property, value) {
            self.refers(target, value, path);
        }
    }

    fn reference(&mut self, path: Path<'_>, schema: &str, members: &[(Cow<'_, str>, Json<'_>)]) {
        let model = self.resolution.model;
        if let Some(number) = model.reference(schema)
            && !self.resolution.places[self.account][number].is_empty()
            && let Some((key, _)) = reference_key(&model.targets()[number], members)
        {
            self.refers(number, &key, path);
        }
    }
}

/// Rows of one frame with the same natural key and different payloads.
fn twins(batch: &Batch, collected: &Collected) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (&(_, number), own) in &collected.own {
        let frame = &batch.frames[number];
        for same in own.chunk_by(|one, two| one.0 == two.0) {
            let [others @ .., (_, last)] = same else {
                continue;
            };
            let payload = |row: usize| frame.payload((row - frame.first) as u32);
            let Ok(newest) = payload(*last) else { continue };
            let differs = |(_, row): &(u128, usize)| {
                payload(*row).is_ok_and(|payload| !is_same(&payload, &newest))
            };
            if !others.iter().any(differs) {
                continue;
            }
            let place = frame.active[last - frame.first];
            findings.extend(others.iter().map(|(_, row)| {
                let detail = format!(
                    "rows with the natural key of row {place} differ: the server takes them all, and \
                     the payload of that row stays"
                );
                let finding = Finding::error(Rule::Keys, "$", detail);
                Finding {
                    severity: Severity::Warning,
                    ..finding.of(number, *row)
                }
            }));
        }
    }
    findings
}

/// Whether two payloads are one, however they are written.
fn is_same(one: &[u8], two: &[u8]) -> bool {
    if one == two {
        return true;
    }
    let read = |text| serde_json::from_slice::<serde_json::Value>(text);
    match (read(one), read(two)) {
        (Ok(one), Ok(two)) => one == two,
        _ => false,
    }
}
