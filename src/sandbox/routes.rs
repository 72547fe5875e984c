//! Which request means what: OAuth, metadata, data, and the faults that come between.

use hyper::header::{HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::{Method, Response, StatusCode};

use super::auth;
use super::body::{Body, Closed, empty, typed};
use super::district::District;
use super::faults::{After, Before, next_status};
use super::metadata;
use super::problem::Problem;
use super::read::{Reader, no_item, wants_snapshot};
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
            true,
            true,
        ))
    }

    pub(super) async fn route(
        &self,
        district: &District,
        call: &Call<'_>,
        number: usize,
    ) -> Result<Answer, Closed> {
        match call.segments.as_slice() {
            ["oauth", "token"] => {
                let (status, retry_after) = {
                    let faults = &mut district.faults().faults;
                    (next_status(&mut faults.token_statuses), faults.retry_after)
                };
                Ok(match status.unwrap_or(0) {
                    0 => auth::token(
                        district,
                        &call.method,
                        &call.headers,
                        &call.body,
                        self.token_rules(),
                    ),
                    status => Ok(fault_answer(status, retry_after)),
                })
            }
            ["oauth", "token_info"] => Ok(auth::token_info(
                district,
                &call.method,
                &call.headers,
                &call.body,
            )),
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
            [] => Ok(metadata::discovery(
                &root,
                !faults.no_metadata,
                !faults.no_change_queries,
            )),
            ["metadata", path @ ..] if !faults.no_metadata => {
                match next_status(&mut faults.metadata_statuses).unwrap_or(0) {
                    0 => metadata::metadata(
                        &root,
                        path,
                        &call.query,
                        &call.headers,
                        &self.resources,
                        &self.descriptors,
                    ),
                    status => Ok(fault_answer(status, faults.retry_after)),
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
        if !verdict.latency.is_zero() {
            tokio::time::sleep(verdict.latency).await;
        }
        match verdict.before {
            Before::Nothing => {}
            Before::Close => return Err(Closed),
            Before::Status(status) => return Ok(Ok(fault_answer(status, retry_after))),
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
        let answer = match self.work(district, call) {
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

    fn work(&self, district: &District, call: &Call<'_>) -> Answer {
        let reader = Reader {
            definitions: &self.definitions,
            district,
            headers: &call.headers,
            query: &call.query,
            page_limit: self.page_limit,
            counts: self.total_count,
        };
        let data_url = format!("{}/data/v3", self.root(district));
        let writer = Writer {
            definitions: &self.definitions,
            district,
            headers: &call.headers,
            data_url: &data_url,
            links: self.links,
        };
        let is_read = call.method == Method::GET;
        if !is_read && wants_snapshot(&call.headers) {
            return Err(Problem::snapshot_is_read_only());
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

fn fault_answer(status: u16, retry_after: Option<u32>) -> Response<Body> {
    let mut answer = Problem::fault(status).into_response(&correlation_id(&HeaderMap::new()));
    if let Some(seconds) = retry_after.filter(|_| matches!(status, 429 | 503)) {
        answer.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    answer
}
