//! Every shape of error body becomes one sentence and one correlation id.
//!
//! ODS/API up to 7.1 answers `{"message", "modelState"}`, from 7.2 on problem details (RFC 9457)
//! with `validationErrors` and `errors`, the token endpoint `{"error", "error_description"}`
//! (RFC 6749, section 5.2). Bodies are told apart by what is in them, not by their content type.

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::{Map, Value};

use super::secret::Redaction;
use crate::Failure;

/// The server's words in a message are cut here, counted in characters.
const LONGEST_DETAIL: usize = 2_000;
/// No server needs more characters for a correlation id.
const LONGEST_ID: usize = 200;

/// The failure that a response with an error status tells of.
pub(crate) fn failure(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    redaction: &Redaction,
) -> Failure {
    let body: Option<Value> = serde_json::from_slice(body).ok();
    let reader = Reader(redaction);
    let id = body.as_ref().and_then(|body| body.get("correlationId"));
    let message = match status {
        StatusCode::UNAUTHORIZED => "auth error: HTTP 401".to_owned(),
        _ => match body.as_ref().and_then(|body| reader.detail(body)) {
            Some(detail) => format!("{}: {detail}", status_line(status)),
            None => status_line(status),
        },
    };
    Failure {
        message,
        http_status: Some(status.as_u16()),
        correlation_id: id
            .and_then(|id| reader.text(id, LONGEST_ID))
            .or_else(|| reader.correlation_header(headers)),
        ..Failure::default()
    }
}

/// What a body says is wrong, in one sentence.
pub(crate) fn detail(body: &[u8], redaction: &Redaction) -> Option<String> {
    Reader(redaction).detail(&serde_json::from_slice(body).ok()?)
}

/// `HTTP 400 Bad Request`.
pub(crate) fn status_line(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("HTTP {} {reason}", status.as_u16()),
        None => format!("HTTP {}", status.as_u16()),
    }
}

/// A response that has the right status and the wrong content.
pub(crate) fn unusable(
    status: StatusCode,
    headers: &HeaderMap,
    what: &str,
    redaction: &Redaction,
) -> Failure {
    let reader = Reader(redaction);
    let what = cut(&redaction.apply(what), LONGEST_DETAIL);
    Failure {
        message: format!("{}: {what}", status_line(status)),
        http_status: Some(status.as_u16()),
        correlation_id: reader.correlation_header(headers),
        ..Failure::default()
    }
}

/// A member of a body; ASP.NET itself begins its names with capitals.
fn member<'b>(object: &'b Map<String, Value>, name: &str) -> Option<&'b Value> {
    let other = || {
        let mut members = object.iter();
        members.find(|(other, _)| other.eq_ignore_ascii_case(name))
    };
    object.get(name).or_else(|| other().map(|(_, value)| value))
}

/// Reads a server's words: bounded, and without what the server was shown.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a Redaction);

