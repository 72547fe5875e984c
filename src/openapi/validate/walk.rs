//! A payload along its schema: what is wrong with it, and which descriptors and references it has.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;

use super::json::{Json, Path, member};
use super::schemas::{Node, ObjectSchema, Property, Schemas};
use crate::nearest::nearest_name;

/// What the server itself writes at the top of a record.
pub(super) const SERVER_FIELDS: [&str; 3] = ["id", "_etag", "_lastModifiedDate"];

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// The server refuses it.
    Error,
    /// The server takes it, and something else than what was meant may come of it.
    Warning,
}

type Members<'a> = [(Cow<'a, str>, Json<'a>)];

/// Is told what a payload holds.
pub(crate) trait Visitor {
    /// Something breaks a rule of the document.
    fn schema(&mut self, severity: Severity, path: Path<'_>, detail: impl FnOnce() -> String);

    /// The item's own id.
    fn id(&mut self, _path: Path<'_>) {}

    /// An element of a list has the key of one before it.
    fn twin(&mut self, path: Path<'_>, first: usize);

    /// A value that names a descriptor, and the property that it is the value of.
    fn descriptor(&mut self, path: Path<'_>, property: &str, value: &str);

    /// A reference to an item with this schema.
    fn reference(&mut self, path: Path<'_>, target: &str, members: &Members<'_>);
}

/// How many alternatives are tried for one payload, and how deep they may stand in each other: a
/// document may lead back to where it began. Beyond it everything will do.
const MOST_ALTERNATIVES: usize = 100_000;
const DEEPEST_ALTERNATIVE: usize = 8;

/// How many alternatives may still be tried.
#[derive(Clone, Copy)]
struct Room<'a> {
    left: &'a Cell<usize>,
    depth: usize,
}

impl Room<'_> {
    /// Inside so many alternatives of the same value, if there is room for them.
    fn among(self, alternatives: usize) -> Option<Self> {
        let left = self.left.get().checked_sub(alternatives)?;
        self.left.set(left);
        (self.depth < DEEPEST_ALTERNATIVE).then_some(Self {
            depth: self.depth + 1,
            ..self
        })
    }

    /// For a value inside this one.
    fn within(self) -> Self {
        Self { depth: 0, ..self }
    }
}

/// Goes through payloads of one resource.
#[derive(Clone, Copy)]
pub(crate) struct Walk<'s> {
    schemas: &'s Schemas,
    /// Where no schema is known, there is none.
    root: Option<usize>,
}

impl<'s> Walk<'s> {
    pub(crate) fn new(schemas: &'s Schemas, root: usize) -> Self {
        Self {
            schemas,
            root: Some(root),
        }
    }

    /// Payloads of which no document says anything.
    pub(crate) fn without_schema(schemas: &'s Schemas) -> Self {
        Self {
            schemas,
            root: None,
        }
    }

    pub(super) fn root(&self) -> Option<usize> {
        self.root
    }

    pub(super) fn node(&self, number: usize) -> &'s Node {
        self.schemas.node(number)
    }

    pub(crate) fn payload(&self, payload: &Json<'_>, visitor: &mut impl Visitor) {
        if let Some(root) = self.root {
            let left = Cell::new(MOST_ALTERNATIVES);
            let room = Room {
                left: &left,
                depth: 0,
            };
            self.value(root, payload, Path::Root, room, visitor);
        }
    }

    fn value(
        &self,
        node: usize,
        value: &Json<'_>,
        path: Path<'_>,
        room: Room<'_>,
        visitor: &mut impl Visitor,
    ) {
        match (self.schemas.node(node), value) {
            (Node::Any, _) | (_, Json::Null) => {}
            (Node::All(all), _) => {
                for node in all {
                    self.value(*node, value, path, room, visitor);
                }
            }
            (Node::Either(either), _) => {
                let Some(room) = room.among(either.len()) else {
                    return;
                };
                let mut either = either.iter();
                match either.find(|one| self.fits(**one, value, room)) {
                    Some(fitting) => self.value(*fitting, value, path, room, visitor),
                    None => visitor.schema(Severity::Error, path, || {
                        "fits none of the alternatives of the document".into()
                    }),
                }
            }
            (Node::Object(object), Json::Object(members)) => {
                self.object(object, members, path, room.within(), visitor);
            }
            (
                Node::List {
                    items,
                    fewest,
                    most,
                },
                Json::List(list),
            ) => {
                let length = list.len() as u64;
                if length < *fewest {
                    let detail = || format!("at least {fewest} elements, not {length}");
                    visitor.schema(Severity::Error, path, detail);
                }
                if length > *most {
                    let detail = || format!("at most {most} elements, not {length}");
                    visitor.schema(Severity::Error, path, detail);
                }
                for (index, element) in list.iter().enumerate() {
                    if *element == Json::Null {
                        let path = Path::Index(&path, index);
                        visitor.schema(Severity::Error, path, || "must not be null".into());
                    }
                    let path = Path::Index(&path, index);
                    self.value(*items, element, path, room.within(), visitor);
                }
                self.twins(*items, list, path, visitor);
            }
            (Node::Scalar(scalar), value) => {
                if let Some(wrong) = scalar.wrong(value) {
                    visitor.schema(Severity::Error, path, || wrong);
                }
            }
            (Node::Object(_), value) => visitor.schema(Severity::Error, path, || {
                format!("must be an object, not {}", value.kind())
            }),
            (Node::List { .. }, value) => visitor.schema(Severity::Error, path, || {
                format!("must be an array, not {}", value.kind())
            }),
        }
    }

