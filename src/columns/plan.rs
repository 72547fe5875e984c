//! The columns of the result, and each page as a frame of them.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema as arrow_types;
use polars::prelude::{
    ArrowDataType, Column, CompatLevel, DataFrame, DataType, PlSmallStr, Schema, Series,
};

use super::given::Given;
use super::page::{Node, Page};
use super::schema::{Layout, Seen, Type};
use super::wanted::Wanted;
use super::{infer, interop};
use crate::{Error, Result};

/// The columns that the records of a [`Layout`] become: the same for every page.
#[derive(Debug, Clone)]
pub struct Plan {
    columns: Columns,
    schema: Schema,
}

#[derive(Debug, Clone)]
enum Columns {
    Inferred(Vec<Leaf>),
    /// These, and which of its arrays the columns are.
    Given(Given, Vec<usize>),
}

/// One inferred column: where its values are in a record, and what they become.
#[derive(Debug, Clone)]
struct Leaf {
    path: Vec<Box<str>>,
    dtype: Type,
    /// The same for Polars' arrays.
    arrow: ArrowDataType,
}

impl Layout {
    /// The columns of these pages.
    ///
    /// Objects outside of lists become a column for each of their leaves, named by the path joined
    /// with `separator`, in the order in which the leaves were first seen. A name that is
    /// `reserved`, or taken by an earlier leaf, gets `_record` appended.
    ///
    /// A layout of a given schema has its columns in its order, and `_unknown` after them: null, or
    /// one JSON object of what the schema has no place for. These are the properties that it does
    /// not know, and the values that do not fit and so are null in their column, nested as they
    /// are in the record; a list of which some elements are left over has null for the others.
    ///
    /// What fits: null everywhere; `true` and `false` a Boolean; a number without fraction and
    /// exponent, within range, an integer; any number a Float, except integers beyond 2^53 and
    /// numbers beyond its range; a number, or a string of one, a Decimal that holds it exactly; a
    /// string a String, Categorical, and an Enum that has it; `YYYY-MM-DD` a Date; an ISO 8601
    /// date-time, or date, a Datetime that holds all its decimals (without offset it is UTC);
    /// `HH:MM:SS` with decimals a Time; lists and objects a List and a Struct.
    pub fn plan(&self, separator: &str, reserved: &[&str]) -> Plan {
        if let Some(given) = &self.given {
            let dtypes = given.columns.iter().map(|place| place.dtype.clone());
            let dtypes = dtypes.chain([DataType::String]);
            return Plan {
                schema: given.names(reserved).into_iter().zip(dtypes).collect(),
                columns: Columns::Given(given.clone(), (0..=given.columns.len()).collect()),
            };
        }
        let leaves = self.leaves();
        let mut taken: HashSet<String> = reserved.iter().map(|&name| name.to_owned()).collect();
        let mut schema = Schema::with_capacity(leaves.len());
        let mut columns = Vec::with_capacity(leaves.len());
        for (seen, path) in leaves {
            let name = free_name(path.join(separator), &mut taken);
            let dtype = seen.resolve();
            let polars = dtype.to_polars();
            let arrow = polars.to_arrow(CompatLevel::newest());
            schema.with_column(name, polars);
            columns.push(Leaf { path, dtype, arrow });
        }
        Plan {
            columns: Columns::Inferred(columns),
            schema,
        }
    }

    /// The layout of the columns seen so far, which no later page changes.
    ///
    /// Its plan has `_unknown` after these columns, as that of a given schema. Strings stand for
    /// anything, as they do in inferred columns; what does not fit the other types, and properties
    /// that come up later, go to `_unknown`.
    #[must_use]
    pub fn freeze(&self, separator: &str) -> Self {
        let given = self.given.clone().unwrap_or_else(|| {
            let leaves = self.leaves().into_iter();
            Given::of_leaves(leaves.map(|(seen, path)| (path, seen.resolve())), separator)
        });
        Self::of_given(given)
    }

    /// The leaves in the order in which they were first seen, each with its path.
    fn leaves(&self) -> Vec<(&Seen, Vec<Box<str>>)> {
        let mut leaves = Vec::new();
        gather(&self.root, &mut Vec::new(), &mut leaves);
        leaves.sort_by_key(|(seen, _)| seen.first);
        leaves
    }
}

/// Collects the leaves below a path that is an object.
fn gather<'a>(
    seen: &'a Seen,
    path: &mut Vec<Box<str>>,
    leaves: &mut Vec<(&'a Seen, Vec<Box<str>>)>,
) {
    for (name, child) in seen.names.iter().zip(&seen.children) {
        path.push(name.into());
        if child.is_flattened() {
            gather(child, path, leaves);
        } else {
            leaves.push((child, path.clone()));
        }
        path.pop();
    }
}

/// A name that is not taken yet, and is from now on.
pub(super) fn free_name(mut name: String, taken: &mut HashSet<String>) -> PlSmallStr {
    while taken.contains(&name) {
        name.push_str("_record");
    }
    let free = PlSmallStr::from_str(&name);
    taken.insert(name);
    free
}

