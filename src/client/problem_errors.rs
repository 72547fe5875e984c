//! The single errors that an error body lists: what is wrong with which part of a payload.
//!
//! ODS/API up to 7.1 lists them in `modelState`, from 7.2 on in `validationErrors` (by path) and
//! `errors` (see [`problem`](super::problem)).

use serde_json::Value;

use super::secret::Redaction;

/// No path and no message of a server's is longer, counted in characters.
const LONGEST: usize = 2_000;
/// Of all paths and messages of one body no more characters are kept.
const MOST: usize = 20_000;

/// One thing that is wrong with a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProblemError {
    /// Where, as the server names it: `$.birthDate`; `None` where it does not say.
    pub path: Option<String>,
    /// What.
    pub message: String,
}

/// What an error body tells beside its sentence.
#[derive(Debug, Default)]
pub(crate) struct Details {
    /// The `type` of the problem.
    pub(crate) problem: Option<String>,
    pub(crate) errors: Vec<ProblemError>,
}

impl Details {
    /// What a body tells, without what the request had shown to the server.
    pub(crate) fn of(body: &[u8], redaction: &Redaction) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let mut reader = Reader {
            redaction,
            errors: Vec::new(),
            room: MOST,
        };
        for list in ["validationErrors", "errors", "modelState"] {
            reader.collect(&body[list], None);
        }
        Self {
            problem: reader.text(&body["type"]),
            errors: reader.errors,
        }
    }
}

/// What has been read of a body.
struct Reader<'a> {
    redaction: &'a Redaction,
    errors: Vec<ProblemError>,
    room: usize,
}

impl Reader<'_> {
    /// The texts in lists and in objects of lists, each with the name that it stands under.
    fn collect(&mut self, value: &Value, path: Option<&str>) {
        match value {
            Value::Array(items) => {
                for item in items {
                    self.collect(item, path);
                }
            }
            Value::Object(members) => {
                for (name, value) in members {
                    self.collect(value, Some(name));
                }
            }
            value => {
                let Some(message) = self.text(value) else {
                    return;
                };
                let path = path.map(|path| self.cut(path));
                let length = message.len() + path.as_ref().map_or(0, String::len);
                if length <= self.room {
                    self.room -= length;
                    self.errors.push(ProblemError { path, message });
                }
            }
        }
    }

    fn text(&self, value: &Value) -> Option<String> {
        let text = match value {
            Value::String(text) => self.cut(text.trim()),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        (!text.is_empty()).then_some(text)
    }

    fn cut(&self, text: &str) -> String {
        self.redaction
            .apply(text)
            .chars()
            .filter(|letter| *letter != '\0')
            .take(LONGEST)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(body: &str) -> Vec<(Option<String>, String)> {
        let errors = Details::of(body.as_bytes(), &Redaction::default())
            .errors
            .into_iter();
        errors.map(|error| (error.path, error.message)).collect()
    }

    #[test]
    fn each_shape_of_body_lists_its_errors() {
        let at = |path: &str, message: &str| (Some(path.to_owned()), message.to_owned());
        for (body, expected) in [
            (
                r#"{"validationErrors":{"$.a":["is required.","is late."],"$.b":["no"]}}"#,
                vec![
                    at("$.a", "is required."),
                    at("$.a", "is late."),
                    at("$.b", "no"),
                ],
            ),
            (
                r#"{"errors":["The key is taken."],"validationErrors":{}}"#,
                vec![(None, "The key is taken.".to_owned())],
            ),
            (
                r#"{"modelState":{"request.x":["x is required."]}}"#,
                vec![at("request.x", "x is required.")],
            ),
            ("<html>", vec![]),
            (r#"{"errors":null}"#, vec![]),
        ] {
            assert_eq!(listed(body), expected, "{body}");
        }
    }

    #[test]
    fn a_long_name_of_many_errors_is_not_kept_for_each() {
        let name = "n".repeat(60_000);
        let body = format!(r#"{{"errors":{{"{name}":[{}1]}}}}"#, "1,".repeat(30_000));
        let kept: usize = listed(&body)
            .iter()
            .map(|(path, text)| text.len() + path.as_ref().map_or(0, String::len))
            .sum();
        assert!((1..=MOST).contains(&kept), "{kept}");
    }
}
