//! Where the references of a document lead (RFC 6901), and what a schema is composed of.

use std::collections::HashSet;

use serde_json::Value;

/// How deep references may lead into each other.
pub(super) const DEEPEST: usize = 64;

/// Schemas that were looked at: two ways may lead to one, and twice as many to the next.
type Seen = HashSet<*const Value>;

/// A document whose references can be followed.
#[derive(Clone, Copy)]
pub(super) struct Resolver<'a> {
    root: &'a Value,
}

/// One object schema: its properties, and which of them every object has.
#[derive(Default)]
pub(super) struct Members<'a> {
    pub(super) properties: Vec<(&'a str, &'a Value)>,
    pub(super) required: HashSet<&'a str>,
    /// Whether the schema says at all what is required.
    pub(super) has_required: bool,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(root: &'a Value) -> Self {
        Self { root }
    }

    /// Where a `$ref` leads; the value itself where it is none, null where it leads nowhere.
    pub(super) fn follow(self, value: &'a Value) -> &'a Value {
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
    pub(super) fn target(self, reference: &str) -> &'a Value {
        let pointer = reference.strip_prefix('#').map(|pointer| {
            percent_encoding::percent_decode_str(pointer)
                .decode_utf8_lossy()
                .into_owned()
        });
        let found = pointer.and_then(|pointer| self.root.pointer(&pointer));
        found.unwrap_or(&Value::Null)
    }

    /// The `items` of a schema, also where it is composed of others.
    pub(super) fn items(self, schema: &'a Value) -> Option<&'a Value> {
        self.items_within(schema, &mut Seen::new(), 0)
    }

    fn items_within(self, schema: &'a Value, seen: &mut Seen, depth: usize) -> Option<&'a Value> {
        let schema = self.follow(schema);
        if let Some(items) = schema.get("items") {
            return Some(items);
        }
        if depth == DEEPEST || !seen.insert(schema) {
            return None;
        }
        let composed = ["allOf", "oneOf", "anyOf"].iter();
        let mut parts = composed
            .filter_map(|name| schema.get(name)?.as_array())
            .flatten();
        parts.find_map(|part| self.items_within(part, seen, depth + 1))
    }

    /// The properties of an object schema, those of `allOf` included.
    pub(super) fn members(self, schema: &'a Value) -> Members<'a> {
        let mut members = Members::default();
        self.add_members(schema, &mut members, &mut Seen::new(), 0);
        members
    }

    fn add_members(
        self,
        schema: &'a Value,
        members: &mut Members<'a>,
        seen: &mut Seen,
        depth: usize,
    ) {
        let schema = self.follow(schema);
        if let Some(parts) = schema["allOf"].as_array() {
            if !seen.insert(schema) {
                return;
            }
            for part in parts.iter().filter(|_| depth < DEEPEST) {
                self.add_members(part, members, seen, depth + 1);
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
