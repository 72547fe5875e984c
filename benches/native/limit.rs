//! How fast it can be: the same bytes downloaded and thrown away, and decoded from memory.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use std::{fs, thread};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::json::ReaderBuilder;
use arrow::json::reader::infer_json_schema_from_iterator;
use serde_json::Value;

use crate::server::TOKEN;

/// Errors come from other threads.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What is to be downloaded.
pub struct Work<'a> {
    pub address: &'a str,
    pub records: usize,
    pub districts: usize,
    pub page_size: usize,
    /// Connections.
    pub workers: usize,
}

impl Work<'_> {
    /// Downloads and drops, then decodes; the outcome is a JSON object.
    pub fn measure(&self) -> Result<String> {
        let paths = self.paths();
        let before = memory("VmRSS:");

        let start = Instant::now();
        let bytes = AtomicUsize::new(0);
        self.download(&paths, |_, body| {
            bytes.fetch_add(body.len(), Ordering::Relaxed);
        })?;
        let download = start.elapsed().as_secs_f64();
        let peak = memory("VmHWM:");

        let pages = Mutex::new(vec![Vec::new(); paths.len()]);
        self.download(&paths, |page, body| {
            pages.lock().expect("no thread panics")[page].extend_from_slice(body);
        })?;
        let pages = pages.into_inner()?;
        let (decode, rows) = decode(&pages)?;

        let mut json = String::new();
        write!(
            json,
            r#"{{"seconds": {download}, "bytes": {bytes:?}, "before": {before}, "#
        )?;
        write!(
            json,
            r#""peak": {peak}, "decode_seconds": {decode}, "rows": {rows}}}"#
        )?;
        Ok(json)
    }

    /// One for each page of each district.
    fn paths(&self) -> Vec<String> {
        let districts = self.districts;
        (0..districts)
            .flat_map(|part| {
                let all = self.records;
                let count = all * (part + 1) / districts - all * part / districts;
                (0..count).step_by(self.page_size).map(move |offset| (part + 1, offset))
            })
            .map(|(part, offset)| {
                let limit = self.page_size;
                format!(
                    "/{part}of{districts}/data/v3/ed-fi/studentAssessments?offset={offset}&limit={limit}"
                )
            })
            .collect()
    }

    /// Each piece of each body is handed on as it comes, with the number of its page.
    fn download(&self, paths: &[String], piece: impl Fn(usize, &[u8]) + Sync) -> Result<()> {
        let next = AtomicUsize::new(0);
        let work = || -> Result<()> {
            let mut stream = TcpStream::connect(self.address)?;
            stream.set_nodelay(true)?;
            let mut buffer = vec![0; 256 << 10];
            loop {
                let page = next.fetch_add(1, Ordering::Relaxed);
                let Some(path) = paths.get(page) else {
                    return Ok(());
                };
                get(&mut stream, self.address, path, &mut buffer, |body| {
                    piece(page, body)
                })?;
            }
        };
        all(self.workers, work)
    }
}

/// The same work on several threads.
fn all(threads: usize, work: impl Fn() -> Result<()> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(&work)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("no thread panics"))
    })
}

fn get(
    stream: &mut TcpStream,
    host: &str,
    path: &str,
    buffer: &mut [u8],
    piece: impl Fn(&[u8]),
) -> Result<()> {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
    stream.write_all(request.as_bytes())?;
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
    if !head.starts_with("HTTP/1.1 200") {
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

/// arrow-json on all cores, page by page, with the types known beforehand.
fn decode(pages: &[Vec<u8>]) -> Result<(f64, usize)> {
    let sample: Vec<Value> = serde_json::from_slice(&pages[0])?;
    let schema = infer_json_schema_from_iterator(sample.iter().map(Ok))?;
    let record = Field::new("item", DataType::Struct(schema.fields().clone()), true);
    let field: FieldRef = Field::new("page", DataType::List(record.into()), true).into();

    let cores = thread::available_parallelism()?.get();
    let next = AtomicUsize::new(0);
    let decoded = Mutex::new(Vec::with_capacity(pages.len()));
    let start = Instant::now();
    all(cores, || {
        let mut decoder = ReaderBuilder::new_with_field(Field::clone(&field)).build_decoder()?;
        while let Some(page) = pages.get(next.fetch_add(1, Ordering::Relaxed)) {
            decoder.decode(page)?;
            let batch = decoder.flush()?.ok_or("a page without JSON")?;
            decoded.lock().expect("no thread panics").push(batch);
        }
        Ok(())
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let rows = decoded.into_inner()?.into_iter().map(|batch| {
        let page = batch.column(0).as_list::<i32>();
        page.values().len()
    });
    Ok((seconds, rows.sum()))
}

/// A line of `/proc/self/status` in bytes; 0 where there is none.
fn memory(name: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    kilobytes.unwrap_or(0) * 1024
}