impl Plan {
    /// The columns of every frame that this plan makes.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The name of the column of what a given schema has no place for, the last column; `None`
    /// for inferred columns. Its values that are not null count the records with such a thing.
    pub fn unknown(&self) -> Option<&str> {
        let Columns::Given(given, picks) = &self.columns else {
            return None;
        };
        let last = given.columns.len();
        let place = picks.iter().position(|pick| *pick == last)?;
        self.schema
            .get_at_index(place)
            .map(|(name, _)| name.as_str())
    }

    /// The plan of some of these columns, in the order of `names`.
    ///
    /// # Errors
    /// [`Error::ColumnNotFound`] for a name that is none of them.
    pub fn select(&self, names: &[&str]) -> Result<Self> {
        let mut schema = Schema::with_capacity(names.len());
        let mut places = Vec::with_capacity(names.len());
        for &name in names {
            let Some((place, name, dtype)) = self.schema.get_full(name) else {
                let all: Vec<&str> = self.schema.iter_names().map(PlSmallStr::as_str).collect();
                return Err(Error::ColumnNotFound(format!(
                    "no column '{name}'; there are {}",
                    all.join(", ")
                )));
            };
            schema.with_column(name.clone(), dtype.clone());
            places.push(place);
        }
        let columns = match &self.columns {
            Columns::Inferred(leaves) => Columns::Inferred(
                places
                    .into_iter()
                    .map(|place| leaves[place].clone())
                    .collect(),
            ),
            Columns::Given(given, picks) => {
                let picks: Vec<usize> = places.into_iter().map(|place| picks[place]).collect();
                match picks.contains(&given.columns.len()) {
                    // What is left over is known only where everything else was looked at.
                    true => Columns::Given(given.clone(), picks),
                    false => {
                        let count = picks.len();
                        Columns::Given(given.select(&picks), (0..count).collect())
                    }
                }
            }
        };
        Ok(Self { columns, schema })
    }

    /// What the columns are made of; `None` is everything.
    pub(super) fn wanted(&self) -> Option<Wanted> {
        match &self.columns {
            Columns::Inferred(leaves) => {
                let mut wanted = Wanted::default();
                for leaf in leaves {
                    let path = leaf.path.iter();
                    path.fold(&mut wanted, |at, name| at.member(name))
                        .add_type(&leaf.dtype);
                }
                Some(wanted)
            }
            Columns::Given(given, _) => given.wanted(),
        }
    }

    /// The records of a page as a frame.
    ///
    /// # Errors
    /// [`Error::Polars`](crate::Error::Polars) if Polars refuses a column.
    pub fn frame(&self, page: impl Borrow<Page>) -> Result<DataFrame> {
        let page = page.borrow();
        let fields = self.schema.iter().zip(self.arrays(page)).enumerate();
        let columns = fields.map(|(place, ((name, dtype), array))| {
            let series = self.series(place, name.clone(), dtype, &array)?;
            Ok(Column::from(series))
        });
        let columns = columns.collect::<Result<Vec<Column>>>()?;
        Ok(DataFrame::new(page.len(), columns)?)
    }

    /// The records of a page as an Arrow record batch. Categorical and Enum are strings there.
    ///
    /// # Errors
    /// [`Error::Arrow`](crate::Error::Arrow) if Arrow refuses a column.
    pub fn record_batch(&self, page: impl Borrow<Page>) -> Result<RecordBatch> {
        let page = page.borrow();
        let arrays = self.arrays(page);
        let fields = self.schema.iter_names().zip(&arrays).map(|(name, array)| {
            arrow_types::Field::new(name.as_str(), array.data_type().clone(), true)
        });
        let schema = Arc::new(arrow_types::Schema::new(fields.collect::<Vec<_>>()));
        let options = RecordBatchOptions::new().with_row_count(Some(page.len()));
        Ok(RecordBatch::try_new_with_options(schema, arrays, &options)?)
    }

    fn arrays(&self, page: &Page) -> Vec<ArrayRef> {
        match &self.columns {
            Columns::Inferred(leaves) => leaves
                .iter()
                .map(|leaf| infer::array(find(page, &leaf.path), &leaf.dtype, page.len()))
                .collect(),
            Columns::Given(given, picks) => {
                let arrays = given.arrays(page);
                picks.iter().map(|pick| arrays[*pick].clone()).collect()
            }
        }
    }

    /// One of the columns, from its array.
    fn series(
        &self,
        place: usize,
        name: PlSmallStr,
        dtype: &DataType,
        array: &ArrayRef,
    ) -> Result<Series> {
        match &self.columns {
            Columns::Inferred(leaves) => {
                interop::to_series_of(name, array, dtype, &leaves[place].arrow)
            }
            Columns::Given(given, picks) => {
                let series = interop::to_series(name, array)?;
                let column = given.columns.get(picks[place]);
                Ok(match column.is_some_and(|column| column.is_cast()) {
                    true => series.strict_cast(dtype)?,
                    false => series,
                })
            }
        }
    }
}

/// The node of a path, in a page that has it.
fn find<'a>(page: &'a Page, path: &[Box<str>]) -> Option<&'a Node> {
    let (last, objects) = path.split_last()?;
    let mut at = &page.root;
    for name in objects {
        at = at.child(name, 0)?.objects()?;
    }
    at.child(last, 0)
}
