//! All documents of one ODS together: where the references and descriptors of a payload lead.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::json::{Json, member};
use super::walk::Walk;
use crate::openapi::{Document, Identity, Kind, Resource};

/// What schools, districts and the like have beside a number for a key.
const ORGANIZATION_NAME: &str = "nameOfInstitution";

/// The documents of one ODS.
pub(crate) struct Model {
    documents: Vec<Arc<Document>>,
    /// By endpoint in lower case: which resource of which document.
    resources: HashMap<String, (usize, usize)>,
    targets: Vec<Target>,
    /// By the schema of what is referred to.
    references: HashMap<String, usize>,
    /// By the name of a property that names a descriptor: which it may be, the likeliest first.
    descriptors: HashMap<Box<str>, Vec<usize>>,
}

/// Something that payloads refer to: a resource, the kinds of an abstract one, or a descriptor.
#[derive(Debug)]
pub(crate) struct Target {
    /// What it is called in messages.
    pub(crate) name: String,
    /// The resources that may have the item.
    pub(crate) endpoints: Vec<String>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) is_descriptor: bool,
    /// What the parts of the key are called in a reference, in the order of the identity's fields;
    /// for the number of an organization whatever the reference calls it.
    names: Option<Vec<Box<str>>>,
}

impl Target {
    /// The values of a reference's key as they are written; `None` where a part is missing, which
    /// is a matter of the schema.
    pub(crate) fn values<'j>(
        &self,
        members: &'j [(Cow<'_, str>, Json<'_>)],
    ) -> Option<Vec<Cow<'j, str>>> {
        match &self.names {
            Some(names) => {
                let values = names.iter().map(|name| member(members, name)?.text());
                values.collect()
            }
            None => {
                let mut own = members.iter().filter(|(name, _)| name != "link");
                Some(vec![own.find_map(|(_, value)| value.text())?])
            }
        }
    }
}