impl Reader<'_> {
    fn correlation_header(self, headers: &HeaderMap) -> Option<String> {
        ["correlation-id", "x-correlation-id"]
            .iter()
            .filter_map(|name| headers.get(*name)?.to_str().ok())
            .find_map(|value| self.tidy(value, LONGEST_ID))
    }

    fn detail(self, body: &Value) -> Option<String> {
        let object = body.as_object()?;
        let mut sentence = Sentence::default();
        let told = |name: &&str| match member(object, name)? {
            // Gateways put a problem within `error`.
            value @ Value::Object(_) => self.detail(value),
            value => self.text(value, LONGEST_DETAIL),
        };
        let main = ["message", "error", "detail"].iter().find_map(told);
        for part in main.into_iter().chain(told(&"error_description")) {
            sentence.add(None, &part);
        }
        for name in ["validationErrors", "errors", "modelState"] {
            if let Some(value) = member(object, name) {
                self.collect(value, None, &mut sentence);
            }
        }
        if sentence.text.is_empty()
            && let Some(title) = told(&"title")
        {
            sentence.add(None, &title);
        }
        (!sentence.text.is_empty()).then(|| cut(&sentence.text, LONGEST_DETAIL))
    }

    /// The texts in lists and objects of lists, each behind the path that it belongs to.
    fn collect(self, value: &Value, path: Option<&str>, sentence: &mut Sentence) {
        match value {
            _ if sentence.length > LONGEST_DETAIL => {}
            Value::Array(items) => {
                for item in items {
                    self.collect(item, path, sentence);
                }
            }
            Value::Object(members) => {
                for (name, value) in members {
                    self.collect(value, Some(name), sentence);
                }
            }
            value => {
                if let Some(text) = self.text(value, LONGEST_DETAIL) {
                    sentence.add(path.map(|path| self.0.apply(path)).as_deref(), &text);
                }
            }
        }
    }

    fn text(self, value: &Value, longest: usize) -> Option<String> {
        match value {
            Value::String(text) => self.tidy(text, longest),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    fn tidy(self, text: &str, longest: usize) -> Option<String> {
        let text = cut(self.0.apply(text).trim(), longest).replace('\0', "");
        (!text.is_empty()).then_some(text)
    }
}

/// Many parts, cut while they are put together: a server may repeat a long name for each of many
/// errors.
#[derive(Default)]
struct Sentence {
    text: String,
    /// In characters.
    length: usize,
}

impl Sentence {
    fn add(&mut self, path: Option<&str>, part: &str) {
        if !self.text.is_empty() {
            self.push("; ");
        }
        if let Some(path) = path {
            self.push(path);
            self.push(": ");
        }
        self.push(part);
    }

    fn push(&mut self, text: &str) {
        let room = (LONGEST_DETAIL + 1).saturating_sub(self.length);
        for letter in text.chars().take(room) {
            self.text.push(letter);
            self.length += 1;
        }
    }
}

/// A name or a path of a server's, as long as one may stand in a message.
pub(crate) fn shortened(text: &str) -> String {
    cut(text, LONGEST_ID)
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
            &Redaction::default(),
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
            (
                404,
                r#"{"Message":"No resource.","ModelState":{"x":["x is required."]}}"#,
                "HTTP 404 Not Found: No resource.; x: x is required.",
            ),
            (
                429,
                r#"{"error":{"code":429,"message":"Slower."}}"#,
                "HTTP 429 Too Many Requests: Slower.",
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
        let id =
            |body: &[u8]| failure(status, &headers, body, &Redaction::default()).correlation_id;
        assert_eq!(
            id(br#"{"correlationId":"from-body"}"#).as_deref(),
            Some("from-body")
        );
        assert_eq!(
            id(br#"{"correlationId":null}"#).as_deref(),
            Some("from-header")
        );
    }

    #[test]
    fn no_body_makes_a_long_sentence() {
        let name = "n".repeat(30_000);
        let ones = vec!["1"; 15_000].join(",");
        let body = format!(r#"{{"validationErrors": {{"{name}": [{ones}]}}}}"#);
        assert!(message(400, &body).len() < LONGEST_DETAIL + 100);
        let body = format!(r#"{{"correlationId": "{}"}}"#, "c".repeat(500_000));
        let status = StatusCode::CONFLICT;
        let failure = failure(
            status,
            &HeaderMap::new(),
            body.as_bytes(),
            &Redaction::default(),
        );
        assert!(failure.correlation_id.unwrap().len() < LONGEST_ID + 10);
    }

    #[test]
    fn what_was_shown_to_a_server_is_not_repeated() {
        let token = "t0ken".repeat(10);
        let value = format!("Bearer {token}").parse().unwrap();
        let body = format!(
            r#"{{"detail": "{}{token}"}}"#,
            "x".repeat(LONGEST_DETAIL - 10)
        );
        let status = StatusCode::BAD_REQUEST;
        let redaction = Redaction::new([&value]);
        let failure = failure(status, &HeaderMap::new(), body.as_bytes(), &redaction);
        assert!(!failure.message.contains("t0ken"), "{}", failure.message);
    }
}
