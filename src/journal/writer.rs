//! The thread that writes a journal: the notes of many rows in one transaction, each in the file
//! before its row goes on.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use polars::prelude::DataFrame;
use tokio::sync::oneshot;

use super::JournalSync;
use super::digest::{Digest, Item};
use super::inbox::{Inbox, Pace};
use super::read::rows_of;
use super::store::{Answer, Method, NewRow, Row, State, Store, Target, now, told};

/// What is to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) digest: Digest,
    pub(crate) target: Target,
    pub(crate) method: Method,
    pub(crate) key: Option<String>,
    /// The id of the item, where the write names it.
    pub(crate) id: Option<String>,
    /// The item that it changes, by its key, by its id, or by both.
    pub(crate) items: Vec<Item>,
    /// What was confirmed before is sent again (microseconds since 1970).
    pub(crate) resend_before: Option<i64>,
    /// Whether it may be sent again where nobody knows what became of it.
    pub(crate) repeats: bool,
}

/// What is to be done with a write.
#[derive(Debug)]
pub(crate) enum Begun {
    /// Nothing: it was confirmed, and nothing changed its item since.
    Confirmed(Answer),
    /// Nothing: it was sent, and nobody knows what became of it.
    InDoubt,
    /// It is noted as sent.
    Go(Ticket),
}

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Confirmed,
    /// The item is as it was before.
    Refused,
    /// An answer that does not tell whether the item is as it was.
    Unclear,
    /// No answer.
    InDoubt,
    NotSent,
}

/// A write that is noted as sent. Where it is dropped, nobody knows what became of it.
#[derive(Debug)]
pub(crate) struct Ticket {
    number: u64,
    inbox: Arc<Inbox>,
    has_ended: bool,
}

impl Ticket {
    /// The number of a write that the writer is told the end of.
    pub(super) fn end(mut self) -> u64 {
        self.has_ended = true;
        self.number
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.has_ended {
            self.inbox.send(Message::Release(self.number));
        }
    }
}

/// Answers, or why there are none.
pub(super) type Reply<T> = oneshot::Sender<Result<T, String>>;

#[derive(Debug)]
pub(super) enum Message {
    Synchronize(JournalSync),
    Target {
        base: String,
        endpoint: String,
        told_by: Option<String>,
        reply: Reply<Target>,
    },
    Begin(Box<Write>, Reply<Begun>),
    End(u64, Ending, Box<Answer>, Reply<()>),
    Release(u64),
    Read(Reply<DataFrame>),
    Close,
}

/// A write that was noted as sent, and what stood there before.
#[derive(Debug)]
struct Flight {
    row: i64,
    target: Target,
    method: Method,
    items: Vec<(Item, Option<i64>)>,
    /// The id that a posted item had, where something is known of it under that.
    id: Option<(String, i64)>,
    before: Option<Row>,
}

/// The end of a writer, even in a panic.
struct Closing(Arc<Inbox>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What is to be noted.
enum Note {
    Begin(Box<Write>, Reply<Begun>),
    End(u64, Ending, Box<Answer>, Reply<()>),
}

/// What came of it, once it is in the file.
enum Noted {
    Known(Begun),
    Sent(Flight),
    Ended,
    /// Another call is sending a write of the same item.
    Parked,
}

pub(super) struct Writer<'a> {
    store: Store<'a>,
    inbox: Arc<Inbox>,
    flights: HashMap<u64, Flight>,
    in_flight: HashSet<Item>,
    parked: Vec<(Box<Write>, Reply<Begun>)>,
    next: u64,
    sync: JournalSync,
}

impl<'a> Writer<'a> {
    pub(super) fn new(store: Store<'a>, inbox: Arc<Inbox>) -> Self {
        Self {
            store,
            inbox,
            flights: HashMap::new(),
            in_flight: HashSet::new(),
            parked: Vec::new(),
            next: 0,
            sync: JournalSync::Normal,
        }
    }

