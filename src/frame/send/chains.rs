//! Rows that go one after another, and those of them that wait for another round.

use std::collections::HashMap;
use std::sync::Arc;

use super::answers::Meaning;
use super::rows::Part;
use crate::frame::outcome::Outcome;

/// The rows of one frame that could not be done yet.
#[derive(Default)]
pub(super) struct Waiting {
    pub(super) chains: Vec<Chain>,
    /// The chains by what their rows have in common.
    pub(super) by_key: HashMap<String, usize>,
}

/// Rows that go one after another: of one item, as a rule.
pub(super) struct Chain {
    pub(super) key: Option<String>,
    pub(super) rows: Vec<Entry>,
}

pub(super) struct Entry {
    pub(super) part: Arc<Part>,
    pub(super) row: usize,
    /// What was answered last, why it waits, and how often it was sent.
    pub(super) before: Option<(Outcome, Meaning)>,
    pub(super) round: u32,
    pub(super) was_unauthorized: bool,
}

impl Chain {
    /// Why its first row waits.
    pub(super) fn meaning(&self) -> Option<Meaning> {
        let (_, meaning) = self.rows.first()?.before.as_ref()?;
        Some(*meaning)
    }

    pub(super) fn is_unauthorized(&self) -> bool {
        self.meaning() == Some(Meaning::Unauthorized)
    }
}

impl Entry {
    /// Whether its next try is the one that follows when nobody may see the item.
    pub(super) fn was_unauthorized(&self) -> bool {
        self.was_unauthorized || matches!(self.before, Some((_, Meaning::Unauthorized)))
    }

    /// Notes an answer. A row that could not be sent again keeps what it was answered before.
    pub(super) fn take(&mut self, mut outcome: Outcome, meaning: Meaning) {
        self.was_unauthorized = self.was_unauthorized();
        let before = self.before.take();
        self.before = Some(match before {
            Some(before) if outcome.attempts == 0 => before,
            before => {
                self.round += 1;
                outcome.attempts += before.map_or(0, |(before, _)| before.attempts);
                (outcome, meaning)
            }
        });
    }
}

impl Waiting {
    /// Puts a row behind those that it has something in common with.
    pub(super) fn push(&mut self, key: Option<String>, entry: Entry) {
        let known = key.as_ref().and_then(|key| self.by_key.get(key));
        match known {
            Some(chain) => self.chains[*chain].rows.push(entry),
            None => self.extend(vec![Chain {
                key,
                rows: vec![entry],
            }]),
        }
    }

    pub(super) fn extend(&mut self, chains: Vec<Chain>) {
        for chain in chains {
            if let Some(key) = &chain.key {
                self.by_key.insert(key.clone(), self.chains.len());
            }
            self.chains.push(chain);
        }
    }
}
