//! The one loop over the rows of a frame: so many at once, results in input order.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use tokio::task::JoinSet;

use super::input::Keys;
use crate::{Control, runtime};

/// With fewer rows or workers than this for each, another lane is not worth its waking.
const ROWS_PER_LANE: usize = 32;
const WORKERS_PER_LANE: usize = 4;

/// Does `work` for each row, `workers` of them at once; the results stand in the order of `rows`.
///
/// Rows that have the same text in `order_by` go one after another, in their order. A blocking
/// call takes rows on several cores; `shared` is what all rows need.
pub(crate) async fn for_each_row<S, T>(
    shared: &Arc<S>,
    rows: &[usize],
    order_by: Option<&Keys>,
    workers: usize,
    control: &Control,
    work: fn(Arc<S>, usize) -> BoxFuture<'static, T>,
) -> Vec<T>
where
    S: Send + Sync + 'static,
    T: Send + 'static,
{
    control.progress.begin(rows.len());
    let queue = Arc::new(Queue {
        chains: chains(rows, order_by),
        next: AtomicUsize::new(0),
        shared: shared.clone(),
        control: control.clone(),
        work,
    });
    let most = (queue.chains.len() / ROWS_PER_LANE).min(workers / WORKERS_PER_LANE);
    let others = runtime::other_lanes(most.saturating_sub(1));
    let count = others.len() + 1;
    let share = |lane: usize| workers / count + usize::from(lane < workers % count);
    // Their work ends with this call, should nobody wait for it any more.
    let mut lanes = JoinSet::new();
    for (lane, handle) in others.iter().enumerate() {
        lanes.spawn_on(queue.clone().drain(share(lane + 1)), handle);
    }
    let mut results = queue.drain(share(0)).await;
    while let Some(ended) = lanes.join_next().await {
        match ended {
            Ok(more) => results.extend(more),
            Err(error) => resume_unwind(error.into_panic()),
        }
    }
    results.sort_unstable_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}

/// The rows of one call, from which each lane takes the next when it can.
struct Queue<S, T> {
    chains: Vec<Vec<(usize, usize)>>,
    next: AtomicUsize,
    shared: Arc<S>,
    control: Control,
    work: fn(Arc<S>, usize) -> BoxFuture<'static, T>,
}

impl<S, T> Queue<S, T> {
    /// Takes rows, `workers` at once, until there are none left.
    async fn drain(self: Arc<Self>, workers: usize) -> Vec<(usize, T)> {
        let queue = &*self;
        let take = || {
            let next = queue.next.fetch_add(1, Ordering::Relaxed);
            (next < queue.chains.len()).then_some(next)
        };
        stream::iter(std::iter::from_fn(take))
            .map(|next| async move {
                let chain = &queue.chains[next];
                let mut done = Vec::with_capacity(chain.len());
                for &(place, row) in chain {
                    done.push((place, (queue.work)(queue.shared.clone(), row).await));
                    queue.control.progress.one_done();
                }
                done
            })
            .buffer_unordered(workers)
            .concat()
            .await
    }
}

/// The rows with their places in the result; those that must wait for each other together.
fn chains(rows: &[usize], order_by: Option<&Keys>) -> Vec<Vec<(usize, usize)>> {
    let mut chains: Vec<Vec<(usize, usize)>> = Vec::with_capacity(rows.len());
    let mut of_key: HashMap<&str, usize> = HashMap::new();
    for (place, &row) in rows.iter().enumerate() {
        match order_by.and_then(|keys| keys.get(row)) {
            Some(key) => {
                let chain = *of_key.entry(key).or_insert(chains.len());
                match chains.get_mut(chain) {
                    Some(chain) => chain.push((place, row)),
                    None => chains.push(vec![(place, row)]),
                }
            }
            None => chains.push(vec![(place, row)]),
        }
    }
    chains
}
