//! What is sent again by itself, and when: one table.

use std::time::{Duration, Instant, SystemTime};

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// The pause before the first repetition; each later one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// How often and how long a client tries, and after what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RetryPolicy {
    /// Tries after the first.
    pub(crate) max_retries: u32,
    /// The longest pause; a server that asks for a longer one is not waited for.
    pub(crate) max_wait: Duration,
    pub(crate) repeats: Repeats,
    /// The refusals that the caller repeats, by rules of its own.
    pub(crate) callers: Callers,
}

/// Which refusals are left to a caller's `retry_statuses`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Callers {
    too_many_requests: bool,
    unavailable: bool,
}

/// What came of a try that was not answered for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// There was no connection: nothing was sent.
    NotConnected,
    /// There is no connection to a server that can be trusted: nothing was sent.
    NotTrusted,
    /// The connection broke after sending; what became of the request is not known.
    Broken,
    /// The answer speaks of a passing trouble ([`is_passing`]).
    Passing,
    /// The server takes no more requests for a while, and has done nothing ([`is_refusal`]).
    Refused,
    /// Another try would end in the same way.
    Fatal,
}

impl Trouble {
    /// Whether nothing was heard of the server.
    pub(crate) fn is_unanswered(self) -> bool {
        matches!(self, Self::NotConnected | Self::Broken)
    }

    /// Whether the server has seen nothing of the request.
    pub(crate) fn is_unsent(self) -> bool {
        matches!(self, Self::NotConnected | Self::NotTrusted)
    }
}

/// Which troubles a request is sent again after, by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeats {
    /// Reads and tokens: asking twice changes nothing.
    Safe,
    /// Reads that a call can do without: nobody waits twice for a server that does not answer.
    Answered,
    /// Deletes: asked twice, they change nothing more.
    Idempotent,
    /// Writes that may be repeated after a broken connection (`retry_broken`).
    AfterBroken,
    /// Writes: what was sent may have been applied.
    Unsent,
}

impl Repeats {
    /// Whether what is sent changes nothing, so that nobody waits for it in the end.
    pub(crate) fn is_read(self) -> bool {
        matches!(self, Self::Safe | Self::Answered)
    }

    /// Whether a request without an answer speaks against its origin.
    pub(crate) fn counts_silence(self) -> bool {
        self != Self::Answered
    }

    /// The one table of repetitions. What a caller's `retry_statuses` repeat is not in it, nor the
    /// one repetition with a new token after a 401.
    pub(crate) fn after(self, trouble: Trouble) -> bool {
        match (trouble, self) {
            (Trouble::Refused | Trouble::Passing, Self::Answered) => true,
            (_, Self::Answered) => false,
            (Trouble::NotConnected | Trouble::Refused, _) => true,
            (Trouble::Broken, Self::Safe | Self::Idempotent | Self::AfterBroken) => true,
            (Trouble::Broken, Self::Unsent) => false,
            (Trouble::Passing, Self::Safe | Self::Idempotent) => true,
            (Trouble::Passing, Self::AfterBroken | Self::Unsent) => false,
            (Trouble::NotTrusted | Trouble::Fatal, _) => false,
        }
    }
}

impl RetryPolicy {
    /// One try and no more.
    pub(crate) fn never(self) -> Self {
        Self {
            max_retries: 0,
            ..self
        }
    }

    /// One try for what a call can do without, and one more after an answer of a server that is busy:
    /// that it fails is held against nobody.
    pub(crate) fn for_hint(self) -> Self {
        Self {
            repeats: Repeats::Answered,
            max_retries: self.max_retries.min(1),
            ..self
        }
    }

    /// Leaves the refusals among these statuses to the caller.
    pub(crate) fn leaving(self, statuses: &[u16]) -> Self {
        let callers = Callers {
            too_many_requests: statuses.contains(&429),
            unavailable: statuses.contains(&503),
        };
        Self { callers, ..self }
    }

    /// Whether a request is sent again by itself after an answer that is a trouble.
    pub(crate) fn repeats_after(&self, trouble: Trouble, status: Option<StatusCode>) -> bool {
        let is_callers = match status.map(|status| status.as_u16()) {
            Some(429) => self.callers.too_many_requests,
            Some(503) => self.callers.unavailable,
            _ => false,
        };
        !is_callers && self.repeats.after(trouble)
    }

