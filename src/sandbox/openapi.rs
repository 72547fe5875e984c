//! The OpenAPI 3 documents of the sandbox's own resources and descriptors.

use serde_json::{Map, Value, json};

use super::definitions::{Definitions, pascal};
use super::words;

/// Schemas of the resources, members and types as in the Ed-Fi Data Standard 5.
const SCHEMAS: &str = include_str!("schemas.json");

/// Resource, item, what it is.
const RESOURCES: [(&str, &str, &str); 9] = [
    (
        "assessments",
        "assessment",
        "A test or another measurement of what students know and can do.",
    ),
    (
        "classPeriods",
        "classPeriod",
        "A time of day in which classes meet.",
    ),
    (
        "localEducationAgencies",
        "localEducationAgency",
        "A district that runs schools.",
    ),
    (
        "objectiveAssessments",
        "objectiveAssessment",
        "A part of an assessment that is scored on its own.",
    ),
    ("schoolYearTypes", "schoolYearType", "The school years."),
    ("schools", "school", "A place where students are taught."),
    (
        "studentAssessments",
        "studentAssessment",
        "What one student made of one assessment: scores, levels, parts.",
    ),
    (
        "studentSchoolAssociations",
        "studentSchoolAssociation",
        "The enrolment of a student in a school.",
    ),
    ("students", "student", "A person who is taught."),
];

/// The document of the resources.
pub(super) fn resources() -> Value {
    let mut schemas: Map<String, Value> = serde_json::from_str(SCHEMAS).unwrap_or_default();
    let mut paths = Map::new();
    let mut tags = Vec::new();
    for (resource, item, description) in RESOURCES {
        add_resource(&mut paths, &mut schemas, resource, item);
        tags.push(json!({"name": resource, "description": description}));
    }
    document("Ed-Fi Resource API of the sandbox", paths, schemas, tags)
}

/// The document of the descriptors.
pub(super) fn descriptors() -> Value {
    let mut schemas = Map::new();
    let mut paths = Map::new();
    let mut tags = Vec::new();
    for (name, _) in words::descriptors() {
        let item = format!("{name}Descriptor");
        schemas.insert(format!("edFi_{item}"), descriptor_schema());
        add_resource(&mut paths, &mut schemas, &format!("{item}s"), &item);
        let description = format!("The values of {item}.");
        tags.push(json!({"name": format!("{item}s"), "description": description}));
    }
    document("Ed-Fi Descriptor API of the sandbox", paths, schemas, tags)
}

fn document(
    title: &str,
    paths: Map<String, Value>,
    schemas: Map<String, Value>,
    tags: Vec<Value>,
) -> Value {
    json!({
        "openapi": "3.0.1",
        "info": {"title": title, "version": "3"},
        "paths": paths,
        "components": {"schemas": schemas, "parameters": parameters()},
        "tags": tags,
    })
}

fn descriptor_schema() -> Value {
    let text = |most: u32| json!({"type": "string", "maxLength": most});
    let date = json!({"type": "string", "format": "date", "x-nullable": true});
    let mut code = text(50);
    code["x-Ed-Fi-isIdentity"] = true.into();
    let mut namespace = text(255);
    namespace["x-Ed-Fi-isIdentity"] = true.into();
    json!({
        "type": "object",
        "required": ["codeValue", "namespace", "shortDescription"],
        "properties": {
            "id": {"type": "string"},
            "codeValue": code,
            "description": text(1024),
            "effectiveBeginDate": date,
            "effectiveEndDate": date,
            "namespace": namespace,
            "shortDescription": text(75),
            "_etag": {"type": "string"},
            "_lastModifiedDate": {"type": "string", "format": "date-time"},
        },
    })
}

fn parameters() -> Value {
    let query = |name: &str, schema: Value| json!({"name": name, "in": "query", "schema": schema});
    let whole = || json!({"type": "integer", "format": "int32"});
    let long = || json!({"type": "integer", "format": "int64"});
    json!({
        "offset": query("offset", whole()),
        "limit": query("limit", whole()),
        "totalCount": query("totalCount", json!({"type": "boolean", "default": false})),
        "pageToken": query("pageToken", json!({"type": "string"})),
        "pageSize": query("pageSize", whole()),
        "numberOfPartitions": query("number", json!({"type": "integer", "format": "int32", "default": 10})),
        "MinChangeVersion": query("minChangeVersion", long()),
        "MaxChangeVersion": query("maxChangeVersion", long()),
        "id": {"name": "id", "in": "path", "required": true, "schema": {"type": "string"}},
    })
}

