//! A collection in pieces for readers that do not know each other: planned once, each read by itself.
//!
//! By token a piece is some of the server's own partitions, which do not shift. By offset it begins at
//! one of a few neighbouring records that were seen when the pieces were planned, and ends before
//! one of the few with which the next piece begins, wherever these stand by then; in between it is
//! a chain ([`super::chain`]). Take a record that was there all the time and kept its key: in the
//! order of keys it stands before, among or after those few records, whatever came or went, so one
//! of the two pieces holds it. Only records that did not change since (by their `_etag`) tell where
//! that is, for one whose key changes moves. The few themselves go with the second piece, wherever
//! they stand: it begins to look for them at records that stood before them. (What moves or is
//! added where two pieces meet may come twice, or not at all.) The last piece has no end.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::filter::Sent;
use super::keys::{Begin, Evidence, RecordKeys, Repeated};
use super::pages::{Counted, PageSender};
use super::prefetch::Ticket;
use super::reader::{Ask, FetchedPage, Reader};
use super::rows::{Reading, View};
use super::scan::Scan;
use super::source::{District, Source};
use super::whole::WholePages;
use crate::client::Control;
use crate::client::paging::{Continuation, FirstPage, PageError, PageRequest};
use crate::frame::side_by_side::{one_by_one, side_by_side};
use crate::{Failure, Result};

/// How many neighbouring records mark a seam: all of them must go before it is lost.
const MARKS: u64 = 50;
/// So many records before it show that nothing of it stands before them.
const LEAD: u64 = 5;
/// A piece has at least so many pages.
const FEWEST_PAGES: u64 = 5;
/// So many pages are read to find where a piece begins.
const MOST_TRIES: u32 = 16;

/// What one reader takes of a district.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Piece {
    Whole,
    /// What filters have the server asked for.
    Asked(Sent),
    /// The pages from each of these tokens on.
    Tokens {
        tokens: Vec<String>,
        size: u64,
    },
    Stretch(Stretch),
}

/// Records by offset, from one seam to the next.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stretch {
    /// Where the seams stood when they were seen.
    offset: u64,
    end_offset: Option<u64>,
    /// The records of the seams; none at the begin of the collection and at its end.
    begin: RecordKeys,
    end: RecordKeys,
    /// The records right before the begin, and the first one of it.
    lead: RecordKeys,
    /// What shows that these stand where they stood.
    evidence: Evidence,
    size: u64,
}

/// A piece of a district, or why the district cannot be read.
#[derive(Debug)]
pub(crate) struct PlannedPiece {
    /// The row of the district in its frame.
    pub(crate) row: usize,
    pub(crate) piece: Result<Piece, Failure>,
    /// How many records it may have.
    pub(crate) records: u64,
}

impl Stretch {
    /// Where it should end, unless it goes to the end of the collection.
    pub(super) fn end_offset(&self) -> Option<u64> {
        self.end_offset
    }

    pub(super) fn begins_at_seam(&self) -> bool {
        self.begin.len() > 0
    }

    /// Whether a page reaches the next piece.
    pub(super) fn is_ended_by(&self, keys: &RecordKeys) -> bool {
        self.end_in(keys).is_some()
    }

    fn begin_in(&self, keys: &RecordKeys) -> Option<usize> {
        keys.seam(&self.begin, self.evidence)
    }

    /// Whether none of the records with which it begins stands before a page.
    fn is_led_by(&self, keys: &RecordKeys) -> bool {
        keys.seam(&self.lead, self.evidence).is_some()
    }

    fn end_in(&self, keys: &RecordKeys) -> Option<usize> {
        keys.seam(&self.end, self.evidence)
    }

    /// An error where the end should have come long ago.
    pub(super) fn check_reach(&self, reached: u64) -> Result<(), Failure> {
        let Some(end) = self.end_offset else {
            return Ok(());
        };
        let most = end.saturating_add(end.saturating_sub(self.offset));
        let most = most.saturating_add(FEWEST_PAGES.saturating_mul(self.size));
        match reached > most {
            true => Err(lost(end)),
            false => Ok(()),
        }
    }

