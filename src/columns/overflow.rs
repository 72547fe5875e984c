//! What a declared schema has no place for: which values these are, and one JSON object of them.

use super::json;
use super::page::{Node, Objects, Value};

/// Which values of a node are left over.
#[derive(Debug, Default)]
pub(super) struct Overflow {
    /// The rows whose whole value is left over.
    rows: Vec<bool>,
    /// The fields of its objects of which something is left over.
    fields: Option<FieldOverflow>,
    /// The same for the elements of its lists.
    elements: Option<Box<Overflow>>,
}

/// What is left over of the fields of objects.
#[derive(Debug)]
pub(super) struct FieldOverflow(Vec<Field>);

#[derive(Debug)]
enum Field {
    /// The schema does not know the property.
    Unknown,
    Known(Overflow),
}

impl Overflow {
    /// The value of a row is left over.
    pub(super) fn mark(&mut self, row: usize, rows: usize) {
        self.rows.resize(rows, false);
        self.rows[row] = true;
    }

    /// The values of these rows are not left over after all.
    pub(super) fn unmark(&mut self, rows: impl Fn(usize) -> bool) {
        for (row, left) in self.rows.iter_mut().enumerate() {
            *left = *left && !rows(row);
        }
        if !self.rows.contains(&true) {
            self.rows.clear();
        }
    }

    pub(super) fn set_elements(&mut self, overflow: Self) {
        self.elements = (!overflow.is_empty()).then(|| Box::new(overflow));
    }

    pub(super) fn set_fields(&mut self, fields: FieldOverflow) {
        self.fields = (!fields.is_empty()).then_some(fields);
    }

    /// Whether everything fits.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.fields.is_none() && self.elements.is_none()
    }

    /// Adds the names that lead to a value that did not fit; says whether there is one.
    fn find_misfit<'a>(&self, node: &'a Node, path: &mut Vec<&'a str>) -> bool {
        let in_fields = |path: &mut _| match (&self.fields, node.objects()) {
            (Some(fields), Some(objects)) => fields.find_misfit(objects, path),
            _ => false,
        };
        let in_elements = |path: &mut _| match (&self.elements, node.lists()) {
            (Some(elements), Some(lists)) => elements.find_misfit(&lists.child, path),
            _ => false,
        };
        !self.rows.is_empty() || in_fields(path) || in_elements(path)
    }

    /// Appends what is left over in a row; says whether there is anything.
    fn write(&self, out: &mut Vec<u8>, node: &Node, row: usize) -> bool {
        let Some(value) = node.get(row) else {
            return false;
        };
        if self.rows.get(row) == Some(&true) {
            json::write(out, node, row);
            return true;
        }
        match (value, &self.fields, &self.elements) {
            (Value::Object(objects), Some(fields), _) => fields.write(out, objects, row),
            (Value::List(child, range), _, Some(elements)) => {
                let start = out.len();
                let mut any = false;
                let mut next = b'[';
                for element in range {
                    out.push(next);
                    next = b',';
                    let written = elements.write(out, child, element);
                    if !written {
                        out.extend_from_slice(b"null");
                    }
                    any |= written;
                }
                out.push(b']');
                if !any {
                    out.truncate(start);
                }
                any
            }
            _ => false,
        }
    }
}

impl FieldOverflow {
    /// All fields are unknown until they are set.
    pub(super) fn new(objects: Option<&Objects>) -> Self {
        let fields = objects.map_or(0, |objects| objects.children.len());
        Self((0..fields).map(|_| Field::Unknown).collect())
    }

    /// The schema knows the field at this position.
    pub(super) fn set(&mut self, position: usize, overflow: Overflow) {
        self.0[position] = Field::Known(overflow);
    }

    /// Whether everything fits.
    pub(super) fn is_empty(&self) -> bool {
        let mut fields = self.0.iter();
        fields.all(|field| matches!(field, Field::Known(overflow) if overflow.is_empty()))
    }

    /// The path to a value that did not fit, if there is one; unknown properties are none.
    pub(super) fn misfit<'a>(&self, objects: &'a Objects) -> Option<Vec<&'a str>> {
        let mut path = Vec::new();
        self.find_misfit(objects, &mut path).then_some(path)
    }

    fn find_misfit<'a>(&self, objects: &'a Objects, path: &mut Vec<&'a str>) -> bool {
        self.0.iter().enumerate().any(|(position, field)| {
            let Field::Known(overflow) = field else {
                return false;
            };
            path.push(objects.names.get(position));
            let found = overflow.find_misfit(&objects.children[position], path);
            if !found {
                path.pop();
            }
            found
        })
    }

    /// Appends an object of what is left over in the object of a row; says whether there is
    /// anything.
    pub(super) fn write(&self, out: &mut Vec<u8>, objects: &Objects, row: usize) -> bool {
        let start = out.len();
        let mut next = b'{';
        for field in objects.fields(row) {
            let before = out.len();
            let node = &objects.children[field];
            let overflow = match &self.0[field] {
                Field::Known(overflow) if overflow.is_empty() => continue,
                // A null is as good as no property.
                Field::Unknown if node.get(row).is_none() => continue,
                overflow => overflow,
            };
            out.push(next);
            json::write_string(out, objects.names.get(field));
            out.push(b':');
            let written = match overflow {
                Field::Known(overflow) => overflow.write(out, node, row),
                Field::Unknown => {
                    json::write(out, node, row);
                    true
                }
            };
            if written {
                next = b',';
            } else {
                out.truncate(before);
            }
        }
        if out.len() == start {
            return false;
        }
        out.push(b'}');
        true
    }
}
