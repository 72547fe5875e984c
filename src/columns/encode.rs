//! A Struct row -> a JSON payload.

use std::fmt::Display;
use std::io::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::ArrowPrimitiveType;
use arrow_array::{Array, ArrayRef, PrimitiveArray, StructArray};
use arrow_schema as arrow_types;
use arrow_schema::{DataType as ArrowType, TimeUnit};
use polars::prelude::{DataType, Field, IntoSeries, Series, StringChunkedBuilder};

use super::decode::PageDecoder;
use super::page::{Node, Objects, Value};
use super::paths::UNKNOWN;
use super::{interop, json, temporal};
use crate::{Error, Result};

/// What an ODS adds to a record by itself.
const SERVER_FIELDS: [&str; 3] = ["id", "_etag", "_lastModifiedDate"];

/// Writes the rows of a Struct column as JSON objects, to be sent.
///
/// Left out are: nulls; objects in which nothing is left, except where they are elements of a list;
/// and what a server adds, unless it is kept: the top-level `id`, `_etag` and `_lastModifiedDate`,
/// and every `link` within an object of which the name ends in `Reference`.
///
/// Integers and decimals are exact, floats the shortest text that reads back the same. Dates and
/// times are ISO 8601: a Datetime with a time zone in UTC with `Z`, one without as it is. What the
/// field `_unknown` holds (see [`Layout::plan`](super::Layout::plan)) goes back to where it was
/// read; where a column has a value by now, that stays.
#[derive(Debug)]
pub struct Encoder {
    payloads: StructArray,
    unknown: Option<ArrayRef>,
    keep_server_fields: bool,
}

impl Encoder {
    /// An encoder of a Struct column.
    ///
    /// # Errors
    /// [`Error::ColumnType`] if it is no Struct, or a field has a dtype that JSON cannot hold
    /// (Binary, Duration, Object, 128-bit integers).
    pub fn new(payload: &Series, keep_server_fields: bool) -> Result<Self> {
        if !payload.dtype().is_struct() {
            return Err(Error::ColumnType(format!(
                "column '{}' is {}, not a Struct",
                payload.name(),
                payload.dtype()
            )));
        }
        let dtype = plain(payload.dtype(), payload.name())?;
        // Polars casts an Array to a List by its physical values alone: that of an Enum, a number.
        let plain = payload.strict_cast(&dtype)?;
        let array = interop::to_arrow(&plain.strict_cast(&without_arrays(&dtype))?)?;
        let payloads = array.as_struct().clone();
        let unknown = payloads.fields().iter().position(|field| is_unknown(field));
        let unknown = unknown.map(|position| payloads.column(position).clone());
        Ok(Self {
            payloads,
            unknown,
            keep_server_fields,
        })
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.payloads.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The payload of a row; `None` where the Struct is null.
    ///
    /// # Errors
    /// [`Error::Json`] if the row has a number that JSON cannot hold, or an `_unknown` that is not
    /// what was read or no longer fits the lists beside it.
    ///
    /// # Panics
    /// If `row` is not below [`Encoder::len`].
    pub fn encode(&self, row: usize) -> Result<Option<Vec<u8>>> {
        if self.payloads.is_null(row) {
            return Ok(None);
        }
        let unknown = match &self.unknown {
            Some(unknown) if unknown.is_valid(row) => {
                let text = unknown.as_string_view().value(row);
                let page = PageDecoder::default().decode_object(text.as_bytes());
                Some(page.map_err(|error| Error::Json(format!("{UNKNOWN}: {error}")))?)
            }
            _ => None,
        };
        let mut writer = Writer {
            out: Vec::new(),
            path: Vec::new(),
            keep_server_fields: self.keep_server_fields,
        };
        let rest = unknown.as_ref().map(|page| (&page.root, 0));
        writer.object(Some((&self.payloads, row)), rest)?;
        Ok(Some(writer.out))
    }
}

/// The values of a column as compact JSON; null where there is none.
pub(super) fn texts(series: &Series) -> Result<Series> {
    let dtype = plain(series.dtype(), series.name())?;
    let plain = series.strict_cast(&dtype)?;
    let array = interop::to_arrow(&plain.strict_cast(&without_arrays(&dtype))?)?;
    let mut writer = Writer {
        out: Vec::new(),
        path: vec![series.name()],
        keep_server_fields: true,
    };
    let mut texts = StringChunkedBuilder::new(series.name().clone(), array.len());
    for row in 0..array.len() {
        if array.is_null(row) {
            texts.append_null();
            continue;
        }
        writer.out.clear();
        writer.value(&array, row, None)?;
        texts.append_value(String::from_utf8_lossy(&writer.out));
    }
    Ok(texts.finish().into_series())
}

/// Whether a field of a payload holds what its schema had no place for.
fn is_unknown(field: &arrow_types::Field) -> bool {
    field.name() == UNKNOWN && field.data_type() == &ArrowType::Utf8View
}

/// The dtype in which a payload is written.
fn plain(dtype: &DataType, name: &str) -> Result<DataType> {
    Ok(match dtype {
        DataType::Null => DataType::Boolean,
        DataType::Categorical(..) | DataType::Enum(..) => DataType::String,
        DataType::Float16 => DataType::Float32,
        DataType::List(inner) => DataType::List(Box::new(plain(inner, name)?)),
        DataType::Array(inner, width) => DataType::Array(Box::new(plain(inner, name)?), *width),
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| {
                let name = format!("{name}.{}", field.name());
                Ok(Field::new(
                    field.name().clone(),
                    plain(field.dtype(), &name)?,
                ))
            });
            DataType::Struct(fields.collect::<Result<_>>()?)
        }
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Float32
        | DataType::Float64
        | DataType::Decimal(..)
        | DataType::String
        | DataType::Date
        | DataType::Datetime(..)
        | DataType::Time => dtype.clone(),
        _ => {
            return Err(Error::ColumnType(format!(
                "'{name}' is {dtype}, which JSON cannot hold"
            )));
        }
    })
}

