//! What a POST would change: a payload beside the record that the server has.
//!
//! A POST replaces the whole item, so that what the record has and the payload leaves out is a
//! change. Absent, null and an empty list are one; what the server writes itself, and what it would
//! drop, is none. Numbers and dates are compared by value, descriptors in any case, lists as sets
//! of elements: by the keys of these, where they have some.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::json::{Json, Path, member};
use super::scalar::instant;
use super::schemas::Node;
use super::walk::{SERVER_FIELDS, Walk};

/// One thing that a POST would change.
#[derive(Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) path: String,
    /// What the payload has, as JSON; `None` where nothing.
    pub(crate) ours: Option<String>,
    /// What the server has.
    pub(crate) theirs: Option<String>,
}

impl Walk<'_> {
    /// What a payload would change in a record.
    pub(crate) fn changes(&self, ours: &Json<'_>, theirs: &Json<'_>) -> Vec<Change> {
        let mut comparison = Comparison {
            walk: self,
            changes: Vec::new(),
        };
        comparison.values(self.root(), "", Some(ours), Some(theirs), Path::Root);
        comparison.changes
    }
}

struct Comparison<'w> {
    walk: &'w Walk<'w>,
    changes: Vec<Change>,
}

impl Comparison<'_> {
    /// `name` is that of the property whose values these are.
    fn values(
        &mut self,
        node: Option<usize>,
        name: &str,
        ours: Option<&Json<'_>>,
        theirs: Option<&Json<'_>>,
        path: Path<'_>,
    ) {
        let [ours, theirs] = [ours, theirs].map(|value| value.filter(|one| !one.is_nothing()));
        match (ours, theirs) {
            (None, None) => {}
            (Some(Json::Object(ours)), Some(Json::Object(theirs))) => {
                self.objects(node, ours, theirs, path);
            }
            (Some(Json::List(ours)), Some(Json::List(theirs))) => {
                self.lists(node, name, ours, theirs, path);
            }
            (Some(ours), Some(theirs)) if is_same(name, ours, theirs) => {}
            _ => self.change(path, ours, theirs),
        }
    }

    fn change(&mut self, path: Path<'_>, ours: Option<&Json<'_>>, theirs: Option<&Json<'_>>) {
        let json = |value: &Json<'_>| serde_json::to_string(value).unwrap_or_default();
        self.changes.push(Change {
            path: path.to_string(),
            ours: ours.map(json),
            theirs: theirs.map(json),
        });
    }

    fn objects(
        &mut self,
        node: Option<usize>,
        ours: &[(Cow<'_, str>, Json<'_>)],
        theirs: &[(Cow<'_, str>, Json<'_>)],
        path: Path<'_>,
    ) {
        let schema = node.and_then(|node| self.walk.element(node));
        let is_root = matches!(path, Path::Root);
        let is_ignored = |name: &str, value: &Json<'_>| {
            is_root && SERVER_FIELDS.contains(&name) || value.is_link(name)
        };
        let property = |name: &str| schema.and_then(|schema| schema.property(name));
        // What a schema does not know, the server drops.
        let is_dropped = |name: &str| {
            let known = schema.filter(|schema| !schema.properties.is_empty());
            known.is_some_and(|schema| schema.property(name).is_none())
        };
        for (name, value) in ours {
            if !is_ignored(name, value) && !is_dropped(name) {
                let node = property(name).map(|property| property.node);
                let theirs = member(theirs, name);
                self.values(node, name, Some(value), theirs, Path::Name(&path, name));
            }
        }
        for (name, value) in theirs {
            if !is_ignored(name, value) && member(ours, name).is_none() {
                let node = property(name).map(|property| property.node);
                self.values(node, name, None, Some(value), Path::Name(&path, name));
            }
        }
    }

    fn lists(
        &mut self,
        node: Option<usize>,
        name: &str,
        ours: &[Json<'_>],
        theirs: &[Json<'_>],
        path: Path<'_>,
    ) {
        let items = node.and_then(|node| self.walk.items(node));
        let object = items.and_then(|items| self.walk.element(items));
        let mut left: Vec<(usize, &Json<'_>)> = theirs.iter().enumerate().collect();
        let mut new: Vec<(usize, &Json<'_>)> = Vec::new();
        match object.filter(|object| !object.key.is_empty()) {
            Some(object) => {
                let mut places: HashMap<String, usize> = HashMap::new();
                for (index, element) in theirs.iter().enumerate() {
                    places.insert(self.walk.key_of(object, element), index);
                }
                let mut seen = HashSet::new();
                for (index, element) in ours.iter().enumerate() {
                    let key = self.walk.key_of(object, element);
                    if let Some(&place) = places.get(&key) {
                        let (path, other) = (Path::Index(&path, index), &theirs[place]);
                        self.values(items, name, Some(element), Some(other), path);
                    } else if !seen.contains(&key) {
                        new.push((index, element));
                    }
                    seen.insert(key);
                }
                left.retain(|(_, other)| !seen.contains(&self.walk.key_of(object, other)));
            }
            None => {
                for (index, element) in ours.iter().enumerate() {
                    let is_it = |other: &Json<'_>| self.is_element(items, name, element, other);
                    let is_there = theirs.iter().any(is_it);
                    // An element that comes twice is in a set once.
                    if !is_there && !ours[..index].iter().any(is_it) {
                        new.push((index, element));
                    }
                    left.retain(|(_, other)| !is_it(other));
                }
            }
        }
        for (index, element) in new {
            self.change(Path::Index(&path, index), Some(element), None);
        }
        for (index, element) in left {
            self.change(Path::Index(&path, index), None, Some(element));
        }
    }

    /// Whether two elements of lists without keys are one.
    fn is_element(&self, items: Option<usize>, name: &str, one: &Json<'_>, two: &Json<'_>) -> bool {
        let mut inner = Comparison {
            walk: self.walk,
            changes: Vec::new(),
        };
        let path = Path::Index(&Path::Root, 0);
        inner.values(items, name, Some(one), Some(two), path);
        inner.changes.is_empty()
    }
}

impl<'s> Walk<'s> {
    /// The schema of a list's elements.
    fn items(&self, node: usize) -> Option<usize> {
        match self.node(node) {
            Node::List { items, .. } => Some(*items),
            Node::All(all) => all.iter().find_map(|one| self.items(*one)),
            _ => None,
        }
    }
}

/// Whether two single values are the same.
fn is_same(name: &str, ours: &Json<'_>, theirs: &Json<'_>) -> bool {
    match (ours, theirs) {
        (Json::Text(one), Json::Text(two)) => {
            one == two
                || name.ends_with("Descriptor") && one.to_lowercase() == two.to_lowercase()
                || instant(one).is_some_and(|one| instant(two) == Some(one))
        }
        (Json::Int(one), Json::Float(two)) | (Json::Float(two), Json::Int(one)) => {
            *one as f64 == *two
        }
        (one, two) => one == two,
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(list) => serializer.collect_seq(list),
            Self::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}
