//! One column of an inferred type, from the node of a page.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, NullArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};

use super::arrays::{list_array, struct_array};
use super::json;
use super::page::{Node, Values};
use super::types::Type;

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
        (Type::String, _) => Arc::new(json::texts(node, rows)),
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
