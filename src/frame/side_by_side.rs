//! Work on many ODSs side by side, whichever of them do not answer.

use std::collections::BTreeMap;
use std::iter::{Enumerate, Peekable};

use futures_util::stream::{self, FuturesUnordered, Stream, StreamExt};

use crate::client::permits::{Permits, WaitingFirst};

/// Does pieces of work, as many at once as there are workers, and one more for each request that
/// waits for something other than an answer: nobody stands behind an ODS that does not answer.
/// Each result comes with its place, as soon as it is there.
///
/// `permits` are those of the requests that the work consists of.
pub(super) fn side_by_side<V, F: Future>(
    permits: &Permits,
    workers: usize,
    items: impl IntoIterator<Item = V>,
    work: impl Fn(V) -> F,
) -> impl Stream<Item = (usize, F::Output)> {
    let state = SideBySide {
        permits: permits.clone(),
        waiting: Some(permits.expecting()),
        workers,
        items: items.into_iter().enumerate().peekable(),
        work,
    };
    let at_work = FuturesUnordered::new();
    stream::unfold((state, at_work), |(mut state, mut at_work)| async move {
        loop {
            while at_work.len() < state.workers.saturating_add(state.permits.lent())
                && let Some((place, item)) = state.items.next()
            {
                let work = (state.work)(item);
                at_work.push(async move { (place, work.await) });
            }
            let has_more = state.items.peek().is_some();
            if !has_more {
                state.waiting = None;
            }
            tokio::select! {
                Some(done) = at_work.next() => return Some((done, (state, at_work))),
                () = state.permits.lending(), if has_more && !at_work.is_empty() => {}
                else => return None,
            }
        }
    })
}

struct SideBySide<I: Iterator, W> {
    permits: Permits,
    /// As long as something has not begun, it goes before what is tried again.
    waiting: Option<WaitingFirst>,
    workers: usize,
    items: Peekable<Enumerate<I>>,
    work: W,
}

/// The results in the order of what they are of, each when all before it are there.
pub(super) fn one_by_one<T>(results: impl Stream<Item = (usize, T)>) -> impl Stream<Item = T> {
    let state = (Box::pin(results), BTreeMap::new(), 0);
    stream::unfold(state, |(mut results, mut early, next)| async move {
        loop {
            if let Some(result) = early.remove(&next) {
                return Some((result, (results, early, next + 1)));
            }
            let (place, result) = results.next().await?;
            early.insert(place, result);
        }
    })
}

/// All results in the order of what they are of.
pub(super) async fn in_order<T>(results: impl Stream<Item = (usize, T)>) -> Vec<T> {
    let mut all: Vec<(usize, T)> = results.collect().await;
    all.sort_unstable_by_key(|(place, _)| *place);
    all.into_iter().map(|(_, result)| result).collect()
}
