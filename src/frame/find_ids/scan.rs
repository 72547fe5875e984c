//! The whole collection by its keys: what the lookups left open.

use std::collections::{HashMap, HashSet};

use futures_util::stream::{self, StreamExt};
use polars::prelude::*;

use super::keys::{Group, WantedKey};
use super::lookup::Found;
use super::{Finder, ID, Plan};
use crate::client::paging::Paging;
use crate::frame::read::SomeColumns;
use crate::openapi::{Identity, Picked};
use crate::{Failure, Result, runtime};

impl Finder<'_> {
    /// What the collections are read for: ids and keys.
    pub(super) fn columns(&self, group: &Group, paging: Paging) -> Result<SomeColumns> {
        let paths = [ID].into_iter().chain(group.identity.paths());
        let (context, workers) = (self.context.clone(), self.options.batch.workers);
        SomeColumns::new(
            context,
            &self.endpoint,
            paths,
            &self.requests,
            workers,
            paging,
        )
    }

    /// Answers the keys without an answer from the collections of their ODSs.
    pub(super) async fn scan_open(
        &self,
        groups: &[Group],
        keys: &[WantedKey],
        plans: &[Plan],
        answers: &mut [Option<Found>],
    ) -> Result<()> {
        let mut open: HashMap<usize, Vec<usize>> = HashMap::new();
        for (place, _) in answers
            .iter()
            .enumerate()
            .filter(|(_, found)| found.is_none())
        {
            open.entry(keys[place].group).or_default().push(place);
        }
        let mut open: Vec<(usize, Vec<usize>)> = open.into_iter().collect();
        open.sort_unstable();
        let control = &self.options.batch.control;
        if open.is_empty() {
            return Ok(());
        }
        control.progress.add_total(open.len());
        let columns = open
            .iter()
            .map(|(group, _)| self.columns(&groups[*group], plans[*group].paging()));
        let columns = columns.collect::<Result<Vec<SomeColumns>>>()?;
        let read = async |((group, places), columns): ((usize, Vec<usize>), SomeColumns)| {
            let group = &groups[group];
            let read = columns.read(&group.access).await;
            let wanted: Vec<WantedKey> = places.iter().map(|place| keys[*place].clone()).collect();
            let found = match read {
                Ok(records) => {
                    let identity = group.identity.clone();
                    runtime::compute(move || find_all(&records, &identity, &wanted)).await?
                }
                Err(failure) => Err(failure),
            };
            control.progress.one_done();
            Ok((places, found))
        };
        let scans: Vec<Result<_>> = stream::iter(open.into_iter().zip(columns))
            .map(read)
            .buffer_unordered(self.options.batch.workers)
            .collect()
            .await;
        for scan in scans {
            let (places, found) = scan?;
            match found {
                Ok(found) => {
                    for (place, found) in places.into_iter().zip(found) {
                        answers[place] = Some(found);
                    }
                }
                Err(failure) => {
                    for place in places {
                        answers[place] = Some(failure.clone().into());
                    }
                }
            }
        }
        Ok(())
    }
}

/// What a collection has of each key.
fn find_all(
    records: &DataFrame,
    identity: &Identity,
    wanted: &[WantedKey],
) -> Result<Vec<Found>, Failure> {
    let to_failure = |error: PolarsError| Failure::new(error.to_string());
    let texts = records.columns().iter().map(|column| column.str());
    let texts = texts.collect::<PolarsResult<Vec<&StringChunked>>>();
    let texts = texts.map_err(to_failure)?;
    let (ids, parts) = texts
        .split_first()
        .ok_or_else(|| Failure::new("no columns"))?;
    let readings = wanted.iter().flat_map(WantedKey::readings);
    let asked: HashSet<&str> = readings.map(|key| &*key.canonical).collect();
    let readings = wanted.iter().flat_map(WantedKey::readings);
    let folded: HashSet<String> = readings.map(|key| identity.folded(&key.values)).collect();
    let mut found: HashMap<String, Found> = HashMap::with_capacity(asked.len());
    let mut in_other_case: HashSet<String> = HashSet::new();
    let mut unknown: Option<(usize, String)> = None;
    for row in 0..records.height() {
        let picked = parts.iter().map(|part| {
            let text = part.get(row)?;
            Some(Picked::Scalar(text.to_owned()))
        });
        let values = match identity.values_of(picked) {
            Ok(values) => values,
            Err(why) => {
                let (count, _) = unknown.get_or_insert((0, why.to_string()));
                *count += 1;
                continue;
            }
        };
        let key = identity.canonical(&values);
        if asked.contains(&*key) {
            let item = Found::item(ids.get(row).map(str::to_owned));
            let known = found.get(&key).map(|_| Found::many());
            found.insert(key, known.unwrap_or(item));
        }
        let key = identity.folded(&values);
        if folded.contains(&key) {
            in_other_case.insert(key);
        }
    }
    let is_in_other_case = |key: &WantedKey| {
        let mut readings = key.readings();
        readings.any(|key| in_other_case.contains(&identity.folded(&key.values)))
    };
    let first = |key: &WantedKey| key.readings().find_map(|key| found.get(&key.canonical));
    let answer = |key: &WantedKey| match (first(key), &unknown) {
        (Some(found), _) => found.clone(),
        (None, _) if is_in_other_case(key) => Found::other_case(),
        (None, Some((count, what))) => Found::wrong(&format!(
            "no record has this key, but {count} do not show theirs: {what}"
        )),
        (None, None) => Found::missing(),
    };
    Ok(wanted.iter().map(answer).collect())
}
