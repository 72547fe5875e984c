//! The SQLite file of a journal: how it is opened and laid out, and its single steps.
//!
//! `rows` has a row for each write, `items` the last write that may have changed an item: a write
//! is left out while it is confirmed and the last one of its items. What is found by a digest or an
//! item lies anywhere in the file, and each of them would be a page to write: what is new is
//! appended to `changes`, kept in memory, and sorted in now and then.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Row as SqlRow, Statement, params,
};

use super::JournalSync;
use super::digest::{Digest, Item};

/// "EdFi", in the header of the file.
const APPLICATION: i32 = 0x4564_4669;
const VERSION: i32 = 1;
/// What every SQLite file begins with.
const HEADER: &[u8] = b"SQLite format 3\0";
const FOREIGN: &str = "is no journal: it is not an SQLite file";
/// How long another process may take to let go of a journal.
const PATIENCE: Duration = Duration::from_millis(250);
const SETTINGS: &str = "
    PRAGMA cache_size = -16000;
    PRAGMA wal_autocheckpoint = 4000;
    PRAGMA temp_store = MEMORY;
";
const SCHEMA: &str = "
    CREATE TABLE targets (
        id INTEGER PRIMARY KEY,
        base TEXT NOT NULL,
        endpoint TEXT NOT NULL,
        told_by TEXT,
        generation INTEGER NOT NULL,
        UNIQUE (base, endpoint)
    ) STRICT;
    CREATE TABLE rows (
        id INTEGER PRIMARY KEY,
        digest BLOB NOT NULL,
        target INTEGER NOT NULL,
        generation INTEGER NOT NULL,
        method INTEGER NOT NULL,
        key TEXT,
        state INTEGER NOT NULL,
        http_status INTEGER,
        message TEXT,
        correlation_id TEXT,
        resource_id ANY,
        attempts INTEGER NOT NULL,
        at INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE digests (
        digest BLOB PRIMARY KEY,
        row INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE items (
        item INTEGER PRIMARY KEY,
        row INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE changes (
        id INTEGER PRIMARY KEY,
        item INTEGER,
        row INTEGER
    ) STRICT;
";

/// Sorts the changes in; the last of each item counts.
const SORT_IN: &str = "
    BEGIN IMMEDIATE;
    INSERT OR IGNORE INTO digests
        SELECT digest, id FROM rows WHERE id IN (SELECT row FROM changes) ORDER BY digest;
    INSERT OR REPLACE INTO items
        SELECT item, row FROM (
            SELECT item, row, max(id) FROM changes WHERE item IS NOT NULL GROUP BY item
        ) WHERE row IS NOT NULL ORDER BY item;
    DELETE FROM items WHERE item IN (
        SELECT item FROM (
            SELECT item, row, max(id) FROM changes WHERE item IS NOT NULL GROUP BY item
        ) WHERE row IS NULL
    );
    DELETE FROM changes;
    COMMIT
";
/// How many changes are kept in memory.
const MOST_CHANGES: usize = 50_000;

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
    id: i64,
    /// Goes up when items are told apart by something else than before: what was confirmed by
    /// other keys is not compared.
    generation: i64,
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
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) generation: i64,
    pub(super) state: State,
    pub(super) answer: Answer,
    /// Microseconds since 1970.
    pub(super) at: i64,
}

/// What a new row tells of its write.
pub(super) struct NewRow<'a> {
    pub(super) digest: Digest,
    pub(super) target: Target,
    pub(super) method: Method,
    pub(super) key: Option<&'a str>,
    pub(super) resource_id: Option<&'a str>,
    /// Whether it is going to be the last one of an item.
    pub(super) has_items: bool,
}

