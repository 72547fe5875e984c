//! The schemas of a document's bodies, compiled: OpenAPI 3 and Swagger 2.
//!
//! Known are `type`, `format`, lengths, ranges, `pattern`, `enum`, `items` and their number,
//! `properties`, `required`, `$ref`, `allOf`, `oneOf` and `anyOf`. Whatever is null counts as
//! absent, as servers take it, so that `nullable` and `x-nullable` say nothing more.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::scalar::Scalar;
use crate::openapi::places::is_identity;
use crate::openapi::resolve::{DEEPEST, Resolver};

/// How many parts of a composition are looked at.
const MOST_PARTS: usize = 1_000;

/// The compiled schemas of one document, which refer to each other by number.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Schemas {
    nodes: Vec<Node>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Node {
    /// Anything will do.
    Any,
    Scalar(Scalar),
    List {
        items: usize,
        fewest: u64,
        most: u64,
    },
    Object(ObjectSchema),
    /// None of these is one of several again.
    All(Vec<usize>),
    Either(Vec<usize>),
}

/// The members of an object.
#[derive(Debug, Default, PartialEq)]
pub(super) struct ObjectSchema {
    pub(super) properties: Vec<Property>,
    places: HashMap<Box<str>, usize>,
    /// Names that must be there.
    pub(super) required: Vec<Box<str>>,
    /// For a reference, the schema of what it refers to: see [`schema_key`].
    pub(super) reference: Option<Box<str>>,
    /// The properties that identify the object among others in a list.
    pub(super) key: Vec<usize>,
}

#[derive(Debug, PartialEq)]
pub(super) struct Property {
    pub(super) name: Box<str>,
    pub(super) node: usize,
    /// Whether its value names a descriptor.
    pub(super) is_descriptor: bool,
    pub(super) is_identity: bool,
}

impl Schemas {
    pub(super) fn node(&self, number: usize) -> &Node {
        &self.nodes[number]
    }

    /// What a composition is made of in the end: no compositions, and none of them twice, though a
    /// schema may be composed of itself.
    fn parts_of(&self, number: usize) -> Option<Vec<usize>> {
        let Node::All(parts) = &self.nodes[number] else {
            return None;
        };
        let mut left: Vec<usize> = parts.iter().rev().copied().collect();
        let (mut seen, mut found) = (HashSet::from([number]), Vec::new());
        while let Some(part) = left.pop().filter(|_| seen.len() < MOST_PARTS) {
            if seen.insert(part) {
                match &self.nodes[part] {
                    Node::All(inner) => left.extend(inner.iter().rev()),
                    _ => found.push(part),
                }
            }
        }
        Some(found)
    }

    fn objects(&self) -> impl Iterator<Item = &ObjectSchema> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Object(object) => Some(object),
            _ => None,
        })
    }

    /// For each reference the schema that it leads to, and the names of its properties.
    pub(super) fn references(
        &self,
    ) -> impl Iterator<Item = (&str, impl Iterator<Item = &str> + use<'_>)> {
        self.objects().filter_map(|object| {
            let names = object.properties.iter().map(|property| &*property.name);
            Some((object.reference.as_deref()?, names))
        })
    }

    /// The names of the properties whose values name descriptors.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = &str> {
        let properties = self.objects().flat_map(|object| &object.properties);
        let descriptors = properties.filter(|property| property.is_descriptor);
        descriptors.map(|property| &*property.name)
    }
}

impl ObjectSchema {
    pub(super) fn property(&self, name: &str) -> Option<&Property> {
        Some(&self.properties[*self.places.get(name)?])
    }

    pub(super) fn requires(&self, name: &str) -> bool {
        self.required.iter().any(|required| **required == *name)
    }
}

/// What a schema is called, however documents write it: `edFi_schoolReference` and
/// `EdFi_School_Reference` are one.
pub(crate) fn schema_key(name: &str) -> String {
    name.replace('_', "").to_ascii_lowercase()
}

/// Compiles schemas, each once.
pub(crate) struct Compiler<'a> {
    resolver: Resolver<'a>,
    schemas: Schemas,
    known: HashMap<&'a str, usize>,
}

impl<'a> Compiler<'a> {
    pub(crate) fn new(resolver: Resolver<'a>) -> Self {
        Self {
            resolver,
            schemas: Schemas::default(),
            known: HashMap::new(),
        }
    }

    pub(crate) fn finish(mut self) -> Schemas {
        // What leads to others was added before them.
        for number in (0..self.schemas.nodes.len()).rev() {
            if let Some(parts) = self.schemas.parts_of(number) {
                self.schemas.nodes[number] = Node::All(parts);
            }
        }
        self.schemas
    }

