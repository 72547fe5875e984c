//! One column of an inferred type, from the node of a page.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, LargeListArray, NullArray,
    StringViewArray, StructArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, Fields};

use super::interop::string_array;
use super::json;
use super::page::{Node, Value, Values};
use super::schema::Type;
use super::text::TextBuilder;

/// The values of a node as an array of `rows` values. The type is one that holds all of them; a
/// page without the path has no node.
pub(super) fn array(node: Option<&Node>, dtype: &Type, rows: usize) -> ArrayRef {
    let values: &[Values] = node.map_or(&[], |node| &node.values);
    match (dtype, values) {
        (Type::Null, _) => Arc::new(NullArray::new(rows)),
        (Type::Boolean, [Values::Booleans(array)]) => Arc::new(array.clone()),
        (Type::Boolean, _) => Arc::new(BooleanArray::new_null(rows)),
        (Type::Integer, [Values::Integers(array)]) => Arc::new(array.clone()),
        (Type::Integer, _) => Arc::new(Int64Array::new_null(rows)),
        (Type::Float, [Values::Floats(array)]) => Arc::new(array.clone()),
        (Type::Float, []) => Arc::new(Float64Array::new_null(rows)),
        (Type::Float, values) => Arc::new(floats(values, rows)),
        (Type::String, [Values::Strings(array) | Values::Numbers(array)]) => {
            Arc::new(array.clone())
        }
        (Type::String, _) => Arc::new(strings(node, rows)),
        (Type::List(element), values) => {
            let (offsets, nulls, array) = match values {
                [Values::Lists(lists)] => (
                    lists.offsets.clone(),
                    lists.nulls.clone(),
                    array(Some(&lists.child), element, lists.elements()),
                ),
                _ => (
                    OffsetBuffer::new_zeroed(rows),
                    Some(NullBuffer::new_null(rows)),
                    array(None, element, 0),
                ),
            };
            Arc::new(list_array(offsets, array, nulls))
        }
        (Type::Struct(fields), values) => {
            let objects = match values {
                [Values::Objects(objects)] => Some(objects),
                _ => None,
            };
            let arrays = fields.iter().enumerate().map(|(guess, (name, dtype))| {
                let node = objects.and_then(|objects| objects.child(name, guess));
                (&**name, array(node, dtype, rows))
            });
            let nulls = match objects {
                Some(objects) => objects.nulls(),
                None => Some(NullBuffer::new_null(rows)),
            };
            Arc::new(struct_array(arrays, nulls, rows))
        }
    }
}

/// Lists whose elements may be null.
pub(super) fn list_array(
    offsets: OffsetBuffer<i64>,
    values: ArrayRef,
    nulls: Option<NullBuffer>,
) -> LargeListArray {
    let field = Field::new("item", values.data_type().clone(), true);
    LargeListArray::new(Arc::new(field), offsets, values, nulls)
}

/// Structs whose fields may be null.
pub(super) fn struct_array<'a>(
    fields: impl Iterator<Item = (&'a str, ArrayRef)>,
    nulls: Option<NullBuffer>,
    rows: usize,
) -> StructArray {
    let (fields, arrays): (Vec<_>, Vec<_>) = fields
        .map(|(name, array)| (field(name, &array), array))
        .unzip();
    if arrays.is_empty() {
        return StructArray::new_empty_fields(rows, nulls);
    }
    StructArray::new(Fields::from(fields), arrays, nulls)
}

fn field(name: &str, array: &ArrayRef) -> Field {
    let dtype: DataType = array.data_type().clone();
    Field::new(name, dtype, true)
}

fn floats(values: &[Values], rows: usize) -> Float64Array {
    let mut floats = vec![None; rows];
    for values in values {
        match values {
            Values::Integers(array) => {
                for (float, value) in floats.iter_mut().zip(array) {
                    *float = value.map(|value| value as f64).or(*float);
                }
            }
            Values::Floats(array) => {
                for (float, value) in floats.iter_mut().zip(array) {
                    *float = value.or(*float);
                }
            }
            _ => {}
        }
    }
    Float64Array::from(floats)
}

/// The values as text: strings as they are, everything else as JSON.
pub(super) fn strings(node: Option<&Node>, rows: usize) -> StringViewArray {
    let mut texts = TextBuilder::default();
    if let Some(node) = node.filter(|node| !node.values.is_empty()) {
        let mut json = Vec::new();
        for row in 0..rows {
            match node.get(row) {
                None => {}
                Some(Value::String(text) | Value::Number(text)) => texts.push(row, text),
                Some(value) => {
                    json.clear();
                    json::write_value(&mut json, value, row);
                    texts.push(row, std::str::from_utf8(&json).unwrap_or_default());
                }
            }
        }
    }
    string_array(texts, rows)
}
