//! A document as far as it takes to see that it is known already: most districts have the same one.

use std::borrow::Cow;
use std::fmt;

use ring::digest::{Context, SHA256};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::document::Document;

/// What a document says of the ODS that it was asked of, and not of its resources.
const OWN: [&str; 8] = [
    "basePath",
    "externalDocs",
    "host",
    "info",
    "schemes",
    "security",
    "securityDefinitions",
    "servers",
];

/// What of its components is its own as well.
const OWN_COMPONENTS: &str = "securitySchemes";

/// A document that nobody has read yet.
pub(crate) struct Unread<'a> {
    body: &'a [u8],
    digest: [u8; 32],
    data: Option<String>,
}

impl<'a> Unread<'a> {
    /// Looks at the outline of a document; the error says what it is not.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, String> {
        let mut context = Context::new(&SHA256);
        let mut own = Map::new();
        match serde_json::from_slice::<Members<'_>>(body) {
            Ok(members) => {
                for (name, value) in members.0 {
                    match OWN.contains(&&*name) {
                        true => {
                            let value = serde_json::from_str(value.get()).unwrap_or_default();
                            own.insert(name.into_owned(), value);
                        }
                        false => add(&mut context, &name, value),
                    }
                }
            }
            // JSON, but no object.
            Err(error) if error.is_data() => context.update(body),
            Err(error) => return Err(not_json(&error)),
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        Ok(Self {
            body,
            digest,
            data: data_path(&Value::Object(own)),
        })
    }

    /// The path of the data, where the document says it.
    pub(crate) fn data(&self) -> Option<&str> {
        self.data.as_deref()
    }

    /// The same for all ODSs of one release that write it in the same way, wherever they are.
    pub(crate) fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Reads what it says; the error says what it is not.
    pub(crate) fn document(&self) -> Result<Document, String> {
        let mut root: Value =
            serde_json::from_slice(self.body).map_err(|error| not_json(&error))?;
        if let Some(root) = root.as_object_mut() {
            root.retain(|name, _| !OWN.contains(&name.as_str()));
            if let Some(components) = root.get_mut("components").and_then(Value::as_object_mut) {
                components.shift_remove(OWN_COMPONENTS);
            }
        }
        let document = Document::of(&root);
        document.ok_or_else(|| "not an OpenAPI document: it has no paths".to_owned())
    }
}

/// Adds a member of the document to its digest, unambiguously: names and texts by their lengths.
fn add(context: &mut Context, name: &str, value: &RawValue) {
    let components = match name {
        "components" => serde_json::from_str::<Members<'_>>(value.get()).ok(),
        _ => None,
    };
    let mut text = |text: &str| {
        context.update(&(text.len() as u64).to_le_bytes());
        context.update(text.as_bytes());
    };
    text(name);
    let Some(components) = components else {
        return text(value.get());
    };
    for (name, value) in components.0 {
        if name != OWN_COMPONENTS {
            text(&name);
            text(value.get());
        }
    }
    text("");
}

fn not_json(error: &serde_json::Error) -> String {
    format!("not JSON: {error}")
}

/// The path that a document's own paths are below: of its first server in OpenAPI 3. None of a
/// template that nobody filled in.
fn data_path(root: &Value) -> Option<String> {
    let path = match root["servers"][0]["url"].as_str() {
        Some(url) => match url.split_once("://") {
            Some((_, rest)) => &rest[rest.find('/')?..],
            None => url,
        },
        None => root["basePath"].as_str()?,
    };
    let is_plain = path.starts_with('/') && !path.contains(['{', '?', '#']);
    is_plain.then(|| path.trim_end_matches('/').to_owned())
}

/// The members of an object, as they are written.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((name, value)) = map.next_entry::<Cow<'de, str>, &'de RawValue>()? {
            members.push((name, value));
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> [u8; 32] {
        Unread::parse(text.as_bytes()).expect("JSON").digest()
    }

    #[test]
    fn what_an_ods_says_of_itself_makes_no_other_document() {
        let plain = r#"{"paths": {"/a": 1}, "components": {"schemas": {"a": {}}}}"#;
        for same in [
            r#"{"info": {}, "paths": {"/a": 1}, "components": {"schemas": {"a": {}}}}"#,
            r#" {"paths": {"/a": 1}, "host":"b", "components": {"securitySchemes": {}, "schemas": {"a": {}}}} "#,
        ] {
            assert_eq!(digest(plain), digest(same), "{same}");
        }
        let others = [
            r#"{"paths": {"/b": 1}, "components": {"schemas": {"a": {}}}}"#,
            r#"{"paths": {"/a": 1}, "components": {"schemas": {"b": {}}}}"#,
            r#"{"paths": {"/a": 1}, "components": {}, "schemas": {"a": {}}}"#,
            r#"{"paths": {"/a": 1}, "components": {"schemas": {"a": {}}, "info": {}}}"#,
            r#"{"paths": {"/a": 1}, "components": []}"#,
            r#"{"paths": {"/a": 1}}"#,
            r#"{"paths/": {"a": 1}}"#,
            "[]",
            "[1]",
        ];
        let mut digests: Vec<_> = others.iter().map(|text| digest(text)).collect();
        digests.push(digest(plain));
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), others.len() + 1);
    }
}
