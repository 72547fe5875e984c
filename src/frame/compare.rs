//! Payloads compared with what an ODS has: what a send would do, before it does it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use polars::prelude::*;
use rayon::prelude::*;

use super::input::Keys as KeyColumn;
use super::key_lookup::{self, Proof};
use super::nested::{strings, structs};
use super::options::BatchOptions;
use super::outcome::ERROR;
use super::read::records_of;
use super::result::{self, ROW_ID};
use super::validate::known::pages_of;
use super::validate::rows::Batch;
use super::validate::{Keys, NoKey, ValidateOptions, digest, own_values, values_of, written};
use crate::client::EdFiClient;
use crate::openapi::Identity;
use crate::openapi::validate::{Change, Json, Schemas, Walk};
use crate::{Error, Failure, Result, columns, runtime};

/// The options of [`EdFiClient::compare`].
#[derive(Debug, Clone)]
pub struct CompareOptions {
    /// Columns, workers and the like; each frame names its endpoint itself.
    pub batch: BatchOptions,
    /// The column of payloads: String (JSON) or Struct.
    pub payload_col: String,
    /// Which columns hold the natural key: body path or parameter, and column. Empty: the key is
    /// taken out of the payload, as the ODS's OpenAPI document says.
    pub key_cols: Vec<(String, String)>,
    /// Whether items that no row names are told.
    pub extra: bool,
    /// Whether Struct payloads keep `id`, `_etag`, `_lastModifiedDate` and links.
    pub keep_server_fields: bool,
}

impl Default for CompareOptions {
    fn default() -> Self {
        Self {
            batch: BatchOptions::default(),
            payload_col: "payload".into(),
            key_cols: Vec::new(),
            extra: false,
            keep_server_fields: false,
        }
    }
}

/// What a send would do with a row.
#[derive(Debug)]
enum Compared {
    New,
    /// With the item's id, and whether all rows of its key are the same: then none need be sent.
    Same(Option<String>, bool),
    Changed(Option<String>, Vec<Change>),
    Error(String),
}

/// What came of all rows of a call.
pub(crate) struct Comparison {
    batch: Arc<Batch>,
    rows: Vec<Compared>,
    /// By frame, the ids of items that no row names.
    extra: Vec<(usize, Option<String>)>,
}

impl EdFiClient {
    /// Compares payloads with the ODS's own records: what a send would do.
    ///
    /// `frames` are endpoints with their payloads. Returns one row for each of theirs that takes
    /// part, in their order: `endpoint` (String), `row_index` (IdxSize), `row_id` (as in
    /// `row_id_col`; String where frames differ), `id` (String: of the item there), `status`
    /// (`"new"`, `"same"`, `"changed"`, `"error"`), `changes` (List(Struct: `path`, `ours`,
    /// `theirs`: String, JSON; null where absent); of an error the path says why). With
    /// [`extra`](CompareOptions::extra) the items that no row names follow the rows of their
    /// endpoint: status `"extra"`, a null `row_index`.
    ///
    /// A POST replaces the whole item: what the server has and the payload leaves out is a change,
    /// with a null `ours`. What the server writes itself, links, and names that its document does
    /// not know are none; absent, null and an empty list are one; numbers and dates are compared by
    /// value, descriptors in any case, lists as sets of elements. Each collection is read once, or
    /// asked by key where that takes fewer requests.
    ///
    /// # Errors
    /// Wrong options, a column that is missing or of a wrong type: all before anything is sent.
    /// [`Error::Interrupted`] where the call is cancelled.
    pub async fn compare(
        &self,
        frames: &[(String, DataFrame)],
        options: &CompareOptions,
    ) -> Result<DataFrame> {
        let comparison = self.compared(frames, options).await?;
        let (frames, row_id_col) = (frames.to_vec(), options.batch.row_id_col.clone());
        let frame = runtime::compute(move || comparison.frame(&frames, row_id_col.as_deref()));
        let control = &options.batch.control;
        Ok(result::finish(control, result::STATUS_NAME, frame.await??))
    }

    /// The same as values; whoever does not want them any more need not wait for them.
    pub(crate) async fn compared(
        &self,
        frames: &[(String, DataFrame)],
        options: &CompareOptions,
    ) -> Result<Comparison> {
        let cancellation = &options.batch.control.cancellation;
        let compared = cancellation.unless_cancelled(Box::pin(self.beside(frames, options)));
        compared.await.unwrap_or(Err(Error::Interrupted))
    }

