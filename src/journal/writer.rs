//! Who writes a journal: the notes of many rows at once, each in the file before its row goes on.

use std::sync::Arc;

use polars::prelude::{PlHashMap, PlHashSet};
use tokio::sync::oneshot;

use super::JournalSync;
use super::digest::{Digest, Item};
use super::file::told;
use super::group::{Group, NewRow, now};
use super::inbox::Inbox;
use super::row::{Answer, Method, Row, State, Target};
use super::store::Store;

/// What is to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) digest: Digest,
    pub(crate) target: Target,
    pub(crate) method: Method,
    pub(crate) key: Option<String>,
    /// The id of the item, where the write names it.
    pub(crate) id: Option<String>,
    /// The item that it changes, by its key, by its id, or by both; by what it says, where nobody
    /// can tell it.
    pub(crate) items: Vec<Item>,
    /// Whether they are the item: other payloads of it are known by them, too.
    pub(crate) is_told: bool,
    /// What was confirmed before is sent again (microseconds since 1970), and what bears a time that
    /// is still to come: nobody knows how old it is.
    pub(crate) resend_before: Option<i64>,
    /// Whether it is sent whatever was confirmed.
    pub(crate) is_stale: bool,
    /// Whether it may be sent again where nobody knows what became of it.
    pub(crate) repeats: bool,
    /// What stands for an answer where the item was seen to be as it says: it is confirmed without
    /// being sent.
    pub(crate) seen: Option<Answer>,
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
    /// Nothing yet: a write of the same item is under way. It may begin again when this ends.
    Busy(Box<Write>, oneshot::Receiver<()>),
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
    was_in_doubt: bool,
    has_ended: bool,
}

impl Ticket {
    /// Whether it was sent before, and nobody knows whether it was applied.
    pub(crate) fn was_in_doubt(&self) -> bool {
        self.was_in_doubt
    }

    /// The number of a write that the writer is told the end of.
    pub(super) fn end(mut self) -> u64 {
        self.has_ended = true;
        self.number
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.has_ended {
            self.inbox.leave(Message::Release(self.number));
            self.inbox.write();
        }
    }
}

/// Answers, or why there are none.
pub(super) type Reply<T> = oneshot::Sender<Result<T, String>>;

#[derive(Debug)]
pub(super) enum Message {
    Begin(Box<Write>, Reply<Begun>),
    End(u64, Ending, Box<Answer>, Reply<()>),
    Release(u64),
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

impl Flight {
    /// Whether no other write of the item is known.
    fn is_first(&self) -> bool {
        let mut before = self.items.iter().filter_map(|(_, last)| *last);
        before.all(|last| last == self.row)
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
    /// A write of the same item is under way.
    Busy,
}

#[derive(Debug)]
pub(super) struct Writer {
    pub(super) store: Store,
    flights: PlHashMap<u64, Flight>,
    in_flight: PlHashSet<Item>,
    /// Who waits for one of these items; dropped once they are free.
    waiting: Vec<(Vec<Item>, oneshot::Sender<()>)>,
    next: u64,
    sync: JournalSync,
}

impl Writer {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            flights: PlHashMap::default(),
            in_flight: PlHashSet::default(),
            waiting: Vec::new(),
            next: 0,
            sync: JournalSync::Normal,
        }
    }

    /// Writes down what is said, and answers; `inbox` hears of the ends of what begins.
    pub(super) fn take(&mut self, messages: Vec<Message>, inbox: &Arc<Inbox>) {
        let mut notes = Vec::with_capacity(messages.len());
        for message in messages {
            match message {
                Message::Begin(write, reply) => notes.push(Note::Begin(write, reply)),
                Message::End(number, ending, answer, reply) => {
                    notes.push(Note::End(number, ending, answer, reply));
                }
                Message::Release(number) => self.release(number),
            }
        }
        self.note(notes, inbox);
    }

