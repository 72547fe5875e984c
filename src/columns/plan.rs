//! The columns of the result, and each page as a frame of them.

use std::borrow::Borrow;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema as arrow_types;
use polars::prelude::{
    ArrowDataType, Column, CompatLevel, DataFrame, DataType, PlSmallStr, Schema,
};

use super::declared::DeclaredSchema;
use super::page::{Node, Page};
use super::paths::{FreeNames, UNKNOWN};
use super::projection::Projection;
use super::types::Type;
use super::{infer, interop};
use crate::{Error, Result};

/// The columns that the records of a [`Layout`](super::Layout) become: the same for every page.
#[derive(Debug, Clone)]
pub struct Plan {
    columns: Columns,
    schema: Schema,
}

#[derive(Debug, Clone)]
enum Columns {
    Inferred(Vec<Leaf>),
    /// These, and which of its arrays the columns are.
    Declared(DeclaredSchema, Vec<usize>),
}

/// One inferred column: where its values are in a record, and what they become.
#[derive(Debug, Clone)]
struct Leaf {
    path: Vec<Box<str>>,
    dtype: Type,
    /// The same for Polars' arrays.
    arrow: ArrowDataType,
}

impl Plan {
    /// The plan of inferred columns, each with its path and type.
    pub(super) fn inferred(
        leaves: Vec<(Vec<Box<str>>, Type)>,
        separator: &str,
        reserved: &[&str],
    ) -> Self {
        let mut names = FreeNames::new(reserved);
        let mut schema = Schema::with_capacity(leaves.len());
        let mut columns = Vec::with_capacity(leaves.len());
        for (path, dtype) in leaves {
            let polars = dtype.to_polars();
            let arrow = polars.to_arrow(CompatLevel::newest());
            schema.with_column(names.take(path.join(separator)), polars);
            columns.push(Leaf { path, dtype, arrow });
        }
        Self {
            columns: Columns::Inferred(columns),
            schema,
        }
    }

    /// The plan of all columns of a declared schema and of `_unknown`, whose name is its own.
    pub(super) fn declared(declared: &DeclaredSchema, reserved: &[&str]) -> Self {
        let mut names = FreeNames::new(reserved);
        let unknown = names.take(UNKNOWN.to_owned());
        let columns = declared.columns.iter();
        let columns = columns.map(|column| (names.take(column.name.clone()), column.dtype.clone()));
        let columns: Vec<_> = columns.chain([(unknown, DataType::String)]).collect();
        Self {
            schema: columns.into_iter().collect(),
            columns: Columns::Declared(declared.clone(), (0..=declared.columns.len()).collect()),
        }
    }

    /// The columns of every frame that this plan makes.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The name of the column of what a declared schema has no place for, the last column; `None`
    /// for inferred columns. Its values that are not null count the records with such a thing.
    pub fn unknown(&self) -> Option<&str> {
        let Columns::Declared(declared, picks) = &self.columns else {
            return None;
        };
        let last = declared.columns.len();
        let place = picks.iter().position(|pick| *pick == last)?;
        self.schema
            .get_at_index(place)
            .map(|(name, _)| name.as_str())
    }

