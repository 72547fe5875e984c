//! What a single value must be: type, length, range, pattern, format.

use regex::Regex;
use serde_json::Value;

use super::json::Json;

/// No integer of 64 bits is so large.
const BEYOND: f64 = 9_223_372_036_854_775_808.0;

/// The rules of a schema without members.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Scalar {
    kind: Kind,
    format: Format,
    min_length: Option<u64>,
    max_length: Option<u64>,
    pattern: Option<Pattern>,
    minimum: Option<Bound>,
    maximum: Option<Bound>,
    /// The values that there are.
    values: Option<Vec<Value>>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Kind {
    #[default]
    Any,
    String,
    Integer,
    Number,
    Boolean,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Format {
    #[default]
    None,
    Date,
    DateTime,
    Time,
    Int32,
}

#[derive(Debug, PartialEq)]
struct Bound {
    value: f64,
    /// Whether the bound itself is out.
    exclusive: bool,
}

/// A pattern, compared by its text.
#[derive(Debug)]
struct Pattern(Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Scalar {
    /// The rules of a schema of this type.
    pub(super) fn new(kind: Option<&str>, schema: &Value) -> Self {
        let length = |name: &str| schema[name].as_u64();
        let bound = |name: &str, exclusive: &str| match &schema[exclusive] {
            // OpenAPI 3.1 has the bound itself here.
            Value::Number(number) => Some((number.as_f64()?, true)),
            flag => Some((schema[name].as_f64()?, *flag == true)),
        };
        let bound = |name, exclusive| {
            let (value, exclusive) = bound(name, exclusive)?;
            Some(Bound { value, exclusive })
        };
        let pattern = schema["pattern"].as_str();
        Self {
            kind: match kind {
                Some("string") => Kind::String,
                Some("integer") => Kind::Integer,
                Some("number") => Kind::Number,
                Some("boolean") => Kind::Boolean,
                _ => Kind::Any,
            },
            format: match schema["format"].as_str() {
                Some("date") => Format::Date,
                Some("date-time") => Format::DateTime,
                Some("time") => Format::Time,
                Some("int32") => Format::Int32,
                _ => Format::None,
            },
            min_length: length("minLength").filter(|least| *least > 0),
            max_length: length("maxLength"),
            // What this dialect of patterns does not know, the server alone can tell.
            pattern: pattern.and_then(|text| Regex::new(text).ok()).map(Pattern),
            minimum: bound("minimum", "exclusiveMinimum"),
            maximum: bound("maximum", "exclusiveMaximum"),
            values: schema["enum"].as_array().cloned(),
        }
    }

    pub(super) fn is_text(&self) -> bool {
        self.kind == Kind::String && self.format == Format::None
    }

    /// What is wrong with a value, if anything.
    pub(super) fn wrong(&self, value: &Json<'_>) -> Option<String> {
        let wrong = match (self.kind, value) {
            (Kind::Any, _) => None,
            (Kind::String, Json::Text(text)) => self.wrong_text(text),
            (Kind::Integer, Json::Int(number)) => self.wrong_integer(*number),
            (Kind::Number, Json::Int(number)) => self.out_of_range(*number as f64),
            (Kind::Number, Json::Float(number)) => self.out_of_range(*number),
            (Kind::Boolean, Json::Bool(_)) => None,
            (Kind::Integer, Json::Float(number)) if number.abs() >= BEYOND => {
                Some("beyond the integers of 64 bits".into())
            }
            (Kind::Integer, Json::Float(number)) if number.fract() == 0.0 => {
                Some("must be an integer, written without a fraction or an exponent".into())
            }
            (kind, value) => Some(format!("must be {}, not {}", kind.name(), value.kind())),
        };
        wrong.or_else(|| self.not_listed(value))
    }

    fn wrong_text(&self, text: &str) -> Option<String> {
        let (is_format, name) = match self.format {
            Format::Date => (is_date(text), "a date such as 2026-08-31"),
            Format::DateTime => (
                is_date_time(text),
                "a date and time such as 2026-08-31T08:30:00Z",
            ),
            Format::Time => (is_time(text), "a time such as 08:30:00"),
            Format::None | Format::Int32 => (true, ""),
        };
        if !is_format {
            return Some(format!("must be {name}"));
        }
        if self.min_length.is_some() || self.max_length.is_some() {
            // Bytes are at least as many as characters.
            let most = self.max_length.unwrap_or(u64::MAX);
            let least = self.min_length.unwrap_or(0);
            if text.len() as u64 > most || (text.len() as u64) < least.saturating_mul(4) {
                let length = text.chars().count() as u64;
                if length > most {
                    return Some(format!("at most {most} characters, not {length}"));
                }
                if length < least {
                    return Some(format!("at least {least} characters, not {length}"));
                }
            }
        }
        let pattern = self.pattern.as_ref()?;
        (!pattern.0.is_match(text)).then(|| format!("must match the pattern {}", pattern.0))
    }

    fn wrong_integer(&self, number: i64) -> Option<String> {
        if self.format == Format::Int32 && i32::try_from(number).is_err() {
            return Some("beyond the integers of 32 bits".into());
        }
        self.out_of_range(number as f64)
    }

    fn out_of_range(&self, number: f64) -> Option<String> {
        if let Some(Bound { value, exclusive }) = self.minimum
            && (number < value || exclusive && number == value)
        {
            let least = if exclusive { "more than" } else { "at least" };
            return Some(format!("must be {least} {value}"));
        }
        if let Some(Bound { value, exclusive }) = self.maximum
            && (number > value || exclusive && number == value)
        {
            let most = if exclusive { "less than" } else { "at most" };
            return Some(format!("must be {most} {value}"));
        }
        None
    }

    fn not_listed(&self, value: &Json<'_>) -> Option<String> {
        let values = self.values.as_ref()?;
        let is = |listed: &Value| match (listed, value) {
            (Value::String(listed), Json::Text(text)) => listed == text,
            (Value::Bool(listed), Json::Bool(own)) => listed == own,
            (Value::Number(listed), Json::Int(own)) => listed.as_i64() == Some(*own),
            (Value::Number(listed), Json::Float(own)) => listed.as_f64() == Some(*own),
            _ => false,
        };
        if values.iter().any(is) {
            return None;
        }
        let all: Vec<String> = values.iter().take(20).map(Value::to_string).collect();
        Some(format!("must be one of {}", all.join(", ")))
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Any => "a single value",
            Self::String => "a string",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Boolean => "a boolean",
        }
    }
}

/// `YYYY-MM-DD`, of a month and a day that exist.
pub(super) fn is_date(text: &str) -> bool {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text.as_bytes() else {
        return false;
    };
    let digits = [y1, y2, y3, y4, m1, m2, d1, d2];
    if !digits.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let number = |digits: &[u8]| digits.iter().fold(0, |n, d| n * 10 + u32::from(d - b'0'));
    let (year, month, day) = (
        number(&[y1, y2, y3, y4]),
        number(&[m1, m2]),
        number(&[d1, d2]),
    );
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u32::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    year > 0 && (1..=days).contains(&day)
}

/// `HH:MM:SS`, with decimals and an offset, or without.
fn is_time(text: &str) -> bool {
    let (clock, rest) = match text.split_at_checked(8) {
        Some(parts) => parts,
        None => return false,
    };
    let &[h1, h2, b':', m1, m2, b':', s1, s2] = clock.as_bytes() else {
        return false;
    };
    let below = |tens: u8, ones: u8, limit: u8| {
        tens.is_ascii_digit() && ones.is_ascii_digit() && (tens - b'0') * 10 + (ones - b'0') < limit
    };
    if !(below(h1, h2, 24) && below(m1, m2, 60) && below(s1, s2, 60)) {
        return false;
    }
    let zone = match rest.strip_prefix('.') {
        Some(decimals) => {
            let zone = decimals.trim_start_matches(|letter: char| letter.is_ascii_digit());
            if zone.len() == decimals.len() {
                return false;
            }
            zone
        }
        None => rest,
    };
    let is_offset = |zone: &str| match zone.as_bytes() {
        [b'+' | b'-', h1, h2] => below(*h1, *h2, 24),
        [b'+' | b'-', h1, h2, m1, m2] | [b'+' | b'-', h1, h2, b':', m1, m2] => {
            below(*h1, *h2, 24) && below(*m1, *m2, 60)
        }
        _ => false,
    };
    zone.is_empty() || zone.eq_ignore_ascii_case("z") || is_offset(zone)
}

/// A date and a time; or a date alone, which vendors send and ODSs take.
fn is_date_time(text: &str) -> bool {
    let Some((date, rest)) = text.split_at_checked(10) else {
        return false;
    };
    let is_rest = match rest.strip_prefix(['T', 't', ' ']) {
        Some(time) => is_time(time) || time.len() == 5 && is_time(&format!("{time}:00")),
        None => rest.is_empty(),
    };
    is_date(date) && is_rest
}

/// A date, or a date and time, as a point in time: days and nanoseconds. What has no offset is UTC.
pub(super) fn instant(text: &str) -> Option<(i64, i64)> {
    const DAY: i64 = 86_400_000_000_000;
    let (date, rest) = text.split_at_checked(10)?;
    if !is_date_time(text) {
        return None;
    }
    let number = |text: &str| text.parse::<i64>().ok();
    let (year, month, day) = (
        number(&date[..4])?,
        number(&date[5..7])?,
        number(&date[8..])?,
    );
    // The days since 0000-03-01 (Howard Hinnant, "days_from_civil").
    let (year, month) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
    let Some(time) = rest.get(1..) else {
        return Some((days, 0));
    };
    let seconds = time.get(6..8).map_or(Some(0), number)?;
    let minutes = 60 * number(&time[..2])? + number(&time[3..5])?;
    let rest = time.get(8..).unwrap_or_default();
    let fraction = rest.strip_prefix('.').unwrap_or_default();
    let digits = fraction.len()
        - fraction
            .trim_start_matches(|c: char| c.is_ascii_digit())
            .len();
    let nanos = format!("{:0<9}", &fraction[..digits.min(9)]);
    let zone = match digits {
        0 => rest,
        digits => &fraction[digits..],
    };
    let offset = match zone.split_at_checked(1) {
        Some((sign @ ("+" | "-"), zone)) => {
            let minutes = zone
                .get(zone.len().saturating_sub(2)..)
                .filter(|_| zone.len() > 2);
            let minutes = minutes.map_or(Some(0), number)?;
            let ahead = 60 * number(zone.get(..2)?)? + minutes;
            if sign == "-" { -ahead } else { ahead }
        }
        _ => 0,
    };
    let nanos = (60 * (minutes - offset) + seconds) * 1_000_000_000 + number(&nanos)?;
    Some((days + nanos.div_euclid(DAY), nanos.rem_euclid(DAY)))
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use serde_json::json;

    use super::*;

    #[test]
    fn dates_and_times() {
        for text in ["2024-02-29", "0001-01-01", "2000-12-31"] {
            assert!(is_date(text), "{text}");
        }
        for text in [
            "2023-02-29",
            "2024-2-29",
            "2024-13-01",
            "2024-01-00",
            "20240101",
            "",
            "2024-01-01T00:00:00",
            "２０２４-01-01",
        ] {
            assert!(!is_date(text), "{text}");
        }
        for text in [
            "2024-02-29",
            "2024-02-29T10:11:12Z",
            "2024-02-29T10:11:12.1234567+01:00",
            "2024-02-29 10:11:12",
            "2024-02-29T10:11",
        ] {
            assert!(is_date_time(text), "{text}");
        }
        for text in ["2024-02-29T24:00:00", "2024-02-29T10:11:12.", "2024-02-29X"] {
            assert!(!is_date_time(text), "{text}");
        }
    }

    #[test]
    fn points_in_time() {
        for (one, two) in [
            ("2024-03-01", "2024-03-01T00:00:00Z"),
            ("2024-03-01T00:30:00+01:00", "2024-02-29T23:30:00"),
            ("2024-03-01T10:00:00.5000000Z", "2024-03-01 10:00:00.5"),
            ("2023-12-31T23:00:00-0100", "2024-01-01T00:00"),
        ] {
            assert_eq!(instant(one), instant(two), "{one} {two}");
            assert!(instant(one).is_some());
        }
        assert_ne!(instant("2024-03-01"), instant("2024-02-29"));
        assert_ne!(instant("2024-03-01T00:00:00.1"), instant("2024-03-01"));
        assert_eq!(instant("2024"), None);
    }

    #[test]
    fn values_and_their_rules() {
        let text = |text: &'static str| Json::Text(Cow::Borrowed(text));
        for (kind, schema, value, wrong) in [
            ("string", json!({"maxLength": 3}), text("äöü"), ""),
            ("string", json!({"maxLength": 3}), text("äöüß"), "at most 3"),
            ("string", json!({"minLength": 2}), text("ä"), "at least 2"),
            (
                "string",
                json!({}),
                Json::Int(3),
                "a string, not an integer",
            ),
            (
                "string",
                json!({"pattern": "^[a-z]+$"}),
                text("A"),
                "pattern",
            ),
            // A pattern that this dialect does not have is no rule.
            ("string", json!({"pattern": "(?=x)y"}), text("A"), ""),
            (
                "string",
                json!({"enum": ["a", "b"]}),
                text("c"),
                "one of \"a\", \"b\"",
            ),
            ("string", json!({"format": "time"}), text("8:30"), "a time"),
            (
                "integer",
                json!({"format": "int32"}),
                Json::Int(1 << 31),
                "32 bits",
            ),
            ("integer", json!({}), Json::Int(1 << 31), ""),
            ("integer", json!({}), Json::Float(1.0), "without a fraction"),
            ("integer", json!({}), text("1"), "an integer, not a string"),
            (
                "number",
                json!({"minimum": 0.5}),
                Json::Float(0.4),
                "at least 0.5",
            ),
            ("number", json!({"minimum": 0.5}), Json::Float(0.5), ""),
            (
                "number",
                json!({"maximum": 1, "exclusiveMaximum": true}),
                Json::Int(1),
                "less than 1",
            ),
            (
                "number",
                json!({"exclusiveMinimum": 1}),
                Json::Int(1),
                "more than 1",
            ),
            (
                "boolean",
                json!({}),
                text("true"),
                "a boolean, not a string",
            ),
        ] {
            let found = Scalar::new(Some(kind), &schema).wrong(&value);
            match wrong {
                "" => assert_eq!(found, None, "{schema} {value:?}"),
                wrong => assert!(
                    found.as_ref().is_some_and(|f| f.contains(wrong)),
                    "{found:?}"
                ),
            }
        }
    }
}
