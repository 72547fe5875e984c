//! One collection of one ODS beside the rows that are for it: asked by key, or read once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use rayon::prelude::*;

use super::CompareOptions;
use super::told::Compared;
use crate::columns::PageDecoder;
use crate::frame::input::Keys as KeyColumn;
use crate::frame::key_lookup::{self, Proof};
use crate::frame::read::records_of;
use crate::frame::validate::known::pages_of;
use crate::frame::validate::rows::{Batch, Seen};
use crate::frame::validate::{Keys, digest, values_of, written};
use crate::openapi::validate::{Change, Gist, Json, Paths, Schemas, Walk};
use crate::openapi::{Identity, NoKey};
use crate::{Failure, Result, runtime};

/// One collection of one ODS, and the rows that are for it.
pub(super) struct Collection {
    batch: Arc<Batch>,
    pub(super) ods: usize,
    endpoint: String,
    /// Frames of this endpoint, with the columns of their keys.
    frames: Vec<usize>,
    key_cols: Arc<Vec<Vec<KeyColumn>>>,
    /// What these columns are called as parts of the key.
    names: Vec<String>,
    identity: Option<Arc<Identity>>,
    /// Where the parts of the key stand, and the id.
    paths: Paths,
    extra: bool,
}

/// The collections that rows are for, those of each ODS together.
pub(super) fn collections(
    batch: &Arc<Batch>,
    options: &CompareOptions,
    key_cols: &Arc<Vec<Vec<KeyColumn>>>,
) -> Vec<Collection> {
    let mut all: Vec<Collection> = Vec::new();
    for (ods, source) in batch.sources.iter().enumerate() {
        for (number, frame) in batch.frames.iter().enumerate() {
            if !source.has_rows(number) {
                continue;
            }
            let known = all
                .iter_mut()
                .find(|one| one.ods == ods && frame.is_of(&one.endpoint));
            if let Some(known) = known {
                known.frames.push(number);
                continue;
            }
            let model = source.model.as_deref();
            let resource = model.and_then(|model| model.resource(&frame.endpoint));
            let documented = resource.and_then(|(resource, _)| resource.identity.clone());
            let path = |name: &str| {
                let fields = documented.iter().flat_map(|identity| identity.fields());
                let mut fields = fields.filter(|field| field.param.eq_ignore_ascii_case(name));
                let field = fields.next();
                field.map_or_else(|| name.to_owned(), |field| field.paths[0].to_string())
            };
            let paths: Vec<String> = options
                .key_cols
                .iter()
                .map(|(name, _)| path(name))
                .collect();
            let given = (!paths.is_empty())
                .then(|| Arc::new(Identity::of_paths(paths.iter().map(AsRef::as_ref))));
            let name = |path: &String| path.rsplit('.').next().unwrap_or_default().to_owned();
            let identity = given.or(documented);
            let key = identity.iter().flat_map(|identity| identity.paths());
            all.push(Collection {
                paths: Paths::of(key.chain(["id"])),
                names: paths.iter().map(name).collect(),
                batch: batch.clone(),
                ods,
                endpoint: frame.endpoint.clone(),
                frames: vec![number],
                key_cols: key_cols.clone(),
                identity,
                extra: options.extra,
            });
        }
    }
    all
}

/// The rows of each key, and the keys themselves.
#[derive(Default)]
struct Index {
    /// By key, the rows and what they say.
    rows: HashMap<u128, Vec<KeyedRow>>,
    /// Those keys together that some ODS takes for one.
    spellings: Vec<Vec<u128>>,
    /// By account.
    keys: Vec<Keys>,
}

/// A row, whose it is, and what it says.
struct KeyedRow {
    row: usize,
    account: usize,
    gist: u64,
}

/// The key of a row as texts, what some ODS takes for it, and what the row says.
type Keyed = (String, Option<Box<str>>, u128, u64);

/// What a record is beside the rows of its key.
type Answer = (Vec<(usize, Compared)>, Option<Option<String>>);

/// What came of the rows of a collection; by frame, the ids of items that no row names.
pub(super) type Told = (Vec<(usize, Compared)>, Vec<(usize, Option<String>)>);