    fn object(
        &self,
        object: &ObjectSchema,
        members: &Members<'_>,
        path: Path<'_>,
        room: Room<'_>,
        visitor: &mut impl Visitor,
    ) {
        let is_root = matches!(path, Path::Root);
        for name in &object.required {
            let is_own = is_root && SERVER_FIELDS.contains(&&**name);
            if !is_own && member(members, name).is_none_or(|value| *value == Json::Null) {
                let path = Path::Name(&path, name);
                visitor.schema(Severity::Error, path, || "is required".into());
            }
        }
        for (name, value) in members {
            let place = Path::Name(&path, name);
            if is_root && SERVER_FIELDS.contains(&&**name) {
                if name == "id" {
                    visitor.id(place);
                }
                continue;
            }
            let Some(property) = object.property(name) else {
                if !object.properties.is_empty() {
                    visitor.schema(Severity::Warning, place, || unknown(object, name));
                }
                continue;
            };
            self.value(property.node, value, place, room, visitor);
            if let Json::Text(text) = value {
                if property.is_descriptor {
                    visitor.descriptor(place, name, text);
                }
                if property.is_identity && text.trim().is_empty() {
                    visitor.schema(Severity::Error, place, || {
                        "is part of a key and must not be blank".into()
                    });
                }
            }
        }
        if let Some(target) = &object.reference {
            visitor.reference(path, target, members);
        }
    }

    /// Whether a value breaks no rule of a schema.
    fn fits(&self, node: usize, value: &Json<'_>, room: Room<'_>) -> bool {
        let mut quiet = Quiet(true);
        let path = Path::Index(&Path::Root, 0);
        self.value(node, value, path, room, &mut quiet);
        quiet.0
    }

    /// Elements of a list that have the same key.
    fn twins(&self, items: usize, list: &[Json<'_>], path: Path<'_>, visitor: &mut impl Visitor) {
        if list.len() < 2 {
            return;
        }
        let Some(object) = self.element(items) else {
            return;
        };
        if object.key.is_empty() {
            return;
        }
        let mut seen: Vec<(String, usize)> = Vec::with_capacity(list.len());
        let mut places = HashSet::new();
        for (index, element) in list.iter().enumerate() {
            let key = self.key_of(object, element);
            let known = match list.len() < 16 {
                true => seen.iter().find(|(known, _)| *known == key),
                false if places.contains(&key) => seen.iter().find(|(known, _)| *known == key),
                false => None,
            };
            match known {
                Some((_, first)) => visitor.twin(Path::Index(&path, index), *first),
                None => {
                    if list.len() >= 16 {
                        places.insert(key.clone());
                    }
                    seen.push((key, index));
                }
            }
        }
    }

    pub(super) fn element(&self, node: usize) -> Option<&'s ObjectSchema> {
        match self.schemas.node(node) {
            Node::Object(object) => Some(object),
            Node::All(all) => all.iter().find_map(|one| self.element(*one)),
            _ => None,
        }
    }

    pub(super) fn key_of(&self, object: &ObjectSchema, element: &Json<'_>) -> String {
        let mut key = String::new();
        for place in &object.key {
            let property = &object.properties[*place];
            push_key(&mut key, property, element.get(&property.name));
            key.push('\u{1f}');
        }
        key
    }
}

/// A part of a key: descriptors in any case, references by what they hold but links.
fn push_key(key: &mut String, property: &Property, value: Option<&Json<'_>>) {
    match value {
        Some(Json::Object(members)) => {
            let mut parts: Vec<(&str, &Json<'_>)> = members
                .iter()
                .map(|(name, value)| (&**name, value))
                .filter(|(name, _)| *name != "link")
                .collect();
            parts.sort_by_key(|(name, _)| *name);
            for (name, value) in parts {
                let text = value.text().unwrap_or_default();
                match name.ends_with("Descriptor") {
                    true => key.push_str(&text.to_lowercase()),
                    false => key.push_str(&text),
                }
                key.push('\u{1e}');
            }
        }
        Some(value) => {
            let text = value.text().unwrap_or_default();
            match property.is_descriptor {
                true => key.push_str(&text.to_lowercase()),
                false => key.push_str(&text),
            }
        }
        None => {}
    }
}

/// Says of a name that the schema does not have which one is meant.
fn unknown(object: &ObjectSchema, name: &str) -> String {
    let names = object.properties.iter().map(|property| &*property.name);
    match nearest_name(name, names) {
        Some(known) if known.eq_ignore_ascii_case(name) => {
            format!("unknown name: it is written '{known}'; servers drop what they do not know")
        }
        Some(known) => {
            format!("unknown name: the nearest is '{known}'; servers drop what they do not know")
        }
        None => "unknown name: servers drop what they do not know".into(),
    }
}

/// Only wants to know whether something is wrong.
struct Quiet(bool);

impl Visitor for Quiet {
    fn schema(&mut self, severity: Severity, _: Path<'_>, _: impl FnOnce() -> String) {
        self.0 &= severity == Severity::Warning;
    }

    fn twin(&mut self, _: Path<'_>, _: usize) {}

    fn descriptor(&mut self, _: Path<'_>, _: &str, _: &str) {}

    fn reference(&mut self, _: Path<'_>, _: &str, _: &Members<'_>) {}
}
