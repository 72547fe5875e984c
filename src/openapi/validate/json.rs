//! A payload as a tree that borrows its texts, and paths into it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json<'a> {
    Null,
    Bool(bool),
    Int(i64),
    /// All other numbers.
    Float(f64),
    Text(Cow<'a, str>),
    List(Vec<Self>),
    Object(Vec<(Cow<'a, str>, Self)>),
}

impl<'a> Json<'a> {
    /// Reads a text that must be an object.
    pub(crate) fn object(text: &'a [u8]) -> Result<Self, String> {
        // Once over all of it takes less than text by text.
        let read = match str::from_utf8(text) {
            Ok(text) => serde_json::from_str(text),
            Err(_) => serde_json::from_slice(text),
        };
        match read {
            Ok(object @ Self::Object(_)) => Ok(object),
            Ok(_) => Err("it must be an object".into()),
            // The error names a place, not what stands there.
            Err(error) => Err(error.to_string()),
        }
    }

    /// A property of an object; of one that comes twice, the last, as servers read it.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => member(members, name),
            _ => None,
        }
    }

    /// What stands at a path whose names are joined by dots.
    pub(crate) fn at(&self, path: &str) -> Option<&Self> {
        let mut names = path.split('.');
        names.try_fold(self, |value, name| value.get(name))
    }

    /// Whether it says nothing: null, an empty list, an object of such values.
    pub(crate) fn is_nothing(&self) -> bool {
        match self {
            Self::Null => true,
            Self::List(list) => list.is_empty(),
            Self::Object(members) => members.iter().all(|(_, value)| value.is_nothing()),
            _ => false,
        }
    }

    /// Whether this, as a property of this name, is one of the links that servers add to references.
    pub(super) fn is_link(&self, name: &str) -> bool {
        name == "link" && matches!(self, Self::Object(_))
    }

    /// Leaves out all links, at any depth.
    pub(crate) fn drop_links(&mut self) {
        match self {
            Self::Object(members) => {
                members.retain(|(name, value)| !value.is_link(name));
                members.iter_mut().for_each(|(_, value)| value.drop_links());
            }
            Self::List(list) => list.iter_mut().for_each(Self::drop_links),
            _ => {}
        }
    }

    /// A single value as text; `None` for null, lists and objects.
    pub(crate) fn text(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Bool(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
            Self::Int(number) => Cow::Owned(number.to_string()),
            Self::Float(number) => Cow::Owned(number.to_string()),
            Self::Text(text) => Cow::Borrowed(text),
            Self::Null | Self::List(_) | Self::Object(_) => return None,
        })
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

pub(crate) fn member<'j, 'a>(
    members: &'j [(Cow<'a, str>, Json<'a>)],
    name: &str,
) -> Option<&'j Json<'a>> {
    let mut members = members.iter().rev();
    members.find(|(own, _)| own == name).map(|(_, value)| value)
}

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Json::Int(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(match i64::try_from(value) {
            Ok(value) => Json::Int(value),
            Err(_) => Json::Float(value as f64),
        })
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Json::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Json::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Json::Text(Cow::Borrowed(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = values.next_element()? {
            list.push(value);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(8);
        while let Some(Name(name)) = entries.next_key()? {
            members.push((name, entries.next_value()?));
        }
        Ok(Json::Object(members))
    }
}

/// A name, borrowed where nothing in it is escaped.
pub(super) struct Name<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;

        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }

            fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(name)))
            }
        }

        deserializer.deserialize_str(NameVisitor)
    }
}

/// A place in a payload, written as `$.scoreResults[2].result`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Path<'p> {
    Root,
    Name(&'p Self, &'p str),
    Index(&'p Self, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("$"),
            Self::Name(parent, name) => write!(f, "{parent}.{name}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_borrowed_and_the_last_of_twins_counts() {
        let text = br#"{"a":"x","a":[1,-2.5,1e400e]}"#;
        assert!(Json::object(text).is_err());
        let text = br#"{"a":"x","a":{"b":["\u00e9",18446744073709551615,null]}}"#;
        let read = Json::object(text).unwrap();
        let list = read.at("a.b").unwrap();
        let Json::List(list) = list else { panic!() };
        assert_eq!(list[0], Json::Text(Cow::Borrowed("\u{e9}")));
        assert_eq!(list[1], Json::Float(18_446_744_073_709_551_615.0));
        assert_eq!(list[2], Json::Null);
        assert_eq!(Json::object(b"[1]"), Err("it must be an object".into()));
    }

    #[test]
    fn paths_are_written_as_servers_write_them() {
        let (root, name) = (Path::Root, "scoreResults");
        let list = Path::Name(&root, name);
        let element = Path::Index(&list, 2);
        let path = Path::Name(&element, "result");
        assert_eq!(path.to_string(), "$.scoreResults[2].result");
    }
}
