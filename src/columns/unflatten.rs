//! Flat columns of a frame -> one nested column: the inverse of [`super::flatten()`].

use std::collections::HashSet;

use polars::prelude::{
    BooleanChunked, ChunkFull, Column, DataFrame, DataType, IntoSeries, PlSmallStr, Schema, Series,
    StructChunked,
};

use super::flatten::find_all;
use super::names::Names;
use super::paths::{UNKNOWN, check_part, split};
use super::plan::Plan;
use crate::{Error, Result};

/// Puts columns together as one Struct column named `into`, after the columns not taken.
///
/// All columns are taken, or those of `columns`, in that order. A name is a path, split at
/// `separator`: `studentReference.studentUniqueId` becomes a field of the field
/// `studentReference`. An inner Struct of which every field is null is null. Names are taken as
/// they are: a `_record` that [`flatten`](super::flatten()) appended is not cut off.
///
/// # Errors
/// [`Error::ColumnNotFound`] for a name that is not there; [`Error::Config`] where a column of the
/// name `into` stays beside, one path is both a value and a Struct, a path has more than 128 names,
/// or there is nothing to take.
///
/// ```
/// use polars::prelude::*;
/// use polars_edfi::columns::{flatten, unflatten};
///
/// let df = df!("schoolReference.schoolId" => [255901001], "beginDate" => ["2024-08-20"])?;
/// let nested = unflatten(&df, "payload", ".", None)?;
/// assert_eq!(nested.column("payload")?.dtype().to_string(),
///     "struct[2]");
/// # Ok::<(), polars_edfi::Error>(())
/// ```
pub fn unflatten(
    df: &DataFrame,
    into: &str,
    separator: &str,
    columns: Option<&[&str]>,
) -> Result<DataFrame> {
    check_part("into", into)?;
    let taken: Vec<&Column> = match columns {
        Some(names) => find_all(df, names)?,
        None => df.columns().iter().collect(),
    };
    if taken.is_empty() && columns.is_none() {
        let nothing = Column::full_null(into.into(), df.height(), &DataType::Null);
        return Ok(DataFrame::new(df.height(), vec![nothing])?);
    }
    if taken.is_empty() {
        return Err(Error::Config(
            "unflatten: there is no column to take".to_owned(),
        ));
    }
    let taken_names: HashSet<&PlSmallStr> = taken.iter().map(|column| column.name()).collect();
    let is_taken = |column: &&Column| taken_names.contains(column.name());
    let beside = df.columns().iter().filter(|column| !is_taken(column));
    let mut beside: Vec<Column> = beside.cloned().collect();
    if beside.iter().any(|column| column.name() == into) {
        return Err(Error::Config(format!(
            "unflatten: there is a column '{into}' that is not taken"
        )));
    }
    let mut root = Group::default();
    for column in taken {
        let path = split(column.name(), separator)?;
        root.add(&path, column)?;
    }
    let nested = root.into_struct(into.into(), df.height())?;
    beside.push(Column::from(nested.into_series()));
    Ok(DataFrame::new(df.height(), beside)?)
}

/// Puts the columns of a plan that was inferred together again, as the records had them.
pub(crate) fn nest_inferred(leaves: &DataFrame, into: &str, plan: &Plan) -> Result<StructChunked> {
    let mut root = Group::default();
    for (path, leaf) in plan.paths().iter().zip(leaves.columns()) {
        root.add(path, leaf)?;
    }
    root.into_struct(into.into(), leaves.height())
}

