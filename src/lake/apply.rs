//! A copy of a resource and what changed in it -> the copy as it is now.

use std::borrow::Cow;

use polars::prelude::*;

use super::keys::{RowKeys, fields_by_name, value_of};
use super::widen;
use crate::frame::{Changes, ID, plain_id};
use crate::{Error, Result};

const CHANGE_VERSION: &str = "changeVersion";
const NEW_KEY: &str = "newKeyValues.";
const LAST_MODIFIED: &str = "_lastModifiedDate";

/// Merges what changed in a resource into a copy of it.
///
/// The copy has the columns of its records. First the new keys of `key_changes` go to the copy's own
/// rows, by `id`, in the order of their versions. Then `records` take the place of the rows with
/// their `id`, and of the rows with their natural key: an item that was deleted and made again has a
/// new `id`, and its delete is not told. Then the rows of `deletes` go, by `id`: they always win.
/// Applied twice it changes nothing.
///
/// `key_fields` are the columns of the natural key. Those of `newKeyValues.*` are found by their last
/// part, behind the role of their reference where that is told (`programEducationOrganizationId` is
/// `programReference.educationOrganizationId`). Without `key_fields` rows are told apart by their
/// `id` alone, and a new key goes to the columns that bear its names and no other could be meant by.
/// Rows that hold a null in their key are told apart by `id` alone, too.
///
/// Rows that nothing replaces keep their order, and those of `records` stand below them. Dtypes are
/// the copy's, widened where records need it: Int32 with Int64 is Int64, integers with floats
/// Float64, anything else String (as JSON where it was none). Frames without columns are taken for
/// empty. An `id` in capitals and with dashes is the same as one without.
///
/// ```
/// use polars::prelude::*;
/// use polars_edfi::{Changes, apply_changes};
///
/// let copy = df!("id" => ["a", "b"], "key" => [1, 2])?;
/// let records = df!("id" => ["c"], "key" => [2])?;
/// let deletes = df!("id" => ["a"], "changeVersion" => [7i64])?;
/// let changes = Changes::new(records, deletes, DataFrame::empty(), 8);
/// let now = apply_changes(&copy, &changes, Some(&["key"]))?;
/// assert!(now.equals(&df!("id" => ["c"], "key" => [2])?));
/// # Ok::<(), polars_edfi::Error>(())
/// ```
///
/// # Errors
/// [`Error::ColumnNotFound`] where the copy and the records lack `id` or a column of the key.
pub fn apply_changes(
    copy: &DataFrame,
    changes: &Changes,
    key_fields: Option<&[&str]>,
) -> Result<DataFrame> {
    let records = &changes.records;
    check_columns(copy, records, key_fields)?;
    let deleted = Ids::of(&changes.deletes)?;
    let copy = with_new_keys(copy, &changes.key_changes, key_fields)?;
    let records = latest(records, &deleted, key_fields)?;
    let there = Ids::of(&records)?;
    if records.height() == 0 && deleted.is_empty() {
        return Ok(if copy.width() == 0 { records } else { copy });
    }
    let mut stays = match ids(&copy)? {
        Some(ids) => each(&ids)
            .map(|id| id.is_none_or(|id| !deleted.has(&id) && !there.has(&id)))
            .collect(),
        None => vec![true; copy.height()],
    };
    if let Some(fields) = key_fields
        && let (Some(ours), Some(theirs)) = RowKeys::pair(&copy, &records, fields)?
    {
        let new = theirs.by_hash();
        for (row, stays) in stays.iter_mut().enumerate().filter(|(_, stays)| **stays) {
            *stays = !ours.is_among(row, &theirs, &new)?;
        }
    }
    let kept = match stays.iter().all(|stays| *stays) {
        true => copy,
        false => copy.filter(&BooleanChunked::from_slice(PlSmallStr::EMPTY, &stays))?,
    };
    widen::below(kept, records)
}

/// Refuses frames whose rows could not be told apart.
fn check_columns(copy: &DataFrame, records: &DataFrame, key_fields: Option<&[&str]>) -> Result<()> {
    let is_told = |name: &str| {
        let with_columns = [copy, records].into_iter().filter(|df| df.width() > 0);
        let mut lacking = with_columns.filter(|df| df.column(name).is_err());
        // A property that no record of a window has is no column of it.
        match name {
            ID => lacking.next().is_none(),
            _ => copy.width() == 0 || copy.column(name).is_ok() || records.column(name).is_ok(),
        }
    };
    let fields = key_fields.unwrap_or_default().iter().copied();
    for name in std::iter::once(ID).chain(fields) {
        if !is_told(name) {
            let what = match name {
                ID => "the rows of a copy are told apart by it".to_owned(),
                _ => "it is one of key_fields".to_owned(),
            };
            return Err(Error::ColumnNotFound(format!(
                "the copy has no column {name:?}; {what}"
            )));
        }
    }
    Ok(())
}

/// The ids of a frame, as texts; `None` where it has no such column.
fn ids(df: &DataFrame) -> Result<Option<StringChunked>> {
    match df.column(ID) {
        Ok(column) => Ok(Some(column.cast(&DataType::String)?.str()?.clone())),
        Err(_) => Ok(None),
    }
}

fn each(ids: &StringChunked) -> impl Iterator<Item = Option<Cow<'_, str>>> {
    ids.iter().map(|id| id.map(plain_id))
}

