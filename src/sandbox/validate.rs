//! Validation of posted bodies against a resource's schema: required members, types, lengths, and, where
//! it is strict, descriptor values and elements that come twice.

use serde_json::{Map, Value};

use super::definitions::{Definitions, is_reference, pascal};
use super::descriptors::Descriptors;
use super::store::key_text;

/// What is wrong with a body, by JSON path.
pub(super) type Errors = Vec<(String, Vec<String>)>;

/// Checks bodies. Members that a schema does not have are not looked at.
pub(super) struct Validator<'a> {
    pub(super) definitions: &'a Definitions,
    /// The values that descriptors may have; `None`: any.
    pub(super) descriptors: Option<Descriptors<'a>>,
    errors: Errors,
    missing: Vec<(String, String)>,
}

/// What is wrong with a body.
pub(super) struct Findings {
    pub(super) errors: Errors,
    /// The descriptors among these that do not exist, and their values.
    pub(super) missing: Vec<(String, String)>,
}

impl<'a> Validator<'a> {
    pub(super) fn new(definitions: &'a Definitions, descriptors: Option<Descriptors<'a>>) -> Self {
        Self {
            definitions,
            descriptors,
            errors: Errors::new(),
            missing: Vec::new(),
        }
    }

    /// What is wrong with the body; empty where nothing is.
    pub(super) fn validate(mut self, endpoint: &str, body: &Map<String, Value>) -> Findings {
        match self.definitions.schema(endpoint) {
            Some(schema) => self.object(schema, body, "$"),
            None => {
                for (name, value) in self.definitions.identity(endpoint, body) {
                    if value.is_null() {
                        self.wrong(&format!("$.{name}"), required(&name));
                    }
                }
            }
        }
        Findings {
            errors: self.errors,
            missing: self.missing,
        }
    }

    fn wrong(&mut self, path: &str, text: String) {
        self.errors.push((path.to_owned(), vec![text]));
    }

    fn object(&mut self, schema: &Value, body: &Map<String, Value>, path: &str) {
        for name in required_of(schema) {
            if body.get(name).is_none_or(Value::is_null) {
                self.wrong(&format!("{path}.{name}"), required(name));
            }
        }
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            let server_own =
                path == "$" && matches!(name.as_str(), "id" | "_etag" | "_lastModifiedDate");
            if let Some(value) = body
                .get(name)
                .filter(|value| !value.is_null() && !server_own)
            {
                self.member(schema, value, name, &format!("{path}.{name}"));
            }
        }
    }

    fn member(&mut self, schema: &Value, value: &Value, name: &str, path: &str) {
        let schema = self.definitions.resolve(schema);
        match (schema["type"].as_str().unwrap_or_default(), value) {
            ("object", Value::Object(body)) => self.object(schema, body, path),
            ("array", Value::Array(list)) => {
                for (index, value) in list.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    self.member(&schema["items"], value, name, &path);
                }
                self.twins(self.definitions.resolve(&schema["items"]), list, name, path);
            }
            _ => {
                if let Some(text) = scalar(schema, value, name) {
                    self.wrong(path, text);
                } else if name.ends_with("Descriptor")
                    && let (Some(known), Some(text)) = (&self.descriptors, value.as_str())
                    && !known.exists(name, text)
                {
                    let value = text.to_owned();
                    let text = format!("{} value '{value}' does not exist.", pascal(name));
                    self.missing.push((pascal(name), value));
                    self.wrong(path, text);
                }
            }
        }
    }

    /// Elements of a list with the same key: scalars that identify, and references that are needed.
    fn twins(&mut self, element: &Value, list: &[Value], name: &str, path: &str) {
        if self.descriptors.is_none() {
            return;
        }
        let members = element["properties"].as_object().into_iter().flatten();
        let identifying: Vec<&String> = members
            .filter(|(name, schema)| {
                let needed = || required_of(element).any(|own| own == name.as_str());
                schema["x-Ed-Fi-isIdentity"] == true || is_reference(name) && needed()
            })
            .map(|(name, _)| name)
            .collect();
        let mut seen = Vec::new();
        for (index, value) in list.iter().enumerate() {
            let key = key_text(identifying.iter().map(|name| value.get(name.as_str())));
            if !identifying.is_empty() && seen.contains(&key) {
                let text = format!(
                    "The item number {} of {} has the same identifying values as another item earlier in the list.",
                    index + 1,
                    pascal(name)
                );
                self.wrong(path, text);
            }
            seen.push(key);
        }
    }
}