    async fn beside(
        &self,
        frames: &[(String, DataFrame)],
        options: &CompareOptions,
    ) -> Result<Comparison> {
        let read = ValidateOptions {
            batch: options.batch.clone(),
            payload_col: options.payload_col.clone(),
            keep_server_fields: options.keep_server_fields,
            ..ValidateOptions::default()
        };
        let key_cols = frames.iter().map(|(_, df)| {
            let columns = options.key_cols.iter();
            let columns = columns.map(|(_, name)| KeyColumn::required(df, "key_cols", name));
            columns.collect::<Result<Vec<_>>>()
        });
        let key_cols = Arc::new(key_cols.collect::<Result<Vec<_>>>()?);
        let batch = {
            let (client, frames) = (self.clone(), frames.to_vec());
            runtime::compute(move || Batch::new(&client, &frames, &read)).await??
        };
        let batch = Arc::new(batch.described().await);
        let mut rows: Vec<Compared> = (0..batch.len()).map(|_| Compared::New).collect();
        let mut extra = Vec::new();
        for collection in collections(&batch, options, &key_cols) {
            collection.compare(&mut rows, &mut extra).await?;
        }
        for finding in &batch.findings {
            if let (Some(row), Compared::New) = (finding.row, &rows[finding.row.unwrap_or(0)]) {
                rows[row] = Compared::Error(finding.detail.clone());
            }
        }
        extra.sort_by_key(|(frame, _)| *frame);
        Ok(Comparison { batch, rows, extra })
    }
}

/// One collection of one ODS, and the rows that are for it.
struct Collection {
    batch: Arc<Batch>,
    ods: usize,
    endpoint: String,
    /// Frames of this endpoint, with the columns of their keys.
    frames: Vec<usize>,
    key_cols: Arc<Vec<Vec<KeyColumn>>>,
    /// What these columns are called as parts of the key.
    names: Vec<String>,
    identity: Option<Arc<Identity>>,
    extra: bool,
}

