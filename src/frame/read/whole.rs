//! One district, whole or not at all.
//!
//! The records that came are checked against the server's count; where some are missing, the
//! district is read again, once.

use std::ops::Range;
use std::sync::Arc;

use polars::prelude::*;

use super::options::GetAllOptions;
use super::packed::Packed;
use super::pages;
use super::prefetch::{Event, InOrder, Ticket};
use super::source::{Converted, District, PlacedPage, Source, Window};
use crate::client::session::{Access, CallContext};
use crate::columns::Page;
use crate::{Failure, Result, runtime};

/// So many pages more than requests are asked for, while the first of them is still to come.
const SPARE_PAGES: usize = 4;

/// The records of no resource have more paths; where they have, so many cells are too many.
const MOST_PATHS: u64 = 4_096;
const MOST_UNUSUAL: u64 = 1 << 27;

/// Pages of whole districts are taken as they are.
pub(super) type WholePages = PlacedPage;

/// The records of one district, in order, each once.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) pages: Vec<DistinctPage>,
    /// They are here instead where they are few and others come beside them.
    pub(super) packed: Option<Packed>,
    /// What a person should know about records that are missing.
    pub(super) warning: Option<String>,
}

/// A page, and which of its records count.
#[derive(Debug)]
pub(super) struct DistinctPage {
    pub(super) page: Page,
    pub(super) rows: Range<usize>,
    /// Rows within these that do not count, in order.
    pub(super) dropped: Vec<usize>,
}

impl Records {
    /// The number of records.
    pub(super) fn len(&self) -> usize {
        let pages = self.pages.iter();
        let pages: usize = pages.map(|page| page.rows.len() - page.dropped.len()).sum();
        pages + self.packed.as_ref().map_or(0, |packed| packed.records)
    }
}

impl DistinctPage {
    /// The rows that count.
    pub(super) fn kept(&self) -> impl Iterator<Item = usize> {
        let is_kept = |row: &usize| self.dropped.binary_search(row).is_err();
        self.rows.clone().filter(is_kept)
    }

    /// These rows of a frame of all rows.
    pub(super) fn select(&self, df: DataFrame) -> Result<DataFrame> {
        let df = match self.rows.len() == df.height() {
            true => df,
            false => df.slice(self.rows.start as i64, self.rows.len()),
        };
        without_rows(df, self.dropped.iter().map(|row| row - self.rows.start))
    }
}

/// A frame without some of its rows.
pub(super) fn without_rows(
    df: DataFrame,
    rows: impl ExactSizeIterator<Item = usize>,
) -> Result<DataFrame> {
    if rows.len() == 0 {
        return Ok(df);
    }
    let mut is_kept = vec![true; df.height()];
    rows.for_each(|row| is_kept[row] = false);
    Ok(df.filter(&BooleanChunked::from_slice(PlSmallStr::EMPTY, &is_kept))?)
}

/// What one reading of a district brought.
struct Reading {
    pages: Vec<PlacedPage>,
    records: u64,
    /// The server's count, where there are fewer records.
    missing: Option<u64>,
    /// What the server counted at any rate.
    total: Option<u64>,
}

impl Source<WholePages> {
    /// The source of one resource, for every ODS of a call.
    pub(super) fn of_wholes(context: Arc<CallContext>, path: String, read: &GetAllOptions) -> Self {
        let workers = read.batch.workers;
        // All pages are kept in any case: this bounds what a server's count can make us ask for.
        let window = Window {
            shared: None,
            pages: workers.saturating_mul(2).saturating_add(SPARE_PAGES),
            partitions: workers.saturating_add(SPARE_PAGES),
            partition_pages: usize::MAX,
            part_pages: workers.saturating_add(SPARE_PAGES),
            bounded: false,
        };
        Self::new(context, path, read, window, Box::new(Converted::Ready))
    }

    /// Reads a whole district.
    pub(super) async fn read_whole(
        source: &Arc<Self>,
        access: &Access,
        short_is_error: bool,
    ) -> Result<Records, Failure> {
        // On the heap: unoptimized, a call that reads several times would fill its thread's stack.
        let first = Box::pin(source.read_once(access)).await?;
        let Some(total) = first.missing else {
            return distinct(first.pages, source.by_version).await;
        };
        log::info!("{}; reading once more", pages::short(first.records, total));
        let mut second = Box::pin(source.read_once(access)).await?;
        if second.total.is_none() && second.records < total {
            // What was counted before is not gone because nobody counts now.
            second.missing = Some(total);
        }
        let warning = second
            .missing
            .map(|total| pages::short(second.records, total));
        match warning {
            Some(missing) if short_is_error => Err(Failure::new(missing)),
            warning => Ok(Records {
                warning,
                ..distinct(second.pages, source.by_version).await?
            }),
        }
    }

