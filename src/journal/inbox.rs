//! What calls have to say to a journal: whoever finds nobody at the pen writes for all.
//!
//! A write to the file's log costs some microseconds, for one message or for many; to wake another
//! thread for it costs more. So the thread that has something to say writes, and takes along what
//! others have said. What waits for the disk goes to a thread that may.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use super::forks::Within;
use super::writer::{Message, Writer};
use crate::runtime::{self, lock};

/// Messages that nobody has taken yet, and who writes them down; nobody once it is closed.
#[derive(Debug)]
pub(super) struct Inbox {
    messages: Mutex<Vec<Message>>,
    writer: Mutex<Option<Writer>>,
    /// Whether each write waits for the disk.
    is_slow: AtomicBool,
    /// Whether another thread is on its way.
    is_called: AtomicBool,
}

impl Inbox {
    pub(super) fn new(writer: Writer) -> Self {
        Self {
            messages: Mutex::default(),
            writer: Mutex::new(Some(writer)),
            is_slow: AtomicBool::new(false),
            is_called: AtomicBool::new(false),
        }
    }

    fn messages(&self) -> MutexGuard<'_, Vec<Message>> {
        lock(&self.messages)
    }

    /// Has writes go to a thread that may wait.
    pub(super) fn be_slow(&self) {
        self.is_slow.store(true, Ordering::Relaxed);
    }

    /// Leaves a message, which is written at the next [`write`](Self::write).
    pub(super) fn leave(&self, message: Message) {
        self.messages().push(message);
    }

    /// Has written what is there.
    pub(super) fn write(self: &Arc<Self>) {
        match self.is_slow.load(Ordering::Relaxed) {
            _ if self.messages().is_empty() => {}
            true => self.call(),
            false => self.write_here(),
        }
    }

    fn write_here(self: &Arc<Self>) {
        // Who left a message and found somebody at the pen has gone: it is looked for again, after
        // the pen is free.
        while !self.messages().is_empty() {
            let mut writer = match self.writer.try_lock() {
                Ok(writer) => writer,
                Err(TryLockError::WouldBlock) => return,
                Err(TryLockError::Poisoned(ended)) => {
                    let mut writer = ended.into_inner();
                    *writer = None;
                    writer
                }
            };
            let _within = Within::enter();
            let messages = std::mem::take(&mut *self.messages());
            // Where nobody writes any more they are dropped, which who waits for an answer notices.
            let Some(at_work) = writer.as_mut() else {
                continue;
            };
            let written = catch_unwind(AssertUnwindSafe(|| {
                at_work.take(messages, self);
                at_work.is_full()
            }));
            match written {
                Ok(true) => self.call(),
                Ok(false) => {}
                // What other rows were answered must not be lost with it.
                Err(_) => *writer = None,
            }
        }
    }

    /// Has another thread write, and sort in what has become too much.
    fn call(self: &Arc<Self>) {
        if self.is_called.swap(true, Ordering::AcqRel) {
            return;
        }
        let inbox = self.clone();
        let called = runtime::spawn(move || {
            inbox.is_called.store(false, Ordering::Release);
            inbox.with(|writer| {
                // Where there is no room for it, it is tried again later.
                let _ = writer.is_full().then(|| writer.store.sort_in());
            });
            inbox.write_here();
        });
        if called.is_err() {
            self.is_called.store(false, Ordering::Release);
            self.write_here();
        }
    }

    /// Does something with the writer, whom this waits for; nothing where it is closed.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Writer) -> T) -> Option<T> {
        let mut writer = self.writer.lock().ok()?;
        let _within = Within::enter();
        writer.as_mut().map(work)
    }

    /// Closes the file.
    pub(super) fn close(&self) {
        let mut writer = lock(&self.writer);
        let within = Within::enter();
        *writer = None;
        drop((within, writer));
        let left = std::mem::take(&mut *self.messages());
        // What is dropped may have something to say itself.
        drop(left);
    }
}