impl Model {
    pub(crate) fn new(documents: Vec<Arc<Document>>) -> Self {
        let mut model = Self {
            resources: HashMap::new(),
            targets: Vec::new(),
            references: HashMap::new(),
            descriptors: HashMap::new(),
            documents,
        };
        for (document, resources) in model.documents.iter().map(|d| d.resources()).enumerate() {
            for (place, resource) in resources.iter().enumerate() {
                let endpoint = resource.endpoint.to_ascii_lowercase();
                model.resources.entry(endpoint).or_insert((document, place));
            }
        }
        model.find_references();
        model.find_descriptors();
        model
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Resource>> {
        let all = self.documents.iter().enumerate();
        all.flat_map(|(document, d)| d.resources().iter().enumerate().map(move |r| (document, r)))
            .filter(|(document, (place, resource))| {
                let endpoint = resource.endpoint.to_ascii_lowercase();
                self.resources.get(&endpoint) == Some(&(*document, *place))
            })
            .map(|(_, (_, resource))| resource)
    }

    /// The resource of an endpoint, and how its payloads are walked through.
    pub(crate) fn resource(&self, endpoint: &str) -> Option<(&Arc<Resource>, Walk<'_>)> {
        let (document, place) = *self.resources.get(&endpoint.to_ascii_lowercase())?;
        let document = &self.documents[document];
        let resource = &document.resources()[place];
        Some((resource, Walk::new(document.schemas(), resource.body?)))
    }

    pub(crate) fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// What a reference to an item of this schema means.
    pub(crate) fn reference(&self, schema: &str) -> Option<usize> {
        self.references.get(schema).copied()
    }

    /// The descriptor that a value of a property names.
    ///
    /// `evaluationElementRatingLevelDescriptor` may be one of that name, or a rating level in a
    /// role: the value itself says which.
    pub(crate) fn descriptor(&self, property: &str, value: &str) -> Option<usize> {
        let candidates = self.descriptors.get(property)?;
        let kind = value.split('#').next()?.rsplit('/').next()?;
        let is_it = |candidate: &&usize| self.targets[**candidate].name.eq_ignore_ascii_case(kind);
        let named = candidates.iter().find(is_it);
        named.or_else(|| candidates.first()).copied()
    }

    fn find_references(&mut self) {
        let mut found: HashMap<String, Target> = HashMap::new();
        for (schema, names) in self.referenced() {
            if let Some(target) = self.target(&schema, &names) {
                found.insert(schema, target);
            }
        }
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort_by(|one, two| one.0.cmp(&two.0));
        for (schema, target) in found {
            self.references.insert(schema, self.targets.len());
            self.targets.push(target);
        }
    }

    /// The schemas that references lead to, and what these call the parts of the key.
    fn referenced(&self) -> HashMap<String, BTreeSet<Box<str>>> {
        let mut all: HashMap<String, BTreeSet<Box<str>>> = HashMap::new();
        for document in &self.documents {
            for (schema, names) in document.schemas().references() {
                let own = all.entry(schema.to_owned()).or_default();
                own.extend(names.filter(|name| *name != "link").map(Into::into));
            }
        }
        all
    }

    fn target(&self, schema: &str, names: &BTreeSet<Box<str>>) -> Option<Target> {
        let lower = |name: &str| name.to_ascii_lowercase();
        let wanted: BTreeSet<String> = names.iter().map(|name| lower(name)).collect();
        let with_key = || self.all().filter(|one| !one.is_descriptor());
        let params = |resource: &Resource| -> BTreeSet<String> {
            let fields = resource
                .identity
                .iter()
                .flat_map(|identity| identity.fields());
            fields.map(|field| lower(&field.param)).collect()
        };
        let mut concrete: Vec<&Arc<Resource>> = with_key()
            .filter(|one| one.schema.as_deref() == Some(schema))
            .collect();
        let mut is_number = false;
        if concrete.is_empty() {
            concrete = with_key().filter(|one| params(one) == wanted).collect();
        }
        if concrete.is_empty() && wanted.len() == 1 {
            is_number = true;
            concrete = with_key().filter(|one| is_organization(one)).collect();
        }
        let identity = concrete.first()?.identity.clone()?;
        let name_of = |param: &str| {
            let mut names = names.iter();
            names.find(|name| name.eq_ignore_ascii_case(param)).cloned()
        };
        let names = match is_number {
            true => None,
            false => {
                let fields = identity.fields().iter();
                Some(
                    fields
                        .map(|field| name_of(&field.param))
                        .collect::<Option<_>>()?,
                )
            }
        };
        Some(Target {
            name: match &concrete[..] {
                [one] => one.endpoint.to_string(),
                _ => format!("any of {}", endpoints(&concrete).join(", ")),
            },
            endpoints: endpoints(&concrete),
            identity,
            is_descriptor: false,
            names,
        })
    }

    fn find_descriptors(&mut self) {
        // `GradeLevelDescriptor`, and where its values are.
        let mut known: Vec<(String, String)> = self
            .all()
            .filter(|one| one.is_descriptor())
            .filter_map(|one| {
                let name = one.endpoint.rsplit('/').next()?.strip_suffix(['s', 'S'])?;
                Some((pascal(name), one.endpoint.to_string()))
            })
            .collect();
        known.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        let properties: BTreeSet<Box<str>> = self
            .documents
            .iter()
            .flat_map(|document| document.schemas().descriptors())
            .map(Into::into)
            .collect();
        let mut places: HashMap<String, usize> = HashMap::new();
        for property in properties {
            let full = pascal(&property);
            let fitting = known
                .iter()
                .filter(|(name, _)| full.ends_with(name.as_str()));
            let fitting = fitting.map(|(name, endpoint)| {
                *places.entry(endpoint.clone()).or_insert_with(|| {
                    self.targets.push(Target {
                        name: name.clone(),
                        endpoints: vec![endpoint.clone()],
                        identity: Arc::new(Identity::of_descriptor()),
                        is_descriptor: true,
                        names: None,
                    });
                    self.targets.len() - 1
                })
            });
            let fitting = fitting.collect();
            self.descriptors.insert(property, fitting);
        }
    }
}

fn endpoints(resources: &[&Arc<Resource>]) -> Vec<String> {
    let endpoints = resources.iter().map(|one| one.endpoint.to_string());
    endpoints.collect()
}

/// Schools, districts and the like: a name, and one number for a key.
fn is_organization(resource: &Resource) -> bool {
    let (Some(identity), Some(record)) = (&resource.identity, &resource.record) else {
        return false;
    };
    let [field] = identity.fields() else {
        return false;
    };
    let is_number = matches!(record.at(&field.paths[0]), Some(Kind::Int32 | Kind::Int64));
    is_number && record.at(ORGANIZATION_NAME).is_some()
}

fn pascal(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::openapi::Unread;

    #[test]
    fn references_and_descriptors_of_real_documents_lead_somewhere() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/openapi");
        if !folder.is_dir() {
            println!("skipped: there is no folder ../shared/data beside the project");
            return;
        }
        let read = |name: &str| {
            let text = std::fs::read(folder.join(name)).expect("a file");
            Arc::new(
                Unread::parse(&text)
                    .expect("JSON")
                    .document()
                    .expect("a document"),
            )
        };
        let descriptors = read("descriptor-api-5.0.json");
        for name in [
            "resources-ds-5.0.json",
            "resources-ds-6.0.json",
            "swagger2-ods-5.3-resources-ds3.3-tpdm.json",
        ] {
            let model = Model::new(vec![read(name), descriptors.clone()]);
            let all = model.referenced();
            let lost: Vec<&String> = all
                .keys()
                .filter(|schema| model.reference(schema).is_none())
                .collect();
            assert!(lost.is_empty(), "{name}: {lost:?}");
            for (schema, many) in [
                ("edfieducationorganization", true),
                ("edfischool", false),
                ("edfigeneralstudentprogramassociation", true),
            ] {
                let target = &model.targets()[model.reference(schema).expect("a target")];
                assert_eq!(
                    target.endpoints.len() > 1,
                    many,
                    "{name} {schema} {target:?}"
                );
            }
            let value = "uri://ed-fi.org/GradeLevelDescriptor#First grade";
            let grade = model.descriptor("entryGradeLevelDescriptor", value);
            let grade = &model.targets()[grade.expect("a descriptor")];
            assert_eq!(grade.endpoints, ["ed-fi/gradeLevelDescriptors"]);
            for resource in model.all() {
                let (_, walk) = model.resource(&resource.endpoint).expect("a body");
                let empty = Json::Object(Vec::new());
                assert!(walk.changes(&empty, &empty).is_empty());
            }
        }
    }
}
