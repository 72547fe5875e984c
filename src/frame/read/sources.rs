//! The districts that a scan reads, and the columns that they have together.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::stream::StreamExt;
use polars::prelude::*;

use super::assemble::documented_layout;
use super::districts::{tell_left_out, visits};
use super::opening::Openings;
use super::options::{GetAllOptions, OnError, ScanOptions, SchemaChoice};
use super::resource::Resource;
use super::source::{District, FIRST_PAGES_AHEAD, Source};
use super::stream::contextualize;
use crate::client::EdFiClient;
use crate::client::session::CallContext;
use crate::columns::Layout;
use crate::frame::input::Keys;
use crate::frame::request::Rows;
use crate::frame::side_by_side::{one_by_one, side_by_side};
use crate::openapi::Record;
use crate::{Error, Failure, Result};

/// First pages of so many records together are kept for the reading, however many they are.
const FEW_RECORDS: u64 = 8_192;

/// What one reading needs of the districts.
pub(crate) struct Sources {
    pub(super) context: Arc<CallContext>,
    pub(super) districts: Vec<District>,
    /// Per district its key, and what it is called in errors.
    pub(super) keys: Vec<Option<Column>>,
    pub(super) labels: Vec<String>,
    /// The districts that are not read, by number, where they are rows.
    pub(super) failed: BTreeMap<usize, Failure>,
    /// Per district its row in the frame.
    pub(super) rows: Vec<usize>,
    on_error: OnError,
}

impl Sources {
    pub(super) fn new(
        client: &EdFiClient,
        options: &ScanOptions,
        districts: Option<&(DataFrame, String)>,
        is_reading: bool,
    ) -> Result<Self> {
        let (batch, on_error) = (&options.read.batch, options.on_error);
        let Some((frame, key_col)) = districts else {
            return Ok(Self {
                districts: vec![District {
                    number: 0,
                    access: client.default_access()?,
                }],
                context: Arc::new(client.default_context(batch)),
                keys: vec![None],
                labels: vec![String::new()],
                failed: BTreeMap::new(),
                rows: vec![0],
                on_error,
            });
        };
        let keys = Keys::required(frame, "key_col", key_col)?;
        let rows = Rows::new(frame, client, batch)?;
        rows.check_complete(frame)?;
        if is_reading {
            tell_left_out(&keys, &rows);
        }
        let mut sources = Self {
            context: Arc::new(rows.context()),
            districts: Vec::new(),
            keys: Vec::new(),
            labels: Vec::new(),
            failed: BTreeMap::new(),
            rows: Vec::new(),
            on_error,
        };
        for (number, visit) in visits(&keys, &rows).into_iter().enumerate() {
            let label = format!("{key_col} {}: ", keys.get(visit.row).unwrap_or_default());
            let access = match visit.refused {
                Some(failure) => Err(failure),
                None => rows.access(visit.row),
            };
            match (access, on_error) {
                (Ok(access), _) => sources.districts.push(District { number, access }),
                (Err(failure), OnError::Row) => {
                    sources.failed.insert(number, failure);
                }
                (Err(failure), OnError::Raise) => {
                    return Err(Error::Config(format!("{label}{}", failure.message)));
                }
            }
            sources.keys.push(Some(keys.take(&[visit.row as IdxSize])?));
            sources.labels.push(label);
            sources.rows.push(visit.row);
        }
        Ok(sources)
    }

    /// Leaves out districts.
    pub(super) fn retain(&mut self, is_kept: impl Fn(usize) -> Result<bool>) -> Result<()> {
        let mut kept = Vec::with_capacity(self.districts.len());
        for district in self.districts.drain(..) {
            if is_kept(district.number)? {
                kept.push(district);
            }
        }
        self.districts = kept;
        for number in self.failed.keys().copied().collect::<Vec<_>>() {
            if !is_kept(number)? {
                self.failed.remove(&number);
            }
        }
        Ok(())
    }

    /// The columns: those that are given, those of the ODSs' own documents together, or those of
    /// the first pages of all districts.
    /// Pages that were read for that come with them. Where failed districts are rows, those that
    /// fail here are so, too.
    pub(super) async fn layout(
        &mut self,
        read: &GetAllOptions,
        endpoint: &str,
    ) -> Result<(Layout, Openings)> {
        let documented = self.documented(read, endpoint).await?;
        let layout = match (&read.schema, documented) {
            (SchemaChoice::Given(schema), _) => Layout::from_schema(schema, &read.separator)?,
            (SchemaChoice::Auto | SchemaChoice::OpenApi, Some(record)) => {
                documented_layout(&record, read)
            }
            _ => return self.inferred(read, endpoint).await,
        };
        Ok((layout, Openings::new()))
    }