/// A journal's file, which nobody else has open: its steps, prepared once.
pub(super) struct Store<'a> {
    pub(super) db: &'a Connection,
    begin: RefCell<Statement<'a>>,
    commit: RefCell<Statement<'a>>,
    find: RefCell<Statement<'a>>,
    resource_id: RefCell<Statement<'a>>,
    last: RefCell<Statement<'a>>,
    change: RefCell<Statement<'a>>,
    insert: RefCell<Statement<'a>>,
    send_again: RefCell<Statement<'a>>,
    set: RefCell<Statement<'a>>,
    find_row: RefCell<Statement<'a>>,
    changes: RefCell<Changes>,
}

/// What is not sorted in yet.
#[derive(Default)]
struct Changes {
    count: usize,
    digests: HashMap<Digest, i64>,
    items: HashMap<Item, Option<i64>>,
}

/// Opens a journal, or makes one where there is none and it `may_be_new`. A file that is not
/// `known` to be sound is read as a whole.
pub(super) fn open(path: &Path, may_be_new: bool, known: bool) -> Result<Connection, String> {
    make(path, may_be_new).map_err(|error| told_io(&error))?;
    if !has_header(path).map_err(|error| told_io(&error))? {
        return Err(FOREIGN.into());
    }
    connect(path, known).map_err(|problem| match problem {
        Problem::Sql(error) => told(&error),
        Problem::Other(text) => text,
    })
}

fn connect(path: &Path, known: bool) -> Result<Connection, Problem> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(PATIENCE)?;
    pragma(&db, "locking_mode = EXCLUSIVE")?;
    let number = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_master", (), |row| row.get(0))?;
    match (number("application_id")?, number("user_version")?) {
        (0, 0) if tables == 0 => {
            pragma(&db, "journal_mode = WAL")?;
            db.execute_batch(&format!(
                "BEGIN EXCLUSIVE; {SCHEMA} PRAGMA application_id = {APPLICATION}; \
                 PRAGMA user_version = {VERSION}; COMMIT"
            ))?;
        }
        (APPLICATION, VERSION) => {}
        (APPLICATION, version) => {
            return Err(Problem::Other(format!(
                "was written by another version of polars-edfi (its format is {version}, this \
                 version knows {VERSION})"
            )));
        }
        _ => {
            return Err(Problem::Other(
                "is an SQLite file of another program, not a journal".into(),
            ));
        }
    }
    db.execute_batch(SETTINGS)?;
    if !known {
        let found: String = db.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
        if found != "ok" {
            return Err(Problem::Other(damaged(&found)));
        }
    }
    // Who cannot write, or finds no room, is to hear of it before anything is sent.
    db.execute_batch(&format!(
        "BEGIN IMMEDIATE; PRAGMA user_version = {VERSION}; COMMIT"
    ))?;
    Ok(db)
}

