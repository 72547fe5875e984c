//! Casts of JSON values to declared dtypes: exact or not at all, what does not fit is left over.

use std::sync::Arc;

use arrow_array::types::ArrowPrimitiveType;
use arrow_array::{
    Array, ArrayRef, BooleanArray, Decimal128Array, NullArray, PrimitiveArray, StringViewArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
};
use arrow_buffer::{BooleanBufferBuilder, NullBuffer, OffsetBuffer};
use arrow_schema as arrow_types;
use polars::prelude::{CategoricalMapping, DataType, TimeUnit};

use super::arrays::{list_array, struct_array};
use super::number::{EXACT, EXACT_SINGLE};
use super::overflow::{FieldOverflow, Overflow};
use super::page::{Node, Value, Values};
use super::text::TextBuilder;
use super::types::Type;
use super::{decimal, json, temporal};
use crate::openapi::Kind;

/// How values become a declared dtype, and so which of them fit.
#[derive(Debug, Clone)]
pub(super) enum Cast {
    Null,
    Boolean,
    Int8,
    Int16,
    Int32,
    Int64,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    Float32,
    Float64,
    /// Strings only.
    String,
    /// Strings as they are, lists and objects as JSON.
    Json,
    /// Strings as they are, all other values as JSON.
    Any,
    /// One of the categories of an Enum.
    Enum(Arc<CategoricalMapping>),
    /// A category that is there, or one that there is room for.
    Categorical(Arc<CategoricalMapping>),
    Date,
    /// Decimals beyond the unit are cut off: ODSs on .NET write seven.
    Datetime(TimeUnit, Option<Arc<str>>),
    Time,
    Decimal(usize, usize),
    List(Box<Cast>),
    Struct(Vec<(Box<str>, Cast)>),
}

impl Cast {
    /// The cast to a dtype; `None` for a dtype that no JSON value has.
    pub(super) fn new(dtype: &DataType) -> Option<Self> {
        Some(match dtype {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Boolean,
            DataType::Int8 => Self::Int8,
            DataType::Int16 => Self::Int16,
            DataType::Int32 => Self::Int32,
            DataType::Int64 => Self::Int64,
            DataType::UInt8 => Self::UInt8,
            DataType::UInt16 => Self::UInt16,
            DataType::UInt32 => Self::UInt32,
            DataType::UInt64 => Self::UInt64,
            DataType::Float32 => Self::Float32,
            DataType::Float64 => Self::Float64,
            DataType::String => Self::Json,
            DataType::Categorical(_, categories) => Self::Categorical(categories.clone()),
            DataType::Enum(_, categories) => Self::Enum(categories.clone()),
            DataType::Date => Self::Date,
            DataType::Datetime(unit, zone) => {
                Self::Datetime(*unit, zone.as_ref().map(|zone| Arc::from(zone.as_str())))
            }
            DataType::Time => Self::Time,
            DataType::Decimal(precision, scale) => Self::Decimal(*precision, *scale),
            DataType::List(inner) => Self::List(Box::new(Self::new(inner)?)),
            DataType::Struct(fields) => {
                let fields = fields
                    .iter()
                    .map(|field| Some((field.name().as_str().into(), Self::new(field.dtype())?)));
                Self::Struct(fields.collect::<Option<_>>()?)
            }
            _ => return None,
        })
    }

    /// The cast to the type that a document tells.
    pub(super) fn of_kind(kind: &Kind) -> Self {
        match kind {
            Kind::Boolean => Self::Boolean,
            Kind::Int32 => Self::Int32,
            Kind::Int64 => Self::Int64,
            Kind::Float64 => Self::Float64,
            Kind::String => Self::String,
            Kind::Date => Self::Date,
            Kind::Datetime => Self::Datetime(TimeUnit::Microseconds, Some("UTC".into())),
            Kind::Text => Self::Any,
            Kind::List(inner) => Self::List(Box::new(Self::of_kind(inner))),
            Kind::Struct(record) => {
                let fields = record.fields().iter();
                Self::Struct(
                    fields
                        .map(|(name, kind)| (name.clone(), Self::of_kind(kind)))
                        .collect(),
                )
            }
        }
    }

