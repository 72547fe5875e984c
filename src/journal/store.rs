//! What stands in a journal's file, step by step.
//!
//! `rows` has a row for each write, `items` the last write that may have changed an item: a write
//! is left out while it is confirmed and the last one of its items. What is found by a digest or an
//! item lies anywhere in the file, and each of them would be a page to write: what changes at once
//! is appended to `notes` as one piece, kept in memory, and sorted in now and then.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, Statement, params};

use super::JournalSync;
use super::digest::{Digest, Item};
use super::file::{damaged, pragma, told};
use super::notes::Change;
use super::row::{Answer, Method, Row, State, Target};

/// How many writes are kept in memory.
const MOST_UNSORTED: usize = 16_384;

/// What a new row tells of its write.
pub(super) struct NewRow<'a> {
    pub(super) digest: Digest,
    pub(super) target: Target,
    pub(super) method: Method,
    pub(super) key: Option<&'a str>,
    pub(super) resource_id: Option<String>,
}

/// A journal's file, which nobody else has open.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) db: Connection,
    known: Known,
    /// How much that is not sorted in is too much.
    most_unsorted: usize,
}

/// What is known without a look into the file.
#[derive(Debug)]
struct Known {
    /// What is in the file, but not sorted in.
    unsorted: Changes,
    /// Whether anything is.
    has_sorted: bool,
    last_row: i64,
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

#[derive(Debug, Default)]
struct Changes {
    rows: HashMap<i64, Row>,
    digests: HashMap<Digest, i64>,
    items: HashMap<Item, Option<i64>>,
}

impl Changes {
    fn take(&mut self, change: Change) {
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

    fn len(&self) -> usize {
        self.rows.len().max(self.items.len() / 2)
    }
}

impl Store {
    pub(super) fn new(db: Connection) -> Result<Self, String> {
        let last: rusqlite::Result<Option<i64>> =
            db.query_row("SELECT max(id) FROM rows", (), |row| row.get(0));
        let last_row = last.map_err(|error| told(&error))?.unwrap_or_default();
        let mut unsorted = Changes::default();
        for note in notes(&db).map_err(|error| told(&error))? {
            let changes = Change::read_all(&note).ok_or_else(|| damaged("a note is torn"))?;
            for change in changes {
                unsorted.take(change);
            }
        }
        let last_unsorted = unsorted.rows.keys().max().copied();
        Ok(Self {
            db,
            known: Known {
                unsorted,
                has_sorted: last_row > 0,
                last_row: last_unsorted.unwrap_or_default().max(last_row),
            },
            most_unsorted: MOST_UNSORTED,
        })
    }

    pub(super) fn synchronize(&self, sync: JournalSync) -> rusqlite::Result<()> {
        let level = match sync {
            JournalSync::Normal => "NORMAL",
            JournalSync::Full => "FULL",
        };
        self.db
            .execute_batch(&format!("PRAGMA synchronous = {level}"))
    }

    /// Begins what changes at once.
    pub(super) fn group(&mut self) -> Group<'_> {
        Group {
            db: &self.db,
            known: &mut self.known,
            fresh: Changes::default(),
            note: Vec::new(),
            find: None,
            row: None,
            last: None,
        }
    }

    /// Whether so much is in memory that it is to be [sorted in](Self::sort_in).
    pub(super) fn is_full(&self) -> bool {
        self.known.unsorted.len() >= self.most_unsorted
    }

    /// Puts what is new in its place.
    pub(super) fn sort_in(&mut self) -> rusqlite::Result<()> {
        if self.known.unsorted.len() == 0 {
            return Ok(());
        }
        let sorted = self.try_sort_in();
        if sorted.is_ok() {
            self.known.unsorted = Changes::default();
            self.most_unsorted = MOST_UNSORTED;
            self.known.has_sorted = true;
        } else {
            // Where there is no room for it now, there may be later.
            self.most_unsorted = 2 * self.known.unsorted.len();
            if !self.db.is_autocommit() {
                self.db.execute_batch("ROLLBACK")?;
            }
        }
        sorted
    }