    async fn read_once(self: &Arc<Self>, access: &Access) -> Result<Reading, Failure> {
        let district = District {
            number: 0,
            access: access.clone(),
        };
        let mut events = InOrder::new(self.clone().district(district, Ticket::alone()));
        let mut reading = Reading {
            pages: Vec::new(),
            records: 0,
            missing: None,
            total: None,
        };
        let mut paths = Paths::default();
        while let Some(event) = events.next().await? {
            match event {
                Event::Result(page) => {
                    let new = page.new_records();
                    paths.add(&page.page)?;
                    reading.records += new as u64;
                    self.context.control.progress.add_records(new);
                    reading.pages.push(page);
                }
                Event::Ended(Some(counted)) => {
                    reading.total = counted.total();
                    reading.missing = counted.missing(reading.records).await?;
                }
                Event::Begun | Event::Ended(None) => {}
            }
        }
        Ok(reading)
    }
}

/// How many paths the records of a district may have together, as far as pages have far more of
/// them than any resource has: each takes a cell of every record.
#[derive(Default)]
struct Paths {
    records: u64,
    unusual: u64,
}

impl Paths {
    fn add(&mut self, page: &Page) -> Result<(), Failure> {
        self.records += page.len() as u64;
        let paths = page.paths() as u64;
        if paths > MOST_PATHS {
            self.unusual += paths;
        }
        let is_too_wide = self.unusual > 16 * MOST_PATHS
            || self.unusual.saturating_mul(self.records) > MOST_UNUSUAL;
        match is_too_wide {
            true => Err(Failure::new(format!(
                "the records have some {} different properties, which do not fit into columns",
                self.unusual
            ))),
            false => Ok(()),
        }
    }
}

/// Keeps each record once: the copy that came last.
async fn distinct(pages: Vec<PlacedPage>, by_version: bool) -> Result<Records, Failure> {
    let only_seams = pages.iter().all(|page| page.repeated.others.is_empty());
    let trimmed = || trimmed_at_seams(&pages, by_version);
    let pages = match only_seams.then(trimmed).flatten() {
        Some(rows) => pages
            .into_iter()
            .zip(rows)
            .map(|(page, rows)| DistinctPage {
                page: page.page,
                rows,
                dropped: Vec::new(),
            })
            .collect(),
        None => {
            let latest = runtime::compute(move || latest(pages, by_version)).await;
            latest.map_err(|error| Failure::new(error.to_string()))?
        }
    };
    Ok(Records {
        pages,
        ..Records::default()
    })
}

/// The rows that count where pages share records at their seams and nowhere else.
fn trimmed_at_seams(pages: &[PlacedPage], by_version: bool) -> Option<Vec<Range<usize>>> {
    let mut rows: Vec<Range<usize>> = Vec::with_capacity(pages.len());
    for (number, page) in pages.iter().enumerate() {
        let shared = page.repeated.leading;
        rows.push(0..page.page.len());
        if shared == 0 {
            continue;
        }
        let before = number.checked_sub(1)?;
        let other = &pages[before];
        let start = other.page.len().checked_sub(shared)?;
        let is_seam = start >= rows[before].start
            && (0..shared).all(|row| {
                let (one, two) = (start + row, row);
                other.page.id(one) == page.page.id(two)
                    && (!by_version
                        || Version::of(&other.page, one) == Version::of(&page.page, two))
            });
        if !is_seam {
            return None;
        }
        match other.arrival < page.arrival {
            true => rows[before].end = start,
            false => rows[number].start = shared,
        }
    }
    Some(rows)
}

/// What tells apart what happened to one item.
#[derive(PartialEq, Eq, Hash)]
enum Version {
    Number(i64),
    /// There is no number: all of the record.
    Record(Vec<u8>),
}

impl Version {
    fn of(page: &Page, row: usize) -> Self {
        page.change_version(row).map_or_else(
            || {
                let mut text = Vec::new();
                page.write_json(row, &mut text);
                Self::Record(text)
            },
            Self::Number,
        )
    }
}

/// The rows that count where records come again anywhere.
fn latest(pages: Vec<PlacedPage>, by_version: bool) -> Vec<DistinctPage> {
    let mut dropped: Vec<Vec<usize>> = vec![Vec::new(); pages.len()];
    let mut kept: PlHashMap<(&str, Option<Version>), (u64, usize, usize)> = PlHashMap::new();
    for (number, placed) in pages.iter().enumerate() {
        let (page, repeated) = (&placed.page, &placed.repeated);
        for row in 0..page.len() {
            let Some(id) = page.id(row) else {
                if row < repeated.leading || repeated.others.contains(&row) {
                    dropped[number].push(row);
                }
                continue;
            };
            let version = by_version.then(|| Version::of(page, row));
            let here = (placed.arrival, number, row);
            let known = kept.entry((id, version)).or_insert(here);
            if *known != here {
                let (_, number, row) = std::mem::replace(known, here.max(*known)).min(here);
                dropped[number].push(row);
            }
        }
    }
    drop(kept);
    let pages = pages.into_iter().zip(dropped).map(|(page, mut dropped)| {
        dropped.sort_unstable();
        DistinctPage {
            rows: 0..page.page.len(),
            page: page.page,
            dropped,
        }
    });
    pages.collect()
}
