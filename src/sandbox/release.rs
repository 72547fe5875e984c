//! Releases of the ODS/API, as far as they answer differently.

use super::store::Order;
use crate::{Error, Result};

/// A release such as 7.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(super) struct Release {
    major: u32,
    minor: u32,
}

impl Default for Release {
    fn default() -> Self {
        Self { major: 7, minor: 3 }
    }
}

impl Release {
    /// Reads `"7.3"`; from 5.2 to 7.3.
    pub(super) fn read(text: &str) -> Result<Self> {
        let numbers = text.split_once('.');
        let release = numbers.and_then(|(major, minor)| {
            Some(Self {
                major: major.parse().ok()?,
                minor: minor.parse().ok()?,
            })
        });
        release
            .filter(|one| one.is_at_least(5, 2) && !one.is_at_least(7, 4))
            .ok_or_else(|| {
                let text = format!("the sandbox is an ODS/API 5.2 to 7.3, not {text:?}");
                Error::Config(text)
            })
    }

    fn is_at_least(self, major: u32, minor: u32) -> bool {
        self >= Self { major, minor }
    }

    /// The order of collections.
    pub(super) fn order(self) -> Order {
        if self.has_cursor() {
            Order::Arrival
        } else {
            Order::Key
        }
    }

    /// Whether there are page tokens and partitions.
    pub(super) fn has_cursor(self) -> bool {
        self.is_at_least(7, 3)
    }

    /// Whether dependencies are sorted by their order.
    pub(super) fn sorts_dependencies(self) -> bool {
        self.is_at_least(7, 0)
    }

    /// Whether errors are problem details (RFC 9457), and not a message.
    pub(super) fn has_problem_details(self) -> bool {
        self.is_at_least(7, 2)
    }

    /// Whether the body of an error has a correlation id.
    pub(super) fn has_correlation_ids(self) -> bool {
        self.is_at_least(7, 0)
    }

    /// Whether a token's information tells what may be done with which resource.
    pub(super) fn tells_operations(self) -> bool {
        self.is_at_least(7, 3)
    }

    /// How many items a page has without `limit`; `None`: as many as it may have.
    pub(super) fn default_limit(self) -> Option<usize> {
        (!self.is_at_least(6, 0)).then_some(25)
    }

    /// Whether change queries answer in PascalCase, with ids as GUIDs in capitals.
    pub(super) fn tracks_in_pascal_case(self) -> bool {
        !self.is_at_least(6, 0)
    }

    /// Whether `/deletes` tells keys and counts.
    pub(super) fn tracks_keys(self) -> bool {
        self.is_at_least(5, 4)
    }

    /// Whether there is `/keyChanges` with anything in it.
    pub(super) fn tracks_key_changes(self) -> bool {
        self.is_at_least(6, 1)
    }
}

impl std::fmt::Display for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}
