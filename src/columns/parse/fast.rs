//! The fast parser: values are stored as serde_json comes upon them, in one pass.
//!
//! Nothing is built in between. A number that is no 64-bit integer is taken by its text, which
//! serde_json gives only if asked for it before: where none is expected, one ends the pass, and
//! another begins with the texts of all scalars. What cannot be done in passing ends it as well: a
//! key that stands twice in an object, bad JSON. Such bodies are rare; [`super::exact`] reads them.

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Body, DEPTH, Selection, is_number, make_room, push_number};
use crate::columns::builder::NodeBuilder;
use crate::columns::capacity::CapacityHints;
use crate::columns::page::Page;
use crate::columns::projection::Projection;
use crate::columns::room;
use crate::columns::shape::{Duplicate, ObjectBuilder, without_nul};

/// Takes the records of a body apart.
///
/// `None`: the body is one for the exact parser, and may not be what it should be.
pub(super) fn parse(
    text: &str,
    body: Body,
    selection: Selection<'_>,
    hints: &CapacityHints,
) -> Option<Page> {
    pass(text, body, selection, hints, false).or_else(|| pass(text, body, selection, hints, true))
}

fn pass(
    text: &str,
    body: Body,
    selection: Selection<'_>,
    hints: &CapacityHints,
    raw_numbers: bool,
) -> Option<Page> {
    make_room(text, selection);
    let mut objects = ObjectBuilder::new(hints);
    let mut parser = Parser {
        links: selection.links,
        raw_numbers,
        created: 0,
        first_keys: Vec::new(),
    };
    let mut json = serde_json::Deserializer::from_str(text);
    let rows = match body {
        Body::Array => json.deserialize_seq(Records {
            parser: &mut parser,
            objects: &mut objects,
            projection: selection.projection,
        }),
        Body::Object => {
            let record = Object::record(&mut parser, &mut objects, selection.projection, 0);
            record.deserialize(&mut json).map(|()| 1)
        }
    };
    let rows = rows.ok()?;
    json.end().ok()?;
    if !room::fits(objects.cells(rows)) {
        return None;
    }
    let places = match selection.places {
        true => places(text, &parser.first_keys),
        false => Vec::new(),
    };
    Some(Page::new(rows, objects.finish(rows)).with_places(places))
}

/// Where records stand whose first keys begin at these addresses, if each has one: between records
/// there is nothing but blanks and a comma.
fn places(text: &str, first_keys: &[usize]) -> Vec<Range<usize>> {
    let start = |key: &usize| {
        let before = text.get(..key.checked_sub(text.as_ptr().addr())?)?;
        let brace = before.strip_suffix('"')?.trim_ascii_end();
        brace.strip_suffix('{').map(str::len)
    };
    let Some(starts) = first_keys.iter().map(start).collect::<Option<Vec<_>>>() else {
        return Vec::new();
    };
    let ends = starts.iter().skip(1).map(|next| (*next, ','));
    let places = starts.iter().zip(ends.chain([(text.len(), ']')]));
    let place = |(start, (end, sign)): (&usize, (usize, char))| {
        let record = text.get(*start..end)?.trim_ascii_end();
        let record = record.strip_suffix(sign)?.trim_ascii_end();
        Some(*start..start + record.len())
    };
    places.map(place).collect::<Option<_>>().unwrap_or_default()
}

/// Ends a pass. Nobody reads the words.
fn give_up<E: Error>() -> E {
    E::custom("not for the fast parser")
}

/// What all values of a pass share.
struct Parser {
    links: bool,
    raw_numbers: bool,
    /// The number of nodes up to here.
    created: u32,
    /// The address of the first key of each record, as far as it is written without escapes.
    first_keys: Vec<usize>,
}

/// An array of records; gives their number.
struct Records<'n, 's, 'p> {
    parser: &'n mut Parser,
    objects: &'n mut ObjectBuilder<'s>,
    projection: Option<&'p Projection>,
}

impl<'de> Visitor<'de> for Records<'_, '_, '_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut records: A) -> Result<usize, A::Error> {
        let mut row = 0;
        loop {
            let record = Object::record(self.parser, self.objects, self.projection, row);
            if records.next_element_seed(record)?.is_none() {
                return Ok(row);
            }
            row += 1;
        }
    }
}

/// The members of one object.
struct Object<'n, 's, 'p> {
    parser: &'n mut Parser,
    objects: &'n mut ObjectBuilder<'s>,
    projection: Option<&'p Projection>,
    row: usize,
    depth: usize,
}

