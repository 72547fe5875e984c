//! What changes in a journal at once: as a whole or not at all.

use std::time::{SystemTime, UNIX_EPOCH};

use polars::prelude::PlHashMap;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow};

use super::digest::{Digest, Item};
use super::notes::Change;
use super::row::{Answer, Method, Row, State, Target};
use super::store::unpacked;

/// What a new row tells of its write.
pub(super) struct NewRow<'a> {
    pub(super) digest: Digest,
    pub(super) target: Target,
    pub(super) method: Method,
    pub(super) key: Option<&'a str>,
    pub(super) resource_id: Option<String>,
}

/// What is known without a look into the file.
#[derive(Debug)]
pub(super) struct Known {
    /// What is in the file, but not sorted in.
    pub(super) unsorted: Changes,
    /// Whether anything is.
    pub(super) has_sorted: bool,
    pub(super) last_row: i64,
}

/// What is newer than the file's tables.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) rows: PlHashMap<i64, Row>,
    /// The digests of these rows.
    pub(super) digests: PlHashMap<Digest, i64>,
    pub(super) items: PlHashMap<Item, Option<i64>>,
}

/// What stood in the place of a change before.
enum Before {
    Row(i64, Digest, Option<Row>),
    Last(Item, Option<Option<i64>>),
}

impl Changes {
    pub(super) fn take(&mut self, change: Change) {
        self.exchange(change);
    }

    fn exchange(&mut self, change: Change) -> Before {
        match change {
            Change::Row(row) => {
                let (id, digest) = (row.id, row.digest);
                let before = self.rows.insert(id, row);
                if before.is_none() {
                    self.digests.insert(digest, id);
                }
                Before::Row(id, digest, before)
            }
            Change::Last(item, row) => Before::Last(item, self.items.insert(item, row)),
        }
    }

    fn restore(&mut self, before: Before) {
        match before {
            Before::Row(id, _, Some(row)) => drop(self.rows.insert(id, row)),
            Before::Row(id, digest, None) => {
                self.rows.remove(&id);
                self.digests.remove(&digest);
            }
            Before::Last(item, Some(row)) => drop(self.items.insert(item, row)),
            Before::Last(item, None) => drop(self.items.remove(&item)),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len().max(self.items.len() / 2)
    }
}

/// What changes at once: as a whole or not at all.
pub(super) struct Group<'s> {
    db: &'s Connection,
    known: &'s mut Known,
    /// What stood there before, the oldest first.
    before: Vec<Before>,
    /// What is appended to the file.
    note: Vec<u8>,
}

impl<'s> Group<'s> {
    pub(super) fn new(db: &'s Connection, known: &'s mut Known) -> Self {
        Self {
            db,
            known,
            before: Vec::new(),
            note: Vec::new(),
        }
    }

    /// Keeps what was done; in the file when this returns.
    pub(super) fn keep<T>(mut self, done: T) -> rusqlite::Result<T> {
        if !self.note.is_empty() {
            let note = "INSERT INTO notes (note) VALUES (?)";
            self.db.prepare_cached(note)?.execute([&self.note])?;
        }
        self.before.clear();
        Ok(done)
    }

    pub(super) fn find(&mut self, digest: Digest) -> rusqlite::Result<Option<Row>> {
        let number = match self.known.unsorted.digests.get(&digest) {
            Some(number) => Some(*number),
            None if !self.known.has_sorted => None,
            None => {
                let find = "SELECT row FROM digests WHERE digest = ?";
                let mut find = self.db.prepare_cached(find)?;
                find.query_row([&digest.0[..]], |row| row.get(0))
                    .optional()?
            }
        };
        match number {
            Some(number) => self.row(number),
            None => Ok(None),
        }
    }

    fn row(&mut self, number: i64) -> rusqlite::Result<Option<Row>> {
        if let Some(row) = self.known.unsorted.rows.get(&number) {
            return Ok(Some(row.clone()));
        }
        let find = "SELECT * FROM rows WHERE id = ?";
        let mut find = self.db.prepare_cached(find)?;
        find.query_row([number], read_row).optional()
    }

    /// The id of the item that a write was about, as far as it is known.
    pub(super) fn resource_id(&mut self, row: i64) -> rusqlite::Result<Option<String>> {
        let found = self.row(row)?;
        Ok(found.and_then(|row| row.answer.resource_id))
    }

    /// The last write that may have changed an item.
    pub(super) fn last(&mut self, item: Item) -> rusqlite::Result<Option<i64>> {
        if let Some(last) = self.known.unsorted.items.get(&item) {
            return Ok(*last);
        }
        if !self.known.has_sorted {
            return Ok(None);
        }
        let find = "SELECT row FROM items WHERE item = ?";
        let mut find = self.db.prepare_cached(find)?;
        find.query_row([item.0], |row| row.get(0)).optional()
    }

    fn change(&mut self, change: Change) {
        change.write(&mut self.note);
        self.before.push(self.known.unsorted.exchange(change));
    }

    pub(super) fn set_last(&mut self, item: Item, row: Option<i64>) {
        self.change(Change::Last(item, row));
    }

    /// The same for an item of which something is known already.
    pub(super) fn set_last_if_known(&mut self, item: Item, row: i64) -> rusqlite::Result<()> {
        if self.last(item)?.is_some() {
            self.set_last(item, Some(row));
        }
        Ok(())
    }

    pub(super) fn insert(&mut self, new: NewRow<'_>) -> i64 {
        self.known.last_row += 1;
        self.change(Change::Row(Row {
            id: self.known.last_row,
            digest: new.digest,
            target: new.target,
            method: new.method,
            key: new.key.map(str::to_owned),
            state: State::Sent,
            answer: Answer {
                resource_id: new.resource_id,
                ..Answer::default()
            },
            at: now(),
        }));
        self.known.last_row
    }

    /// Notes that a write that is known is sent again.
    pub(super) fn send_again(&mut self, row: &Row, target: Target) {
        self.change(Change::Row(Row {
            state: State::Sent,
            target,
            at: now(),
            ..row.clone()
        }));
    }

    pub(super) fn set(
        &mut self,
        row: i64,
        state: State,
        answer: &Answer,
        at: i64,
    ) -> rusqlite::Result<()> {
        if let Some(row) = self.row(row)? {
            let known = row.answer.resource_id;
            self.change(Change::Row(Row {
                state,
                answer: Answer {
                    resource_id: answer.resource_id.clone().or(known),
                    message: answer.message.clone(),
                    correlation_id: answer.correlation_id.clone(),
                    ..*answer
                },
                at,
                ..row
            }));
        }
        Ok(())
    }
}

impl Drop for Group<'_> {
    /// What was not kept was not done.
    fn drop(&mut self) {
        for before in self.before.drain(..).rev() {
            self.known.unsorted.restore(before);
        }
    }
}

/// Microseconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    })
}

fn read_row(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        id: row.get(0)?,
        digest: Digest(row.get(1)?),
        target: Target {
            id: row.get(2)?,
            generation: row.get(3)?,
        },
        method: Method::of(row.get(4)?),
        key: row.get(5)?,
        state: State::of(row.get(6)?),
        answer: Answer {
            http_status: row.get(7)?,
            message: row.get(8)?,
            correlation_id: row.get(9)?,
            resource_id: unpacked(row, 10)?,
            attempts: row.get(11)?,
        },
        at: row.get(12)?,
    })
}