    fn try_sort_in(&self) -> rusqlite::Result<()> {
        let Changes {
            rows,
            digests,
            items,
        } = &self.known.unsorted;
        self.db.execute_batch("BEGIN IMMEDIATE")?;
        let mut insert = self.db.prepare(
            "INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?;
        for row in sorted(rows.values(), |row| row.id) {
            let Row { target, answer, .. } = row;
            insert.execute(params![
                row.id,
                &row.digest.0[..],
                target.id,
                target.generation,
                row.method as i64,
                row.key,
                row.state as i64,
                answer.http_status,
                answer.message,
                answer.correlation_id,
                packed(answer.resource_id.as_deref()),
                answer.attempts,
                row.at,
            ])?;
        }
        let mut insert = self
            .db
            .prepare("INSERT OR IGNORE INTO digests VALUES (?, ?)")?;
        for (digest, row) in sorted(digests, |(digest, _)| digest.0) {
            insert.execute(params![&digest.0[..], row])?;
        }
        let mut replace = self
            .db
            .prepare("INSERT OR REPLACE INTO items VALUES (?, ?)")?;
        let mut delete = self.db.prepare("DELETE FROM items WHERE item = ?")?;
        for (item, row) in sorted(items, |(item, _)| item.0) {
            match row {
                Some(row) => replace.execute([item.0, *row])?,
                None => delete.execute([item.0])?,
            };
        }
        self.db.execute_batch("DELETE FROM notes; COMMIT")?;
        // Where it fails, the log grows until the next time.
        let _ = pragma(&self.db, "wal_checkpoint(TRUNCATE)");
        Ok(())
    }

    /// The target of this name, noted where it is new.
    pub(super) fn target(
        &self,
        base: &str,
        endpoint: &str,
        told_by: Option<&str>,
    ) -> rusqlite::Result<Target> {
        let note = "INSERT INTO targets (base, endpoint, told_by, generation) VALUES (?, ?, ?, 0) \
             ON CONFLICT DO UPDATE SET told_by = excluded.told_by, \
             generation = generation + (told_by IS NOT NULL) \
             WHERE told_by IS NOT excluded.told_by AND excluded.told_by IS NOT NULL";
        self.db.execute(note, params![base, endpoint, told_by])?;
        let find = "SELECT id, generation FROM targets WHERE base = ? AND endpoint = ?";
        self.db.query_row(find, [base, endpoint], |row| {
            Ok(Target {
                id: row.get(0)?,
                generation: row.get(1)?,
            })
        })
    }
}

impl Group<'_> {
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

fn notes(db: &Connection) -> rusqlite::Result<Vec<Vec<u8>>> {
    let mut select = db.prepare("SELECT note FROM notes ORDER BY id")?;
    let notes = select.query_map((), |row| row.get(0))?;
    notes.collect()
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

/// What comes from anywhere in an order in which it is next to each other in the file.
fn sorted<T, K: Ord>(all: impl IntoIterator<Item = T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let mut all: Vec<T> = all.into_iter().collect();
    all.sort_unstable_by_key(key);
    all
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

/// An id in the form in which it takes the least room.
#[derive(Debug)]
enum Packed<'a> {
    None,
    Text(&'a str),
    Bytes([u8; 16]),
}

impl rusqlite::ToSql for Packed<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        match self {
            Self::None => Ok(rusqlite::types::Null.into()),
            Self::Text(text) => Ok((*text).into()),
            Self::Bytes(bytes) => Ok((&bytes[..]).into()),
        }
    }
}

fn packed(id: Option<&str>) -> Packed<'_> {
    let Some(id) = id else {
        return Packed::None;
    };
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    match u128::from_str_radix(id, 16) {
        Ok(number) if id.len() == 32 && id.bytes().all(is_hex) => {
            Packed::Bytes(number.to_be_bytes())
        }
        _ => Packed::Text(id),
    }
}

pub(super) fn unpacked(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    use rusqlite::types::ValueRef;
    Ok(match row.get_ref(column)? {
        ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Some(hex(bytes)),
        _ => None,
    })
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Nothing goes wrong where a text grows.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