impl Index {
    /// Has rows stay here, where their keys are one to some ODS, only if all of them are the same: of
    /// the others it may keep the last one.
    fn keep_together(&self, compared: &mut [(usize, Compared)]) {
        if self.spellings.is_empty() {
            return;
        }
        let same = compared.iter().filter_map(|(row, one)| match one {
            Compared::Same(_, true) => Some(*row),
            _ => None,
        });
        let same: HashSet<usize> = same.collect();
        let mut apart: HashSet<usize> = HashSet::new();
        for keys in &self.spellings {
            let rows = keys.iter().flat_map(|key| &self.rows[key]);
            if !rows.clone().all(|one| same.contains(&one.row)) {
                apart.extend(rows.map(|one| one.row));
            }
        }
        for (row, one) in compared {
            if let Compared::Same(_, stays) = one {
                *stays &= !apart.contains(row);
            }
        }
    }
}

impl Collection {
    /// What a send would do with each row of the collection.
    pub(super) async fn compare(self) -> Result<Told> {
        let this = Arc::new(self);
        let Some(identity) = this.identity.clone() else {
            let why = "no document says what identifies its items: name the columns by key_cols";
            // Where documents could not be read, that is why.
            let findings = this.batch.findings.iter();
            let told: HashSet<usize> = findings.filter_map(|finding| finding.row).collect();
            let mut failed = this.failed(why);
            failed.retain(|(row, _)| !told.contains(row));
            return Ok((failed, Vec::new()));
        };
        let (index, wrong) = {
            let (this, identity) = (this.clone(), identity.clone());
            runtime::compute(move || this.index(&identity)).await?
        };
        let index = Arc::new(index);
        let (mut rows, mut extra) = (Vec::new(), Vec::new());
        let mut others: HashSet<Option<String>> = HashSet::new();
        for account in 0..this.accounts().len() {
            match this.answers(account, &identity, &index).await {
                Ok(answers) => {
                    for (compared, other) in answers {
                        rows.extend(compared);
                        // What several accounts see is one item.
                        let other = other.filter(|id| id.is_none() || others.insert(id.clone()));
                        extra.extend(other.map(|id| (this.frames[0], id)));
                    }
                }
                Err(why) => rows.extend(this.failed_of(account, &why)),
            }
        }
        index.keep_together(&mut rows);
        let wrong = wrong.into_iter();
        rows.extend(wrong.map(|(row, why)| (row, Compared::Error(why))));
        Ok((rows, extra))
    }

    /// What the records that an account sees are beside the rows.
    async fn answers(
        self: &Arc<Self>,
        account: usize,
        identity: &Arc<Identity>,
        index: &Arc<Index>,
    ) -> Result<Vec<Answer>, String> {
        let asked = match self.by_key(account, index).await? {
            true => self.ask(account, identity, index).await?,
            false => None,
        };
        match asked {
            Some(answers) => Ok(answers),
            None if self.places(account).is_empty() => Ok(Vec::new()),
            None => self.read(account, identity, index).await,
        }
    }

    fn accounts(&self) -> &[Seen] {
        &self.batch.sources[self.ods].accounts
    }

    /// The places of an account's rows: the frame, the place in it, the number among all rows.
    fn places(&self, account: usize) -> Vec<(usize, u32, usize)> {
        let rows = &self.accounts()[account].rows;
        let frames = self.frames.iter();
        let places = frames.flat_map(|&number| {
            let first = self.batch.frames[number].first;
            let places = rows[number].iter();
            places.map(move |&place| (number, place, first + place as usize))
        });
        places.collect()
    }

    fn failed(&self, why: &str) -> Vec<(usize, Compared)> {
        let accounts = 0..self.accounts().len();
        let failed = accounts.flat_map(|account| self.failed_of(account, why));
        failed.collect()
    }

    fn failed_of(&self, account: usize, why: &str) -> Vec<(usize, Compared)> {
        let places = self.places(account).into_iter();
        let failed = places.map(|(_, _, row)| (row, Compared::Error(why.to_owned())));
        failed.collect()
    }

