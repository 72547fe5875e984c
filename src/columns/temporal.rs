//! Dates and times as JSON texts write them (ISO 8601, RFC 3339), strictly.

const DAY: i64 = 86_400;

/// A date, `YYYY-MM-DD`, as days since 1970-01-01.
pub(crate) fn date(text: &str) -> Option<i32> {
    match split_date(text.as_bytes())? {
        (days, []) => Some(days),
        _ => None,
    }
}

/// A time of day, `HH:MM:SS` and up to nine decimals, as nanoseconds since midnight.
pub(super) fn time(text: &str) -> Option<i64> {
    let text = text.as_bytes();
    if text.len() < "HH:MM:SS".len() {
        return None;
    }
    match split_time(text)? {
        (seconds, nanoseconds, []) => Some(seconds * 1_000_000_000 + nanoseconds),
        _ => None,
    }
}

/// A date-time, counted from 1970-01-01 UTC in parts of a second, of which there are `per_second`.
///
/// A date, `T` and a time with `Z` or an offset; without one it is UTC, and a date alone is its
/// midnight. Decimals that a part does not hold are cut off.
pub(super) fn datetime(text: &str, per_second: i64) -> Option<i64> {
    let (days, rest) = split_date(text.as_bytes())?;
    let midnight = i64::from(days) * DAY;
    let [b'T' | b't' | b' ', rest @ ..] = rest else {
        return match rest {
            [] => midnight.checked_mul(per_second),
            _ => None,
        };
    };
    let (seconds, nanoseconds, rest) = split_time(rest)?;
    let seconds = midnight + seconds - offset(rest)?;
    let part = 1_000_000_000 / per_second;
    seconds
        .checked_mul(per_second)?
        .checked_add(nanoseconds / part)
}

/// A date-time without an offset, in UTC; `None` where the text is none, or of no year that counts.
pub(crate) fn in_utc(text: &str) -> Option<String> {
    let nanoseconds = 1_000_000_000;
    Some(format_datetime(datetime(text, nanoseconds)?, nanoseconds))
}

/// Splits a date off: days since 1970-01-01, and what follows.
fn split_date(text: &[u8]) -> Option<(i32, &[u8])> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, rest @ ..] = text else {
        return None;
    };
    let year = number(&[*y1, *y2, *y3, *y4])?;
    let month = number(&[*m1, *m2])?;
    let day = number(&[*d1, *d2])?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    // Counted from 0000-03-01, so that the leap day is the last one of its year.
    let year = if month > 2 { year } else { year - 1 };
    let month = (month + 9) % 12;
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (153 * month + 2) / 5
        + day
        - 1;
    Some(((days - 719_468) as i32, rest))
}

/// Splits `HH:MM[:SS[.f]]` off: seconds, nanoseconds, and what follows.
fn split_time(text: &[u8]) -> Option<(i64, i64, &[u8])> {
    let [h1, h2, b':', m1, m2, rest @ ..] = text else {
        return None;
    };
    let (hours, minutes) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
    let (seconds, rest) = match rest {
        [b':', s1, s2, rest @ ..] => (number(&[*s1, *s2])?, rest),
        _ => (0, rest),
    };
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let seconds = hours * 3600 + minutes * 60 + seconds;
    let [b'.', rest @ ..] = rest else {
        return Some((seconds, 0, rest));
    };
    let digits = rest
        .iter()
        .take_while(|digit| digit.is_ascii_digit())
        .count();
    let (decimals, rest) = rest.split_at(digits);
    let (decimals, beyond) = decimals.split_at(digits.min(9));
    if digits == 0 || beyond.iter().any(|&digit| digit != b'0') {
        return None;
    }
    let nanoseconds = number(decimals)? * 10_i64.pow(9 - decimals.len() as u32);
    Some((seconds, nanoseconds, rest))
}

/// The seconds by which a zone is ahead of UTC.
fn offset(text: &[u8]) -> Option<i64> {
    let (sign, hours, minutes) = match text {
        [] | [b'Z' | b'z'] => return Some(0),
        [sign, h1, h2] => (sign, number(&[*h1, *h2])?, 0),
        [sign, h1, h2, m1, m2] | [sign, h1, h2, b':', m1, m2] => {
            (sign, number(&[*h1, *h2])?, number(&[*m1, *m2])?)
        }
        _ => return None,
    };
    if hours > 23 || minutes > 59 {
        return None;
    }
    match sign {
        b'+' => Some(hours * 3600 + minutes * 60),
        b'-' => Some(-(hours * 3600 + minutes * 60)),
        _ => None,
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| i64::from(digit - b'0'))?;
        Some(number * 10 + digit)
    })
}

/// Writes a date of so many days since 1970-01-01.
pub(super) fn format_date(days: i64) -> String {
    // As in `split_date`: years begin in March, eras are 400 of them.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year + next)
}

