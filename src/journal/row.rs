//! What a journal knows of one write: how it was sent, and what became of it.

use super::digest::{Digest, Item};
use super::store::hex;

/// What is known of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It was sent, and nobody knows what became of it.
    Sent = 0,
    Confirmed = 1,
    Failed = 2,
}

impl State {
    pub(super) fn of(number: i64) -> Self {
        match number {
            0 => Self::Sent,
            1 => Self::Confirmed,
            _ => Self::Failed,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Confirmed => "confirmed",
            Self::Failed => "failed",
        }
    }
}

/// How something is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Post = 0,
    Put = 1,
    Delete = 2,
}

impl Method {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }

    pub(super) fn of(number: i64) -> Self {
        match number {
            0 => Self::Post,
            1 => Self::Put,
            _ => Self::Delete,
        }
    }
}

/// A resource of one ODS, and what tells its items apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(super) id: i64,
    /// Goes up when items are told apart by something else than before: what was confirmed by
    /// other keys is not compared.
    pub(super) generation: i64,
}

impl Target {
    /// The item that has this key.
    pub(crate) fn item(self, key: &str) -> Item {
        Item::of(self.id, "key", key)
    }

    /// The item that has this id.
    pub(crate) fn item_of_id(self, id: &str) -> Item {
        Item::of(self.id, "id", id)
    }

    /// What stands for the item of a write of which nobody can tell it.
    pub(crate) fn item_of_digest(self, digest: Digest) -> Item {
        Item::of(self.id, "digest", &hex(&digest.0))
    }

    pub(super) fn is_of(self, row: &Row) -> bool {
        row.target.generation == self.generation
    }
}

/// What was answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) http_status: Option<u16>,
    pub(crate) message: Option<String>,
    pub(crate) correlation_id: Option<String>,
    pub(crate) resource_id: Option<String>,
    pub(crate) attempts: u32,
}

/// A write as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) digest: Digest,
    pub(super) target: Target,
    pub(super) method: Method,
    pub(super) key: Option<String>,
    pub(super) state: State,
    pub(super) answer: Answer,
    /// Microseconds since 1970.
    pub(super) at: i64,
}

impl Row {
    /// Whether it was sent, and nobody knows whether it was applied: there is no answer, or that of
    /// a gateway that gave up or of a server that failed.
    pub(super) fn is_in_doubt(&self) -> bool {
        match self.state {
            State::Sent => true,
            State::Confirmed => false,
            State::Failed => matches!(self.answer.http_status, Some(500 | 502 | 504)),
        }
    }
}
