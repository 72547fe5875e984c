//! One number of a JSON text: is it one, and which type holds it without loss.

/// The largest magnitude up to which every integer is exact as a 64-bit float.
pub(super) const EXACT: u64 = 1 << 53;
/// The same for a 32-bit float.
pub(super) const EXACT_SINGLE: u64 = 1 << 24;

/// A JSON number, by the narrowest type that holds it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    /// Digits only, within 64 bits.
    Integer(i64),
    /// With a fraction or an exponent.
    Float(f64),
    /// An integer beyond 64 bits, or a float beyond the range of one: kept as its text.
    Text,
}

/// Reads a number; `None` if the text is none by the grammar of RFC 8259.
#[inline]
pub(super) fn parse(text: &str) -> Option<Number> {
    let bytes = text.as_bytes();
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, bytes),
    };
    // The common case in one pass: a short integer.
    if let 1..=18 = digits.len() {
        let mut value = 0_i64;
        let mut plain = digits[0] != b'0' || digits.len() == 1;
        for &digit in digits {
            let digit = digit.wrapping_sub(b'0');
            plain &= digit <= 9;
            value = value.wrapping_mul(10).wrapping_add(i64::from(digit));
        }
        if plain {
            return Some(Number::Integer(if negative { -value } else { value }));
        }
    }
    match kind(digits)? {
        Kind::Integer => Some(match text.parse() {
            Ok(value) => Number::Integer(value),
            Err(_) => Number::Text,
        }),
        Kind::Float => Some(match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Number::Float(value),
            _ => Number::Text,
        }),
    }
}

enum Kind {
    Integer,
    Float,
}

/// Checks `int [frac] [exp]`, the part of a number after its sign.
fn kind(text: &[u8]) -> Option<Kind> {
    fn digits(text: &[u8]) -> (&[u8], &[u8]) {
        let end = text.iter().position(|b| !b.is_ascii_digit());
        text.split_at(end.unwrap_or(text.len()))
    }
    let (whole, mut rest) = digits(text);
    if whole.is_empty() || (whole.len() > 1 && whole[0] == b'0') {
        return None;
    }
    if rest.is_empty() {
        return Some(Kind::Integer);
    }
    if let [b'.', fraction @ ..] = rest {
        let (fraction, after) = digits(fraction);
        if fraction.is_empty() {
            return None;
        }
        rest = after;
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = match exponent {
            [b'+' | b'-', unsigned @ ..] => unsigned,
            _ => exponent,
        };
        let (exponent, after) = digits(exponent);
        if exponent.is_empty() {
            return None;
        }
        rest = after;
    }
    rest.is_empty().then_some(Kind::Float)
}

#[cfg(test)]
mod tests {
    use super::{Number, parse};

    #[test]
    fn the_grammar_is_that_of_json() {
        for text in [
            "", "-", "+1", "01", "-01", "00", "1.", ".5", "-.5", "1e", "1e+", "1.e3", "1-2",
            "1e5.5", "--1", "1.2.3", "0x10", "1e1e1",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_number_keeps_its_value() {
        use Number::{Float, Integer, Text};
        for (text, number) in [
            ("0", Integer(0)),
            ("-0", Integer(0)),
            ("7", Integer(7)),
            ("-10", Integer(-10)),
            ("999999999999999999", Integer(999_999_999_999_999_999)),
            ("1000000000000000000", Integer(1_000_000_000_000_000_000)),
            ("9223372036854775807", Integer(i64::MAX)),
            ("-9223372036854775808", Integer(i64::MIN)),
            ("9223372036854775808", Text),
            ("-9223372036854775809", Text),
            ("1.0", Float(1.0)),
            ("-0.0", Float(-0.0)),
            ("1e3", Float(1000.0)),
            ("1E-3", Float(0.001)),
            ("0.1", Float(0.1)),
            ("0e0", Float(0.0)),
            ("1e308", Float(1e308)),
            ("1e309", Text),
            ("-1e309", Text),
        ] {
            assert_eq!(parse(text), Some(number), "{text}");
        }
    }
}
