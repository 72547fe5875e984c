//! The one loop over the rows of a frame: so many at once, results in input order.

use std::collections::HashMap;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};

use super::input::Keys;
use crate::Control;

/// Does `work` for each row, `workers` of them at once; the results stand in the order of `rows`.
///
/// Rows that have the same text in `order_by` go one after another, in their order.
pub(crate) async fn for_each_row<'a, T: Send>(
    rows: &[usize],
    order_by: Option<&Keys>,
    workers: usize,
    control: &Control,
    work: impl Fn(usize) -> BoxFuture<'a, T> + Sync,
) -> Vec<T> {
    control.begin(rows.len());
    let work = &work;
    let mut results: Vec<(usize, T)> = stream::iter(chains(rows, order_by))
        .map(|chain| async move {
            let mut done = Vec::with_capacity(chain.len());
            for (place, row) in chain {
                done.push((place, work(row).await));
                control.one_done();
            }
            done
        })
        .buffer_unordered(workers)
        .concat()
        .await;
    results.sort_unstable_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
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
