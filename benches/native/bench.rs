//! What the benchmarks need beside Python: a server that is not the limit, and the limit itself.
//!
//! ```sh
//! cargo run --example bench --features examples -- serve 40000
//! cargo run --example bench --features examples -- limit <the server's url> 40000 8 500 8
//! ```

mod limit;
mod records;
mod server;

use std::io;
use std::net::TcpListener;
use std::time::Duration;
use std::{env, process, thread};

use limit::Result;

const USAGE: &str = "usage: bench serve RECORDS [LATENCY_MS]
       bench limit URL RECORDS DISTRICTS PAGE_SIZE WORKERS";

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve", records] => serve(records.parse()?, 0),
        ["serve", records, latency] => serve(records.parse()?, latency.parse()?),
        ["limit", url, records, districts, page_size, workers] => {
            let work = limit::Work {
                address: url.trim_start_matches("http://"),
                records: records.parse()?,
                districts: districts.parse()?,
                page_size: page_size.parse()?,
                workers: workers.parse()?,
            };
            println!("{}", work.measure()?);
            Ok(())
        }
        _ => Err(USAGE.into()),
    }
}

/// Says in one line of JSON where it listens and what token it takes, and serves until its input ends.
fn serve(records: usize, latency_ms: u64) -> Result<()> {
    let server = server::Server {
        records: records::Records::generate(records),
        latency: Duration::from_millis(latency_ms),
    };
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let bytes = server.records.slice(0..records).len();
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
