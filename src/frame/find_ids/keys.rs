//! The key of each row, and which rows ask for the same one.

use std::collections::HashMap;
use std::sync::Arc;

use polars::prelude::DataFrame;

use super::super::input::{self, Keys};
use super::super::payloads::Payloads;
use super::super::request::Rows;
use super::FindIdsOptions;
use super::lookup::Found;
use crate::client::metadata::Metadata;
use crate::client::permits::Permits;
use crate::client::session::{Access, CallContext, MOST_ACCOUNTS, Site};
use crate::openapi::{Identity, KeyField};
use crate::{Error, Failure, Result, runtime};

/// Where the keys of a frame's rows stand.
pub(super) struct KeySource {
    df: DataFrame,
    payloads: Option<Payloads>,
    /// Parts of the key and their columns, as the caller named them.
    named: Vec<(String, Keys)>,
}

/// One ODS as one account sees it.
pub(super) struct Group {
    pub(super) access: Access,
    pub(super) identity: Arc<Identity>,
}

/// A key that is wanted.
#[derive(Debug, Clone)]
pub(super) struct WantedKey {
    pub(super) group: usize,
    pub(super) values: Vec<String>,
    pub(super) canonical: String,
    /// What is meant where no item has the spaces around a cell.
    pub(super) trimmed: Option<Box<WantedKey>>,
}

impl WantedKey {
    fn new(group: usize, identity: &Identity, values: Vec<String>) -> Self {
        Self {
            group,
            canonical: identity.canonical(&values),
            values,
            trimmed: None,
        }
    }

    /// A key of cells: spaces around them belong to it where an item has them.
    fn of_cells(group: usize, identity: &Identity, values: Vec<String>) -> Self {
        let plain: Vec<String> = values.iter().map(|value| value.trim().to_owned()).collect();
        let is_plain = plain == values;
        Self {
            trimmed: (!is_plain).then(|| Box::new(Self::new(group, identity, plain))),
            ..Self::new(group, identity, values)
        }
    }

    /// It, and what is meant otherwise.
    pub(super) fn readings(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |key| key.trimmed.as_deref())
    }
}

/// The distinct keys of some rows, and whose they are.
pub(super) struct Asked {
    pub(super) keys: Arc<[WantedKey]>,
    /// Each row with the place of its key, or why it has none.
    of_rows: Vec<(usize, Result<usize, Failure>)>,
}

impl Asked {
    /// What became of each row, by what was found for each key.
    pub(super) fn answers(self, found: &[Found]) -> Vec<(usize, Found)> {
        let rows = self.of_rows.into_iter();
        rows.map(|(row, key)| match key {
            Ok(key) => (row, found[key].clone()),
            Err(failure) => (row, failure.into()),
        })
        .collect()
    }
}

impl KeySource {
    /// Finds the columns that are named, and checks their types.
    pub(super) fn new(df: &DataFrame, options: &FindIdsOptions) -> Result<Self> {
        let payloads = match &options.payload_col {
            Some(name) => Some(Payloads::new(df, name, false)?),
            None => None,
        };
        let mut named: Vec<(String, Keys)> = Vec::new();
        for (part, column) in &options.key_cols {
            if named.iter().any(|(known, _)| known == part) {
                return Err(Error::Config(format!(
                    "key_cols: {part:?} stands in it twice"
                )));
            }
            if payloads.is_none() {
                named.push((part.clone(), Keys::required(df, "key_cols", column)?));
            } else if part != column {
                return Err(Error::Config(
                    "key_cols must be a list of paths where payload_col holds the keys".into(),
                ));
            }
        }
        Ok(Self {
            df: df.clone(),
            payloads,
            named,
        })
    }

    /// The columns of each part of a key.
    fn columns(&self, identity: &Identity, endpoint: &str) -> Result<Vec<Vec<Keys>>> {
        let fields = identity.fields();
        let names = || -> String {
            let names = fields.iter().map(|field| field.paths.join(" or "));
            names.collect::<Vec<_>>().join(", ")
        };
        let is_of = |field: &KeyField, name: &str| {
            field.param.eq_ignore_ascii_case(name) || field.paths.iter().any(|path| **path == *name)
        };
        for (part, _) in &self.named {
            if !fields.iter().any(|field| is_of(field, part)) {
                return Err(Error::Config(format!(
                    "key_cols: {part:?} is no part of the key of {endpoint}, which is {}",
                    names()
                )));
            }
        }
        let columns = |field: &KeyField| {
            let named = self.named.iter().filter(|(part, _)| is_of(field, part));
            let mut columns: Vec<Keys> = named.map(|(_, keys)| keys.clone()).collect();
            if columns.is_empty() {
                for column in self.df.get_column_names() {
                    if is_of(field, column) {
                        columns.push(Keys::required(&self.df, "key_cols", column)?);
                    }
                }
            }
            match columns.is_empty() {
                true => Err(input::missing(
                    &self.df,
                    &format!("key_cols; the key of {endpoint} is {}", names()),
                    &field.paths[0],
                )),
                false => Ok(columns),
            }
        };
        fields.iter().map(columns).collect()
    }
}

/// How the rows of one ODS tell their keys.
enum Reader {
    Payload(Arc<Identity>),
    Columns(Arc<Identity>, Vec<Vec<Keys>>),
}

impl Reader {
    fn new(source: &KeySource, identity: Arc<Identity>, endpoint: &str) -> Result<Self> {
        match source.payloads {
            Some(_) => Ok(Self::Payload(identity)),
            None => {
                let columns = source.columns(&identity, endpoint)?;
                Ok(Self::Columns(identity, columns))
            }
        }
    }

