//! The rows of all frames, each for the ODS that it is for: read when the first ODS needs them,
//! kept for the others.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use polars::prelude::DataFrame;
use tokio::sync::mpsc::UnboundedSender;

use super::Job;
use super::account::Account;
use super::frames::{ResourceFrame, of_frame};
use super::known::Known;
use super::rows::Part;
use crate::client::session::{self, Access, MOST_ACCOUNTS, Renewal, Site, TokenSource};
use crate::frame::outcome::Outcome;
use crate::runtime::lock;
use crate::{Error, Failure, Result, runtime};

/// An ODS that rows are for.
pub(super) struct Ods {
    /// With what its documents are asked for.
    pub(super) access: Access,
    /// Why nothing can be sent to it.
    failure: OnceLock<Failure>,
    /// Rows of each frame that were read and not taken.
    waiting: Mutex<Vec<VecDeque<Taken>>>,
}

/// Rows of one frame for one ODS.
pub(super) struct Taken {
    pub(super) part: Arc<Part>,
    pub(super) rows: Vec<usize>,
}

type Batches = Box<dyn Iterator<Item = Result<DataFrame>> + Send>;

pub(super) struct Router {
    job: Arc<Job>,
    pub(super) account: Account,
    /// What is left of each frame; `None`: nothing.
    unread: Vec<tokio::sync::Mutex<Option<Batches>>>,
    odses: Mutex<HashMap<Site, Arc<Ods>>>,
    found: UnboundedSender<Arc<Ods>>,
    /// Why reading ended before its end.
    broken: Mutex<Option<Error>>,
}

impl Router {
    /// Takes the rows that there are; ODSs go to `found`.
    pub(super) fn new(
        job: &Arc<Job>,
        frames: Vec<ResourceFrame>,
        found: UnboundedSender<Arc<Ods>>,
    ) -> Result<Self> {
        let mut whole = Vec::new();
        let mut unread = Vec::new();
        for frame in frames {
            let (df, batches) = frame.into_parts();
            unread.push(tokio::sync::Mutex::new(df.is_none().then_some(batches)));
            whole.push(df);
        }
        let router = Self {
            job: job.clone(),
            account: Account::new(unread.len()),
            unread,
            odses: Mutex::default(),
            found,
            broken: Mutex::default(),
        };
        for (frame, df) in whole.iter().enumerate() {
            if let Some(df) = df {
                let routed = router.route(frame, df);
                routed.map_err(|error| of_frame(&job.endpoints[frame], error))?;
            }
        }
        Ok(router)
    }

    /// The rows of a frame that come next for an ODS; `None` where there are no more.
    pub(super) async fn next(&self, ods: &Ods, frame: usize) -> Option<Taken> {
        loop {
            if let Some(taken) = ods.take(frame) {
                return Some(taken);
            }
            let mut unread = self.unread[frame].lock().await;
            // Another ODS may have read them meanwhile.
            if let Some(taken) = ods.take(frame) {
                return Some(taken);
            }
            if !self.read(frame, &mut unread).await {
                return None;
            }
        }
    }

    /// Reads a batch of any frame; whether there was one.
    pub(super) async fn read_any(&self) -> bool {
        for (frame, unread) in self.unread.iter().enumerate() {
            let mut unread = unread.lock().await;
            if self.read(frame, &mut unread).await {
                return true;
            }
        }
        false
    }

    async fn read(&self, frame: usize, unread: &mut Option<Batches>) -> bool {
        let cancellation = &self.job.context.control.cancellation;
        if cancellation.is_cancelled() || self.job.check_stopped().is_err() {
            return false;
        }
        let Some(mut batches) = unread.take() else {
            return false;
        };
        let read = runtime::compute(move || (batches.next(), batches));
        let (next, batches) = match cancellation.unless_cancelled(read).await {
            // What goes on reading is left to itself.
            Err(_) => return false,
            Ok(Err(error)) => return self.stop(frame, error),
            Ok(Ok(read)) => read,
        };
        match next.map(|df| df.and_then(|df| self.route(frame, &df))) {
            None => false,
            Some(Err(error)) => self.stop(frame, error),
            Some(Ok(())) => {
                *unread = Some(batches);
                true
            }
        }
    }

    /// Sends nothing more: what cannot be read may be what other rows need.
    fn stop(&self, frame: usize, error: Error) -> bool {
        let endpoint = &self.job.endpoints[frame];
        self.job
            .stop(format!("not sent: frames[{endpoint:?}] could not be read"));
        let mut broken = lock(&self.broken);
        broken.get_or_insert(of_frame(endpoint, error));
        false
    }

