//! Changed natural keys: every item that refers to the old one shows the new one.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::commit::{Committer, digests};
use super::definitions::Definitions;
use super::store::{Record, State, digest_of, key_text};

/// A natural key that took the place of another.
pub(super) struct Renamed<'a> {
    pub(super) endpoint: &'a str,
    /// Text of the old key.
    pub(super) old: &'a str,
    pub(super) new: &'a Map<String, Value>,
}

impl Committer<'_> {
    /// Changes the references to an item. As in an ODS, what refers to it gets no new version by that.
    pub(super) fn cascade(&self, state: &mut State, renamed: &Renamed<'_>) {
        let old = digest_of(self.district, renamed.endpoint, renamed.old);
        let endpoints: Vec<String> = state
            .tables
            .keys()
            .filter(|other| self.definitions.may_refer(other, renamed.endpoint))
            .cloned()
            .collect();
        for endpoint in endpoints {
            let records = state.tables[&endpoint].records().iter();
            let referring: Vec<_> = records
                .filter(|record| record.refers_to.contains(&old))
                .cloned()
                .collect();
            for record in referring {
                self.rename_in(state, &endpoint, &record, renamed);
            }
        }
    }

    fn rename_in(&self, state: &mut State, endpoint: &str, record: &Record, renamed: &Renamed<'_>) {
        let definitions = self.definitions;
        let mut body = record.parse();
        if let Some(schema) = definitions.schema(endpoint) {
            rename(definitions, schema, &mut body, renamed);
        }
        let identity = definitions.identity(endpoint, &body);
        let key_text = key_text(identity.values().map(Some));
        let new = Record {
            key: digest_of(self.district, endpoint, &key_text),
            key_text: key_text.into(),
            refers_to: digests(self.district, &definitions.references(endpoint, &body)),
            wire: Bytes::from(Value::from(body).to_string()),
            at: None,
            ..record.clone()
        };
        let is_renamed = new.key != record.key;
        if let Some(table) = state.tables.get_mut(endpoint) {
            table.replace(new);
        }
        if is_renamed {
            self.cascade(
                state,
                &Renamed {
                    endpoint,
                    old: &record.key_text,
                    new: &identity,
                },
            );
        }
    }
}

/// Puts the new key into the references of a body, at any depth.
fn rename(
    definitions: &Definitions,
    schema: &Value,
    body: &mut Map<String, Value>,
    renamed: &Renamed<'_>,
) {
    for (name, value) in body.iter_mut() {
        let schema = &schema["properties"][name];
        match value {
            Value::Object(object) => {
                let means = definitions.reference(schema, object).is_some_and(|one| {
                    one.key == renamed.old && one.targets.iter().any(|to| to == renamed.endpoint)
                });
                if means {
                    for (name, value) in renamed.new {
                        object.insert(name.clone(), value.clone());
                    }
                } else {
                    rename(definitions, definitions.resolve(schema), object, renamed);
                }
            }
            Value::Array(list) => {
                let schema = definitions.resolve(&schema["items"]);
                for object in list.iter_mut().filter_map(Value::as_object_mut) {
                    rename(definitions, schema, object, renamed);
                }
            }
            _ => {}
        }
    }
}
