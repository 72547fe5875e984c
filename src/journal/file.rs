//! The SQLite file of a journal: how it is opened and laid out, and what is said where it cannot be.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

/// "EdFi", in the header of the file.
const APPLICATION: i32 = 0x4564_4669;
const VERSION: i32 = 2;
/// What every SQLite file begins with.
const HEADER: &[u8] = b"SQLite format 3\0";
const FOREIGN: &str = "is no journal: it is not an SQLite file";
/// Each note writes its last page once more: small pages are little to write.
const PAGE: u32 = 1024;
/// How long another process may take to let go of a journal.
const PATIENCE: Duration = Duration::from_millis(250);
/// What is in the log goes to its place when notes are sorted in, not while rows wait.
const SETTINGS: &str = "
    PRAGMA cache_size = -16000;
    PRAGMA wal_autocheckpoint = 0;
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
    CREATE TABLE notes (
        id INTEGER PRIMARY KEY,
        note BLOB NOT NULL
    ) STRICT;
";

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
    // Nobody waits for the disk to open a file: a new one is on it once notes are sorted in, or the
    // journal is closed.
    db.execute_batch("PRAGMA synchronous = OFF")?;
    let number = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_master", (), |row| row.get(0))?;
    match (number("application_id")?, number("user_version")?) {
        (0, 0) if tables == 0 => {
            db.execute_batch(&format!("PRAGMA page_size = {PAGE}"))?;
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
        "BEGIN IMMEDIATE; PRAGMA user_version = {VERSION}; COMMIT; PRAGMA synchronous = NORMAL"
    ))?;
    Ok(db)
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
        // Who opens a pipe waits for its other end.
        Ok(found) if !found.is_file() => Err(io::Error::other("is no regular file")),
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
pub(super) fn pragma(db: &Connection, text: &str) -> rusqlite::Result<()> {
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

pub(super) fn damaged(what: &str) -> String {
    format!(
        "is damaged ({what}); where another file is named, what this one knew as confirmed is sent \
         again"
    )
}

fn told_io(error: &io::Error) -> String {
    format!("cannot be opened: {error}")
}
