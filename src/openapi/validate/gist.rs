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
static HALVES: LazyLock<[PlRandomState; 2]> = LazyLock::new(Default::default);

/// What a look at a payload shows, without a tree of all of it.
#[derive(Debug)]
pub(crate) struct Gist<'a> {
    /// Of the whole payload, without what the server writes itself and without links.
    pub(crate) digest: u128,
    /// The values at some paths.
    pub(crate) kept: Json<'a>,
}

impl<'a> Gist<'a> {
    /// Reads a text that must be an object.
    pub(crate) fn of(text: &'a [u8], paths: &Paths) -> Result<Self, String> {
        // Once over all of it takes less than text by text.
        let read = match str::from_utf8(text) {
            Ok(text) => read(serde_json::Deserializer::from_str(text), paths),
            Err(_) => read(serde_json::Deserializer::from_slice(text), paths),
        };
        match read {
            Ok((digest, Some(kept @ Json::Object(_)))) => Ok(Self { digest, kept }),
            Ok(_) => Err("it must be an object".into()),
            // The error names a place, not what stands there.
            Err(error) => Err(error.to_string()),
        }
    }
}

fn read<'a, R: Read<'a>>(
    mut deserializer: serde_json::Deserializer<R>,
    paths: &Paths,
) -> serde_json::Result<Told<'a>> {
    let root = Value {
        name: None,
        kept: Some(paths),
    };
    let told = root.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(told)
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

/// The digest of a value, and the value where it is kept.
type Told<'a> = (u128, Option<Json<'a>>);

/// A value that is read: the whole payload, or what stands at a name.
struct Value<'p> {
    name: Option<&'p str>,
    kept: Option<&'p Paths>,
}

impl Value<'_> {
    fn name(&self) -> &str {
        self.name.unwrap_or_default()
    }

    fn told<'a>(&self, kind: u8, value: &[u8], json: impl FnOnce() -> Json<'a>) -> Told<'a> {
        (hashed(self.name(), kind, value), self.kept.map(|_| json()))
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = Told<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Told<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// What says nothing adds nothing.
impl<'de> Visitor<'de> for Value<'_> {
    type Value = Told<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Told<'de>, E> {
        Ok((0, self.kept.map(|_| Json::Null)))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Told<'de>, E> {
        Ok(self.told(1, &[u8::from(value)], || Json::Bool(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Told<'de>, E> {
        Ok(self.told(2, &value.to_le_bytes(), || Json::Int(value)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Told<'de>, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => self.visit_f64(value as f64),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Told<'de>, E> {
        Ok(self.told(3, &value.to_le_bytes(), || Json::Float(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Told<'de>, E> {
        let json = || Json::Text(Cow::Owned(value.to_owned()));
        Ok(self.told(4, value.as_bytes(), json))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Told<'de>, E> {
        Ok(self.told(4, value.as_bytes(), || Json::Text(Cow::Borrowed(value))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Told<'de>, A::Error> {
        let (mut sum, mut is_empty) = (0_u128, true);
        let mut list = Vec::new();
        let element = || Value {
            name: Some(""),
            kept: self.kept.filter(|paths| paths.all),
        };
        while let Some((digest, value)) = values.next_element_seed(element())? {
            is_empty = false;
            sum = sum.wrapping_add(digest);
            list.extend(value);
        }
        let digest = match is_empty {
            true => 0,
            false => hashed(self.name(), 5, &sum.to_le_bytes()),
        };
        Ok((digest, self.kept.map(|_| Json::List(list))))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Told<'de>, A::Error> {
        let (mut sum, mut members) = (0_u128, Vec::new());
        while let Some(Name(name)) = entries.next_key()? {
            let value = Value {
                name: Some(&name),
                kept: self.kept.and_then(|paths| paths.at(&name)),
            };
            let (digest, value) = entries.next_value_seed(value)?;
            if self.name.is_some() || !SERVER_FIELDS.contains(&&*name) {
                sum = sum.wrapping_add(digest);
            }
            members.extend(value.map(|value| (name, value)));
        }
        let digest = match (self.name, sum) {
            (None, sum) => sum,
            // One that servers add to references.
            (Some("link"), _) | (_, 0) => 0,
            (Some(name), sum) => hashed(name, 6, &sum.to_le_bytes()),
        };
        Ok((digest, self.kept.map(|_| Json::Object(members))))
    }
}

fn hashed(name: &str, kind: u8, value: &[u8]) -> u128 {
    let [one, two] = HALVES.each_ref().map(|half| {
        let mut hasher = half.build_hasher();
        hasher.write_usize(name.len());
        hasher.write(name.as_bytes());
        hasher.write_u8(kind);
        hasher.write(value);
        hasher.finish()
    });
    u128::from(one) << 64 | u128::from(two)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gist(text: &str) -> u128 {
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