    /// The policy of a delete.
    pub(crate) fn for_delete(self) -> Self {
        Self {
            repeats: Repeats::Idempotent,
            ..self
        }
    }

    /// The policy of a request that changes something.
    pub(crate) fn for_write(self, after_broken: bool) -> Self {
        let repeats = match after_broken {
            true => Repeats::AfterBroken,
            false => Repeats::Unsent,
        };
        Self { repeats, ..self }
    }

    /// The pause before try `attempt + 1`, or why there is none.
    ///
    /// Exponential back-off with jitter (between half and the whole of the pause); longer where the
    /// server asks for more.
    pub(crate) fn pause(
        &self,
        attempt: u32,
        retry_after: Option<Duration>,
    ) -> Result<Duration, NoMoreTries> {
        if attempt >= self.max_retries {
            return Err(NoMoreTries::Used);
        }
        let asked = retry_after.unwrap_or_default();
        if asked > self.max_wait {
            return Err(NoMoreTries::TooLong(asked));
        }
        Ok(self.back_off(attempt, 2).max(asked))
    }

    /// The pause before a repetition, as far as it is ours to say; each is `factor` times as long
    /// as the one before.
    pub(crate) fn back_off(&self, step: u32, factor: u32) -> Duration {
        let pause = FIRST_PAUSE.saturating_mul(factor.saturating_pow(step));
        pause
            .min(self.max_wait)
            .mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

/// The end of a wait that begins now. What no clock can say is some decades away.
pub(crate) fn later(wait: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(wait)
        .unwrap_or_else(|| now + Duration::from_secs(1 << 30))
}

/// Why a failure is final.
#[derive(Debug, PartialEq)]
pub(crate) enum NoMoreTries {
    Used,
    /// The server asks for a longer pause than the caller allows.
    TooLong(Duration),
}

/// Whether an answer speaks of a passing trouble.
pub(crate) fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// Whether an answer says that the server takes no more requests for a while: 429, or 503 with
/// `Retry-After` (RFC 6585, section 4; RFC 9110, section 15.6.4). Nothing was done.
pub(crate) fn is_refusal(status: StatusCode, headers: &HeaderMap) -> bool {
    match status {
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::SERVICE_UNAVAILABLE => headers.contains_key(RETRY_AFTER),
        _ => false,
    }
}

/// `Retry-After`, in seconds or as a date (RFC 9110, section 10.2.3). What is beyond all numbers is
/// the longest time that there is; what is over is none.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Some(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(
        date.duration_since(SystemTime::now())
            .unwrap_or(Duration::ZERO),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let policy = RetryPolicy {
            max_retries: 3,
            max_wait: Duration::from_secs(2),
            repeats: Repeats::Safe,
            callers: Callers::default(),
        };
        for attempt in 0..3 {
            let full = FIRST_PAUSE * 2u32.pow(attempt);
            let pause = policy.pause(attempt, None).unwrap();
            assert!(pause >= full / 2 && pause <= full, "{attempt}: {pause:?}");
        }
        assert_eq!(policy.pause(3, None), Err(NoMoreTries::Used));
        let asked = Duration::from_secs(1);
        assert_eq!(policy.pause(0, Some(asked)), Ok(asked));
        let none = policy.pause(2, Some(Duration::ZERO)).unwrap();
        assert!(none >= FIRST_PAUSE * 2, "{none:?}");
        let long = Duration::from_secs(3);
        assert_eq!(policy.pause(0, Some(long)), Err(NoMoreTries::TooLong(long)));
    }

    #[test]
    fn what_servers_ask_for() {
        for (text, expected) in [
            ("2", Some(Duration::from_secs(2))),
            ("0", Some(Duration::ZERO)),
            ("-3", Some(Duration::ZERO)),
            ("NaN", Some(Duration::ZERO)),
            ("1e400", Some(Duration::MAX)),
            ("99999999999999999999999", Some(Duration::MAX)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(Duration::ZERO)),
            ("soon", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            assert_eq!(retry_after(&headers), expected, "{text}");
        }
    }
}
