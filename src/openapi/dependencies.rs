//! The document of dependencies: in which order the resources of an ODS can be written.

use std::collections::HashMap;

use serde_json::Value;

const CREATE: &str = "Create";
const UPDATE: &str = "Update";
/// How older documents name the second entry of people.
const RETRY: &str = "#Retry";

/// One entry of the document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Dependency {
    /// Entries of one order may be written side by side.
    pub(crate) order: i32,
    pub(crate) endpoint: Box<str>,
    pub(crate) operations: Vec<Box<str>>,
}

/// The document, sorted by order and endpoint.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dependencies(Vec<Dependency>);

/// When a resource is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) create: i32,
    /// Where what exists may be written again later only: people, after their associations.
    pub(crate) update: Option<i32>,
}

impl Dependencies {
    /// Reads an answer; the error says what it is not.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, String> {
        let entries: Value =
            serde_json::from_slice(body).map_err(|error| format!("not JSON: {error}"))?;
        let entries = entries.as_array().ok_or("not a JSON list of resources")?;
        let entries = entries.iter().map(entry);
        let mut entries = entries.collect::<Result<Vec<_>, String>>()?;
        entries.sort();
        Ok(Self(entries))
    }

    pub(crate) fn entries(&self) -> &[Dependency] {
        &self.0
    }

    /// When each resource is written, by its endpoint in small letters: ODSs take any. An order in
    /// which something would have to be before itself is an error.
    pub(crate) fn levels(&self) -> Result<HashMap<String, Level>, String> {
        let mut created: HashMap<String, i32> = HashMap::new();
        let mut updated: HashMap<String, i32> = HashMap::new();
        for entry in &self.0 {
            let endpoint = entry.endpoint.to_lowercase();
            let does = |operation: &str| {
                let mut operations = entry.operations.iter();
                operations.any(|one| one.eq_ignore_ascii_case(operation))
            };
            let (creates, updates) = (does(CREATE), does(UPDATE));
            for (found, is_meant) in [
                (&mut created, creates || !updates),
                (&mut updated, updates || !creates),
            ] {
                if is_meant
                    && let Some(before) = found.insert(endpoint.clone(), entry.order)
                    && before != entry.order
                {
                    return Err(format!(
                        "a circle: {} is written at {before} and at {}",
                        entry.endpoint, entry.order
                    ));
                }
            }
        }
        let mut levels = HashMap::new();
        for entry in &self.0 {
            let endpoint = entry.endpoint.to_lowercase();
            let update = updated.get(&endpoint).copied();
            let create = created.get(&endpoint).copied().or(update);
            let Some(create) = create else { continue };
            if update.is_some_and(|update| update < create) {
                return Err(format!(
                    "a circle: {} is updated before it is created",
                    entry.endpoint
                ));
            }
            let update = update.filter(|update| *update > create);
            levels.insert(endpoint, Level { create, update });
        }
        Ok(levels)
    }
}

fn entry(value: &Value) -> Result<Dependency, String> {
    let resource = value["resource"].as_str().unwrap_or_default();
    let (resource, is_retry) = match resource.strip_suffix(RETRY) {
        Some(person) => (person, true),
        None => (resource, false),
    };
    let endpoint = resource.trim_matches('/');
    if endpoint.is_empty() {
        return Err("an entry has no resource".to_owned());
    }
    let order = value["order"].as_i64();
    let order = order.and_then(|order| i32::try_from(order).ok());
    let order = order.ok_or_else(|| format!("{endpoint} has no order that is a whole number"))?;
    let listed = value["operations"].as_array().into_iter().flatten();
    let operations: Vec<Box<str>> = listed
        .filter_map(|one| one.as_str().map(Into::into))
        .collect();
    Ok(Dependency {
        order,
        endpoint: endpoint.into(),
        operations: match is_retry && operations.is_empty() {
            true => vec![UPDATE.into()],
            false => operations,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(text: &str) -> Result<HashMap<String, Level>, String> {
        Dependencies::parse(text.as_bytes())?.levels()
    }

    #[test]
    fn people_stand_in_it_twice_and_the_order_is_ours() {
        let text = r#"[
            {"resource": "/ed-fi/students", "order": 9, "operations": ["Update"]},
            {"resource": "/ed-fi/schools", "order": 4, "operations": ["Create", "Update"]},
            {"resource": "/ed-fi/students", "order": 2, "operations": ["Create"]},
            {"resource": "/tpdm/candidates#Retry", "order": 7},
            {"resource": "/tpdm/candidates", "order": 3, "operations": []}
        ]"#;
        let document = Dependencies::parse(text.as_bytes()).unwrap();
        let orders: Vec<i32> = document.entries().iter().map(|entry| entry.order).collect();
        assert_eq!(orders, [2, 3, 4, 7, 9]);
        let found = levels(text.replace(", \"operations\": []", "").as_str());
        assert!(found.unwrap_err().contains("tpdm/candidates"));
        let text = text.replace("[]", "[\"Create\"]");
        let found = levels(&text).unwrap();
        let level = |create, update| Level { create, update };
        assert_eq!(found["ed-fi/students"], level(2, Some(9)));
        assert_eq!(found["ed-fi/schools"], level(4, None));
        assert_eq!(found["tpdm/candidates"], level(3, Some(7)));
    }

    #[test]
    fn what_cannot_be_an_order_is_refused() {
        for (text, wrong) in [
            ("<html>", "not JSON"),
            ("{}", "not a JSON list"),
            (r#"[{"order": 1}]"#, "has no resource"),
            (
                r#"[{"resource": "/a/b", "order": "x"}]"#,
                "a/b has no order",
            ),
            (
                r#"[{"resource": "/a/b", "order": 1}, {"resource": "/a/b", "order": 2}]"#,
                "a circle",
            ),
            (
                r#"[{"resource": "/a/bs", "order": 1}, {"resource": "A/Bs/", "order": 2}]"#,
                "a circle",
            ),
            (
                r#"[{"resource": "/a/b", "order": 3, "operations": ["Create"]},
                    {"resource": "a/B", "order": 2, "operations": ["Update"]}]"#,
                "a circle",
            ),
            (
                r#"[{"resource": "/a/b", "order": 3, "operations": ["Create"]},
                    {"resource": "/a/b", "order": 2, "operations": ["Update"]}]"#,
                "a circle",
            ),
        ] {
            let error = levels(text).unwrap_err();
            assert!(error.contains(wrong), "{text}: {error}");
        }
    }
}
