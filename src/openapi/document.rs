//! The OpenAPI document of an ODS: which resources there are, and what it says of each.
//!
//! Reads OpenAPI 3 (`components.schemas`) and Swagger 2 (`definitions`). A record is what the
//! document says that `GET` answers with, whatever the schemas are called. The document itself is
//! not kept.

use std::collections::HashMap;
use std::sync::Arc;

use polars::prelude::DataType;
use serde_json::{Map, Value};

use super::identity::Identity;
use super::keys::key_fields;
use super::places::{Parameter, filters, is_identity, places, schema_of};
use super::record::{Kind, Record};
use super::resolve::Resolver;
use super::types::TypeReader;
use super::validate::{Compiler, Schemas, schema_key};

/// What stands below a collection and is none itself.
const BELOW: [&str; 3] = ["deletes", "keyChanges", "partitions"];

/// The resources of one document, in its order.
#[derive(Debug, PartialEq)]
pub(crate) struct Document {
    resources: Vec<Arc<Resource>>,
    schemas: Schemas,
}

/// One resource, such as `ed-fi/students`, or one descriptor.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Resource {
    pub(crate) endpoint: Box<str>,
    pub(crate) description: Option<Box<str>>,
    /// The properties that identify a record, those of references by their path.
    pub(crate) key_fields: Vec<Box<str>>,
    /// The natural key; `None` where the document does not say.
    pub(crate) identity: Option<Arc<Identity>>,
    /// Whether deleted records can be asked for.
    pub(crate) has_deletes: bool,
    /// The query parameters of the collection.
    pub(crate) params: Vec<Box<str>>,
    /// What references to its items call its schema, as [`schema_key`] writes it.
    pub(crate) schema: Option<Box<str>>,
    /// The schema of what is posted to it, among those of the document.
    pub(crate) body: Option<usize>,
    /// The path in records of what they filter by, and the parameter.
    pub(crate) filters: Vec<(Box<str>, Box<str>)>,
    /// What its records are made of; `None` where the document does not say.
    pub(crate) record: Option<Record>,
}

impl Document {
    /// The document that a JSON value is, if it is one.
    pub(crate) fn of(root: &Value) -> Option<Self> {
        let paths = root.get("paths")?.as_object()?;
        let mut reader = DocumentReader::new(root);
        let mut resources: Vec<Arc<Resource>> = Vec::new();
        for (path, item) in paths {
            if let Some(endpoint) = collection(path)
                && !resources.iter().any(|known| *known.endpoint == *endpoint)
                && let Some(resource) = reader.resource(endpoint, path, item, paths)
            {
                resources.push(Arc::new(resource));
            }
        }
        Some(Self {
            resources,
            schemas: reader.compiler.finish(),
        })
    }

    pub(crate) fn schemas(&self) -> &Schemas {
        &self.schemas
    }

    pub(crate) fn resources(&self) -> &[Arc<Resource>] {
        &self.resources
    }

    /// The resource of an endpoint; an ODS does not look at upper and lower case either.
    pub(crate) fn resource(&self, endpoint: &str) -> Option<&Arc<Resource>> {
        let mut all = self.resources.iter();
        all.find(|known| known.endpoint.eq_ignore_ascii_case(endpoint))
    }
}

impl Resource {
    /// The part of the endpoint before the slash, such as `ed-fi`.
    pub(crate) fn namespace(&self) -> &str {
        let parts = self.endpoint.split_once('/');
        parts.map_or("", |(namespace, _)| namespace)
    }

    /// The natural key as `keyValues` of `/deletes` has it: the names of its properties, and the
    /// dtypes that their JSON values are read as.
    pub(crate) fn key_columns(&self) -> Vec<(&str, DataType)> {
        let column = |path: &'_ str| {
            let kind = self.record.as_ref().and_then(|record| record.at(path));
            match kind {
                Some(Kind::Boolean) => DataType::Boolean,
                Some(Kind::Int32 | Kind::Int64) => DataType::Int64,
                Some(Kind::Float64) => DataType::Float64,
                _ => DataType::String,
            }
        };
        let fields = self.key_fields.iter().map(|path| {
            let known = self.identity.iter().flat_map(|identity| identity.fields());
            let mut known = known.filter(|field| field.paths[0] == *path);
            let name = known.next().map(|field| &*field.param);
            (
                name.unwrap_or_else(|| path.rsplit('.').next().unwrap_or(path)),
                column(path),
            )
        });
        fields.collect()
    }

    pub(crate) fn is_descriptor(&self) -> bool {
        is_descriptor(&self.endpoint)
    }
}

pub(crate) fn is_descriptor(endpoint: &str) -> bool {
    endpoint.to_ascii_lowercase().ends_with("descriptors")
}

