//! Query parameters checked against those that a document lists: a server ignores what it does not
//! know, and returns everything.

use super::document::Resource;
use super::record::Kind;
use crate::nearest::distance;

/// What an ODS takes everywhere, whether or not its document says so.
const ALWAYS: [&str; 13] = [
    "fields",
    "id",
    "limit",
    "maxChangeVersion",
    "minChangeVersion",
    "number",
    "offset",
    "pageSize",
    "pageToken",
    "q",
    "snapshotIdentifier",
    "totalCount",
    "useSnapshot",
];
/// How many names an error proposes.
const PROPOSED: usize = 3;
/// So many letters more than the nearest name has wrong, and a name is not proposed beside it.
const ABOUT: usize = 3;

/// Whether a parameter says how to read, not what.
pub(super) fn is_control(name: &str) -> bool {
    let mut control = ALWAYS.iter().filter(|known| **known != "id");
    control.any(|known| known.eq_ignore_ascii_case(name))
}

/// What is wrong with the names of parameters, if anything: which one the resource does not
/// have, and the names most like it.
pub(crate) fn unknown_param(resource: &Resource, params: &[(String, String)]) -> Option<String> {
    let known = known(resource);
    let wrong = params.iter().map(|(name, _)| name).find(|name| {
        let mut names = known.iter().chain(&ALWAYS);
        !names.any(|known| known.eq_ignore_ascii_case(name))
    })?;
    let lower = wrong.to_lowercase();
    let mut near: Vec<(usize, &str)> = known
        .iter()
        .map(|name| (distance(&lower, &name.to_lowercase()), *name))
        .collect();
    near.sort();
    let best = near.first().map_or(0, |(distance, _)| *distance);
    let near: Vec<String> = near
        .iter()
        .take_while(|(distance, _)| *distance <= best + ABOUT)
        .take(PROPOSED)
        .map(|(_, name)| format!("{name:?}"))
        .collect();
    let proposal = match &near[..] {
        [] => String::new(),
        [name] => format!("; the nearest name is {name}"),
        names => format!("; the nearest names are {}", names.join(", ")),
    };
    Some(format!(
        "params: {wrong:?} is no query parameter of {}, so the server would ignore it and return \
         everything{proposal}",
        resource.endpoint
    ))
}

/// The filters of a resource. Older documents list none for descriptors; then the values that
/// each record has are the filters.
fn known(resource: &Resource) -> Vec<&str> {
    let is_filter = |name: &&str| !ALWAYS.iter().any(|own| own.eq_ignore_ascii_case(name));
    let listed = resource.params.iter().map(AsRef::as_ref);
    let listed: Vec<&str> = listed.filter(is_filter).collect();
    if !listed.is_empty() {
        return listed;
    }
    let fields = resource.record.iter().flat_map(|record| record.fields());
    let scalars = fields.filter(|(_, kind)| !matches!(kind, Kind::List(_) | Kind::Struct(_)));
    let names = scalars.map(|(name, _)| name.as_ref());
    names
        .filter(|name| !name.starts_with('_') && is_filter(name))
        .collect()
}
