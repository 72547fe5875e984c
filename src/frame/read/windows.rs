//! Windows of change versions: a large collection in parts that a database finds without skipping
//! row by row to a deep offset.
//!
//! Windows go side by side, each by the chain rule, but for the last, which has no end and is read
//! when all others are. A record that is edited meanwhile has a version beyond them all, and one
//! that was begun before and is committed late has one of the last thousand: both stand in that
//! window. A record that was there all the time and kept its key was in its window until it
//! moved, and from then on in the last one.

use std::sync::Arc;

use super::changes::Since;
use super::pages::PageSender;
use super::parts::Done;
use super::prefetch::Slots;
use super::reader::{Reader, within};
use crate::Failure;
use crate::client::ChangeVersions;
use crate::client::paging::Paging;

/// The most records of a window, and the most pages, unless one version has more.
const MOST_RECORDS: u64 = 25_000;
const MOST_PAGES: u64 = 100;
/// Without being asked for, only larger collections are read by windows.
const LARGE: u64 = 100_000;
/// More windows than these are not divided off, whatever a server counts.
const MOST_WINDOWS: usize = 4_000;

/// Change versions, both ends included, and how many records have them.
struct Span {
    low: i64,
    high: i64,
    count: u64,
}

impl<T: Send + 'static> Reader<T> {
    fn most_records(&self) -> u64 {
        MOST_RECORDS.min(self.source.limit.saturating_mul(MOST_PAGES))
    }

    /// Whether a collection of so many records may be read by windows.
    pub(super) fn may_have_windows(&self, total: Option<u64>, has_tokens: bool) -> Option<u64> {
        let source = &self.source;
        let least = match source.paging {
            Paging::Windows => self.most_records(),
            Paging::Auto if !has_tokens => LARGE,
            Paging::Auto | Paging::Offset | Paging::Cursor => return None,
        };
        total.filter(|total| *total > least && source.need.is_none())
    }

    /// Puts all records out, window by window; `false` where the server has no change queries and
    /// nobody insists.
    pub(super) async fn windows(
        self: &Arc<Self>,
        out: &PageSender<T>,
        total: u64,
    ) -> Result<bool, Failure> {
        let source = &self.source;
        let newest = match self.versions().await {
            Ok(versions) => versions.newest,
            Err(mut failure) if source.paging == Paging::Windows => {
                failure.message = format!(
                    "{} (paging=\"windows\" needs change queries; \"auto\" and \"offset\" do without)",
                    failure.message
                );
                return Err(failure);
            }
            Err(_) => return Ok(false),
        };
        let (min, max) = source.versions;
        let (low, high) = (min.unwrap_or(0), max.map_or(newest, |max| max.min(newest)));
        if low > high {
            return Ok(false);
        }
        let tail = self.tail((low, newest), max).await?;
        let (high, count) = match tail {
            Some((begin, few)) => (begin - 1, total.saturating_sub(few)),
            None => (high, total),
        };
        let count = match count {
            0 => self.count_of(low, Some(high)).await?.unwrap_or(total),
            count => count,
        };
        self.whole.remember_all();
        let slots = self.part_slots();
        let mut done = Vec::new();
        let mut spans = vec![Span { low, high, count }];
        while let Some(span) = spans.pop() {
            let Span { low, high, count } = span;
            if count == 0 {
                continue;
            }
            if count > self.most_records() && low < high && done.len() < MOST_WINDOWS {
                let middle = low + (high - low) / 2;
                let left = self.count_of(low, Some(middle)).await?.unwrap_or(count);
                // What is left over is estimated, unless that would be nothing.
                let right = match count.saturating_sub(left) {
                    0 => self
                        .count_of(middle + 1, Some(high))
                        .await?
                        .unwrap_or(count),
                    right => right,
                };
                if left < count || right < count {
                    spans.push(Span {
                        low: middle + 1,
                        high,
                        count: right,
                    });
                    spans.push(Span {
                        low,
                        high: middle,
                        count: left,
                    });
                    continue;
                }
                // The server does not look at change versions.
                if done.is_empty() {
                    return Ok(false);
                }
            }
            done.push(self.put_window(out, &slots, low, Some(high)).await);
        }
        for part in done {
            // One that failed is told by its own queue.
            if part.await.is_err() {
                return Ok(true);
            }
        }
        if let Some((begin, _)) = tail {
            drop(self.put_window(out, &slots, begin, max).await);
        } else if max.is_none_or(|max| max > newest)
            && (self.versions().await?.newest > newest || self.whole.records() < total)
        {
            drop(self.put_window(out, &slots, newest + 1, max).await);
        }
        Ok(true)
    }

    /// Where the versions begin that late commits may still have, and how many records there are of
    /// them; none where these are too many for one window: no late commits, but a whole database of
    /// one version.
    async fn tail(
        &self,
        (low, newest): (i64, i64),
        max: Option<i64>,
    ) -> Result<Option<(i64, u64)>, Failure> {
        let begin = newest - Since::OVERLAP + 1;
        if begin <= low || max.is_some_and(|max| max < begin) {
            return Ok(None);
        }
        let count = self.count_of(begin, max).await?.unwrap_or(0);
        Ok((count <= self.most_records()).then_some((begin, count)))
    }

    async fn put_window(
        self: &Arc<Self>,
        out: &PageSender<T>,
        slots: &Arc<Slots>,
        low: i64,
        high: Option<i64>,
    ) -> Done {
        let part = self.part(self.base.clone(), (Some(low), high), None, self.only);
        self.put_part(out, slots, Arc::new(part), None).await
    }

    async fn versions(&self) -> Result<ChangeVersions, Failure> {
        let source = &self.source;
        let (access, snapshot) = (&self.district.access, &self.base.snapshot);
        let versions = source.context.change_versions(access, snapshot);
        source.requests.run(versions).await
    }

    async fn count_of(&self, low: i64, high: Option<i64>) -> Result<Option<u64>, Failure> {
        let source = &self.source;
        let collection = within(&self.base, (Some(low), high));
        let count = collection.count(&source.context, &self.district.access);
        source.requests.run(count).await
    }
}