    pub(super) fn is_full(&self) -> bool {
        self.store.is_full()
    }

    pub(super) fn synchronize(&mut self, sync: JournalSync) -> Result<(), String> {
        if sync > self.sync {
            let done = self.store.synchronize(sync);
            done.map_err(|error| told(&error))?;
            self.sync = sync;
        }
        Ok(())
    }

    fn release(&mut self, number: u64) {
        if let Some(flight) = self.flights.remove(&number) {
            for (item, _) in flight.items {
                self.in_flight.remove(&item);
            }
            let in_flight = &self.in_flight;
            self.waiting
                .retain(|(items, _)| !are_free(items, in_flight));
        }
    }

    fn note(&mut self, notes: Vec<Note>, inbox: &Arc<Inbox>) {
        if notes.is_empty() {
            return;
        }
        let all = self.try_all(&notes);
        match all {
            Ok(noted) => {
                for (note, noted) in notes.into_iter().zip(noted) {
                    self.answer(note, noted, inbox);
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
                    self.note(vec![note], inbox);
                }
            }
        }
    }

    fn try_all(&mut self, notes: &[Note]) -> rusqlite::Result<Vec<Noted>> {
        let (mut group, mut taken) = (self.store.group(), PlHashSet::default());
        let mut noted = Vec::with_capacity(notes.len());
        for note in notes {
            noted.push(match note {
                Note::Begin(write, _) if !are_free(&write.items, &self.in_flight) => Noted::Busy,
                Note::Begin(write, _) if !are_free(&write.items, &taken) => Noted::Busy,
                Note::Begin(write, _) => {
                    let begun = begin(&mut group, write)?;
                    if let Noted::Sent(_) = begun {
                        taken.extend(write.items.iter().copied());
                    }
                    begun
                }
                Note::End(number, ending, answer, _) => {
                    if let Some(flight) = self.flights.get(number) {
                        end(&mut group, flight, *ending, answer)?;
                    }
                    Noted::Ended
                }
            });
        }
        group.keep(noted)
    }