    /// An error where the collection ended, and the end was in none of its pages.
    pub(super) fn check_end(&self, last: &RecordKeys) -> Result<(), Failure> {
        match self.end_offset {
            Some(end) if !self.is_ended_by(last) => Err(lost(end)),
            _ => Ok(()),
        }
    }

    /// The rows of a page that belong to other stretches: to the next one all those with which it
    /// begins, wherever they stand.
    fn others(&self, keys: &RecordKeys, begin: &mut Begin) -> impl Iterator<Item = usize> {
        let follow = begin.rows(keys, &self.begin, self.begin_in(keys));
        let end = self.end_in(keys).unwrap_or(keys.len());
        let ends = keys.are_among(&self.end).enumerate();
        let ends: Vec<bool> = ends.map(|(row, is_one)| is_one || row >= end).collect();
        (0..keys.len()).filter(move |row| !follow[*row] || ends[*row])
    }
}

fn lost(offset: u64) -> Failure {
    Failure::new(format!(
        "the collection changes faster than it can be read: the records about offset {offset} that \
         mark the begin of a part are gone or have changed; read it with paging=\"cursor\", in one \
         part, or from a snapshot (snapshot=True)"
    ))
}

impl Piece {
    pub(super) fn stretch(&self) -> Option<&Stretch> {
        match self {
            Self::Stretch(stretch) => Some(stretch),
            Self::Whole | Self::Asked(_) | Self::Tokens { .. } => None,
        }
    }

    /// Counts the rows of a page that belong to other pieces as rows that came before.
    pub(super) fn cut(
        &self,
        keys: &RecordKeys,
        mut repeated: Repeated,
        begin: &mut Begin,
    ) -> Repeated {
        if let Some(stretch) = self.stretch() {
            let leading = repeated.leading;
            let others = stretch.others(keys, begin).filter(|row| *row >= leading);
            repeated.others.extend(others);
            repeated.others.sort_unstable();
            repeated.others.dedup();
        }
        repeated
    }
}

impl<T: Send + 'static> Reader<T> {
    /// Puts out the pages of a piece.
    pub(super) async fn piece(
        self: Arc<Self>,
        out: &PageSender<T>,
        mut ticket: Ticket,
        piece: &Piece,
    ) -> Result<Counted<T>, Failure> {
        match piece {
            Piece::Whole | Piece::Asked(_) => return self.all(out, ticket).await,
            Piece::Tokens { tokens, size } => {
                ticket.called().await;
                self.partitions(out, *size, tokens.clone()).await;
            }
            Piece::Stretch(stretch) => {
                let slot = self.slot(out, &ticket).await;
                let first = self.begin_of(stretch).await?;
                self.chain(out, &mut ticket, first, slot).await?;
            }
        }
        Ok(self.counted(ticket, None, false))
    }

    /// The page with the begin of a stretch, and with what stands before that.
    async fn begin_of(self: &Arc<Self>, stretch: &Stretch) -> Result<FetchedPage, Failure> {
        let step = stretch.size.saturating_sub(1).max(1);
        let (mut before, mut after) = (stretch.offset.saturating_sub(1), stretch.offset);
        let mut offset = before;
        let mut is_shown = false;
        for number in 0..MOST_TRIES {
            let ask = Ask::Offset(PageRequest {
                offset,
                limit: stretch.size,
                count: stretch.end_offset.is_none(),
            });
            let page = self.fetch(ask).await.map_err(PageError::into_failure)?;
            is_shown |= stretch.begin_in(&page.keys).is_some();
            let is_led = offset == 0 || stretch.is_led_by(&page.keys);
            if !stretch.begins_at_seam() || is_shown && is_led {
                return Ok(page);
            }
            if is_shown {
                // Others of them may stand before this page, changed.
                offset = offset.saturating_sub(step);
            } else if number % 2 == 0 {
                before = before.saturating_sub(step);
                offset = before;
            } else {
                after = after.saturating_add(step);
                offset = after;
            }
        }
        Err(lost(stretch.offset))
    }
}

