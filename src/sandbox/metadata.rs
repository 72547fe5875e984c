//! What the sandbox says about itself: the discovery document, OpenAPI, the order of resources.

use hyper::header::{ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::body::{Body, empty, json as json_answer, typed};
use super::definitions::Definitions;
use super::dependencies::dependencies;
use super::faults::Faults;
use super::problem::Problem;
use super::query::Query;
use super::read::unquoted;
use super::release::Release;
use super::store::{digest_of, id_text};
use super::swagger::swagger2;

/// The discovery document of a root, without what is switched off.
pub(super) fn discovery(root: &str, release: Release, faults: &Faults) -> Response<Body> {
    let release = release.to_string();
    let mut urls = json!({
        "dependencies": format!("{root}/metadata/data/v3/dependencies"),
        "openApiMetadata": format!("{root}/metadata/"),
        "oauth": format!("{root}/oauth/token"),
        "oauthTokenIntrospection": format!("{root}/oauth/token_info"),
        "dataManagementApi": format!("{root}/data/v3/"),
        "changeQueries": format!("{root}/changeQueries/v1/"),
    });
    let missing = [
        ("openApiMetadata", faults.no_metadata),
        ("dependencies", faults.no_metadata || faults.no_dependencies),
        ("oauthTokenIntrospection", faults.no_token_info),
        ("changeQueries", faults.no_change_queries),
    ];
    if let Some(urls) = urls.as_object_mut() {
        for (name, _) in missing.iter().filter(|(_, is_missing)| *is_missing) {
            urls.shift_remove(*name);
        }
    }
    let document = json!({
        "version": release,
        "applicationName": "Ed-Fi ODS/API sandbox",
        "informationalVersion": release,
        "suite": "3",
        "build": format!("{release}.0.0"),
        "dataModels": [{"name": "Ed-Fi", "version": "5.2.0", "informationalVersion": "The Ed-Fi Data Model 5.2"}],
        "urls": urls,
    });
    json_answer(StatusCode::OK, &document)
}

/// What a district has to say about itself.
pub(super) struct About<'a> {
    pub(super) root: &'a str,
    pub(super) release: Release,
    pub(super) definitions: &'a Definitions,
    pub(super) resources: &'a Value,
    pub(super) descriptors: &'a Value,
}

/// What stands below `/metadata/`: `path` are the segments behind it. Documents are OpenAPI 3, or
/// Swagger 2 for `?version=2`.
pub(super) fn metadata(
    about: &About<'_>,
    path: &[&str],
    query: &Query,
    headers: &HeaderMap,
    faults: &Faults,
) -> Result<Response<Body>, Problem> {
    let root = about.root;
    let served = |document: &Value| match query.get("version") {
        Some("2") => swagger2(document, root),
        _ => at(root, document),
    };
    let document = match path {
        [] => json!([
            {"name": "Resources", "endpointUri": format!("{root}/metadata/data/v3/resources/swagger.json"), "prefix": ""},
            {"name": "Descriptors", "endpointUri": format!("{root}/metadata/data/v3/descriptors/swagger.json"), "prefix": ""},
        ]),
        ["data", "v3", "resources", "swagger.json"] => served(about.resources),
        ["data", "v3", "descriptors", "swagger.json"] => served(about.descriptors),
        ["data", "v3", "dependencies"] if !faults.no_dependencies => {
            let mut entries = dependencies(about.definitions);
            if !about.release.sorts_dependencies() {
                entries.reverse();
            }
            entries.into()
        }
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
