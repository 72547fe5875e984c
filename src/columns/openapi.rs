//! OpenAPI documents of an ODS: which resources there are, and what their records are made of.
//!
//! Reads OpenAPI 3 (`components.schemas`) and Swagger 2 (`definitions`). A record is what the
//! document says that `GET` answers with, whatever the schemas are called. The document itself is
//! not kept.
//!
//! - `date` becomes Date, `date-time` Datetime(us, UTC), other strings String: ODSs write times of
//!   day as plain strings. `int32` is Int32, other integers are Int64, numbers Float64.
//! - An array becomes a List, an object with properties a Struct; what `allOf` names together
//!   belongs together. Alternatives (`oneOf`, `anyOf`) are widened into one type.
//! - Left out, since no column could hold them: objects without known properties, arrays of them,
//!   and an object inside itself. What records hold there goes to `_unknown`.
//! - `id`, `_etag` and `_lastModifiedDate`, which each record has, are added where they are not
//!   mentioned.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::record::{Kind, Record};

/// How deep references may lead into each other.
const DEEPEST: usize = 64;
/// How many properties are looked at for one resource.
const MOST: usize = 50_000;
/// What stands below a collection and is none itself.
const BELOW: [&str; 3] = ["deletes", "keyChanges", "partitions"];

/// The resources of one document, in its order.
#[derive(Debug, PartialEq)]
pub(crate) struct Document {
    resources: Vec<Arc<Resource>>,
}

/// One resource, such as `ed-fi/students`, or one descriptor.
#[derive(Debug, PartialEq)]
pub(crate) struct Resource {
    pub(crate) endpoint: Box<str>,
    pub(crate) description: Option<Box<str>>,
    /// The properties that identify a record, those of references by their path.
    pub(crate) key_fields: Vec<Box<str>>,
    /// Whether deleted records can be asked for.
    pub(crate) has_deletes: bool,
    /// The query parameters of the collection.
    pub(crate) params: Vec<Box<str>>,
    /// What its records are made of; `None` where the document does not say.
    pub(crate) record: Option<Record>,
}

impl Document {
    /// Reads a document; the error says what it is not.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, String> {
        let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
        let root: Value =
            serde_json::from_slice(body).map_err(|error| format!("not JSON: {error}"))?;
        Self::of(&root).ok_or_else(|| "not an OpenAPI document: it has no paths".to_owned())
    }

    /// The document that a JSON value is, if it is one.
    pub(crate) fn of(root: &Value) -> Option<Self> {
        let paths = root.get("paths")?.as_object()?;
        let mut reader = Reader::new(root);
        let mut resources: Vec<Arc<Resource>> = Vec::new();
        for (path, item) in paths {
            if let Some(endpoint) = collection(path)
                && !resources.iter().any(|known| *known.endpoint == *endpoint)
                && let Some(resource) = reader.resource(endpoint, path, item, paths)
            {
                resources.push(Arc::new(resource));
            }
        }
        Some(Self { resources })
    }

    pub(crate) fn resources(&self) -> &[Arc<Resource>] {
        &self.resources
    }

    /// The resource of an endpoint; an ODS does not look at upper and lower case either.
    pub(crate) fn resource(&self, endpoint: &str) -> Option<&Arc<Resource>> {
        let mut all = self.resources.iter();
        all.find(|known| known.endpoint.eq_ignore_ascii_case(endpoint))
    }
}

impl Resource {
    /// The part of the endpoint before the slash, such as `ed-fi`.
    pub(crate) fn namespace(&self) -> &str {
        let parts = self.endpoint.split_once('/');
        parts.map_or("", |(namespace, _)| namespace)
    }

    pub(crate) fn is_descriptor(&self) -> bool {
        self.endpoint.to_ascii_lowercase().ends_with("descriptors")
    }
}

/// The endpoint whose collection a path is.
fn collection(path: &str) -> Option<&str> {
    let mut endpoint = path.trim_matches('/');
    // A tenant or a year that the caller fills in.
    while let Some((first, rest)) = endpoint.split_once('/')
        && first.starts_with('{')
    {
        endpoint = rest;
    }
    let (namespace, name) = endpoint.split_once('/')?;
    let plain = !namespace.is_empty() && !name.contains(['/', '{']) && !BELOW.contains(&name);
    plain.then_some(endpoint)
}

/// A document on its way to its resources.
struct Reader<'a> {
    root: &'a Value,
    tags: HashMap<&'a str, &'a str>,
    /// What references have led to, where no circle took part.
    known: HashMap<&'a str, Option<Kind>>,
    /// The references that are being followed.
    path: Vec<&'a str>,
    /// How many circles were cut.
    cuts: usize,
    /// How many more properties are looked at.
    left: usize,
}

