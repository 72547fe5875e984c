//! Page bytes -> [`Page`], or why they are none.

use std::fmt;

use super::capacity::CapacityHints;
use super::page::Page;
use super::parse::{Body, Selection, parse};
use super::plan::Plan;
use super::projection::Projection;
use crate::{Error, Result};

/// The offsets of an Arrow view count in a signed 32-bit integer.
const LARGEST: usize = i32::MAX as usize;
/// What some servers put before UTF-8.
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Reads the bodies of pages, one after another. Reuse one for each thread: it keeps its memory.
///
/// A body is read once and nothing is assumed about its types; it is not kept. A body that is not
/// JSON of the right kind is an [`Error::Json`], which never quotes the body; the decoder is as
/// good as new after it.
pub struct PageDecoder {
    links: bool,
    projection: Option<Projection>,
    keeps_text: bool,
    bounded: bool,
    /// The bytes and the hints of the last body.
    length: usize,
    hints: CapacityHints,
    /// Where the parts of a body are put together.
    whole: Vec<u8>,
}

impl fmt::Debug for PageDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut decoder = f.debug_struct("PageDecoder");
        decoder.field("links", &self.links).finish_non_exhaustive()
    }
}

impl PageDecoder {
    /// A decoder that keeps all properties, or, without `links`, all but the members named `link`
    /// whose value is an object, at any depth.
    pub fn new(links: bool) -> Self {
        Self::of(links, None)
    }

    /// A decoder that keeps only what the columns of `plan` are made of, and passes everything
    /// else by. Its pages are good for that plan alone; the `id` and `_etag` of records are read in any
    /// case.
    ///
    /// A plan with a column `_unknown` needs everything.
    pub fn for_plan(links: bool, plan: &Plan) -> Self {
        let projection = plan.projection().map(|mut projection| {
            projection.member("id");
            projection.member("_etag");
            projection
        });
        Self::of(links, projection)
    }

    /// A decoder that keeps the text of each record, and no values but its `id` and `_etag`.
    pub(crate) fn of_texts() -> Self {
        let mut projection = Projection::default();
        projection.member("id");
        projection.member("_etag");
        Self {
            keeps_text: true,
            ..Self::of(true, Some(projection))
        }
    }

    /// A decoder of what came in pages that were read before, each of them within its bounds.
    pub(crate) fn of_known() -> Self {
        Self {
            bounded: false,
            ..Self::new(true)
        }
    }

    fn of(links: bool, projection: Option<Projection>) -> Self {
        Self {
            links,
            projection,
            keeps_text: false,
            bounded: true,
            length: 0,
            hints: CapacityHints::default(),
            whole: Vec::new(),
        }
    }

    /// Reads the body of a page: a JSON array of objects.
    ///
    /// # Errors
    /// [`Error::Json`] if the body is anything else.
    pub fn decode(&mut self, body: &[u8]) -> Result<Page> {
        self.read(body, Body::Array)
    }

    /// The same for a body in the parts that it came in.
    ///
    /// # Errors
    /// [`Error::Json`] if the body is anything else.
    pub fn decode_parts(&mut self, parts: &[impl AsRef<[u8]>]) -> Result<Page> {
        if let ([whole], false) = (parts, self.keeps_text) {
            return self.decode(whole.as_ref());
        }
        let mut whole = std::mem::take(&mut self.whole);
        whole.clear();
        whole.reserve(parts.iter().map(|part| part.as_ref().len()).sum());
        for part in parts {
            whole.extend_from_slice(part.as_ref());
        }
        if self.keeps_text {
            return self.decode_kept(whole);
        }
        let page = self.decode(&whole);
        self.whole = whole;
        page
    }

    /// Reads a body that the page keeps.
    fn decode_kept(&mut self, mut body: Vec<u8>) -> Result<Page> {
        if body.starts_with(BOM) {
            body.drain(..BOM.len());
        }
        expect(&body, Body::Array)?;
        let text = String::from_utf8(body).map_err(|_| not_text())?;
        let mut page = self.read_text(&text, Body::Array)?;
        page.keep_text(text)?;
        Ok(page)
    }

    /// Reads the body of a single item: one JSON object, as a page of one record.
    ///
    /// # Errors
    /// [`Error::Json`] if the body is anything else.
    pub fn decode_object(&mut self, body: &[u8]) -> Result<Page> {
        self.read(body, Body::Object)
    }

    fn read(&mut self, body: &[u8], expected: Body) -> Result<Page> {
        let body = body.strip_prefix(BOM).unwrap_or(body);
        expect(body, expected)?;
        let text = str::from_utf8(body).map_err(|_| not_text())?;
        self.read_text(text, expected)
    }

    fn read_text(&mut self, text: &str, expected: Body) -> Result<Page> {
        if text.len() > LARGEST {
            return Err(Error::Json("a body of more than 2 GiB".to_owned()));
        }
        if text.len() < self.length / 2 {
            self.hints = CapacityHints::default();
        }
        let selection = Selection {
            links: self.links,
            projection: self.projection.as_ref(),
            places: self.keeps_text,
            bounded: self.bounded,
        };
        let page = parse(text, expected, selection, &self.hints)?;
        self.length = text.len();
        self.hints = CapacityHints::of(&page, std::mem::take(&mut self.hints));
        Ok(page)
    }
}

fn not_text() -> Error {
    Error::Json("not JSON: text that is not UTF-8".to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_kept_as_it_was_written() {
        let bodies = [
            ("[]", vec![]),
            (
                "\u{feff} [ {\"id\" : \"1\", \"a\": {\"b\": [{}, {\"c\": 1}]} } ,\n{ \"b\":2}\t] ",
                vec![
                    "{\"id\" : \"1\", \"a\": {\"b\": [{}, {\"c\": 1}]} }",
                    "{ \"b\":2}",
                ],
            ),
            // None of these is placed in passing: no key, one with an escape, one that stands twice.
            ("[{}, {\"a\": 1}, { }]", vec!["{}", "{\"a\": 1}", "{ }"]),
            (
                "[{\"\\u0061\": \"{\", \"b\": \"}\"},{\"{\\\"\": 1, \"b\": 2}]",
                vec![
                    "{\"\\u0061\": \"{\", \"b\": \"}\"}",
                    "{\"{\\\"\": 1, \"b\": 2}",
                ],
            ),
            (
                "[{\"id\": 1, \"id\": 2},{\"é\": 1.5}]",
                vec!["{\"id\": 1, \"id\": 2}", "{\"é\": 1.5}"],
            ),
        ];
        for (body, expected) in bodies {
            let bytes = body.as_bytes();
            for parts in [vec![bytes], vec![&bytes[..2], &bytes[2..]]] {
                let page = PageDecoder::of_texts().decode_parts(&parts).unwrap();
                let records: Vec<_> = (0..page.len()).map(|row| page.record(row)).collect();
                let expected: Vec<_> = expected.iter().map(|text| Some(*text)).collect();
                assert_eq!(records, expected, "{body}");
            }
        }
        for body in [&b"[{\"a\":1}"[..], b"{}", b"[{\"a\":\"\xff\"}]", b"[1]"] {
            let page = PageDecoder::of_texts().decode_parts(&[body]);
            let plain = PageDecoder::new(true).decode(body);
            assert_eq!(
                page.unwrap_err().to_string(),
                plain.unwrap_err().to_string()
            );
        }
    }
}
