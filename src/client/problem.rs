//! Every shape of error body becomes one sentence and one correlation id.
//!
//! ODS/API up to 7.1 answers `{"message", "modelState"}`, from 7.2 on problem details (RFC 9457)
//! with `validationErrors` and `errors`, the token endpoint `{"error", "error_description"}`
//! (RFC 6749, section 5.2). Bodies are told apart by what is in them, not by their content type.

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::Failure;

/// The server's words in a message are cut here, counted in characters.
const LONGEST_DETAIL: usize = 2_000;

/// The failure that an answer with an error status tells of.
pub(crate) fn failure(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
    let body: Option<Value> = serde_json::from_slice(body).ok();
    let correlation_id = body
        .as_ref()
        .and_then(|body| text(body.get("correlationId")?))
        .or_else(|| correlation_header(headers));
    let message = if status == StatusCode::UNAUTHORIZED {
        "auth error: HTTP 401".to_owned()
    } else {
        match body.as_ref().and_then(detail) {
            Some(detail) => format!("{}: {detail}", status_line(status)),
            None => status_line(status),
        }
    };
    Failure {
        message,
        http_status: Some(status.as_u16()),
        correlation_id,
    }
}

/// `HTTP 400 Bad Request`.
pub(crate) fn status_line(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("HTTP {} {reason}", status.as_u16()),
        None => format!("HTTP {}", status.as_u16()),
    }
}

/// An answer that has the right status and the wrong content.
pub(crate) fn unusable(status: StatusCode, headers: &HeaderMap, what: &str) -> Failure {
    Failure {
        message: format!("{}: {what}", status_line(status)),
        http_status: Some(status.as_u16()),
        correlation_id: correlation_header(headers),
    }
}

fn correlation_header(headers: &HeaderMap) -> Option<String> {
    ["correlation-id", "x-correlation-id"]
        .iter()
        .filter_map(|name| headers.get(*name)?.to_str().ok())
        .map(str::trim)
        .find(|value| !value.is_empty())
        .map(|value| cut(value, 200))
}

fn detail(body: &Value) -> Option<String> {
    let object = body.as_object()?;
    let main = ["message", "error", "detail"]
        .iter()
        .find_map(|name| text(object.get(*name)?));
    let mut parts: Vec<String> = main.into_iter().collect();
    parts.extend(object.get("error_description").and_then(|v| text(Some(v)?)));
    for name in ["validationErrors", "errors", "modelState"] {
        if let Some(value) = object.get(name) {
            collect(value, None, &mut parts);
        }
    }
    if parts.is_empty() {
        parts.extend(object.get("title").and_then(|v| text(Some(v)?)));
    }
    (!parts.is_empty()).then(|| cut(&parts.join("; "), LONGEST_DETAIL))
}

/// The texts in lists and objects of lists, each behind the path that it belongs to.
fn collect(value: &Value, path: Option<&str>, parts: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, path, parts)),
        Value::Object(members) => {
            for (name, value) in members {
                collect(value, Some(name), parts);
            }
        }
        value => {
            if let Some(text) = text(value) {
                parts.push(match path {
                    Some(path) => format!("{path}: {text}"),
                    None => text,
                });
            }
        }
    }
}

fn text<'a>(value: impl Into<Option<&'a Value>>) -> Option<String> {
    let text = match value.into()? {
        Value::String(text) => text.trim().replace('\0', ""),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

fn cut(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(status: u16, body: &str) -> String {
        failure(
            StatusCode::from_u16(status).unwrap(),
            &HeaderMap::new(),
            body.as_bytes(),
        )
        .message
    }

    #[test]
    fn each_shape_of_body_has_a_sentence() {
        for (status, body, expected) in [
            (400, r#"{"message":"Bad."}"#, "HTTP 400 Bad Request: Bad."),
            (
                400,
                r#"{"message":"The request is invalid.","modelState":{"request.x":["x is required."]}}"#,
                "HTTP 400 Bad Request: The request is invalid.; request.x: x is required.",
            ),
            (
                409,
                r#"{"detail":"A conflict.","errors":["The key (1) is taken."],"validationErrors":{}}"#,
                "HTTP 409 Conflict: A conflict.; The key (1) is taken.",
            ),
            (
                400,
                r#"{"error":"invalid_client","error_description":"Who?"}"#,
                "HTTP 400 Bad Request: invalid_client; Who?",
            ),
            (401, r#"{"detail":"Not you."}"#, "auth error: HTTP 401"),
            (500, "<html>", "HTTP 500 Internal Server Error"),
            (404, "", "HTTP 404 Not Found"),
            (499, "[]", "HTTP 499"),
        ] {
            assert_eq!(message(status, body), expected);
        }
    }

    #[test]
    fn the_body_names_the_correlation_id_before_the_header() {
        let mut headers = HeaderMap::new();
        headers.insert("x-correlation-id", "from-header".parse().unwrap());
        let status = StatusCode::BAD_REQUEST;
        let id = |body: &[u8]| failure(status, &headers, body).correlation_id;
        assert_eq!(
            id(br#"{"correlationId":"from-body"}"#).as_deref(),
            Some("from-body")
        );
        assert_eq!(
            id(br#"{"correlationId":null}"#).as_deref(),
            Some("from-header")
        );
    }
}
