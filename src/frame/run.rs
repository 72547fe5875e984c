//! The one loop over the rows of a frame: so many at once, results in input order.

use std::convert::Infallible;
use std::future::{Future, poll_fn, ready};
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::poll;
use futures_util::stream::{FuturesUnordered, StreamExt};
use polars::prelude::PlHashMap;
use rayon::prelude::*;
use tokio::task::JoinSet;

use super::input::Keys;
use super::order::Order;
use super::outcome::Outcome;
use super::result::Outcomes;
use crate::client::permits::{Permits, Rank};
use crate::{Control, Failure, Result, runtime};

/// With fewer rows or requests than this for each, another thread is not worth its waking.
const ROWS_PER_THREAD: usize = 32;
const REQUESTS_PER_THREAD: usize = 4;
/// The message of a row that met a bug of this library.
const PANICKED: &str = "the work on this row ended in a panic; it may have been applied";

/// What a batch does with each of its rows.
pub(crate) trait RowOperation: Send + Sync + 'static {
    /// What is sent for a row.
    type Request: Send + Sync;
    /// What became of a row.
    type Outcome: From<Failure> + Send + Sync + 'static;

    /// What a row may have to wait for together with others: its district's URL.
    fn district(&self, row: usize) -> Option<&str>;

    /// What is to be sent for a row, or why nothing can be.
    fn prepare(&self, row: usize) -> Result<Self::Request, Failure>;

    /// What is the matter with a row that is not to be sent.
    fn check(&self, row: usize) -> Result<(), Failure> {
        self.prepare(row).map(drop)
    }

    /// Whether a row is to be sent once more later: rows of the same chain wait for that.
    fn waits(&self, _row: usize, _outcome: &Self::Outcome) -> bool {
        false
    }

    /// Sends it, as often as it takes.
    fn send(&self, request: Self::Request) -> impl Future<Output = Self::Outcome> + Send;
}

/// Is told of each row of a batch: before it is sent, and what became of it.
///
/// Does nothing by default, and then costs nothing.
pub(crate) trait Observer<O: RowOperation>: Send + Sync + 'static {
    /// Before a row is sent. An outcome that is known already stands instead of sending it.
    fn before(
        &self,
        _row: usize,
        _request: &O::Request,
    ) -> impl Future<Output = Option<O::Outcome>> + Send {
        ready(None)
    }

    /// What the answer to a row that was sent means to who knows what was before.
    fn answered(&self, _row: usize, outcome: O::Outcome) -> O::Outcome {
        outcome
    }

    /// A row that was sent ended in a panic: nobody knows what became of it.
    fn lost(&self, _row: usize) {}

    /// After a row, whether it was sent or not. The row is done when this is; others may be sent in
    /// its place before.
    fn after(&self, _row: usize, _outcome: &O::Outcome) -> impl Future<Output = ()> + Send {
        ready(())
    }

    /// When all rows of a thread wait for something.
    fn idle(&self) {}
}

/// Nobody wants to know.
impl<O: RowOperation> Observer<O> for () {}

/// Does `operation` for each row, `workers` of them at once; the results stand in the order of
/// `rows`.
///
/// Rows that have the same text in `order_by` go one after another, in their order. A blocking
/// call takes rows on several cores.
pub(crate) async fn for_each_row<O: RowOperation>(
    operation: &Arc<O>,
    rows: &[usize],
    order_by: Option<&Keys>,
    workers: usize,
    control: &Control,
    observer: impl Observer<O>,
) -> Vec<O::Outcome> {
    control.progress.begin(rows.len());
    let chains = chains(rows, order_by, |_| None::<()>);
    let workers = Workers::new(workers);
    let results = for_each_chain(operation, chains, &workers, control, observer).await;
    results.into_iter().map(|(_, result)| result).collect()
}

/// So many requests in flight at once, in one call of [`for_each_chain`] or in many.
pub(crate) struct Workers {
    count: usize,
    shared: Option<Permits>,
}

