//! What a journal knows the rows of a batch by, before any of them is sent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use polars::prelude::PlHashMap;
use rayon::prelude::*;

use super::Write;
use crate::client::metadata::Metadata;
use crate::client::permits::Permits;
use crate::client::session::{Access, Account, MOST_ACCOUNTS};
use crate::client::urls;
use crate::journal::{Digest, Item, Journal, Method, Target};
use crate::openapi::Identity;
use crate::runtime::lock;
use crate::{Error, Failure, Result};

/// What the journal knows of a row before it is sent.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    pub(super) district: Arc<District>,
    pub(super) items: Vec<Item>,
    /// What rows have in common that wait for each other: the item, or what some ODS takes for it.
    chain: Option<Item>,
    /// Whether these are the item, and not what stands for one that nobody can tell.
    pub(super) is_told: bool,
    /// Whether `key_col` tells which item it is.
    told_by_key: bool,
    /// Whether other rows of the batch are about the same item.
    pub(super) has_twins: bool,
}

impl Mark {
    /// The item by which rows wait for each other.
    pub(super) fn item(&self) -> Option<Item> {
        self.chain
    }
}

/// What the rows of one district have in common.
#[derive(Debug)]
pub(super) struct District {
    base: String,
    pub(super) target: Target,
    /// What tells its items apart, where it says so.
    identity: Option<Arc<Identity>>,
}

/// The districts of a batch, by their URLs and API versions as the rows have them. What the metadata
/// of one failed with is what its rows fail with.
#[derive(Default)]
pub(super) struct Districts(HashMap<String, Vec<Found>>);

type Found = (Option<String>, Result<Arc<District>, Failure>);

impl Districts {
    pub(super) async fn new<O: Write>(
        journal: &Journal,
        operation: &Arc<O>,
        rows: &[usize],
        (workers, permits): (usize, Option<&Permits>),
    ) -> Result<Self> {
        let operation = &**operation;
        let mut accesses: HashMap<Name<'_>, (Access, &[usize])> = HashMap::new();
        for (place, &row) in rows.iter().enumerate() {
            // A row that cannot be sent says nothing of its district.
            let name = name(operation, row);
            if !accesses.contains_key(&name)
                && let Ok(request) = operation.prepare(row)
            {
                let access = operation.written(&request).0.clone();
                accesses.insert(name, (access, &rows[place..]));
            }
        }
        let all = accesses.into_iter().map(|(name, (access, rows))| {
            let (url, version) = (name.0.to_owned(), name.1.map(str::to_owned));
            async move {
                let district = District::of(journal, operation, access, rows, permits).await?;
                Ok((url, (version, district.map(Arc::new))))
            }
            .boxed()
        });
        let all: Vec<BoxFuture<'_, Result<_>>> = all.collect();
        let all: Vec<(String, Found)> = stream::iter(all)
            .buffer_unordered(workers)
            .try_collect()
            .await?;
        let mut districts = Self::default();
        for (url, found) in all {
            districts.0.entry(url).or_default().push(found);
        }
        Ok(districts)
    }

    fn of<O: Write>(&self, operation: &O, row: usize) -> Option<&Result<Arc<District>, Failure>> {
        let (url, version) = name(operation, row);
        let mut districts = self.0.get(url)?.iter();
        let (_, district) = districts.find(|(known, _)| known.as_deref() == version)?;
        Some(district)
    }
}

/// Another account in the district of the first of these rows.
fn another<O: Write>(operation: &O, rows: &[usize], tried: &[Account]) -> Option<Access> {
    let of = name(operation, *rows.first()?);
    let mut others = rows.iter().filter(|row| name(operation, **row) == of);
    let other = |row: &usize| {
        let request = operation.prepare(*row).ok()?;
        let access = operation.written(&request).0;
        (!tried.contains(&access.account())).then(|| access.clone())
    };
    let has_more = tried.len() < MOST_ACCOUNTS;
    has_more.then(|| others.find_map(other)).flatten()
}

/// What a row calls its district: a URL and an API version.
type Name<'o> = (&'o str, Option<&'o str>);

pub(super) fn name<O: Write>(operation: &O, row: usize) -> Name<'_> {
    let url = operation.district(row).unwrap_or_default();
    (url, operation.api_version(row))
}