fn required(name: &str) -> String {
    format!("{} is required.", pascal(name))
}

fn required_of(schema: &Value) -> impl Iterator<Item = &str> {
    let names = schema["required"].as_array().into_iter().flatten();
    names.filter_map(Value::as_str)
}

/// What is wrong with a value that has no members.
fn scalar(schema: &Value, value: &Value, name: &str) -> Option<String> {
    let kind = schema["type"].as_str().unwrap_or_default();
    let format = schema["format"].as_str().unwrap_or_default();
    match (kind, value) {
        ("string", Value::String(text)) => {
            let fits = match format {
                "date" => is_date(text),
                "date-time" => is_date_time(text),
                _ => true,
            };
            let length = text.chars().count() as u64;
            let most = schema["maxLength"].as_u64().unwrap_or(u64::MAX);
            let least = schema["minLength"].as_u64().unwrap_or(0);
            let name = pascal(name);
            if !fits {
                Some(format!("Could not convert string to {format}: {text}."))
            } else if length > most {
                Some(format!("{name} must be at most {most} characters long."))
            } else if length < least {
                Some(format!("{name} must be at least {least} characters long."))
            } else {
                None
            }
        }
        ("integer", Value::Number(number)) => {
            let fits = number
                .as_i64()
                .is_some_and(|n| format != "int32" || i32::try_from(n).is_ok());
            let kind = if format == "int32" { "Int32" } else { "Int64" };
            (!fits).then(|| format!("The value {number} is not a valid {kind}."))
        }
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) | ("", _) => None,
        (kind, value) => Some(format!(
            "A value of type {kind} is expected, not {}.",
            type_of(value)
        )),
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// `YYYY-MM-DD`, of a month and a day that exist.
fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digits =
        |range: std::ops::Range<usize>| text.get(range).and_then(|part| part.parse::<u32>().ok());
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return false;
    }
    let (Some(year), Some(month), Some(day)) = (digits(0..4), digits(5..7), digits(8..10)) else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        1..=12 => 31,
        _ => return false,
    };
    (1..=days).contains(&day)
}

/// A date, or a date and a time with or without an offset: vendors send both.
fn is_date_time(text: &str) -> bool {
    let (Some(date), Some(rest)) = (text.get(..10), text.get(10..)) else {
        return false;
    };
    if !is_date(date) {
        return false;
    }
    let Some(time) = rest.strip_prefix(['T', 't', ' ']) else {
        return rest.is_empty();
    };
    let clock = time.get(..8).unwrap_or_default().as_bytes();
    let below = |at: usize, most: u8| {
        clock[at].is_ascii_digit()
            && clock[at + 1].is_ascii_digit()
            && (clock[at] - b'0') * 10 + clock[at + 1] - b'0' <= most
    };
    if clock.len() != 8 || clock[2] != b':' || clock[5] != b':' {
        return false;
    }
    let rest = &time[8..];
    let offset = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|letter: char| letter.is_ascii_digit()),
        None => rest,
    };
    below(0, 23)
        && below(3, 59)
        && below(6, 59)
        && (offset.is_empty()
            || offset.eq_ignore_ascii_case("z")
            || (offset.starts_with(['+', '-']) && matches!(offset.len(), 3 | 5 | 6)))
}

#[cfg(test)]
mod tests {
    use super::{is_date, is_date_time};

    #[test]
    fn dates_and_times() {
        assert!(is_date("2024-02-29") && !is_date("2023-02-29") && !is_date("2024-2-29"));
        for text in [
            "2024-02-29",
            "2024-02-29T10:11:12Z",
            "2024-02-29T10:11:12.123+01:00",
            "2024-02-29T10:11:12",
        ] {
            assert!(is_date_time(text), "{text}");
        }
        for text in [
            "yesterday",
            "2024-02-29T25:00:00Z",
            "2024-02-29X",
            "2024-02-29T10:11:12 o'clock",
        ] {
            assert!(!is_date_time(text), "{text}");
        }
    }
}
