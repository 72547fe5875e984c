//! Many resources at once: written in the order of each ODS, or taken out in the reverse of it.
//!
//! | file | |
//! |---|---|
//! | `frames` | the frames of a call, whole or in batches |
//! | `known` | which rows stay here: wrong ones, and those that the ODS has as they are |
//! | `levels` | in which order an ODS wants them |
//! | `router` | each row for its ODS |
//! | `rounds` | the rows of one ODS, level by level and round by round |
//! | `chains` | rows that go one after another, and wait together |
//! | `rows` | rows as requests |
//! | `answers` | what an answer means: one table |
//! | `account` | what became of every row |

mod account;
mod answers;
mod chains;
mod frames;
mod known;
mod levels;
mod rounds;
mod router;
mod rows;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use polars::prelude::DataFrame;
use tokio::sync::mpsc;

pub use self::frames::ResourceFrame;
use self::known::Known;
use self::levels::Order;
use self::router::{Ods, Router};
use self::rows::{Part, Verb};
use super::delete::DeleteOptions;
use super::journaled::{Told, open};
use super::options::BatchOptions;
use super::post::{PostOptions, Poster};
use super::result;
use super::run::Workers;
use crate::client::EdFiClient;
use crate::client::metadata::Metadata;
use crate::client::session::{Access, CallContext};
use crate::journal::{Journal, JournalOptions};
use crate::runtime::lock;
use crate::{Error, Failure, Result, runtime};

/// How often a row is sent at most for what it refers to.
const ROUNDS: usize = 5;

/// The options of [`EdFiClient::send`].
///
/// ```
/// use polars_edfi::{PostOptions, SendOptions};
///
/// let post = PostOptions { commit: true, ..PostOptions::default() };
/// let options = SendOptions { post, ..SendOptions::default() };
/// assert_eq!(options.rounds, 5);
/// ```
#[derive(Debug, Clone)]
pub struct SendOptions {
    /// Columns, workers, what is repeated. The endpoint is that of each frame; a 409 of two writers
    /// at once, 408, 429, 500, 502, 503 and 504 are posted again up to
    /// [`max_retries`](PostOptions::max_retries) times, named or not.
    /// [`order_by_col`](PostOptions::order_by_col) takes the place of natural keys.
    pub post: PostOptions,
    /// The most times that a row is sent that refers to something not there yet.
    pub rounds: usize,
    /// The order for ODSs that serve no document of dependencies: the endpoints of one list are sent
    /// side by side.
    pub order: Vec<Vec<String>>,
    /// Whether rows that would change nothing in the ODS are not sent: see [`EdFiClient::compare`].
    /// Those that would are sent, whatever a journal knows of them; the others it notes as confirmed.
    pub skip_same: bool,
}

impl Default for SendOptions {
    fn default() -> Self {
        Self {
            post: PostOptions::default(),
            rounds: ROUNDS,
            order: Vec::new(),
            skip_same: false,
        }
    }
}

/// The options of [`EdFiClient::remove`].
#[derive(Debug, Clone)]
pub struct RemoveOptions {
    /// Columns and workers. The endpoint is that of each frame.
    pub delete: DeleteOptions,
    /// The most times that an item is tried that others still refer to.
    pub rounds: usize,
    /// The order in which the items were sent, for ODSs that serve no document of dependencies.
    pub order: Vec<Vec<String>>,
}

impl Default for RemoveOptions {
    fn default() -> Self {
        Self {
            delete: DeleteOptions::default(),
            rounds: ROUNDS,
            order: Vec::new(),
        }
    }
}

