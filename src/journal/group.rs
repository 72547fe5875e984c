//! What changes in a journal at once: as a whole or not at all.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, Statement};

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

#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) rows: HashMap<i64, Row>,
    pub(super) digests: HashMap<Digest, i64>,
    pub(super) items: HashMap<Item, Option<i64>>,
}

impl Changes {
    pub(super) fn take(&mut self, change: Change) {
        match change {
            Change::Row(row) => {
                self.digests.insert(row.digest, row.id);
                self.rows.insert(row.id, row);
            }
            Change::Last(item, row) => {
                self.items.insert(item, row);
            }
        }
    }

    /// Takes what is newer.
    fn take_all(&mut self, newer: &mut Self) {
        self.rows.extend(newer.rows.drain());
        self.digests.extend(newer.digests.drain());
        self.items.extend(newer.items.drain());
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len().max(self.items.len() / 2)
    }
}

/// What changes at once: as a whole or not at all.
pub(super) struct Group<'s> {
    db: &'s Connection,
    known: &'s mut Known,
    fresh: Changes,
    /// The same as it is appended to the file.
    note: Vec<u8>,
    find: Option<Statement<'s>>,
    row: Option<Statement<'s>>,
    last: Option<Statement<'s>>,
}

impl<'s> Group<'s> {
    pub(super) fn new(db: &'s Connection, known: &'s mut Known) -> Self {
        Self {
            db,
            known,
            fresh: Changes::default(),
            note: Vec::new(),
            find: None,
            row: None,
            last: None,
        }
    }

    /// Keeps what was done; in the file when this returns.
    pub(super) fn keep<T>(mut self, done: T) -> rusqlite::Result<T> {
        if !self.note.is_empty() {
            let note = "INSERT INTO notes (note) VALUES (?)";
            self.db.execute(note, [&self.note])?;
        }
        self.known.unsorted.take_all(&mut self.fresh);
        Ok(done)
    }

    /// What is in memory, the newest first.
    fn in_memory<'a, T>(&'a self, look: impl Fn(&'a Changes) -> Option<&'a T>) -> Option<&'a T> {
        look(&self.fresh).or_else(|| look(&self.known.unsorted))
    }

    pub(super) fn find(&mut self, digest: Digest) -> rusqlite::Result<Option<Row>> {
        let number = match self.in_memory(|changes| changes.digests.get(&digest)) {
            Some(number) => Some(*number),
            None if !self.known.has_sorted => None,
            None => {
                let find = "SELECT row FROM digests WHERE digest = ?";
                let find = prepared(&mut self.find, self.db, find)?;
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
        if let Some(row) = self.in_memory(|changes| changes.rows.get(&number)) {
            return Ok(Some(row.clone()));
        }
        let find = "SELECT * FROM rows WHERE id = ?";
        let find = prepared(&mut self.row, self.db, find)?;
        find.query_row([number], read_row).optional()
    }

    /// The id of the item that a write was about, as far as it is known.
    pub(super) fn resource_id(&mut self, row: i64) -> rusqlite::Result<Option<String>> {
        let found = self.row(row)?;
        Ok(found.and_then(|row| row.answer.resource_id))
    }

    /// The last write that may have changed an item.
    pub(super) fn last(&mut self, item: Item) -> rusqlite::Result<Option<i64>> {
        if let Some(last) = self.in_memory(|changes| changes.items.get(&item)) {
            return Ok(*last);
        }
        if !self.known.has_sorted {
            return Ok(None);
        }
        let find = "SELECT row FROM items WHERE item = ?";
        let find = prepared(&mut self.last, self.db, find)?;
        find.query_row([item.0], |row| row.get(0)).optional()
    }

    fn change(&mut self, change: Change) {
        change.write(&mut self.note);
        self.fresh.take(change);
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
                    ..answer.clone()
                },
                at,
                ..row
            }));
        }
        Ok(())
    }
}

/// A statement, prepared at its first use.
fn prepared<'a, 's>(
    statement: &'a mut Option<Statement<'s>>,
    db: &'s Connection,
    sql: &str,
) -> rusqlite::Result<&'a mut Statement<'s>> {
    let prepared = match statement.take() {
        Some(prepared) => prepared,
        None => db.prepare(sql)?,
    };
    Ok(statement.insert(prepared))
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
