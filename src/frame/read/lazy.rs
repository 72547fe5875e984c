//! Scans as lazy frames of Polars, which say what a query needs of them.

use std::any::Any;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;
use std::{io, thread};

use futures_util::StreamExt;
use polars::prelude::*;
use tokio::runtime::Handle;

use super::predicate::{Predicate, Wanted};
use super::rows::View;
use super::scan::Scan;
use crate::runtime::Threads;
use crate::{Error, Result};

/// How long a thread of a pool waits before it looks for other work.
const TICK: Duration = Duration::from_millis(2);

impl Scan {
    /// This scan as a lazy frame of Polars; needs the feature `lazy`.
    ///
    /// Nothing is sent before a query is run, and each run reads anew. Only the columns that the
    /// query needs are decoded, and `limit`, or a slice that begins with the first row, stops the
    /// paging. Of a filter, equalities and `is_in` on fields that the ODS's OpenAPI document lists as
    /// query parameters, joined by AND, reach the server as [`ScanOptions::filters`] do, and one on
    /// the key column leaves out districts; not with a slice before the filter, nor without
    /// [`ScanOptions::pushdown`]. The whole filter is applied here as well, so that a server that
    /// ignores it changes nothing but the time. Where it compares, page by page: memory is for the
    /// rows that pass.
    ///
    /// Polars takes these rows as one frame, in its in-memory engine, which is the one that
    /// `collect` takes by itself. Its streaming engine, and so each sink, panics where it meets such a
    /// scan (Polars 0.55 has no place there for an `AnonymousScan`); [`pages`](Self::pages) is for
    /// what does not fit into memory. `limit` after a filter does not end the reading;
    /// [`ScanOptions::n_rows`] does.
    ///
    /// A query waits. Inside an async runtime run it by `tokio::task::spawn_blocking`: Polars itself
    /// panics in a runtime of one thread.
    ///
    /// An error of this crate comes out of the query as a [`PolarsError`], in which
    /// [`Error::of_query`] finds it whole.
    ///
    /// ```
    /// # #[cfg(feature = "sandbox")]
    /// # fn main() -> polars_edfi::Result<()> {
    /// use polars_edfi::polars::prelude::*;
    /// use polars_edfi::{EdFiClient, ScanOptions, blocking, sandbox::Sandbox};
    ///
    /// let ods = Sandbox::builder().records(1200).start()?;
    /// let (key, secret) = ods.credentials("255901").expect("a district");
    /// let client: blocking::EdFiClient = EdFiClient::builder()
    ///     .base_url(ods.district_url("255901").expect("a district"))
    ///     .client_credentials(key, secret)
    ///     .build()?
    ///     .into();
    /// let results = client.scan("ed-fi/studentAssessments", &ScanOptions::default())?;
    /// let results = results.lazy();
    ///
    /// let student = col("studentReference.studentUniqueId");
    /// let some = results.clone().select([student.clone()]).limit(1).collect()?;
    /// let id = some.columns()[0].get(0)?.extract_str().expect("a text").to_owned();
    /// ods.clear_requests();
    /// let of_one = results.filter(student.eq(lit(id.as_str()))).collect()?;
    /// assert!((1..1200).contains(&of_one.height()));
    /// let asked = ods.requests();
    /// let asked = asked.iter().filter(|one| one.query.contains(&format!("studentUniqueId={id}")));
    /// assert_eq!(asked.count(), 1);
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "sandbox"))]
    /// # fn main() {}
    /// ```
    ///
    /// [`ScanOptions::filters`]: crate::ScanOptions::filters
    /// [`ScanOptions::pushdown`]: crate::ScanOptions::pushdown
    /// [`ScanOptions::n_rows`]: crate::ScanOptions::n_rows
    pub fn lazy(&self) -> LazyFrame {
        let schema = self.schema_of(self.0.options.columns.as_deref());
        let args = ScanArgsAnonymous {
            schema: Some(Arc::new(schema)),
            name: "ED-FI",
            ..ScanArgsAnonymous::default()
        };
        LazyFrame::anonymous_scan(Arc::new(Source(self.clone())), args)
            .expect("a scan whose columns are given")
    }

    fn schema_of(&self, columns: Option<&[String]>) -> Schema {
        let all = self.schema();
        let Some(columns) = columns else {
            return all.clone();
        };
        let chosen = columns.iter().filter_map(|name| {
            let dtype = all.get(name)?;
            Some((PlSmallStr::from_str(name), dtype.clone()))
        });
        chosen.collect()
    }
}