impl Workers {
    /// For one call.
    pub(crate) fn new(count: usize) -> Self {
        Self {
            count,
            shared: None,
        }
    }

    /// For many calls together.
    pub(crate) fn shared(count: usize) -> Self {
        Self {
            count,
            shared: Some(Permits::new(count)),
        }
    }

    /// For one of many calls that share these permits.
    pub(crate) fn sharing(count: usize, permits: &Permits) -> Self {
        Self {
            count,
            shared: Some(permits.clone()),
        }
    }

    /// What others take their permits from that send with these workers.
    pub(crate) fn permits(&self) -> Option<&Permits> {
        self.shared.as_ref()
    }
}

/// Does `operation` for each row, each with its place in the result, by which the results are
/// sorted.
///
/// The rows of a chain go one after another. Where one of them [waits](RowOperation::waits), those
/// behind it are not sent, and have no result.
pub(crate) async fn for_each_chain<O: RowOperation>(
    operation: &Arc<O>,
    chains: Vec<Chain>,
    workers: &Workers,
    control: &Control,
    observer: impl Observer<O>,
) -> Vec<(usize, O::Outcome)> {
    let most = (chains.len() / ROWS_PER_THREAD).min(workers.count / REQUESTS_PER_THREAD);
    let queue = Arc::new(Queue {
        chains,
        next: AtomicUsize::new(0),
        operation: operation.clone(),
        control: control.clone(),
        observer,
    });
    let others = runtime::other_workers(most.saturating_sub(1));
    let count = others.len() + 1;
    let share = |thread: usize| match &workers.shared {
        Some(_) => workers.count,
        None => workers.count / count + usize::from(thread < workers.count % count),
    };
    let drain = |thread: usize| queue.clone().drain(share(thread), workers.shared.clone());
    // Their work ends with this call, should nobody wait for it any more.
    let mut threads = JoinSet::new();
    for (thread, handle) in others.iter().enumerate() {
        threads.spawn_on(drain(thread + 1), handle);
    }
    let mut results = drain(0).await;
    while let Some(joined) = threads.join_next().await {
        match joined {
            Ok(more) => results.extend(more),
            Err(error) => resume_unwind(error.into_panic()),
        }
    }
    results.sort_unstable_by_key(|(place, _)| *place);
    results
}

/// What would become of each row, as far as can be told without sending anything.
pub(crate) async fn dry_run<O>(operation: &Arc<O>, rows: &[usize]) -> Result<Outcomes>
where
    O: RowOperation<Outcome = Outcome>,
{
    let (operation, rows) = (operation.clone(), rows.to_vec());
    let wrong = move |row: &usize| operation.check(*row).err().map(|why| Box::new(why.into()));
    let check = move || Outcomes::DryRun(rows.par_iter().map(wrong).collect());
    runtime::compute(check).await
}

/// What became of a row, with its place in the result.
type Done<O> = (usize, <O as RowOperation>::Outcome);

/// Rows that go one after another, each with its place in the result.
pub(crate) type Chain = Vec<(usize, usize)>;

/// The rows of one call, from which each thread takes the next when it can.
struct Queue<O, W> {
    chains: Vec<Chain>,
    next: AtomicUsize,
    operation: Arc<O>,
    control: Control,
    observer: W,
}

