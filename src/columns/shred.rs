//! The walk over the tape of one body: every value goes to the node of its path.

use std::borrow::Cow;
use std::collections::HashMap;

use arrow::json::reader::{Tape, TapeElement};

use super::builder::NodeBuilder;
use super::decimal;
use super::number::{self, Number};
use super::page::Page;
use super::shape::{Duplicate, ObjectBuilder, without_nul};
use super::sizes::Sizes;
use super::wanted::Wanted;
use crate::{Error, Result};

/// Objects and arrays nested deeper than this are refused, as most JSON parsers do.
const DEPTH: usize = 128;

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

/// Why a walk ends early.
enum Fault {
    Error(&'static str),
    Duplicate,
}

impl From<Duplicate> for Fault {
    fn from(_: Duplicate) -> Self {
        Self::Duplicate
    }
}

/// Takes the records at `root` of the tape apart; only what is `wanted`, if that is given. The
/// page is expected to have `sizes`.
pub(super) fn shred(
    tape: &Tape<'_>,
    root: u32,
    body: Body,
    links: bool,
    wanted: Option<&Wanted>,
    sizes: &Sizes,
) -> Result<Page> {
    let mut walk = Walk {
        tape,
        links,
        wanted,
        sizes,
        duplicates: false,
        created: 0,
        record: 0,
    };
    // An object with a key twice shows itself only when half of it is stored. Such pages are so
    // rare that they are read again from the start, with a look ahead into every object.
    let page = walk.records(root, body).or_else(|fault| match fault {
        Fault::Duplicate => {
            walk.duplicates = true;
            walk.created = 0;
            walk.records(root, body)
        }
        fault => Err(fault),
    });
    page.map_err(|fault| {
        let text = match fault {
            Fault::Error(text) => text,
            Fault::Duplicate => "a key that cannot be read",
        };
        Error::Json(match body {
            Body::Array => format!("{text} in record {} of the page", walk.record + 1),
            Body::Object => text.to_owned(),
        })
    })
}

struct Walk<'t> {
    tape: &'t Tape<'t>,
    links: bool,
    wanted: Option<&'t Wanted>,
    sizes: &'t Sizes,
    /// Whether objects may have a key twice; the last value counts, at the place of the first.
    duplicates: bool,
    created: u32,
    record: usize,
}

impl<'t> Walk<'t> {
    fn records(&mut self, root: u32, body: Body) -> Result<Page, Fault> {
        let mut objects = ObjectBuilder::new(self.sizes);
        self.record = 0;
        match (body, self.tape.get(root)) {
            (Body::Array, TapeElement::StartList(end)) => {
                let mut at = root + 1;
                while at < end {
                    let TapeElement::StartObject(close) = self.tape.get(at) else {
                        return Err(Fault::Error("expected an object, got something else"));
                    };
                    self.object(at, close, &mut objects, self.record, self.wanted, 1)?;
                    at = close + 1;
                    self.record += 1;
                }
            }
            (Body::Object, TapeElement::StartObject(close)) => {
                self.object(root, close, &mut objects, 0, self.wanted, 1)?;
                self.record = 1;
            }
            // The first byte of the body was looked at before.
            _ => return Err(Fault::Error("something else than a record")),
        }
        Ok(Page::new(self.record, objects.finish(self.record)))
    }

    /// Stores the value at a place of the tape; gives the place after it.
    #[inline]
    fn value(
        &mut self,
        at: u32,
        node: &mut NodeBuilder<'_>,
        row: usize,
        wanted: Option<&'t Wanted>,
        depth: usize,
    ) -> Result<u32, Fault> {
        match self.tape.get(at) {
            TapeElement::String(text) => node.push_string(row, self.tape.get_string(text)),
            TapeElement::Number(text) => self.number(self.tape.get_string(text), node, row)?,
            TapeElement::True => node.push_boolean(row, true),
            TapeElement::False => node.push_boolean(row, false),
            TapeElement::Null => {}
            TapeElement::StartObject(end) => {
                self.object(at, end, node.objects(), row, wanted, depth + 1)?;
                return Ok(end + 1);
            }
            TapeElement::StartList(end) => {
                self.list(at, end, node, row, wanted, depth + 1)?;
                return Ok(end + 1);
            }
            // A tape of JSON text has no other elements.
            _ => return Err(Fault::Error("a value that cannot be read")),
        }
        Ok(at + 1)
    }

