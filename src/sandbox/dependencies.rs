//! The order in which resources can be written.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::definitions::{Definitions, is_descriptor};

/// People, and what must be there before one who exists may be written again.
const PEOPLE: [(&str, &[&str]); 4] = [
    ("ed-fi/contacts", &["ed-fi/studentContactAssociations"]),
    ("ed-fi/parents", &["ed-fi/studentParentAssociations"]),
    (
        "ed-fi/staffs",
        &[
            "ed-fi/staffEducationOrganizationAssignmentAssociations",
            "ed-fi/staffEducationOrganizationEmploymentAssociations",
        ],
    ),
    ("ed-fi/students", &["ed-fi/studentSchoolAssociations"]),
];

/// What an ODS does not list, though it has it.
const UNLISTED: &str = "ed-fi/schoolYearTypes";

/// The associations by which a person comes into reach, as far as they are served; empty for all else.
pub(super) fn associations(definitions: &Definitions, endpoint: &str) -> Vec<&'static str> {
    let found = PEOPLE.iter().find(|(person, _)| *person == endpoint);
    let associations = found.map_or(&[][..], |(_, associations)| associations);
    let served = |one: &&&str| definitions.serves(one);
    associations.iter().filter(served).copied().collect()
}

/// The document of the dependencies: one entry for each resource, two for people, sorted by their order.
pub(super) fn dependencies(definitions: &Definitions) -> Vec<Value> {
    let graph = Graph::new(definitions);
    let mut levels = BTreeMap::new();
    for endpoint in &graph.endpoints {
        graph.level(endpoint, &mut levels);
    }
    let mut entries = Vec::new();
    for (endpoint, order) in &levels {
        let associations = associations(definitions, endpoint);
        let last = associations.iter().filter_map(|one| levels.get(one)).max();
        match last {
            None => entries.push((*order, *endpoint, &["Create", "Update"][..])),
            Some(last) => {
                entries.push((*order, *endpoint, &["Create"]));
                entries.push((last + 1, *endpoint, &["Update"]));
            }
        }
    }
    entries.sort_unstable();
    entries
        .into_iter()
        .map(|(order, endpoint, operations)| {
            json!({"resource": format!("/{endpoint}"), "order": order, "operations": operations})
        })
        .collect()
}

/// Which resource waits for which.
struct Graph<'a> {
    endpoints: Vec<&'a str>,
    edges: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Graph<'a> {
    /// References that items need come first; of the others those that close no circle.
    fn new(definitions: &'a Definitions) -> Self {
        let mut endpoints = definitions.served();
        endpoints.retain(|endpoint| *endpoint != UNLISTED);
        let mut graph = Self {
            endpoints: endpoints.clone(),
            edges: BTreeMap::new(),
        };
        for needed in [true, false] {
            for from in &endpoints {
                for (to, required) in definitions.refers_to(from) {
                    if required == needed && to != UNLISTED {
                        graph.add(from, to);
                    }
                }
            }
        }
        // What refers to a person waits until that person is in reach.
        for (person, _) in PEOPLE {
            for association in associations(definitions, person) {
                for from in &endpoints {
                    if graph.edges.get(from).is_some_and(|to| to.contains(&person)) {
                        graph.add(from, association);
                    }
                }
            }
        }
        graph
    }

    fn add(&mut self, from: &'a str, to: &'a str) {
        if !self.reaches(to, from) {
            let edges = self.edges.entry(from).or_default();
            if !edges.contains(&to) {
                edges.push(to);
            }
        }
    }

    fn reaches(&self, from: &'a str, to: &str) -> bool {
        let mut open = vec![from];
        let mut seen = vec![from];
        while let Some(next) = open.pop() {
            if next == to {
                return true;
            }
            for edge in self.edges.get(next).into_iter().flatten() {
                if !seen.contains(edge) {
                    seen.push(edge);
                    open.push(edge);
                }
            }
        }
        false
    }

    /// Descriptors stand at 1, what needs nothing else at 2.
    fn level(&self, endpoint: &'a str, levels: &mut BTreeMap<&'a str, u32>) -> u32 {
        if let Some(level) = levels.get(endpoint) {
            return *level;
        }
        let level = match is_descriptor(endpoint) {
            true => 1,
            false => {
                let edges = self.edges.get(endpoint).into_iter().flatten();
                let before = edges.map(|to| self.level(to, levels)).max();
                before.unwrap_or(1) + 1
            }
        };
        levels.insert(endpoint, level);
        level
    }
}