impl<O: RowOperation, W: Observer<O>> Queue<O, W> {
    /// Takes rows, so many at once, until there are none left.
    async fn drain(
        self: Arc<Self>,
        at_once: usize,
        shared: Option<Permits>,
    ) -> Vec<(usize, O::Outcome)> {
        let queue = &*self;
        let permits = shared.unwrap_or_else(|| Permits::new(at_once));
        let mut order = Order::new(at_once);
        let (mut under_way, mut ending) = (FuturesUnordered::new(), FuturesUnordered::new());
        let mut done = Vec::new();
        let mut has_more = true;
        while has_more || !under_way.is_empty() || !ending.is_empty() {
            tokio::select! {
                biased;
                Some(row) = ending.next() => done.push(row),
                // Rows are taken with a permit in hand: others may have one sooner.
                permit = permits.acquire(Rank::First), if has_more => {
                    match order.next(|| queue.take()) {
                        Some((district, chain)) => {
                            let rows = permit.hold(queue.chain(chain));
                            under_way.push(rows.map(move |rows| (district, rows)));
                        }
                        None => has_more = false,
                    }
                }
                Some((district, (rows, last))) = under_way.next() => {
                    has_more |= order.end(district);
                    done.extend(rows);
                    ending.extend(last);
                }
                never = poll_fn(|_| { queue.observer.idle(); Poll::<Infallible>::Pending }) => {
                    match never {}
                }
            }
        }
        done
    }

    /// The next rows that nobody has taken, and their district.
    fn take(&self) -> Option<(Option<&str>, usize)> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        let (_, row) = self.chains.get(next)?.first()?;
        Some((self.operation.district(*row), next))
    }

    /// Rows that go one after another: those that are done, and the end of the last one, which may
    /// take its time while another row is sent.
    async fn chain(&self, chain: usize) -> (Vec<Done<O>>, Option<BoxFuture<'_, Done<O>>>) {
        let chain = &self.chains[chain];
        let mut done = Vec::with_capacity(chain.len() - 1);
        for (number, &(place, row)) in (1..).zip(chain) {
            let outcome = self.row(row).await;
            let waits = self.operation.waits(row, &outcome);
            let mut end = async move {
                self.observer.after(row, &outcome).await;
                if !waits {
                    self.control.progress.one_done();
                }
                (place, outcome)
            }
            .boxed();
            if waits || number == chain.len() {
                // The observer hears of it before another row has the permit.
                match poll!(&mut end) {
                    Poll::Ready(row) => done.push(row),
                    Poll::Pending => return (done, Some(end)),
                }
                break;
            }
            done.push(end.await);
        }
        (done, None)
    }

    async fn row(&self, row: usize) -> O::Outcome {
        let done = AssertUnwindSafe(self.send(row)).catch_unwind().await;
        // What other rows were answered must not be lost with this one.
        done.unwrap_or_else(|_| {
            self.observer.lost(row);
            Failure::new(PANICKED).into()
        })
    }

    async fn send(&self, row: usize) -> O::Outcome {
        match self.operation.prepare(row) {
            Ok(request) => match self.observer.before(row, &request).await {
                Some(known) => known,
                None => {
                    let outcome = self.operation.send(request).await;
                    self.observer.answered(row, outcome)
                }
            },
            Err(failure) => failure.into(),
        }
    }
}

/// The rows with their places in the result; those together that must wait for each other, because
/// they have the same text in `order_by` or the same `item`.
pub(crate) fn chains<I: Eq + Hash>(
    rows: &[usize],
    order_by: Option<&Keys>,
    item: impl Fn(usize) -> Option<I>,
) -> Vec<Chain> {
    let mut joined = Joined::new(rows.len());
    let (mut of_key, mut of_item) = (PlHashMap::default(), PlHashMap::default());
    for (place, &row) in rows.iter().enumerate() {
        if let Some(key) = order_by.and_then(|keys| keys.get(row)) {
            joined.join(*of_key.entry(key).or_insert(place), place);
        }
        if let Some(item) = item(row) {
            joined.join(*of_item.entry(item).or_insert(place), place);
        }
    }
    let mut chains: Vec<Chain> = Vec::with_capacity(rows.len());
    let mut of_first = vec![None; rows.len()];
    for (place, &row) in rows.iter().enumerate() {
        let chain = *of_first[joined.first(place)].get_or_insert(chains.len());
        match chains.get_mut(chain) {
            Some(chain) => chain.push((place, row)),
            None => chains.push(vec![(place, row)]),
        }
    }
    chains
}