impl<'a> Store<'a> {
    pub(super) fn new(db: &'a Connection) -> rusqlite::Result<Self> {
        let prepare = |sql: &str| db.prepare(sql).map(RefCell::new);
        Ok(Self {
            db,
            begin: prepare("BEGIN IMMEDIATE")?,
            commit: prepare("COMMIT")?,
            find: prepare("SELECT row FROM digests WHERE digest = ?")?,
            find_row: prepare(
                "SELECT id, generation, state, http_status, message, correlation_id, \
                 resource_id, attempts, at FROM rows WHERE id = ?",
            )?,
            changes: RefCell::default(),
            resource_id: prepare("SELECT resource_id FROM rows WHERE id = ?")?,
            last: prepare("SELECT row FROM items WHERE item = ?")?,
            change: prepare("INSERT INTO changes (item, row) VALUES (?, ?)")?,
            insert: prepare(
                "INSERT INTO rows \
                 (digest, target, generation, method, key, state, resource_id, attempts, at) \
                 VALUES (?, ?, ?, ?, ?, 0, ?, 0, ?)",
            )?,
            send_again: prepare("UPDATE rows SET state = 0, generation = ?, at = ? WHERE id = ?")?,
            set: prepare(
                "UPDATE rows SET state = ?, http_status = ?, message = ?, correlation_id = ?, \
                 resource_id = coalesce(?, resource_id), attempts = ?, at = ? WHERE id = ?",
            )?,
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

    /// Does something as a whole or not at all; in the file when this returns.
    pub(super) fn transaction<T>(
        &self,
        work: impl FnOnce() -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.begin.borrow_mut().execute(())?;
        let done = work().and_then(|done| {
            self.commit.borrow_mut().execute(())?;
            Ok(done)
        });
        if done.is_err() {
            if !self.db.is_autocommit() {
                self.db.execute_batch("ROLLBACK")?;
            }
            self.load_changes()?;
        }
        done
    }

    /// Sorts in what is new, where it has become too much to keep, or in any case.
    pub(super) fn sort_in(&self, in_any_case: bool) -> rusqlite::Result<()> {
        if self.changes.borrow().count < MOST_CHANGES && !in_any_case {
            return Ok(());
        }
        let done = self.db.execute_batch(SORT_IN);
        match done {
            Ok(()) => *self.changes.borrow_mut() = Changes::default(),
            Err(_) if !self.db.is_autocommit() => self.db.execute_batch("ROLLBACK")?,
            Err(_) => {}
        }
        done
    }

    /// Takes the changes from the file.
    fn load_changes(&self) -> rusqlite::Result<()> {
        let mut changes = Changes::default();
        let mut select = self.db.prepare(
            "SELECT item, row, digest FROM changes LEFT JOIN rows ON rows.id = row \
             ORDER BY changes.id",
        )?;
        let mut rows = select.query(())?;
        while let Some(row) = rows.next()? {
            changes.count += 1;
            let number: Option<i64> = row.get(1)?;
            if let Some(item) = row.get(0)? {
                changes.items.insert(Item(item), number);
            }
            let digest: Option<[u8; 16]> = row.get(2)?;
            if let Some((digest, number)) = digest.zip(number) {
                changes.digests.insert(Digest(digest), number);
            }
        }
        *self.changes.borrow_mut() = changes;
        Ok(())
    }

    fn change(&self, item: Option<Item>, row: Option<i64>) -> rusqlite::Result<()> {
        let mut change = self.change.borrow_mut();
        change.execute(params![item.map(|item| item.0), row])?;
        let mut changes = self.changes.borrow_mut();
        changes.count += 1;
        if let Some(item) = item {
            changes.items.insert(item, row);
        }
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

    pub(super) fn find(&self, digest: Digest) -> rusqlite::Result<Option<Row>> {
        let new = self.changes.borrow().digests.get(&digest).copied();
        let number = match new {
            Some(number) => Some(number),
            None => {
                let mut find = self.find.borrow_mut();
                let found = find.query_row([&digest.0[..]], |row| row.get::<_, i64>(0));
                found.optional()?
            }
        };
        let Some(number) = number else {
            return Ok(None);
        };
        let read = |row: &SqlRow<'_>| {
            Ok(Row {
                id: row.get(0)?,
                generation: row.get(1)?,
                state: State::of(row.get(2)?),
                answer: Answer {
                    http_status: row.get(3)?,
                    message: row.get(4)?,
                    correlation_id: row.get(5)?,
                    resource_id: unpacked(row, 6)?,
                    attempts: row.get(7)?,
                },
                at: row.get(8)?,
            })
        };
        let mut find = self.find_row.borrow_mut();
        find.query_row([number], read).optional()
    }

    /// The id of the item that a write was about, as far as it is known.
    pub(super) fn resource_id(&self, row: i64) -> rusqlite::Result<Option<String>> {
        let mut find = self.resource_id.borrow_mut();
        let found = find.query_row([row], |row| unpacked(row, 0)).optional()?;
        Ok(found.flatten())
    }

    /// The last write that may have changed an item.
    pub(super) fn last(&self, item: Item) -> rusqlite::Result<Option<i64>> {
        if let Some(last) = self.changes.borrow().items.get(&item) {
            return Ok(*last);
        }
        let mut last = self.last.borrow_mut();
        last.query_row([item.0], |row| row.get(0)).optional()
    }

    pub(super) fn set_last(&self, item: Item, row: Option<i64>) -> rusqlite::Result<()> {
        self.change(Some(item), row)
    }

    /// The same for an item of which something is known already.
    pub(super) fn set_last_if_known(&self, item: Item, row: i64) -> rusqlite::Result<()> {
        match self.last(item)? {
            Some(_) => self.change(Some(item), Some(row)),
            None => Ok(()),
        }
    }

    pub(super) fn insert(&self, new: &NewRow<'_>) -> rusqlite::Result<i64> {
        let number = self.insert.borrow_mut().insert(params![
            &new.digest.0[..],
            new.target.id,
            new.target.generation,
            new.method as i64,
            new.key,
            packed(new.resource_id),
            now(),
        ])?;
        if !new.has_items {
            self.change(None, Some(number))?;
        }
        self.changes.borrow_mut().digests.insert(new.digest, number);
        Ok(number)
    }

    /// Notes that a write that is known is sent again.
    pub(super) fn send_again(&self, row: i64, target: Target) -> rusqlite::Result<()> {
        let mut send_again = self.send_again.borrow_mut();
        send_again
            .execute([target.generation, now(), row])
            .map(drop)
    }

    pub(super) fn set(
        &self,
        row: i64,
        state: State,
        answer: &Answer,
        at: i64,
    ) -> rusqlite::Result<()> {
        let mut set = self.set.borrow_mut();
        set.execute(params![
            state as i64,
            answer.http_status,
            answer.message,
            answer.correlation_id,
            packed(answer.resource_id.as_deref()),
            answer.attempts,
            at,
            row,
        ])
        .map(drop)
    }
}

impl Target {
    pub(super) fn is_of(self, row: &Row) -> bool {
        row.generation == self.generation
    }
}

/// Why there is no journal.
enum Problem {
    Sql(rusqlite::Error),
    Other(String),
}

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

/// Makes an empty file that only its owner may read, unless there is one.
fn make(path: &Path, may_be_new: bool) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(io::Error::other("is a folder")),
        Err(error) if error.kind() == io::ErrorKind::NotFound && may_be_new => {
            match options.open(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                _ => Ok(()),
            }
        }
        found => found.map(drop),
    }
}

/// Whether a file is empty, or begins as SQLite's do: SQLite itself takes a short text for an empty
/// file.
fn has_header(path: &Path) -> io::Result<bool> {
    let mut header = Vec::with_capacity(HEADER.len());
    let file = std::fs::File::open(path)?;
    file.take(HEADER.len() as u64).read_to_end(&mut header)?;
    Ok(header.is_empty() || header == HEADER)
}

/// A pragma that answers.
fn pragma(db: &Connection, text: &str) -> rusqlite::Result<()> {
    db.query_row(&format!("PRAGMA {text}"), (), |_| Ok(()))
}

/// What is wrong with a journal, in words that go on after its path.
pub(super) fn told(error: &rusqlite::Error) -> String {
    let text = match error {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
        other => other.to_string(),
    };
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => FOREIGN.into(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "is in use by another process; a journal serves one at a time".into()
        }
        Some(ErrorCode::DatabaseCorrupt) => damaged(&text),
        Some(ErrorCode::DiskFull) => "cannot be written: the disk is full".into(),
        _ => format!("cannot be used: {text}"),
    }
}

fn damaged(what: &str) -> String {
    format!(
        "is damaged ({what}); where another file is named, what this one knew as confirmed is sent \
         again"
    )
}

fn told_io(error: &io::Error) -> String {
    format!("cannot be opened: {error}")
}

/// Microseconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
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
