//! Where the parts of a natural key stand in a body.
//!
//! Each query parameter is a property of the body or of one of its references, by this rule of
//! ODSs: in a reference with a role, `assignedSchoolReference.schoolId` is `assignedSchoolId`; else
//! the name of the reference itself may be the role, `programReference.educationOrganizationId` is
//! `programEducationOrganizationId`; else the name is that of the property. Words that the role
//! ends with and the property begins with stand once.

use std::collections::HashSet;

use serde_json::Value;

use super::identity::KeyField;
use super::params::is_control;
use super::record::{Kind, Record};
use super::resolve::{Members, Resolver};

/// What a document says of a property or a parameter that belongs to the key.
const FLAG: &str = "x-Ed-Fi-isIdentity";
const REFERENCE: &str = "Reference";

/// A query parameter of a collection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parameter<'a> {
    pub(super) name: &'a str,
    pub(super) is_identity: bool,
}

/// Whether a property or a parameter is flagged as part of the key.
pub(super) fn is_identity(value: &Value) -> bool {
    value.get(FLAG) == Some(&Value::Bool(true))
}

/// A place in bodies where a part of the key may stand.
pub(super) struct Place<'a> {
    pub(super) path: String,
    /// What it is called as a parameter, the likeliest first.
    names: Vec<String>,
    pub(super) is_required: bool,
    is_flagged: bool,
    pub(super) kind: Option<&'a Kind>,
}

impl Place<'_> {
    /// The parameter that filters by it.
    fn parameter<'p>(&self, params: &'p [Parameter<'p>]) -> Option<&'p Parameter<'p>> {
        let by_name = |name: &String| {
            let mut params = params.iter();
            params.find(|param| param.name.eq_ignore_ascii_case(name))
        };
        self.names.iter().find_map(by_name)
    }
}

/// What can be filtered by: the path of each place, and its parameter. Of places that share one, only
/// those of a key are known to agree. A property named as what a read is controlled by filters nothing.
pub(super) fn filters(places: &[Place<'_>], params: &[Parameter<'_>]) -> Vec<(Box<str>, Box<str>)> {
    let found: Vec<_> = places
        .iter()
        .filter_map(|place| Some((place, place.parameter(params)?)))
        .filter(|(_, param)| !is_control(param.name))
        .collect();
    let is_alone = |name: &str| found.iter().filter(|(_, param)| param.name == name).count() == 1;
    found
        .iter()
        .filter(|(_, param)| param.is_identity || is_alone(param.name))
        .map(|(place, param)| (place.path.as_str().into(), param.name.into()))
        .collect()
}

/// The key by the flagged parameters; `None` where one of them is at no known place.
pub(super) fn by_parameters(
    places: &[Place<'_>],
    params: &[Parameter<'_>],
) -> Option<Vec<KeyField>> {
    let flagged = params.iter().filter(|param| param.is_identity);
    let field = |param: &Parameter<'_>| {
        let is_it = |place: &&Place<'_>| {
            let own = place.parameter(params);
            own.is_some_and(|own| own.name.eq_ignore_ascii_case(param.name))
        };
        KeyField::at(param.name, places.iter().filter(is_it).collect())
    };
    flagged.map(field).collect()
}