impl EdFiClient {
    /// Posts the rows of many resources in the order in which their ODSs want them.
    ///
    /// Each ODS goes through the levels of its own document of dependencies, side by side with
    /// others; a level waits for all of the level before. Rows of one item go one after another, in
    /// their order. What is refused because it refers to something that is not there yet is sent
    /// again after all levels, and then as long as a round brings anything, `rounds` times at most.
    /// What nobody may see yet (a 403 of `security:authorization`) is sent once more after the
    /// associations. All other refusals are final at once.
    ///
    /// Returns one row for each row that took part, in the order of the frames and their rows:
    /// `endpoint` (String), `key` (as in `key_col`; String where dtypes differ, null without one),
    /// `status`, `message`, `http_status`, `correlation_id`, `resource_id`, `attempts` (UInt32, over
    /// all rounds) as in [`batch_post_payload`](Self::batch_post_payload), `round` (UInt32: how
    /// often it was sent; 0 in a dry run, whose `message` is its level, `level 3`), `row_index`
    /// (IdxSize, in its own frame) and `row_id`.
    ///
    /// ```
    /// # #[cfg(feature = "sandbox")]
    /// # fn main() -> polars_edfi::Result<()> {
    /// use polars::prelude::*;
    /// use polars_edfi::{EdFiClient, ResourceFrame, SendOptions, blocking, sandbox::Sandbox};
    ///
    /// let ods = Sandbox::builder().start()?;
    /// let url = ods.district_url("255901").unwrap_or_default();
    /// let client: blocking::EdFiClient = EdFiClient::builder().base_url(url).build()?.into();
    /// let student = [r#"{"studentUniqueId": "604822"}"#];
    /// let df = DataFrame::new(1, vec![Column::new("payload".into(), student)])?;
    /// let frames = vec![ResourceFrame::new("ed-fi/students", df)];
    /// let dry_run = client.send(frames, "payload", None, &SendOptions::default())?;
    /// assert_eq!(dry_run.column("message")?.str()?.get(0), Some("level 2"));
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "sandbox"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// Wrong options, an endpoint that stands there twice, a column that is missing or of a wrong
    /// type: all before anything is sent. [`Error::Unread`] where a frame cannot be read to its end.
    pub async fn send(
        &self,
        frames: Vec<ResourceFrame>,
        payload_col: &str,
        key_col: Option<&str>,
        options: &SendOptions,
    ) -> Result<DataFrame> {
        let SendOptions {
            post,
            rounds,
            order,
            skip_same,
        } = options;
        post.check()?;
        check_etags(post.etag_col.as_deref())?;
        let post = PostOptions {
            // What a problem is called says what it means.
            details: true,
            ..post.clone()
        };
        let mut context = self.default_context(&post.batch);
        post.accept_401(&mut context);
        let context = Arc::new(context);
        let endpoints = frames::endpoints(&frames)?;
        let (frames, known) = match post.validate || *skip_same {
            true => self.known(frames, payload_col, &post, *skip_same).await?,
            false => (frames, Vec::new()),
        };
        let poster = |endpoint: &String| {
            Poster::with(context.clone(), endpoint.clone(), &post, answers::repeats)
        };
        let verb = Verb::Post {
            payload_col: payload_col.to_owned(),
            posters: endpoints.iter().map(poster).collect(),
            options: Box::new(post.clone()),
        };
        let job = Job {
            known,
            commit: post.commit,
            details: options.post.details,
            journaling: post.journaling,
            ..Job::new(self, &post.batch, context, endpoints, verb)
        };
        let frame = job.run(frames, key_col, (*rounds, order)).await?;
        let control = &options.post.batch.control;
        Ok(result::finish(control, result::STATUS_NAME, frame))
    }

    /// Deletes the items of many resources in the reverse of the order in which they were written,
    /// descriptors last.
    ///
    /// What something still refers to is tried again in later rounds, as long as a round takes
    /// anything out, `rounds` times at most. Returns one row for each row that took part:
    /// `endpoint` (String), `key` (as in `key_col`; String where dtypes differ, null without one),
    /// `id` (as in `id_col`), `status` (`"deleted"`, `"error"`, `"dry_run"`), `message`,
    /// `http_status`, `correlation_id`, `attempts`, `round`, `row_index` and `row_id` as in
    /// [`send`](Self::send).
    ///
    /// # Errors
    /// As there.
    pub async fn remove(
        &self,
        frames: Vec<ResourceFrame>,
        id_col: &str,
        key_col: Option<&str>,
        options: &RemoveOptions,
    ) -> Result<DataFrame> {
        let RemoveOptions {
            delete,
            rounds,
            order,
        } = options;
        check_etags(delete.etag_col.as_deref())?;
        let endpoints = frames::endpoints(&frames)?;
        let context = Arc::new(self.default_context(&delete.batch));
        let verb = Verb::Delete {
            id_col: id_col.to_owned(),
        };
        let job = Job {
            commit: delete.commit,
            details: delete.details,
            journaling: delete.journaling.clone(),
            ..Job::new(self, &delete.batch, context, endpoints, verb)
        };
        let frame = job.run(frames, key_col, (*rounds, order)).await?;
        let control = &delete.batch.control;
        Ok(result::finish(control, result::STATUS_NAME, frame))
    }
}

/// Whoever names etags must not find that nobody looked at them.
fn check_etags(etag_col: Option<&str>) -> Result<()> {
    match etag_col {
        None => Ok(()),
        Some(_) => Err(Error::Config(
            "etag_col: send and remove take no etags; the batches of one resource do".into(),
        )),
    }
}

/// One call: what is done with which frames, and what its requests share.
struct Job {
    client: EdFiClient,
    batch: BatchOptions,
    /// By frame.
    known: Vec<Known>,
    commit: bool,
    /// Whether the result tells the single errors of refused rows.
    details: bool,
    rounds: u32,
    /// The order for ODSs without a document.
    order: Order,
    key_col: Option<String>,
    /// Those of the frames, in their order.
    endpoints: Vec<String>,
    verb: Verb,
    context: Arc<CallContext>,
    workers: Workers,
    journaling: JournalOptions,
    /// What was done before, and is noted now.
    journal: Option<Journal>,
    /// What was written of frames that come in pieces.
    told: Told,
    /// The frames that a warning was given of.
    warned: Mutex<HashSet<usize>>,
    /// Why nothing is sent any more.
    stopped: OnceLock<String>,
}

