//! The walk over the text of one body, as it is parsed: every value goes to the node of its path.
//!
//! Nothing is built in between. A number that is no 64-bit integer is taken by its text, which
//! serde_json gives only if asked for it before: where none is expected, one ends the walk, and it
//! begins again with the texts of all scalars. What it cannot do as it goes ends it as well: a key
//! that stands twice in an object, bad JSON. Such bodies are rare, and are read again, with all the
//! care they need, by [`super::careful`].

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::builder::NodeBuilder;
use super::decimal;
use super::number::{self, Number};
use super::page::Page;
use super::shape::{Duplicate, ObjectBuilder, without_nul};
use super::sizes::Sizes;
use super::wanted::Wanted;

/// Objects and arrays nested deeper than this are refused, as most JSON parsers do.
pub(super) const DEPTH: usize = 128;

/// What a body is expected to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// An array of objects, each a record.
    Array,
    /// One object, the only record.
    Object,
}

impl Body {
    /// The words for it in errors.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Array => "a JSON array",
            Self::Object => "a JSON object",
        }
    }
}

/// What of a body is stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    /// Whether members named `link` are, whose value is an object.
    pub(super) links: bool,
    /// The properties that are; `None` is all.
    pub(super) wanted: Option<&'a Wanted>,
}

/// Takes the records of a body apart. The page is expected to have `sizes`.
///
/// `None`: the body is to be read with care, and may not be what it should be.
pub(super) fn shred(text: &str, body: Body, part: Part<'_>, sizes: &Sizes) -> Option<Page> {
    walk(text, body, part, sizes, false).or_else(|| walk(text, body, part, sizes, true))
}

fn walk(text: &str, body: Body, part: Part<'_>, sizes: &Sizes, by_text: bool) -> Option<Page> {
    let mut objects = ObjectBuilder::new(sizes);
    let mut walk = Walk {
        links: part.links,
        by_text,
        created: 0,
    };
    let mut json = serde_json::Deserializer::from_str(text);
    let rows = match body {
        Body::Array => json.deserialize_seq(Records {
            walk: &mut walk,
            objects: &mut objects,
            wanted: part.wanted,
        }),
        Body::Object => {
            let record = Object::record(&mut walk, &mut objects, part.wanted, 0);
            record.deserialize(&mut json).map(|()| 1)
        }
    };
    let rows = rows.ok()?;
    json.end().ok()?;
    Some(Page::new(rows, objects.finish(rows)))
}

/// Stores a number; `None` if it is none.
pub(super) fn push_number(node: &mut NodeBuilder<'_>, row: usize, text: &str) -> Option<()> {
    match number::parse(text)? {
        Number::Integer(value) => node.push_integer(row, value),
        Number::Float(value) => {
            node.push_float(row, value);
            // Fewer characters than this are always read back.
            if text.len() > 16 && !decimal::equal(text, &value.to_string()) {
                node.push_exact(row, text);
            }
        }
        Number::Text => node.push_number(row, text),
    }
    Some(())
}

/// Whether a JSON value is a number, by its text.
pub(super) fn is_number(text: &str) -> bool {
    text.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

/// Ends a walk. Nobody reads the words.
fn with_care<E: Error>() -> E {
    E::custom("to be read with care")
}

/// What all values of a walk share.
struct Walk {
    links: bool,
    by_text: bool,
    /// The number of nodes up to here.
    created: u32,
}

/// An array of records; gives their number.
struct Records<'n, 's, 'w> {
    walk: &'n mut Walk,
    objects: &'n mut ObjectBuilder<'s>,
    wanted: Option<&'w Wanted>,
}

impl<'de> Visitor<'de> for Records<'_, '_, '_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut records: A) -> Result<usize, A::Error> {
        let mut row = 0;
        loop {
            let record = Object::record(self.walk, self.objects, self.wanted, row);
            if records.next_element_seed(record)?.is_none() {
                return Ok(row);
            }
            row += 1;
        }
    }
}

/// The members of one object.
struct Object<'n, 's, 'w> {
    walk: &'n mut Walk,
    objects: &'n mut ObjectBuilder<'s>,
    wanted: Option<&'w Wanted>,
    row: usize,
    depth: usize,
}

