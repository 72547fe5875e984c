//! Descriptor values: which descriptor a member means, and whether a value of it exists.

use serde_json::Value;

use super::definitions::{Definitions, pascal};
use super::store::{Tables, digest_of};

/// The descriptors of a district.
pub(super) struct Descriptors<'a> {
    pub(super) definitions: &'a Definitions,
    /// The district's name.
    pub(super) district: &'a str,
    pub(super) tables: &'a Tables,
}

impl Descriptors<'_> {
    /// Whether the member may have this value. Values of a descriptor that is in no document are not known.
    pub(super) fn exists(&self, member: &str, value: &str) -> bool {
        let Some(endpoint) = self.definitions.descriptor(&pascal(member)) else {
            return true;
        };
        let Some(table) = self.tables.get(endpoint) else {
            return false;
        };
        let Some((namespace, code)) = value.split_once('#') else {
            return false;
        };
        let key = digest_of(
            self.district,
            endpoint,
            &format!("{code}\u{1f}{namespace}\u{1f}"),
        );
        // Databases compare without regard to case.
        table.by_key(key).is_some()
            || table.records().iter().any(|record| {
                let body = record.parse();
                let is = |name: &str, text: &str| {
                    let own = body.get(name).and_then(Value::as_str);
                    own.is_some_and(|own| own.to_lowercase() == text.to_lowercase())
                };
                is("codeValue", code) && is("namespace", namespace)
            })
    }
}
