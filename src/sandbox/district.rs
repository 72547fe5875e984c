//! A district: its credentials, its tokens, its records and its faults.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::claims::ClaimSet;
use super::faults::{FaultState, Faults};
use super::store::{State, digest_of};
use crate::runtime::lock;

/// What a path segment may hold as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// One ODS behind the sandbox's port.
pub(super) struct District {
    pub(super) id: String,
    pub(super) key: String,
    pub(super) secret: String,
    state: Mutex<State>,
    faults: Mutex<FaultState>,
    tokens: Mutex<HashMap<String, Instant>>,
    claims: Mutex<Option<ClaimSet>>,
}

impl District {
    /// A district with credentials that follow from its id and the seed.
    pub(super) fn new(id: &str, seed: u64) -> Self {
        let word = |what: &str, length: usize| {
            let mut random = random(seed, id, what);
            (0..length)
                .map(|_| random.alphanumeric())
                .collect::<String>()
        };
        Self {
            id: id.to_owned(),
            key: word("key", 12),
            secret: word("secret", 24),
            state: Mutex::new(State::new(random(seed, id, "mutations"))),
            faults: Mutex::default(),
            tokens: Mutex::default(),
            claims: Mutex::default(),
        }
    }

    /// The path segment that leads to the district.
    pub(super) fn segment(&self) -> String {
        utf8_percent_encode(&self.id, SEGMENT).to_string()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, FaultState> {
        lock(&self.faults)
    }

    pub(super) fn set_faults(&self, faults: Faults) {
        *self.faults() = FaultState::new(faults);
    }

    /// What the client may do; `None`: everything.
    pub(super) fn claims(&self) -> MutexGuard<'_, Option<ClaimSet>> {
        lock(&self.claims)
    }

    pub(super) fn set_claims(&self, claims: ClaimSet) {
        *self.claims() = Some(claims);
    }

    /// A new token, unless `limit` of them are alive.
    pub(super) fn issue_token(&self, lifetime: Duration, limit: Option<usize>) -> Option<String> {
        let mut tokens = lock(&self.tokens);
        let now = Instant::now();
        tokens.retain(|_, end| *end > now);
        if limit.is_some_and(|limit| tokens.len() >= limit) {
            return None;
        }
        let token = format!("{:032x}", fastrand::u128(..));
        // A lifetime beyond what the clock can hold is one of a century.
        let century = Duration::from_secs(3_155_760_000);
        tokens.insert(token.clone(), now + lifetime.min(century));
        Some(token)
    }

    /// Whether the token is this district's and still alive.
    pub(super) fn accepts(&self, token: &str) -> bool {
        lock(&self.tokens)
            .get(token)
            .is_some_and(|end| *end > Instant::now())
    }

    pub(super) fn revoke_tokens(&self) {
        lock(&self.tokens).clear();
    }
}

/// Random numbers that depend on nothing but these three.
pub(super) fn random(seed: u64, district: &str, what: &str) -> fastrand::Rng {
    fastrand::Rng::with_seed(digest_of(district, what, &seed.to_string()) as u64)
}