impl<'n, 's, 'w> Object<'n, 's, 'w> {
    fn record(
        walk: &'n mut Walk,
        objects: &'n mut ObjectBuilder<'s>,
        wanted: Option<&'w Wanted>,
        row: usize,
    ) -> Self {
        Self {
            walk,
            objects,
            wanted,
            row,
            depth: 1,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Object<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        if self.depth > DEPTH {
            return Err(with_care());
        }
        let mut state = State::default();
        loop {
            let key = Key {
                links: self.walk.links,
                created: &mut self.walk.created,
                state: &mut state,
                objects: self.objects,
                wanted: self.wanted,
            };
            let Some(member) = members.next_key_seed(key)? else {
                break;
            };
            match member {
                Member::Wanted(node, wanted) => members.next_value_seed(Value {
                    walk: self.walk,
                    node,
                    wanted,
                    row: self.row,
                    depth: self.depth,
                })?,
                Member::Unwanted => {
                    members.next_value::<IgnoredAny>()?;
                }
                Member::Link => {
                    let link: &RawValue = members.next_value()?;
                    // Rare: most links are objects.
                    if !link.get().starts_with('{') {
                        return Err(with_care());
                    }
                }
            }
        }
        self.objects.close(self.row, state.shape);
        Ok(())
    }
}

/// How far the keys of an object were followed.
#[derive(Default)]
struct State {
    shape: u32,
    /// Which of the wanted properties the next one may be.
    guess: usize,
}

/// The key of a member.
struct Key<'k, 'n, 's, 'w> {
    links: bool,
    created: &'k mut u32,
    state: &'k mut State,
    objects: &'n mut ObjectBuilder<'s>,
    wanted: Option<&'w Wanted>,
}

/// What is to be done with the value of a key.
enum Member<'n, 's, 'w> {
    Wanted(&'n mut NodeBuilder<'s>, Option<&'w Wanted>),
    Unwanted,
    /// Unwanted if it is an object.
    Link,
}

impl<'n, 's, 'w> Key<'_, 'n, 's, 'w> {
    #[inline]
    fn member(self, key: &str) -> Result<Member<'n, 's, 'w>, Duplicate> {
        let mut below = None;
        if let Some(wanted) = self.wanted {
            let Some((position, member)) = wanted.find(&without_nul(key), self.state.guess) else {
                return Ok(Member::Unwanted);
            };
            self.state.guess = position + 1;
            below = member.some();
        }
        if !self.links && key == "link" {
            return Ok(Member::Link);
        }
        let node = self
            .objects
            .enter(&mut self.state.shape, key, self.created)?;
        Ok(Member::Wanted(node, below))
    }
}

impl<'de, 'n, 's, 'w> DeserializeSeed<'de> for Key<'_, 'n, 's, 'w> {
    type Value = Member<'n, 's, 'w>;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'n, 's, 'w> Visitor<'_> for Key<'_, 'n, 's, 'w> {
    type Value = Member<'n, 's, 'w>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    #[inline]
    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        self.member(key).map_err(|Duplicate| with_care())
    }
}

/// One value, for the node of its path.
struct Value<'n, 's, 'w> {
    walk: &'n mut Walk,
    node: &'n mut NodeBuilder<'s>,
    wanted: Option<&'w Wanted>,
    row: usize,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Value<'_, '_, '_> {
    type Value = ();

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        if !(self.node.by_text() || self.walk.by_text && !self.node.is_nested()) {
            return json.deserialize_any(self);
        }
        let text = <&RawValue>::deserialize(json)?.get();
        if is_number(text) {
            push_number(self.node, self.row, text).ok_or_else(with_care)
        } else {
            let mut json = serde_json::Deserializer::from_str(text);
            json.deserialize_any(self).map_err(|_| with_care())
        }
    }
}

impl<'de> Visitor<'de> for Value<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    #[inline]
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    #[inline]
    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.node.push_boolean(self.row, value);
        Ok(())
    }

    #[inline]
    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        let value = value.try_into().map_err(|_| with_care())?;
        self.node.push_integer(self.row, value);
        Ok(())
    }

    #[inline]
    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.node.push_integer(self.row, value);
        Ok(())
    }

    #[cold]
    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Err(with_care())
    }

    #[inline]
    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.node.push_string(self.row, text);
        Ok(())
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<(), A::Error> {
        Object {
            walk: self.walk,
            objects: self.node.objects(),
            wanted: self.wanted,
            row: self.row,
            depth: self.depth + 1,
        }
        .visit_map(members)
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let depth = self.depth + 1;
        if depth > DEPTH {
            return Err(with_care());
        }
        let lists = self.node.lists();
        let (child, mut next) = lists.open();
        loop {
            let element = Value {
                walk: self.walk,
                node: child,
                wanted: self.wanted,
                row: next,
                depth,
            };
            if elements.next_element_seed(element)?.is_none() {
                break;
            }
            next += 1;
        }
        lists.close(self.row, next);
        Ok(())
    }
}
