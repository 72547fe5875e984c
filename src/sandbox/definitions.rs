//! What the sandbox knows of resources: their natural keys, schemas and references.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::store::key_text;
use crate::{Error, Result};

/// The natural keys of the Data Standard's resources.
const NATURAL_KEYS: &str = include_str!("natural_keys.txt");

/// Members of the natural key of any descriptor.
const DESCRIPTOR_KEY: [&str; 2] = ["codeValue", "namespace"];

/// One resource, such as `ed-fi/students`.
struct Definition {
    /// Members of the natural key, sorted; those inside references by their names as filters.
    key: Vec<String>,
    /// Name of its schema, if there is one.
    schema: Option<String>,
    /// Whether a PUT may change the natural key.
    updatable: bool,
}

/// All resources that the sandbox knows.
pub(super) struct Definitions {
    schemas: Map<String, Value>,
    resources: HashMap<String, Definition>,
    /// By the name of a schema, the endpoints whose items it can mean: one, or the kinds of an abstract one.
    endpoints_of: HashMap<String, Vec<String>>,
    /// The descriptors that are served, the longest names first: what items are called, and endpoints.
    descriptors: Vec<(String, String)>,
}

/// The abstract resource that schools, districts and the like are kinds of.
const ORGANIZATION: &str = "edFi_educationOrganization";

/// A reference inside a body.
pub(super) struct Reference {
    /// What it refers to: `Student`.
    pub(super) item: String,
    /// The endpoints that may have the item.
    pub(super) targets: Vec<String>,
    /// The natural key of the item, as text.
    pub(super) key: String,
}

