//! Which of the items that rows refer to an ODS does not have.
//!
//! Descriptors are read whole, their namespaces and code values. Of other collections the key
//! columns are read, unless to ask for each key takes fewer requests. Servers that ignore the
//! parameters of such a question, as old ones do, answer with something else: their collection is
//! read.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use polars::prelude::*;

use super::collect::{Keys, values_of};
use super::options::Rule;
use super::rows::Batch;
use crate::client::changes::Snapshot;
use crate::client::paging::{Collection, pages_by_offset};
use crate::client::session::Access;
use crate::frame::key_lookup::{self, Proof};
use crate::frame::read::columns_of;
use crate::frame::side_by_side::{in_order, side_by_side};
use crate::openapi::validate::{Model, Target};
use crate::openapi::{Identity, Resource};
use crate::{Failure, GetAllOptions, SchemaChoice};

/// So few keys are asked for without knowing how large the collection is.
const FEW: usize = 2;
/// Spellings in another case are looked for among so many keys at most.
const MOST_SPELLINGS: usize = 200_000;

/// What ODSs are installed with: an empty list says that they are not shown.
const SCHOOL_YEARS: &str = "/schoolYearTypes";

/// A key that an ODS does not have.
#[derive(Debug, Default)]
pub(super) struct Missing {
    /// The key that it has instead, which differs in case only.
    pub(super) other_case: Option<String>,
}

/// What of one target an ODS does not have.
#[derive(Debug, Default)]
pub(super) struct Open {
    pub(super) keys: HashMap<String, Missing>,
    /// Why nobody knows.
    pub(super) unchecked: Option<String>,
}

impl Open {
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.unchecked.is_none()
    }
}

/// Looks for everything that rows refer to, with their own eyes: by ODS, by account, by target.
pub(super) async fn missing(batch: &Batch, needs: &[Vec<Vec<Keys>>]) -> Vec<Vec<Vec<Open>>> {
    let sources = batch.sources.iter().zip(needs);
    let workers = batch.options.batch.workers;
    let searches = side_by_side(
        &batch.requests,
        workers,
        sources,
        |(ods, needs)| async move {
            let Some(model) = &ods.model else {
                return Vec::new();
            };
            let mut all = Vec::with_capacity(needs.len());
            for (seen, needs) in ods.accounts.iter().zip(needs) {
                let search = Search {
                    batch,
                    access: &seen.access,
                    model,
                };
                // On the heap: there are as many of them as workers.
                all.push(Box::pin(search.all(needs)).await);
            }
            all
        },
    );
    in_order(searches).await
}

/// Looks for items of one ODS.
struct Search<'b> {
    batch: &'b Batch,
    access: &'b Access,
    model: &'b Model,
}

/// What is still looked for, of one target.
struct Sought<'k> {
    keys: HashMap<&'k str, Missing>,
    /// By the same in lower case.
    spellings: HashMap<String, Vec<&'k str>>,
    written: &'k Keys,
    unchecked: Option<String>,
}

impl<'k> Sought<'k> {
    fn new(keys: &'k Keys) -> Self {
        let mut spellings: HashMap<String, Vec<&str>> = HashMap::new();
        for key in keys.keys().filter(|_| keys.len() <= MOST_SPELLINGS) {
            spellings.entry(key.to_lowercase()).or_default().push(key);
        }
        Self {
            keys: keys
                .keys()
                .map(|key| (&**key, Missing::default()))
                .collect(),
            spellings,
            written: keys,
            unchecked: None,
        }
    }

    fn finish(self) -> Open {
        let keys = self.keys.into_iter();
        Open {
            // Where something could not be read, nobody knows what is missing.
            keys: match self.unchecked {
                Some(_) => HashMap::new(),
                None => keys.map(|(key, one)| (key.to_owned(), one)).collect(),
            },
            unchecked: self.unchecked,
        }
    }

    /// Takes note of a key that the ODS has.
    fn found(&mut self, key: &str) {
        self.keys.remove(key);
        if self.spellings.is_empty() {
            return;
        }
        for own in self
            .spellings
            .get(&key.to_lowercase())
            .into_iter()
            .flatten()
        {
            if let Some(missing) = self.keys.get_mut(own) {
                missing.other_case = Some(key.to_owned());
            }
        }
    }
}

