//! What stands in a journal's file, step by step.
//!
//! `rows` has a row for each write, `items` the last write that may have changed an item: a write
//! is left out while it is confirmed and the last one of its items. What is found by a digest or an
//! item lies anywhere in the file, and each of them would be a page to write: what changes at once
//! is appended to `notes` as one piece, kept in memory, and sorted in now and then.

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use super::JournalSync;
use super::file::{damaged, pragma, told};
use super::group::{Changes, Group, Known};
use super::notes::Change;
use super::row::{Row, Target};

/// No journal has more rows.
const MOST_ROWS: i64 = 1 << 48;
/// How many writes are kept in memory.
const MOST_UNSORTED: usize = 16_384;

/// A journal's file, which nobody else has open.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) db: Connection,
    known: Known,
    /// How much that is not sorted in is too much.
    most_unsorted: usize,
}

impl Store {
    pub(super) fn new(db: Connection) -> Result<Self, String> {
        let last: rusqlite::Result<Option<i64>> =
            db.query_row("SELECT max(id) FROM rows", (), |row| row.get(0));
        let last_row = last.map_err(|error| told(&error))?.unwrap_or_default();
        let has_sorted = last_row > 0;
        let mut unsorted = Changes::default();
        for note in notes(&db).map_err(|error| told(&error))? {
            let changes = Change::read_all(&note).ok_or_else(|| damaged("a note is torn"))?;
            for change in changes {
                unsorted.take(change);
            }
        }
        let last_unsorted = unsorted.rows.keys().max().copied();
        let last_row = last_unsorted.unwrap_or_default().max(last_row);
        if last_row > MOST_ROWS {
            return Err(damaged(&format!("a row has the number {last_row}")));
        }
        Ok(Self {
            db,
            known: Known {
                unsorted,
                has_sorted,
                last_row,
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
            .execute_batch(&format!("PRAGMA synchronous = {level}"))?;
        match sync {
            JournalSync::Normal => Ok(()),
            // What was written without waiting is to be on the disk before anything builds on it.
            JournalSync::Full => pragma(&self.db, "wal_checkpoint(TRUNCATE)"),
        }
    }

    /// Begins what changes at once.
    pub(super) fn group(&mut self) -> Group<'_> {
        Group::new(&self.db, &mut self.known)
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

    /// The target of this name in any case, noted where it is new: ODSs take an endpoint in any.
    pub(super) fn target(
        &self,
        base: &str,
        endpoint: &str,
        told_by: Option<&str>,
    ) -> rusqlite::Result<Target> {
        let known = "SELECT endpoint FROM targets WHERE base = ? AND endpoint = ? COLLATE NOCASE \
             ORDER BY id LIMIT 1";
        let known = self.db.query_row(known, [base, endpoint], |row| row.get(0));
        let known: Option<String> = known.optional()?;
        let endpoint = known.as_deref().unwrap_or(endpoint);
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

fn notes(db: &Connection) -> rusqlite::Result<Vec<Vec<u8>>> {
    let mut select = db.prepare("SELECT note FROM notes ORDER BY id")?;
    let notes = select.query_map((), |row| row.get(0))?;
    notes.collect()
}

/// What comes from anywhere in an order in which it is next to each other in the file.
fn sorted<T, K: Ord>(all: impl IntoIterator<Item = T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let mut all: Vec<T> = all.into_iter().collect();
    all.sort_unstable_by_key(key);
    all
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

#[cfg(test)]
mod tests {
    use super::super::digest::{Digest, Item};
    use super::super::file;
    use super::super::group::NewRow;
    use super::super::row::{Answer, Method, State};
    use super::*;

    fn of(name: &str) -> Store {
        let name = format!("polars-edfi-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let store = Store::new(file::open(&path, true, false).unwrap()).unwrap();
        // Nobody finds the file any more; it is there as long as it is open.
        std::fs::remove_file(path).unwrap();
        store
    }

    fn level(store: &Store) -> i64 {
        let level = store
            .db
            .pragma_query_value(None, "synchronous", |row| row.get(0));
        level.unwrap()
    }

    #[test]
    fn only_who_asks_waits_for_the_disk() {
        let store = of("sync");
        assert_eq!(level(&store), 1);
        store.synchronize(JournalSync::Full).unwrap();
        assert_eq!(level(&store), 2);
    }

    #[test]
    fn a_group_counts_as_a_whole_or_not_at_all() {
        let mut store = of("group");
        let target = store.target("https://ods", "ed-fi/students", None).unwrap();
        let (digest, item) = (Digest([1; 16]), Item(7));
        let fill = |group: &mut Group<'_>| {
            let row = group.insert(NewRow {
                digest,
                target,
                method: Method::Post,
                key: Some("a"),
                resource_id: None,
            });
            group.set_last(item, Some(row));
            row
        };
        fill(&mut store.group());
        assert_eq!(store.group().find(digest).unwrap(), None);
        assert_eq!(store.group().last(item).unwrap(), None);
        let mut group = store.group();
        let row = fill(&mut group);
        group.keep(()).unwrap();
        let answer = Answer {
            resource_id: Some("0123456789abcdef0123456789abcdef".into()),
            ..Answer::default()
        };
        let mut group = store.group();
        group.set(row, State::Confirmed, &answer, 3).unwrap();
        group.keep(()).unwrap();
        let known = store.group().find(digest).unwrap().unwrap();
        assert_eq!(
            (known.state, known.key.as_deref(), known.at),
            (State::Confirmed, Some("a"), 3)
        );
        // The same once it is sorted in, and taken from the notes before.
        let unsorted = notes(&store.db).unwrap().concat();
        assert_eq!(Change::read_all(&unsorted).unwrap().len(), 3);
        store.sort_in().unwrap();
        assert!(notes(&store.db).unwrap().is_empty());
        assert_eq!(store.group().find(digest).unwrap(), Some(known));
        assert_eq!(store.group().last(item).unwrap(), Some(row));
        assert_eq!(store.group().find(Digest([2; 16])).unwrap(), None);
        let mut group = store.group();
        group.set_last(item, None);
        group.keep(()).unwrap();
        store.sort_in().unwrap();
        assert_eq!(store.group().last(item).unwrap(), None);
    }
}
