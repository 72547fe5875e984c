//! A posted body as the ODS gives it back: without server fields and unknown members, references with
//! links, and every other value with the very digits that were sent.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use super::definitions::{Definitions, is_reference};
use super::store::{Tables, digest_of, id_text};

/// Rewrites bodies of one district.
pub(super) struct Rewriter<'a> {
    pub(super) definitions: &'a Definitions,
    pub(super) district: &'a str,
    pub(super) links: bool,
    /// Whether members that a schema does not have are kept; an ODS drops them without a word.
    pub(super) keeps_unknown: bool,
    /// Where links lead to.
    pub(super) tables: &'a Tables,
}

impl Rewriter<'_> {
    /// The text between the braces of the body that is stored for this posted one.
    pub(super) fn members(&self, endpoint: &str, body: &str) -> Result<String, serde_json::Error> {
        let schema = self.definitions.schema(endpoint).unwrap_or(&Value::Null);
        let mut out = String::with_capacity(body.len() + 256);
        for (name, value) in members_of(body)? {
            if matches!(name.as_str(), "id" | "_etag" | "_lastModifiedDate") {
                continue;
            }
            self.member(schema, &name, value, &mut out)?;
        }
        Ok(out)
    }

    fn member(
        &self,
        schema: &Value,
        name: &str,
        value: &RawValue,
        out: &mut String,
    ) -> Result<(), serde_json::Error> {
        let members = &schema["properties"];
        if !self.keeps_unknown && members.is_object() && members[name].is_null() && name != "_ext" {
            return Ok(());
        }
        if !out.is_empty() && !out.ends_with('{') {
            out.push(',');
        }
        out.push_str(&Value::from(name).to_string());
        out.push(':');
        self.value(&members[name], is_reference(name), value.get(), out)
    }

    fn value(
        &self,
        schema: &Value,
        is_reference: bool,
        text: &str,
        out: &mut String,
    ) -> Result<(), serde_json::Error> {
        let inner = self.definitions.resolve(schema);
        match text.as_bytes().first() {
            Some(b'{') => {
                out.push('{');
                for (name, value) in members_of(text)? {
                    if !(is_reference && name == "link") {
                        self.member(inner, &name, value, out)?;
                    }
                }
                if is_reference && self.links {
                    self.link(schema, text, out)?;
                }
                out.push('}');
            }
            Some(b'[') => {
                let list: Vec<&RawValue> = serde_json::from_str(text)?;
                out.push('[');
                for (index, value) in list.into_iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    self.value(&inner["items"], false, value.get(), out)?;
                }
                out.push(']');
            }
            _ => out.push_str(text),
        }
        Ok(())
    }

    fn link(&self, schema: &Value, text: &str, out: &mut String) -> Result<(), serde_json::Error> {
        let body = serde_json::from_str(text)?;
        if let Some(reference) = self.definitions.reference(schema, &body) {
            let found = reference.targets.iter().find_map(|target| {
                let key = digest_of(self.district, target, &reference.key);
                let record = self.tables.get(target)?.by_key(key)?;
                Some((target, record.id))
            });
            let Some((target, id)) = found else {
                return Ok(());
            };
            let (rel, id) = (self.definitions.item_name(target), id_text(id));
            let comma = if out.ends_with('{') { "" } else { "," };
            let link = format!(r#"{comma}"link":{{"rel":"{rel}","href":"/{target}/{id}"}}"#);
            out.push_str(&link);
        }
        Ok(())
    }
}

/// The members of an object in the order in which they stand in the text.
fn members_of(text: &str) -> Result<Vec<(String, &RawValue)>, serde_json::Error> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
    let mut members: Vec<_> = members.into_iter().collect();
    // All values are parts of one text: their addresses tell their order.
    members.sort_by_key(|(_, value)| value.get().as_ptr());
    Ok(members)
}