impl Definitions {
    /// The natural keys of the Data Standard, and what these OpenAPI 3 documents define.
    pub(super) fn new<'a>(documents: impl Iterator<Item = &'a Value>) -> Result<Self> {
        let mut known = Self {
            schemas: Map::new(),
            resources: HashMap::new(),
            endpoints_of: HashMap::new(),
            descriptors: Vec::new(),
        };
        for (name, updatable, key) in natural_keys() {
            let definition = Definition {
                key,
                schema: None,
                updatable,
            };
            known.resources.insert(format!("ed-fi/{name}"), definition);
        }
        for document in documents {
            known.read(document)?;
        }
        let kinds = known.organizations();
        known.endpoints_of.insert(ORGANIZATION.to_owned(), kinds);
        let served = known.served().into_iter();
        let descriptors = served.filter(|endpoint| is_descriptor(endpoint));
        let named = descriptors.map(|endpoint| (known.item_name(endpoint), endpoint.to_owned()));
        let mut named: Vec<_> = named.collect();
        named.sort_by_key(|(_, endpoint)| std::cmp::Reverse(endpoint.len()));
        known.descriptors = named;
        Ok(known)
    }

    /// The natural key of one of the Data Standard's resources; empty for others.
    pub(super) fn natural_key(resource: &str) -> Vec<String> {
        let found = natural_keys().find(|(name, ..)| *name == resource);
        found.map(|(.., key)| key).unwrap_or_default()
    }

    fn read(&mut self, document: &Value) -> Result<()> {
        let (Some(paths), Some(schemas)) = (
            document["paths"].as_object(),
            document["components"]["schemas"].as_object(),
        ) else {
            let text = "an OpenAPI 3 document with `paths` and `components.schemas` is needed";
            return Err(Error::Config(text.to_owned()));
        };
        self.schemas.extend(
            schemas
                .iter()
                .map(|(name, schema)| (name.clone(), schema.clone())),
        );
        for (path, item) in paths {
            let endpoint = path.trim_matches('/');
            let content = &item["get"]["responses"]["200"]["content"]["application/json"];
            let Some(schema) = referenced(&content["schema"]["items"]) else {
                continue;
            };
            if endpoint.split('/').count() != 2 {
                continue;
            }
            let parameters = item["get"]["parameters"].as_array().into_iter().flatten();
            let key = parameters
                .filter(|parameter| parameter["x-Ed-Fi-isIdentity"] == true)
                .filter_map(|parameter| parameter["name"].as_str())
                .map(str::to_owned);
            let mut key = sorted(key);
            if key.is_empty() && is_descriptor(endpoint) {
                key = DESCRIPTOR_KEY.map(str::to_owned).to_vec();
            }
            let before = self
                .resources
                .get(endpoint)
                .is_some_and(|known| known.updatable);
            let put = &paths.get(&format!("{path}/{{id}}")).unwrap_or(&Value::Null)["put"];
            let definition = Definition {
                key,
                schema: Some(schema.to_owned()),
                updatable: before || put["x-Ed-Fi-isUpdatable"] == true,
            };
            self.resources.insert(endpoint.to_owned(), definition);
            self.endpoints_of
                .insert(schema.to_owned(), vec![endpoint.to_owned()]);
        }
        Ok(())
    }

    /// Schools, districts and the like: they have a name and one number for a key.
    fn organizations(&self) -> Vec<String> {
        let is_one = |(endpoint, known): &(&String, &Definition)| {
            known.key.len() == 1
                && self
                    .schema(endpoint)
                    .is_some_and(|schema| schema["properties"]["nameOfInstitution"].is_object())
        };
        let kinds = self.resources.iter().filter(is_one);
        sorted(kinds.map(|(endpoint, _)| endpoint.clone()))
    }

    /// The resources that stand in the documents, sorted.
    pub(super) fn served(&self) -> Vec<&str> {
        let resources = self.resources.iter();
        let mut served: Vec<_> = resources
            .filter(|(_, known)| known.schema.is_some())
            .map(|(endpoint, _)| endpoint.as_str())
            .collect();
        served.sort_unstable();
        served
    }

    /// `ed-fi/gradeLevelDescriptors` for `WhenAssessedGradeLevelDescriptor`.
    pub(super) fn descriptor(&self, member: &str) -> Option<&str> {
        let mut descriptors = self.descriptors.iter();
        let found = descriptors.find(|(name, _)| member.ends_with(name.as_str()));
        found.map(|(_, endpoint)| endpoint.as_str())
    }

    /// Whether the resource stands in a document.
    pub(super) fn serves(&self, endpoint: &str) -> bool {
        self.schema(endpoint).is_some()
    }

    /// Whether the resource is one of the Data Standard or stands in a document.
    pub(super) fn knows(&self, endpoint: &str) -> bool {
        self.resources.contains_key(endpoint)
            || (endpoint.starts_with("ed-fi/") && is_descriptor(endpoint))
    }

    /// Whether a PUT may change the natural key of this resource's items.
    pub(super) fn updatable(&self, endpoint: &str) -> bool {
        self.resources
            .get(endpoint)
            .is_some_and(|known| known.updatable)
    }

    /// The schema of the resource.
    pub(super) fn schema(&self, endpoint: &str) -> Option<&Value> {
        let name = self.resources.get(endpoint)?.schema.as_ref()?;
        self.schemas.get(name)
    }

    /// The schema itself, or the one that its `$ref` names.
    pub(super) fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        referenced(schema)
            .and_then(|name| self.schemas.get(name))
            .unwrap_or(schema)
    }

    /// Whether a member of the resource, or of one of its references, goes by this name.
    pub(super) fn has_member(&self, endpoint: &str, name: &str) -> bool {
        if let Some(known) = self.resources.get(endpoint)
            && known.key.iter().any(|key| key.eq_ignore_ascii_case(name))
        {
            return true;
        }
        let Some(members) = self
            .schema(endpoint)
            .and_then(|schema| schema["properties"].as_object())
        else {
            return false;
        };
        members.iter().any(|(member, schema)| {
            let inner = self.resolve(schema);
            match inner["type"].as_str() {
                Some("object") if is_reference(member) => inner["properties"]
                    .as_object()
                    .is_some_and(|keys| keys.keys().any(|key| means(name, member, key))),
                Some("object" | "array") => false,
                _ => member.eq_ignore_ascii_case(name),
            }
        })
    }

    /// The natural key of a body: names and values.
    ///
    /// A resource that is known by no definition is identified by all its references, and by its
    /// members that are called `…Identifier`, `…UniqueId`, `codeValue` or `namespace`; where it has none
    /// of these, by all its members.
    pub(super) fn identity(&self, endpoint: &str, body: &Map<String, Value>) -> Map<String, Value> {
        if let Some(known) = self.resources.get(endpoint) {
            let value = |name: &String| lookup(body, name).cloned().unwrap_or(Value::Null);
            return known
                .key
                .iter()
                .map(|name| (name.clone(), value(name)))
                .collect();
        }
        if is_descriptor(endpoint) {
            let value = |name: &str| body.get(name).cloned().unwrap_or(Value::Null);
            return DESCRIPTOR_KEY
                .iter()
                .map(|name| ((*name).to_owned(), value(name)))
                .collect();
        }
        let mut key = Map::new();
        for (name, value) in body {
            if is_reference(name) {
                let members = value.as_object().into_iter().flatten();
                for (member, value) in members.filter(|(member, _)| *member != "link") {
                    key.insert(format!("{name}.{member}"), value.clone());
                }
            } else if name.ends_with("Identifier")
                || name.ends_with("UniqueId")
                || DESCRIPTOR_KEY.contains(&name.as_str())
            {
                key.insert(name.clone(), value.clone());
            }
        }
        if key.is_empty() {
            key = body.clone();
        }
        key.sort_keys();
        key
    }

    /// The references of a body, at any depth, to resources that have a schema.
    pub(super) fn references(&self, endpoint: &str, body: &Map<String, Value>) -> Vec<Reference> {
        let mut found = Vec::new();
        if let Some(schema) = self.schema(endpoint) {
            self.collect(schema, body, &mut found);
        }
        found
    }

    fn collect(&self, schema: &Value, body: &Map<String, Value>, found: &mut Vec<Reference>) {
        let Some(members) = schema["properties"].as_object() else {
            return;
        };
        for (name, value) in body {
            let Some(schema) = members.get(name) else {
                continue;
            };
            if let Some(object) = value.as_object() {
                match self.reference(schema, object) {
                    Some(reference) => found.push(reference),
                    None => self.collect(self.resolve(schema), object, found),
                }
            } else if let Some(list) = value.as_array() {
                let schema = self.resolve(&schema["items"]);
                for object in list.iter().filter_map(Value::as_object) {
                    self.collect(schema, object, found);
                }
            }
        }
    }

    /// What an object with this schema refers to, if it is a reference to a resource with a schema.
    pub(super) fn reference(&self, schema: &Value, body: &Map<String, Value>) -> Option<Reference> {
        let (item, targets) = self.targets(schema)?;
        let key = match item {
            ORGANIZATION => key_text([body.get("educationOrganizationId")].into_iter()),
            _ => {
                let names = &self.resources.get(targets.first()?)?.key;
                key_text(names.iter().map(|name| body.get(name)))
            }
        };
        Some(Reference {
            item: pascal(item.split_once('_').map_or(item, |(_, name)| name)),
            targets: targets.to_vec(),
            key,
        })
    }

    /// The schema that a reference with this schema leads to, and the endpoints of its items.
    fn targets(&self, schema: &Value) -> Option<(&str, &[String])> {
        let item = referenced(schema)?.strip_suffix("Reference")?;
        let (item, targets) = self.endpoints_of.get_key_value(item)?;
        Some((item, targets))
    }

    /// Whether items of `endpoint` can refer to items of `target`.
    pub(super) fn may_refer(&self, endpoint: &str, target: &str) -> bool {
        let found = self.refers_to(endpoint);
        found.iter().any(|(other, _)| *other == target)
    }

    /// The endpoints that items of `endpoint` can refer to at any depth, and whether each item has to.
    pub(super) fn refers_to(&self, endpoint: &str) -> Vec<(&str, bool)> {
        let known = self.resources.get(endpoint);
        let Some(name) = known.and_then(|known| known.schema.as_deref()) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        let mut seen = vec![name];
        let mut next = 0;
        while let Some(schema) = seen.get(next).and_then(|name| self.schemas.get(*name)) {
            let is_root = next == 0;
            next += 1;
            for (member, inner) in schema["properties"].as_object().into_iter().flatten() {
                if let Some((_, targets)) = self.targets(inner) {
                    let mut required = schema["required"].as_array().into_iter().flatten();
                    let required = is_root && required.any(|name| name == member);
                    found.extend(targets.iter().map(|target| (target.as_str(), required)));
                }
                let inner = referenced(inner).or_else(|| referenced(&inner["items"]));
                if let Some(name) = inner.filter(|name| !seen.contains(name)) {
                    seen.push(name);
                }
            }
        }
        found
    }

    /// What one item of the resource is called in messages and links: `StudentAssessment`.
    pub(super) fn item_name(&self, endpoint: &str) -> String {
        let schema = self
            .resources
            .get(endpoint)
            .and_then(|known| known.schema.as_deref());
        let resource = endpoint.rsplit('/').next().unwrap_or(endpoint);
        let name = match schema.and_then(|name| name.split_once('_')) {
            Some((_, name)) => name.to_owned(),
            None => match resource.strip_suffix("ies") {
                Some(stem) => format!("{stem}y"),
                None => resource.strip_suffix('s').unwrap_or(resource).to_owned(),
            },
        };
        pascal(&name)
    }
}

