//! A server that has its answers ready: a thread per connection, nothing to look up, no copy.
//!
//! It speaks as much HTTP/1.1 as the clients here do: keep-alive, `Content-Length`, no chunks.

use std::io::{self, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::records::{Records, id};

/// The one resource there is, below a district.
pub(crate) const RESOURCE: &str = "data/v3/ed-fi/studentAssessments";
/// What every request for data has to carry.
pub(crate) const TOKEN: &str = "a-token-for-the-benchmark";
const ALL: usize = 500;
/// What an ODS says of itself; before 7.3 there are no page tokens.
const DISCOVERY: &str = r#"{"version":"6.2","apiMode":"Sandbox","urls":{}}"#;

pub(crate) struct Server {
    records: Records,
    /// How long an answer waits, as if the server were far away.
    latency: Duration,
    /// How many payloads came, ever.
    posted: AtomicUsize,
}

struct Request<'a> {
    method: &'a str,
    path: &'a str,
    query: &'a str,
    authorized: bool,
    /// Where it ends, its body included.
    end: usize,
}

impl Server {
    pub(crate) fn new(records: Records, latency: Duration) -> Self {
        Self {
            records,
            latency,
            posted: AtomicUsize::new(0),
        }
    }

    /// The size of all records.
    pub(crate) fn bytes(&self) -> usize {
        self.records.slice(0..self.records.len()).len()
    }

    /// Serves for ever.
    pub(crate) fn run(self, listener: &TcpListener) -> io::Result<()> {
        let server = Arc::new(self);
        loop {
            let (stream, _) = listener.accept()?;
            let server = Arc::clone(&server);
            // The other side may go away at any time: that ends the thread, and is no error.
            thread::spawn(move || server.connection(stream));
        }
    }

    fn connection(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut buffer = vec![0; 64 << 10];
        let mut filled = 0;
        loop {
            let Some(request) = Request::parse(&buffer[..filled]) else {
                if filled == buffer.len() {
                    buffer.resize(2 * filled, 0);
                }
                match stream.read(&mut buffer[filled..])? {
                    0 => return Ok(()),
                    read => filled += read,
                }
                continue;
            };
            if !self.latency.is_zero() {
                thread::sleep(self.latency);
            }
            self.answer(&mut stream, &request)?;
            let end = request.end;
            buffer.copy_within(end..filled, 0);
            filled -= end;
        }
    }

    fn answer(&self, stream: &mut TcpStream, request: &Request<'_>) -> io::Result<()> {
        let path = request.path.trim_matches('/');
        let (district, path) = path.split_once('/').unwrap_or((path, ""));
        if (request.method, path) == ("POST", "oauth/token") {
            let token =
                format!(r#"{{"access_token":"{TOKEN}","expires_in":1800,"token_type":"bearer"}}"#);
            return send(stream, "200 OK", "", ["", &token, ""]);
        }
        if path.is_empty() && self.span(district).is_some() {
            return send(stream, "200 OK", "", ["", DISCOVERY, ""]);
        }
        if (request.method, district) == ("GET", "posted") {
            let posted = self.posted.load(Ordering::Relaxed).to_string();
            return send(stream, "200 OK", "", ["", &posted, ""]);
        }
        if !request.authorized {
            return send(stream, "401 Unauthorized", "", [""; 3]);
        }
        match (
            request.method,
            path.strip_prefix(RESOURCE),
            self.span(district),
        ) {
            ("GET", Some(""), Some(span)) => self.page(stream, request.query, &span),
            ("GET", Some(rest), Some(_)) => match self.records.find(rest.trim_matches('/')) {
                Some(record) => send(stream, "200 OK", "", ["", record, ""]),
                None => send(stream, "404 Not Found", "", [""; 3]),
            },
            ("POST", Some(""), Some(span)) => {
                self.posted.fetch_add(1, Ordering::Relaxed);
                let location = format!(
                    "Location: /{district}/{RESOURCE}/{}\r\n",
                    id(span.start as u64)
                );
                send(stream, "201 Created", &location, [""; 3])
            }
            _ => send(stream, "404 Not Found", "", [""; 3]),
        }
    }

    /// The records of a district: `3of8` has the third eighth of all.
    fn span(&self, district: &str) -> Option<Range<usize>> {
        let (part, parts) = district.split_once("of")?;
        let (part, parts): (usize, usize) = (part.parse().ok()?, parts.parse().ok()?);
        let total = self.records.len();
        (1..=parts)
            .contains(&part)
            .then(|| total * (part - 1) / parts..total * part / parts)
    }

    fn page(&self, stream: &mut TcpStream, query: &str, span: &Range<usize>) -> io::Result<()> {
        let number = |name| parameter(query, name).and_then(|text| text.parse::<usize>().ok());
        let offset = number("offset").unwrap_or(0);
        let limit = number("limit").unwrap_or(ALL);
        let start = span.end.min(span.start + offset);
        let records = self.records.slice(start..span.end.min(start + limit));
        let count = match parameter(query, "totalCount") {
            Some("true") => format!("Total-Count: {}\r\n", span.len()),
            _ => String::new(),
        };
        send(stream, "200 OK", &count, ["[", records, "]"])
    }
}

impl<'a> Request<'a> {
    /// The request at the start of some bytes, once all of it is there.
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let mut lines = str::from_utf8(&bytes[..head]).ok()?.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (mut authorized, mut end) = (false, head + 4);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                end += value.trim().parse::<usize>().ok()?;
            } else if name.eq_ignore_ascii_case("authorization") {
                authorized = value.split(' ').next_back() == Some(TOKEN);
            }
        }
        (end <= bytes.len()).then_some(Self {
            method,
            path,
            query,
            authorized,
            end,
        })
    }
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key == name).then_some(value)
    })
}

/// Head and body go out together, the body from where it lies.
fn send(stream: &mut TcpStream, status: &str, headers: &str, body: [&str; 3]) -> io::Result<()> {
    let length: usize = body.iter().map(|part| part.len()).sum();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    let parts = [head.as_str(), body[0], body[1], body[2]];
    let mut slices = parts.map(|part| IoSlice::new(part.as_bytes()));
    let mut left = &mut slices[..];
    while !left.is_empty() {
        let written = stream.write_vectored(left)?;
        IoSlice::advance_slices(&mut left, written);
    }
    Ok(())
}
