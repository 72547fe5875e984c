//! One request for each key, and what its answer proves.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::outcome::{ERROR, Outcome};
use super::super::run::RowOperation;
use super::keys::{Group, WantedKey};
use super::{ID, MISSING};
use crate::Failure;
use crate::client::changes::Snapshot;
use crate::client::paging::{Collection, PageError, PageRequest};
use crate::client::session::{Access, CallContext};
use crate::openapi::{Identity, Picked, Picker};

/// Enough to see that a key is not the only one, or that the server does not look at it.
const LIMIT: u64 = 2;

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
        Self::wrong("an item has this key in another case: ODSs differ in whether that is the same")
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
    pickers: Vec<Picker>,
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
        let picker = |group: &Group| Picker::new([ID].into_iter().chain(group.identity.paths()));
        Self {
            pickers: groups.iter().map(picker).collect(),
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
        let group = &self.groups[key.group];
        let (context, endpoint) = (&self.context, &self.endpoint);
        let collection = Collection::of(context, access, endpoint, Snapshot::No).await?;
        let page = PageRequest {
            offset: 0,
            limit: LIMIT,
            count: false,
        };
        let params = group.identity.params(&key.values);
        let fetch = collection.with_params(&params);
        let answer = fetch.fetch(context, access, page).await;
        let answer = answer.map_err(PageError::into_failure)?.answer;
        let records = self.pickers[key.group].of_list(&answer.body);
        let records = records.map_err(|what| answer.unusable(&what))?;
        Ok(self.judge(&group.identity, key, records))
    }

    /// What the records of an answer say.
    fn judge(
        &self,
        identity: &Identity,
        key: &WantedKey,
        records: Vec<Vec<Option<Picked>>>,
    ) -> Found {
        if records.is_empty() {
            return Found::missing();
        }
        let (mut ids, mut others) = (HashSet::new(), Vec::new());
        for mut record in records {
            let id = record.remove(0);
            let own = identity.values_of(record);
            match own.map(|own| identity.canonical(&own)) {
                Ok(own) if own == key.canonical => drop(ids.insert(text(id))),
                own => others.push(own),
            }
        }
        let in_other_case = |own: &Result<String, String>| {
            let own = own.as_ref().map(|own| own.to_lowercase());
            own.is_ok_and(|own| own == key.canonical.to_lowercase())
        };
        match (ids.len(), others.is_empty()) {
            (1, true) => Found::item(ids.into_iter().next().flatten()),
            (_, true) => Found::many(),
            (0, false) if others.iter().all(in_other_case) => Found::other_case(),
            _ => {
                self.ignoring[key.group].store(true, Ordering::Relaxed);
                self.ignored()
            }
        }
    }

    fn ignored(&self) -> Found {
        Found::wrong(match self.is_final {
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
            return self.ignored();
        }
        let looked_up = self.look_up(&self.groups[key.group].access, key).await;
        looked_up.unwrap_or_else(Into::into)
    }
}

/// The text of an id.
fn text(picked: Option<Picked>) -> Option<String> {
    match picked {
        Some(Picked::Scalar(text)) => Some(text),
        Some(Picked::Other) | None => None,
    }
}
