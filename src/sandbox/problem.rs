//! Problem details (RFC 9457), as ODS/API 7.2 and later words them.

use hyper::header::{HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::body::{Body, typed};
use super::release::Release;

/// The header that repeats a problem's correlation id.
pub(super) const CORRELATION_ID: HeaderName = HeaderName::from_static("correlation-id");

/// Why a request is refused.
#[derive(Debug)]
pub(super) struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    kind: &'static str,
    title: String,
    detail: String,
    errors: Vec<String>,
    validation: Vec<(String, Vec<String>)>,
    /// Status and message of releases before 7.2, where they are others.
    old: Option<(StatusCode, String)>,
}

impl Problem {
    fn new(status: u16, kind: &'static str, title: &str, detail: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            kind,
            title: title.to_owned(),
            detail: detail.into(),
            errors: Vec::new(),
            validation: Vec::new(),
            old: None,
        }))
    }

    /// Sets what releases before 7.2 say.
    fn old(mut self, status: StatusCode, message: String) -> Self {
        self.0.old = Some((status, message));
        self
    }

    /// Adds a sentence to `errors`.
    pub(super) fn error(mut self, text: impl Into<String>) -> Self {
        self.0.errors.push(text.into());
        self
    }

    /// 400: the request cannot be understood.
    pub(super) fn bad_request(error: impl Into<String>) -> Self {
        let detail = "The request could not be processed. See 'errors' for details.";
        Self::new(400, "bad-request", "Bad Request", detail).error(error)
    }

    /// 400: one query parameter is wrong.
    pub(super) fn parameter(name: &str, error: impl Into<String>) -> Self {
        let detail = format!("The {name} parameter was incorrect.");
        let kind = "bad-request:parameter-validation-failed";
        Self::new(400, kind, "Parameter Validation Failed", detail).error(error)
    }

    /// 400: members of the body are wrong, each under its JSON path.
    pub(super) fn validation(errors: Vec<(String, Vec<String>)>) -> Self {
        let detail = "Data validation failed. See 'validationErrors' for details.";
        let kind = "bad-request:data-validation-failed";
        let mut problem = Self::new(400, kind, "Data Validation Failed", detail);
        problem.0.validation = errors;
        problem
    }

    /// 400: nothing is wrong with the body but descriptor values that do not exist: `missing` are the
    /// descriptors and their values.
    pub(super) fn descriptors(
        errors: Vec<(String, Vec<String>)>,
        missing: &[(String, String)],
    ) -> Self {
        let sentence = |(descriptor, value): &(String, String)| {
            format!("Unable to resolve value '{value}' to an existing '{descriptor}' resource.")
        };
        let sentences: Vec<String> = missing.iter().map(sentence).collect();
        Self::validation(errors).old(StatusCode::BAD_REQUEST, sentences.join(" "))
    }

    /// 400: a PUT that would change a natural key that must not change.
    pub(super) fn key_change(item: &str) -> Self {
        let detail = format!(
            "Identifying values for the {item} resource cannot be changed. Delete and recreate the resource item instead."
        );
        let kind = "bad-request:data-validation-failed:key-change-not-supported";
        Self::new(400, kind, "Key Change Not Supported", detail)
    }

    /// 401: no token, or one that does not count here and now.
    pub(super) fn unauthenticated(error: impl Into<String>) -> Self {
        let detail = "The caller could not be authenticated.";
        Self::new(
            401,
            "security:authentication",
            "Authentication Failed",
            detail,
        )
        .error(error)
    }

    /// 403: a person whom no association brings into the client's reach.
    pub(super) fn out_of_reach(person: &str, association: &str) -> Self {
        let detail = format!(
            "Access to the resource could not be authorized. Hint: You may need to create a corresponding '{association}' item."
        );
        let error = format!(
            "No relationships have been established between the caller's education organization id claims and the \
             resource item's {person}UniqueId value."
        );
        let old = format!("Authorization denied. {error}");
        Self::new(
            403,
            "security:authorization:",
            "Authorization Denied",
            detail,
        )
        .error(error)
        .old(StatusCode::FORBIDDEN, old)
    }

    /// 403: the client's claim set does not name the resource.
    pub(super) fn no_claim(claim_set: &str, endpoint: &str) -> Self {
        let detail = "Access to the resource could not be authorized.";
        let kind = "security:authorization:access-denied:resource";
        Self::new(403, kind, "Authorization Denied", detail).error(format!(
            "The claim set of the caller's API client ('{claim_set}') has no claim for '{endpoint}'."
        ))
    }

    /// 403: the client's claim set names the resource, and not what is to be done with it.
    pub(super) fn no_action(claim_set: &str, action: &str, endpoint: &str) -> Self {
        let detail = "Access to the resource could not be authorized for the requested action.";
        let kind = "security:authorization:access-denied:action";
        Self::new(403, kind, "Authorization Denied", detail).error(format!(
            "The claim set of the caller's API client ('{claim_set}') does not allow '{action}' on '{endpoint}'."
        ))
    }

    /// 404: no such district, resource or item.
    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(404, "not-found", "Not Found", detail)
    }

    /// 405: this method means nothing here.
    pub(super) fn method(error: impl Into<String>) -> Self {
        let detail = "The request construction was invalid.";
        Self::new(405, "method-not-allowed", "Method Not Allowed", detail).error(error)
    }

    /// 405: something other than a read of a snapshot.
    pub(super) fn snapshot_is_read_only() -> Self {
        let detail = "Snapshots are read-only.";
        Self::new(
            405,
            "snapshots:method-not-allowed",
            "Method Not Allowed with Snapshots",
            detail,
        )
    }

    /// 409: the body refers to an item that is not there.
    pub(super) fn unresolved(item: &str) -> Self {
        let detail = format!("The referenced '{item}' item does not exist.");
        Self::new(
            409,
            "data-conflict:unresolved-reference",
            "Unresolved Reference",
            detail,
        )
        .old(
            StatusCode::BAD_REQUEST,
            format!("Validation failed.\r\n\t{item} reference could not be resolved.\n"),
        )
    }

    /// 409: other items refer to the one to delete.
    pub(super) fn dependent(item: &str) -> Self {
        let detail = format!(
            "The requested action cannot be performed because this item is referenced by an existing '{item}' item."
        );
        Self::new(
            409,
            "data-conflict:dependent-item-exists",
            "Dependent Item Exists",
            detail,
        )
        .old(
            StatusCode::CONFLICT,
            format!(
                "The resource (or a subordinate entity of the resource) cannot be deleted because it is a \
                 dependency of the '{item}' entity."
            ),
        )
    }

    /// 409: the new natural key is another item's.
    pub(super) fn not_unique() -> Self {
        let detail = "The identifying value(s) of the item are the same as another item that already exists.";
        let kind = "data-conflict:non-unique-identity";
        Self::new(409, kind, "Identifying Values Are Not Unique", detail)
    }

    /// 412: the item is no longer the one that was read.
    pub(super) fn stale() -> Self {
        let detail = "The item has been modified by another user.";
        Self::new(412, "optimistic-lock-failed", "Optimistic Lock Failed", detail).error(
            "The resource item's etag value does not match what was specified in the 'If-Match' request header \
             indicating that it has been modified by another client since it was last retrieved.",
        )
    }

    /// 415: the body is not declared to be JSON.
    pub(super) fn media_type() -> Self {
        let text =
            "The value specified in the 'Content-Type' header is not supported by this host.";
        Self::new(
            415,
            "unsupported-media-type",
            "Unsupported Media Type",
            text,
        )
        .error(text)
    }

    /// 429: the client holds as many tokens as it may.
    pub(super) fn too_many_tokens(limit: usize) -> Self {
        let detail = "The caller could not be authenticated.";
        let kind = "security:authentication:too-many-tokens";
        Self::new(429, kind, "Too Many Tokens", detail).error(format!(
            "At most {limit} access tokens may be in use by one client at a time."
        ))
    }

    /// 429: more requests than the host takes in a while.
    pub(super) fn too_many_requests() -> Self {
        let detail = "Too many requests.";
        Self::new(429, "too-many-requests", "Too Many Requests", detail)
    }

    /// The answer that a fault asks for.
    pub(super) fn fault(status: u16) -> Self {
        match status {
            401 => Self::unauthenticated("Invalid token"),
            403 => Self::new(
                403,
                "security:authorization",
                "Authorization Denied",
                "Access to the resource could not be authorized.",
            ),
            404 => Self::not_found("The specified data could not be found."),
            409 => Self::new(
                409,
                "data-conflict:multi-user-conflict",
                "Multi-User Conflict",
                "The item could not be saved because another user is changing it.",
            ),
            429 => Self::too_many_requests(),
            500 => Self::new(
                500,
                "system",
                "System Error",
                "An unexpected problem has occurred.",
            ),
            other => {
                let code = StatusCode::from_u16(other).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let title = code.canonical_reason().unwrap_or("Unknown");
                Self::new(
                    other,
                    "sandbox:fault",
                    title,
                    format!("The sandbox was told to answer {other}."),
                )
            }
        }
    }

    /// The answer, under this correlation id.
    pub(super) fn into_response(self, correlation_id: &str, release: Release) -> Response<Body> {
        let (status, mut body, kind) = if release.has_problem_details() {
            let body = self.details();
            (self.0.status, body, "application/problem+json")
        } else {
            let (status, body) = self.message();
            (status, body, "application/json; charset=utf-8")
        };
        if release.has_correlation_ids() {
            body["correlationId"] = correlation_id.into();
        }
        let bytes = body.to_string().into_bytes();
        let mut response = typed(status, kind, bytes.into());
        if let Ok(value) = HeaderValue::from_str(correlation_id) {
            response.headers_mut().insert(CORRELATION_ID, value);
        }
        response
    }

    fn details(&self) -> Value {
        let parts = &*self.0;
        let mut body = json!({
            "detail": parts.detail,
            "type": format!("urn:ed-fi:api:{}", parts.kind),
            "title": parts.title,
            "status": parts.status.as_u16(),
        });
        if !parts.validation.is_empty() {
            let paths: Map<String, Value> = parts
                .validation
                .iter()
                .map(|(path, texts)| (path.clone(), texts.clone().into()))
                .collect();
            body["validationErrors"] = paths.into();
        }
        if !parts.errors.is_empty() {
            body["errors"] = parts.errors.clone().into();
        }
        body
    }

    /// What ODS/API 5.x to 7.1 say: one message, and what is wrong with a body by its members.
    fn message(&self) -> (StatusCode, Value) {
        let parts = &*self.0;
        if let Some((status, message)) = &parts.old {
            return (*status, json!({"message": message}));
        }
        if !parts.validation.is_empty() {
            let state: Map<String, Value> = parts
                .validation
                .iter()
                .map(|(path, texts)| (path.replacen('$', "request", 1), texts.clone().into()))
                .collect();
            let body = json!({"message": "The request is invalid.", "modelState": state});
            return (parts.status, body);
        }
        let message = if parts.errors.is_empty() {
            parts.detail.clone()
        } else {
            parts.errors.join(" ")
        };
        (parts.status, json!({"message": message}))
    }
}