impl Search<'_> {
    async fn all(&self, needs: &[Keys]) -> Vec<Open> {
        let workers = self.batch.options.batch.workers;
        let mut sought: Vec<Sought<'_>> = needs.iter().map(Sought::new).collect();
        // Descriptors are many small collections: side by side, a request each.
        let mut reads: Vec<BoxFuture<'_, ()>> = Vec::new();
        for (target, sought) in self.model.targets().iter().zip(&mut sought) {
            if target.is_descriptor && !sought.keys.is_empty() {
                reads.push(self.descriptors(target, sought).boxed());
            }
        }
        let mut reads = reads.into_iter();
        // Whether an ODS answers at all is found out by one request, where others wait.
        if self.batch.sources.len() > 1
            && let Some(first) = reads.next()
        {
            first.await;
        }
        let reads = stream::iter(reads).buffer_unordered(workers);
        let () = reads.collect().await;
        for (endpoint, targets) in self.collections() {
            let mut seekers: Vec<&mut Sought<'_>> = sought
                .iter_mut()
                .enumerate()
                .filter(|(number, one)| targets.contains(number) && !one.keys.is_empty())
                .map(|(_, one)| one)
                .collect();
            if seekers.is_empty() {
                continue;
            }
            if let Err(why) = self.search(endpoint, &mut seekers, workers).await {
                for one in seekers {
                    one.unchecked = Some(format!("{endpoint} was not looked at: {why}"));
                }
            }
        }
        sought.into_iter().map(Sought::finish).collect()
    }

    /// The collections that references lead to, those of one kind of item first, and the targets
    /// whose items they have: each is looked at once, whoever refers to it.
    fn collections(&self) -> Vec<(&str, Vec<usize>)> {
        let mut all: Vec<(&str, Vec<usize>)> = Vec::new();
        let targets = self.model.targets().iter().enumerate();
        let mut targets: Vec<_> = targets.filter(|(_, one)| !one.is_descriptor).collect();
        targets.sort_by_key(|(_, target)| target.endpoints.len() > 1);
        for (number, target) in targets {
            for endpoint in &target.endpoints {
                match all.iter_mut().find(|(known, _)| known == endpoint) {
                    Some((_, targets)) => targets.push(number),
                    None => all.push((endpoint, vec![number])),
                }
            }
        }
        all
    }

    async fn descriptors(&self, target: &Target, sought: &mut Sought<'_>) {
        for endpoint in &target.endpoints {
            let Some((resource, _)) = self.model.resource(endpoint) else {
                continue;
            };
            if let Err(why) = self.read(resource, None, &mut [sought], 1).await {
                sought.unchecked = Some(format!("{endpoint} was not looked at: {why}"));
            }
        }
    }

    /// Looks for keys in a collection in the way that takes fewer requests.
    async fn search(
        &self,
        endpoint: &str,
        sought: &mut [&mut Sought<'_>],
        workers: usize,
    ) -> Result<(), String> {
        let Some((resource, _)) = self.model.resource(endpoint) else {
            return Ok(());
        };
        let Some(identity) = &resource.identity else {
            return Err("its documents do not say what identifies its items".into());
        };
        let wanted: usize = sought.iter().map(|one| one.keys.len()).sum();
        let by_key = match wanted {
            _ if endpoint.ends_with(SCHOOL_YEARS) => false,
            0..=FEW => true,
            _ => {
                let pages = pages_of(self.batch, self.access, endpoint);
                pages.await?.is_some_and(|pages| (wanted as u64) < pages)
            }
        };
        if by_key && self.ask(resource, identity, sought, workers).await? {
            return Ok(());
        }
        self.read(resource, Some(identity), sought, workers).await
    }

    /// Asks for each key; false where the server does not look at the parameters.
    async fn ask(
        &self,
        resource: &Resource,
        identity: &Identity,
        sought: &mut [&mut Sought<'_>],
        workers: usize,
    ) -> Result<bool, String> {
        let mut wanted: HashMap<String, Option<&str>> = HashMap::new();
        for one in sought.iter() {
            let keys = one.keys.keys();
            wanted.extend(keys.map(|key| {
                let written = one.written.get(*key).and_then(|written| written.as_deref());
                ((*key).to_owned(), written)
            }));
        }
        let (context, endpoint) = (&self.batch.context, &resource.endpoint);
        let mut questions: Vec<BoxFuture<'_, (String, Result<Proof, Failure>)>> = Vec::new();
        for (key, written) in wanted {
            let values = values_of(&key, written);
            let question = async move {
                let wanted = (&*key, &*values);
                let proof = key_lookup::ask(context, self.access, endpoint, identity, wanted);
                let proof = self.batch.requests.run(proof).await;
                (key, proof)
            };
            questions.push(question.boxed());
        }
        let mut answers = stream::iter(questions).buffer_unordered(workers);
        while let Some((key, proof)) = answers.next().await {
            match proof.map_err(text)? {
                Proof::Item(..) | Proof::Several => {
                    sought.iter_mut().for_each(|one| one.found(&key))
                }
                Proof::OtherCase(own) => sought.iter_mut().for_each(|one| one.found(&own)),
                Proof::Nothing => {}
                Proof::Unfiltered => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Reads the keys of a whole collection; those of descriptors without an identity.
    async fn read(
        &self,
        resource: &Arc<Resource>,
        identity: Option<&Arc<Identity>>,
        sought: &mut [&mut Sought<'_>],
        workers: usize,
    ) -> Result<(), String> {
        let paths: Vec<&str> = match identity {
            Some(identity) => {
                let fields = identity.fields().iter();
                fields.map(|field| &*field.paths[0]).collect()
            }
            None => vec!["namespace", "codeValue"],
        };
        let dtype = |path: &str| {
            let kind = resource.record.as_ref().and_then(|record| record.at(path));
            kind.map_or(DataType::String, |kind| kind.dtype())
        };
        let mut read = GetAllOptions {
            schema: SchemaChoice::Given(
                paths
                    .iter()
                    .map(|path| ((*path).into(), dtype(path)))
                    .collect(),
            ),
            ..GetAllOptions::default()
        };
        read.batch.workers = workers;
        let (context, access) = (self.batch.context.clone(), self.access.clone());
        let requests = &self.batch.requests;
        let pages = columns_of(context, access, &resource.endpoint, &read, requests);
        let mut pages = pages.map_err(|error| error.to_string())?;
        let mut records = 0;
        while let Some(page) = pages.try_next().await.map_err(|error| error.to_string())? {
            records += page.height();
            note(&page, identity, sought).map_err(|error| error.to_string())?;
            if sought.iter().all(|one| one.keys.is_empty()) {
                break;
            }
        }
        match records == 0 && resource.endpoint.ends_with(SCHOOL_YEARS) {
            true => Err("it shows no school years, which each ODS has".into()),
            false => Ok(()),
        }
    }
}

/// How many pages a collection has, where the server counts.
pub(in crate::frame) async fn pages_of(
    batch: &Batch,
    access: &Access,
    endpoint: &str,
) -> Result<Option<u64>, String> {
    let context = &batch.context;
    let count = async {
        let collection = Collection::of(context, access, endpoint, Snapshot::No).await?;
        collection.count(context, access).await
    };
    let count = batch.requests.run(count).await.map_err(text)?;
    let limit = GetAllOptions::default().limit as u64;
    Ok(count.map(|count| pages_by_offset(count, limit)))
}

/// Takes note of the keys of a page.
fn note(
    page: &DataFrame,
    identity: Option<&Arc<Identity>>,
    sought: &mut [&mut Sought<'_>],
) -> PolarsResult<()> {
    let columns = page.columns().iter().map(|column| {
        let texts = column.cast(&DataType::String)?;
        Ok(texts.str()?.rechunk().into_owned())
    });
    let columns = columns.collect::<PolarsResult<Vec<StringChunked>>>()?;
    for row in 0..page.height() {
        let values = columns.iter().map(|column| column.get(row));
        let Some(values) = values.collect::<Option<Vec<&str>>>() else {
            continue;
        };
        let key = match identity {
            Some(identity) => identity.canonical(&values),
            None => format!("{}#{}", values[0], values[1]),
        };
        sought.iter_mut().for_each(|one| one.found(&key));
    }
    Ok(())
}

fn text(failure: Failure) -> String {
    failure.message
}

impl Target {
    pub(super) fn rule(&self) -> Rule {
        match self.is_descriptor {
            true => Rule::Descriptors,
            false => Rule::References,
        }
    }
}