/// Where a stretch begins, as it was when it was planned.
#[derive(Default)]
struct Mark {
    offset: u64,
    lead: RecordKeys,
    begin: RecordKeys,
}

/// A district whose first page came.
struct Begun {
    reader: Arc<Reader<WholePages>>,
    first: FirstPage,
    has_ids: bool,
    asked: Option<Sent>,
}

impl Begun {
    async fn new(source: Arc<Source<WholePages>>, district: District) -> Result<Self, Failure> {
        let reader = Arc::new(source.reader(district).await?);
        let (reader, page) = reader.begin(true).await?;
        Ok(Self {
            asked: reader.asked(&page),
            first: FirstPage {
                records: page.len(),
                limit: page.limit,
                total: page.total,
                next: page.next,
            },
            has_ids: page.keys.are_ids(),
            reader,
        })
    }

    fn total(&self) -> u64 {
        self.first.total.unwrap_or(0).max(self.first.records)
    }

    /// Records a page, where a server may hand out fewer than it is asked for.
    fn size(&self) -> u64 {
        match self.first.records {
            0 | 1 => self.first.limit,
            records => records.min(self.first.limit),
        }
    }

    /// About as many pieces as were asked for; one where it cannot be divided.
    async fn divide(&self, number: u64) -> Result<Vec<Piece>, Failure> {
        if let Some(asked) = &self.asked {
            return Ok(vec![Piece::Asked(asked.clone())]);
        }
        let number = number.min(self.total() / (FEWEST_PAGES * self.size()).max(1));
        if number < 2 {
            return Ok(vec![Piece::Whole]);
        }
        let Reader {
            source, district, ..
        } = &*self.reader;
        let continuation = self.reader.collection.continuation(
            &source.context,
            &district.access,
            &source.requests,
            source.paging,
            self.first.clone(),
        );
        match continuation.await? {
            Continuation::Partitions(tokens) => {
                let each = tokens.len().div_ceil(number as usize).max(1);
                let pieces = tokens.chunks(each).map(|tokens| Piece::Tokens {
                    tokens: tokens.to_vec(),
                    size: self.first.limit,
                });
                Ok(pieces.collect())
            }
            Continuation::Offset if self.has_ids => self.stretches(number).await,
            Continuation::Offset | Continuation::Token(_) | Continuation::Done => {
                Ok(vec![Piece::Whole])
            }
        }
    }

    async fn seam(&self, offset: u64, limit: u64) -> Result<Mark, Failure> {
        let lead = LEAD.min(limit / 2);
        let ask = Ask::Offset(PageRequest {
            offset: offset.saturating_sub(lead),
            limit,
            count: false,
        });
        let page = self.reader.fetch(ask).await;
        let keys = page.map_err(PageError::into_failure)?.keys;
        let (lead, end) = (lead as usize, keys.len());
        Ok(Mark {
            offset,
            lead: keys.slice(0..end.min(lead + 1)),
            begin: keys.slice(end.min(lead)..end),
        })
    }

