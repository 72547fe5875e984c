//! One payload, written as often as it takes: posted, or put in the place of an item.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use percent_encoding::percent_decode_str;
use reqwest::Method;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderValue, IF_MATCH, LOCATION};

use super::PostOptions;
use crate::client::session::{Access, CallContext};
use crate::client::transport::{Request, Response};
use crate::client::{profile, retry};
use crate::frame::outcome::Outcome;
use crate::frame::request::check_id;
use crate::{Failure, Result};

/// No ODS gives longer ids.
const LONGEST_ID: usize = 200;

/// What is written: any item, or the one with an id; and the etag that it must still have.
#[derive(Default)]
pub(super) struct Condition {
    pub(super) id: Option<String>,
    pub(super) if_match: Option<HeaderValue>,
}

/// One resource to post to, and how.
pub(in crate::frame) struct Poster {
    pub(super) context: Arc<CallContext>,
    pub(super) endpoint: String,
    pub(super) options: PostOptions,
    /// How often an answer is posted again that nobody named, for what it says.
    repeats: fn(&Outcome, &PostOptions) -> u32,
}

impl Poster {
    pub(super) fn new(mut context: CallContext, options: &PostOptions) -> Result<Self> {
        options.accept_401(&mut context);
        let endpoint = context
            .client
            .endpoint_or(options.batch.endpoint.as_deref())?;
        Ok(Self::with(Arc::new(context), endpoint, options, |_, _| 0))
    }

    /// One that shares what its requests share with others.
    pub(in crate::frame) fn with(
        context: Arc<CallContext>,
        endpoint: String,
        options: &PostOptions,
        repeats: fn(&Outcome, &PostOptions) -> u32,
    ) -> Self {
        Self {
            context,
            endpoint,
            options: options.clone(),
            repeats,
        }
    }

    /// Posts one payload, and again where that was asked for.
    pub(in crate::frame) async fn post(&self, access: &Access, payload: Bytes) -> Outcome {
        self.write(access, payload, Condition::default()).await
    }

    /// Writes one payload, and again where that was asked for.
    pub(super) async fn write(&self, access: &Access, payload: Bytes, to: Condition) -> Outcome {
        let mut request = match self.request(access, payload, &to).await {
            Ok(request) => request,
            Err(failure) => return failure.into(),
        };
        let policy = self.context.client.policy();
        let policy = match to.id {
            Some(_) => policy.for_delete(),
            None => policy.for_write(self.options.retry_broken),
        };
        let policy = policy.leaving(&self.options.retry_statuses);
        let mut retries = 0;
        let mut refused: Option<Outcome> = None;
        loop {
            let sent = request.sent;
            let response = match self.context.send(access, &mut request, policy).await {
                Ok(response) => response,
                Err(failure) => {
                    // What the server said before an interruption says more than "not sent".
                    let outcome = match refused {
                        Some(refused) if request.sent == sent => refused,
                        _ => self.noted(failure.into(), retries),
                    };
                    return outcome.after(&request);
                }
            };
            if response.is_written() {
                let outcome = Outcome {
                    resource_id: resource_id(&response, &self.endpoint),
                    ..Outcome::success(&response)
                };
                return outcome.after(&request);
            }
            let mut failure = response.refusal_of_write();
            if request.in_doubt && response.status == StatusCode::PRECONDITION_FAILED {
                // The etag may be another one because the try before was applied.
                failure.message = format!("{}; it may have been applied", failure.message);
            }
            let retried = self.options.is_retried(response.status, &failure.message);
            let outcome = self.refused(&response, failure, retried, retries);
            let most = match retried {
                true => self.options.max_retries,
                false => (self.repeats)(&outcome, &self.options),
            };
            if retries < most {
                let asked = retry::retry_after(&response.headers);
                if asked.is_none_or(|asked| asked <= policy.max_wait) {
                    let factor = 2u32.saturating_pow(retries);
                    let backoff = self.options.retry_backoff.checked_mul(factor);
                    let backoff = backoff.unwrap_or(Duration::MAX);
                    let wait = asked.map_or(backoff, |asked| asked.max(backoff));
                    refused = Some(outcome);
                    // A cancellation is noticed when the call is sent again.
                    let _ = self.context.control.cancellation.sleep(wait).await;
                    retries += 1;
                    continue;
                }
            }
            return outcome.after(&request);
        }
    }

    async fn request(
        &self,
        access: &Access,
        payload: Bytes,
        to: &Condition,
    ) -> Result<Request, Failure> {
        let (context, endpoint) = (&self.context, &self.endpoint);
        let (method, url) = match &to.id {
            Some(id) => (Method::PUT, context.item_url(access, endpoint, id).await?),
            None => (
                Method::POST,
                context.resource(access, endpoint).await?.into(),
            ),
        };
        let kind = profile::writable(context.client.profile(), endpoint);
        let mut headers = vec![(CONTENT_TYPE, kind)];
        headers.extend(to.if_match.clone().map(|etag| (IF_MATCH, etag)));
        Ok(Request {
            method,
            headers,
            body: Some(payload),
            small: true,
            ..Request::get(url)
        })
    }

    fn refused(
        &self,
        response: &Response,
        failure: Failure,
        retried: bool,
        retries: u32,
    ) -> Outcome {
        let outcome = Outcome::from(failure).with_details(self.options.details, response);
        let mut outcome = self.noted(outcome, retries);
        // A 2xx that is no success, such as a page of HTML, never reached the ODS.
        if let (false, false, Some(status)) = (
            retried,
            response.status.is_success(),
            self.options.allowed(response.status),
        ) {
            outcome.status.clone_from(status);
        }
        outcome
    }

    /// An error with what is known of its repetitions, where some were asked for.
    fn noted(&self, mut outcome: Outcome, retries: u32) -> Outcome {
        if self.options.retry_statuses.is_empty() || outcome.http_status.is_none() && retries == 0 {
            return outcome;
        }
        let mut notes = vec![format!("retries attempted: {retries}")];
        let id = outcome.correlation_id.as_ref();
        notes.splice(0..0, id.map(|id| format!("correlation id: {id}")));
        let message = outcome.message.unwrap_or_default();
        outcome.message = Some(format!("{message} ({})", notes.join("; ")));
        outcome
    }
}

/// The last segment of `Location`, absolute or relative; the host in it may be wrong. What is too
/// long, or cannot stand in a URL, is no id, nor is the collection itself, nor an item of another
/// resource.
fn resource_id(response: &Response, endpoint: &str) -> Option<String> {
    let location = response.headers.get(LOCATION)?.to_str().ok()?;
    let end = location
        .bytes()
        .position(|byte| matches!(byte, b'?' | b'#'));
    let path = &location[..end.unwrap_or(location.len())];
    let path = path.trim_end_matches('/');
    let mut segments = path.rsplit('/');
    let id = segments.next()?;
    let of = [segments.next(), segments.next()].map(Option::unwrap_or_default);
    if let Some((namespace, resource)) = endpoint.split_once('/') {
        let is_collection = id.eq_ignore_ascii_case(resource) && of[0] == namespace;
        let is_elsewhere = of[1] == namespace && !of[0].eq_ignore_ascii_case(resource);
        if is_collection || is_elsewhere {
            return None;
        }
    }
    let is_short = id.len() <= LONGEST_ID;
    let id = is_short.then(|| percent_decode_str(id).decode_utf8().ok())??;
    check_id(&id).is_ok().then(|| id.into_owned())
}