/// Some ids, as records have them.
#[derive(Default)]
struct Ids(PlHashSet<String>);

impl Ids {
    fn of(df: &DataFrame) -> Result<Self> {
        let ids = ids(df)?;
        let ids = ids.iter().flat_map(each).flatten();
        Ok(Self(ids.map(Cow::into_owned).collect()))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn has(&self, id: &str) -> bool {
        self.0.contains(id)
    }
}

/// The copy with the new keys of its own rows.
fn with_new_keys(
    copy: &DataFrame,
    key_changes: &DataFrame,
    key_fields: Option<&[&str]>,
) -> Result<DataFrame> {
    let (Some(changed), Some(own)) = (ids(key_changes)?, ids(copy)?) else {
        return Ok(copy.clone());
    };
    let versions = match key_changes.column(CHANGE_VERSION) {
        Ok(column) => column.cast(&DataType::Int64)?.i64()?.iter().collect(),
        Err(_) => vec![None; key_changes.height()],
    };
    let mut last: PlHashMap<Cow<'_, str>, usize> = PlHashMap::new();
    for (row, id) in each(&changed).enumerate() {
        let Some(id) = id else { continue };
        let known = last.entry(id).or_insert(row);
        if versions[*known] <= versions[row] {
            *known = row;
        }
    }
    let rows: Vec<(usize, usize)> = each(&own)
        .enumerate()
        .filter_map(|(row, id)| Some((row, *last.get(&id?)?)))
        .collect();
    if rows.is_empty() {
        return Ok(copy.clone());
    }
    let mut copy = copy.clone();
    for (field, new) in new_values(&copy, key_changes, key_fields) {
        let before = copy.column(&field)?.clone();
        let new = widen::parse(key_changes.column(&new)?, before.dtype())?;
        let end = before.len() as IdxSize;
        let mut places: Vec<IdxSize> = (0..end).collect();
        let told = new.is_not_null();
        for (row, change) in &rows {
            if told.get(*change) == Some(true) {
                places[*row] = end + *change as IdxSize;
            }
        }
        let mut both = before;
        both.append(&new)?;
        copy.with_column(both.take(&IdxCa::from_vec(PlSmallStr::EMPTY, places))?)?;
    }
    Ok(copy)
}

/// The columns of the copy that hold its natural key, each with the column of its new values.
fn new_values(
    copy: &DataFrame,
    key_changes: &DataFrame,
    key_fields: Option<&[&str]>,
) -> Vec<(String, String)> {
    let names: Vec<&str> = key_changes
        .get_column_names()
        .into_iter()
        .filter_map(|name| name.strip_prefix(NEW_KEY))
        .collect();
    let with_prefix = |name: &str| format!("{NEW_KEY}{name}");
    match key_fields {
        Some(fields) => fields
            .iter()
            .filter(|field| copy.column(field).is_ok())
            .filter_map(|field| Some(((*field).to_owned(), with_prefix(value_of(field, &names)?))))
            .collect(),
        None => {
            let columns: Vec<&str> = copy
                .get_column_names()
                .into_iter()
                .map(PlSmallStr::as_str)
                .collect();
            fields_by_name(&columns, &names)
                .map(|(field, name)| (field.to_owned(), with_prefix(name)))
                .collect()
        }
    }
}

/// The records that are not deleted, each `id` and each natural key once: what was modified last,
/// and of that what came last.
fn latest(records: &DataFrame, deleted: &Ids, key_fields: Option<&[&str]>) -> Result<DataFrame> {
    let Some(ids) = ids(records)? else {
        return Ok(records.clone());
    };
    let mut last: PlHashMap<Cow<'_, str>, usize> = PlHashMap::new();
    let mut stays = vec![true; records.height()];
    for (row, id) in each(&ids).enumerate() {
        let Some(id) = id else { continue };
        stays[row] = !deleted.has(&id);
        if let Some(before) = last.insert(id, row) {
            stays[before] = false;
        }
    }
    if let Some(fields) = key_fields
        && let (Some(keys), _) = RowKeys::pair(records, records, fields)?
    {
        let modified = records.column(LAST_MODIFIED).ok();
        let mut order: Vec<usize> = (0..records.height()).filter(|row| stays[*row]).collect();
        if let Some(modified) = modified {
            let values = order.iter().map(|row| modified.get(*row));
            let values: Vec<AnyValue<'_>> = values.collect::<PolarsResult<_>>()?;
            let mut places: Vec<usize> = (0..order.len()).collect();
            places.sort_by(|one, two| {
                let order = values[*one].partial_cmp(&values[*two]);
                let nulls = values[*two].is_null().cmp(&values[*one].is_null());
                nulls.then(order.unwrap_or(std::cmp::Ordering::Equal))
            });
            order = places.into_iter().map(|place| order[place]).collect();
        }
        let mut known = keys.none();
        for row in order.into_iter().rev() {
            stays[row] = !keys.is_among(row, &keys, &known)?;
            if stays[row] {
                keys.add(row, &mut known);
            }
        }
    }
    Ok(match stays.iter().all(|stays| *stays) {
        true => records.clone(),
        false => records.filter(&BooleanChunked::from_slice(PlSmallStr::EMPTY, &stays))?,
    })
}