    /// The number of a schema.
    pub(crate) fn compile(&mut self, schema: &'a Value) -> usize {
        self.schema(schema, "", 0)
    }

    /// `name` is what the schema is called by the reference that led to it.
    fn schema(&mut self, schema: &'a Value, name: &'a str, depth: usize) -> usize {
        if depth > DEEPEST {
            return self.add(Node::Any);
        }
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            if let Some(known) = self.known.get(reference) {
                return *known;
            }
            // A schema may lead back to itself.
            let number = self.add(Node::Any);
            self.known.insert(reference, number);
            let name = reference.rsplit('/').next().unwrap_or_default();
            let target = self.resolver.target(reference);
            let node = self.node(target, name, depth + 1);
            self.schemas.nodes[number] = node;
            return number;
        }
        let node = self.node(schema, name, depth + 1);
        self.add(node)
    }

    fn add(&mut self, node: Node) -> usize {
        self.schemas.nodes.push(node);
        self.schemas.nodes.len() - 1
    }

    fn node(&mut self, schema: &'a Value, name: &'a str, depth: usize) -> Node {
        if schema.get("$ref").is_some() {
            return Node::All(vec![self.schema(schema, name, depth)]);
        }
        let parts = |name: &str| schema.get(name).and_then(Value::as_array);
        let is_object = !self.resolver.members(schema).properties.is_empty();
        let mut all = Vec::new();
        if !is_object {
            for part in parts("allOf").into_iter().flatten() {
                all.push(self.schema(part, name, depth));
            }
        }
        for choice in ["oneOf", "anyOf"] {
            let either = parts(choice).into_iter().flatten();
            let either: Vec<usize> = either.map(|one| self.schema(one, name, depth)).collect();
            if !either.is_empty() {
                all.push(self.add(Node::Either(either)));
            }
        }
        let own = match () {
            () if is_object => self.object(schema, name, depth),
            () => self.plain(schema, name, depth),
        };
        match (all.is_empty(), own) {
            (true, own) => own,
            (false, Node::Any) if all.len() == 1 => Node::All(all),
            (false, own) => {
                all.push(self.add(own));
                Node::All(all)
            }
        }
    }

    /// What a schema without members says of itself.
    fn plain(&mut self, schema: &'a Value, name: &'a str, depth: usize) -> Node {
        let kind = match schema.get("type") {
            Some(Value::String(kind)) => Some(kind.as_str()),
            Some(Value::Array(kinds)) => {
                let mut kinds = kinds.iter().filter_map(Value::as_str);
                let first = kinds.by_ref().find(|kind| *kind != "null");
                match kinds.any(|kind| kind != "null") {
                    true => return Node::Any,
                    false => first,
                }
            }
            _ if schema.get("items").is_some() => Some("array"),
            _ => None,
        };
        match (kind, schema.get("items")) {
            (Some("array"), items) => Node::List {
                items: match items {
                    Some(items) => self.schema(items, name, depth),
                    None => self.add(Node::Any),
                },
                fewest: schema["minItems"].as_u64().unwrap_or(0),
                most: schema["maxItems"].as_u64().unwrap_or(u64::MAX),
            },
            (Some("object"), _) => Node::Object(ObjectSchema::default()),
            (None, _) if schema.get("enum").is_none() => Node::Any,
            (kind, _) => Node::Scalar(Scalar::new(kind, schema)),
        }
    }

    fn object(&mut self, schema: &'a Value, name: &'a str, depth: usize) -> Node {
        let members = self.resolver.members(schema);
        let key = schema_key(name);
        let target = key.strip_suffix("reference");
        let mut object = ObjectSchema {
            reference: target.filter(|target| !target.is_empty()).map(Into::into),
            ..ObjectSchema::default()
        };
        for (name, property) in &members.properties {
            let node = self.schema(property, "", depth);
            let is_text = || match self.schemas.node(node) {
                Node::Scalar(scalar) => scalar.is_text(),
                _ => false,
            };
            // What several parts of a composition have is told by the first of them.
            if let Entry::Vacant(place) = object.places.entry((*name).into()) {
                place.insert(object.properties.len());
                object.properties.push(Property {
                    name: (*name).into(),
                    node,
                    is_descriptor: name.ends_with("Descriptor") && is_text(),
                    is_identity: is_identity(property),
                });
            }
        }
        let mut required: Vec<Box<str>> =
            members.required.iter().map(|&name| name.into()).collect();
        required.sort_unstable();
        object.required = required;
        let identifies = |(place, property): (usize, &Property)| {
            let needed = property.name.ends_with("Reference") && object.requires(&property.name);
            (property.is_identity || needed).then_some(place)
        };
        let properties = object.properties.iter().enumerate();
        object.key = properties.filter_map(identifies).collect();
        Node::Object(object)
    }
}
