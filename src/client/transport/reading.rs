//! Reading a body: how much of it, and how fast it must come.

use std::io;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use reqwest::Method;

use super::encoding::{Decoder, Fault};
use super::error::TransportError;
use super::message::Request;
use super::{Transport, Trouble};
use crate::client::control::Stats;

/// Error bodies, tokens and discovery documents are small; more than this is not read.
const SMALL_BODY: u64 = 1 << 20;
/// What some gateways put before JSON; whoever reads it may leave it out (RFC 8259, section 8.1).
const BOM: &[u8] = b"\xEF\xBB\xBF";
/// What a server says about the length of a body is believed so far; the rest as it comes.
const FIRST_RESERVE: u64 = 1 << 16;
/// A body may take so many times as long as a server may stay silent, however little comes of it;
const PATIENCE: u32 = 2;
/// and longer by a second for each of so many bytes: no link that is of any use is slower.
const SLOWEST: f64 = 1024.0;

impl Transport {
    /// Reads a body, as much of it as may be read; one part but for pages.
    pub(super) async fn read(
        &self,
        request: &Request,
        mut response: reqwest::Response,
        mut decoder: Decoder,
        stats: &Stats,
    ) -> Result<Vec<Bytes>, TransportError> {
        let is_success = response.status().is_success();
        let is_small = !is_success || request.small;
        let in_parts = is_success && request.page;
        let mut parts = Vec::new();
        let mut body = Vec::new();
        if !in_parts {
            let length = response.content_length().unwrap_or(0);
            body.reserve(length.min(FIRST_RESERVE) as usize);
        }
        let began = Instant::now();
        let mut held = self.budget.hold();
        loop {
            let chunk = self.chunk(request, &mut response).await?;
            let is_end = chunk.is_none();
            let take = |part: Bytes| {
                stats.received(part.len() as u64);
                if is_small && held.bytes() + part.len() as u64 > SMALL_BODY {
                    let most = SMALL_BODY >> 20;
                    return Err(format!("the answer is larger than {most} MiB"));
                }
                held.add(part.len() as u64)?;
                match in_parts {
                    true => parts.push(part),
                    false => body.extend_from_slice(&part),
                }
                Ok(())
            };
            let read = match chunk {
                Some(chunk) => decoder.decode(chunk, take),
                None => decoder.finish(take),
            };
            match read {
                Ok(()) => {}
                // What an error says, it says at its beginning.
                Err(Fault::TooMuch(_)) if !is_success => break,
                Err(Fault::TooMuch(what)) => return Err(too_large(request, what)),
                Err(Fault::Broken(error)) => return Err(no_gzip(&error)),
            }
            if is_end {
                break;
            }
            let (took, patience) = (began.elapsed(), self.timeout.saturating_mul(PATIENCE));
            let length = held.bytes();
            if took > patience && (took - patience).as_secs_f64() * SLOWEST > length as f64 {
                return Err(too_slow(length, took));
            }
        }
        if !in_parts {
            parts.push(body.into());
        }
        if let Some(first) = parts.first_mut()
            && first.starts_with(BOM)
        {
            first.advance(BOM.len());
        }
        Ok(parts)
    }

    async fn chunk(
        &self,
        request: &Request,
        response: &mut reqwest::Response,
    ) -> Result<Option<Bytes>, TransportError> {
        match tokio::time::timeout(self.timeout, response.chunk()).await {
            Ok(chunk) => chunk
                .map_err(|error| TransportError::new(error, self.connect_timeout, &request.url)),
            Err(_) => Err(TransportError::silent(self.timeout, Trouble::Broken)),
        }
    }
}

fn too_large(request: &Request, what: String) -> TransportError {
    let trouble = match request.method {
        Method::GET => Trouble::Fatal,
        _ => Trouble::Broken,
    };
    TransportError::of(what, trouble)
}

fn no_gzip(error: &io::Error) -> TransportError {
    let what = format!("connection broken: the answer is no gzip: {error}");
    TransportError::of(what, Trouble::Broken)
}

fn too_slow(length: u64, took: Duration) -> TransportError {
    let took = took.as_secs_f64();
    let what = format!("the answer comes too slowly: {length} bytes in {took:.1} s");
    TransportError::of(what, Trouble::Broken)
}