/// One object schema: its properties, and which of them every object has.
#[derive(Default)]
struct Members<'a> {
    properties: Vec<(&'a str, &'a Value)>,
    required: HashSet<&'a str>,
    /// Whether the schema says at all what is required.
    has_required: bool,
}

impl<'a> Reader<'a> {
    fn new(root: &'a Value) -> Self {
        let tags = root["tags"].as_array().into_iter().flatten();
        let tags = tags.filter_map(|tag| Some((tag["name"].as_str()?, described(tag)?)));
        Self {
            root,
            tags: tags.collect(),
            known: HashMap::new(),
            path: Vec::new(),
            cuts: 0,
            left: 0,
        }
    }

    fn resource(
        &mut self,
        endpoint: &str,
        path: &str,
        item: &'a Value,
        paths: &'a Map<String, Value>,
    ) -> Option<Resource> {
        let item = self.follow(item);
        let get = item.get("get").filter(|get| get.is_object())?;
        let params: Vec<&'a Value> = [item, get]
            .iter()
            .filter_map(|place| place.get("parameters")?.as_array())
            .flatten()
            .map(|parameter| self.follow(parameter))
            .filter(|parameter| parameter["in"] == "query")
            .collect();
        let names = params.iter().filter_map(|one| one["name"].as_str());
        let identities: Vec<&str> = params
            .iter()
            .filter(|parameter| is_identity(parameter))
            .filter_map(|parameter| parameter["name"].as_str())
            .collect();
        let schema = self.item_schema(get);
        let tag = get["tags"][0].as_str().and_then(|tag| self.tags.get(tag));
        let description = tag.copied().or_else(|| described(get));
        self.left = MOST;
        let record = match schema.and_then(|schema| self.kind(schema)) {
            Some(Kind::Struct(record)) => Some(with_server_fields(&record)),
            _ => None,
        };
        Some(Resource {
            endpoint: endpoint.into(),
            description: description.map(Into::into),
            key_fields: schema
                .map(|schema| self.key_fields(schema, &identities))
                .unwrap_or_default(),
            has_deletes: paths.contains_key(&format!("{}/deletes", path.trim_end_matches('/'))),
            params: names.map(Into::into).collect(),
            record,
        })
    }