impl Job {
    /// One that sends nothing, without a journal.
    fn new(
        client: &EdFiClient,
        batch: &BatchOptions,
        context: Arc<CallContext>,
        endpoints: Vec<String>,
        verb: Verb,
    ) -> Self {
        Self {
            client: client.clone(),
            batch: batch.clone(),
            known: Vec::new(),
            commit: false,
            details: false,
            rounds: 1,
            order: Order::default(),
            key_col: None,
            endpoints,
            verb,
            context,
            workers: Workers::shared(batch.workers),
            journaling: JournalOptions::default(),
            journal: None,
            told: Told::default(),
            warned: Mutex::default(),
            stopped: OnceLock::new(),
        }
    }

    async fn run(
        mut self,
        frames: Vec<ResourceFrame>,
        key_col: Option<&str>,
        (rounds, order): (usize, &[Vec<String>]),
    ) -> Result<DataFrame> {
        if rounds == 0 {
            return Err(Error::Config("rounds must be at least 1".into()));
        }
        if self.batch.workers == 0 {
            return Err(Error::Config("workers must be at least 1".into()));
        }
        self.rounds = u32::try_from(rounds).unwrap_or(u32::MAX);
        self.order = Order::new(order)?;
        self.key_col = key_col.map(str::to_owned);
        let checked = runtime::compute(move || self.check(&frames).map(|()| (self, frames)));
        let (mut job, frames) = checked.await??;
        if job.commit {
            job.journal = open(&job.journaling).await?;
        }
        let job = Arc::new(job);
        let (sender, mut found) = mpsc::unbounded_channel();
        let router = {
            let job = job.clone();
            runtime::compute(move || Router::new(&job, frames, sender)).await??
        };
        // On the heap: what a call keeps may be large.
        let send = |ods: Arc<Ods>| {
            let (router, job) = (&router, &job);
            Box::pin(async move { rounds::send(router, job, &ods).await })
        };
        let mut running = FuturesUnordered::new();
        loop {
            while let Ok(ods) = found.try_recv() {
                running.push(send(ods));
            }
            if running.is_empty() {
                // Rows of ODSs that nobody has met so far may be left.
                match router.read_any().await {
                    true => continue,
                    false => break,
                }
            }
            tokio::select! {
                _ = running.next() => {}
                Some(ods) = found.recv() => running.push(send(ods)),
            }
        }
        drop(running);
        runtime::compute(move || {
            let (rows, broken) = router.into_result();
            // The journal is to be closed when the call comes back.
            drop(job);
            match broken {
                None => rows,
                Some(source) => Err(Error::Unread {
                    rows: Box::new(rows?),
                    source: Box::new(source),
                }),
            }
        })
        .await?
    }

    /// Checks the columns of all frames before anything is sent.
    fn check(&self, frames: &[ResourceFrame]) -> Result<()> {
        for (place, frame) in frames.iter().enumerate() {
            let df = frame.known();
            let check = || {
                let part = Part::new(self, place, df, 0)?;
                match self.commit {
                    true => part.rows.check_complete(df),
                    false => Ok(()),
                }
            };
            check().map_err(|error| frames::of_frame(&self.endpoints[place], error))?;
        }
        Ok(())
    }

    /// The documents of an ODS, asked for with the call's workers.
    fn metadata<'a>(&'a self, access: &'a Access) -> Metadata<'a> {
        let metadata = Metadata::of(&self.context, access);
        match self.workers.permits() {
            Some(permits) => metadata.limited(permits),
            None => metadata,
        }
    }

    /// Says once of a frame that no order lists it.
    fn warn_of_unlisted(&self, frame: usize) {
        let mut warned = lock(&self.warned);
        if warned.insert(frame) {
            let endpoint = &self.endpoints[frame];
            let when = match self.verb {
                Verb::Post { .. } => "after",
                Verb::Delete { .. } => "before",
            };
            self.context.control.progress.warn(format!(
                "{endpoint} is not in the document of dependencies, nor in order=; its rows go \
                 {when} all others"
            ));
        }
    }

    fn stop(&self, why: String) {
        let _ = self.stopped.set(why);
    }

    /// Whether anything may be sent still.
    fn check_stopped(&self) -> Result<(), Failure> {
        match self.stopped.get() {
            Some(why) => Err(Failure::new(why)),
            None => Ok(()),
        }
    }

    fn is_over(&self) -> bool {
        self.context.control.is_cancelled() || self.stopped.get().is_some()
    }

    /// Waits before a delete is tried again; whether it may be.
    async fn pause(&self, tries: u32) -> bool {
        let PostOptions {
            max_retries,
            retry_backoff,
            ..
        } = PostOptions::default();
        let wait: Duration = retry_backoff * 2u32.saturating_pow(tries);
        let cancellation = &self.context.control.cancellation;
        tries < max_retries && cancellation.sleep(wait).await.is_ok()
    }
}