/// Writes a time of so many nanoseconds since midnight; decimals in groups of three, if any.
pub(super) fn format_time(nanoseconds: i64) -> String {
    let (seconds, nanoseconds) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let whole = format!("{hours:02}:{minutes:02}:{seconds:02}");
    if nanoseconds == 0 {
        whole
    } else if nanoseconds % 1_000_000 == 0 {
        format!("{whole}.{:03}", nanoseconds / 1_000_000)
    } else if nanoseconds % 1_000 == 0 {
        format!("{whole}.{:06}", nanoseconds / 1_000)
    } else {
        format!("{whole}.{nanoseconds:09}")
    }
}

/// Writes a date-time of so many parts of a second since 1970-01-01 UTC.
pub(super) fn format_datetime(parts: i64, per_second: i64) -> String {
    let day = DAY * per_second;
    let (days, parts) = (parts.div_euclid(day), parts.rem_euclid(day));
    let nanoseconds = parts * (1_000_000_000 / per_second);
    format!("{}T{}", format_date(days), format_time(nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::{date, datetime, format_date, format_datetime, format_time, time};

    #[test]
    fn what_is_written_is_read_back() {
        for days in (-719_528..2_932_897).step_by(17) {
            assert_eq!(date(&format_date(days)), Some(days as i32), "{days}");
        }
        for nanoseconds in [
            0,
            1,
            1_000,
            1_000_000,
            86_399_999_999_999,
            30_600_500_000_000,
        ] {
            assert_eq!(time(&format_time(nanoseconds)), Some(nanoseconds));
        }
        for (parts, text) in [
            (0, "1970-01-01T00:00:00"),
            (-1, "1969-12-31T23:59:59.999999"),
            (1_638_374_400_500_000, "2021-12-01T16:00:00.500"),
        ] {
            assert_eq!(format_datetime(parts, 1_000_000), text);
            assert_eq!(datetime(text, 1_000_000), Some(parts));
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (text, days) in [
            ("1970-01-01", Some(0)),
            ("1969-12-31", Some(-1)),
            ("2000-02-29", Some(11_016)),
            ("2024-02-29", Some(19_782)),
            ("0001-01-01", Some(-719_162)),
            ("0000-01-01", Some(-719_528)),
            ("9999-12-31", Some(2_932_896)),
            ("1900-02-29", None),
            ("2023-02-29", None),
            ("2023-13-01", None),
            ("2023-00-01", None),
            ("2023-04-31", None),
            ("2023-04-00", None),
            ("2023-4-1", None),
            ("20230401", None),
            ("2023-04-01T00:00:00", None),
            ("+2023-04-01", None),
            ("", None),
        ] {
            assert_eq!(date(text), days, "{text}");
        }
    }

    #[test]
    fn times_need_seconds_and_stay_within_a_day() {
        for (text, nanoseconds) in [
            ("00:00:00", Some(0)),
            ("08:30:00", Some(30_600_000_000_000)),
            ("23:59:59.999999999", Some(86_399_999_999_999)),
            ("08:30:00.5", Some(30_600_500_000_000)),
            ("08:30:00.5000000000", Some(30_600_500_000_000)),
            ("08:30:00.", None),
            ("08:30", None),
            ("24:00:00", None),
            ("08:60:00", None),
            ("08:30:60", None),
            ("08:30:00Z", None),
            ("8:30:00", None),
            ("08:30:00.0000000001", None),
        ] {
            assert_eq!(time(text), nanoseconds, "{text}");
        }
    }

    #[test]
    fn datetimes_are_utc() {
        for (text, microseconds) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1970-01-01", Some(0)),
            ("1970-01-02", Some(86_400_000_000)),
            ("1970-01-01T00:00:00", Some(0)),
            ("1970-01-01T00:00:00.000001Z", Some(1)),
            ("1969-12-31T23:59:59.999999Z", Some(-1)),
            ("1970-01-01T00:00:00.0000010Z", Some(1)),
            ("1970-01-01T00:00:00.0000019Z", Some(1)),
            ("1970-01-01T06:00:00+06:00", Some(0)),
            ("1969-12-31T18:00:00-0600", Some(0)),
            ("1969-12-31T18:00:00-06", Some(0)),
            ("1970-01-01 00:00Z", Some(0)),
            ("2021-12-01T16:00:00Z", Some(1_638_374_400_000_000)),
            ("1970-01-01T", None),
            ("1970-01-01T00:00:00ZZ", None),
            ("1970-01-01T00:00:00+24:00", None),
            ("1970-01-01T00:00:00*01:00", None),
            ("1970-01-01X00:00:00", None),
        ] {
            assert_eq!(datetime(text, 1_000_000), microseconds, "{text}");
        }
        assert_eq!(datetime("2300-01-01T00:00:00Z", 1_000_000_000), None);
        assert_eq!(datetime("1970-01-01T00:00:00.5Z", 1_000), Some(500));
        assert_eq!(datetime("1970-01-01T00:00:00.5009Z", 1_000), Some(500));
    }
}
