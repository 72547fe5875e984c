//! Bodies that come compressed: taken apart as they come, and no further than a real answer goes.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use reqwest::header::{CONTENT_ENCODING, HeaderMap, HeaderValue};

/// The encoding that is asked for.
pub(super) const GZIP: HeaderValue = HeaderValue::from_static("gzip");
/// So much at once: what comes of it, a thousand times as much at most, is looked at in between.
const PIECE: usize = 1 << 12;
/// From so many bytes on an answer must not be a bomb.
const FREE: u64 = 1 << 24;
/// Records are a tenth or a thirtieth of their size, compressed, since each has an id of its own. What
/// is less than this part of it says nothing.
const MOST: u64 = 250;

/// What is done with the bytes of a body.
pub(super) enum Decoder {
    Plain,
    Gzip(Box<Gzip>),
}

pub(super) struct Gzip {
    decoder: MultiGzDecoder<Vec<u8>>,
    received: u64,
    given: u64,
}

impl Decoder {
    /// What the headers of an answer say; an encoding that was not asked for is left as it is.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let encoding = headers.get(CONTENT_ENCODING);
        let encoding = encoding.and_then(|value| value.to_str().ok());
        match encoding.map(|name| name.trim().to_ascii_lowercase()) {
            Some(name) if name == "gzip" || name == "x-gzip" => Self::Gzip(Box::new(Gzip {
                decoder: MultiGzDecoder::new(Vec::new()),
                received: 0,
                given: 0,
            })),
            Some(_) | None => Self::Plain,
        }
    }

    /// Hands on what comes of some bytes, as long as it is taken; the error says what the matter is.
    pub(super) fn decode(
        &mut self,
        chunk: Bytes,
        mut take: impl FnMut(Bytes) -> Result<(), String>,
    ) -> Result<(), Fault> {
        let Self::Gzip(gzip) = self else {
            return take(chunk).map_err(Fault::TooMuch);
        };
        for piece in chunk.chunks(PIECE) {
            gzip.received += piece.len() as u64;
            gzip.decoder.write_all(piece).map_err(Fault::Broken)?;
            gzip.hand_on(&mut take)?;
        }
        Ok(())
    }

    /// Hands on the rest, after the last byte.
    pub(super) fn finish(
        &mut self,
        mut take: impl FnMut(Bytes) -> Result<(), String>,
    ) -> Result<(), Fault> {
        match self {
            Self::Gzip(gzip) if gzip.received > 0 => {
                gzip.decoder.try_finish().map_err(Fault::Broken)?;
                gzip.hand_on(&mut take)
            }
            Self::Gzip(_) | Self::Plain => Ok(()),
        }
    }
}

impl Gzip {
    fn hand_on(&mut self, take: &mut impl FnMut(Bytes) -> Result<(), String>) -> Result<(), Fault> {
        let part = std::mem::take(self.decoder.get_mut());
        if part.is_empty() {
            return Ok(());
        }
        self.given += part.len() as u64;
        if self.given > FREE && self.given / MOST > self.received {
            return Err(Fault::TooMuch(format!(
                "{} bytes are compressed to {}, more than {MOST} times: this is no answer of an ODS",
                self.given, self.received
            )));
        }
        take(part.into()).map_err(Fault::TooMuch)
    }
}

/// Why a body is not read on.
#[derive(Debug)]
pub(super) enum Fault {
    /// It is not what its headers say.
    Broken(io::Error),
    /// It holds more than it may.
    TooMuch(String),
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use bytes::Bytes;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use reqwest::header::{CONTENT_ENCODING, HeaderMap, HeaderValue};

    use super::{Decoder, FREE, Fault};

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).expect("written");
        encoder.finish().expect("gzip")
    }

    fn decoded(body: &[u8], chunk: usize) -> Result<Vec<u8>, Fault> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("GZIP"));
        let (mut decoder, mut all) = (Decoder::of(&headers), Vec::new());
        let mut take = |part: Bytes| {
            all.extend_from_slice(&part);
            Ok(())
        };
        for chunk in body.chunks(chunk) {
            decoder.decode(Bytes::copy_from_slice(chunk), &mut take)?;
        }
        decoder.finish(&mut take)?;
        Ok(all)
    }

    #[test]
    fn what_was_compressed_comes_back() {
        let text: Vec<u8> = (0..20_000_u32)
            .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
            .collect();
        let (first, second) = text.split_at(7_000);
        for body in [gzip(&text), [gzip(first), gzip(second)].concat()] {
            for chunk in [1, 13, 4096, body.len()] {
                assert_eq!(decoded(&body, chunk).expect("gzip"), text);
            }
        }
        assert!(decoded(b"", 1).expect("nothing").is_empty());
    }

    #[test]
    fn what_is_no_gzip_is_told() {
        let whole = gzip(b"[1, 2, 3]");
        let mut damaged = whole.clone();
        damaged[whole.len() - 6] ^= 1;
        for wrong in [b"[1, 2, 3]".as_slice(), &whole[..whole.len() - 3], &damaged] {
            assert!(matches!(decoded(wrong, 5), Err(Fault::Broken(_))));
        }
    }

    #[test]
    fn a_bomb_ends_early() {
        let bomb = gzip(&vec![b' '; 4 * FREE as usize]);
        let Err(Fault::TooMuch(what)) = decoded(&bomb, bomb.len()) else {
            panic!("it was read");
        };
        let read: u64 = what
            .split(' ')
            .next()
            .and_then(|number| number.parse().ok())
            .expect("a number");
        assert!(read < 2 * FREE, "{what}");
        // So much may be blank.
        assert!(decoded(&gzip(&vec![b' '; FREE as usize - 1]), 9).is_ok());
    }
}