    /// The key of each row, or why it has none.
    fn index(&self, identity: &Identity) -> (Index, Vec<(usize, String)>) {
        let (mut index, mut wrong) = (Index::default(), Vec::new());
        let mut first: HashMap<u128, u128> = HashMap::new();
        let mut spellings: HashMap<u128, Vec<u128>> = HashMap::new();
        for account in 0..self.accounts().len() {
            let keys: Vec<_> = self
                .places(account)
                .into_par_iter()
                .map(|(number, place, row)| (row, self.key(identity, number, place)))
                .collect();
            let mut own = Keys::new();
            for (row, key) in keys {
                match key {
                    Ok((key, written, folded, gist)) => {
                        let number = digest(&key);
                        let first = *first.entry(folded).or_insert(number);
                        let rows = index.rows.entry(number).or_default();
                        if first != number && rows.is_empty() {
                            let others = spellings.entry(folded).or_insert_with(|| vec![first]);
                            others.push(number);
                        }
                        rows.push(KeyedRow { row, account, gist });
                        own.entry(key).or_insert(written);
                    }
                    Err(why) => wrong.push((row, why)),
                }
            }
            index.keys.push(own);
        }
        index.spellings = spellings.into_values().collect();
        (index, wrong)
    }

    fn key(&self, identity: &Identity, number: usize, place: u32) -> Result<Keyed, String> {
        let frame = &self.batch.frames[number];
        let text = frame.payload(place).map_err(|failure| failure.message)?;
        let gist = Gist::of(&text, &self.paths).map_err(|what| format!("invalid JSON: {what}"))?;
        let columns = &self.key_cols[number];
        let values = match columns.is_empty() {
            true => identity.values_in(&gist.kept).map_err(|why| match why {
                NoKey::Missing(paths) => {
                    format!("no value at $.{}, a part of the natural key", paths[0])
                }
                NoKey::Compound(path) => format!("no single value at $.{path}, a part of the key"),
                NoKey::Differs(first, path) => {
                    format!("the values at $.{first} and $.{path}, one part of the key, differ")
                }
            })?,
            false => {
                // `Identity` sorts its fields by name.
                let row = frame.active[place as usize];
                let value = |column: &KeyColumn| {
                    let key = column.need(row).map_err(|failure| failure.message)?;
                    Ok(key.to_owned().into())
                };
                let mut named: Vec<(&String, _)> =
                    self.names.iter().zip(columns.iter().map(value)).collect();
                named.sort_by_key(|(name, _)| *name);
                let values = named.into_iter().map(|(_, value)| value);
                values.collect::<Result<_, String>>()?
            }
        };
        let key = identity.canonical(&values);
        let written = written(&key, &values);
        let folded = digest(&identity.folded(&values));
        Ok((key, written, folded, gist.digest))
    }

    /// Whether to ask for each key takes fewer requests than to read the collection.
    async fn by_key(&self, account: usize, index: &Index) -> Result<bool, String> {
        let wanted = index.keys[account].len() as u64;
        if self.extra || wanted == 0 {
            return Ok(false);
        }
        let access = &self.accounts()[account].access;
        let pages = pages_of(&self.batch, access, &self.endpoint).await?;
        Ok(pages.is_some_and(|pages| wanted < pages))
    }

    /// Asks for each key; `None` where the server does not look at the parameters.
    async fn ask(
        &self,
        account: usize,
        identity: &Identity,
        index: &Index,
    ) -> Result<Option<Vec<Answer>>, String> {
        let access = &self.accounts()[account].access;
        let mut questions: Vec<BoxFuture<'_, Result<Proof, Failure>>> = Vec::new();
        for (key, written) in &index.keys[account] {
            let values = values_of(key, written.as_deref());
            let context = &self.batch.context;
            let question = async move {
                let wanted = (&**key, &*values);
                let proof = key_lookup::ask(context, access, &self.endpoint, identity, wanted);
                self.batch.requests.run(proof).await
            };
            questions.push(question.boxed());
        }
        let workers = self.batch.options.batch.workers;
        let mut found = stream::iter(questions).buffer_unordered(workers);
        let mut answers = Vec::new();
        while let Some(one) = found.next().await {
            match one.map_err(|failure| failure.message)? {
                Proof::Item(_, record) => {
                    answers.push(self.answer(account, identity, index, record.get()));
                }
                Proof::Nothing | Proof::OtherCase(_) => {}
                Proof::Several | Proof::Unfiltered => return Ok(None),
            }
        }
        Ok(Some(answers))
    }

