//! How much room the values of a page may take: a server says how many names its records have, and a
//! name of one record takes a cell in all others.

use std::cell::Cell;

/// So many cells are free, and so many more for each byte of a body: records have far fewer.
const FREE: u64 = 1 << 25;
const PER_BYTE: u64 = 4;
/// What is said of a page with more.
pub(super) const TOO_MANY: &str =
    "its records have so many different properties that they do not fit into columns";

thread_local! {
    /// The cells that the page which this thread reads may have beside its values.
    static LEFT: Cell<i64> = const { Cell::new(i64::MAX) };
}

/// Begins a body of so many bytes; `None` is one that was looked at before.
pub(super) fn begin(bytes: Option<usize>) {
    let most = bytes.map(|bytes| FREE.saturating_add(PER_BYTE * bytes as u64));
    LEFT.set(
        most.and_then(|most| most.try_into().ok())
            .unwrap_or(i64::MAX),
    );
}

/// Takes cells without values; whether there were any left. If not, the page must not be finished.
pub(super) fn take(cells: usize) -> bool {
    let left = LEFT.get().saturating_sub_unsigned(cells as u64);
    LEFT.set(left);
    left >= 0
}

/// Whether the cells of a whole page fit. Then it may be finished.
pub(super) fn fits(cells: u64) -> bool {
    let fits = LEFT.get() >= 0 && u64::try_from(LEFT.get()).is_ok_and(|left| cells <= left);
    if fits {
        begin(None);
    }
    fits
}