/// The key by the flagged properties, where the document flags references as well, as that of a
/// Data Management Service does; a key of flagged scalars alone may lack those in references.
pub(super) fn by_properties(
    places: &[Place<'_>],
    params: &[Parameter<'_>],
) -> Option<Vec<KeyField>> {
    let mut references = places
        .iter()
        .filter(|place| place.path.contains('.'))
        .peekable();
    let is_whole = references.peek().is_none() || references.any(|place| place.is_flagged);
    let mut parts: Vec<(&str, Vec<&Place<'_>>)> = Vec::new();
    for place in places.iter().filter(|place| place.is_flagged && is_whole) {
        // Only a parameter says that two places are one.
        match place.parameter(params).map(|param| param.name) {
            Some(name) => match parts.iter_mut().find(|(known, _)| *known == name) {
                Some((_, merged)) => merged.push(place),
                None => parts.push((name, vec![place])),
            },
            None => parts.push((last(&place.path), vec![place])),
        }
    }
    let fields = parts.into_iter();
    let fields = fields.map(|(name, places)| KeyField::at(name, places));
    fields
        .collect::<Option<Vec<_>>>()
        .filter(|fields| !fields.is_empty())
}

/// Everything in a body that can be part of a key.
pub(super) fn places<'a, 'r>(
    resolver: Resolver<'a>,
    members: &Members<'a>,
    params: &[Parameter<'_>],
    record: Option<&'r Record>,
) -> Vec<Place<'r>> {
    let references: Vec<Reference<'_>> = members
        .properties
        .iter()
        .filter_map(|(name, property)| Reference::of(resolver, name, property))
        .collect();
    let in_full = |reference: &Reference<'_>| -> Vec<String> {
        let keys = reference.keys.iter();
        keys.map(|(key, _)| reference.in_full(key)).collect()
    };
    let with_role = references.iter().filter(|reference| reference.has_role);
    let claimed: HashSet<String> = with_role.flat_map(in_full).collect();
    let is_param = |name: &String| {
        let mut params = params.iter();
        params.any(|param| param.name.eq_ignore_ascii_case(name))
    };
    // What an explicit role claims is not what the name of another reference happens to say, unless
    // that one says more of the kind.
    let shares = |reference: &Reference<'_>| {
        let mut own = in_full(reference).into_iter();
        reference.has_role || own.any(|name| is_param(&name) && !claimed.contains(&name))
    };
    let mut places = Vec::new();
    for (name, property) in &members.properties {
        let is_required = members.required.contains(name);
        let Some(reference) = references.iter().find(|reference| reference.name == *name) else {
            if resolver.members(property).properties.is_empty() {
                places.push(Place {
                    path: (*name).to_owned(),
                    names: vec![name.to_ascii_lowercase()],
                    is_required,
                    is_flagged: is_identity(property),
                    kind: record.and_then(|record| record.at(name)),
                });
            }
            continue;
        };
        let shares = shares(reference);
        for (key, inner) in &reference.keys {
            let path = format!("{name}.{key}");
            places.push(Place {
                kind: record.and_then(|record| record.at(&path)),
                path,
                names: reference.names(key, |full| shares || !claimed.contains(full)),
                is_required,
                is_flagged: is_identity(property) || is_identity(inner),
            });
        }
    }
    places
}

/// A reference of a body.
struct Reference<'a> {
    name: &'a str,
    /// `assigned` of `assignedSchoolReference`; of `schoolReference`, `school`.
    role: &'a str,
    /// Whether the role is more than the name of what is referred to.
    has_role: bool,
    keys: Vec<(&'a str, &'a Value)>,
}

impl<'a> Reference<'a> {
    fn of(resolver: Resolver<'a>, name: &'a str, property: &'a Value) -> Option<Self> {
        let stem = name.strip_suffix(REFERENCE)?;
        let mut keys = resolver.members(property).properties;
        keys.retain(|(_, inner)| resolver.members(inner).properties.is_empty());
        // `edFi_schoolReference`, `EdFi_School_Reference`
        let schema = schema_of(property);
        let kind = schema.split_once('_').map_or(schema, |(_, kind)| kind);
        let kind = kind.replace('_', "");
        let kind = kind.strip_suffix(REFERENCE).unwrap_or_default();
        let role = stem.len().checked_sub(kind.len()).and_then(|at| {
            let (role, rest) = stem.split_at_checked(at)?;
            (!role.is_empty() && !kind.is_empty() && rest.eq_ignore_ascii_case(kind))
                .then_some(role)
        });
        (!keys.is_empty()).then_some(Self {
            name,
            role: role.unwrap_or(stem),
            has_role: role.is_some(),
            keys,
        })
    }

    fn in_full(&self, key: &str) -> String {
        format!("{}{key}", self.role).to_ascii_lowercase()
    }

    /// What a property of the reference is called as a parameter, the likeliest first.
    fn names(&self, key: &str, may_be: impl Fn(&String) -> bool) -> Vec<String> {
        let (full, joined) = (self.in_full(key), joined(self.role, key));
        let mut siblings = self.keys.iter().map(|(sibling, _)| *sibling);
        let is_sibling = siblings.any(|sibling| sibling.eq_ignore_ascii_case(&joined));
        let mut names = Vec::new();
        if joined != full && !is_sibling {
            names.push(joined);
        }
        if may_be(&full) {
            names.insert(0, full);
        }
        names.push(key.to_ascii_lowercase());
        names
    }
}

/// The last name of a path.
pub(super) fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// The name of the schema that a property refers to.
pub(super) fn schema_of(property: &Value) -> &str {
    let direct = property.get("$ref").and_then(Value::as_str);
    let reference = direct.or_else(|| property["allOf"][0]["$ref"].as_str());
    let name = reference.and_then(|text| text.rsplit('/').next());
    name.unwrap_or_default()
}

/// Role and property as one name, where words that both have at the seam stand once:
/// `gradingPeriod` and `periodSequence` are `gradingperiodsequence`.
fn joined(role: &str, key: &str) -> String {
    let words_begin = |text: &str, at: usize| at == 0 || text.as_bytes()[at].is_ascii_uppercase();
    let (role, lower) = (role.to_owned(), key.to_ascii_lowercase());
    for (at, _) in role
        .char_indices()
        .filter(|(at, _)| words_begin(&role, *at))
    {
        let end = role[at..].to_ascii_lowercase();
        let ends_a_word = || key.len() == end.len() || words_begin(key, end.len());
        if lower.starts_with(&end) && ends_a_word() {
            return format!("{}{lower}", role[..at].to_ascii_lowercase());
        }
    }
    format!("{}{lower}", role.to_ascii_lowercase())
}