/// What the journal calls the districts of rows that can be sent.
pub(super) fn bases<'o, O: Write>(operation: &'o O, rows: &[usize]) -> HashMap<Name<'o>, String> {
    let mut bases = HashMap::new();
    for &row in rows {
        let name = name(operation, row);
        if !bases.contains_key(&name)
            && let Ok(request) = operation.prepare(row)
        {
            bases.insert(name, base(operation, operation.written(&request).0));
        }
    }
    bases
}

/// The base URL of an ODS, or that of its data where this is not at the usual place: another version
/// may be another school year, with items of its own.
fn base<O: Write>(operation: &O, access: &Access) -> String {
    let version = access.api_version.as_deref();
    let version = version.or_else(|| operation.context().client.api_version());
    let base = match version.map(urls::version_segment) {
        Some(segment) if !["", urls::DEFAULT_VERSION, urls::NO_SEGMENT].contains(&&*segment) => {
            access.base.below(&format!("data/{segment}"))
        }
        Some(_) | None => access.base.clone(),
    };
    base.as_url().to_string()
}

/// What the journal knows of the rows. Rows that fail by themselves have nothing, where their
/// payloads are looked at.
pub(super) fn marks<O: Write>(
    operation: &O,
    rows: &[usize],
    districts: &Districts,
) -> Result<PlHashMap<usize, Result<Mark, Failure>>> {
    let mark = |&row: &usize| {
        let mark = match districts.of(operation, row)? {
            Ok(district) => District::mark(district, operation, row)?,
            Err(failure) => Err(failure.clone()),
        };
        Some((row, mark))
    };
    let digest = |mark: &Mark, row: usize| {
        let request = operation.prepare(row).ok()?;
        Some(mark.district.digest(operation, row, &request))
    };
    let found: Vec<_> = rows.par_iter().filter_map(mark).collect();
    let mut first: PlHashMap<Item, usize> =
        PlHashMap::with_capacity_and_hasher(found.len(), Default::default());
    let mut marks: PlHashMap<usize, Result<Mark, Failure>> =
        PlHashMap::with_capacity_and_hasher(found.len(), Default::default());
    for (row, mut mark) in found {
        if let Ok(mark) = &mut mark
            && let Some(item) = mark.item()
        {
            let before = *first.entry(item).or_insert(row);
            if before != row
                && let Some(Ok(twin)) = marks.get_mut(&before)
            {
                (twin.has_twins, mark.has_twins) = (true, true);
                if mark.told_by_key {
                    match (digest(twin, before), digest(mark, row)) {
                        // It fails by itself, and is compared with nothing.
                        (None, _) => drop(first.insert(item, row)),
                        (Some(one), Some(other)) if one != other => {
                            return Err(not_unique(before, row));
                        }
                        _ => {}
                    }
                }
            }
        }
        marks.insert(row, mark);
    }
    if let Some(told) = operation.told() {
        refuse_repeated(told, rows, &mut marks, digest);
    }
    Ok(marks)
}

/// Keys that earlier pieces of a frame had with other payloads.
fn refuse_repeated(
    told: &Told,
    rows: &[usize],
    marks: &mut PlHashMap<usize, Result<Mark, Failure>>,
    digest: impl Fn(&Mark, usize) -> Option<Digest>,
) {
    let mut told = lock(&told.0);
    for &row in rows {
        let Some(Ok(mark)) = marks.get(&row) else {
            continue;
        };
        if mark.told_by_key
            && let Some(item) = mark.item()
            && let Some(digest) = digest(mark, row)
            && *told.entry(item).or_insert(digest) != digest
        {
            let failure = format!("not sent: an earlier row has {NOT_UNIQUE}");
            marks.insert(row, Err(Failure::new(failure)));
        }
    }
}

/// What the pieces of a frame wrote, where `key_col` tells their items apart.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<PlHashMap<Item, Digest>>);

const NOT_UNIQUE: &str = "the same key_col and another payload: where no OpenAPI document tells the \
    natural key of a resource, a journal tells its items apart by key_col, which must be unique";

fn not_unique(one: usize, other: usize) -> Error {
    Error::Config(format!(
        "rows {one} and {other} have the same key_col and different payloads: where no OpenAPI \
         document tells the natural key of a resource, a journal tells its items apart by key_col, \
         which must be unique"
    ))
}