    fn number(&self, text: &str, node: &mut NodeBuilder<'_>, row: usize) -> Result<(), Fault> {
        match number::parse(text) {
            Some(Number::Integer(value)) => node.push_integer(row, value),
            Some(Number::Float(value)) => {
                node.push_float(row, value);
                // Fewer characters than this are always read back.
                if text.len() > 16 && !decimal::equal(text, &value.to_string()) {
                    node.push_exact(row, text);
                }
            }
            Some(Number::Text) => node.push_number(row, text),
            None => return Err(Fault::Error("not JSON: an invalid number")),
        }
        Ok(())
    }

    fn list(
        &mut self,
        start: u32,
        end: u32,
        node: &mut NodeBuilder<'_>,
        row: usize,
        wanted: Option<&'t Wanted>,
        depth: usize,
    ) -> Result<(), Fault> {
        if depth > DEPTH {
            return Err(Fault::Error("nested deeper than 128 levels"));
        }
        let lists = node.lists();
        let (child, mut element) = lists.open();
        let mut at = start + 1;
        while at < end {
            at = self.value(at, child, element, wanted, depth)?;
            element += 1;
        }
        lists.close(row, element);
        Ok(())
    }

    /// Stores the object between two places of the tape.
    fn object(
        &mut self,
        start: u32,
        end: u32,
        objects: &mut ObjectBuilder<'_>,
        row: usize,
        wanted: Option<&'t Wanted>,
        depth: usize,
    ) -> Result<(), Fault> {
        if depth > DEPTH {
            return Err(Fault::Error("nested deeper than 128 levels"));
        }
        if self.duplicates {
            return self.object_once(start, end, objects, row, wanted, depth);
        }
        if let Some(wanted) = wanted {
            return self.object_part(start, end, objects, row, wanted, depth);
        }
        let mut shape = 0;
        let mut at = start + 1;
        while at < end {
            let key = self.key(at)?;
            at += 1;
            if self.is_left_out(key, at) {
                at = self.after(at)?;
                continue;
            }
            let node = objects.enter(&mut shape, key, &mut self.created)?;
            at = self.value(at, node, row, None, depth)?;
        }
        objects.close(row, shape);
        Ok(())
    }

    /// The same for an object of which some properties only are wanted.
    fn object_part(
        &mut self,
        start: u32,
        end: u32,
        objects: &mut ObjectBuilder<'_>,
        row: usize,
        wanted: &'t Wanted,
        depth: usize,
    ) -> Result<(), Fault> {
        let mut shape = 0;
        let mut guess = 0;
        let mut at = start + 1;
        while at < end {
            let key = self.key(at)?;
            at += 1;
            match wanted.find(&without_nul(key), guess) {
                Some((position, wanted)) if !self.is_left_out(key, at) => {
                    guess = position + 1;
                    let node = objects.enter(&mut shape, key, &mut self.created)?;
                    at = self.value(at, node, row, wanted.some(), depth)?;
                }
                _ => at = self.after(at)?,
            }
        }
        objects.close(row, shape);
        Ok(())
    }

    /// The same for an object that may have a key twice.
    fn object_once(
        &mut self,
        start: u32,
        end: u32,
        objects: &mut ObjectBuilder<'_>,
        row: usize,
        wanted: Option<&'t Wanted>,
        depth: usize,
    ) -> Result<(), Fault> {
        let mut members: Vec<(Cow<'_, str>, u32)> = Vec::new();
        let mut places = HashMap::new();
        let mut at = start + 1;
        while at < end {
            let key = without_nul(self.key(at)?);
            let place = *places.entry(key.clone()).or_insert(members.len());
            match members.get_mut(place) {
                Some(member) => member.1 = at + 1,
                None => members.push((key, at + 1)),
            }
            at = self.after(at + 1)?;
        }
        let mut shape = 0;
        for (key, at) in members {
            let wanted = match wanted.map(|wanted| wanted.find(&key, 0)) {
                None => None,
                Some(Some((_, wanted))) => wanted.some(),
                Some(None) => continue,
            };
            if !self.is_left_out(&key, at) {
                let node = objects.enter(&mut shape, &key, &mut self.created)?;
                self.value(at, node, row, wanted, depth)?;
            }
        }
        objects.close(row, shape);
        Ok(())
    }

    #[inline]
    fn is_left_out(&self, key: &str, value: u32) -> bool {
        !self.links && key == "link" && matches!(self.tape.get(value), TapeElement::StartObject(_))
    }

    #[inline]
    fn key(&self, at: u32) -> Result<&'t str, Fault> {
        match self.tape.get(at) {
            TapeElement::String(key) => Ok(self.tape.get_string(key)),
            _ => Err(Fault::Error("a key that cannot be read")),
        }
    }

    fn after(&self, at: u32) -> Result<u32, Fault> {
        let next = self.tape.next(at, "value");
        next.map_err(|_| Fault::Error("a value that cannot be read"))
    }
}