/// Adds the paths of one resource, and the schemas of its deletes and key changes.
fn add_resource(
    paths: &mut Map<String, Value>,
    schemas: &mut Map<String, Value>,
    resource: &str,
    item: &str,
) {
    let schema = format!("edFi_{item}");
    let filters = filters(schemas, &schema, resource);
    let keys: Map<String, Value> = filters
        .iter()
        .filter(|filter| filter["x-Ed-Fi-isIdentity"] == true)
        .filter_map(|filter| {
            Some((
                filter["name"].as_str()?.to_owned(),
                filter["schema"].clone(),
            ))
        })
        .collect();
    let shared = |names: &[&str]| -> Vec<Value> {
        names
            .iter()
            .map(|name| json!({"$ref": format!("#/components/parameters/{name}")}))
            .collect()
    };
    let versions = ["MinChangeVersion", "MaxChangeVersion"];
    let mut own = shared(&["offset", "limit", "pageToken", "pageSize", "totalCount"]);
    own.extend(shared(&versions));
    own.extend(filters.iter().cloned());
    let mut partitions = shared(&["numberOfPartitions"]);
    partitions.extend(shared(&versions));
    partitions.extend(filters);
    let mut tracked = shared(&["offset", "limit", "totalCount"]);
    tracked.extend(shared(&versions));

    let reference = json!({"$ref": format!("#/components/schemas/{schema}")});
    let body = json!({"required": true, "content": {"application/json": {"schema": reference}}});
    let plain = |text: &str| json!({"description": text});
    paths.insert(
        format!("/ed-fi/{resource}"),
        json!({
            "get": {"tags": [resource], "operationId": format!("get{}", pascal(resource)), "parameters": own,
                "responses": {"200": answer(&json!({"type": "array", "items": reference}))}},
            "post": {"tags": [resource], "operationId": format!("post{}", pascal(item)), "requestBody": body,
                "responses": {"200": plain("Updated."), "201": plain("Created.")}},
        }),
    );
    paths.insert(
        format!("/ed-fi/{resource}/{{id}}"),
        json!({
            "get": {"tags": [resource], "parameters": shared(&["id"]), "responses": {"200": answer(&reference)}},
            "put": {"tags": [resource], "parameters": shared(&["id"]), "requestBody": body,
                "responses": {"204": plain("Updated.")}},
            "delete": {"tags": [resource], "parameters": shared(&["id"]), "responses": {"204": plain("Deleted.")}},
        }),
    );
    let tokens = json!({"type": "object", "properties": {"pageTokens": {"type": "array", "items": {"type": "string"}}}});
    paths.insert(
        format!("/ed-fi/{resource}/partitions"),
        json!({"get": {"tags": [resource], "parameters": partitions, "responses": {"200": answer(&tokens)}}}),
    );
    let keys = json!({"type": "object", "properties": keys});
    for (path, suffix, members) in [
        ("deletes", "Delete", &["keyValues"][..]),
        ("keyChanges", "KeyChange", &["oldKeyValues", "newKeyValues"]),
    ] {
        let name = format!("trackedChanges_edFi_{item}{suffix}");
        let mut tracked_schema = json!({"type": "object", "properties": {
            "id": {"type": "string"}, "changeVersion": {"type": "integer", "format": "int64"}}});
        for member in members {
            tracked_schema["properties"][member] = keys.clone();
        }
        let list =
            json!({"type": "array", "items": {"$ref": format!("#/components/schemas/{name}")}});
        schemas.insert(name, tracked_schema);
        paths.insert(
            format!("/ed-fi/{resource}/{path}"),
            json!({"get": {"tags": [resource], "parameters": tracked, "responses": {"200": answer(&list)}}}),
        );
    }
}

fn answer(schema: &Value) -> Value {
    json!({"description": "What was asked for.", "content": {"application/json": {"schema": schema}}})
}

/// The query parameters that filter: scalars of the item and members of its references.
fn filters(schemas: &Map<String, Value>, schema: &str, resource: &str) -> Vec<Value> {
    let identity = Definitions::natural_key(resource);
    let members = |name: &str| {
        schemas
            .get(name)
            .and_then(|schema| schema["properties"].as_object())
    };
    let mut found: Vec<Value> = Vec::new();
    let mut add = |name: &str, schema: &Value| {
        if name.starts_with('_') || name == "link" || found.iter().any(|old| old["name"] == name) {
            return;
        }
        let mut parameter = json!({"name": name, "in": "query", "schema": schema});
        let own = schema["x-Ed-Fi-isIdentity"] == true && identity.is_empty();
        if own || identity.iter().any(|key| key == name) {
            parameter["x-Ed-Fi-isIdentity"] = true.into();
        }
        found.push(parameter);
    };
    for (name, member) in members(schema).into_iter().flatten() {
        match member["$ref"]
            .as_str()
            .and_then(|path| path.rsplit('/').next())
        {
            Some(reference) if reference.ends_with("Reference") => {
                for (key, inner) in members(reference).into_iter().flatten() {
                    add(&filter_name(name, reference, key), inner);
                }
            }
            Some(_) => {}
            None if member["type"] == "array" => {}
            None => add(name, member),
        }
    }
    found
}

/// `schoolId` in `reportedSchoolReference` is `reportedSchoolId`; in `schoolReference` it is `schoolId`.
fn filter_name(member: &str, reference: &str, key: &str) -> String {
    let kind = reference
        .split_once('_')
        .map_or(reference, |(_, kind)| kind);
    match member
        .strip_suffix(&pascal(kind))
        .filter(|role| !role.is_empty())
    {
        Some(role) => format!("{role}{}", pascal(key)),
        None => key.to_owned(),
    }
}
