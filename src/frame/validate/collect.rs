//! The first pass over all payloads: what is wrong by the documents alone, the natural key of each
//! row, and which descriptors and items the rows refer to.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::finding::Finding;
use super::options::{Rule, ValidateOptions};
use super::rows::{Batch, Frame, Piece};
use crate::openapi::validate::{Json, Model, Path, Severity, Target, Visitor};
use crate::openapi::{Identity, NoKey};
use crate::runtime::lock;

/// The keys of one target that rows refer to, and how the first of them is written, where that
/// says more than the key.
pub(in crate::frame) type Keys = HashMap<String, Option<Box<str>>>;

/// What the first pass found.
pub(super) struct Collected {
    pub(super) findings: Vec<Finding>,
    /// By ODS, by account, by target of its model.
    pub(super) needs: Vec<Vec<Vec<Keys>>>,
    /// By ODS and frame, the natural keys of rows, and the numbers of these rows; sorted.
    pub(super) own: HashMap<(usize, usize), Vec<(u128, usize)>>,
}

/// A natural key in few bytes.
pub(in crate::frame) fn digest(key: &str) -> u128 {
    let mut hashers = [DefaultHasher::new(), DefaultHasher::new()];
    hashers[1].write_u8(1);
    let [one, two] = hashers.map(|mut hasher| {
        key.hash(&mut hasher);
        hasher.finish()
    });
    u128::from(one) << 64 | u128::from(two)
}

/// Goes through all payloads.
pub(super) fn collect(batch: &Batch) -> Collected {
    let needs: Vec<Mutex<Vec<Vec<Keys>>>> = batch
        .sources
        .iter()
        .map(|ods| {
            let targets = ods.model.as_ref().map_or(0, |model| model.targets().len());
            Mutex::new(vec![vec![Keys::new(); targets]; ods.accounts.len()])
        })
        .collect();
    let pieces = batch.pieces();
    let done: Vec<(usize, usize, Part)> = pieces
        .par_iter()
        .map(|piece| {
            let mut part = Part::of(batch, piece);
            let mut needs = lock(&needs[piece.ods]);
            let needs = needs[piece.account].iter_mut();
            for (all, new) in needs.zip(std::mem::take(&mut part.needs)) {
                for (key, written) in new {
                    all.entry(key).or_insert(written);
                }
            }
            (piece.ods, piece.frame, part)
        })
        .collect();
    let mut collected = Collected {
        findings: Vec::new(),
        needs: needs
            .into_iter()
            .map(|needs| needs.into_inner().unwrap_or_else(PoisonError::into_inner))
            .collect(),
        own: HashMap::new(),
    };
    for (ods, frame, part) in done {
        collected.findings.extend(part.findings);
        let own = collected.own.entry((ods, frame)).or_default();
        own.extend(part.own);
    }
    collected
        .own
        .par_iter_mut()
        .for_each(|(_, own)| own.par_sort_unstable());
    collected
}

/// What one piece brought.
#[derive(Default)]
struct Part {
    findings: Vec<Finding>,
    needs: Vec<Keys>,
    own: Vec<(u128, usize)>,
}

impl Part {
    fn of(batch: &Batch, piece: &Piece<'_>) -> Self {
        let (frame, ods) = (&batch.frames[piece.frame], &batch.sources[piece.ods]);
        let model = ods.model.as_deref();
        let resource = model.and_then(|model| model.resource(&frame.endpoint));
        let targets = model.map_or(0, |model| model.targets().len());
        let mut collector = Collector {
            options: &batch.options,
            replaces: batch.replaces,
            model,
            findings: Vec::new(),
            needs: vec![Keys::new(); targets],
        };
        let mut part = Self::default();
        for place in piece.places {
            let row = frame.first + *place as usize;
            let before = collector.findings.len();
            let payload = frame.payload(*place).map_err(|failure| failure.message);
            let own = payload.and_then(|text| {
                let json = Json::object(&text).map_err(|what| format!("invalid JSON: {what}"))?;
                let Some((resource, walk)) = &resource else {
                    return Ok(None);
                };
                walk.payload(&json, &mut collector);
                let identity = resource.identity.as_deref();
                Ok(identity.and_then(|identity| collector.own_key(identity, &json)))
            });
            match own {
                Ok(Some(key)) => part.own.push((digest(&key), row)),
                Ok(None) => {}
                Err(what) => collector
                    .findings
                    .push(Finding::error(Rule::Schema, "$", what)),
            }
            for finding in &mut collector.findings[before..] {
                (finding.frame, finding.row) = (piece.frame, Some(row));
            }
        }
        (part.findings, part.needs) = (collector.findings, collector.needs);
        part
    }
}