    /// The cast to an inferred type.
    pub(super) fn of_type(dtype: &Type) -> Self {
        match dtype {
            Type::Null => Self::Null,
            Type::Boolean => Self::Boolean,
            Type::Integer => Self::Int64,
            Type::Float => Self::Float64,
            Type::String => Self::Any,
            Type::List(element) => Self::List(Box::new(Self::of_type(element))),
            Type::Struct(fields) => Self::Struct(
                fields
                    .iter()
                    .map(|(name, dtype)| (name.clone(), Self::of_type(dtype)))
                    .collect(),
            ),
        }
    }

    /// Leaves out objects, which are to go elsewhere.
    pub(super) fn refuse_objects(&mut self) {
        if matches!(self, Self::Json) {
            *self = Self::String;
        }
    }

    /// The values of a node that fit, the others null, and which these are.
    pub(super) fn array(&self, node: Option<&Node>, rows: usize) -> (ArrayRef, Overflow) {
        let values: &[Values] = node.map_or(&[], |node| &node.values);
        let column = Column { node, rows };
        match (self, values) {
            // What fits as it is, is shared.
            (Self::Boolean, [Values::Booleans(array)]) => {
                (Arc::new(array.clone()), Overflow::default())
            }
            (Self::Int64, [Values::Integers(array)]) => {
                (Arc::new(array.clone()), Overflow::default())
            }
            (Self::Float64, [Values::Floats(array)]) => {
                (Arc::new(array.clone()), Overflow::default())
            }
            (Self::String | Self::Json | Self::Any, [Values::Strings(array)]) => {
                (Arc::new(array.clone()), Overflow::default())
            }
            (Self::Null, _) => {
                let mut overflow = Overflow::default();
                column.each(&mut overflow, |_, _| None::<()>);
                (Arc::new(NullArray::new(rows)), overflow)
            }
            (Self::Boolean, _) => column.booleans(),
            (Self::Int8, _) => column.integers::<arrow_array::types::Int8Type>(),
            (Self::Int16, _) => column.integers::<arrow_array::types::Int16Type>(),
            (Self::Int32, _) => column.integers::<arrow_array::types::Int32Type>(),
            (Self::Int64, _) => column.integers::<arrow_array::types::Int64Type>(),
            (Self::UInt8, _) => column.integers::<arrow_array::types::UInt8Type>(),
            (Self::UInt16, _) => column.integers::<arrow_array::types::UInt16Type>(),
            (Self::UInt32, _) => column.integers::<arrow_array::types::UInt32Type>(),
            (Self::UInt64, _) => column.integers::<arrow_array::types::UInt64Type>(),
            (Self::Float32, _) => boxed(column.primitives::<arrow_array::types::Float32Type>(
                |value, _| {
                    let float = float(&value, EXACT_SINGLE)? as f32;
                    float.is_finite().then_some(float)
                },
            )),
            (Self::Float64, _) => boxed(
                column
                    .primitives::<arrow_array::types::Float64Type>(|value, _| float(&value, EXACT)),
            ),
            (Self::String, _) => column.strings(|_| true),
            (Self::Json, _) => column.json(),
            (Self::Any, _) => (Arc::new(json::texts(node, rows)), Overflow::default()),
            (Self::Enum(categories), _) => {
                column.strings(|text| categories.get_cat(text).is_some())
            }
            (Self::Categorical(categories), _) => {
                column.strings(|text| categories.insert_cat(text).is_ok())
            }
            (Self::Date, _) => boxed(column.primitives::<arrow_array::types::Date32Type>(
                |value, _| temporal::date(string(&value)?),
            )),
            (Self::Time, _) => boxed(
                column.primitives::<arrow_array::types::Time64NanosecondType>(|value, _| {
                    temporal::time(string(&value)?)
                }),
            ),
            (Self::Datetime(unit, zone), _) => column.datetimes(*unit, zone.clone()),
            (Self::Decimal(precision, scale), _) => column.decimals(*precision, *scale),
            (Self::List(inner), values) => column.lists(inner, values),
            (Self::Struct(fields), values) => column.structs(fields, values),
        }
    }
}

