//! What the benchmarks need beside Python: a server that is not the limit, the limit itself, and
//! this project's calls from Rust. `benches/run.py` says what WORK is.

mod http;
mod limit;
mod native;
mod records;
mod server;
mod work;

use std::io;
use std::net::TcpListener;
use std::time::Duration;
use std::{env, process, thread};

use work::{Result, Work};

const USAGE: &str = "usage: bench serve RECORDS [LATENCY_MS]
       bench limit WORK
       bench native WORK";

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve", records] => serve(records.parse()?, 0),
        ["serve", records, latency] => serve(records.parse()?, latency.parse()?),
        ["limit", work] => {
            println!("{}", limit::run(&Work::parse(work)?)?);
            Ok(())
        }
        ["native", work] => {
            println!("{}", native::run(&Work::parse(work)?)?);
            Ok(())
        }
        _ => Err(USAGE.into()),
    }
}

/// Says in one line of JSON where it listens and what token it takes, and serves until its input ends.
fn serve(records: usize, latency_ms: u64) -> Result<()> {
    let latency = Duration::from_millis(latency_ms);
    let server = server::Server::new(records::Records::generate(records), latency);
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let bytes = server.bytes();
    let address = listener.local_addr()?;
    let token = server::TOKEN;
    println!(r#"{{"url": "http://{address}", "bytes": {bytes}, "token": "{token}"}}"#);
    thread::spawn(|| {
        // Whoever started this has gone when the input ends.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        process::exit(0);
    });
    server.run(&listener)?;
    Ok(())
}