/// Takes down what payloads hold.
struct Collector<'m> {
    options: &'m ValidateOptions,
    replaces: bool,
    model: Option<&'m Model>,
    findings: Vec<Finding>,
    needs: Vec<Keys>,
}

impl Collector<'_> {
    fn wrong(&mut self, rule: Rule, path: Path<'_>, detail: String) {
        if self.options.has(rule) {
            self.findings
                .push(Finding::error(rule, &path.to_string(), detail));
        }
    }

    fn need(&mut self, target: usize, key: String, written: impl FnOnce() -> Option<Box<str>>) {
        self.needs[target].entry(key).or_insert_with(written);
    }

    /// The natural key of a payload; `None` where a part of it is missing or does not agree.
    fn own_key(&mut self, identity: &Identity, json: &Json<'_>) -> Option<String> {
        match identity.values_in(json) {
            Ok(values) => Some(identity.canonical(&values)),
            Err(NoKey::Missing(_) | NoKey::Compound(_)) => None,
            Err(NoKey::Differs(first, path)) => {
                let detail = format!(
                    "is one part of the natural key with $.{first}, and must have the same value"
                );
                self.wrong(Rule::Keys, Path::Name(&Path::Root, path), detail);
                None
            }
        }
    }
}

impl Visitor for Collector<'_> {
    fn schema(&mut self, severity: Severity, path: Path<'_>, detail: impl FnOnce() -> String) {
        if self.options.has(Rule::Schema) {
            let finding = Finding::error(Rule::Schema, &path.to_string(), detail());
            self.findings.push(Finding {
                severity,
                ..finding
            });
        }
    }

    fn id(&mut self, path: Path<'_>) {
        if !self.replaces {
            let detail = "the server gives ids; a payload with one is refused";
            self.wrong(Rule::Schema, path, detail.into());
        }
    }

    fn twin(&mut self, path: Path<'_>, first: usize) {
        let detail = format!("has the same key as element {first} of its list");
        self.wrong(Rule::Keys, path, detail);
    }

    fn descriptor(&mut self, path: Path<'_>, property: &str, value: &str) {
        let target = self
            .model
            .and_then(|model| model.descriptor(property, value));
        let Some(target) = target.filter(|_| self.options.has(Rule::Descriptors)) else {
            return;
        };
        match value.split_once('#') {
            Some(_) => self.need(target, value.to_owned(), || None),
            None => {
                let detail = format!("'{value}' names no descriptor: namespace#codeValue does");
                self.wrong(Rule::Descriptors, path, detail);
            }
        }
    }

    fn reference(&mut self, _: Path<'_>, schema: &str, members: &[(Cow<'_, str>, Json<'_>)]) {
        if !self.options.has(Rule::References) {
            return;
        }
        let Some(model) = self.model else { return };
        if let Some(number) = model.reference(schema) {
            let target = &model.targets()[number];
            if let Some((key, values)) = reference_key(target, members) {
                let written = written(&key, &values);
                self.need(number, key, || written);
            }
        }
    }
}

/// The key of the item that a reference leads to, and its values as they are written.
pub(super) fn reference_key<'j>(
    target: &Target,
    members: &'j [(Cow<'_, str>, Json<'_>)],
) -> Option<(String, Vec<Cow<'j, str>>)> {
    let values = target.values(members)?;
    Some((target.identity.canonical(&values), values))
}

/// The values of a key, where the key does not have them as they are.
pub(in crate::frame) fn written(key: &str, values: &[Cow<'_, str>]) -> Option<Box<str>> {
    let texts = values.iter().map(AsRef::as_ref);
    let written = serde_json::Value::from_iter::<Vec<&str>>(texts.collect()).to_string();
    (written != key).then(|| written.into())
}

/// The values of a key, of which some are asked for by themselves.
pub(in crate::frame) fn values_of(key: &str, written: Option<&str>) -> Vec<String> {
    serde_json::from_str(written.unwrap_or(key)).unwrap_or_default()
}

impl Frame {
    /// Whether the frame's endpoint is this one.
    pub(in crate::frame) fn is_of(&self, endpoint: &str) -> bool {
        self.endpoint.eq_ignore_ascii_case(endpoint)
    }
}