/// Places that belong together, each known by the first of them.
struct Joined(Vec<usize>);

impl Joined {
    fn new(places: usize) -> Self {
        Self((0..places).collect())
    }

    fn first(&mut self, mut place: usize) -> usize {
        while self.0[place] != place {
            self.0[place] = self.0[self.0[place]];
            place = self.0[place];
        }
        place
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.first(one), self.first(other));
        self.0[one.max(other)] = one.min(other);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Sends what is even, and finds everything above 6 wrong.
    struct Doubling;

    #[derive(Debug, Clone, PartialEq)]
    enum Doubled {
        To(usize),
        Known,
        Failed,
    }

    impl From<Failure> for Doubled {
        fn from(_: Failure) -> Self {
            Self::Failed
        }
    }

    impl RowOperation for Doubling {
        type Request = usize;
        type Outcome = Doubled;

        fn district(&self, _: usize) -> Option<&str> {
            None
        }

        fn prepare(&self, row: usize) -> Result<usize, Failure> {
            match row > 6 {
                true => Err(Failure::new("too large")),
                false => Ok(row),
            }
        }

        async fn send(&self, row: usize) -> Doubled {
            assert_ne!(row, 6, "a panic");
            assert_eq!(row % 2, 0, "an outcome that is known is not sent for");
            tokio::task::yield_now().await;
            Doubled::To(2 * row)
        }
    }

    #[derive(Default)]
    struct Log(Mutex<Vec<(usize, Option<Doubled>)>>);

    impl Observer<Doubling> for Arc<Log> {
        async fn before(&self, row: usize, _: &usize) -> Option<Doubled> {
            self.0.lock().unwrap().push((row, None));
            (row % 2 == 1).then_some(Doubled::Known)
        }

        async fn after(&self, row: usize, outcome: &Doubled) {
            self.0.lock().unwrap().push((row, Some(outcome.clone())));
        }
    }

    #[test]
    fn rows_of_one_key_or_one_item_are_one_chain() {
        let df = polars::df!("k" => [Some("a"), None, Some("b"), Some("a"), None]).unwrap();
        let keys = Keys::required(&df, "order_by_col", "k").unwrap();
        let item = |row: usize| (row == 2 || row == 3).then_some(row > 0);
        let found = chains(&[0, 1, 2, 3, 4], Some(&keys), item);
        assert_eq!(
            found,
            [vec![(0, 0), (2, 2), (3, 3)], vec![(1, 1)], vec![(4, 4)]]
        );
    }

    #[tokio::test]
    async fn a_panic_costs_its_row_only() {
        let (operation, control) = (Arc::new(Doubling), Control::new());
        let results = for_each_row(&operation, &[2, 6, 4], None, 2, &control, ()).await;
        let expected = [Doubled::To(4), Doubled::Failed, Doubled::To(8)];
        assert_eq!(results, expected);
    }

    #[tokio::test]
    async fn an_observer_hears_of_each_row_before_and_after() {
        let (log, control) = (Arc::new(Log::default()), Control::new());
        let rows = [4, 5, 7];
        let operation = Arc::new(Doubling);
        let results = for_each_row(&operation, &rows, None, 2, &control, log.clone()).await;
        let expected = [Doubled::To(8), Doubled::Known, Doubled::Failed];
        assert_eq!(results, expected);
        let log = log.0.lock().unwrap();
        for (row, outcome) in rows.into_iter().zip(expected) {
            let told = log.iter().filter(|(of, _)| *of == row).cloned();
            let before = (outcome != Doubled::Failed).then_some((row, None));
            let after = (row, Some(outcome));
            assert!(told.eq(before.into_iter().chain([after])), "{log:?}");
        }
        assert_eq!((control.done(), control.total()), (3, 3));
    }
}
