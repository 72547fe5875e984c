//! A file that remembers what was sent and what was answered, so that a batch that was cut off goes
//! on: knows writes and answers, not frames.

mod digest;
mod file;
#[cfg_attr(not(feature = "python"), allow(dead_code, reason = "Python forks"))]
pub(crate) mod forks;
mod group;
mod inbox;
mod notes;
mod read;
mod registry;
mod row;
mod store;
mod writer;

use std::path::PathBuf;
use std::time::Duration;

pub(crate) use self::digest::{Digest, Item};
pub use self::read::read_journal;
pub(crate) use self::registry::Journal;
pub(crate) use self::row::{Answer, Method, Target};
pub(crate) use self::writer::{Begun, Ending, Ticket, Write};
use crate::choice::choice;

/// Where a batch of writes notes what it has done, and what it leaves out because of that.
///
/// A row is noted before it is sent, and its answer is in the file before it counts: after a kill
/// at any moment the same call goes on. Rows that were confirmed are not sent again, as long as
/// what they say is the last that was confirmed for their item.
#[derive(Debug, Clone, Default)]
pub struct JournalOptions {
    /// The file; made where it is not there. Nothing is noted by default.
    pub journal: Option<PathBuf>,
    /// What was confirmed longer ago than this is sent again, and what bears a time that is still to
    /// come, as where the clock was set back; neither by default.
    pub resend_after: Option<Duration>,
    /// What an answer in the file outlives.
    pub journal_sync: JournalSync,
}

/// What the notes in a journal outlive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum JournalSync {
    /// The end of the process, however it comes.
    #[default]
    Normal,
    /// A power cut as well: the disk is waited for each time.
    Full,
}

choice! {
    JournalSync: "normal" => Normal, "full" => Full
}
