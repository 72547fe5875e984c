//! An OpenAPI 3 document as Swagger 2, as an ODS serves it for `?version=2` and before 7.1.

use serde_json::{Map, Value, json};

/// The same document in the older format, for the ODS at this URL.
pub(super) fn swagger2(document: &Value, root: &str) -> Value {
    let (scheme, address) = root.split_once("://").unwrap_or(("http", root));
    let (host, path) = address.split_once('/').unwrap_or((address, ""));
    let components = &document["components"];
    json!({
        "swagger": "2.0",
        "info": document["info"],
        "host": host,
        "basePath": format!("/{path}/data/v3"),
        "schemes": [scheme],
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "paths": older(&document["paths"]),
        "definitions": older(&components["schemas"]),
        "parameters": older(&components["parameters"]),
        "tags": document["tags"],
        "securityDefinitions": {"oauth2_client_credentials": {
            "type": "oauth2", "flow": "application", "tokenUrl": format!("{root}/oauth/token"),
        }},
    })
}

fn older(value: &Value) -> Value {
    match value {
        Value::Array(values) => values.iter().map(older).collect(),
        Value::Object(members) => older_object(members).into(),
        other => other.clone(),
    }
}

fn older_object(members: &Map<String, Value>) -> Map<String, Value> {
    let is_parameter = members.get("in").is_some_and(Value::is_string);
    let mut object = Map::new();
    for (name, value) in members {
        match name.as_str() {
            "$ref" => {
                let reference = value.as_str().unwrap_or_default();
                let reference = reference
                    .replace("/components/schemas/", "/definitions/")
                    .replace("/components/", "/");
                object.insert(name.clone(), reference.into());
            }
            // A parameter is its own schema, but for what that says of the property.
            "schema" if is_parameter => {
                let mut schema = value.as_object().map(older_object).unwrap_or_default();
                schema.remove("x-Ed-Fi-isIdentity");
                object.extend(schema);
            }
            // Names of members are no keywords.
            "properties" => {
                let members = value.as_object().into_iter().flatten();
                let members = members.map(|(name, value)| (name.clone(), older(value)));
                object.insert(name.clone(), members.collect());
            }
            "content" => {
                let schema = older(&value["application/json"]["schema"]);
                object.insert("schema".to_owned(), schema);
            }
            "requestBody" => {
                let mut body = older(value);
                body["in"] = "body".into();
                body["name"] = "body".into();
                match object.get_mut("parameters").and_then(Value::as_array_mut) {
                    Some(parameters) => parameters.push(body),
                    None => drop(object.insert("parameters".to_owned(), json!([body]))),
                }
            }
            _ => drop(object.insert(name.clone(), older(value))),
        }
    }
    object
}