    fn identity(&self) -> &Arc<Identity> {
        match self {
            Self::Payload(identity) | Self::Columns(identity, _) => identity,
        }
    }

    fn values(&self, source: &KeySource, row: usize) -> Result<Vec<String>, Failure> {
        match (self, &source.payloads) {
            (Self::Payload(identity), Some(payloads)) => {
                let values = identity.values(&payloads.get(row)?);
                values.map_err(|what| Failure::new(format!("no natural key: {what}")))
            }
            (Self::Payload(_), None) => Err(Failure::new("missing payload")),
            (Self::Columns(identity, columns), _) => {
                let parts = identity.fields().iter().zip(columns);
                parts
                    .map(|(field, columns)| one_value(field, columns, row))
                    .collect()
            }
        }
    }
}

/// The value of one part of a row's key: of several columns one is enough, and several must agree.
fn one_value(field: &KeyField, columns: &[Keys], row: usize) -> Result<String, Failure> {
    let mut values = columns
        .iter()
        .filter_map(|column| column.get_untrimmed(row));
    let Some(value) = values.next() else {
        return columns[0].need(row).map(str::to_owned);
    };
    match values.all(|other| field.is_same(value, other)) {
        true => Ok(value.to_owned()),
        false => Err(Failure::new(format!(
            "no natural key: the columns of {} do not agree",
            field.param
        ))),
    }
}

/// The rows of one ODS, and what each may be asked as.
pub(super) type SiteRows = Vec<(usize, Access)>;

/// The rows of each ODS, in the order of the frame, and those that name none.
pub(super) async fn by_site(rows: Rows) -> Result<(Vec<SiteRows>, Vec<(usize, Failure)>)> {
    runtime::compute(move || {
        let (mut sites, mut wrong) = (Vec::<SiteRows>::new(), Vec::new());
        let mut known: HashMap<Site, usize> = HashMap::new();
        for &row in &rows.active {
            match rows.access(row) {
                Ok(access) => {
                    let site = *known.entry(access.site()).or_insert(sites.len());
                    match sites.get_mut(site) {
                        Some(rows) => rows.push((row, access)),
                        None => sites.push(vec![(row, access)]),
                    }
                }
                Err(failure) => wrong.push((row, failure)),
            }
        }
        (sites, wrong)
    })
    .await
}

/// Why the keys of an ODS's rows are not known.
pub(super) enum Unknown {
    /// It does not tell what they are.
    Failed(Failure),
    /// The frame has no columns for them.
    Wrong(Error),
}

/// Finds out what the key is in one ODS, and reads it from each row.
pub(super) async fn ask(
    source: Arc<KeySource>,
    rows: SiteRows,
    context: &CallContext,
    requests: &Permits,
    endpoint: &str,
    paths: &[&str],
) -> Result<Result<(Asked, Vec<Group>), Unknown>> {
    let mut accounts: Vec<&Access> = Vec::new();
    for (_, access) in &rows {
        let is_known = |known: &&Access| known.account() == access.account();
        if accounts.len() == MOST_ACCOUNTS {
            break;
        }
        if !accounts.iter().any(is_known) {
            accounts.push(access);
        }
    }
    let mut found = Err(Failure::not_sent());
    for access in accounts {
        let metadata = Metadata::of(context, access).limited(requests);
        found = Box::pin(identity(metadata, endpoint, paths)).await;
        if !found.as_ref().is_err_and(Failure::is_of_account) {
            break;
        }
    }
    let reader = match found {
        Ok(identity) => Reader::new(&source, identity, endpoint),
        Err(failure) => return Ok(Err(Unknown::Failed(failure))),
    };
    match reader {
        Ok(reader) => runtime::compute(move || Ok(group(&source, rows, &reader))).await,
        Err(error) => Ok(Err(Unknown::Wrong(error))),
    }
}

/// What identifies the items of a resource: what the document says, or else the caller.
async fn identity(
    metadata: Metadata<'_>,
    endpoint: &str,
    paths: &[&str],
) -> Result<Arc<Identity>, Failure> {
    match metadata.identity(endpoint).await? {
        Some(identity) => Ok(identity),
        None if !paths.is_empty() => Ok(Arc::new(Identity::of_paths(paths.iter().copied()))),
        None => Err(Failure::new(format!(
            "no OpenAPI document of this ODS tells the key of {endpoint}; name its paths in \
             key_cols"
        ))),
    }
}

/// Puts equal keys together.
fn group(source: &KeySource, rows: SiteRows, reader: &Reader) -> (Asked, Vec<Group>) {
    let mut groups: Vec<Group> = Vec::new();
    let mut known = HashMap::new();
    let mut keys: Vec<WantedKey> = Vec::new();
    let mut places: HashMap<(usize, String), usize> = HashMap::new();
    let mut of_rows = Vec::with_capacity(rows.len());
    for (row, access) in rows {
        let key = reader.values(source, row).map(|values| {
            let group = *known.entry(access.account()).or_insert_with(|| {
                groups.push(Group {
                    access,
                    identity: reader.identity().clone(),
                });
                groups.len() - 1
            });
            let key = match reader {
                Reader::Payload(identity) => WantedKey::new(group, identity, values),
                Reader::Columns(identity, _) => WantedKey::of_cells(group, identity, values),
            };
            let place = places
                .entry((group, key.canonical.clone()))
                .or_insert_with(|| {
                    keys.push(key);
                    keys.len() - 1
                });
            *place
        });
        of_rows.push((row, key));
    }
    let asked = Asked {
        keys: keys.into(),
        of_rows,
    };
    (asked, groups)
}