fn boxed<A: Array + 'static>((array, overflow): (A, Overflow)) -> (ArrayRef, Overflow) {
    (Arc::new(array), overflow)
}

fn string<'a>(value: &Value<'a>) -> Option<&'a str> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// A number, if it is no integer beyond `exact`.
fn float(value: &Value<'_>, exact: u64) -> Option<f64> {
    match *value {
        Value::Float(value) => Some(value),
        Value::Integer(value) => (value.unsigned_abs() <= exact).then_some(value as f64),
        _ => None,
    }
}

/// The rows of a node on their way into an array.
struct Column<'a> {
    node: Option<&'a Node>,
    rows: usize,
}

impl<'a> Column<'a> {
    /// Gives each value to `take`; what it does not take is left over.
    fn each<T>(
        &self,
        overflow: &mut Overflow,
        mut take: impl FnMut(Value<'a>, usize) -> Option<T>,
    ) {
        let Some(node) = self.node.filter(|node| !node.values.is_empty()) else {
            return;
        };
        for row in 0..self.rows {
            if let Some(value) = node.get(row)
                && take(value, row).is_none()
            {
                overflow.mark(row, self.rows);
            }
        }
    }

    fn primitives<T: ArrowPrimitiveType>(
        &self,
        convert: impl Fn(Value<'a>, usize) -> Option<T::Native>,
    ) -> (PrimitiveArray<T>, Overflow) {
        let mut overflow = Overflow::default();
        if self.node.is_none_or(|node| node.values.is_empty()) {
            return (PrimitiveArray::new_null(self.rows), overflow);
        }
        let mut values = vec![T::Native::default(); self.rows];
        let mut valid = BooleanBufferBuilder::new(self.rows);
        valid.append_n(self.rows, false);
        self.each(&mut overflow, |value, row| {
            let value = convert(value, row)?;
            values[row] = value;
            valid.set_bit(row, true);
            Some(())
        });
        let nulls = NullBuffer::new(valid.finish());
        let nulls = (nulls.null_count() > 0).then_some(nulls);
        (PrimitiveArray::new(values.into(), nulls), overflow)
    }

    fn integers<T: ArrowPrimitiveType>(&self) -> (ArrayRef, Overflow)
    where
        T::Native: TryFrom<i64> + std::str::FromStr,
    {
        if let Some([Values::Integers(integers)]) = self.node.map(|node| &node.values[..])
            && let Ok(array) =
                integers.try_unary::<_, T, ()>(|value| value.try_into().map_err(drop))
        {
            return (Arc::new(array), Overflow::default());
        }
        boxed(self.primitives::<T>(|value, _| match value {
            Value::Integer(value) => value.try_into().ok(),
            // Beyond 64 bits with a sign, perhaps not beyond 64 bits without.
            Value::Number(text) => text.parse().ok(),
            _ => None,
        }))
    }

    fn booleans(&self) -> (ArrayRef, Overflow) {
        let mut overflow = Overflow::default();
        let mut values = vec![None; self.rows];
        self.each(&mut overflow, |value, row| match value {
            Value::Boolean(value) => {
                values[row] = Some(value);
                Some(())
            }
            _ => None,
        });
        (Arc::new(BooleanArray::from(values)), overflow)
    }

    fn strings(&self, fits: impl Fn(&str) -> bool) -> (ArrayRef, Overflow) {
        let mut overflow = Overflow::default();
        let mut texts = TextBuilder::default();
        self.each(&mut overflow, |value, row| {
            let text = string(&value).filter(|text| fits(text))?;
            texts.push(row, text);
            Some(())
        });
        let array: StringViewArray = texts.finish(self.rows);
        (Arc::new(array), overflow)
    }

    fn json(&self) -> (ArrayRef, Overflow) {
        let mut overflow = Overflow::default();
        let mut texts = TextBuilder::default();
        let mut json = Vec::new();
        self.each(&mut overflow, |value, row| {
            match (value, self.node) {
                (Value::String(text), _) => texts.push(row, text),
                (Value::List(..) | Value::Object(_), Some(node)) => {
                    json.clear();
                    json::write(&mut json, node, row);
                    texts.push(row, std::str::from_utf8(&json).unwrap_or_default());
                }
                _ => return None,
            }
            Some(())
        });
        (Arc::new(texts.finish(self.rows)), overflow)
    }

    fn datetimes(&self, unit: TimeUnit, zone: Option<Arc<str>>) -> (ArrayRef, Overflow) {
        let parse = |per_second| {
            move |value: Value<'a>, _: usize| temporal::datetime(string(&value)?, per_second)
        };
        match unit {
            TimeUnit::Milliseconds => {
                let (array, overflow): (TimestampMillisecondArray, _) =
                    self.primitives(parse(1_000));
                (Arc::new(array.with_timezone_opt(zone)), overflow)
            }
            TimeUnit::Microseconds => {
                let (array, overflow): (TimestampMicrosecondArray, _) =
                    self.primitives(parse(1_000_000));
                (Arc::new(array.with_timezone_opt(zone)), overflow)
            }
            TimeUnit::Nanoseconds => {
                let (array, overflow): (TimestampNanosecondArray, _) =
                    self.primitives(parse(1_000_000_000));
                (Arc::new(array.with_timezone_opt(zone)), overflow)
            }
        }
    }

    fn decimals(&self, precision: usize, scale: usize) -> (ArrayRef, Overflow) {
        let (array, overflow): (Decimal128Array, _) = self.primitives(|value, row| {
            let text = match value {
                Value::Integer(value) => value.to_string(),
                Value::Float(value) => match self.node.and_then(|node| node.exact(row)) {
                    Some(digits) => digits.to_owned(),
                    None => value.to_string(),
                },
                Value::Number(text) | Value::String(text) => text.to_owned(),
                _ => return None,
            };
            decimal::parse(&text, precision, scale)
        });
        let dtype = arrow_types::DataType::Decimal128(precision as u8, scale as i8);
        (Arc::new(array.with_data_type(dtype)), overflow)
    }

    fn lists(&self, inner: &Cast, values: &[Values]) -> (ArrayRef, Overflow) {
        let mut overflow = Overflow::default();
        let lists = self.node.and_then(Node::lists);
        if values.len() > usize::from(lists.is_some()) {
            self.each(&mut overflow, |value, _| {
                matches!(value, Value::List(..)).then_some(())
            });
        }
        let (offsets, nulls, (array, within)) = match lists {
            Some(lists) => (
                lists.offsets.clone(),
                lists.nulls.clone(),
                inner.array(Some(&lists.child), lists.elements()),
            ),
            None => (
                OffsetBuffer::new_zeroed(self.rows),
                Some(NullBuffer::new_null(self.rows)),
                inner.array(None, 0),
            ),
        };
        overflow.set_elements(within);
        (Arc::new(list_array(offsets, array, nulls)), overflow)
    }

    fn structs(&self, fields: &[(Box<str>, Cast)], values: &[Values]) -> (ArrayRef, Overflow) {
        let mut overflow = Overflow::default();
        let objects = self.node.and_then(Node::objects);
        if values.len() > usize::from(objects.is_some()) {
            self.each(&mut overflow, |value, _| {
                matches!(value, Value::Object(_)).then_some(())
            });
        }
        let mut left_over = FieldOverflow::new(objects);
        let mut arrays = Vec::with_capacity(fields.len());
        for (guess, (name, cast)) in fields.iter().enumerate() {
            let place = objects.and_then(|objects| objects.names.find(name, guess));
            let node = objects
                .zip(place)
                .map(|(objects, place)| &objects.children[place]);
            let (array, within) = cast.array(node, self.rows);
            if let Some(place) = place {
                left_over.set(place, within);
            }
            arrays.push((&**name, array));
        }
        overflow.set_fields(left_over);
        let nulls = match objects {
            Some(objects) => objects.nulls(),
            None => Some(NullBuffer::new_null(self.rows)),
        };
        (
            Arc::new(struct_array(arrays.into_iter(), nulls, self.rows)),
            overflow,
        )
    }
}
