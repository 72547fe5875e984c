//! The strings of one column as Arrow views: 16 bytes each, the long ones in a block beside them.

use arrow_array::StringViewArray;
use arrow_array::builder::make_view;
use arrow_buffer::{Buffer, NullBufferBuilder};

use super::capacity::{CapacityHints, trim};
use super::room;

/// A view holds up to so many bytes itself.
const INLINE: usize = 12;
/// How many different long values are remembered, to be stored once.
const RECENT: usize = 16;
/// Views count the bytes of a block in a signed 32-bit integer.
const BLOCK: usize = i32::MAX as usize;

/// Builds a string column. Only `&str` goes in, so that all of it is UTF-8; a row that is left
/// out is null.
#[derive(Debug)]
pub(super) struct TextBuilder {
    views: Vec<u128>,
    block: Vec<u8>,
    full: Vec<Buffer>,
    nulls: NullBufferBuilder,
    recent: [u128; RECENT],
}

impl Default for TextBuilder {
    fn default() -> Self {
        Self {
            views: Vec::new(),
            block: Vec::new(),
            full: Vec::new(),
            nulls: NullBufferBuilder::new(0),
            recent: [0; RECENT],
        }
    }
}

impl TextBuilder {
    pub(super) fn new(hints: &CapacityHints) -> Self {
        Self {
            views: Vec::with_capacity(hints.rows),
            block: Vec::with_capacity(hints.text),
            nulls: NullBufferBuilder::new(hints.rows),
            ..Self::default()
        }
    }

    /// Sets the value of a row, which lies after all rows set before.
    #[inline]
    pub(super) fn push(&mut self, row: usize, text: &str) {
        if self.views.len() < row {
            self.pad(row);
        }
        let view = if text.len() <= INLINE {
            make_view(text.as_bytes(), 0, 0)
        } else {
            self.long(text.as_bytes())
        };
        self.views.push(view);
        self.nulls.append_non_null();
    }

    /// The view of a long value. Descriptors, namespaces and school years repeat from record to
    /// record: a value that was stored a moment ago is not stored again.
    #[inline]
    fn long(&mut self, text: &[u8]) -> u128 {
        let length = text.len();
        let tail = u64::from_le_bytes(text[length - 8..].try_into().unwrap_or_default());
        let hash = (tail ^ length as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let slot = (hash >> 60) as usize % RECENT;
        let known = self.recent[slot];
        // The low half of a view is its length and the first four bytes.
        let head = length as u64
            | u64::from(u32::from_le_bytes([text[0], text[1], text[2], text[3]])) << 32;
        if known as u64 == head && (known >> 64) as u32 as usize == self.full.len() {
            let start = (known >> 96) as usize;
            if self.block[start..start + length] == *text {
                return known;
            }
        }
        if self.block.len() + length > BLOCK {
            let block = std::mem::take(&mut self.block);
            self.full.push(Buffer::from_vec(block));
        }
        let view =
            u128::from(head) | (self.full.len() as u128) << 64 | (self.block.len() as u128) << 96;
        self.block.extend_from_slice(text);
        self.recent[slot] = view;
        view
    }

    #[cold]
    fn pad(&mut self, rows: usize) {
        if !room::take(rows - self.views.len()) {
            return;
        }
        self.nulls.append_n_nulls(rows - self.views.len());
        self.views.resize(rows, 0);
    }

    /// The finished column of `rows` rows.
    #[allow(
        unsafe_code,
        reason = "to check the views again would cost a pass over all text"
    )]
    pub(super) fn finish(mut self, rows: usize) -> StringViewArray {
        if self.views.len() < rows {
            self.pad(rows);
        }
        trim(&mut self.views);
        if !self.block.is_empty() {
            trim(&mut self.block);
            self.full.push(Buffer::from_vec(self.block));
        }
        // SAFETY: views are made in `push` and `pad` alone, of whole `&str` values: short ones
        // inline, long ones with their length, prefix, block and offset. Each comes with its
        // validity bit.
        unsafe {
            StringViewArray::new_unchecked(self.views.into(), self.full.into(), self.nulls.build())
        }
    }
}