/// The same with a List in place of each Array.
fn without_arrays(dtype: &DataType) -> DataType {
    match dtype {
        DataType::List(inner) | DataType::Array(inner, _) => {
            DataType::List(Box::new(without_arrays(inner)))
        }
        DataType::Struct(fields) => {
            let fields = fields.iter();
            let plain =
                |field: &Field| Field::new(field.name().clone(), without_arrays(field.dtype()));
            DataType::Struct(fields.map(plain).collect())
        }
        _ => dtype.clone(),
    }
}

/// A value that goes back from `_unknown`: its node and row there.
type Unknown<'a> = Option<(&'a Node, usize)>;

struct Writer<'a> {
    out: Vec<u8>,
    /// The names of the objects around.
    path: Vec<&'a str>,
    keep_server_fields: bool,
}

impl<'a> Writer<'a> {
    /// Writes the object of a row, together with that of `_unknown`; says whether it has anything.
    fn object(
        &mut self,
        object: Option<(&'a StructArray, usize)>,
        unknown: Option<(&'a Objects, usize)>,
    ) -> Result<bool> {
        self.out.push(b'{');
        let start = self.out.len();
        if let Some((structs, row)) = object {
            for (position, field) in structs.fields().iter().enumerate() {
                let name = field.name().as_str();
                if self.path.is_empty() && is_unknown(field) {
                    continue;
                }
                let unknown = unknown.and_then(|(objects, row)| {
                    objects.child(name, position).map(|node| (node, row))
                });
                let array = structs.column(position);
                self.member(name, start, |writer| writer.value(array, row, unknown))?;
            }
        }
        if let Some((objects, row)) = unknown {
            for field in objects.fields(row) {
                let name = objects.names.get(field);
                let is_written =
                    |(structs, _): (&StructArray, _)| structs.column_by_name(name).is_some();
                if !object.is_some_and(is_written) {
                    let node = &objects.children[field];
                    self.member(name, start, |writer| writer.unknown(node, row))?;
                }
            }
        }
        let any = self.out.len() > start;
        self.out.push(b'}');
        Ok(any)
    }

    /// Writes a key and its value, unless there is none or it is left out.
    fn member(
        &mut self,
        name: &'a str,
        start: usize,
        value: impl FnOnce(&mut Self) -> Result<bool>,
    ) -> Result<()> {
        let of_server = match name {
            "link" => self.path.iter().any(|name| name.ends_with("Reference")),
            _ => self.path.is_empty() && SERVER_FIELDS.contains(&name),
        };
        if of_server && !self.keep_server_fields {
            return Ok(());
        }
        let before = self.out.len();
        if before > start {
            self.out.push(b',');
        }
        json::write_string(&mut self.out, name);
        self.out.push(b':');
        self.path.push(name);
        let any = value(self)?;
        self.path.pop();
        if !any {
            self.out.truncate(before);
        }
        Ok(())
    }

    /// Writes a value; says whether it is one that stays as a member.
    fn value(&mut self, array: &'a ArrayRef, row: usize, unknown: Unknown<'a>) -> Result<bool> {
        if array.is_null(row) {
            return match unknown {
                Some((node, row)) => self.unknown(node, row),
                None => Ok(false),
            };
        }
        match array.data_type() {
            ArrowType::Struct(_) => {
                let rest = unknown.and_then(|(node, row)| match node.get(row) {
                    Some(Value::Object(objects)) => Some((objects, row)),
                    _ => None,
                });
                return self.object(Some((array.as_struct(), row)), rest);
            }
            ArrowType::LargeList(_) => {
                let lists = array.as_list::<i64>();
                let offsets = &lists.value_offsets()[row..=row + 1];
                let elements = offsets[0] as usize..offsets[1] as usize;
                let rest = match unknown.and_then(|(node, row)| node.get(row)) {
                    Some(Value::List(_, rest)) if rest.len() != elements.len() => {
                        return self.fail("the list has another length than in '_unknown'");
                    }
                    Some(Value::List(child, rest)) => Some((child, rest.start)),
                    _ => None,
                };
                self.out.push(b'[');
                for (position, element) in elements.enumerate() {
                    if position > 0 {
                        self.out.push(b',');
                    }
                    let unknown = rest.map(|(child, start)| (child, start + position));
                    self.element(lists.values(), element, unknown)?;
                }
                self.out.push(b']');
            }
            ArrowType::Float32 => {
                let value = value::<arrow_array::types::Float32Type>(array, row);
                self.float(value.is_finite(), serde_json::to_string(&value))?;
            }
            ArrowType::Float64 => {
                let value = value::<arrow_array::types::Float64Type>(array, row);
                self.float(value.is_finite(), serde_json::to_string(&value))?;
            }
            ArrowType::Utf8View => {
                json::write_string(&mut self.out, array.as_string_view().value(row));
            }
            ArrowType::Boolean => self.print(array.as_boolean().value(row)),
            ArrowType::Int8 => self.print(value::<arrow_array::types::Int8Type>(array, row)),
            ArrowType::Int16 => self.print(value::<arrow_array::types::Int16Type>(array, row)),
            ArrowType::Int32 => self.print(value::<arrow_array::types::Int32Type>(array, row)),
            ArrowType::Int64 => self.print(value::<arrow_array::types::Int64Type>(array, row)),
            ArrowType::UInt8 => self.print(value::<arrow_array::types::UInt8Type>(array, row)),
            ArrowType::UInt16 => self.print(value::<arrow_array::types::UInt16Type>(array, row)),
            ArrowType::UInt32 => self.print(value::<arrow_array::types::UInt32Type>(array, row)),
            ArrowType::UInt64 => self.print(value::<arrow_array::types::UInt64Type>(array, row)),
            ArrowType::Decimal128(..) => {
                let decimals: &PrimitiveArray<arrow_array::types::Decimal128Type> =
                    array.as_primitive();
                self.print(decimals.value_as_string(row));
            }
            ArrowType::Date32 => {
                let days = value::<arrow_array::types::Date32Type>(array, row);
                self.quote(&temporal::format_date(days.into()));
            }
            ArrowType::Time64(TimeUnit::Nanosecond) => {
                let time = value::<arrow_array::types::Time64NanosecondType>(array, row);
                self.quote(&temporal::format_time(time));
            }
            ArrowType::Timestamp(unit, zone) => {
                let (parts, per_second) = match unit {
                    TimeUnit::Millisecond => (
                        value::<arrow_array::types::TimestampMillisecondType>(array, row),
                        1_000,
                    ),
                    TimeUnit::Microsecond => (
                        value::<arrow_array::types::TimestampMicrosecondType>(array, row),
                        1_000_000,
                    ),
                    _ => (
                        value::<arrow_array::types::TimestampNanosecondType>(array, row),
                        1_000_000_000,
                    ),
                };
                let zulu = if zone.is_some() { "Z" } else { "" };
                self.quote(&(temporal::format_datetime(parts, per_second) + zulu));
            }
            other => return self.fail(&format!("{other} cannot be written")),
        }
        Ok(true)
    }

    /// Writes an element of a list, which keeps its place whatever it is.
    fn element(&mut self, array: &'a ArrayRef, row: usize, unknown: Unknown<'a>) -> Result<()> {
        let before = self.out.len();
        self.value(array, row, unknown)?;
        if self.out.len() == before {
            self.out.extend_from_slice(b"null");
        }
        Ok(())
    }

    /// Writes a value of `_unknown` alone; says whether it is one that stays as a member.
    fn unknown(&mut self, node: &'a Node, row: usize) -> Result<bool> {
        match node.get(row) {
            None => return Ok(false),
            Some(Value::Object(objects)) => return self.object(None, Some((objects, row))),
            Some(Value::List(child, range)) => {
                self.out.push(b'[');
                for (position, element) in range.enumerate() {
                    if position > 0 {
                        self.out.push(b',');
                    }
                    let before = self.out.len();
                    self.unknown(child, element)?;
                    if self.out.len() == before {
                        self.out.extend_from_slice(b"null");
                    }
                }
                self.out.push(b']');
            }
            Some(_) => json::write(&mut self.out, node, row),
        }
        Ok(true)
    }

    fn float(&mut self, finite: bool, text: serde_json::Result<String>) -> Result<()> {
        match text {
            Ok(text) if finite => {
                self.out.extend_from_slice(text.as_bytes());
                Ok(())
            }
            _ => self.fail("JSON has neither NaN nor infinity"),
        }
    }

    fn print(&mut self, value: impl Display) {
        // Writing to memory does not fail.
        let _ = write!(self.out, "{value}");
    }

    fn quote(&mut self, text: &str) {
        self.print(format_args!("\"{text}\""));
    }

    fn fail<T>(&self, why: &str) -> Result<T> {
        Err(Error::Json(format!(
            "field '{}': {why}",
            self.path.join(".")
        )))
    }
}

fn value<T: ArrowPrimitiveType>(array: &ArrayRef, row: usize) -> T::Native {
    array.as_primitive::<T>().value(row)
}
