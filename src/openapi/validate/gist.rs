//! A digest of what a payload says: two that have the same one need not be compared any further.
//!
//! The order of names and of elements plays no part, since a POST goes by neither. Everything else
//! does: of payloads whose digests differ, only the comparison tells whether a POST changes anything.

use std::hash::{BuildHasher, Hasher};
use std::sync::LazyLock;

use polars::prelude::PlRandomState;

use super::json::Json;
use super::walk::SERVER_FIELDS;

/// Digests are compared within one process only.
static HALVES: LazyLock<[PlRandomState; 2]> = LazyLock::new(Default::default);

impl Json<'_> {
    /// The digest of a whole payload, without what the server writes itself and without links.
    pub(crate) fn gist(&self) -> u128 {
        match self {
            Self::Object(members) => {
                let own = members.iter();
                let own = own.filter(|(name, _)| !SERVER_FIELDS.contains(&&**name));
                sum(own.map(|(name, value)| value.as_member(name)))
            }
            other => other.as_member(""),
        }
    }

    /// As a property of this name; nothing where it says nothing.
    fn as_member(&self, name: &str) -> u128 {
        match self {
            Self::Null => 0,
            Self::List(list) if list.is_empty() => 0,
            Self::Object(_) if self.is_link(name) => 0,
            Self::Bool(value) => hashed(name, 1, &[u8::from(*value)]),
            Self::Int(number) => hashed(name, 2, &number.to_le_bytes()),
            Self::Float(number) => hashed(name, 3, &number.to_le_bytes()),
            Self::Text(text) => hashed(name, 4, text.as_bytes()),
            Self::List(list) => {
                let all = sum(list.iter().map(|element| element.as_member("")));
                hashed(name, 5, &all.to_le_bytes())
            }
            Self::Object(members) => {
                match sum(members.iter().map(|(name, value)| value.as_member(name))) {
                    0 => 0,
                    all => hashed(name, 6, &all.to_le_bytes()),
                }
            }
        }
    }
}

fn sum(parts: impl Iterator<Item = u128>) -> u128 {
    parts.fold(0, u128::wrapping_add)
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
        Json::object(text.as_bytes()).unwrap().gist()
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
