//! The few records of each of many districts, kept as their JSON until all are there.
//!
//! A page that was taken apart has an array for each of its paths, and an array costs about a
//! kilobyte beside its values: thousands of districts of one record each would take a hundred times
//! the memory of their records. Their texts are taken apart together, as if they were one page.

use rayon::prelude::*;

use super::whole::{DistinctPage, Records};
use crate::Result;
use crate::columns::PageDecoder;
use crate::runtime::Threads;

/// Fewer records than this are kept as text.
const FEW: usize = 64;
/// Records of more paths would take room among those of others.
const USUAL: usize = 1 << 14;
/// So many records, or so many bytes of them, are taken apart as one page.
const RECORDS: usize = 4_096;
const BYTES: usize = 1 << 22;

/// Records as JSON objects, each followed by a comma.
#[derive(Debug, Default)]
pub(super) struct Packed {
    pub(super) text: Vec<u8>,
    pub(super) records: usize,
}

impl Records {
    /// The same records, as text where they are few.
    pub(super) fn packed(mut self) -> Self {
        let records = self.len();
        let paths: usize = self.pages.iter().map(|page| page.page.paths()).sum();
        if records == 0 || records >= FEW || paths > USUAL {
            return self;
        }
        let mut text = Vec::new();
        for page in std::mem::take(&mut self.pages) {
            for row in page.kept() {
                page.page.write_json(row, &mut text);
                text.push(b',');
            }
        }
        text.shrink_to_fit();
        self.packed = Some(Packed { text, records });
        self
    }
}

/// Rows that stand one after another.
#[derive(Debug)]
pub(super) enum Rows {
    Page(Box<DistinctPage>),
    Nulls(usize),
}

/// The records of each reading as pages; one row of nulls where there is no reading.
pub(super) fn rows(read: Vec<Option<Records>>) -> Result<Vec<Rows>> {
    let mut rows = Vec::new();
    let mut packed = Packed::default();
    for records in read {
        match records {
            None if packed.records == 0 => match rows.last_mut() {
                Some(Part::Rows(Rows::Nulls(count))) => *count += 1,
                _ => rows.push(Part::Rows(Rows::Nulls(1))),
            },
            // An object of nothing is a row of nulls.
            None => packed.add(b"{},", 1),
            Some(records) => {
                if let Some(more) = records.packed {
                    packed.add(&more.text, more.records);
                } else if !records.pages.is_empty() {
                    packed.flush(&mut rows);
                }
                let pages = records.pages.into_iter();
                let pages = pages.filter(|page| !page.rows.is_empty());
                rows.extend(pages.map(|page| Part::Rows(Rows::Page(Box::new(page)))));
            }
        }
        if packed.records >= RECORDS || packed.text.len() >= BYTES {
            packed.flush(&mut rows);
        }
    }
    packed.flush(&mut rows);
    let unpack = |part| match part {
        Part::Rows(rows) => Ok(rows),
        Part::Packed(packed) => packed.into_page(),
    };
    Threads::get()?.on_all_cores(|| rows.into_par_iter().map(unpack).collect())
}

enum Part {
    Rows(Rows),
    Packed(Packed),
}

impl Packed {
    fn add(&mut self, text: &[u8], records: usize) {
        self.text.extend_from_slice(text);
        self.records += records;
    }

    fn flush(&mut self, rows: &mut Vec<Part>) {
        if self.records > 0 {
            rows.push(Part::Packed(std::mem::take(self)));
        }
    }

    fn into_page(mut self) -> Result<Rows> {
        // The comma after the last record.
        self.text.pop();
        let page = PageDecoder::of_known().decode_parts(&[b"[" as &[u8], &self.text, b"]"])?;
        Ok(Rows::Page(Box::new(DistinctPage {
            rows: 0..page.len(),
            page,
            dropped: Vec::new(),
        })))
    }
}