    /// Leaves out the districts that are known to fail.
    pub(super) fn leave_out(&mut self, failed: &BTreeMap<usize, Failure>) {
        self.failed.extend(
            failed
                .iter()
                .map(|(number, failure)| (*number, failure.clone())),
        );
        self.districts
            .retain(|district| !failed.contains_key(&district.number));
    }

    /// What a district's failure is: an error of the call, or a row.
    pub(super) fn fail(
        &self,
        number: usize,
        failure: Failure,
        endpoint: &str,
        failed: &mut BTreeMap<usize, Failure>,
    ) -> Result<()> {
        let control = &self.context.control;
        if self.on_error == OnError::Raise || control.is_cancelled() {
            return Err(contextualize(
                failure,
                control,
                endpoint,
                &self.labels[number],
            ));
        }
        failed.insert(number, failure);
        Ok(())
    }

    /// What the documents say of the records, and whether they know the parameters.
    async fn documented(&mut self, read: &GetAllOptions, endpoint: &str) -> Result<Option<Record>> {
        let mut read = read.clone();
        read.batch.endpoint = Some(endpoint.to_owned());
        let resource = &Resource::new(self.context.clone(), &read)?;
        let describe = |district: District| async move {
            let described = resource.describe(&district.access).await;
            (district.number, described)
        };
        let (requests, workers) = (resource.requests(), read.batch.workers);
        let all = side_by_side(requests, workers, self.districts.clone(), describe);
        let mut all = one_by_one(all).boxed();
        let mut documented: Option<Record> = None;
        let mut failed = BTreeMap::new();
        let (mut wrong_param, mut any_right) = (None, false);
        while let Some((number, described)) = all.next().await {
            let described = match described {
                Ok(described) => described,
                Err(failure) => {
                    self.fail(number, failure, endpoint, &mut failed)?;
                    continue;
                }
            };
            if let Some(wrong) = resource.unknown_param(&described) {
                let error = Error::Config(format!("{}{wrong}", self.labels[number]));
                if self.on_error == OnError::Raise {
                    return Err(error);
                }
                wrong_param.get_or_insert(error);
                failed.insert(number, Failure::new(wrong));
                continue;
            }
            any_right |= described.resource().is_some();
            if let Some(record) = described.record() {
                documented = Some(match documented {
                    Some(before) => before.widen(record),
                    None => record.clone(),
                });
            }
        }
        drop(all);
        // A name that is wrong everywhere is a wrong call.
        if let (Some(error), false) = (wrong_param, any_right) {
            return Err(error);
        }
        if let Some(record) = &documented
            && failed.len() < self.districts.len()
        {
            resource.unknown_list(record)?;
        }
        self.leave_out(&failed);
        Ok(documented)
    }

    /// What the first pages of all districts have together; of a single one, one page more.
    async fn inferred(
        &mut self,
        read: &GetAllOptions,
        endpoint: &str,
    ) -> Result<(Layout, Openings)> {
        let workers = read.batch.workers;
        let source = Source::of_wholes(self.context.clone(), endpoint.to_owned(), read);
        let source = Arc::new(source);
        let is_one = self.districts.len() == 1;
        let mut pages = futures_util::stream::iter(self.districts.clone())
            .map(|district| {
                let (source, number) = (source.clone(), district.number);
                async move { (number, source.opening(district, is_one).await) }
            })
            // Requests have permits; this bounds the pages that wait for one that does not come.
            .buffered(workers.saturating_add(FIRST_PAGES_AHEAD))
            .boxed();
        let mut layout = Layout::new();
        let mut openings = Openings::new();
        let mut kept = 0;
        let mut failed = BTreeMap::new();
        while let Some((number, opening)) = pages.next().await {
            let opening = match opening {
                Ok(opening) => opening,
                Err(failure) => {
                    self.fail(number, failure, endpoint, &mut failed)?;
                    continue;
                }
            };
            layout.add(&opening.first.page);
            if let Some(far) = &opening.far {
                layout.add(far);
            }
            // No more of them than a reading has in flight, unless they are small.
            kept += opening.first.len();
            if openings.len() < workers || kept <= FEW_RECORDS {
                openings.insert(number, opening.first);
            }
        }
        drop(pages);
        self.leave_out(&failed);
        Ok((layout.freeze(&read.separator), openings))
    }
}
