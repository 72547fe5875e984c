//! A stream of pages: one district after another, each checked against its server's count.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::RecordBatch;
use futures_util::stream::{self, BoxStream, StreamExt};
use polars::prelude::DataFrame;

use super::pages::{self, Counted};
use super::prefetch::{Event, InOrder};
use super::source::{District, Source};
use crate::client::Control;
use crate::frame::client_defaults::into_error;
use crate::{Error, Failure, Result};

/// What a page became.
#[derive(Debug)]
pub(super) struct ConvertedPage<T> {
    /// In pieces, where records between them came before.
    pub(super) rows: Vec<T>,
    /// The records that no page before had.
    pub(super) records: usize,
    /// The records that have something in `_unknown`, as far as that was looked at.
    pub(super) with_unknown: usize,
}

/// Rows that can be cut off.
pub(super) trait Table: Send + 'static {
    fn height(&self) -> usize;
    fn first(self, rows: usize) -> Self;
}

impl Table for DataFrame {
    fn height(&self) -> usize {
        self.height()
    }

    fn first(self, rows: usize) -> Self {
        self.head(Some(rows))
    }
}

impl Table for RecordBatch {
    fn height(&self) -> usize {
        self.num_rows()
    }

    fn first(self, rows: usize) -> Self {
        self.slice(0, rows)
    }
}

/// What a stream needs to know beside its source.
pub(super) struct StreamOptions {
    pub(super) endpoint: String,
    /// What each district is called in errors.
    pub(super) labels: Vec<String>,
    /// The first pages of so many districts are fetched ahead.
    pub(super) ahead: usize,
    pub(super) n_rows: Option<usize>,
    pub(super) short_is_error: bool,
    /// Whether to tell of records with something in `_unknown`: not where someone chose the columns.
    pub(super) tells_unknown: bool,
}

/// The rows of all districts; nothing is sent before the first is asked for.
pub(super) fn open<T: Table>(
    source: Source<ConvertedPage<T>>,
    districts: Vec<District>,
    options: StreamOptions,
) -> BoxStream<'static, Result<T>> {
    let control = source.context.control.clone();
    let is_empty = options.n_rows == Some(0);
    let consumer = Consumer {
        start: (!is_empty).then(|| (Arc::new(source), districts)),
        events: None,
        begun: 0,
        records: 0,
        left: options.n_rows,
        ready: VecDeque::new(),
        with_unknown: 0,
        control,
        options,
    };
    let next = |mut consumer: Consumer<T>| async move {
        let rows = consumer.next().await?;
        Some((rows, consumer))
    };
    stream::unfold(consumer, next).boxed()
}

/// The error of a failure, with the resource and the district that it is about.
pub(super) fn contextualize(
    mut failure: Failure,
    control: &Control,
    endpoint: &str,
    label: &str,
) -> Error {
    failure.message = format!("{endpoint}: {label}{}", failure.message);
    into_error(failure, control)
}

type Start<T> = (Arc<Source<ConvertedPage<T>>>, Vec<District>);
type Events<T> = InOrder<ConvertedPage<T>, Option<Counted<ConvertedPage<T>>>>;

/// Takes the pages, and checks the records against the server's count.
struct Consumer<T> {
    /// What is begun when the first page is asked for.
    start: Option<Start<T>>,
    events: Option<Events<T>>,
    /// How many districts were begun.
    begun: usize,
    /// The records of the district that came.
    records: u64,
    left: Option<usize>,
    ready: VecDeque<T>,
    with_unknown: u64,
    control: Control,
    options: StreamOptions,
}

impl<T: Table> Consumer<T> {
    async fn next(&mut self) -> Option<Result<T>> {
        if let Some((source, districts)) = self.start.take() {
            self.control.progress.begin(districts.len());
            let queue = source.districts(districts, self.options.ahead);
            self.events = Some(InOrder::new(queue));
        }
        let rows = match self.rows().await {
            Ok(rows) => rows.map(Ok),
            Err(failure) => Some(Err(self.error(failure))),
        };
        if matches!(rows, None | Some(Err(_))) {
            self.events = None;
        }
        rows
    }

    fn error(&self, failure: Failure) -> Error {
        let StreamOptions {
            endpoint, labels, ..
        } = &self.options;
        let label = self.begun.checked_sub(1).map(|number| &*labels[number]);
        contextualize(failure, &self.control, endpoint, label.unwrap_or(""))
    }

    async fn rows(&mut self) -> Result<Option<T>, Failure> {
        loop {
            if let Some(rows) = self.ready.pop_front() {
                return Ok(Some(rows));
            }
            let Some(events) = &mut self.events else {
                return Ok(None);
            };
            match events.next().await? {
                // Within a district there are queues, too.
                Some(Event::Begun) if events.depth() == 2 => {
                    self.begun += 1;
                    self.records = 0;
                }
                Some(Event::Begun | Event::Ended(None)) => {}
                Some(Event::Result(page)) => self.take(page),
                Some(Event::Ended(Some(counted))) => self.end_district(counted).await?,
                None => {
                    self.tell_unknown();
                    self.events = None;
                }
            }
        }
    }

    /// Counts a page, and keeps its rows as far as they are needed.
    fn take(&mut self, page: ConvertedPage<T>) {
        self.records += page.records as u64;
        self.control.progress.add_records(page.records);
        self.with_unknown += page.with_unknown as u64;
        for mut rows in page.rows {
            if let Some(left) = &mut self.left {
                if rows.height() >= *left {
                    rows = rows.first(*left);
                    self.events = None;
                }
                *left -= rows.height();
            }
            if rows.height() > 0 {
                self.ready.push_back(rows);
            }
        }
    }

    async fn end_district(&mut self, counted: Counted<ConvertedPage<T>>) -> Result<(), Failure> {
        self.control.progress.one_done();
        let Some(total) = counted.missing(self.records).await? else {
            return Ok(());
        };
        let missing = pages::short(self.records, total);
        if self.options.short_is_error {
            return Err(Failure::new(format!(
                "{missing}; rows that were handed on before are not withdrawn"
            )));
        }
        let label = &self.options.labels[counted.district()];
        self.control
            .progress
            .warn(format!("{}: {label}{missing}", self.options.endpoint));
        Ok(())
    }

    fn tell_unknown(&self) {
        if self.with_unknown > 0 && self.options.tells_unknown {
            self.control.progress.warn(format!(
                "{}: {} records have something in '_unknown' that the columns of this scan have \
                 no place for",
                self.options.endpoint, self.with_unknown
            ));
        }
    }
}
