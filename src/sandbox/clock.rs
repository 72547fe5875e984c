//! Moments as Ed-Fi writes them: ISO 8601 in UTC, to the second.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds from 1970 to now.
pub(super) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// `2024-08-15T13:45:12Z` for seconds since 1970.
pub(super) fn date_time(seconds: u64) -> String {
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!(
        "{}T{hour:02}:{minute:02}:{second:02}Z",
        date(seconds / 86_400)
    )
}

/// `2024-08-15` for days since 1970 (Howard Hinnant's civil-from-days).
pub(super) fn date(days: u64) -> String {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::{date, date_time};

    #[test]
    fn known_days() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(11_016), "2000-02-29");
        assert_eq!(date_time(1_722_470_400), "2024-08-01T00:00:00Z");
        assert_eq!(date_time(1_735_689_599), "2024-12-31T23:59:59Z");
    }
}
