//! The exact parser, for a body of which something is out of the ordinary: value by value, by
//! their texts.
//!
//! Slower than [`super::fast`], but nothing is lost: a key may stand twice in an object, numbers
//! may have any length, and half a surrogate pair becomes the replacement character U+FFFD.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Body, DEPTH, Selection, is_number, make_room, push_number};
use crate::columns::builder::NodeBuilder;
use crate::columns::capacity::CapacityHints;
use crate::columns::page::Page;
use crate::columns::projection::Projection;
use crate::columns::room;
use crate::columns::shape::{Duplicate, ObjectBuilder, without_nul};
use crate::{Error, Result};

/// Takes the records of a body apart, or says what is wrong with it.
pub(super) fn parse(
    text: &str,
    body: Body,
    selection: Selection<'_>,
    hints: &CapacityHints,
) -> Result<Page> {
    // serde_json's words for bad syntax have a place in them, and nothing of the text.
    let whole: &RawValue = serde_json::from_str(text).map_err(|error| {
        let trailing = error.classify() == serde_json::error::Category::Syntax
            && error.to_string().starts_with("trailing characters");
        Error::Json(if error.is_eof() {
            "the JSON ends in the middle".to_owned()
        } else if trailing {
            "not JSON: more text after its end".to_owned()
        } else {
            format!("not JSON: {error}")
        })
    })?;
    let records = match body {
        Body::Array => elements(whole.get()),
        Body::Object => Ok(vec![whole]),
    };
    make_room(text, selection);
    let mut objects = ObjectBuilder::new(hints);
    let mut parser = Parser {
        links: selection.links,
        created: 0,
    };
    let mut rows = 0;
    let done = records.and_then(|records| {
        records.into_iter().try_for_each(|record| {
            if !record.get().starts_with('{') {
                return Err(Fault("expected an object, got something else"));
            }
            parser.object(record.get(), &mut objects, rows, selection.projection, 1)?;
            rows += 1;
            Ok(())
        })
    });
    done.map_err(|Fault(text)| {
        Error::Json(match body {
            Body::Array => format!("{text} in record {} of the page", rows + 1),
            Body::Object => text.to_owned(),
        })
    })?;
    if !room::fits(objects.cells(rows)) {
        return Err(Error::Json(room::TOO_MANY.to_owned()));
    }
    Ok(Page::new(rows, objects.finish(rows)))
}

/// Why a parser ends early.
struct Fault(&'static str);

impl From<serde_json::Error> for Fault {
    fn from(_: serde_json::Error) -> Self {
        Self("a value that cannot be read")
    }
}

impl From<Duplicate> for Fault {
    fn from(_: Duplicate) -> Self {
        Self("a key that cannot be read")
    }
}

struct Parser {
    links: bool,
    created: u32,
}

impl Parser {
    fn object(
        &mut self,
        text: &str,
        objects: &mut ObjectBuilder<'_>,
        row: usize,
        projection: Option<&Projection>,
        depth: usize,
    ) -> Result<(), Fault> {
        if depth > DEPTH {
            return Err(Fault("nested deeper than 128 levels"));
        }
        let mut shape = 0;
        for (key, value) in members(text)? {
            let below = match projection.map(|projection| projection.find(&key, 0)) {
                None => None,
                Some(Some((_, projection))) => projection.some(),
                Some(None) => continue,
            };
            if self.links || key != "link" || !value.starts_with('{') {
                let node = objects.enter(&mut shape, &key, &mut self.created)?;
                self.value(value, node, row, below, depth)?;
            }
        }
        objects.close(row, shape);
        Ok(())
    }

    fn value(
        &mut self,
        text: &str,
        node: &mut NodeBuilder<'_>,
        row: usize,
        projection: Option<&Projection>,
        depth: usize,
    ) -> Result<(), Fault> {
        match text.as_bytes() {
            [b'"', ..] => node.push_string(row, &string(text)?),
            [b'{', ..] => self.object(text, node.objects(), row, projection, depth + 1)?,
            [b'[', ..] => self.list(text, node, row, projection, depth + 1)?,
            b"true" => node.push_boolean(row, true),
            b"false" => node.push_boolean(row, false),
            b"null" => {}
            _ if is_number(text) => {
                push_number(node, row, text).ok_or(Fault("an invalid number"))?;
            }
            _ => return Err(Fault("a value that cannot be read")),
        }
        Ok(())
    }

    fn list(
        &mut self,
        text: &str,
        node: &mut NodeBuilder<'_>,
        row: usize,
        projection: Option<&Projection>,
        depth: usize,
    ) -> Result<(), Fault> {
        if depth > DEPTH {
            return Err(Fault("nested deeper than 128 levels"));
        }
        let lists = node.lists();
        let (child, mut next) = lists.open();
        for element in elements(text)? {
            self.value(element.get(), child, next, projection, depth)?;
            next += 1;
        }
        lists.close(row, next);
        Ok(())
    }
}

fn elements(text: &str) -> Result<Vec<&RawValue>, Fault> {
    Ok(serde_json::from_str(text)?)
}

/// The members of an object. Of a key that stands in it twice the last value counts, at the place
/// of the first.
fn members(text: &str) -> Result<Vec<(String, &str)>, Fault> {
    let Members(all) = serde_json::from_str(text)?;
    let mut members: Vec<(String, &str)> = Vec::with_capacity(all.len());
    let mut places: HashMap<String, usize> = HashMap::with_capacity(all.len());
    for (Text(key), value) in all {
        let key = without_nul(&key).into_owned();
        match places.get(&key) {
            Some(&place) => members[place].1 = value.get(),
            None => {
                places.insert(key.clone(), members.len());
                members.push((key, value.get()));
            }
        }
    }
    Ok(members)
}

fn string(text: &str) -> Result<String, Fault> {
    let Text(string) = serde_json::from_str(text)?;
    Ok(string)
}

/// The members of an object as they stand there.
struct Members<'a>(Vec<(Text, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct All;

        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        json.deserialize_map(All)
    }
}

/// A JSON string. An escape that is half of a surrogate pair stands for no character.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Text, E> {
                let mut bytes = bytes.to_vec();
                // serde_json writes them as UTF-8 would, were they characters: three bytes, which
                // no UTF-8 has.
                let mut at = 0;
                while let Some(found) = std::str::from_utf8(&bytes[at..]).err() {
                    at += found.valid_up_to();
                    bytes[at..at + 3].copy_from_slice("\u{FFFD}".as_bytes());
                    at += 3;
                }
                Ok(Text(String::from_utf8(bytes).unwrap_or_default()))
            }
        }

        // As bytes, they come unchecked.
        json.deserialize_bytes(Bytes)
    }
}
