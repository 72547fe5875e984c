//! Decimal numbers by their text, exactly.

use super::number;

/// The value of a JSON number, or of a text that looks like one, in units of `10^-scale`; `None`
/// where that is not exact or has more than `precision` digits.
pub(super) fn parse(text: &str, precision: usize, scale: usize) -> Option<i128> {
    let Parts {
        negative,
        digits,
        exponent,
    } = Parts::new(text)?;
    let zeros = usize::try_from(exponent + scale as i64).ok()?;
    if digits.is_empty() {
        return Some(0);
    }
    if digits.len() + zeros > precision {
        return None;
    }
    let value = digits.bytes().try_fold(0_i128, |value, digit| {
        value.checked_mul(10)?.checked_add(i128::from(digit - b'0'))
    })?;
    let value = value.checked_mul(10_i128.checked_pow(zeros as u32)?)?;
    Some(if negative { -value } else { value })
}

/// Whether two numbers are the same, digit by digit.
pub(super) fn equal(left: &str, right: &str) -> bool {
    Parts::new(left) == Parts::new(right)
}

/// A number without the zeros at either end: digits times a power of ten.
#[derive(PartialEq)]
struct Parts {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Parts {
    fn new(text: &str) -> Option<Self> {
        number::parse(text)?;
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(unsigned) => (true, unsigned),
            None => (false, text),
        };
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            // An exponent that is no 32-bit number is beyond everything this is used for.
            Some((mantissa, exponent)) => (mantissa, i64::from(exponent.parse::<i32>().ok()?)),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = [whole, fraction].concat();
        let digits = all.trim_end_matches('0');
        if digits.is_empty() {
            return Some(Self {
                negative: false,
                digits: String::new(),
                exponent: 0,
            });
        }
        let cut = (all.len() - digits.len()) as i64;
        Some(Self {
            negative,
            digits: digits.trim_start_matches('0').to_owned(),
            exponent: exponent - fraction.len() as i64 + cut,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{equal, parse};

    #[test]
    fn a_decimal_fits_exactly_or_not_at_all() {
        for (text, value) in [
            ("0", Some(0)),
            ("0.000", Some(0)),
            ("0e99", Some(0)),
            ("1", Some(100)),
            ("-1.5", Some(-150)),
            ("1.25", Some(125)),
            ("1.250", Some(125)),
            ("1.255", None),
            ("999.99", Some(99_999)),
            ("1000", None),
            ("1e2", Some(10_000)),
            ("12500e-4", Some(125)),
            ("1e3", None),
            ("1e-2", Some(1)),
            ("1e-3", None),
            ("1e99999999999", None),
            ("", None),
            (" 1", None),
            ("1,5", None),
            ("+1", None),
            ("NaN", None),
        ] {
            assert_eq!(parse(text, 5, 2), value, "{text}");
        }
        let most = "99999999999999999999999999999999999999";
        assert_eq!(parse(most, 38, 0), most.parse().ok());
    }

    #[test]
    fn equal_is_by_value() {
        assert!(equal("1.50", "15e-1"));
        assert!(equal("0.0", "-0"));
        assert!(equal("100", "1e2"));
        assert!(!equal("0.1", "0.10000000000000001"));
        assert!(!equal("1", "-1"));
    }
}
