//! Page bytes -> [`Page`]: arrow-json's tape decoder, and what it does not check.

use std::iter;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{ArrayRef, NullArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;
use arrow::json::reader::{ArrayDecoder, Decoder, DecoderContext, DecoderFactory, Tape};

use serde_json::value::RawValue;

use super::page::Page;
use super::plan::Plan;
use super::shred::{Body, shred};
use super::sizes::Sizes;
use super::wanted::Wanted;
use crate::{Error, Result};

/// The offsets of an Arrow view count in a signed 32-bit integer.
const LARGEST: usize = i32::MAX as usize;
/// What some servers put before UTF-8.
const BOM: &[u8] = b"\xEF\xBB\xBF";
const EMPTY: &[u8] = b"";

/// Reads the bodies of pages, one after another. Reuse one for each thread: it keeps its memory.
///
/// A body is read once and nothing is assumed about its types; it is not kept. A body that is not
/// JSON of the right kind is an [`Error::Json`], which never quotes the body; the decoder is as
/// good as new after it.
#[derive(Debug)]
pub struct PageDecoder {
    decoder: Decoder,
    shared: Shared,
}

impl PageDecoder {
    /// A decoder that keeps all properties, or, without `links`, all but the members named `link`
    /// whose value is an object, at any depth.
    pub fn new(links: bool) -> Self {
        Self::of(links, None)
    }

    /// A decoder that keeps only what the columns of `plan` are made of, and passes everything
    /// else by. Its pages are good for that plan alone; they know no `id` that it does not name.
    ///
    /// A plan with a column `_unknown` needs everything.
    pub fn for_plan(links: bool, plan: &Plan) -> Self {
        Self::of(links, plan.wanted())
    }

    fn of(links: bool, wanted: Option<Wanted>) -> Self {
        let shared = Shared(Arc::new(Mutex::new(State {
            links,
            wanted,
            expected: Body::Array,
            page: None,
            length: 0,
            sizes: Sizes::default(),
        })));
        Self {
            decoder: tape_decoder(&shared),
            shared,
        }
    }

    /// Reads the body of a page: a JSON array of objects.
    ///
    /// # Errors
    /// [`Error::Json`] if the body is anything else.
    pub fn decode(&mut self, body: &[u8]) -> Result<Page> {
        self.read(&[body], Body::Array)
    }

    /// The same for a body in the parts that it came in, which need not be put together for it.
    ///
    /// # Errors
    /// [`Error::Json`] if the body is anything else.
    pub fn decode_parts(&mut self, parts: &[impl AsRef<[u8]>]) -> Result<Page> {
        let parts: Vec<&[u8]> = parts.iter().map(AsRef::as_ref).collect();
        self.read(&parts, Body::Array)
    }

    /// Reads the body of a single item: one JSON object, as a page of one record.
    ///
    /// # Errors
    /// [`Error::Json`] if the body is anything else.
    pub fn decode_object(&mut self, body: &[u8]) -> Result<Page> {
        self.read(&[body], Body::Object)
    }

    fn read(&mut self, parts: &[&[u8]], expected: Body) -> Result<Page> {
        let (first, rest) = parts.split_first().unwrap_or((&EMPTY, &[]));
        let first = first.strip_prefix(BOM).unwrap_or(first);
        match (expect(first, expected), rest) {
            (Ok(()), _) => {}
            (Err(error), []) => return Err(error),
            // The first part may be too small to show what the body is.
            (Err(_), _) => return self.read(&[&parts.concat()], expected),
        }
        let length = parts.iter().map(|part| part.len()).sum();
        if length > LARGEST {
            return Err(Error::Json("a body of more than 2 GiB".to_owned()));
        }
        {
            let mut state = self.shared.lock();
            state.expected = expected;
            state.page = None;
            if length < state.length / 2 {
                state.sizes = Sizes::default();
            }
            state.length = length;
        }
        let page = self.tape(first, rest);
        if page.is_err() {
            // What is left of the body would be taken for the start of the next one.
            self.decoder = tape_decoder(&self.shared);
        }
        page
    }

    fn tape(&mut self, first: &[u8], rest: &[&[u8]]) -> Result<Page> {
        let whole = || [first, &rest.concat()].concat();
        for part in iter::once(first).chain(rest.iter().copied()) {
            let Ok(read) = self.decoder.decode(part) else {
                return Err(not_json(&whole()));
            };
            if !part[read..].trim_ascii().is_empty() {
                return Err(Error::Json("not JSON: more text after its end".to_owned()));
            }
        }
        if self.decoder.has_partial_record() {
            return Err(not_json(&whole()));
        }
        if self.decoder.flush().is_err() {
            return Err(Error::Json("not JSON: text that is not UTF-8".to_owned()));
        }
        let page = self.shared.lock().page.take();
        page.unwrap_or_else(|| Err(not_json(&whole())))
    }
}

impl Default for PageDecoder {
    /// A decoder that keeps all properties.
    fn default() -> Self {
        Self::new(true)
    }
}

/// Says by its first byte what a body is, before any of it is read.
fn expect(text: &[u8], expected: Body) -> Result<()> {
    let trimmed = text.trim_ascii();
    let got = match (expected, trimmed.first()) {
        (Body::Array, Some(b'[')) | (Body::Object, Some(b'{')) => return Ok(()),
        (_, None) => "an empty body",
        (_, Some(b'[')) => "an array",
        (_, Some(b'{')) => "an object",
        (_, Some(b'"')) => "a string",
        (_, Some(b'-' | b'0'..=b'9')) => "a number",
        (_, Some(b'<')) => "HTML or XML",
        _ if trimmed == b"null" => "null",
        _ if trimmed == b"true" || trimmed == b"false" => "a boolean",
        _ => "text that is not JSON",
    };
    Err(Error::Json(format!(
        "expected {}, got {got}",
        expected.words()
    )))
}

/// Why a text is no JSON, and where. The tape decoder's own errors say neither safely: they quote
/// the text and give no place.
fn not_json(text: &[u8]) -> Error {
    Error::Json(match serde_json::from_slice::<&RawValue>(text) {
        Err(error) if error.classify() == serde_json::error::Category::Eof => {
            "the JSON ends in the middle".to_owned()
        }
        Err(error) => format!("not JSON: {error}"),
        Ok(_) => "not JSON: a string with an invalid escape".to_owned(),
    })
}

/// What the tape's walker needs, and where it leaves the page.
#[derive(Debug)]
struct State {
    links: bool,
    wanted: Option<Wanted>,
    expected: Body,
    page: Option<Result<Page>>,
    /// The bytes and the sizes of the last body.
    length: usize,
    sizes: Sizes,
}

#[derive(Debug, Clone)]
struct Shared(Arc<Mutex<State>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A decoder to which a whole body is one row, and a row no column: the walk over the tape puts
/// its result aside.
fn tape_decoder(shared: &Shared) -> Decoder {
    ReaderBuilder::new_with_field(Field::new("page", DataType::Null, true))
        .with_batch_size(1)
        .with_decoder_factory(Arc::new(Aside(shared.clone())))
        .build_decoder()
        .expect("a null column needs nothing")
}

#[derive(Debug)]
struct Aside(Shared);

impl DecoderFactory for Aside {
    fn make_default_decoder(
        &self,
        _: &DecoderContext,
        _: &FieldRef,
        _: bool,
    ) -> Result<Option<Box<dyn ArrayDecoder>>, ArrowError> {
        Ok(Some(Box::new(Aside(self.0.clone()))))
    }
}

impl ArrayDecoder for Aside {
    fn decode(&mut self, tape: &Tape<'_>, pos: &[u32]) -> Result<ArrayRef, ArrowError> {
        let mut state = self.0.lock();
        if let [root] = pos {
            let (expected, links) = (state.expected, state.links);
            let wanted = state.wanted.as_ref();
            let page = shred(tape, *root, expected, links, wanted, &state.sizes);
            if let Ok(page) = &page {
                state.sizes = Sizes::of(page);
            }
            state.page = Some(page);
        }
        Ok(Arc::new(NullArray::new(pos.len())))
    }
}