    /// The schema of one record in the answer to a `GET` of the collection.
    fn item_schema(&self, get: &'a Value) -> Option<&'a Value> {
        let responses = get.get("responses")?;
        let good = ["200", "2XX", "2xx", "default"];
        let response = good.iter().find_map(|status| responses.get(status))?;
        let response = self.follow(response);
        let schema = match response.get("content").and_then(Value::as_object) {
            Some(content) => {
                let plain = content.get("application/json");
                let json = || content.iter().find(|(name, _)| name.contains("json"));
                let media = plain.or_else(|| json().map(|(_, media)| media));
                media.or_else(|| content.values().next())?.get("schema")?
            }
            // Swagger 2
            None => response.get("schema")?,
        };
        self.items(schema, 0)
    }

    /// The `items` of a schema, also where it is composed of others.
    fn items(&self, schema: &'a Value, depth: usize) -> Option<&'a Value> {
        let schema = self.follow(schema);
        if let Some(items) = schema.get("items") {
            return Some(items);
        }
        let composed = ["allOf", "oneOf", "anyOf"].iter();
        let mut parts = composed
            .filter_map(|name| schema.get(name)?.as_array())
            .flatten();
        match depth {
            DEEPEST.. => None,
            _ => parts.find_map(|part| self.items(part, depth + 1)),
        }
    }

    /// Where a `$ref` leads; the value itself where it is none, null where it leads nowhere.
    fn follow(&self, value: &'a Value) -> &'a Value {
        let mut value = value;
        for _ in 0..DEEPEST {
            match value.get("$ref").and_then(Value::as_str) {
                Some(reference) => value = self.target(reference),
                None => return value,
            }
        }
        &Value::Null
    }

    /// What a JSON pointer within this document points to (RFC 6901).
    fn target(&self, reference: &str) -> &'a Value {
        let pointer = reference.strip_prefix('#').map(|pointer| {
            percent_encoding::percent_decode_str(pointer)
                .decode_utf8_lossy()
                .into_owned()
        });
        let found = pointer.and_then(|pointer| self.root.pointer(&pointer));
        found.unwrap_or(&Value::Null)
    }

    /// The type of a schema, if a column can hold it.
    fn kind(&mut self, schema: &'a Value) -> Option<Kind> {
        self.left = self.left.checked_sub(1)?;
        let Some(reference) = schema.get("$ref").and_then(Value::as_str) else {
            return self.plain(schema);
        };
        if let Some(kind) = self.known.get(reference) {
            return kind.clone();
        }
        if self.path.contains(&reference) || self.path.len() >= DEEPEST {
            self.cuts += 1;
            return None;
        }
        let cuts = self.cuts;
        self.path.push(reference);
        let kind = self.kind(self.target(reference));
        self.path.pop();
        if cuts == self.cuts && self.left > 0 {
            self.known.insert(reference, kind.clone());
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

    /// The properties that identify a record.
    ///
    /// The flags on the query parameters say which they are; a parameter is a property of the
    /// record or of one of its references. Without such parameters the flags on the properties
    /// say, also those in references that no record is without.
    fn key_fields(&self, schema: &'a Value, identities: &[&str]) -> Vec<Box<str>> {
        let members = self.members(schema);
        // Path, name as a parameter, whether it is flagged itself.
        let mut found: Vec<(String, String, bool)> = Vec::new();
        for (name, property) in &members.properties {
            let inside = self.members(property);
            if inside.properties.is_empty() {
                found.push(((*name).into(), (*name).into(), is_identity(property)));
                continue;
            }
            let needed = members.required.contains(name) || !members.has_required;
            if !name.ends_with("Reference") || !(needed || is_identity(property)) {
                continue;
            }
            let scalars = inside.properties.iter();
            for (key, inner) in
                scalars.filter(|(_, inner)| self.members(inner).properties.is_empty())
            {
                let filter = filter_name(name, self.name_of(property), key);
                found.push((format!("{name}.{key}"), filter, is_identity(inner)));
            }
        }
        if !identities.is_empty() {
            let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
            let mut chosen = HashSet::new();
            for name in identities {
                let by_filter = found
                    .iter()
                    .position(|(_, f, _)| f.eq_ignore_ascii_case(name));
                let by_key = || {
                    let mut places = found.iter();
                    places.position(|(path, ..)| last(path).eq_ignore_ascii_case(name))
                };
                chosen.extend(by_filter.or_else(by_key));
            }
            for (place, (.., is_key)) in found.iter_mut().enumerate() {
                *is_key = chosen.contains(&place);
            }
        }
        found.retain(|(.., is_key)| *is_key);
        found.into_iter().map(|(path, ..)| path.into()).collect()
    }

    /// The name of the schema that a property refers to.
    fn name_of(&self, property: &'a Value) -> &'a str {
        let direct = property.get("$ref").and_then(Value::as_str);
        let reference = direct.or_else(|| property["allOf"][0]["$ref"].as_str());
        let name = reference.and_then(|text| text.rsplit('/').next());
        name.unwrap_or_default()
    }

    /// The properties of an object schema, those of `allOf` included.
    fn members(&self, schema: &'a Value) -> Members<'a> {
        let mut members = Members::default();
        self.add_members(schema, &mut members, 0);
        members
    }

    fn add_members(&self, schema: &'a Value, members: &mut Members<'a>, depth: usize) {
        let schema = self.follow(schema);
        for part in schema["allOf"].as_array().into_iter().flatten() {
            if depth < DEEPEST {
                self.add_members(part, members, depth + 1);
            }
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            members.properties.push((name, property));
        }
        if let Some(required) = schema["required"].as_array() {
            members.has_required = true;
            members
                .required
                .extend(required.iter().filter_map(Value::as_str));
        }
    }
}

fn described(value: &Value) -> Option<&str> {
    let text = value
        .get("description")
        .or_else(|| value.get("summary"))?
        .as_str()?;
    (!text.trim().is_empty()).then(|| text.trim())
}

fn is_identity(value: &Value) -> bool {
    value.get("x-Ed-Fi-isIdentity") == Some(&Value::Bool(true))
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

/// `schoolId` in `reportedSchoolReference` is `reportedSchoolId` as a parameter; in
/// `schoolReference` it is `schoolId`.
fn filter_name(property: &str, schema: &str, key: &str) -> String {
    let kind = schema.rsplit('_').next().unwrap_or(schema);
    match property.strip_suffix(&capitalised(kind)) {
        Some(role) if !role.is_empty() => format!("{role}{}", capitalised(key)),
        _ => key.to_owned(),
    }
}

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
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
