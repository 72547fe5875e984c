//! The server: connections, and the way of a request from the socket and back.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;

use super::auth::TokenRules;
use super::body::{Body, Closed, Flights};
use super::definitions::Definitions;
use super::district::District;
use super::limits::Limiter;
use super::log::{Log, LoggedRequest};
use super::metadata::Template;
use super::problem::{CORRELATION_ID, Problem};
use super::query::Query;
use super::release::Release;
use super::store::{dashed, id_text};
use crate::runtime::lock;

/// The largest body that is read.
const BODY_LIMIT: usize = 64 << 20;

/// All that the server works with.
pub(super) struct Shared {
    pub(super) origin: String,
    pub(super) districts: Vec<District>,
    pub(super) definitions: Definitions,
    pub(super) resources: Template,
    pub(super) descriptors: Template,
    pub(super) page_limit: usize,
    pub(super) release: Release,
    pub(super) latency: Duration,
    /// What 1,000 records that an offset skips take.
    pub(super) skipping: Duration,
    pub(super) links: bool,
    pub(super) total_count: bool,
    pub(super) strict: bool,
    pub(super) limiter: Limiter,
    pub(super) gzip: bool,
    pub(super) keep_bodies: bool,
    pub(super) token_rules: Mutex<TokenRules>,
    pub(super) log: Log,
    pub(super) flights: Arc<Flights>,
}

/// A request, read to its end.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) segments: Vec<&'a str>,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

pub(super) type Answer = Result<Response<Body>, Problem>;

/// Accepts connections until `stop` is ready; connections end with the runtime.
pub(super) async fn serve(
    shared: Arc<Shared>,
    listener: tokio::net::TcpListener,
    stop: impl Future<Output = ()>,
) {
    let accept = async {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // Out of file descriptors, most likely: some connection will end.
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            let _ = stream.set_nodelay(true);
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                let service = service_fn(|request| shared.handle(request));
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                if let Err(error) = connection.await {
                    log::trace!("sandbox: a connection ended: {error}");
                }
            });
        }
    };
    tokio::select! {
        () = accept => {}
        () = stop => {}
    }
}

impl Shared {
    pub(super) fn district(&self, id: &str) -> Option<&District> {
        self.districts.iter().find(|district| district.id == id)
    }

    pub(super) fn root(&self, district: &District) -> String {
        format!("{}/{}", self.origin, district.segment())
    }

    pub(super) fn token_rules(&self) -> TokenRules {
        *lock(&self.token_rules)
    }

    async fn handle(&self, request: Request<Incoming>) -> Result<Response<Body>, Closed> {
        let flight = self.flights.start();
        let (head, incoming) = request.into_parts();
        let path = head.uri.path();
        let query = head.uri.query().unwrap_or_default();
        let (first, rest) = path
            .trim_start_matches('/')
            .split_once('/')
            .unwrap_or((path.trim_matches('/'), ""));
        let id = percent_decode_str(first).decode_utf8_lossy();
        let decoded: Vec<_> = rest
            .split('/')
            .filter(|part| !part.is_empty())
            .map(|part| percent_decode_str(part).decode_utf8_lossy())
            .collect();
        let segments: Vec<&str> = decoded.iter().map(AsRef::as_ref).collect();
        let is_token = segments.first() == Some(&"oauth");

        let number = self.log.push(LoggedRequest {
            method: head.method.to_string(),
            district: (!id.is_empty()).then(|| id.to_string()),
            path: format!("/{rest}"),
            query: query.to_owned(),
            status: None,
            token_accepted: None,
            body: None,
        });
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }
        let body = match Limited::new(incoming, BODY_LIMIT).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => return Err(Closed),
        };
        if self.keep_bodies && !is_token {
            self.log
                .update(number, |entry| entry.body = Some(body.clone()));
        }
        let call = Call {
            method: head.method,
            segments,
            query: Query::parse(query),
            headers: head.headers,
            body,
        };
        let answer = match self.district(&id) {
            Some(district) => self.route(district, &call, number).await?,
            None if id.is_empty() => self.at_root(&call),
            None => Err(Problem::not_found("The specified data could not be found.")),
        };
        let answer = answer.unwrap_or_else(|problem| {
            problem.into_response(&correlation_id(&call.headers), self.release)
        });
        let answer = self.compressed(answer, &call.headers);
        self.log.update(number, |entry| {
            entry.status = Some(answer.status().as_u16())
        });
        Ok(answer.map(|body| body.until_gone(flight)))
    }

    fn compressed(&self, answer: Response<Body>, headers: &HeaderMap) -> Response<Body> {
        let accepts = headers.get_all(ACCEPT_ENCODING).iter().any(|value| {
            value
                .to_str()
                .is_ok_and(|text| text.split([',', ';']).any(|one| one.trim() == "gzip"))
        });
        if !self.gzip || !accepts || !answer.body().is_compressible() {
            return answer;
        }
        let (mut head, body) = answer.into_parts();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        let plain = body.concat();
        let packed =
            std::io::Write::write_all(&mut encoder, &plain).and_then(|()| encoder.finish());
        let Ok(packed) = packed else {
            return Response::from_parts(head, plain.into());
        };
        head.headers
            .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        head.headers.remove(CONTENT_LENGTH);
        Response::from_parts(head, packed.into())
    }
}

/// The caller's own correlation id, or a new one.
pub(super) fn correlation_id(headers: &HeaderMap) -> String {
    let own = headers
        .get(CORRELATION_ID)
        .and_then(|value| value.to_str().ok());
    own.map_or_else(|| dashed(&id_text(fastrand::u128(..))), str::to_owned)
}