    /// Works until nobody uses the journal any more.
    pub(super) fn run(mut self) {
        let _closing = Closing(self.inbox.clone());
        let (mut is_used, mut pace) = (true, Pace::new());
        while is_used {
            let mut notes = Vec::new();
            // Half of the rows under way: the others are with the server meanwhile.
            let enough = (self.flights.len() / 2).max(1);
            for message in self.inbox.clone().wait(&mut pace, enough) {
                match message {
                    Message::Begin(write, reply) => notes.push(Note::Begin(write, reply)),
                    Message::End(number, ending, answer, reply) => {
                        notes.push(Note::End(number, ending, answer, reply));
                    }
                    Message::Release(number) => self.release(number),
                    Message::Synchronize(sync) => self.synchronize(sync),
                    Message::Target {
                        base,
                        endpoint,
                        told_by,
                        reply,
                    } => {
                        let store = &self.store;
                        let found = store
                            .transaction(|| store.target(&base, &endpoint, told_by.as_deref()));
                        let _ = reply.send(found.map_err(|error| told(&error)));
                    }
                    Message::Read(reply) => {
                        let _ = reply.send(rows_of(&self.store));
                    }
                    Message::Close => is_used = false,
                }
            }
            self.note(notes);
            self.unpark();
            // Where there is no room for it, it is tried again later.
            let _ = self.store.sort_in(!is_used);
        }
    }

    fn synchronize(&mut self, sync: JournalSync) {
        if sync > self.sync && self.store.synchronize(sync).is_ok() {
            self.sync = sync;
        }
    }

    fn release(&mut self, number: u64) {
        if let Some(flight) = self.flights.remove(&number) {
            for (item, _) in flight.items {
                self.in_flight.remove(&item);
            }
        }
    }

    /// Writes whose item has come free.
    fn unpark(&mut self) {
        while self.parked.iter().any(|(write, _)| self.is_free(write)) {
            let parked = std::mem::take(&mut self.parked);
            let notes = parked.into_iter().map(|(w, reply)| Note::Begin(w, reply));
            self.note(notes.collect());
        }
    }

    fn is_free(&self, write: &Write) -> bool {
        !write.items.iter().any(|item| self.in_flight.contains(item))
    }

    fn note(&mut self, notes: Vec<Note>) {
        if notes.is_empty() {
            return;
        }
        let all = self.try_all(&notes);
        match all {
            Ok(noted) => {
                for (note, noted) in notes.into_iter().zip(noted) {
                    self.answer(note, noted);
                }
            }
            Err(error) if notes.len() == 1 => {
                for note in notes {
                    self.refuse(note, &error);
                }
            }
            // What cannot be noted of one row is no reason for the others. Answers first: they take
            // the least room.
            Err(_) => {
                let (ends, begins): (Vec<_>, Vec<_>) = notes
                    .into_iter()
                    .partition(|note| matches!(note, Note::End(..)));
                for note in ends.into_iter().chain(begins) {
                    self.note(vec![note]);
                }
            }
        }
    }

    fn try_all(&self, notes: &[Note]) -> rusqlite::Result<Vec<Noted>> {
        self.store.transaction(|| {
            let mut taken = HashSet::new();
            let mut noted = Vec::with_capacity(notes.len());
            for note in notes {
                noted.push(match note {
                    Note::Begin(write, _) => {
                        let is_taken = write.items.iter().any(|item| taken.contains(item));
                        match is_taken || !self.is_free(write) {
                            true => Noted::Parked,
                            false => {
                                taken.extend(write.items.iter().copied());
                                self.begin(write)?
                            }
                        }
                    }
                    Note::End(number, ending, answer, _) => {
                        if let Some(flight) = self.flights.get(number) {
                            self.end(flight, *ending, answer)?;
                        }
                        Noted::Ended
                    }
                });
            }
            Ok(noted)
        })
    }

    /// The answer to a note that is in the file.
    fn answer(&mut self, note: Note, noted: Noted) {
        match (note, noted) {
            (Note::Begin(_, reply), Noted::Known(known)) => drop(reply.send(Ok(known))),
            (Note::Begin(_, reply), Noted::Sent(flight)) => {
                let number = self.next;
                self.next += 1;
                self.in_flight
                    .extend(flight.items.iter().map(|(item, _)| *item));
                self.flights.insert(number, flight);
                let ticket = Ticket {
                    number,
                    inbox: self.inbox.clone(),
                    has_ended: false,
                };
                // Where nobody waits any more, the ticket is dropped.
                let _ = reply.send(Ok(Begun::Go(ticket)));
            }
            (Note::Begin(write, reply), _) => self.parked.push((write, reply)),
            (Note::End(number, _, _, reply), _) => {
                self.release(number);
                let _ = reply.send(Ok(()));
            }
        }
    }

