//! Arrow arrays of lists and structs.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, LargeListArray, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{Field, Fields};

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
        .map(|(name, array)| (Field::new(name, array.data_type().clone(), true), array))
        .unzip();
    if arrays.is_empty() {
        return StructArray::new_empty_fields(rows, nulls);
    }
    StructArray::new(Fields::from(fields), arrays, nulls)
}