impl District {
    /// What an ODS says of itself to the account of one of these rows, of which the first has
    /// `access`.
    async fn of<O: Write>(
        journal: &Journal,
        operation: &O,
        access: Access,
        rows: &[usize],
        permits: Option<&Permits>,
    ) -> Result<Result<Self, Failure>> {
        let mut district = Self::new(journal, operation, &access, permits).await?;
        let mut tried = vec![access.account()];
        while let Err(failure) = &district
            && failure.is_of_account()
            && let Some(access) = another(operation, rows, &tried)
        {
            district = Self::new(journal, operation, &access, permits).await?;
            tried.push(access.account());
        }
        Ok(district)
    }

    async fn new<O: Write>(
        journal: &Journal,
        operation: &O,
        access: &Access,
        permits: Option<&Permits>,
    ) -> Result<Result<Self, Failure>> {
        let identity = match operation.method() {
            // Its rows name their items by id.
            Method::Delete => Ok(None),
            _ => {
                let metadata = Metadata::of(operation.context(), access);
                let metadata = match permits {
                    Some(permits) => metadata.limited(permits),
                    None => metadata,
                };
                metadata.identity(operation.endpoint()).await
            }
        };
        let identity = match identity {
            Ok(identity) => identity,
            // Without it, another item could be taken for this one.
            Err(failure) => return Ok(Err(failure)),
        };
        let params = |identity: &Arc<Identity>| {
            let names = identity.fields().iter().map(|field| &*field.param);
            names.collect::<Vec<_>>().join(",")
        };
        let told_by = match (operation.method(), &identity) {
            (Method::Delete, _) => None,
            (_, Some(identity)) => Some(params(identity)),
            (_, None) => Some("key_col".to_owned()),
        };
        let base = base(operation, access);
        let target = journal.target(&base, operation.endpoint(), told_by).await;
        Ok(Ok(Self {
            target: target.map_err(|what| Error::Config(journal.say(&what)))?,
            base,
            identity,
        }))
    }

    /// What a row is going to write is known by.
    pub(super) fn digest<O: Write>(
        &self,
        operation: &O,
        row: usize,
        request: &O::Request,
    ) -> Digest {
        let (_, payload) = operation.written(request);
        let mut parts = vec![
            self.base.as_bytes(),
            operation.endpoint().as_bytes(),
            operation.method().word().as_bytes(),
            operation.key(row).unwrap_or_default().as_bytes(),
            operation.id(row).unwrap_or_default().as_bytes(),
            payload,
        ];
        // Through another profile an ODS takes other parts of the same payload.
        let profile = operation.context().client.profile();
        let profile = profile.map(|profile| profile.name().to_lowercase());
        if operation.method() != Method::Delete {
            parts.extend(profile.as_ref().map(String::as_bytes));
        }
        Digest::of(&parts)
    }

    /// What a row is about; nothing where the row fails by itself.
    fn mark<O: Write>(
        district: &Arc<Self>,
        operation: &O,
        row: usize,
    ) -> Option<Result<Mark, Failure>> {
        let target = district.target;
        let by_id = operation.id(row).map(|id| target.item_of_id(id));
        let mut is_told = true;
        let mut chain = by_id;
        let by_key = match (&district.identity, &by_id) {
            (Some(identity), _) => {
                let request = operation.prepare(row).ok()?;
                let (_, payload) = operation.written(&request);
                match (identity.values(payload), by_id) {
                    (Ok(values), _) => {
                        chain = by_id.or_else(|| Some(target.item(&identity.folded(&values))));
                        Some(target.item(&identity.canonical(&values)))
                    }
                    (Err(_), Some(_)) => None,
                    // As a rule one that the ODS refuses; it may see a key in it all the same.
                    (Err(_), None) => {
                        is_told = false;
                        Some(target.item_of_digest(district.digest(operation, row, &request)))
                    }
                }
            }
            (None, Some(_)) => None,
            (None, None) => match operation.key(row) {
                Some(key) => Some(target.item(key)),
                None => {
                    return Some(Err(Failure::new(
                        "not sent: the journal tells the items of this resource apart by key_col, \
                         and this row has no key",
                    )));
                }
            },
        };
        let items: Vec<Item> = by_id.into_iter().chain(by_key).collect();
        Some(Ok(Mark {
            told_by_key: district.identity.is_none() && by_id.is_none(),
            district: district.clone(),
            chain: chain.or_else(|| items.first().copied()),
            items,
            is_told,
            has_twins: false,
        }))
    }
}
