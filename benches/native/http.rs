//! As little HTTP as can be: one request after another over connections that stay open.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::work::Result;

/// Sends all requests over some connections, each in a thread of its own, and hands on each piece
/// of each body as it comes, with the number of its request.
pub(crate) fn exchange(
    address: &str,
    connections: usize,
    requests: &[Vec<u8>],
    piece: impl Fn(usize, &[u8]) + Sync,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    all(connections, || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(request) = requests.get(number) else {
                return Ok(());
            };
            one(&mut stream, request, &mut buffer, |body| {
                piece(number, body)
            })?;
        }
    })
}

/// The same work on several threads.
pub(crate) fn all(threads: usize, work: impl Fn() -> Result<()> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(&work)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("no thread panics"))
    })
}

/// A request as it goes over the wire.
pub(crate) fn request(method: &str, path: &str, host: &str, token: &str, body: &str) -> Vec<u8> {
    let content = match body.len() {
        0 => String::new(),
        length => format!("Content-Type: application/json\r\nContent-Length: {length}\r\n"),
    };
    format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n{content}\r\n{body}"
    )
    .into_bytes()
}

fn one(
    stream: &mut TcpStream,
    request: &[u8],
    buffer: &mut [u8],
    piece: impl Fn(&[u8]),
) -> Result<()> {
    stream.write_all(request)?;
    // The server sends the whole head at once.
    let mut filled = stream.read(buffer)?;
    let end = buffer[..filled]
        .windows(4)
        .position(|four| four == b"\r\n\r\n");
    let body = end.ok_or("an answer without a head")? + 4;
    let head = std::str::from_utf8(&buffer[..body])?;
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    let mut left: usize = length.ok_or("an answer without a length")?.parse()?;
    if !head.starts_with("HTTP/1.1 20") {
        return Err(head.lines().next().unwrap_or_default().into());
    }
    let mut start = body;
    loop {
        piece(&buffer[start..filled]);
        left -= filled - start;
        if left == 0 {
            return Ok(());
        }
        (start, filled) = (0, stream.read(buffer)?);
        if filled == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
}
