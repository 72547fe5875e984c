//! What a schema says that records are made of.
//!
//! - `date` becomes Date, `date-time` Datetime(us, UTC), other strings String: ODSs write times of
//!   day as plain strings. `int32` is Int32, other integers are Int64, numbers Float64.
//! - An array becomes a List, an object with properties a Struct; what `allOf` names together
//!   belongs together. Alternatives (`oneOf`, `anyOf`) are widened into one type.
//! - Left out, since no column could hold them: objects without known properties, arrays of them,
//!   and an object inside itself. What records hold there goes to `_unknown`.
//! - `id`, `_etag` and `_lastModifiedDate`, which each record has, are added where they are not
//!   mentioned.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::record::{Kind, Record};
use super::resolve::{DEEPEST, Resolver};

/// How many properties are looked at for one resource.
const MOST: usize = 50_000;

/// Reads the types of schemas.
pub(super) struct TypeReader<'a> {
    resolver: Resolver<'a>,
    /// What references have led to, where no circle took part, and how many properties that is.
    known: HashMap<&'a str, (Option<Kind>, usize)>,
    /// The references that are being followed.
    path: Vec<&'a str>,
    /// How many circles were cut.
    cuts: usize,
    /// How many more properties are looked at.
    left: usize,
}

impl<'a> TypeReader<'a> {
    pub(super) fn new(resolver: Resolver<'a>) -> Self {
        Self {
            resolver,
            known: HashMap::new(),
            path: Vec::new(),
            cuts: 0,
            left: 0,
        }
    }

    /// What the records of a resource are made of, if the schema says.
    pub(super) fn record(&mut self, schema: &'a Value) -> Option<Record> {
        self.left = MOST;
        match self.kind(schema) {
            Some(Kind::Struct(record)) => Some(with_server_fields(&record)),
            _ => None,
        }
    }

    /// The type of a schema, if a column can hold it.
    fn kind(&mut self, schema: &'a Value) -> Option<Kind> {
        self.left = self.left.checked_sub(1)?;
        let Some(reference) = schema.get("$ref").and_then(Value::as_str) else {
            return self.plain(schema);
        };
        if let Some((kind, size)) = self.known.get(reference) {
            let left = self.left.checked_sub(*size);
            self.left = left.unwrap_or(0);
            return left.and(kind.clone());
        }
        if self.path.contains(&reference) || self.path.len() >= DEEPEST {
            self.cuts += 1;
            return None;
        }
        let (cuts, left) = (self.cuts, self.left);
        self.path.push(reference);
        let kind = self.kind(self.resolver.target(reference));
        self.path.pop();
        if cuts == self.cuts && self.left > 0 {
            self.known
                .insert(reference, (kind.clone(), left - self.left));
        }
        kind
    }

    fn plain(&mut self, schema: &'a Value) -> Option<Kind> {
        let parts = |name: &str| schema.get(name).and_then(Value::as_array);
        let mut whole: Option<Kind> = None;
        for part in parts("allOf").into_iter().flatten() {
            whole = together(whole, self.kind(part));
        }
        for name in ["oneOf", "anyOf"] {
            let mut either: Option<Kind> = None;
            for part in parts(name).into_iter().flatten() {
                either = match (either, self.kind(part)) {
                    (Some(one), Some(two)) => Some(one.widen(&two)),
                    (one, two) => one.or(two),
                };
            }
            whole = together(whole, either);
        }
        let own = self.own(schema);
        together(whole, own)
    }

    /// What a schema says without the schemas that it is composed of.
    fn own(&mut self, schema: &'a Value) -> Option<Kind> {
        let mut types: Vec<&str> = match schema.get("type") {
            Some(Value::String(name)) => vec![name],
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            _ if schema.get("properties").is_some() => vec!["object"],
            _ if schema.get("items").is_some() => vec!["array"],
            _ if is_enum_of_strings(schema) => vec!["string"],
            _ => Vec::new(),
        };
        types.retain(|name| *name != "null");
        types.dedup();
        let format = schema.get("format").and_then(Value::as_str);
        match types[..] {
            ["string"] => Some(match format {
                Some("date") => Kind::Date,
                Some("date-time") => Kind::Datetime,
                _ => Kind::String,
            }),
            ["integer"] => Some(match format {
                Some("int32") => Kind::Int32,
                _ => Kind::Int64,
            }),
            ["number"] | ["integer", "number"] | ["number", "integer"] => Some(Kind::Float64),
            ["boolean"] => Some(Kind::Boolean),
            ["array"] => Some(Kind::List(Arc::new(self.kind(schema.get("items")?)?))),
            ["object"] => {
                let mut fields = Vec::new();
                for (name, schema) in schema.get("properties")?.as_object()? {
                    if let Some(kind) = self.kind(schema) {
                        fields.push((name.as_str().into(), kind));
                    }
                }
                (!fields.is_empty()).then(|| Kind::Struct(Record::new(fields)))
            }
            [] | [_] => None,
            _ => Some(Kind::Text),
        }
    }
}

fn is_enum_of_strings(schema: &Value) -> bool {
    let values = schema.get("enum").and_then(Value::as_array);
    values.is_some_and(|values| {
        values
            .iter()
            .all(|value| value.is_string() || value.is_null())
    })
}

/// The type of a value to which both schemas apply.
fn together(one: Option<Kind>, two: Option<Kind>) -> Option<Kind> {
    match (one, two) {
        (Some(Kind::Struct(one)), Some(Kind::Struct(two))) => {
            let mut fields = one.fields().to_vec();
            for (name, kind) in two.fields() {
                match fields.iter_mut().find(|(known, _)| known == name) {
                    Some((_, known)) => {
                        if let Some(kind) = together(Some(known.clone()), Some(kind.clone())) {
                            *known = kind;
                        }
                    }
                    None => fields.push((name.clone(), kind.clone())),
                }
            }
            Some(Kind::Struct(Record::new(fields)))
        }
        // A format says more than none.
        (Some(Kind::String), Some(two)) => Some(two),
        (one, two) => one.or(two),
    }
}

/// The record with what each record of an ODS has, whether or not the document mentions it.
fn with_server_fields(record: &Record) -> Record {
    let mut fields = record.fields().to_vec();
    let has = |fields: &[(Box<str>, Kind)], wanted: &str| {
        fields.iter().any(|(name, _)| **name == *wanted)
    };
    if !has(&fields, "id") {
        fields.insert(0, ("id".into(), Kind::String));
    }
    for (name, kind) in [
        ("_etag", Kind::String),
        ("_lastModifiedDate", Kind::Datetime),
    ] {
        if !has(&fields, name) {
            fields.push((name.into(), kind));
        }
    }
    Record::new(fields)
}
