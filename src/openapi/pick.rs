//! Single values taken out of JSON by their paths, without building the rest.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Which values to take: each path has its place in what comes back.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Picker {
    nodes: Vec<(Box<str>, Node)>,
    places: usize,
}

/// What a name leads to.
#[derive(Debug, Clone, PartialEq)]
enum Node {
    Value(usize),
    Object(Vec<(Box<str>, Node)>),
}

/// A value that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Picked {
    /// The text of a string; a number or a boolean as it was written.
    Scalar(String),
    /// A list or an object, or a string that is no Unicode.
    Other,
}

/// What was found at each path; `None` where there is nothing, or null.
pub(crate) type Values = Vec<Option<Picked>>;

impl Picker {
    /// The paths join their names by dots. Of a path that goes on from another one, nothing comes.
    pub(crate) fn new<'a>(paths: impl IntoIterator<Item = &'a str>) -> Self {
        let mut picker = Self::default();
        for path in paths {
            add(&mut picker.nodes, path, picker.places);
            picker.places += 1;
        }
        picker
    }

    /// The values of one object; the error says what the JSON is not.
    pub(crate) fn of_object(&self, json: &[u8]) -> Result<Values, String> {
        let mut values = vec![None; self.places];
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let seed = Object {
            nodes: &self.nodes,
            values: &mut values,
        };
        let read = seed.deserialize(&mut deserializer);
        read.and_then(|is_object| deserializer.end().map(|()| is_object))
            .map_err(|error| error.to_string())
            .and_then(|is_object| match is_object {
                true => Ok(values),
                false => Err("not an object".to_owned()),
            })
    }
}

fn add(nodes: &mut Vec<(Box<str>, Node)>, path: &str, place: usize) {
    let (name, rest) = match path.split_once('.') {
        Some((name, rest)) => (name, Some(rest)),
        None => (path, None),
    };
    let known = nodes.iter_mut().find(|(known, _)| **known == *name);
    match (known, rest) {
        (Some((_, Node::Object(inner))), Some(rest)) => add(inner, rest, place),
        (Some(_), _) => {}
        (None, None) => nodes.push((name.into(), Node::Value(place))),
        (None, Some(rest)) => {
            let mut inner = Vec::new();
            add(&mut inner, rest, place);
            nodes.push((name.into(), Node::Object(inner)));
        }
    }
}

/// Reads one value, and whether it is an object.
struct Object<'n, 'v> {
    nodes: &'n [(Box<str>, Node)],
    values: &'v mut Values,
}

impl<'de> DeserializeSeed<'de> for Object<'_, '_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Object<'_, '_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        while let Some(name) = map.next_key_seed(Name(self.nodes))? {
            match name {
                None => drop(map.next_value::<IgnoredAny>()?),
                Some(Node::Value(place)) => self.values[*place] = scalar(map.next_value()?),
                Some(node @ Node::Object(nodes)) => {
                    // Of an object that comes twice, the last one counts.
                    node.clear(self.values);
                    map.next_value_seed(Object {
                        nodes,
                        values: &mut *self.values,
                    })?;
                }
            }
        }
        Ok(true)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(false)
    }

    fn visit_str<E>(self, _: &str) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_bool<E>(self, _: bool) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_i64<E>(self, _: i64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_u64<E>(self, _: u64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }
}

impl Node {
    fn clear(&self, values: &mut Values) {
        match self {
            Self::Value(place) => values[*place] = None,
            Self::Object(nodes) => nodes.iter().for_each(|(_, node)| node.clear(values)),
        }
    }
}

/// Reads a name, and finds what it leads to.
struct Name<'n>(&'n [(Box<str>, Node)]);

impl<'de, 'n> DeserializeSeed<'de> for Name<'n> {
    type Value = Option<&'n Node>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'n> Visitor<'_> for Name<'n> {
    type Value = Option<&'n Node>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        let mut nodes = self.0.iter();
        Ok(nodes
            .find(|(known, _)| **known == *name)
            .map(|(_, node)| node))
    }
}

fn scalar(raw: &RawValue) -> Option<Picked> {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'n') => None,
        Some(b'{' | b'[') => Some(Picked::Other),
        Some(b'"') => Some(match serde_json::from_str(text) {
            Ok(text) => Picked::Scalar(text),
            Err(_) => Picked::Other,
        }),
        _ => Some(Picked::Scalar(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::{Picked, Picker};

    fn picked(json: &str) -> Result<Vec<Option<String>>, String> {
        let picker = Picker::new(["id", "a.b", "a.c.d", "n", "a"]);
        let values = picker.of_object(json.as_bytes())?;
        let text = |value| match value {
            Picked::Scalar(text) => text,
            Picked::Other => "?".to_owned(),
        };
        Ok(values.into_iter().map(|value| value.map(text)).collect())
    }

    #[test]
    fn values_by_path() {
        for (json, expected) in [
            (r#"{}"#, [None, None, None, None]),
            (
                r#"{"id": "x", "n": 1.50}"#,
                [Some("x"), None, None, Some("1.50")],
            ),
            (
                r#"{"a": {"b": true, "c": {"d": 1e3}, "x": [{}]}}"#,
                [None, Some("true"), Some("1e3"), None],
            ),
            (
                r#"{"a": null, "n": "é\n"}"#,
                [None, None, None, Some("é\n")],
            ),
            (
                r#"{"a": [1], "n": {"a": 1}, "id": "\ud800"}"#,
                [Some("?"), None, None, Some("?")],
            ),
            (
                r#"{"a": {"b": 1}, "n": 1, "n": null, "a": {}}"#,
                [None, None, None, None],
            ),
            (
                r#"{"a": {"b": 1}, "n": 12345678901234567890123, "a": "x"}"#,
                [None, None, None, Some("12345678901234567890123")],
            ),
        ] {
            let found = picked(json).expect(json);
            assert_eq!(
                found[..4],
                expected.map(|text| text.map(str::to_owned)),
                "{json}"
            );
            assert_eq!(found[4], None, "{json}");
        }
        for wrong in ["", "[]", "1", "null", "{} x", r#"{"n": }"#, r#"{"n": 1"#] {
            assert!(picked(wrong).is_err(), "{wrong}");
        }
    }
}
