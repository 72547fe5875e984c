//! Every record of every district, as one flat frame.

use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, Stream, StreamExt};
use polars::prelude::DataFrame;

use super::assemble::{self, District};
use super::districts::{Visit, tell_left_out, visits};
use super::options::GetAllOptions;
use super::resource::Resource;
use super::whole::Records;
use crate::client::metadata::Described;
use crate::client::session::Access;
use crate::client::{Control, EdFiClient};
use crate::frame::client_defaults::into_error;
use crate::frame::input::Keys;
use crate::frame::request::Rows;
use crate::frame::result;
use crate::frame::side_by_side::{in_order, side_by_side};
use crate::{Error, Failure, Result};

impl EdFiClient {
    /// Reads every record of one resource of this client's ODS.
    ///
    /// Returns one row per record; the columns are those of the flattened records.
    ///
    /// # Errors
    /// [`Error::Config`] without a base URL or credentials, [`Error::Auth`] and [`Error::Http`]
    /// where the ODS does not answer as it should: a part of the records is never returned.
    pub async fn get_all(&self, options: &GetAllOptions) -> Result<DataFrame> {
        options.check()?;
        let batch = &options.batch;
        let access = self.default_access()?;
        let resource = Resource::new(Arc::new(self.default_context(batch)), options)?;
        batch.control.progress.begin(1);
        let described = resource.describe(&access).await;
        if let Ok(described) = &described
            && let Some(wrong) = resource.unknown_param(described)
        {
            return Err(Error::Config(wrong));
        }
        if let Ok(described) = &described
            && let Some(record) = resource.record_of(described)
        {
            resource.unknown_list(&record)?;
        }
        let outcome = resource.read_described(&access, described).await;
        batch.control.progress.one_done();
        match &outcome.records {
            Err(failure) => return Err(into_error(failure.clone(), &batch.control)),
            Ok(records) => {
                if let Some(warning) = &records.warning {
                    batch.control.progress.warn(warning.clone());
                }
            }
        }
        assemble::frame(vec![District { row: 0, outcome }], options, None).await
    }

    /// Reads every record of one resource from each district of a frame.
    ///
    /// Each distinct `key_col` is visited once, in first-seen order; rows with a blank key are
    /// skipped. The result begins with the key column, `status` (String), `message` (String),
    /// `http_status` (Int32) and `correlation_id` (String); the flattened records follow, one row
    /// per record. A district that fails is one row with the status `"error"`: half a district
    /// is never returned. A property whose name is taken is kept as `<name>_record`.
    ///
    /// # Errors
    /// Wrong options, a column that is missing or of a wrong type: all before anything is sent.
    pub async fn batch_get_all(
        &self,
        districts: &DataFrame,
        key_col: &str,
        options: &GetAllOptions,
    ) -> Result<DataFrame> {
        options.check()?;
        let batch = &options.batch;
        let keys = Keys::required(districts, "key_col", key_col)?;
        if result::ANSWER.iter().any(|column| column.name == key_col) {
            return Err(Error::Config(format!(
                "key_col must not be {key_col:?}: the result has a column of that name"
            )));
        }
        let rows = &Rows::new(districts, self, batch)?;
        rows.check_complete(districts)?;
        let resource = &Resource::new(Arc::new(rows.context()), options)?;
        let visits = visits(&keys, rows);
        tell_left_out(&keys, rows);
        batch.control.progress.begin(visits.len());

        if !options.explode.is_empty() {
            check_lists(resource, &visits, rows, options).await?;
        }
        let access = |visit: &mut Visit| match visit.refused.take() {
            Some(failure) => Err(failure),
            None => rows.access(visit.row),
        };
        let describe = |mut visit: Visit| async move {
            let access = access(&mut visit);
            let described = match &access {
                Ok(access) => resource.describe(access).await,
                Err(failure) => Err(failure.clone()),
            };
            (visit.row, access, described)
        };
        let read = |(row, access, described): Asked| async move {
            let mut outcome = match access {
                Ok(access) => resource.read_described(&access, described).await,
                Err(failure) => failure.into(),
            };
            outcome.records = outcome.records.map(Records::packed);
            batch.control.progress.one_done();
            District { row, outcome }
        };
        let (requests, workers) = (resource.requests(), batch.workers);
        let districts = if options.params.is_empty() {
            let work = |visit: Visit| async move { read(describe(visit).await).await };
            in_order(side_by_side(requests, workers, visits, work)).await
        } else {
            let described = side_by_side(requests, workers, visits, describe);
            read_checked(resource, described, read).await?
        };

        let mut whole = Vec::with_capacity(districts.len());
        for mut district in districts {
            match &mut district.outcome.records {
                Ok(records) => {
                    if let Some(warning) = &records.warning {
                        let key = keys.get(district.row).unwrap_or_default();
                        batch
                            .control
                            .progress
                            .warn(format!("{key_col} {key}: {warning}"));
                    }
                }
                Err(failure) => mark_interrupted(failure, &batch.control),
            }
            whole.push(district);
        }
        let frame = assemble::frame(whole, options, Some((key_col, keys))).await?;
        Ok(result::finish(&batch.control, result::STATUS_NAME, frame))
    }
}