impl<'n, 's, 'p> Object<'n, 's, 'p> {
    fn record(
        parser: &'n mut Parser,
        objects: &'n mut ObjectBuilder<'s>,
        projection: Option<&'p Projection>,
        row: usize,
    ) -> Self {
        Self {
            parser,
            objects,
            projection,
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
            return Err(give_up());
        }
        let mut state = State::default();
        loop {
            let key = Key {
                links: self.parser.links,
                created: &mut self.parser.created,
                state: &mut state,
                objects: self.objects,
                projection: self.projection,
            };
            let Some(member) = members.next_key_seed(key)? else {
                break;
            };
            match member {
                Member::Selected(node, projection) => members.next_value_seed(Value {
                    parser: self.parser,
                    node,
                    projection,
                    row: self.row,
                    depth: self.depth,
                })?,
                Member::Skipped => {
                    members.next_value::<IgnoredAny>()?;
                }
                Member::Link => {
                    let link: &RawValue = members.next_value()?;
                    // Rare: most links are objects.
                    if !link.get().starts_with('{') {
                        return Err(give_up());
                    }
                }
            }
        }
        self.objects.close(self.row, state.shape);
        if self.depth == 1 {
            self.parser.first_keys.push(state.first_key);
        }
        Ok(())
    }
}

/// How far the keys of an object were followed.
#[derive(Default)]
struct State {
    shape: u32,
    /// Which of the projected properties the next one may be.
    guess: usize,
    /// The address of the first key.
    first_key: usize,
}

/// The key of a member.
struct Key<'k, 'n, 's, 'p> {
    links: bool,
    created: &'k mut u32,
    state: &'k mut State,
    objects: &'n mut ObjectBuilder<'s>,
    projection: Option<&'p Projection>,
}

/// What is to be done with the value of a key.
enum Member<'n, 's, 'p> {
    Selected(&'n mut NodeBuilder<'s>, Option<&'p Projection>),
    Skipped,
    /// Skipped if it is an object.
    Link,
}

impl<'n, 's, 'p> Key<'_, 'n, 's, 'p> {
    #[inline]
    fn member(self, key: &str) -> Result<Member<'n, 's, 'p>, Duplicate> {
        let mut below = None;
        if let Some(projection) = self.projection {
            let Some((position, member)) = projection.find(&without_nul(key), self.state.guess)
            else {
                return Ok(Member::Skipped);
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
        Ok(Member::Selected(node, below))
    }
}

impl<'de, 'n, 's, 'p> DeserializeSeed<'de> for Key<'_, 'n, 's, 'p> {
    type Value = Member<'n, 's, 'p>;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'de, 'n, 's, 'p> Visitor<'de> for Key<'_, 'n, 's, 'p> {
    type Value = Member<'n, 's, 'p>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    #[inline]
    fn visit_borrowed_str<E: Error>(self, key: &'de str) -> Result<Self::Value, E> {
        if self.state.first_key == 0 {
            self.state.first_key = key.as_ptr().addr();
        }
        self.visit_str(key)
    }

    #[inline]
    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        self.member(key).map_err(|Duplicate| give_up())
    }
}

/// One value, for the node of its path.
struct Value<'n, 's, 'p> {
    parser: &'n mut Parser,
    node: &'n mut NodeBuilder<'s>,
    projection: Option<&'p Projection>,
    row: usize,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Value<'_, '_, '_> {
    type Value = ();

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        if !(self.node.raw_numbers() || self.parser.raw_numbers && !self.node.is_nested()) {
            return json.deserialize_any(self);
        }
        let text = <&RawValue>::deserialize(json)?.get();
        if is_number(text) {
            push_number(self.node, self.row, text).ok_or_else(give_up)
        } else {
            let mut json = serde_json::Deserializer::from_str(text);
            json.deserialize_any(self).map_err(|_| give_up())
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
        let value = value.try_into().map_err(|_| give_up())?;
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
        Err(give_up())
    }

    #[inline]
    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.node.push_string(self.row, text);
        Ok(())
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<(), A::Error> {
        Object {
            parser: self.parser,
            objects: self.node.objects(),
            projection: self.projection,
            row: self.row,
            depth: self.depth + 1,
        }
        .visit_map(members)
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let depth = self.depth + 1;
        if depth > DEPTH {
            return Err(give_up());
        }
        let lists = self.node.lists();
        let (child, mut next) = lists.open();
        loop {
            let element = Value {
                parser: self.parser,
                node: child,
                projection: self.projection,
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