    /// The answer to a note that is in the file.
    fn answer(&mut self, note: Note, noted: Noted, inbox: &Arc<Inbox>) {
        match (note, noted) {
            (Note::Begin(_, reply), Noted::Known(known)) => drop(reply.send(Ok(known))),
            (Note::Begin(_, reply), Noted::Sent(flight)) => {
                let was_in_doubt = flight.before.as_ref().is_some_and(Row::is_in_doubt);
                let number = self.next;
                self.next += 1;
                self.in_flight
                    .extend(flight.items.iter().map(|(item, _)| *item));
                self.flights.insert(number, flight);
                let ticket = Ticket {
                    number,
                    inbox: inbox.clone(),
                    was_in_doubt,
                    has_ended: false,
                };
                // Where nobody waits any more, the ticket is dropped.
                let _ = reply.send(Ok(Begun::Go(ticket)));
            }
            (Note::Begin(write, reply), _) => {
                let (free, wait) = oneshot::channel();
                // What it has to wait for may have ended in the meantime.
                if !are_free(&write.items, &self.in_flight) {
                    self.waiting.push((write.items.clone(), free));
                }
                let _ = reply.send(Ok(Begun::Busy(write, wait)));
            }
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
}

fn are_free(items: &[Item], in_flight: &PlHashSet<Item>) -> bool {
    !items.iter().any(|item| in_flight.contains(item))
}

fn begin(group: &mut Group<'_>, write: &Write) -> rusqlite::Result<Noted> {
    let row = group.find(write.digest)?;
    let mut items = Vec::with_capacity(write.items.len());
    for item in &write.items {
        items.push((*item, group.last(*item)?));
    }
    if let Some(row) = &row {
        let is_last = items.iter().all(|(_, last)| *last == Some(row.id));
        match row.state {
            State::Confirmed
                if write.is_told
                    && !write.is_stale
                    && is_last
                    && still_holds(group, write, row)? =>
            {
                return Ok(Noted::Known(Begun::Confirmed(row.answer.clone())));
            }
            State::Sent if is_last && !write.repeats && write.seen.is_none() => {
                return Ok(Noted::Known(Begun::InDoubt));
            }
            _ => {}
        }
    }
    let resource_id = match (&write.id, items.first()) {
        // What is posted may come into being, or change, under the id that it had.
        (None, Some((_, Some(last)))) => group.resource_id(*last)?,
        (id, _) => id.clone(),
    };
    let number = match &row {
        Some(row) => {
            group.send_again(row, write.target);
            row.id
        }
        None => group.insert(NewRow {
            digest: write.digest,
            target: write.target,
            method: write.method,
            key: write.key.as_deref(),
            resource_id: resource_id.clone(),
        }),
    };
    let mut id = None;
    if let (Method::Post, Some(known)) = (write.method, resource_id) {
        let item = write.target.item_of_id(&known);
        id = group.last(item)?.map(|last| (known, last));
        group.set_last_if_known(item, number)?;
    }
    for (item, _) in &items {
        group.set_last(*item, Some(number));
    }
    let flight = Flight {
        id,
        row: number,
        target: write.target,
        method: write.method,
        items,
        before: row,
    };
    let Some(answer) = &write.seen else {
        return Ok(Noted::Sent(flight));
    };
    end(group, &flight, Ending::Confirmed, answer)?;
    Ok(Noted::Known(Begun::Confirmed(answer.clone())))
}

/// Whether nothing but the write itself is known of the item under its id, and it was confirmed
/// by the same key, not too long ago.
fn still_holds(group: &mut Group<'_>, write: &Write, row: &Row) -> rusqlite::Result<bool> {
    let is_old = |time| !(time..=now()).contains(&row.at);
    if !write.target.is_of(row) || write.resend_before.is_some_and(is_old) {
        return Ok(false);
    }
    let Some(id) = &row.answer.resource_id else {
        return Ok(true);
    };
    let last = group.last(write.target.item_of_id(id))?;
    Ok(last.is_none_or(|last| last == row.id))
}

fn end(
    group: &mut Group<'_>,
    flight: &Flight,
    ending: Ending,
    answer: &Answer,
) -> rusqlite::Result<()> {
    match (ending, &flight.before) {
        (Ending::NotSent, Some(row)) => group.set(row.id, row.state, &row.answer, row.at)?,
        (Ending::NotSent | Ending::Refused | Ending::Unclear, _) => {
            group.set(flight.row, State::Failed, answer, now())?;
        }
        (Ending::InDoubt, _) => group.set(flight.row, State::Sent, answer, now())?,
        (Ending::Confirmed, _) => {
            group.set(flight.row, State::Confirmed, answer, now())?;
            // What deleted the item before under this id, or put it, is not the last any more; nor
            // is what posted it by a key that this ODS takes for the same, as where an item was
            // there of which nothing is known.
            if let (Method::Post, Some(id)) = (flight.method, &answer.resource_id) {
                let item = flight.target.item_of_id(id);
                // What was seen has no status.
                let was_there = matches!(answer.http_status, None | Some(200));
                match was_there && flight.is_first() {
                    true => group.set_last(item, Some(flight.row)),
                    false => group.set_last_if_known(item, flight.row)?,
                }
            }
        }
    }
    let is_as_before = matches!(ending, Ending::NotSent | Ending::Refused);
    if is_as_before {
        for (item, last) in &flight.items {
            group.set_last(*item, *last);
        }
    }
    if let Some((id, last)) = &flight.id {
        let is_another = ending == Ending::Confirmed
            && answer.resource_id.as_ref().is_some_and(|made| made != id);
        if is_as_before || is_another {
            group.set_last_if_known(flight.target.item_of_id(id), *last)?;
        }
    }
    Ok(())
}