    /// Gives each row of a frame to its ODS. What is known of a row before it is sent, such as that
    /// its payload is wrong, settles it here; that the ODS has it as it is, a journal hears, too.
    fn route(&self, frame: usize, df: &DataFrame) -> Result<()> {
        let part = Part::new(&self.job, frame, df, self.account.active(frame))?;
        if self.job.commit {
            part.rows.check_complete(df)?;
        }
        part.rows.tell_left_out();
        self.account.open(&self.job, frame, df, &part.rows.active)?;
        let part = Arc::new(part);
        let progress = &self.job.context.control.progress;
        progress.add_total(part.rows.active.len());
        let mut of_odses: Vec<(Arc<Ods>, Vec<usize>)> = Vec::new();
        for &row in &part.rows.active {
            let known = self.job.known.get(frame);
            let is_noted = |known: &Known| self.job.journal.is_some() && known.same(row).is_some();
            let known = known.filter(|known| !is_noted(known));
            if let Some(known) = known.and_then(|known| known.outcomes.get(&row)) {
                // What is wrong with a row without its ODS is said as ever.
                let outcome = match known.status {
                    Some(_) => part
                        .check(row)
                        .err()
                        .map_or_else(|| known.clone(), Into::into),
                    None => known.clone(),
                };
                self.settle(&part, row, outcome, u32::from(self.job.commit));
                continue;
            }
            let ods = match self.ods(&part, row) {
                Ok(ods) => ods,
                Err(failure) => {
                    self.settle(&part, row, failure.into(), u32::from(self.job.commit));
                    continue;
                }
            };
            let place = of_odses
                .iter()
                .rposition(|(known, _)| Arc::ptr_eq(known, &ods));
            match place {
                Some(place) => of_odses[place].1.push(row),
                None => of_odses.push((ods, vec![row])),
            }
        }
        for (ods, rows) in of_odses {
            let part = part.clone();
            ods.put(frame, Taken { part, rows });
            self.settle_failed(&ods);
        }
        Ok(())
    }

    /// The ODS of a row. Who is new is found.
    fn ods(&self, part: &Part, row: usize) -> Result<Arc<Ods>, Failure> {
        let base = part.rows.base(row)?;
        let api_version = part.rows.api_version(row).map(str::to_owned);
        let mut odses = lock(&self.odses);
        let site = (base, api_version);
        if let Some(ods) = odses.get(&site) {
            return Ok(ods.clone());
        }
        let (base, api_version) = site.clone();
        let without_token = Access {
            base,
            api_version,
            token: TokenSource::Missing,
            renewal: Renewal::NotConfigured,
        };
        let access = part.rows.access(row).ok();
        let ods = Arc::new(Ods {
            access: access
                .or_else(|| another(part, row, &site))
                .unwrap_or(without_token),
            failure: OnceLock::new(),
            waiting: Mutex::new(self.unread.iter().map(|_| VecDeque::new()).collect()),
        });
        odses.insert(site, ods.clone());
        // The call waits for them as long as it has the router.
        let _ = self.found.send(ods.clone());
        Ok(ods)
    }

    /// Says of all rows of an ODS, those that are still to be read included, why they are not sent.
    pub(super) fn fail(&self, ods: &Ods, failure: Failure) {
        let _ = ods.failure.set(failure);
        self.settle_failed(ods);
    }

    fn settle_failed(&self, ods: &Ods) {
        let Some(failure) = ods.failure.get() else {
            return;
        };
        for frame in 0..self.unread.len() {
            while let Some(Taken { part, rows }) = ods.take(frame) {
                for row in rows {
                    let outcome = failure.clone().into();
                    self.settle(&part, row, outcome, u32::from(self.job.commit));
                }
            }
        }
    }

    /// Says what became of a row that is not counted yet.
    pub(super) fn settle(&self, part: &Part, row: usize, outcome: Outcome, round: u32) {
        self.account
            .settle(part.frame, part.slot(row), outcome, round);
        self.job.context.control.progress.one_done();
    }

    /// The result, and why it does not hold all rows.
    pub(super) fn into_result(self) -> (Result<DataFrame>, Option<Error>) {
        let broken = self.broken.into_inner();
        let rows = self.account.into_frame(&self.job);
        (rows, broken.unwrap_or_else(PoisonError::into_inner))
    }
}

/// What another row can show to the ODS of this one, which lacks a token: documents are asked for on
/// behalf of all.
fn another(part: &Part, row: usize, site: &Site) -> Option<Access> {
    let url = part.rows.url(row);
    let others = part.rows.active.iter().filter(|other| **other > row);
    let others = others.filter(|other| part.rows.url(**other) == url);
    let mut accesses = others.filter_map(|other| part.rows.access(*other).ok());
    accesses.find(|access| access.site() == *site)
}

impl Ods {
    /// Another account of those whose rows were read.
    pub(super) fn another(&self, tried: &[session::Account]) -> Option<Access> {
        let waiting = self.waiting();
        let parts = waiting.iter().flatten();
        let rows = parts.flat_map(|Taken { part, rows }| rows.iter().map(|row| (&**part, *row)));
        let mut others = rows.filter_map(|(part, row)| {
            let access = part.rows.access(row).ok()?;
            (!tried.contains(&access.account())).then_some(access)
        });
        let has_more = tried.len() < MOST_ACCOUNTS;
        has_more.then(|| others.next()).flatten()
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<VecDeque<Taken>>> {
        lock(&self.waiting)
    }

    fn take(&self, frame: usize) -> Option<Taken> {
        self.waiting()[frame].pop_front()
    }

    fn put(&self, frame: usize, taken: Taken) {
        self.waiting()[frame].push_back(taken);
    }
}
