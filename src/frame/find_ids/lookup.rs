//! One request for each key, and what becomes of its rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::key_lookup::{self, Proof};
use super::super::outcome::{ERROR, Outcome};
use super::super::run::RowOperation;
use super::MISSING;
use super::keys::{Group, WantedKey};
use crate::Failure;
use crate::client::session::{Access, CallContext};

/// What became of a key.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) outcome: Outcome,
    pub(super) id: Option<String>,
}

impl From<Failure> for Found {
    fn from(failure: Failure) -> Self {
        Self {
            outcome: failure.into(),
            id: None,
        }
    }
}

impl Found {
    /// An item, or what is the matter with it.
    pub(super) fn item(id: Option<String>) -> Self {
        match id {
            Some(id) if !id.is_empty() => Self {
                outcome: Outcome::read(),
                id: Some(id),
            },
            _ => Self::wrong("the item has no id"),
        }
    }

    pub(super) fn missing() -> Self {
        Self {
            outcome: Outcome {
                status: Some(MISSING.into()),
                ..Outcome::read()
            },
            id: None,
        }
    }

    pub(super) fn many() -> Self {
        Self::wrong("more than one item has this key")
    }

    pub(super) fn other_case() -> Self {
        Self::wrong(
            "an item has this key in another case, or with other spaces at its end: ODSs differ in \
             whether that is the same",
        )
    }

    /// What the server answered, and why it is of no use.
    pub(super) fn wrong(what: &str) -> Self {
        Self {
            outcome: Outcome {
                status: Some(ERROR.into()),
                message: Some(what.to_owned()),
                ..Outcome::read()
            },
            id: None,
        }
    }
}

/// The keys that are asked for.
pub(super) struct Lookups {
    context: Arc<CallContext>,
    endpoint: String,
    keys: Arc<[WantedKey]>,
    groups: Arc<[Group]>,
    /// The ODSs that were seen to answer with something else than what they were asked for.
    ignoring: Vec<AtomicBool>,
    /// Whether nothing else is tried.
    is_final: bool,
}

impl Lookups {
    pub(super) fn new(
        context: Arc<CallContext>,
        endpoint: String,
        keys: Arc<[WantedKey]>,
        groups: Arc<[Group]>,
        is_final: bool,
    ) -> Self {
        Self {
            ignoring: groups.iter().map(|_| AtomicBool::new(false)).collect(),
            context,
            endpoint,
            keys,
            groups,
            is_final,
        }
    }

    /// Whether an ODS does not look at keys.
    pub(super) fn are_ignored(&self, group: usize) -> bool {
        self.ignoring[group].load(Ordering::Relaxed)
    }

    async fn look_up(&self, access: &Access, key: &WantedKey) -> Result<Found, Failure> {
        let identity = &self.groups[key.group].identity;
        let mut found = Found::missing();
        for key in key.readings() {
            let wanted = (&*key.canonical, &*key.values);
            let asked = key_lookup::ask(&self.context, access, &self.endpoint, identity, wanted);
            match asked.await? {
                Proof::Item(id, _) => return Ok(Found::item(id)),
                Proof::Several => return Ok(Found::many()),
                Proof::Nothing => {}
                Proof::OtherCase(_) => found = Found::other_case(),
                Proof::Unfiltered => {
                    self.ignoring[key.group].store(true, Ordering::Relaxed);
                    return Ok(self.ignored(key.group));
                }
            }
        }
        Ok(found)
    }

    fn ignored(&self, group: usize) -> Found {
        let can_be_asked_for = self.groups[group].identity.can_be_asked_for();
        Found::wrong(match self.is_final {
            true if !can_be_asked_for => {
                "two parts of the key end in the same name, by which no server tells them apart; \
                 how=\"scan\" reads the collection"
            }
            true => {
                "the server was asked for one key and answered with others: it does not filter by \
                 it; how=\"scan\" reads the collection"
            }
            false => "the server does not filter by keys",
        })
    }
}

impl RowOperation for Lookups {
    type Request = usize;
    type Outcome = Found;

    fn district(&self, key: usize) -> Option<&str> {
        let group = &self.groups[self.keys[key].group];
        Some(group.access.base.as_url().as_str())
    }

    fn prepare(&self, key: usize) -> Result<usize, Failure> {
        Ok(key)
    }

    async fn send(&self, key: usize) -> Found {
        let key = &self.keys[key];
        // The collection is read in any case.
        if !self.is_final && self.are_ignored(key.group) {
            return self.ignored(key.group);
        }
        let looked_up = self.look_up(&self.groups[key.group].access, key).await;
        looked_up.unwrap_or_else(Into::into)
    }
}