/// The collections that rows are for.
fn collections(
    batch: &Arc<Batch>,
    options: &CompareOptions,
    key_cols: &Arc<Vec<Vec<KeyColumn>>>,
) -> Vec<Collection> {
    let mut all: Vec<Collection> = Vec::new();
    for (ods, source) in batch.sources.iter().enumerate() {
        for (number, frame) in batch.frames.iter().enumerate() {
            if source.rows[number].is_empty() {
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
            all.push(Collection {
                names: paths.iter().map(name).collect(),
                batch: batch.clone(),
                ods,
                endpoint: frame.endpoint.clone(),
                frames: vec![number],
                key_cols: key_cols.clone(),
                identity: given.or(documented),
                extra: options.extra,
            });
        }
    }
    all
}

/// The rows of each key, and the keys themselves.
#[derive(Default)]
struct Index {
    rows: HashMap<u128, Vec<usize>>,
    keys: Keys,
}

/// What a record is beside the rows of its key.
type Answer = (Vec<(usize, Compared)>, Option<Option<String>>);

impl Collection {
    async fn compare(
        self,
        rows: &mut [Compared],
        extra: &mut Vec<(usize, Option<String>)>,
    ) -> Result<()> {
        let this = Arc::new(self);
        let Some(identity) = this.identity.clone() else {
            let why = "no document says what identifies its items: name the columns by key_cols";
            this.fail(rows, why);
            return Ok(());
        };
        let (index, wrong) = {
            let (this, identity) = (this.clone(), identity.clone());
            runtime::compute(move || this.index(&identity)).await?
        };
        for (row, why) in wrong {
            rows[row] = Compared::Error(why);
        }
        let index = Arc::new(index);
        let answered = match this.by_key(&index).await {
            Ok(true) => this.ask(&identity, &index).await,
            Ok(false) => Ok(None),
            Err(why) => Err(why),
        };
        let answers = match answered {
            Ok(Some(answers)) => Ok(answers),
            Ok(None) => this.read(&identity, &index).await,
            Err(why) => Err(why),
        };
        match answers {
            Ok(answers) => {
                for (compared, other) in answers {
                    for (row, compared) in compared {
                        rows[row] = compared;
                    }
                    extra.extend(other.map(|id| (this.frames[0], id)));
                }
            }
            Err(why) => this.fail(rows, &why),
        }
        Ok(())
    }

    /// All places of rows: the frame, the place in it, the number among all rows.
    fn places(&self) -> Vec<(usize, u32, usize)> {
        let source = &self.batch.sources[self.ods];
        let frames = self.frames.iter();
        let places = frames.flat_map(|&number| {
            let first = self.batch.frames[number].first;
            let places = source.rows[number].iter();
            places.map(move |&place| (number, place, first + place as usize))
        });
        places.collect()
    }

    fn fail(&self, rows: &mut [Compared], why: &str) {
        for (_, _, row) in self.places() {
            if matches!(rows[row], Compared::New) {
                rows[row] = Compared::Error(why.to_owned());
            }
        }
    }

    /// The key of each row, or why it has none.
    fn index(&self, identity: &Identity) -> (Index, Vec<(usize, String)>) {
        let keys: Vec<_> = self
            .places()
            .into_par_iter()
            .map(|(number, place, row)| (row, self.key(identity, number, place)))
            .collect();
        let (mut index, mut wrong) = (Index::default(), Vec::new());
        for (row, key) in keys {
            match key {
                Ok((key, written)) => {
                    index.rows.entry(digest(&key)).or_default().push(row);
                    index.keys.entry(key).or_insert(written);
                }
                Err(why) => wrong.push((row, why)),
            }
        }
        (index, wrong)
    }

    fn key(
        &self,
        identity: &Identity,
        number: usize,
        place: u32,
    ) -> Result<(String, Option<Box<str>>), String> {
        let frame = &self.batch.frames[number];
        let text = frame.payload(place).map_err(|failure| failure.message)?;
        let json = Json::object(&text).map_err(|what| format!("invalid JSON: {what}"))?;
        let columns = &self.key_cols[number];
        let values = match columns.is_empty() {
            true => own_values(identity, &json).map_err(|error| match error {
                NoKey::Missing(path) => format!("no value at $.{path}, a part of the natural key"),
                NoKey::Differs(one, two) => {
                    format!("the values at $.{one} and $.{two}, one part of the key, differ")
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
        Ok((key, written))
    }

    /// Whether to ask for each key takes fewer requests than to read the collection.
    async fn by_key(&self, index: &Index) -> Result<bool, String> {
        let wanted = index.keys.len() as u64;
        if self.extra || wanted == 0 {
            return Ok(false);
        }
        let access = &self.batch.sources[self.ods].access;
        let pages = pages_of(&self.batch.context, access, &self.endpoint).await?;
        Ok(pages.is_some_and(|pages| wanted < pages))
    }

    /// Asks for each key; `None` where the server does not look at the parameters.
    async fn ask(&self, identity: &Identity, index: &Index) -> Result<Option<Vec<Answer>>, String> {
        let access = &self.batch.sources[self.ods].access;
        let mut questions: Vec<BoxFuture<'_, Result<Proof, Failure>>> = Vec::new();
        for (key, written) in &index.keys {
            let values = values_of(key, written.as_deref());
            let context = &self.batch.context;
            let question = async move {
                let wanted = (&**key, &*values);
                key_lookup::ask(context, access, &self.endpoint, identity, wanted).await
            };
            questions.push(question.boxed());
        }
        let workers = self.batch.options.batch.workers;
        let mut found = stream::iter(questions).buffer_unordered(workers);
        let mut answers = Vec::new();
        while let Some(one) = found.next().await {
            match one.map_err(|failure| failure.message)? {
                Proof::Item(_, record) => {
                    answers.push(self.answer(identity, index, record.get().as_bytes()));
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
        identity: &Arc<Identity>,
        index: &Arc<Index>,
    ) -> Result<Vec<Answer>, String> {
        let access = self.batch.sources[self.ods].access.clone();
        let workers = self.batch.options.batch.workers;
        let mut pages = records_of(self.batch.context.clone(), access, &self.endpoint, workers);
        let mut answers = Vec::new();
        let text = |error: Error| error.to_string();
        while let Some(page) = pages.try_next().await.map_err(text)? {
            let (this, identity, index) = (self.clone(), identity.clone(), index.clone());
            let work = move || {
                let texts = page.column("json")?.str()?.rechunk().into_owned();
                let rows = (0..texts.len()).into_par_iter();
                let answers = rows.filter_map(|row| {
                    let text = texts.get(row)?;
                    Some(this.answer(&identity, &index, text.as_bytes()))
                });
                let told = |(rows, other): &Answer| !rows.is_empty() || other.is_some();
                Ok::<_, Error>(answers.filter(told).collect::<Vec<Answer>>())
            };
            let compared = runtime::compute(work).await.map_err(text)?;
            answers.extend(compared.map_err(text)?);
        }
        Ok(answers)
    }

    /// Compares a record with the rows of its key.
    fn answer(&self, identity: &Identity, index: &Index, record: &[u8]) -> Answer {
        let Ok(theirs) = Json::object(record) else {
            return (Vec::new(), None);
        };
        let id = theirs.get("id").and_then(Json::text).map(Into::into);
        let key = own_values(identity, &theirs);
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
        let changes = rows
            .iter()
            .map(|&row| (row, self.changes(&walk, row, &theirs)));
        let changes: Vec<_> = changes.collect();
        let is_none =
            |changes: &Result<Vec<Change>, String>| changes.as_ref().is_ok_and(Vec::is_empty);
        // Of several rows the last one stays, which need not be this one.
        let all_same = changes.iter().all(|(_, changes)| is_none(changes));
        let compared = changes.into_iter().map(|(row, changes)| {
            let compared = match changes {
                Ok(changes) if changes.is_empty() => Compared::Same(id.clone(), all_same),
                Ok(changes) => Compared::Changed(id.clone(), changes),
                Err(why) => Compared::Error(why),
            };
            (row, compared)
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

impl Compared {
    fn status(&self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Same(..) => "same",
            Self::Changed(..) => "changed",
            Self::Error(_) => ERROR,
        }
    }

    fn id(&self) -> Option<&str> {
        match self {
            Self::Same(id, _) | Self::Changed(id, _) => id.as_deref(),
            Self::New | Self::Error(_) => None,
        }
    }
}

impl Comparison {
    /// By frame, the rows that the ODS has as they are, and the ids of their items.
    pub(crate) fn same(&self) -> Vec<HashMap<usize, Option<String>>> {
        let frames = self.batch.frames.iter();
        let same = frames.map(|frame| {
            let rows = frame.active.iter().enumerate();
            let same = rows.filter_map(|(place, row)| match &self.rows[frame.first + place] {
                Compared::Same(id, true) => Some((*row, id.clone())),
                _ => None,
            });
            same.collect()
        });
        same.collect()
    }

    fn frame(self, frames: &[(String, DataFrame)], row_id_col: Option<&str>) -> Result<DataFrame> {
        let (mut lines, mut endpoints) = (Vec::new(), Vec::new());
        let mut index: Vec<Option<IdxSize>> = Vec::new();
        let mut row_ids = Vec::new();
        for (number, frame) in self.batch.frames.iter().enumerate() {
            let before = index.len();
            let rows = &self.rows[frame.first..frame.first + frame.active.len()];
            lines.extend(rows.iter().map(Line::Row));
            index.extend(frame.active.iter().map(|row| Some(*row as IdxSize)));
            let extra = self.extra.iter().filter(|(of, _)| *of == number);
            lines.extend(extra.map(|(_, id)| Line::Extra(id.as_deref())));
            index.resize(lines.len(), None);
            endpoints.resize(lines.len(), Some(frame.endpoint.as_str()));
            if let Some(name) = row_id_col {
                let places: IdxCa = index[before..].iter().copied().collect();
                row_ids.push(frames[number].1.column(name)?.take(&places)?);
            }
        }
        let (height, lines) = (lines.len(), &lines[..]);
        let columns = vec![
            strings("endpoint", endpoints.into_iter()).into_column(),
            result::row_index(index.into_iter().collect())?,
            result::of_frames(ROW_ID, row_ids, height)?,
            strings("id", lines.iter().map(Line::id)).into_column(),
            strings("status", lines.iter().map(|line| Some(line.status()))).into_column(),
            changes(lines)?,
        ];
        Ok(DataFrame::new(height, columns)?)
    }
}

/// A row of the result.
enum Line<'c> {
    Row(&'c Compared),
    /// An item that no row names, by its id.
    Extra(Option<&'c str>),
}

impl Line<'_> {
    fn id(&self) -> Option<&str> {
        match self {
            Self::Row(compared) => compared.id(),
            Self::Extra(id) => *id,
        }
    }

    fn status(&self) -> &'static str {
        match self {
            Self::Row(compared) => compared.status(),
            Self::Extra(_) => "extra",
        }
    }
}

/// The changes of rows; of an error the path says why.
fn changes(lines: &[Line<'_>]) -> Result<Column> {
    let mut all: Vec<(Cow<'_, str>, Option<&str>, Option<&str>)> = Vec::new();
    let mut lengths = Vec::with_capacity(lines.len());
    for line in lines {
        let before = all.len();
        match line {
            Line::Row(Compared::Changed(_, changes)) => all.extend(changes.iter().map(|one| {
                let (ours, theirs) = (one.ours.as_deref(), one.theirs.as_deref());
                (Cow::Borrowed(&*one.path), ours, theirs)
            })),
            Line::Row(Compared::Error(why)) => all.push((format!("$: {why}").into(), None, None)),
            Line::Row(Compared::New | Compared::Same(..)) | Line::Extra(_) => {}
        }
        lengths.push(Some(all.len() - before));
    }
    let elements = structs(&[
        strings("path", all.iter().map(|one| Some(&*one.0))),
        strings("ours", all.iter().map(|one| one.1)),
        strings("theirs", all.iter().map(|one| one.2)),
    ])?;
    Ok(columns::lists("changes", &elements, &lengths)?.into_column())
}
