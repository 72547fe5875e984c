//! Which properties identify the records of a resource.

use std::collections::HashSet;

use serde_json::Value;

use super::resolve::Resolver;

/// The properties that identify a record.
///
/// The flags on the query parameters say which they are; a parameter is a property of the
/// record or of one of its references. Without such parameters the flags on the properties
/// say, also those in references that no record is without.
pub(super) fn key_fields<'a>(
    resolver: Resolver<'a>,
    schema: &'a Value,
    identities: &[&str],
) -> Vec<Box<str>> {
    let members = resolver.members(schema);
    // Path, name as a parameter, whether it is flagged itself.
    let mut found: Vec<(String, String, bool)> = Vec::new();
    for (name, property) in &members.properties {
        let inside = resolver.members(property);
        if inside.properties.is_empty() {
            found.push(((*name).into(), (*name).into(), is_identity(property)));
            continue;
        }
        let needed = members.required.contains(name) || !members.has_required;
        if !name.ends_with("Reference") || !(needed || is_identity(property)) {
            continue;
        }
        let scalars = inside.properties.iter();
        for (key, inner) in
            scalars.filter(|(_, inner)| resolver.members(inner).properties.is_empty())
        {
            let filter = filter_name(name, name_of(property), key);
            found.push((format!("{name}.{key}"), filter, is_identity(inner)));
        }
    }
    if !identities.is_empty() {
        let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
        let mut chosen = HashSet::new();
        for name in identities {
            let by_filter = found
                .iter()
                .position(|(_, f, _)| f.eq_ignore_ascii_case(name));
            let by_key = || {
                let mut places = found.iter();
                places.position(|(path, ..)| last(path).eq_ignore_ascii_case(name))
            };
            chosen.extend(by_filter.or_else(by_key));
        }
        for (place, (.., is_key)) in found.iter_mut().enumerate() {
            *is_key = chosen.contains(&place);
        }
    }
    found.retain(|(.., is_key)| *is_key);
    found.into_iter().map(|(path, ..)| path.into()).collect()
}

/// The name of the schema that a property refers to.
fn name_of(property: &Value) -> &str {
    let direct = property.get("$ref").and_then(Value::as_str);
    let reference = direct.or_else(|| property["allOf"][0]["$ref"].as_str());
    let name = reference.and_then(|text| text.rsplit('/').next());
    name.unwrap_or_default()
}

pub(super) fn is_identity(value: &Value) -> bool {
    value.get("x-Ed-Fi-isIdentity") == Some(&Value::Bool(true))
}

/// `schoolId` in `reportedSchoolReference` is `reportedSchoolId` as a parameter; in
/// `schoolReference` it is `schoolId`.
fn filter_name(property: &str, schema: &str, key: &str) -> String {
    let kind = schema.rsplit('_').next().unwrap_or(schema);
    match property.strip_suffix(&capitalised(kind)) {
        Some(role) if !role.is_empty() => format!("{role}{}", capitalised(key)),
        _ => key.to_owned(),
    }
}

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}
