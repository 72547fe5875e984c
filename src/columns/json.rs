//! Values of a page as canonical JSON: compact, keys in their order, numbers as short as they are
//! exact.

use std::io::Write;

use arrow_array::StringViewArray;

use super::page::{Node, Objects, Page, Value};
use super::text::TextBuilder;

impl Page {
    /// Appends a record as JSON: compact, its keys as they came.
    pub(crate) fn write_json(&self, row: usize, out: &mut Vec<u8>) {
        write_object(out, &self.root, row);
    }
}

/// Appends the value of a row, null if there is none.
pub(super) fn write(out: &mut Vec<u8>, node: &Node, row: usize) {
    match node.get(row) {
        None => out.extend_from_slice(b"null"),
        Some(Value::Boolean(true)) => out.extend_from_slice(b"true"),
        Some(Value::Boolean(false)) => out.extend_from_slice(b"false"),
        Some(Value::Integer(value)) => append(write!(out, "{value}")),
        Some(Value::Float(value)) => match node.exact(row) {
            Some(digits) => out.extend_from_slice(digits.as_bytes()),
            None => append(serde_json::to_writer(out, &value)),
        },
        Some(Value::Number(text)) => out.extend_from_slice(text.as_bytes()),
        Some(Value::String(text)) => write_string(out, text),
        Some(Value::Object(objects)) => write_object(out, objects, row),
        Some(Value::List(child, range)) => {
            out.push(b'[');
            for (position, element) in range.enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                write(out, child, element);
            }
            out.push(b']');
        }
    }
}

/// Appends the object of a row.
pub(super) fn write_object(out: &mut Vec<u8>, objects: &Objects, row: usize) {
    out.push(b'{');
    for (position, field) in objects.fields(row).into_iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write_string(out, objects.names.get(field));
        out.push(b':');
        write(out, &objects.children[field], row);
    }
    out.push(b'}');
}

/// Appends a JSON string.
pub(super) fn write_string(out: &mut Vec<u8>, text: &str) {
    append(serde_json::to_writer(out, text));
}

/// The values as text: strings as they are, everything else as JSON.
pub(super) fn texts(node: Option<&Node>, rows: usize) -> StringViewArray {
    let mut texts = TextBuilder::default();
    if let Some(node) = node.filter(|node| !node.values.is_empty()) {
        let mut json = Vec::new();
        for row in 0..rows {
            match node.get(row) {
                None => {}
                Some(Value::String(text) | Value::Number(text)) => texts.push(row, text),
                Some(_) => {
                    json.clear();
                    write(&mut json, node, row);
                    texts.push(row, std::str::from_utf8(&json).unwrap_or_default());
                }
            }
        }
    }
    texts.finish(rows)
}

/// Writing to memory does not fail.
fn append<E: std::fmt::Debug>(result: Result<(), E>) {
    debug_assert!(result.is_ok(), "{result:?}");
}
