//! What a journal knows the rows of a batch by, before any of them is sent.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use polars::prelude::PlHashMap;
use rayon::prelude::*;

use super::Write;
use crate::client::session::Access;
use crate::journal::{Digest, Item, Journal, Method, Target};
use crate::openapi::Identity;
use crate::{Error, Failure, Result};

/// What the journal knows of a row before it is sent.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    pub(super) district: Arc<District>,
    pub(super) items: Vec<Item>,
    /// Whether `key_col` tells which item it is.
    told_by_key: bool,
    /// Whether other rows of the batch are about the same item.
    pub(super) has_twins: bool,
}

impl Mark {
    /// The item by which rows wait for each other.
    pub(super) fn item(&self) -> Option<Item> {
        self.items.first().copied()
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

/// The districts of a batch, by their URLs as the rows have them. What the metadata of one failed
/// with is what its rows fail with.
pub(super) async fn districts<O: Write>(
    journal: &Journal,
    operation: &Arc<O>,
    rows: &[usize],
    workers: usize,
) -> Result<HashMap<String, Result<Arc<District>, Failure>>> {
    let mut found: HashMap<&str, Access> = HashMap::new();
    for &row in rows {
        // A row that cannot be sent says nothing of its district.
        let url = operation.district(row).unwrap_or_default();
        if !found.contains_key(url)
            && let Ok(request) = operation.prepare(row)
        {
            found.insert(url, operation.written(&request).0.clone());
        }
    }
    let describe = |(url, access): (&str, Access)| {
        let url = url.to_owned();
        async move {
            let district = District::new(journal, &**operation, &access).await?;
            Ok((url, district.map(Arc::new)))
        }
        .boxed()
    };
    let all: Vec<BoxFuture<'_, Result<_>>> = found.into_iter().map(describe).collect();
    stream::iter(all)
        .buffer_unordered(workers)
        .try_collect()
        .await
}

/// What the journal knows of the rows. Rows that fail by themselves have nothing, where their
/// payloads are looked at.
pub(super) fn marks<O: Write>(
    operation: &O,
    rows: &[usize],
    districts: &HashMap<String, Result<Arc<District>, Failure>>,
) -> Result<PlHashMap<usize, Result<Mark, Failure>>> {
    let mark = |&row: &usize| {
        let district = districts.get(operation.district(row).unwrap_or_default())?;
        let mark = match district {
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
    Ok(marks)
}

fn not_unique(one: usize, other: usize) -> Error {
    Error::Config(format!(
        "rows {one} and {other} have the same key_col and different payloads: where no OpenAPI \
         document tells the natural key of a resource, a journal tells its items apart by key_col, \
         which must be unique"
    ))
}

impl District {
    async fn new<O: Write>(
        journal: &Journal,
        operation: &O,
        access: &Access,
    ) -> Result<Result<Self, Failure>> {
        let identity = match operation.method() {
            // Its rows name their items by id.
            Method::Delete => Ok(None),
            _ => {
                let context = operation.context();
                context.identity(access, operation.endpoint()).await
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
        let base = access.base.as_url().to_string();
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
        Digest::of(&[
            self.base.as_bytes(),
            operation.endpoint().as_bytes(),
            operation.method().word().as_bytes(),
            operation.key(row).unwrap_or_default().as_bytes(),
            operation.id(row).unwrap_or_default().as_bytes(),
            payload,
        ])
    }

    /// What a row is about; nothing where the row fails by itself.
    fn mark<O: Write>(
        district: &Arc<Self>,
        operation: &O,
        row: usize,
    ) -> Option<Result<Mark, Failure>> {
        let target = district.target;
        let by_id = operation.id(row).map(|id| target.item_of_id(id));
        let by_key = match (&district.identity, &by_id) {
            (Some(identity), _) => {
                let request = operation.prepare(row).ok()?;
                let (_, payload) = operation.written(&request);
                // A payload that has no natural key is one that the ODS refuses.
                let natural = identity.key(payload).ok();
                natural.map(|natural| target.item(&natural))
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
        Some(Ok(Mark {
            told_by_key: district.identity.is_none() && by_id.is_none(),
            district: district.clone(),
            items: by_id.into_iter().chain(by_key).collect(),
            has_twins: false,
        }))
    }
}
