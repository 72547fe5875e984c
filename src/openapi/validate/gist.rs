//! A digest of what a payload says: two that have the same one need not be compared any further.
//!
//! The order of names and of elements plays no part, since a POST goes by neither. Everything else
//! does: of payloads whose digests differ, only the comparison tells whether a POST changes anything.

use std::borrow::Cow;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::LazyLock;

use polars::prelude::PlRandomState;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::de::Read;

use super::json::{Json, Name};
use super::walk::SERVER_FIELDS;

/// Digests are compared within one process only.
static SEED: LazyLock<PlRandomState> = LazyLock::new(Default::default);

/// What a look at a payload shows, without a tree of all of it.
#[derive(Debug)]
pub(crate) struct Gist<'a> {
    /// Of the whole payload, without what the server writes itself and without links.
    pub(crate) digest: u64,
    /// The values at some paths.
    pub(crate) kept: Json<'a>,
}

impl<'a> Gist<'a> {
    /// Reads a text that must be an object.
    pub(crate) fn of(text: &'a [u8], paths: &Paths) -> Result<Self, String> {
        match str::from_utf8(text) {
            Ok(text) => Self::of_text(text, paths),
            // The error says where.
            Err(_) => Self::read(serde_json::Deserializer::from_slice(text), paths),
        }
    }

    /// The same of what is known to be UTF-8: text by text that takes longer.
    pub(crate) fn of_text(text: &'a str, paths: &Paths) -> Result<Self, String> {
        Self::read(serde_json::Deserializer::from_str(text), paths)
    }

    fn read<R: Read<'a>>(
        mut json: serde_json::Deserializer<R>,
        paths: &Paths,
    ) -> Result<Self, String> {
        let mut kept = Json::Null;
        let root = Value {
            name: None,
            kept: Some((paths, &mut kept)),
        };
        let digest = root.deserialize(&mut json);
        match digest.and_then(|digest| json.end().map(|()| digest)) {
            Ok(digest) if matches!(kept, Json::Object(_)) => Ok(Self { digest, kept }),
            Ok(_) => Err("it must be an object".into()),
            // The error names a place, not what stands there.
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Where values stand that are kept.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    all: bool,
    below: Vec<(Box<str>, Self)>,
}

impl Paths {
    /// Paths whose names are joined by dots.
    pub(crate) fn of<'p>(paths: impl IntoIterator<Item = &'p str>) -> Self {
        let mut root = Self::default();
        for path in paths {
            let mut place = &mut root;
            for name in path.split('.') {
                let known = place.below.iter().position(|(own, _)| **own == *name);
                let number = known.unwrap_or_else(|| {
                    place.below.push((name.into(), Self::default()));
                    place.below.len() - 1
                });
                place = &mut place.below[number].1;
            }
            place.all = true;
        }
        root
    }

    fn at(&self, name: &str) -> Option<&Self> {
        match self.all {
            true => Some(self),
            false => {
                let mut below = self.below.iter();
                below.find(|(own, _)| **own == *name).map(|(_, one)| one)
            }
        }
    }
}

/// A value that is read: the whole payload, or what stands at a name. Gives its digest.
struct Value<'p, 'k, 'a> {
    name: Option<&'p str>,
    /// Which of the values below are kept, and where this one is.
    kept: Option<(&'p Paths, &'k mut Json<'a>)>,
}