    async fn stretches(&self, number: u64) -> Result<Vec<Piece>, Failure> {
        let (total, size) = (self.total(), self.size());
        let each = total.div_ceil(number);
        // The first one twice, to see whether records that nobody changes stay as they are.
        let seams = (1..number).map(|seam| seam * each).chain([each]);
        let mut seams: Vec<Mark> = stream::iter(seams)
            .map(|offset| self.seam(offset, (LEAD + MARKS).min(size)))
            // The requests themselves wait for their turn.
            .buffered(number as usize)
            .try_collect()
            .await?;
        let evidence = match (seams.pop(), seams.first()) {
            (Some(again), Some(first)) if again.begin.have_all_changed(&first.begin) => {
                Evidence::SameId
            }
            _ => Evidence::SameState,
        };
        let mut begin = Mark::default();
        let mut pieces = Vec::new();
        let mut push = |begin: Mark, end: Option<&Mark>| {
            pieces.push(Piece::Stretch(Stretch {
                offset: begin.offset,
                end_offset: end.map(|end| end.offset),
                begin: begin.begin,
                end: end.map(|end| end.begin.clone()).unwrap_or_default(),
                lead: begin.lead,
                evidence,
                size: size.max(2),
            }));
        };
        for seam in seams {
            // Where nothing is any more, or nothing tells the records apart, no piece begins.
            if seam.begin.are_ids() && seam.begin.len() > 0 {
                push(begin, Some(&seam));
                begin = seam;
            }
        }
        push(begin, None);
        Ok(pieces)
    }
}

impl Scan {
    /// The districts of a view in about so many pieces, as equal as their counts allow, in order.
    /// One request for each district; and for each that is divided one more, or one for each of its
    /// pieces. Where filters reach the server, what they leave of a district is one piece.
    pub(crate) async fn pieces(
        &self,
        number: usize,
        view: &View,
        control: Control,
    ) -> Result<Vec<PlannedPiece>> {
        let read = &self.0.options.read;
        let Reading {
            mut sources, rows, ..
        } = self.reading(view, self.sources(control)?)?;
        let (context, endpoint) = (sources.context.clone(), self.0.endpoint.clone());
        let mut source = Source::of_wholes(context, endpoint.clone(), read);
        source.unchecked = self.unchecked();
        if self.0.options.pushdown {
            source.filters = rows.filters;
        }
        let source = Arc::new(source);
        let workers = read.batch.workers;
        let mut begun = BTreeMap::new();
        let mut failed = BTreeMap::new();
        let districts = sources.districts.clone();
        let begin = side_by_side(&source.requests, workers, districts, |district| {
            let (number, source) = (district.number, source.clone());
            async move { (number, Begun::new(source, district).await) }
        });
        let mut coming = one_by_one(begin).boxed();
        while let Some((number, result)) = coming.next().await {
            match result {
                Ok(district) => drop(begun.insert(number, district)),
                Err(failure) => sources.fail(number, failure, &endpoint, &mut failed)?,
            }
        }
        drop(coming);
        let totals = begun.values().map(Begun::total);
        let all = totals.fold(0, u64::saturating_add);
        let each = all.div_ceil(number.max(1) as u64).max(1);
        let mut planned: BTreeMap<usize, Vec<PlannedPiece>> = BTreeMap::new();
        let divide = side_by_side(
            &source.requests,
            workers,
            begun,
            |(number, district)| async move {
                let total = district.total();
                let pieces = district.divide(total.div_ceil(each)).await;
                (number, total, pieces)
            },
        );
        let mut coming = one_by_one(divide).boxed();
        while let Some((number, total, pieces)) = coming.next().await {
            match pieces {
                Err(failure) => sources.fail(number, failure, &endpoint, &mut failed)?,
                Ok(pieces) => {
                    let (row, records) = (sources.rows[number], total / pieces.len() as u64);
                    let pieces = pieces.into_iter().map(|piece| PlannedPiece {
                        row,
                        piece: Ok(piece),
                        records,
                    });
                    planned.insert(number, pieces.collect());
                }
            }
        }
        drop(coming);
        failed.extend(std::mem::take(&mut sources.failed));
        for (number, failure) in failed {
            let failed = PlannedPiece {
                row: sources.rows[number],
                piece: Err(failure),
                records: 0,
            };
            planned.insert(number, vec![failed]);
        }
        Ok(planned.into_values().flatten().collect())
    }
}