/// The Data Standard's resources: name, whether the key may change, members of the key.
fn natural_keys() -> impl Iterator<Item = (&'static str, bool, Vec<String>)> {
    NATURAL_KEYS
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next()?;
            Some((
                name.trim_start_matches('~'),
                name.starts_with('~'),
                sorted(words.map(str::to_owned)),
            ))
        })
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

/// The value that a filter or a member of a natural key means in this body.
pub(super) fn lookup<'a>(body: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let scalar = |value: &&Value| !value.is_object() && !value.is_array();
    let own = body
        .iter()
        .find(|(member, _)| member.eq_ignore_ascii_case(name));
    if let Some(value) = own.map(|(_, value)| value).filter(scalar) {
        return Some(value);
    }
    let mut found = None;
    for (member, value) in body.iter().filter(|(member, _)| is_reference(member)) {
        for (key, value) in value.as_object().into_iter().flatten() {
            if value.is_object() || !means(name, member, key) {
                continue;
            }
            // `educationOrganizationId` is rather that of `educationOrganizationReference`
            // than that of another reference which has it, too.
            if stem(member).is_some_and(|stem| starts_with(name, stem)) {
                return Some(value);
            }
            found = found.or(Some(value));
        }
    }
    found
}

/// Whether the filter `name` means the member `key` of `reference`: by that name itself, or with the
/// reference's role before it (`sourceLearningStandardId` in `sourceLearningStandardReference`).
fn means(name: &str, reference: &str, key: &str) -> bool {
    if name.eq_ignore_ascii_case(key) {
        return key != "link";
    }
    let Some(at) = name
        .len()
        .checked_sub(key.len())
        .filter(|at| name.is_char_boundary(*at))
    else {
        return false;
    };
    let (role, rest) = name.split_at(at);
    rest.eq_ignore_ascii_case(key) && !role.is_empty() && starts_with(reference, role)
}

fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

fn stem(reference: &str) -> Option<&str> {
    reference.strip_suffix("Reference")
}

/// Whether a member is a reference, by its name.
pub(super) fn is_reference(member: &str) -> bool {
    member.ends_with("Reference")
}

/// Whether the endpoint is one of descriptors.
pub(super) fn is_descriptor(endpoint: &str) -> bool {
    endpoint.ends_with("Descriptors")
}

fn referenced(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.rsplit('/').next()
}

/// `studentReference` as `StudentReference`.
pub(super) fn pascal(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().collect::<String>() + letters.as_str()
    })
}