/// A district's row, its access, and what its document says.
type Asked = (usize, Result<Access, Failure>, Result<Described, Failure>);

/// Reads districts whose documents know the parameters of the call as they come; those that have no
/// document when one is right, or when all were asked. A name that is wrong everywhere is a wrong
/// call; one that is wrong in some districts is their failure.
async fn read_checked<F: Future<Output = District> + Send>(
    resource: &Resource<'_>,
    described: impl Stream<Item = (usize, Asked)> + Send,
    read: impl Fn(Asked) -> F + Send + Sync,
) -> Result<Vec<District>> {
    let read = |(place, asked)| {
        let read = read(asked);
        async move { (place, read.await) }
    };
    let mut described = std::pin::pin!(described);
    let (mut held, mut reading, mut done) = (Vec::new(), FuturesUnordered::new(), Vec::new());
    let (mut wrong, mut any_right, mut has_more) = (None, false, true);
    while has_more || !reading.is_empty() {
        tokio::select! {
            next = described.next(), if has_more => match next {
                Some((place, (row, access, Ok(said)))) => match resource.unknown_param(&said) {
                    Some(name) => {
                        let failure = Err(Failure::new(name.clone()));
                        wrong.get_or_insert(name);
                        reading.push(read((place, (row, access, failure))));
                    }
                    None => {
                        any_right |= said.resource().is_some();
                        held.push((place, (row, access, Ok(said))));
                    }
                },
                Some(failed) => reading.push(read(failed)),
                None => {
                    has_more = false;
                    if let (Some(wrong), false) = (wrong.take(), any_right) {
                        return Err(Error::Config(wrong));
                    }
                }
            },
            Some(district) = reading.next() => done.push(district),
        }
        if any_right || !has_more {
            reading.extend(held.drain(..).map(&read));
        }
    }
    done.sort_unstable_by_key(|(place, _)| *place);
    Ok(done.into_iter().map(|(_, district)| district).collect())
}

/// Refuses a list to explode that no ODS has, before any of them is read. One that has it, or whose
/// records alone can tell, is enough: nobody waits for the others then.
async fn check_lists(
    resource: &Resource<'_>,
    visits: &[Visit],
    rows: &Rows,
    options: &GetAllOptions,
) -> Result<()> {
    let mut accesses: Vec<Access> = Vec::new();
    for visit in visits.iter().filter(|visit| visit.refused.is_none()) {
        accesses.extend(rows.access(visit.row));
    }
    let describe = |access: Access| async move { resource.describe(&access).await };
    let workers = options.batch.workers;
    let described = side_by_side(resource.requests(), workers, accesses, describe);
    let mut described = std::pin::pin!(described);
    let mut first = Ok(());
    while let Some((_, one)) = described.next().await {
        let Ok(one) = one else { continue };
        match resource
            .record_of(&one)
            .map(|record| resource.unknown_list(&record))
        {
            Some(Err(error)) => first = first.and(Err(error)),
            Some(Ok(())) | None => return Ok(()),
        }
    }
    first
}

/// Says of a district that the interrupt of the call ended it.
fn mark_interrupted(failure: &mut Failure, control: &Control) {
    let told = [Failure::not_sent(), Failure::interrupted()];
    if control.is_cancelled() && told.iter().all(|told| told.message != failure.message) {
        failure.message = format!("interrupted; {}", failure.message);
    }
}
