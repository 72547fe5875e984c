//! An ODS that has its answers ready, the same ones for each of any number of districts.
//!
//! A program of its own, of the standard library alone: `ods ANSWERS LATENCY_US`. Each line of
//! ANSWERS has a path below the district, a `Total-Count` and a body, between tabs; `{base}` stands
//! for the district's URL. It says where it listens, and ends when its input does. `/busy` tells
//! how many requests came since the last `/busy`, and the seconds from the first to the last of them.
//! What is posted to a resource is accepted, and forgotten.

use std::collections::HashMap;
use std::io::{self, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

const TOKEN: &str = r#"{"access_token":"t","expires_in":1800,"token_type":"bearer"}"#;
const STACK: usize = 256 << 10;

struct Server {
    /// By path: how many records there are, and the body.
    answers: HashMap<String, (usize, String)>,
    base: String,
    latency: Duration,
    busy: Mutex<Option<Busy>>,
    /// How many records were posted, ever.
    posted: AtomicUsize,
}

struct Busy {
    first: Instant,
    last: Instant,
    requests: usize,
}

struct Request<'a> {
    method: &'a str,
    path: &'a str,
    is_first_page: bool,
    /// Where it ends, its body included.
    end: usize,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [answers, latency] = &arguments[..] else {
        return Err("usage: ods ANSWERS LATENCY_US".into());
    };
    let mut known = HashMap::new();
    for line in fs::read_to_string(answers)?.lines() {
        let mut parts = line.splitn(3, '\t');
        let mut part = || parts.next().ok_or("a line of three parts");
        known.insert(part()?.to_owned(), (part()?.parse()?, part()?.to_owned()));
    }
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let server = Arc::new(Server {
        answers: known,
        base: format!("http://{}", listener.local_addr()?),
        latency: Duration::from_micros(latency.parse()?),
        busy: Mutex::default(),
        posted: AtomicUsize::default(),
    });
    println!("{}", server.base);
    thread::spawn(|| {
        // Whoever started this has gone when the input ends.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        process::exit(0);
    });
    loop {
        let (stream, _) = listener.accept()?;
        let server = Arc::clone(&server);
        // The other side may go away at any time: that ends the thread, and is no error.
        let connection = move || server.connection(stream);
        thread::Builder::new().stack_size(STACK).spawn(connection)?;
    }
}

impl Server {
    fn connection(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut buffer = vec![0; 16 << 10];
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
            self.answer(&mut stream, &request)?;
            let end = request.end;
            buffer.copy_within(end..filled, 0);
            filled -= end;
        }
    }

    fn answer(&self, stream: &mut TcpStream, request: &Request<'_>) -> io::Result<()> {
        let path = request.path.trim_matches('/');
        if path == "busy" {
            let busy = self.busy.lock().unwrap().take();
            let told = busy.map(|busy| (busy.requests, (busy.last - busy.first).as_secs_f64()));
            let (requests, seconds) = told.unwrap_or_default();
            return send(stream, "200 OK", "", &format!("{requests} {seconds}"));
        }
        thread::sleep(self.latency);
        {
            let now = Instant::now();
            let mut busy = self.busy.lock().unwrap();
            let busy = busy.get_or_insert(Busy {
                first: now,
                last: now,
                requests: 0,
            });
            busy.last = now;
            busy.requests += 1;
        }
        let (district, path) = path.split_once('/').unwrap_or((path, ""));
        if request.method == "POST" && path.starts_with("data/") {
            let number = self.posted.fetch_add(1, Ordering::Relaxed);
            let location = format!("Location: {}/{district}/{path}/{number:032x}\r\n", self.base);
            return send(stream, "201 Created", &location, "");
        }
        if request.method == "POST" {
            return send(stream, "200 OK", "", TOKEN);
        }
        match self.answers.get(path) {
            Some((total, body)) if path.starts_with("data/") => {
                let total = format!("Total-Count: {total}\r\n");
                let body = if request.is_first_page { body } else { "[]" };
                send(stream, "200 OK", &total, body)
            }
            Some((_, body)) => {
                let base = format!("{}/{district}", self.base);
                send(stream, "200 OK", "", &body.replace("{base}", &base))
            }
            None if path.ends_with("/keyChanges") || path.ends_with("/deletes") => {
                send(stream, "200 OK", "Total-Count: 0\r\n", "[]")
            }
            None => send(stream, "404 Not Found", "", "{}"),
        }
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
        let offset = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("offset="));
        let mut end = head + 4;
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                end += value.trim().parse::<usize>().ok()?;
            }
        }
        (end <= bytes.len()).then_some(Self {
            method,
            path,
            is_first_page: matches!(offset, None | Some("0")),
            end,
        })
    }
}

/// Head and body go out together.
fn send(stream: &mut TcpStream, status: &str, headers: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    let parts = [head.as_str(), body];
    let mut slices = parts.map(|part| IoSlice::new(part.as_bytes()));
    let mut left = &mut slices[..];
    while !left.is_empty() {
        let written = stream.write_vectored(left)?;
        IoSlice::advance_slices(&mut left, written);
    }
    Ok(())
}
