//! Which request means what: OAuth, metadata, data, and the faults that come between.

use std::time::Duration;

use hyper::header::{HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::{Method, Response, StatusCode};

use super::auth;
use super::body::{Body, Closed, empty, typed};
use super::commit::Committer;
use super::district::District;
use super::faults::{After, Before, Faults, next};
use super::metadata;
use super::problem::Problem;
use super::query::Limits;
use super::read::{Reader, no_item, wants_snapshot};
use super::release::Release;
use super::server::{Answer, Call, Shared, correlation_id};
use super::write::{Writer, not_allowed};

impl Shared {
    /// Without a district the discovery document shows where one belongs.
    pub(super) fn at_root(&self, call: &Call<'_>) -> Answer {
        if call.method != Method::GET {
            return Err(Problem::method("Only GET is supported here."));
        }
        Ok(metadata::discovery(
            &format!("{}/{{tenantIdentifier}}", self.origin),
            self.release,
            &Faults::default(),
        ))
    }

    pub(super) async fn route(
        &self,
        district: &District,
        call: &Call<'_>,
        number: usize,
    ) -> Result<Answer, Closed> {
        if let Err(seconds) = self.limiter.take() {
            let mut answer = Problem::too_many_requests()
                .into_response(&correlation_id(&call.headers), self.release);
            if let Some(seconds) = seconds {
                answer.headers_mut().insert(RETRY_AFTER, seconds.into());
            }
            return Ok(Ok(answer));
        }
        match call.segments.as_slice() {
            ["oauth", "token"] => {
                let (status, retry_after) = {
                    let faults = &mut district.faults().faults;
                    (next(&mut faults.token_statuses), faults.retry_after)
                };
                Ok(match status.unwrap_or(0) {
                    0 => auth::token(
                        district,
                        &call.method,
                        &call.headers,
                        &call.body,
                        self.token_rules(),
                    ),
                    status => Ok(fault_answer(status, retry_after, self.release)),
                })
            }
            ["oauth", "token_info"] => {
                let is_off = district.faults().faults.no_token_info;
                Ok(match is_off {
                    true => Err(no_item()),
                    false => auth::token_info(district, call, &self.definitions, self.release),
                })
            }
            ["data" | "changeQueries", ..] => self.data(district, call, number).await,
            _ => Ok(self.about(district, call)),
        }
    }

    /// The discovery document and the metadata: no token needed.
    fn about(&self, district: &District, call: &Call<'_>) -> Answer {
        if call.method != Method::GET {
            return Err(Problem::method("Only GET is supported here."));
        }
        let root = self.root(district);
        let mut faults = district.faults();
        let faults = &mut faults.faults;
        match call.segments.as_slice() {
            [] => Ok(metadata::discovery(&root, self.release, faults)),
            ["metadata", path @ ..] if !faults.no_metadata => {
                match next(&mut faults.metadata_statuses).unwrap_or(0) {
                    0 => {
                        let about = metadata::About {
                            root: &root,
                            release: self.release,
                            definitions: &self.definitions,
                            resources: &self.resources,
                            descriptors: &self.descriptors,
                        };
                        metadata::metadata(&about, path, &call.query, &call.headers, faults)
                    }
                    status => Ok(fault_answer(status, faults.retry_after, self.release)),
                }
            }
            _ => Err(no_item()),
        }
    }

    async fn data(
        &self,
        district: &District,
        call: &Call<'_>,
        number: usize,
    ) -> Result<Answer, Closed> {
        let is_page = matches!(call.segments.as_slice(), ["data", "v3", _, _]);
        let (verdict, retry_after) = {
            let mut faults = district.faults();
            (
                faults.next(&call.method, is_page),
                faults.faults.retry_after,
            )
        };
        let collection = collection_of(call);
        let overtaken = collection.as_ref().map_or(Duration::ZERO, |endpoint| {
            district.state().movement.wait(endpoint, &call.query)
        });
        let offset = call.query.get("offset").and_then(|text| text.parse().ok());
        let skipped = self.skipping * offset.unwrap_or(0_u32) / 1_000;
        let wait = verdict.latency + overtaken + skipped;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        match verdict.before {
            Before::Nothing => {}
            Before::Close => return Err(Closed),
            Before::Status(status) => {
                return Ok(Ok(fault_answer(status, retry_after, self.release)));
            }
            Before::Redirect(location) => {
                let mut answer = empty(StatusCode::FOUND);
                if let Ok(location) = HeaderValue::from_str(&location) {
                    answer.headers_mut().insert(LOCATION, location);
                }
                return Ok(Ok(answer));
            }
        }
        let accepted = self.authorise(district, &call.headers);
        self.log.update(number, |entry| {
            entry.token_accepted = Some(accepted.is_ok())
        });
        if let Err(problem) = accepted {
            return Ok(Err(problem));
        }
        if verdict.after == After::Html {
            let page = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Sign in to go on.</body></html>";
            return Ok(Ok(typed(
                StatusCode::OK,
                "text/html; charset=utf-8",
                page.to_vec().into(),
            )));
        }
        let answer = match self.moving(district, call, collection.as_deref()) {
            Ok(answer) => answer,
            Err(problem) => return Ok(Err(problem)),
        };
        let object = || {
            br#"{"message":"An object where an array should be."}"#
                .to_vec()
                .into()
        };
        Ok(Ok(match verdict.after {
            After::Nothing | After::Html => answer,
            After::Close => return Err(Closed),
            After::Truncate => answer.map(Body::cut),
            After::TruncateJson => answer.map(|body| {
                let whole = body.concat();
                whole[..whole.len() / 2].to_vec().into()
            }),
            After::Object => answer.map(|_| object()),
            After::Stall => answer.map(Body::stalled),
        }))
    }

    fn authorise(&self, district: &District, headers: &HeaderMap) -> Result<(), Problem> {
        let (expires, refuses) = {
            let mut faults = district.faults();
            (faults.expires(), faults.faults.refuse_tokens)
        };
        if expires {
            district.revoke_tokens();
        }
        if refuses {
            return Err(Problem::unauthenticated("Invalid token"));
        }
        auth::check(district, headers)?;
        district.faults().accept();
        Ok(())
    }

    /// The work, and what moves before and after it.
    fn moving(&self, district: &District, call: &Call<'_>, collection: Option<&str>) -> Answer {
        let Some(endpoint) = collection else {
            return self.work(district, call);
        };
        let (committer, order) = (self.committer(district), self.release.order());
        committer.move_before(&mut district.state(), endpoint, order);
        let answer = self.work(district, call);
        committer.move_after(&mut district.state(), endpoint, order);
        answer
    }

    /// What writes to a district.
    pub(super) fn committer<'a>(&'a self, district: &'a District) -> Committer<'a> {
        Committer {
            definitions: &self.definitions,
            district: &district.id,
            links: self.links,
            strict: self.strict,
        }
    }

    fn work(&self, district: &District, call: &Call<'_>) -> Answer {
        let reader = Reader {
            definitions: &self.definitions,
            district,
            headers: &call.headers,
            query: &call.query,
            limits: Limits {
                most: self.page_limit,
                default: self
                    .release
                    .default_limit()
                    .map_or(self.page_limit, |limit| limit.min(self.page_limit)),
            },
            release: self.release,
            counts: self.total_count,
            strict: self.strict,
        };
        let data_url = format!("{}/data/v3", self.root(district));
        let writer = Writer {
            committer: self.committer(district),
            district,
            headers: &call.headers,
            data_url: &data_url,
        };
        let is_read = call.method == Method::GET;
        if !is_read && wants_snapshot(&call.headers) {
            return Err(Problem::snapshot_is_read_only());
        }
        if let Some(claims) = &*district.claims() {
            claims.check(&call.method, &call.segments)?;
        }
        match call.segments.as_slice() {
            ["changeQueries", "v1", "availableChangeVersions"] if is_read => {
                if district.faults().faults.no_change_queries {
                    Err(no_item())
                } else {
                    reader.available()
                }
            }
            ["data", "v3", namespace, resource] => {
                let endpoint = format!("{namespace}/{resource}");
                match call.method {
                    Method::GET => reader.collection(&endpoint),
                    Method::POST => writer.upsert(&endpoint, &call.body),
                    _ => Err(not_allowed(&endpoint, &call.method, false)),
                }
            }
            ["data", "v3", namespace, resource, last] => {
                let endpoint = format!("{namespace}/{resource}");
                match (&call.method, *last) {
                    (&Method::GET, "deletes") => reader.deletes(&endpoint),
                    (&Method::GET, "keyChanges") => reader.key_changes(&endpoint),
                    (&Method::GET, "partitions") => reader.partitions(&endpoint),
                    (&Method::GET, id) => reader.item(&endpoint, id),
                    (&Method::PUT, id) => writer.replace(&endpoint, id, &call.body),
                    (&Method::DELETE, id) => writer.delete(&endpoint, id),
                    _ => Err(not_allowed(&endpoint, &call.method, true)),
                }
            }
            _ => Err(no_item()),
        }
    }
}

/// The collection that a request reads, or whose deletes, changed keys or partitions it reads.
fn collection_of(call: &Call<'_>) -> Option<String> {
    match call.segments.as_slice() {
        ["data", "v3", namespace, resource]
        | [
            "data",
            "v3",
            namespace,
            resource,
            "deletes" | "keyChanges" | "partitions",
        ] if call.method == Method::GET => Some(format!("{namespace}/{resource}")),
        _ => None,
    }
}

fn fault_answer(status: u16, retry_after: Option<u32>, release: Release) -> Response<Body> {
    let mut answer =
        Problem::fault(status).into_response(&correlation_id(&HeaderMap::new()), release);
    if let Some(seconds) = retry_after.filter(|_| matches!(status, 429 | 503)) {
        answer.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    answer
}