/// Puts the leaves that a declared schema was decoded into together as its fields again.
///
/// `leaves` are the columns of a plan of this schema: one for each of its leaves, in their order,
/// and `_unknown`, which becomes one more field where it is asked for. An inner Struct of which every
/// field is null is null.
pub(crate) fn nest(
    leaves: DataFrame,
    into: &str,
    schema: &Schema,
    unknown: bool,
) -> Result<StructChunked> {
    let height = leaves.height();
    let mut leaves = leaves.into_columns().into_iter();
    let mut fields = Vec::with_capacity(schema.len() + 1);
    let mut at = None;
    for (position, (name, dtype)) in schema.iter().enumerate() {
        if name == UNKNOWN && *dtype == DataType::String {
            at = Some(position);
            continue;
        }
        fields.push(take(name.clone(), dtype, &mut leaves, height)?);
    }
    if unknown || at.is_some() {
        let rest = take(UNKNOWN.into(), &DataType::String, &mut leaves, height)?;
        fields.insert(at.unwrap_or(fields.len()), rest);
    }
    Ok(StructChunked::from_series(
        into.into(),
        height,
        fields.iter(),
    )?)
}

/// The next leaf, or the Struct of the next leaves.
fn take(
    name: PlSmallStr,
    dtype: &DataType,
    leaves: &mut impl Iterator<Item = Column>,
    height: usize,
) -> Result<Series> {
    match dtype {
        DataType::Struct(fields) if !fields.is_empty() => {
            let fields: Vec<Series> = fields
                .iter()
                .map(|field| take(field.name().clone(), field.dtype(), leaves, height))
                .collect::<Result<_>>()?;
            let structs = StructChunked::from_series(name, height, fields.iter())?;
            Ok(without_empty(structs))
        }
        _ => match leaves.next() {
            Some(leaf) => Ok(leaf.take_materialized_series().with_name(name)),
            None => Ok(Series::full_null(name, height, dtype)),
        },
    }
}

/// Structs of which every field is null become null.
fn without_empty(structs: StructChunked) -> Series {
    let mut any = BooleanChunked::full(PlSmallStr::EMPTY, false, structs.len());
    for field in structs.fields_as_series() {
        any = &any | &field.is_not_null();
    }
    if any.all() {
        return structs.into_series();
    }
    let any = any.rechunk();
    let validity = any.downcast_as_array().values().clone();
    let structs = structs.rechunk().into_owned();
    structs.with_outer_validity(Some(validity)).into_series()
}

/// The fields of a Struct on its way.
#[derive(Default)]
struct Group {
    names: Names,
    members: Vec<Member>,
}

enum Member {
    Column(Series),
    Group(Group),
}

impl Group {
    fn add(&mut self, path: &[&str], column: &Column) -> Result<()> {
        let name = column.name();
        let both = || {
            Error::Config(format!(
                "unflatten: column '{name}' and another one are one path, as a value and a Struct"
            ))
        };
        let (leaf, groups) = path.split_last().unwrap_or((&"", &[]));
        let mut group = self;
        for name in groups {
            let member = group.member(name, || Member::Group(Self::default()));
            // A column of nulls alone is what an object that is never there becomes.
            if matches!(member, Member::Column(series) if series.dtype() == &DataType::Null) {
                *member = Member::Group(Self::default());
            }
            match member {
                Member::Group(next) => group = next,
                Member::Column(_) => return Err(both()),
            }
        }
        // A Struct has the chunks of all of its fields.
        let series = column.as_materialized_series().rechunk();
        let known = group.names.len();
        group.member(leaf, || Member::Column(series));
        if group.names.len() == known && column.dtype() != &DataType::Null {
            return Err(both());
        }
        Ok(())
    }

    fn member(&mut self, name: &str, new: impl FnOnce() -> Member) -> &mut Member {
        let position = self.names.find(name, 0).unwrap_or_else(|| {
            self.members.push(new());
            self.names.push(name)
        });
        &mut self.members[position]
    }

    fn into_struct(self, name: PlSmallStr, height: usize) -> Result<StructChunked> {
        let mut fields = Vec::with_capacity(self.members.len());
        for (name, member) in self.names.iter().zip(self.members) {
            fields.push(match member {
                Member::Column(series) => series.with_name(name.into()),
                Member::Group(group) => without_empty(group.into_struct(name.into(), height)?),
            });
        }
        Ok(StructChunked::from_series(name, height, fields.iter())?)
    }
}