    /// Reads the whole collection.
    async fn read(
        self: &Arc<Self>,
        account: usize,
        identity: &Arc<Identity>,
        index: &Arc<Index>,
    ) -> Result<Vec<Answer>, String> {
        let access = self.accounts()[account].access.clone();
        let (context, workers) = (self.batch.context.clone(), self.batch.options.batch.workers);
        let (this, identity, index) = (self.clone(), identity.clone(), index.clone());
        let become_of = move |record: &str| {
            let (rows, other) = this.answer(account, &identity, &index, record);
            (!rows.is_empty() || other.is_some()).then_some((rows, other))
        };
        let requests = (workers, &self.batch.requests);
        let pages = records_of(context, access, &self.endpoint, requests, become_of);
        let answers = pages.try_concat().await;
        answers.map_err(|error| error.to_string())
    }

    /// Compares a record that an account sees with its rows of the record's key.
    fn answer(&self, account: usize, identity: &Identity, index: &Index, record: &str) -> Answer {
        if let Ok(theirs) = Gist::of_text(record, &self.paths) {
            return self.beside(account, identity, index, &theirs, record.as_bytes());
        }
        // Such as half a character, which pages are read with.
        let mut text = Vec::new();
        if let Ok(page) = PageDecoder::new(false).decode_object(record.as_bytes()) {
            page.write_json(0, &mut text);
        }
        match Gist::of(&text, &self.paths) {
            Ok(theirs) => self.beside(account, identity, index, &theirs, &text),
            Err(_) => (Vec::new(), None),
        }
    }

    fn beside(
        &self,
        account: usize,
        identity: &Identity,
        index: &Index,
        theirs: &Gist<'_>,
        record: &[u8],
    ) -> Answer {
        let id = theirs.kept.get("id").and_then(Json::text).map(Into::into);
        let key = identity.values_in(&theirs.kept);
        let rows = key.ok().and_then(|values| {
            let digest = digest(&identity.canonical(&values));
            index.rows.get(&digest)
        });
        let Some(rows) = rows else {
            return (Vec::new(), self.extra.then_some(id));
        };
        let schemas = Schemas::default();
        let model = self.batch.sources[self.ods].model.as_deref();
        let walk = model.and_then(|model| Some(model.resource(&self.endpoint)?.1));
        let walk = walk.unwrap_or_else(|| Walk::without_schema(&schemas));
        let is_same = |one: &KeyedRow| one.gist == theirs.digest;
        let whole = match rows.iter().all(is_same) {
            true => Ok(Json::Null),
            false => Json::object(record).map(|mut whole| {
                whole.drop_links();
                whole
            }),
        };
        let changes = rows.iter().map(|one| match (is_same(one), &whole) {
            (true, _) => (one, Ok(Vec::new())),
            (false, Ok(whole)) => (one, self.changes(&walk, one.row, whole)),
            (false, Err(why)) => (one, Err(why.clone())),
        });
        let changes: Vec<_> = changes.collect();
        let is_none =
            |changes: &Result<Vec<Change>, String>| changes.as_ref().is_ok_and(Vec::is_empty);
        // Of several rows, whosesoever, the last one stays, which need not be this one.
        let all_same = changes.iter().all(|(_, changes)| is_none(changes));
        let own = changes
            .into_iter()
            .filter(|(one, _)| one.account == account);
        let compared = own.map(|(one, changes)| {
            let compared = match changes {
                Ok(changes) if changes.is_empty() => Compared::Same(id.clone(), all_same),
                Ok(changes) => Compared::Changed(id.clone(), changes),
                Err(why) => Compared::Error(why),
            };
            (one.row, compared)
        });
        (compared.collect(), None)
    }

    fn changes(
        &self,
        walk: &Walk<'_>,
        row: usize,
        theirs: &Json<'_>,
    ) -> Result<Vec<Change>, String> {
        let frames = &self.batch.frames;
        let frame = &frames[frames.partition_point(|frame| frame.first <= row) - 1];
        let text = frame.payload((row - frame.first) as u32);
        let text = text.map_err(|failure| failure.message)?;
        Ok(walk.changes(&Json::object(&text)?, theirs))
    }
}
