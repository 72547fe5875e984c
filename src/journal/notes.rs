//! What changed at once, as the bytes that are appended to the file.

use super::digest::{Digest, Item};
use super::row::{Answer, Method, Row, State, Target};

/// One thing that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// A write as it is now.
    Row(Row),
    /// The last write that may have changed an item.
    Last(Item, Option<i64>),
}

const ROW: u8 = 1;
const LAST: u8 = 2;

impl Change {
    /// Appends it to a note.
    pub(super) fn write(&self, note: &mut Vec<u8>) {
        match self {
            Self::Row(row) => {
                note.push(ROW);
                note.extend(row.digest.0);
                for number in [
                    row.id,
                    row.target.id,
                    row.target.generation,
                    row.method as i64,
                    row.state as i64,
                    row.at,
                    row.answer.http_status.map_or(0, i64::from),
                    row.answer.attempts.into(),
                ] {
                    put_number(note, number.cast_unsigned());
                }
                let Answer {
                    message,
                    correlation_id,
                    resource_id,
                    ..
                } = &row.answer;
                for text in [&row.key, message, correlation_id, resource_id] {
                    put_text(note, text.as_deref());
                }
            }
            Self::Last(item, row) => {
                note.push(LAST);
                note.extend(item.0.to_le_bytes());
                // No row has the number 0.
                put_number(note, row.unwrap_or(0).cast_unsigned());
            }
        }
    }

    /// All changes of a note, in their order; nothing where it is none.
    pub(super) fn read_all(mut note: &[u8]) -> Option<Vec<Self>> {
        let mut changes = Vec::new();
        while !note.is_empty() {
            changes.push(Self::read(&mut note)?);
        }
        Some(changes)
    }

    fn read(note: &mut &[u8]) -> Option<Self> {
        match take::<1>(note)? {
            [ROW] => {
                let digest = Digest(take(note)?);
                let mut numbers = [0; 8];
                for number in &mut numbers {
                    *number = take_number(note)?.cast_signed();
                }
                let [id, target, generation, method, state, at, status, attempts] = numbers;
                let key = take_text(note)?;
                Some(Self::Row(Row {
                    id,
                    digest,
                    target: Target {
                        id: target,
                        generation,
                    },
                    method: Method::of(method),
                    key,
                    state: State::of(state),
                    answer: Answer {
                        http_status: u16::try_from(status).ok().filter(|status| *status > 0),
                        message: take_text(note)?,
                        correlation_id: take_text(note)?,
                        resource_id: take_text(note)?,
                        attempts: u32::try_from(attempts).ok()?,
                    },
                    at,
                }))
            }
            [LAST] => {
                let item = Item(i64::from_le_bytes(take(note)?));
                let row = take_number(note)?.cast_signed();
                Some(Self::Last(item, (row != 0).then_some(row)))
            }
            _ => None,
        }
    }
}

/// Seven bits in a byte, the lowest first; the highest bit says that more follow.
fn put_number(note: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        note.push(number as u8 | 0x80);
        number >>= 7;
    }
    note.push(number as u8);
}

fn take_number(note: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let [byte] = take(note)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// A text behind one more than its length; without one, a zero.
fn put_text(note: &mut Vec<u8>, text: Option<&str>) {
    match text {
        None => note.push(0),
        Some(text) => {
            put_number(note, text.len() as u64 + 1);
            note.extend(text.as_bytes());
        }
    }
}

fn take_text(note: &mut &[u8]) -> Option<Option<String>> {
    let Some(length) = take_number(note)?.checked_sub(1) else {
        return Some(None);
    };
    let (text, rest) = note.split_at_checked(usize::try_from(length).ok()?)?;
    *note = rest;
    Some(Some(str::from_utf8(text).ok()?.to_owned()))
}

fn take<const N: usize>(note: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = note.split_first_chunk()?;
    *note = rest;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let row = Row {
            id: 300,
            digest: Digest([7; 16]),
            target: Target {
                id: 1,
                generation: 0,
            },
            method: Method::Put,
            key: Some("Ä & #".into()),
            state: State::Failed,
            answer: Answer {
                http_status: Some(409),
                message: Some(String::new()),
                attempts: u32::MAX,
                ..Answer::default()
            },
            at: i64::MAX,
        };
        let changes = vec![
            Change::Row(row),
            Change::Last(Item(-3), Some(300)),
            Change::Last(Item(i64::MAX), None),
        ];
        let mut note = Vec::new();
        for change in &changes {
            change.write(&mut note);
        }
        assert_eq!(Change::read_all(&note).as_ref(), Some(&changes));
        // What is torn is no note, wherever it is torn, but between two changes.
        let whole = (0..note.len()).filter(|end| Change::read_all(&note[..*end]).is_some());
        assert_eq!(whole.count(), changes.len());
        assert_eq!(Change::read_all(&[9]), None);
    }
}
