//! Which properties identify the records of a resource, for people to read.

use serde_json::Value;

use super::identity::Identity;
use super::places::is_identity;
use super::resolve::Resolver;

/// The properties that identify a record, in the order of the schema, those of references by their
/// path.
///
/// Where nobody says what the key is, the flags on the properties do, also those in references
/// that no record is without.
pub(super) fn key_fields<'a>(
    resolver: Resolver<'a>,
    schema: &'a Value,
    identity: Option<&Identity>,
) -> Vec<Box<str>> {
    let members = resolver.members(schema);
    let is_key = |path: &str, flagged: bool| match identity {
        Some(identity) => {
            let mut fields = identity.fields().iter();
            fields.any(|field| *field.paths[0] == *path)
        }
        None => flagged,
    };
    let mut found: Vec<Box<str>> = Vec::new();
    for (name, property) in &members.properties {
        let inside = resolver.members(property);
        if inside.properties.is_empty() {
            found.extend(is_key(name, is_identity(property)).then(|| (*name).into()));
            continue;
        }
        let needed = members.required.contains(name) || !members.has_required;
        let flagged = name.ends_with("Reference") && (needed || is_identity(property));
        for (key, inner) in &inside.properties {
            let path = format!("{name}.{key}");
            if is_key(&path, flagged && is_identity(inner)) {
                found.push(path.into());
            }
        }
    }
    found
}
