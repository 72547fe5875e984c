//! The journals that this process has open: one writer for each file, whichever calls use it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use polars::prelude::DataFrame;
use tokio::sync::oneshot;

use super::JournalSync;
use super::inbox::Inbox;
use super::store::{self, Answer, Store, Target};
use super::writer::{Begun, Ending, Message, Reply, Ticket, Write, Writer};
use crate::per_process::PerProcess;
use crate::{Error, Result};

static JOURNALS: PerProcess<Mutex<HashMap<PathBuf, Known>>> = PerProcess::new();

/// What this process knows of a file.
#[derive(Default)]
struct Known {
    open: Weak<Open>,
    file: Arc<Mutex<Option<Stamp>>>,
}

/// When a file was closed here, and how long it was: the same file need not be checked again.
/// Whoever has it open holds its lock.
type Stamp = (u64, SystemTime);

/// A journal. Clones share it; the file is closed with the last of them.
#[derive(Debug, Clone)]
pub(crate) struct Journal(Arc<Open>);

#[derive(Debug)]
struct Open {
    path: PathBuf,
    inbox: Arc<Inbox>,
    thread: Option<JoinHandle<()>>,
}

impl Journal {
    /// Opens a journal, or joins those who have it open. Waits for the disk.
    pub(crate) fn open(path: &Path, sync: JournalSync) -> Result<Self> {
        let journal = Self::open_at(path, true)?;
        journal.0.inbox.send(Message::Synchronize(sync));
        Ok(journal)
    }

    /// The same for a journal that must be there.
    pub(crate) fn open_existing(path: &Path) -> Result<Self> {
        Self::open_at(path, false)
    }

    fn open_at(given: &Path, may_be_new: bool) -> Result<Self> {
        let wrong = |what: String| Error::Config(format!("journal {}: {what}", given.display()));
        let path = absolute(given).map_err(|error| wrong(format!("cannot be opened: {error}")))?;
        let journals = JOURNALS.get().lock();
        let mut journals = journals.unwrap_or_else(PoisonError::into_inner);
        let known = journals.entry(path.clone()).or_default();
        if let Some(open) = known.open.upgrade() {
            return Ok(Self(open));
        }
        let open = start(path, known.file.clone(), may_be_new).map_err(wrong)?;
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
        self.ask(|reply| Message::Target {
            base,
            endpoint,
            told_by,
            reply,
        })
        .await
    }

    /// Notes that a write is sent, unless it need not be, or must not.
    pub(crate) async fn begin(&self, write: Write) -> Result<Begun, String> {
        self.ask(|reply| Message::Begin(Box::new(write), reply))
            .await
    }

    /// Notes what became of a write.
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

    /// All rows.
    pub(super) async fn rows(&self) -> Result<DataFrame, String> {
        self.ask(Message::Read).await
    }

    async fn ask<T>(&self, message: impl FnOnce(Reply<T>) -> Message) -> Result<T, String> {
        let gone = "cannot be used: its writer has ended";
        let (reply, answer) = oneshot::channel();
        self.0.inbox.send(message(reply));
        answer.await.unwrap_or_else(|_| Err(gone.into()))
    }

    /// What is said of this journal, after its path.
    pub(crate) fn say(&self, what: &str) -> String {
        format!("journal {}: {what}", self.0.path.display())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.inbox.send(Message::Close);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts the writer of a file, and waits until the file is open.
fn start(path: PathBuf, file: Arc<Mutex<Option<Stamp>>>, may_be_new: bool) -> Result<Open, String> {
    let (opened, opening) = mpsc::channel();
    let inbox: Arc<Inbox> = Arc::default();
    let (of_writer, at) = (inbox.clone(), path.clone());
    let thread = thread::Builder::new()
        .name("polars-edfi-journal".into())
        .spawn(move || {
            let mut known = file.lock().unwrap_or_else(PoisonError::into_inner);
            let is_known = known.take().is_some_and(|last| stamp(&at) == Some(last));
            let done = store::open(&at, may_be_new, is_known).and_then(|db| {
                let store = Store::new(&db).map_err(|error| store::told(&error))?;
                store.sort_in(true).map_err(|error| store::told(&error))?;
                let _ = opened.send(Ok(()));
                Writer::new(store, of_writer).run();
                Ok(())
            });
            match done {
                Ok(()) => *known = stamp(&at),
                Err(what) => drop(opened.send(Err(what))),
            }
        })
        .map_err(|error| format!("cannot be opened: no threads: {error}"))?;
    match opening.recv() {
        Ok(Ok(())) => Ok(Open {
            path,
            inbox,
            thread: Some(thread),
        }),
        Ok(Err(what)) => Err(what),
        Err(_) => Err("cannot be opened: its writer has ended".into()),
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