    /// The path of each inferred column, and none of declared ones.
    pub(super) fn paths(&self) -> Vec<Vec<&str>> {
        let leaves = match &self.columns {
            Columns::Inferred(leaves) => &leaves[..],
            Columns::Declared(..) => &[],
        };
        leaves
            .iter()
            .map(|leaf| leaf.path.iter().map(AsRef::as_ref).collect())
            .collect()
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
            Columns::Declared(declared, picks) => {
                let picks: Vec<usize> = places.into_iter().map(|place| picks[place]).collect();
                match picks.contains(&declared.columns.len()) {
                    // What is left over is known only where everything else was looked at.
                    true => Columns::Declared(declared.clone(), picks),
                    false => {
                        let count = picks.len();
                        Columns::Declared(declared.select(&picks), (0..count).collect())
                    }
                }
            }
        };
        Ok(Self { columns, schema })
    }

    /// What the columns are made of; `None` is everything.
    pub(super) fn projection(&self) -> Option<Projection> {
        match &self.columns {
            Columns::Inferred(leaves) => {
                let mut projection = Projection::default();
                for leaf in leaves {
                    let path = leaf.path.iter();
                    path.fold(&mut projection, |at, name| at.member(name))
                        .add_type(&leaf.dtype);
                }
                Some(projection)
            }
            Columns::Declared(declared, _) => declared.projection(),
        }
    }

    /// The records of a page as a frame.
    ///
    /// # Errors
    /// [`Error::Polars`](crate::Error::Polars) if Polars refuses a column;
    /// [`Error::ColumnType`] for a value that does not fit a [frozen](super::Layout::freeze)
    /// layout.
    pub fn frame(&self, page: impl Borrow<Page>) -> Result<DataFrame> {
        let page = page.borrow();
        let (rows, fields) = (page.len(), self.schema.iter());
        let columns: Result<Vec<Column>> = match &self.columns {
            Columns::Inferred(leaves) => fields
                .zip(leaves)
                .map(|((name, dtype), leaf)| match find(page, &leaf.path) {
                    Some(node) => leaf.column(name.clone(), dtype, node, rows),
                    // Not an array for each of thousands of columns that other pages have.
                    None => Ok(Column::full_null(name.clone(), rows, dtype)),
                })
                .collect(),
            Columns::Declared(declared, picks) => {
                let arrays = declared.arrays(page)?;
                let columns = fields.zip(picks).map(|((name, dtype), &pick)| {
                    let series = interop::to_series(name.clone(), &arrays[pick])?;
                    let column = declared.columns.get(pick);
                    Ok(Column::from(
                        match column.is_some_and(|one| one.is_cast()) {
                            true => series.strict_cast(dtype)?,
                            false => series,
                        },
                    ))
                });
                columns.collect()
            }
        };
        Ok(DataFrame::new(rows, columns?)?)
    }

    /// The records of a page as an Arrow record batch. Categorical and Enum are strings there.
    ///
    /// # Errors
    /// [`Error::Arrow`](crate::Error::Arrow) if Arrow refuses a column; [`Error::ColumnType`] as in
    /// [`Plan::frame`].
    pub fn record_batch(&self, page: impl Borrow<Page>) -> Result<RecordBatch> {
        let page = page.borrow();
        let arrays = self.arrays(page)?;
        let fields = self.schema.iter_names().zip(&arrays).map(|(name, array)| {
            arrow_types::Field::new(name.as_str(), array.data_type().clone(), true)
        });
        let schema = Arc::new(arrow_types::Schema::new(fields.collect::<Vec<_>>()));
        let options = RecordBatchOptions::new().with_row_count(Some(page.len()));
        Ok(RecordBatch::try_new_with_options(schema, arrays, &options)?)
    }

    fn arrays(&self, page: &Page) -> Result<Vec<ArrayRef>> {
        Ok(match &self.columns {
            Columns::Inferred(leaves) => leaves
                .iter()
                .map(|leaf| infer::array(find(page, &leaf.path), &leaf.dtype, page.len()))
                .collect(),
            Columns::Declared(declared, picks) => {
                let arrays = declared.arrays(page)?;
                picks.iter().map(|pick| arrays[*pick].clone()).collect()
            }
        })
    }
}

impl Leaf {
    /// The column of the values of a node.
    #[allow(
        unsafe_code,
        reason = "to find out the dtype of each column of each page takes long"
    )]
    fn column(
        &self,
        name: PlSmallStr,
        dtype: &DataType,
        node: &Node,
        rows: usize,
    ) -> Result<Column> {
        let array = infer::array(Some(node), &self.dtype, rows);
        // SAFETY: `infer::array` makes the array of the type of the leaf, which is that of `dtype`
        // and, in Arrow, `arrow`.
        let series = unsafe { interop::to_series_of(name, &array, dtype, &self.arrow) };
        Ok(Column::from(series?))
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