    fn refuse(&mut self, note: Note, error: &rusqlite::Error) {
        match note {
            Note::Begin(_, reply) => drop(reply.send(Err(told(error)))),
            Note::End(number, _, _, reply) => {
                self.release(number);
                let _ = reply.send(Err(told(error)));
            }
        }
    }

    fn begin(&self, write: &Write) -> rusqlite::Result<Noted> {
        let store = &self.store;
        let row = store.find(write.digest)?;
        let mut items = Vec::with_capacity(write.items.len());
        for item in &write.items {
            items.push((*item, store.last(*item)?));
        }
        if let Some(row) = &row {
            let is_last = items.iter().all(|(_, last)| *last == Some(row.id));
            match row.state {
                State::Confirmed if is_last && self.still_holds(write, row)? => {
                    return Ok(Noted::Known(Begun::Confirmed(row.answer.clone())));
                }
                State::Sent if is_last && !write.repeats => {
                    return Ok(Noted::Known(Begun::InDoubt));
                }
                _ => {}
            }
        }
        let resource_id = match (&write.id, items.first()) {
            // What is posted may come into being, or change, under the id that it had.
            (None, Some((_, Some(last)))) => store.resource_id(*last)?,
            (id, _) => id.clone(),
        };
        let number = match &row {
            Some(row) => {
                store.send_again(row.id, write.target)?;
                row.id
            }
            None => store.insert(&NewRow {
                digest: write.digest,
                target: write.target,
                method: write.method,
                key: write.key.as_deref(),
                resource_id: resource_id.as_deref(),
                has_items: !items.is_empty(),
            })?,
        };
        let mut id = None;
        if let (Method::Post, Some(known)) = (write.method, resource_id) {
            let item = write.target.item_of_id(&known);
            id = store.last(item)?.map(|last| (known, last));
            store.set_last_if_known(item, number)?;
        }
        for (item, _) in &items {
            store.set_last(*item, Some(number))?;
        }
        Ok(Noted::Sent(Flight {
            id,
            row: number,
            target: write.target,
            method: write.method,
            items,
            before: row,
        }))
    }

    /// Whether nothing but the write itself is known of the item under its id, and it was confirmed
    /// by the same key, not too long ago.
    fn still_holds(&self, write: &Write, row: &Row) -> rusqlite::Result<bool> {
        if !write.target.is_of(row) || write.resend_before.is_some_and(|time| row.at < time) {
            return Ok(false);
        }
        let Some(id) = &row.answer.resource_id else {
            return Ok(true);
        };
        let last = self.store.last(write.target.item_of_id(id))?;
        Ok(last.is_none_or(|last| last == row.id))
    }

    fn end(&self, flight: &Flight, ending: Ending, answer: &Answer) -> rusqlite::Result<()> {
        let store = &self.store;
        match (ending, &flight.before) {
            (Ending::NotSent, Some(row)) => store.set(row.id, row.state, &row.answer, row.at)?,
            (Ending::NotSent | Ending::Refused | Ending::Unclear, _) => {
                store.set(flight.row, State::Failed, answer, now())?;
            }
            (Ending::InDoubt, _) => store.set(flight.row, State::Sent, answer, now())?,
            (Ending::Confirmed, _) => {
                store.set(flight.row, State::Confirmed, answer, now())?;
                // What deleted the item before under this id, or put it, is not the last any more.
                if let (Method::Post, Some(id)) = (flight.method, &answer.resource_id) {
                    store.set_last_if_known(flight.target.item_of_id(id), flight.row)?;
                }
            }
        }
        let is_as_before = matches!(ending, Ending::NotSent | Ending::Refused);
        if is_as_before {
            for (item, last) in &flight.items {
                store.set_last(*item, *last)?;
            }
        }
        if let Some((id, last)) = &flight.id {
            let is_another = ending == Ending::Confirmed
                && answer.resource_id.as_ref().is_some_and(|made| made != id);
            if is_as_before || is_another {
                store.set_last_if_known(flight.target.item_of_id(id), *last)?;
            }
        }
        Ok(())
    }
}
