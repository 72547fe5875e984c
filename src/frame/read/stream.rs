//! A stream of pages: one district after another, each checked against its server's count.

use std::collections::{BTreeMap, VecDeque};
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

/// Makes the row of a district that failed.
pub(super) type FailedRow<T> = Box<dyn Fn(usize, Failure) -> Result<T> + Send + Sync>;

/// What a stream needs to know beside its source.
pub(super) struct StreamOptions<T> {
    pub(super) endpoint: String,
    /// What each district is called in errors.
    pub(super) labels: Vec<String>,
    /// The first pages of so many districts are fetched ahead.
    pub(super) ahead: usize,
    pub(super) n_rows: Option<usize>,
    pub(super) short_is_error: bool,
    /// Whether pages without any row are handed on: a consumer stops only between pages.
    pub(super) tells_empty: bool,
    /// Whether to tell of records with something in `_unknown`: not where someone chose the columns.
    pub(super) tells_unknown: bool,
    /// The districts that are not read, by number.
    pub(super) failed: BTreeMap<usize, Failure>,
    /// Where failed districts are rows; else they end the stream.
    pub(super) failed_row: Option<FailedRow<T>>,
}

/// The rows of a page, or why there are none.
pub(super) type PageRows<T> = Result<ConvertedPage<T>>;

/// The rows of all districts; nothing is sent before the first is asked for.
pub(super) fn open<T: Table>(
    source: Source<PageRows<T>>,
    districts: Vec<District>,
    options: StreamOptions<T>,
) -> BoxStream<'static, Result<T>> {
    let control = source.context.control.clone();
    let is_empty = options.n_rows == Some(0);
    let numbers = districts.iter().map(|district| district.number).collect();
    let consumer = Consumer {
        start: (!is_empty).then(|| (Arc::new(source), districts)),
        events: None,
        numbers,
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

/// The error of a page that did not become rows, with the resource and the district that it is
/// about.
fn placed(error: Error, endpoint: &str, label: &str) -> Error {
    let place = |text: String| format!("{endpoint}: {label}{text}");
    match error {
        Error::Config(text) => Error::Config(place(text)),
        Error::ColumnNotFound(text) => Error::ColumnNotFound(place(text)),
        Error::ColumnType(text) => Error::ColumnType(place(text)),
        Error::Json(text) => Error::Json(place(text)),
        other => other,
    }
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

type Start<T> = (Arc<Source<PageRows<T>>>, Vec<District>);
type Events<T> = InOrder<PageRows<T>, Option<Counted<PageRows<T>>>>;

/// Takes the pages, and checks the records against the server's count.
struct Consumer<T> {
    /// What is begun when the first page is asked for.
    start: Option<Start<T>>,
    events: Option<Events<T>>,
    /// The numbers of the districts that are read, in order.
    numbers: Vec<usize>,
    /// How many districts were begun.
    begun: usize,
    /// The records of the district that came.
    records: u64,
    left: Option<usize>,
    ready: VecDeque<T>,
    with_unknown: u64,
    control: Control,
    options: StreamOptions<T>,
}

impl<T: Table> Consumer<T> {
    async fn next(&mut self) -> Option<Result<T>> {
        if let Some((source, districts)) = self.start.take() {
            self.control.progress.begin(districts.len());
            let queue = source.districts(districts, self.options.ahead);
            self.events = Some(InOrder::new(queue));
        }
        let rows = self.rows().await.transpose();
        if matches!(rows, None | Some(Err(_))) {
            self.events = None;
        }
        rows
    }

    /// What the district that is being taken is called.
    fn label(&self) -> &str {
        let number = self.district();
        number.map_or("", |number| &self.options.labels[number])
    }

    fn error(&self, failure: Failure) -> Error {
        contextualize(failure, &self.control, &self.options.endpoint, self.label())
    }

    /// The number of the district that is being taken.
    fn district(&self) -> Option<usize> {
        self.numbers.get(self.begun.checked_sub(1)?).copied()
    }

    /// The row of a district that failed.
    fn put_failed(&mut self, number: usize, failure: Failure) -> Result<()> {
        let Some(row) = &self.options.failed_row else {
            return Err(self.error(failure));
        };
        let row = row(number, failure)?;
        self.control.progress.one_done();
        self.take(ConvertedPage {
            rows: vec![row],
            records: 0,
            with_unknown: 0,
        });
        Ok(())
    }

    /// The rows of the districts before this one that are not read.
    fn put_failed_before(&mut self, number: usize) -> Result<()> {
        while let Some(entry) = self.options.failed.first_entry()
            && *entry.key() < number
        {
            let (number, failure) = entry.remove_entry();
            self.put_failed(number, failure)?;
        }
        Ok(())
    }

    /// Goes on after a district that failed, where it is a row; else this is the stream's error.
    fn go_on(&mut self, failure: Failure, error: Option<Error>) -> Result<()> {
        let is_row = self.options.failed_row.is_some() && !self.control.is_cancelled();
        match (self.district(), &mut self.events) {
            (Some(number), Some(events)) if is_row => {
                events.leave();
                self.put_failed(number, failure)
            }
            _ => Err(error.unwrap_or_else(|| self.error(failure))),
        }
    }

    async fn rows(&mut self) -> Result<Option<T>> {
        loop {
            if let Some(rows) = self.ready.pop_front() {
                return Ok(Some(rows));
            }
            let Some(events) = &mut self.events else {
                return Ok(None);
            };
            let event = match events.next().await {
                Ok(event) => event,
                Err(failure) if events.depth() > 1 => {
                    self.go_on(failure, None)?;
                    continue;
                }
                Err(failure) => return Err(self.error(failure)),
            };
            match event {
                // Within a district there are queues, too.
                Some(Event::Begun) if self.depth() == 2 => {
                    self.begun += 1;
                    self.records = 0;
                    self.put_failed_before(self.district().unwrap_or(0))?;
                }
                Some(Event::Begun | Event::Ended(None)) => {}
                Some(Event::Result(Ok(page))) => self.take(page),
                Some(Event::Result(Err(error))) => {
                    let failure = Failure::new(error.to_string());
                    let error = placed(error, &self.options.endpoint, self.label());
                    self.go_on(failure, Some(error))?;
                }
                Some(Event::Ended(Some(counted))) => {
                    if let Err(failure) = self.end_district(counted).await {
                        self.go_on(failure, None)?;
                    }
                }
                None => {
                    self.put_failed_before(usize::MAX)?;
                    self.tell_unknown();
                    self.events = None;
                }
            }
        }
    }

    fn depth(&self) -> usize {
        self.events.as_ref().map_or(0, InOrder::depth)
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
            if rows.height() > 0 || self.options.tells_empty {
                self.ready.push_back(rows);
            }
        }
    }

    async fn end_district(&mut self, counted: Counted<PageRows<T>>) -> Result<(), Failure> {
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
            let records = match self.with_unknown {
                1 => "1 record has".to_owned(),
                many => format!("{many} records have"),
            };
            self.control.progress.warn(format!(
                "{}: {records} something in '_unknown' that the columns of this scan have no place for",
                self.options.endpoint
            ));
        }
    }
}