impl Error {
    /// The error of this crate that a query over [`Scan::lazy`] ended with, if it is one; needs the
    /// feature `lazy`.
    ///
    /// ```
    /// use polars_edfi::{Error, polars::prelude::PolarsError};
    ///
    /// let of_polars = PolarsError::NoData("no rows".into());
    /// assert!(Error::of_query(&of_polars).is_none());
    /// ```
    pub fn of_query(error: &PolarsError) -> Option<&Self> {
        match error {
            PolarsError::IO { error, .. } => error.get_ref()?.downcast_ref(),
            PolarsError::Context { error, .. } | PolarsError::ExprContext { error, .. } => {
                Self::of_query(error)
            }
            _ => None,
        }
    }
}

/// What Polars calls for the rows.
struct Source(Scan);

impl AnonymousScan for Source {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn scan(&self, args: AnonymousScanArgs) -> PolarsResult<DataFrame> {
        waiting_for(|| self.read(args)).map_err(|error| match error {
            Error::Polars(error) => error,
            error => PolarsError::IO {
                error: Arc::new(io::Error::other(error)),
                msg: None,
            },
        })
    }

    fn allows_predicate_pushdown(&self) -> bool {
        true
    }

    fn allows_projection_pushdown(&self) -> bool {
        true
    }
}

impl Source {
    /// Reads from the start: so many rows, of these those that pass, some columns of them.
    fn read(&self, args: AnonymousScanArgs) -> Result<DataFrame> {
        let scan = &self.0;
        let options = &scan.0.options;
        let columns = match args.with_columns {
            Some(names) => Some(names.iter().map(ToString::to_string).collect()),
            None => options.columns.clone(),
        };
        let n_rows = args.n_rows.into_iter().chain(options.n_rows).min();
        let predicate = args.predicate.map(Predicate::new);
        // With a slice before the filter it is the rows of the slice that are meant.
        let wanted = match &predicate {
            Some(predicate) if n_rows.is_none() && options.pushdown => predicate.wanted(scan)?,
            _ => Wanted::default(),
        };
        let mut rows = DataFrame::empty_with_schema(&scan.schema_of(columns.as_deref()));
        let view = View {
            columns,
            n_rows,
            filters: [&options.filters[..], &wanted.filters].concat(),
            districts: wanted.districts,
            ..View::default()
        };
        let mut pages = scan.frames(view, options.read.batch.control.clone())?;
        let threads = Threads::get()?;
        let _at_work = threads.clone().keep_at_work()?;
        let (of_pages, of_all) = match predicate {
            Some(predicate) if predicate.is_by_row() => (Some(predicate), None),
            predicate => (None, predicate),
        };
        while let Some(page) = threads.block_on(pages.next()) {
            let page = match &of_pages {
                Some(predicate) => predicate.of(page?)?,
                None => page?,
            };
            if page.height() > 0 {
                rows.vstack_mut_owned(page)?;
            }
        }
        match of_all {
            Some(predicate) => predicate.of(rows),
            None => Ok(rows),
        }
    }
}

/// Does work that waits, on a thread of its own where this one must not wait: an async runtime refuses
/// it, and a thread of a pool does meanwhile what the pool has to do, which may be what is waited for.
fn waiting_for<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let is_of_pool = rayon::current_thread_index().is_some();
    if !is_of_pool && Handle::try_current().is_err() {
        return work();
    }
    thread::scope(|scope| {
        let (at_work, is_done) = channel::<()>();
        let worker = thread::Builder::new()
            .name("polars-edfi-query".into())
            .spawn_scoped(scope, move || {
                let _at_work = at_work;
                work()
            })
            .map_err(|error| Error::Internal(format!("no threads: {error}")))?;
        while is_of_pool && is_done.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
            while rayon::yield_now() == Some(rayon::Yield::Executed) {}
        }
        worker.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}
