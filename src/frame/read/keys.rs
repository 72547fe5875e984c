//! What tells records apart, and which of them came before.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::columns::Page;

/// So many records that are the same by `id`, and all changed: their `_etag` says nothing.
const ALL_CHANGED: usize = 5;
/// How many records a stream remembers at least: far more than the pages that can lie about a seam.
const REMEMBERED: usize = 1 << 18;

/// What shows that a record stands where it stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Evidence {
    /// Its `id` and its `_etag`: an item whose key changes moves.
    SameState,
    /// Its `id` alone, where the `_etag` changes by itself.
    SameId,
}

/// What tells the records of a page apart, in their order: a hash of the `id`, where changes are
/// told apart of the change version too; of the whole record where it has no `id`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct RecordKeys {
    hashes: Vec<u64>,
    /// The same of records as they are now, where those differ: only what did not change meanwhile
    /// stands where it stood, for an item whose key changes moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    states: Option<Vec<u64>>,
    /// Whether each record has an `id`. Records without one may be equal and yet be different ones.
    by_id: bool,
}

impl RecordKeys {
    pub(super) fn of(page: &Page, by_version: bool) -> Self {
        match page.id_hashes() {
            Some(ids) if !by_version => Self {
                hashes: ids.to_vec(),
                states: page.state_hashes().map(<[u64]>::to_vec),
                by_id: true,
            },
            ids => Self {
                by_id: ids.is_some(),
                // Some of these may stand in another page in which all have an `id`.
                states: (!by_version).then(|| states_of_some(page)).flatten(),
                hashes: (0..page.len())
                    .map(|row| record_hash(page, row, by_version))
                    .collect(),
            },
        }
    }

    pub(super) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether each record has an `id`.
    pub(super) fn are_ids(&self) -> bool {
        self.by_id
    }

    /// Whether these are the same records in the same order, more than one of them.
    pub(super) fn are_same(&self, others: &Self) -> bool {
        self.len() > 1 && self.hashes == others.hashes
    }

    fn states(&self) -> &[u64] {
        self.states.as_deref().unwrap_or(&self.hashes)
    }

    fn marks(&self, evidence: Evidence) -> &[u64] {
        match evidence {
            Evidence::SameState => self.states(),
            Evidence::SameId => &self.hashes,
        }
    }

    /// How many of the next records are among these, whatever their state.
    pub(super) fn in_common(&self, next: &Self) -> usize {
        let all: Hashes = self.hashes.iter().copied().collect();
        next.hashes.iter().filter(|hash| all.contains(hash)).count()
    }

    /// Whether any of the records is one of the others.
    pub(super) fn share_any(&self, next: &Self, evidence: Evidence) -> bool {
        let (own, next) = (self.marks(evidence), next.marks(evidence));
        match (own.last(), next.first()) {
            (Some(last), Some(first)) if last == first => true,
            (Some(_), Some(_)) => {
                let all: Hashes = own.iter().copied().collect();
                next.iter().any(|hash| all.contains(hash))
            }
            _ => false,
        }
    }

    /// The first row that is one of some neighbours that were seen before, as it was.
    pub(super) fn seam(&self, neighbours: &Self, evidence: Evidence) -> Option<usize> {
        let steady: Hashes = neighbours.marks(evidence).iter().copied().collect();
        let mut marks = self.marks(evidence).iter();
        marks.position(|mark| steady.contains(mark))
    }

    /// Some of the records.
    pub(super) fn slice(&self, rows: Range<usize>) -> Self {
        let some = |hashes: &[u64]| hashes[rows.clone()].to_vec();
        Self {
            hashes: some(&self.hashes),
            states: self.states.as_deref().map(some),
            by_id: self.by_id,
        }
    }

    /// Which rows are some of the others, whatever their state.
    pub(super) fn are_among(&self, others: &Self) -> impl Iterator<Item = bool> {
        let others: Hashes = others.hashes.iter().copied().collect();
        let rows = self.hashes.iter();
        rows.map(move |hash| others.contains(hash))
    }

    /// Whether none of those that are here as well is as it was: then it says nothing that one changed.
    pub(super) fn have_all_changed(&self, since: &Self) -> bool {
        since.in_common(self) >= ALL_CHANGED && !since.share_any(self, Evidence::SameState)
    }

    /// Whether this many of the first records of `next` are the last ones here.
    fn ends_as_begins(&self, next: &Self, count: usize) -> bool {
        let start = self.len().checked_sub(count);
        start.is_some_and(|start| next.hashes.get(..count) == Some(&self.hashes[start..]))
    }
}

/// Where a stretch begins, as far as its pages showed it.
#[derive(Debug, Default)]
pub(super) struct Begin {
    is_shown: bool,
    /// The records that stand before it, as they are.
    before: Hashes,
}

impl Begin {
    /// Which rows of a page stand after the begin, or are some of the neighbours that stand there;
    /// `seam` is where these show themselves.
    pub(super) fn rows(
        &mut self,
        keys: &RecordKeys,
        neighbours: &RecordKeys,
        seam: Option<usize>,
    ) -> Vec<bool> {
        let start = match seam {
            Some(row) => row,
            None if self.is_shown || neighbours.len() == 0 => 0,
            None => keys.len(),
        };
        self.is_shown |= seam.is_some();
        let states = keys.states();
        let known = states.iter().rposition(|state| self.before.contains(state));
        let start = start.max(known.map_or(0, |row| row + 1));
        self.before.extend(&states[..start]);
        let rows = keys.are_among(neighbours).enumerate();
        rows.map(|(row, is_one)| is_one || row >= start).collect()
    }
}