/// The endpoint whose collection a path is.
fn collection(path: &str) -> Option<&str> {
    let mut endpoint = path.trim_matches('/');
    // A tenant or a year that the caller fills in.
    while let Some((first, rest)) = endpoint.split_once('/')
        && first.starts_with('{')
    {
        endpoint = rest;
    }
    let (namespace, name) = endpoint.split_once('/')?;
    let plain = !namespace.is_empty() && !name.contains(['/', '{']) && !BELOW.contains(&name);
    plain.then_some(endpoint)
}

/// A document on its way to its resources.
struct DocumentReader<'a> {
    resolver: Resolver<'a>,
    types: TypeReader<'a>,
    compiler: Compiler<'a>,
    tags: HashMap<&'a str, &'a str>,
}

impl<'a> DocumentReader<'a> {
    fn new(root: &'a Value) -> Self {
        let resolver = Resolver::new(root);
        let tags = root["tags"].as_array().into_iter().flatten();
        let tags = tags.filter_map(|tag| Some((tag["name"].as_str()?, described(tag)?)));
        Self {
            resolver,
            types: TypeReader::new(resolver),
            compiler: Compiler::new(resolver),
            tags: tags.collect(),
        }
    }

    fn resource(
        &mut self,
        endpoint: &str,
        path: &str,
        item: &'a Value,
        paths: &'a Map<String, Value>,
    ) -> Option<Resource> {
        let item = self.resolver.follow(item);
        let get = item.get("get").filter(|get| get.is_object())?;
        let params: Vec<&'a Value> = [item, get]
            .iter()
            .filter_map(|place| place.get("parameters")?.as_array())
            .flatten()
            .map(|parameter| self.resolver.follow(parameter))
            .filter(|parameter| parameter["in"] == "query")
            .collect();
        let params: Vec<Parameter<'a>> = params
            .iter()
            .filter_map(|parameter| {
                Some(Parameter {
                    name: parameter["name"].as_str()?,
                    is_identity: is_identity(parameter),
                })
            })
            .collect();
        let schema = self.item_schema(get);
        let record = schema.and_then(|schema| self.types.record(schema));
        let identity = match is_descriptor(endpoint) {
            true => Some(Identity::of_descriptor()),
            false => schema
                .and_then(|schema| Identity::of(self.resolver, schema, &params, record.as_ref())),
        };
        let posted = item.get("post").and_then(|post| self.posted_schema(post));
        let name = schema.or(posted).map(schema_of).unwrap_or_default();
        let filters = schema.map(|schema| {
            let members = self.resolver.members(schema);
            let places = places(self.resolver, &members, &params, record.as_ref());
            filters(&places, &params)
        });
        let tag = get["tags"][0].as_str().and_then(|tag| self.tags.get(tag));
        let description = tag.copied().or_else(|| described(get));
        Some(Resource {
            endpoint: endpoint.into(),
            description: description.map(Into::into),
            key_fields: schema
                .map(|schema| key_fields(self.resolver, schema, identity.as_ref()))
                .unwrap_or_default(),
            identity: identity.map(Arc::new),
            has_deletes: paths.contains_key(&format!("{}/deletes", path.trim_end_matches('/'))),
            params: params.iter().map(|param| param.name.into()).collect(),
            schema: (!name.is_empty()).then(|| schema_key(name).into()),
            body: posted.map(|schema| self.compiler.compile(schema)),
            filters: filters.unwrap_or_default(),
            record,
        })
    }

    /// The schema of one record in the answer to a `GET` of the collection.
    fn item_schema(&self, get: &'a Value) -> Option<&'a Value> {
        let responses = get.get("responses")?;
        let good = ["200", "2XX", "2xx", "default"];
        let response = good.iter().find_map(|status| responses.get(status))?;
        let response = self.resolver.follow(response);
        self.resolver.items(json_schema(response)?)
    }

    /// The schema of what is posted to the collection.
    fn posted_schema(&self, post: &'a Value) -> Option<&'a Value> {
        if let Some(body) = post.get("requestBody") {
            return json_schema(self.resolver.follow(body));
        }
        // Swagger 2
        let parameters = post.get("parameters")?.as_array()?.iter();
        let mut parameters = parameters.map(|parameter| self.resolver.follow(parameter));
        parameters
            .find(|parameter| parameter["in"] == "body")?
            .get("schema")
    }
}

fn described(value: &Value) -> Option<&str> {
    let text = value
        .get("description")
        .or_else(|| value.get("summary"))?
        .as_str()?;
    (!text.trim().is_empty()).then(|| text.trim())
}

/// The schema of a body: of its JSON in OpenAPI 3, in Swagger 2 of all that there is.
fn json_schema(body: &Value) -> Option<&Value> {
    let Some(content) = body.get("content").and_then(Value::as_object) else {
        return body.get("schema");
    };
    let plain = content.get("application/json");
    let json = || content.iter().find(|(name, _)| name.contains("json"));
    let media = plain.or_else(|| json().map(|(_, media)| media));
    media.or_else(|| content.values().next())?.get("schema")
}
