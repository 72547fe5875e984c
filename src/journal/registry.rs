//! The journals that this process has open: one writer for each file, whichever calls use it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use polars::prelude::DataFrame;
use tokio::sync::oneshot;

use super::JournalSync;
use super::file::{self, told};
use super::forks::Within;
use super::inbox::Inbox;
use super::read::rows_of;
use super::row::{Answer, Target};
use super::store::Store;
use super::writer::{Begun, Ending, Message, Reply, Ticket, Write, Writer};
use crate::per_process::PerProcess;
use crate::runtime::lock;
use crate::{Error, Result, runtime};

static JOURNALS: PerProcess<Mutex<HashMap<PathBuf, Known>>> = PerProcess::new();

/// What this process knows of a file.
#[derive(Default)]
struct Known {
    open: Weak<Open>,
    file: Arc<File>,
}

#[derive(Debug, Default)]
struct File {
    state: Mutex<FileState>,
    closed: Condvar,
}

#[derive(Debug, Default)]
struct FileState {
    is_open: bool,
    /// As it was closed here: the same file need not be checked again.
    last: Option<Stamp>,
}

/// How long a file was, and when it was written. Whoever has it open holds its lock.
type Stamp = (u64, SystemTime);

/// A journal. Clones share it; the file is closed with the last of them.
#[derive(Debug, Clone)]
pub(crate) struct Journal(Arc<Open>);

#[derive(Debug)]
struct Open {
    path: PathBuf,
    inbox: Arc<Inbox>,
    file: Arc<File>,
}

impl Journal {
    /// Opens a journal, or joins those who have it open. Waits for the disk.
    pub(crate) fn open(path: &Path, sync: JournalSync) -> Result<Self> {
        let journal = Self::open_at(path, true)?;
        if sync != JournalSync::Normal {
            journal.0.inbox.be_slow();
            let done = journal.0.inbox.with(|writer| writer.synchronize(sync));
            journal.write();
            let wrong = |what: String| Error::Config(journal.say(&what));
            done.unwrap_or_else(|| Err(GONE.into())).map_err(wrong)?;
        }
        Ok(journal)
    }

    /// The same for a journal that must be there.
    pub(crate) fn open_existing(path: &Path) -> Result<Self> {
        Self::open_at(path, false)
    }

    fn open_at(given: &Path, may_be_new: bool) -> Result<Self> {
        let wrong = |what: String| Error::Config(format!("journal {}: {what}", given.display()));
        let path = absolute(given).map_err(|error| wrong(format!("cannot be opened: {error}")))?;
        let mut journals = lock(JOURNALS.get());
        let known = journals.entry(path.clone()).or_default();
        if let Some(open) = known.open.upgrade() {
            return Ok(Self(open));
        }
        let open = Open::new(path, known.file.clone(), may_be_new).map_err(wrong)?;
        let open = Arc::new(open);
        known.open = Arc::downgrade(&open);
        Ok(Self(open))
    }

    /// The target of this name, noted where it is new; its items are told apart by what is named.
    pub(crate) async fn target(
        &self,
        base: &str,
        endpoint: &str,
        told_by: Option<String>,
    ) -> Result<Target, String> {
        let (base, endpoint) = (base.to_owned(), endpoint.to_owned());
        let find = move |writer: &mut Writer| {
            let found = writer.store.target(&base, &endpoint, told_by.as_deref());
            found.map_err(|error| told(&error))
        };
        self.with(find).await
    }

    /// Notes that a write is sent, unless it need not be, or must not: at the next
    /// [`write`](Self::write).
    pub(crate) async fn begin(&self, write: Box<Write>) -> Result<Begun, String> {
        self.ask(|reply| Message::Begin(write, reply)).await
    }

    /// Notes what became of a write: at the next [`write`](Self::write).
    pub(crate) async fn end(
        &self,
        ticket: Ticket,
        ending: Ending,
        answer: Answer,
    ) -> Result<(), String> {
        let number = ticket.end();
        self.ask(|reply| Message::End(number, ending, Box::new(answer), reply))
            .await
    }

    /// Writes down what began and ended since the last time.
    pub(crate) fn write(&self) {
        self.0.inbox.write();
    }

    /// All rows.
    pub(super) async fn rows(&self) -> Result<DataFrame, String> {
        self.with(|writer| rows_of(&mut writer.store)).await
    }

    async fn ask<T>(&self, message: impl FnOnce(Reply<T>) -> Message) -> Result<T, String> {
        let (reply, answer) = oneshot::channel();
        self.0.inbox.leave(message(reply));
        answer.await.unwrap_or_else(|_| Err(GONE.into()))
    }

    /// Does something with the writer, on a thread that may wait.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let inbox = self.0.inbox.clone();
        let done = runtime::compute(move || {
            let done = inbox.with(work);
            // Who found somebody at the pen is waiting.
            inbox.write();
            done
        });
        let done = done.await.map_err(|error| error.to_string())?;
        done.unwrap_or_else(|| Err(GONE.into()))
    }

    /// What is said of this journal, after its path.
    pub(crate) fn say(&self, what: &str) -> String {
        format!("journal {}: {what}", self.0.path.display())
    }
}

/// What is said where a bug has ended the writer.
const GONE: &str = "cannot be used: its writer has ended";

impl Open {
    /// Opens a file, once nobody here is closing it any more.
    fn new(path: PathBuf, file: Arc<File>, may_be_new: bool) -> Result<Self, String> {
        let state = file.closed.wait_while(file.state(), |state| state.is_open);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        let last = state.last.take();
        let is_known = last.is_some_and(|last| stamp(&path) == Some(last));
        let store = {
            let _within = Within::enter();
            Store::new(file::open(&path, may_be_new, is_known)?)?
        };
        state.is_open = true;
        drop(state);
        Ok(Self {
            path,
            inbox: Arc::new(Inbox::new(Writer::new(store))),
            file,
        })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.inbox.close();
        let mut state = self.file.state();
        *state = FileState {
            is_open: false,
            last: stamp(&self.path),
        };
        self.file.closed.notify_all();
    }
}

impl File {
    fn state(&self) -> MutexGuard<'_, FileState> {
        lock(&self.state)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let file = std::fs::metadata(path).ok()?;
    Some((file.len(), file.modified().ok()?))
}

/// A path that says the same wherever it is used, and whatever SQLite thinks of its name.
fn absolute(path: &Path) -> std::io::Result<PathBuf> {
    if let Ok(path) = path.canonicalize() {
        return Ok(path);
    }
    let name = path
        .file_name()
        .ok_or_else(|| std::io::Error::other("is no name of a file"))?;
    let folder = match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => Path::new("."),
    };
    Ok(folder.canonicalize()?.join(name))
}
