//! What the sandbox says about itself: the discovery document, OpenAPI, the order of resources.

use hyper::header::{ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::body::{Body, empty, json as json_answer, typed};
use super::problem::Problem;
use super::query::Query;
use super::read::unquoted;
use super::store::{digest_of, id_text};
use super::swagger::swagger2;

/// Resources in the order in which they can be created.
const ORDER: [&[&str]; 4] = [
    &["schoolYearTypes", "students"],
    &["schools", "assessments"],
    &["objectiveAssessments"],
    &["studentAssessments"],
];

/// The discovery document of a root, as ODS/API 7.3 has it.
pub(super) fn discovery(root: &str, with_metadata: bool, with_changes: bool) -> Response<Body> {
    let mut urls = json!({
        "dependencies": format!("{root}/metadata/data/v3/dependencies"),
        "openApiMetadata": format!("{root}/metadata/"),
        "oauth": format!("{root}/oauth/token"),
        "oauthTokenIntrospection": format!("{root}/oauth/token_info"),
        "dataManagementApi": format!("{root}/data/v3/"),
        "changeQueries": format!("{root}/changeQueries/v1/"),
    });
    if let Some(urls) = urls.as_object_mut() {
        if !with_metadata {
            urls.shift_remove("openApiMetadata");
            urls.shift_remove("dependencies");
        }
        if !with_changes {
            urls.shift_remove("changeQueries");
        }
    }
    let document = json!({
        "version": "7.3",
        "applicationName": "Ed-Fi ODS/API sandbox",
        "informationalVersion": "7.3",
        "suite": "3",
        "build": "7.3.0.0",
        "dataModels": [{"name": "Ed-Fi", "version": "5.2.0", "informationalVersion": "The Ed-Fi Data Model 5.2"}],
        "urls": urls,
    });
    json_answer(StatusCode::OK, &document)
}

/// What stands below `/metadata/`: `path` are the segments behind it. Documents are OpenAPI 3, or
/// Swagger 2 for `?version=2`.
pub(super) fn metadata(
    root: &str,
    path: &[&str],
    query: &Query,
    headers: &HeaderMap,
    resources: &Value,
    descriptors: &Value,
) -> Result<Response<Body>, Problem> {
    let served = |document: &Value| match query.get("version") {
        Some("2") => swagger2(document, root),
        _ => at(root, document),
    };
    let document = match path {
        [] => json!([
            {"name": "Resources", "endpointUri": format!("{root}/metadata/data/v3/resources/swagger.json"), "prefix": ""},
            {"name": "Descriptors", "endpointUri": format!("{root}/metadata/data/v3/descriptors/swagger.json"), "prefix": ""},
        ]),
        ["data", "v3", "resources", "swagger.json"] => served(resources),
        ["data", "v3", "descriptors", "swagger.json"] => served(descriptors),
        ["data", "v3", "dependencies"] => dependencies(descriptors),
        _ => return Err(super::read::no_item()),
    };
    let bytes = document.to_string().into_bytes();
    let etag = id_text(digest_of(
        root,
        &path.join("/"),
        &String::from_utf8_lossy(&bytes),
    ));
    let known = headers
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    let mut answer = if known.is_some_and(|text| unquoted(text) == etag) {
        empty(StatusCode::NOT_MODIFIED)
    } else {
        typed(
            StatusCode::OK,
            "application/json; charset=utf-8",
            bytes.into(),
        )
    };
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{etag}\"")) {
        answer.headers_mut().insert(ETAG, etag);
    }
    Ok(answer)
}

/// The document with the URLs of this root.
fn at(root: &str, document: &Value) -> Value {
    let mut document = document.clone();
    document["servers"] = json!([{"url": format!("{root}/data/v3")}]);
    document["components"]["securitySchemes"] = json!({
        "oauth2_client_credentials": {
            "type": "oauth2",
            "flows": {"clientCredentials": {"tokenUrl": format!("{root}/oauth/token"), "scopes": {}}},
        },
    });
    document["security"] = json!([{"oauth2_client_credentials": []}]);
    document
}

fn dependencies(descriptors: &Value) -> Value {
    let operations = json!(["Create", "Update"]);
    let paths = descriptors["paths"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(path, _)| path);
    let mut list: Vec<Value> = paths
        .filter(|path| path.matches('/').count() == 2)
        .map(|path| json!({"resource": path, "order": 1, "operations": operations}))
        .collect();
    for (index, resources) in ORDER.iter().enumerate() {
        list.extend(resources.iter().map(
            |name| json!({"resource": format!("/ed-fi/{name}"), "order": index + 2, "operations": operations}),
        ));
    }
    list.into()
}