/// Where a page stands to the one that it continues.
#[derive(Debug, Clone, Copy)]
pub(super) struct Join<'a> {
    pub(super) before: &'a RecordKeys,
    /// How many records they share by their offsets.
    pub(super) shared: usize,
}

/// The states of records of which not all have an `id`.
fn states_of_some(page: &Page) -> Option<Vec<u64>> {
    let state = |row| {
        let state = page.state_hash(row);
        state.unwrap_or_else(|| record_hash(page, row, false))
    };
    page.has_etags()
        .then(|| (0..page.len()).map(state).collect())
}

fn record_hash(page: &Page, row: usize, by_version: bool) -> u64 {
    let mut hasher = DefaultHasher::new();
    match (page.id(row), page.change_version(row)) {
        (Some(id), _) if !by_version => hasher.write(id.as_bytes()),
        (Some(id), Some(version)) => {
            hasher.write(id.as_bytes());
            version.hash(&mut hasher);
        }
        // Of a version that nobody can read all of the record tells it apart.
        (Some(_), None) | (None, _) => {
            let mut text = Vec::new();
            page.write_json(row, &mut text);
            hasher.write(&text);
        }
    }
    hasher.finish()
}

type Hashes = HashSet<u64, BuildHasherDefault<Identity>>;

/// The keys are hashes already.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only u64 keys are hashed");
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// The records of a page that came before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Repeated {
    /// This many at its begin: the seam with the page before.
    pub(super) leading: usize,
    /// Others, by their row.
    pub(super) others: Vec<usize>,
}

impl Repeated {
    pub(super) fn count(&self) -> usize {
        self.leading + self.others.len()
    }
}

/// Hashes that came; only the last ones where that is enough.
#[derive(Debug, Default)]
struct Remembered {
    recent: Hashes,
    older: Hashes,
    bounded: bool,
}

impl Remembered {
    fn of(bounded: bool) -> Self {
        Self {
            bounded,
            ..Self::default()
        }
    }

    /// Before the hashes of a page are added.
    fn make_room(&mut self) {
        if self.bounded && self.recent.len() >= REMEMBERED {
            self.older = std::mem::take(&mut self.recent);
        }
    }

    /// Says whether it is new.
    fn insert(&mut self, hash: u64) -> bool {
        self.recent.insert(hash) && !self.older.contains(&hash)
    }

    fn has(&self, hash: u64) -> bool {
        self.recent.contains(&hash) || self.older.contains(&hash)
    }

    fn has_any(&self, hashes: &[u64]) -> bool {
        hashes.iter().any(|hash| self.has(*hash))
    }
}

/// The last records of a chain as they were when they came.
#[derive(Debug)]
pub(super) struct SeenStates(Remembered);

impl SeenStates {
    pub(super) fn of(keys: &RecordKeys) -> Self {
        let mut states = Self(Remembered::of(true));
        states.add(keys);
        states
    }

    pub(super) fn add(&mut self, keys: &RecordKeys) {
        self.0.make_room();
        self.0.recent.extend(keys.states());
    }

    /// Whether any record of a page came before, as it is now.
    pub(super) fn have_any(&self, keys: &RecordKeys) -> bool {
        self.0.has_any(keys.states())
    }
}

/// The records of one collection that came so far.
#[derive(Debug, Default)]
pub(super) struct SeenRecords {
    hashes: Remembered,
    /// Whether a page did not begin as its offset says.
    has_moved: bool,
}

impl SeenRecords {
    /// Remembers all records, or the last ones in bounded memory.
    pub(super) fn of(bounded: bool) -> Self {
        Self {
            hashes: Remembered::of(bounded),
            has_moved: false,
        }
    }

    /// Adds records with ids; leaves out those that are here already.
    pub(super) fn take(&mut self, hashes: &[u64], is_kept: &mut [bool]) {
        self.hashes.make_room();
        for (hash, kept) in hashes.iter().zip(is_kept) {
            *kept = *kept && self.hashes.insert(*hash);
        }
    }

    /// Whether any record of a page with ids came before.
    pub(super) fn knows_any(&self, keys: &RecordKeys) -> bool {
        keys.by_id && self.hashes.has_any(&keys.hashes)
    }

    /// Whether each record of a page came before.
    pub(super) fn knows_all(&self, keys: &RecordKeys) -> bool {
        keys.hashes.iter().all(|hash| self.hashes.has(*hash))
    }

    /// Adds a page, with where it stands to the one that it continues.
    pub(super) fn add(&mut self, keys: &RecordKeys, join: Option<Join<'_>>) -> Repeated {
        let mut repeated = Repeated::default();
        self.hashes.make_room();
        if keys.by_id {
            for (row, hash) in keys.hashes.iter().enumerate() {
                match self.hashes.insert(*hash) {
                    true => {}
                    false if row == repeated.leading => repeated.leading += 1,
                    false => repeated.others.push(row),
                }
            }
            return repeated;
        }
        if let Some(Join { before, shared }) = join {
            self.has_moved |= shared == 0 || !before.ends_as_begins(keys, shared);
            // Where nothing has moved, equal records count each for itself.
            if self.has_moved {
                let rows = keys.hashes.iter().enumerate();
                let again = rows.filter(|(_, hash)| self.hashes.has(**hash));
                repeated.others = again.map(|(row, _)| row).collect();
            } else {
                repeated.leading = shared;
            }
        }
        self.hashes.recent.extend(&keys.hashes);
        repeated
    }
}