impl<'a> Value<'_, '_, 'a> {
    fn scalar(self, kind: u8, value: &[u8], json: impl FnOnce() -> Json<'a>) -> u64 {
        if let Some((_, kept)) = self.kept {
            *kept = json();
        }
        hashed(self.name.unwrap_or_default(), kind, value)
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_, '_, 'de> {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// What says nothing adds nothing.
impl<'de> Visitor<'de> for Value<'_, '_, 'de> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<u64, E> {
        Ok(0)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<u64, E> {
        Ok(self.scalar(1, &[u8::from(value)], || Json::Bool(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<u64, E> {
        Ok(self.scalar(2, &value.to_le_bytes(), || Json::Int(value)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<u64, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => self.visit_f64(value as f64),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<u64, E> {
        Ok(self.scalar(3, &value.to_le_bytes(), || Json::Float(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<u64, E> {
        let json = || Json::Text(Cow::Owned(value.to_owned()));
        Ok(self.scalar(4, value.as_bytes(), json))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<u64, E> {
        Ok(self.scalar(4, value.as_bytes(), || Json::Text(Cow::Borrowed(value))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<u64, A::Error> {
        let (mut sum, mut is_empty) = (0_u64, true);
        let (mut list, mut value) = (Vec::new(), Json::Null);
        let all = self.kept.as_ref().map(|(paths, _)| *paths);
        let all = all.filter(|paths| paths.all);
        loop {
            let element = Value {
                name: Some(""),
                kept: all.map(|paths| (paths, &mut value)),
            };
            let Some(digest) = values.next_element_seed(element)? else {
                break;
            };
            is_empty = false;
            sum = sum.wrapping_add(digest);
            if all.is_some() {
                list.push(std::mem::replace(&mut value, Json::Null));
            }
        }
        if let Some((_, kept)) = self.kept {
            *kept = Json::List(list);
        }
        Ok(match is_empty {
            true => 0,
            false => hashed(self.name.unwrap_or_default(), 5, &sum.to_le_bytes()),
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<u64, A::Error> {
        let (mut sum, mut members) = (0_u64, Vec::new());
        let below = self.kept.as_ref().map(|(paths, _)| *paths);
        while let Some(Name(name)) = entries.next_key()? {
            let mut value = Json::Null;
            let paths = below.and_then(|paths| paths.at(&name));
            let digest = entries.next_value_seed(Value {
                name: Some(&name),
                kept: paths.map(|paths| (paths, &mut value)),
            })?;
            if self.name.is_some() || !SERVER_FIELDS.contains(&&*name) {
                sum = sum.wrapping_add(digest);
            }
            if paths.is_some() {
                members.push((name, value));
            }
        }
        if let Some((_, kept)) = self.kept {
            *kept = Json::Object(members);
        }
        Ok(match (self.name, sum) {
            (None, sum) => sum,
            // One that servers add to references.
            (Some("link"), _) | (_, 0) => 0,
            (Some(name), sum) => hashed(name, 6, &sum.to_le_bytes()),
        })
    }
}

fn hashed(name: &str, kind: u8, value: &[u8]) -> u64 {
    let mut hasher = SEED.build_hasher();
    hasher.write(name.as_bytes());
    // No name goes over into a value.
    hasher.write_u64((name.len() as u64) << 8 | u64::from(kind));
    hasher.write(value);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gist(text: &str) -> u64 {
        Gist::of(text.as_bytes(), &Paths::default()).unwrap().digest
    }

    #[test]
    fn only_what_stands_at_the_paths_is_kept() {
        let text =
            r#"{"id":"7","r":{"link":{"rel":"R"},"s":"1","t":[1,{"u":null}]},"l":[{"s":2}]}"#;
        let paths = Paths::of(["id", "r.t", "r.t.u", "l.s", "x"]);
        let kept = Gist::of(text.as_bytes(), &paths).unwrap().kept;
        let expected = r#"{"id":"7","r":{"t":[1,{"u":null}]},"l":[]}"#;
        assert_eq!(kept, Json::object(expected.as_bytes()).unwrap());
        for wrong in ["[1]", "7", r#"{"a":1}x"#, r#"{"a":}"#] {
            let error = Gist::of(wrong.as_bytes(), &paths).unwrap_err();
            assert_eq!(error, Json::object(wrong.as_bytes()).unwrap_err());
        }
    }

    #[test]
    fn order_plays_no_part_and_what_says_nothing_is_not_there() {
        let one = r#"{"a":1,"b":[{"c":"x","d":true},{"c":"y"}],"r":{"s":"1"}}"#;
        let two = r#"{"id":"7","_etag":"e","r":{"link":{"rel":"R"},"s":"1"},"n":null,"l":[],
            "b":[{"c":"y"},{"d":true,"c":"x"}],"a":1,"o":{"p":null}}"#;
        assert_eq!(gist(one), gist(two));
    }

    #[test]
    fn everything_else_plays_one() {
        let texts = [
            r#"{"a":1,"b":["x","y"]}"#,
            r#"{"a":"1","b":["x","y"]}"#,
            r#"{"a":true,"b":["x","y"]}"#,
            r#"{"a":1.5,"b":["x","y"]}"#,
            r#"{"b":1,"a":["x","y"]}"#,
            r#"{"a":1,"b":["x"]}"#,
            r#"{"a":1,"b":["x","x","y"]}"#,
            r#"{"a":1,"b":["xy"]}"#,
            r#"{"a":1,"b":[["x"],"y"]}"#,
            r#"{"a":1,"b":{"x":"y"}}"#,
            r#"{"a":1,"b":["x","y"],"link":"z"}"#,
            r#"{"a":1,"b":["x","y"],"ab":{"id":"1"}}"#,
        ];
        for (number, one) in texts.iter().enumerate() {
            for other in &texts[..number] {
                assert_ne!(gist(one), gist(other), "{one} {other}");
            }
        }
    }
}
