//! A request that can be sent more than once, and the response to it, read to its end.

use std::ops::Deref;
use std::sync::OnceLock;

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde::de::IgnoredAny;

use crate::Failure;
use crate::client::problem;
use crate::client::problem_errors::Details;
use crate::client::secret::Redaction;
use crate::client::urls;

/// One request that can be sent more than once.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) body: Option<Bytes>,
    /// Whether the body is a form that names the token of the request's own authorization.
    pub(crate) names_token: bool,
    /// Whether a body with a success status is small, too.
    pub(crate) small: bool,
    /// Whether a body with a success status is a page, which is left in parts.
    pub(crate) page: bool,
    /// Whether it is one for a token.
    pub(crate) token: bool,
    /// The part of the URL's path that may be shown, where what follows names an item.
    pub(crate) shown: Option<usize>,
    /// How often it was sent.
    pub(crate) sent: u32,
    /// Whether a try may have been applied of which no answer tells it.
    pub(crate) in_doubt: bool,
}

impl Request {
    pub(crate) fn get(url: Url) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: Vec::new(),
            authorization: None,
            body: None,
            names_token: false,
            small: false,
            page: false,
            token: false,
            shown: None,
            sent: 0,
            in_doubt: false,
        }
    }

    /// One that sends a form, and takes JSON.
    pub(crate) fn form(url: Url) -> Self {
        const JSON: HeaderValue = HeaderValue::from_static("application/json");
        const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
        Self {
            method: Method::POST,
            headers: vec![(ACCEPT, JSON), (CONTENT_TYPE, FORM)],
            ..Self::get(url)
        }
    }
}

/// What may be shown of a path below that of a resource.
const SHOWN_SEGMENTS: [&str; 3] = ["deletes", "keyChanges", "partitions"];
/// The parameters that say nothing of a person.
const SHOWN_PARAMETERS: [&str; 7] = [
    "limit",
    "maxChangeVersion",
    "minChangeVersion",
    "number",
    "offset",
    "pageSize",
    "totalCount",
];

impl Request {
    /// The URL as it may be logged: without ids, and without values that may name a person.
    pub(super) fn shown(&self) -> String {
        let url = &self.url;
        let (known, rest) = match self.shown.and_then(|end| url.path().split_at_checked(end)) {
            Some(parts) => parts,
            None => (url.path(), ""),
        };
        let mut text = format!("{}{known}", urls::origin(url));
        for segment in rest.split('/').filter(|segment| !segment.is_empty()) {
            let is_shown = SHOWN_SEGMENTS.contains(&segment);
            text.push('/');
            text.push_str(if is_shown { segment } else { "{id}" });
        }
        for (place, (name, value)) in url.query_pairs().enumerate() {
            let is_shown = SHOWN_PARAMETERS.contains(&&*name);
            text.push(if place == 0 { '?' } else { '&' });
            text.push_str(&name);
            text.push('=');
            text.push_str(if is_shown { &value } else { "..." });
        }
        text
    }
}

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    /// What no message may repeat.
    pub(super) redaction: Redaction,
    /// The endpoint that was most likely meant, where there is none of this name.
    pub(crate) meant: Option<String>,
    /// The profile that was asked for, where the answer is about media types.
    pub(crate) profile: Option<String>,
}

impl Response {
    pub(crate) fn failure(&self) -> Failure {
        let mut failure = problem::failure(self.status, &self.headers, &self.body, &self.redaction);
        if let Some(meant) = &self.meant {
            failure = failure.meaning(meant);
        }
        if let Some(profile) = &self.profile {
            failure.message = format!(
                "{} (through profile=\"{profile}\"; a Data Management Service, and an ODS without \
                 that profile for the resource, refuse its media types)",
                failure.message
            );
        }
        failure
    }

    /// What an error body tells beside its sentence.
    pub(crate) fn details(&self) -> Details {
        Details::of(&self.body, &self.redaction)
    }

    /// What the body says is wrong.
    pub(crate) fn detail(&self) -> Option<String> {
        problem::detail(&self.body, &self.redaction)
    }

    pub(crate) fn unusable(&self, what: &str) -> Failure {
        problem::unusable(self.status, &self.headers, what, &self.redaction)
    }

    /// A write has succeeded only on 200, 201 or 204 with an empty or a JSON body: a page of HTML
    /// with status 200 comes from a gateway, not from an ODS.
    pub(crate) fn is_written(&self) -> bool {
        let written = [StatusCode::OK, StatusCode::CREATED, StatusCode::NO_CONTENT];
        written.contains(&self.status)
            && std::str::from_utf8(&self.body).is_ok_and(|body| {
                body.trim_ascii().is_empty() || serde_json::from_str::<IgnoredAny>(body).is_ok()
            })
    }

    /// The failure of a write that was not answered as it must be.
    pub(crate) fn refusal_of_write(&self) -> Failure {
        let mut failure = self.refusal();
        // Statuses that no ODS gives tell nothing of what it did.
        if self.status.is_success() || !(300..=599).contains(&self.status.as_u16()) {
            failure.message = format!("{}; it may have been applied", failure.message);
        }
        failure
    }

    /// The failure of a request that was not answered as it must be.
    pub(crate) fn refusal(&self) -> Failure {
        if self.status.is_redirection() {
            return self.unusable("a redirect that leads elsewhere is not followed");
        }
        if self.status.is_success() {
            return self.unusable("this is not an answer that an ODS gives");
        }
        self.failure()
    }
}

/// The bytes of a response. Those of a page stay in the parts that they came in: to put them
/// together would copy all of them once more.
#[derive(Debug, Default)]
pub(crate) struct Body {
    parts: Vec<Bytes>,
    whole: OnceLock<Vec<u8>>,
}

impl Body {
    pub(crate) fn parts(&self) -> &[Bytes] {
        &self.parts
    }

    pub(crate) fn into_vec(self) -> Vec<u8> {
        match <[Bytes; 1]>::try_from(self.parts) {
            // Free of copies where nobody else has it.
            Ok([one]) => one.into(),
            Err(parts) => parts.concat(),
        }
    }
}

impl From<Vec<Bytes>> for Body {
    fn from(parts: Vec<Bytes>) -> Self {
        Self {
            parts,
            whole: OnceLock::new(),
        }
    }
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &*self.parts {
            [] => &[],
            [one] => one,
            parts => self.whole.get_or_init(|| parts.concat()),
        }
    }
}
