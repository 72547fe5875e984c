//! Mutations: items that come, change and go without a client's asking.

use fastrand::Rng;
use serde_json::{Map, Value};

use super::clock;
use super::commit::Committer;
use super::store::{Order, Record, Stamp, State};

/// One change of a collection that no client asked for: another one's write.
///
/// Items are meant by their places in the order in which they are served; beyond the last one the count
/// starts again with the first. Where there is no item, nothing happens. References are not looked at.
///
/// ```
/// use polars_edfi::sandbox::{Mutation, Sandbox};
///
/// let ods = Sandbox::builder().records(40).start()?;
/// ods.mutate("255901", "ed-fi/students", &Mutation::Delete(3))?;
/// ods.mutate("255901", "ed-fi/students", &Mutation::Insert(5))?;
/// assert_eq!(ods.items("255901", "ed-fi/students").len(), 14);
/// # Ok::<(), polars_edfi::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mutation {
    /// So many new items, like one that is there, under natural keys of their own.
    Insert(usize),
    /// The item goes.
    Delete(usize),
    /// The item is saved again: it has a new change version and a new `_etag`.
    Edit(usize),
    /// The item goes, and comes again under the same natural key and a new id.
    Recreate(usize),
    /// The natural key of the item changes.
    Rekey(usize),
    /// The write takes its change version at once, and is committed before the `requests`-th request that
    /// follows: `newestChangeVersion` counts it, no read sees it until then.
    Late {
        /// What is committed late.
        mutation: Box<Mutation>,
        /// How many requests of the collection later.
        requests: usize,
    },
}

impl Mutation {
    /// This mutation, committed before the `requests`-th request that follows.
    #[must_use]
    pub fn late(self, requests: usize) -> Self {
        Self::Late {
            mutation: Box::new(self),
            requests,
        }
    }

    /// One of any kind.
    pub(super) fn random(random: &mut Rng) -> Self {
        let item = random.usize(..);
        let mutation = match random.u32(..20) {
            0..6 => Self::Insert(random.usize(1..=3)),
            6..12 => Self::Delete(item),
            12..18 => Self::Edit(item),
            18 => Self::Recreate(item),
            _ => Self::Rekey(item),
        };
        match random.u32(..10) {
            0 => mutation.late(random.usize(1..=3)),
            _ => mutation,
        }
    }
}

/// A write that has begun: which items it means is settled.
pub(super) struct Begun {
    pub(super) endpoint: String,
    writes: Vec<(Stamp, Write)>,
}

enum Write {
    Create { text: String },
    Replace { id: u128, text: String },
    Delete { id: u128 },
}

impl Committer<'_> {
    /// Begins a mutation, and commits it unless it is late.
    pub(super) fn mutate(
        &self,
        state: &mut State,
        endpoint: &str,
        order: Order,
        mutation: &Mutation,
    ) {
        let (mutation, late) = match mutation {
            Mutation::Late { mutation, requests } => (&**mutation, *requests),
            mutation => (mutation, 0),
        };
        let writes = self.writes(state, endpoint, order, mutation);
        let begun = Begun {
            endpoint: endpoint.to_owned(),
            writes: writes
                .into_iter()
                .map(|write| (state.stamp(), write))
                .collect(),
        };
        match late {
            0 => self.commit(state, begun),
            late => state.movement.postpone(begun, late),
        }
    }

    fn writes(
        &self,
        state: &mut State,
        endpoint: &str,
        order: Order,
        mutation: &Mutation,
    ) -> Vec<Write> {
        let records = state
            .tables
            .get(endpoint)
            .map_or(&[][..], |table| table.ordered(order));
        let random = &mut state.random;
        let Some(count) = std::num::NonZero::new(records.len()) else {
            return Vec::new();
        };
        let item = |place: usize| &*records[place % count];
        let replace = |record: &Record, text| Write::Replace {
            id: record.id,
            text,
        };
        match *mutation {
            Mutation::Insert(number) => (0..number)
                .filter_map(|_| self.rekeyed(endpoint, item(random.usize(..)), random))
                .map(|text| Write::Create { text })
                .collect(),
            Mutation::Delete(place) => vec![Write::Delete { id: item(place).id }],
            Mutation::Edit(place) => vec![replace(item(place), text_of(item(place)))],
            Mutation::Recreate(place) => vec![
                Write::Delete { id: item(place).id },
                Write::Create {
                    text: text_of(item(place)),
                },
            ],
            Mutation::Rekey(place) => self
                .rekeyed(endpoint, item(place), random)
                .map(|text| replace(item(place), text))
                .into_iter()
                .collect(),
            // What is late twice is late once.
            Mutation::Late { ref mutation, .. } => self.writes(state, endpoint, order, mutation),
        }
    }

    /// Commits what has begun. What is gone meanwhile stays gone.
    pub(super) fn commit(&self, state: &mut State, begun: Begun) {
        let endpoint = begun.endpoint.as_str();
        for (stamp, write) in begun.writes {
            let (before, text) = match write {
                Write::Delete { id } => {
                    self.remove(state, endpoint, id, stamp);
                    continue;
                }
                Write::Replace { id, text } => {
                    let table = state.tables.get(endpoint);
                    match table.and_then(|table| table.by_id(id)).cloned() {
                        Some(before) => (Some(before), text),
                        None => continue,
                    }
                }
                Write::Create { text } => (None, text),
            };
            if let Ok(draft) = self.draft(&state.tables, endpoint, &text) {
                let twin = state
                    .tables
                    .get(endpoint)
                    .and_then(|table| table.by_key(draft.key))
                    .is_some_and(|twin| before.as_ref().is_none_or(|before| before.id != twin.id));
                if !twin {
                    self.store(state, endpoint, draft, before.as_deref(), stamp);
                }
            }
        }
    }

    /// The item's text under another natural key; `None` where nothing of its own is in the key.
    fn rekeyed(&self, endpoint: &str, record: &Record, random: &mut Rng) -> Option<String> {
        let mut body = record.parse();
        let key = self.definitions.identity(endpoint, &body);
        let own = key.keys().find_map(|name| own_member(&body, name))?;
        let value = body.get_mut(&own)?;
        *value = match value {
            Value::Number(_) => random.i32(1..).into(),
            Value::String(text) if is_date(text) => clock::date(random.u64(..40_000)).into(),
            _ => format!("{:012x}", random.u64(..1 << 48)).into(),
        };
        Some(Value::from(body).to_string())
    }
}

fn text_of(record: &Record) -> String {
    String::from_utf8_lossy(&record.wire).into_owned()
}

/// The member of this name that can have any value: no descriptor, no namespace, nothing in a reference.
fn own_member(body: &Map<String, Value>, name: &str) -> Option<String> {
    let (member, value) = body
        .iter()
        .find(|(member, _)| member.eq_ignore_ascii_case(name))?;
    let free = (value.is_string() || value.is_i64())
        && member != "namespace"
        && !member.ends_with("Descriptor");
    free.then(|| member.clone())
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && text.bytes().filter(|byte| *byte == b'-').count() == 2
}
