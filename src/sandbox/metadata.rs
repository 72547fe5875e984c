//! What the sandbox says about itself: the discovery document, OpenAPI, the order of resources.

use std::sync::OnceLock;

use hyper::header::{ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use hyper::{Response, StatusCode};
use serde_json::{Map, Value, json};

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
    pub(super) resources: &'a Template,
    pub(super) descriptors: &'a Template,
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
    let told = |document: Value| {
        let bytes = document.to_string().into_bytes();
        let digest = String::from_utf8_lossy(&bytes).into_owned();
        (bytes, digest)
    };
    let served = |template: &Template| match query.get("version") {
        Some("2") => told(swagger2(&template.document, root)),
        _ => template.at(root),
    };
    let (bytes, digest) = match path {
        [] => told(json!([
            {"name": "Resources", "endpointUri": format!("{root}/metadata/data/v3/resources/swagger.json"), "prefix": ""},
            {"name": "Descriptors", "endpointUri": format!("{root}/metadata/data/v3/descriptors/swagger.json"), "prefix": ""},
        ])),
        ["data", "v3", "resources", "swagger.json"] => served(about.resources),
        ["data", "v3", "descriptors", "swagger.json"] => served(about.descriptors),
        ["data", "v3", "dependencies"] if !faults.no_dependencies => {
            let mut entries = dependencies(about.definitions);
            if !about.release.sorts_dependencies() {
                entries.reverse();
            }
            told(entries.into())
        }
        _ => return Err(super::read::no_item()),
    };
    let etag = id_text(digest_of(root, &path.join("/"), &digest));
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

/// An OpenAPI 3 document that all districts serve, each with its own URLs.
pub(super) struct Template {
    document: Value,
    /// As text: what names no district, first the members beside `components`, then those of these,
    /// both without the brace at the end; and a digest of both.
    texts: OnceLock<(String, String, String)>,
}

impl Template {
    pub(super) fn new(document: Value) -> Self {
        Self {
            document,
            texts: OnceLock::new(),
        }
    }

    fn texts(&self) -> &(String, String, String) {
        self.texts.get_or_init(|| {
            let open = |members: Map<String, Value>, without: &[&str]| {
                let members = members.into_iter();
                let members = members.filter(|(name, _)| !without.contains(&name.as_str()));
                let mut text = Value::Object(members.collect()).to_string();
                text.pop();
                if text.len() > 1 {
                    text.push(',');
                }
                text
            };
            let members = |value: &Value| value.as_object().cloned().unwrap_or_default();
            let own = ["servers", "security", "components"];
            let outer = open(members(&self.document), &own);
            let inner = open(members(&self.document["components"]), &["securitySchemes"]);
            let digest = id_text(digest_of("", &outer, &inner));
            (outer, inner, digest)
        })
    }

    /// The document with the URLs of this root, and what tells it from others.
    fn at(&self, root: &str) -> (Vec<u8>, String) {
        let (outer, inner, digest) = self.texts();
        let servers = json!([{"url": format!("{root}/data/v3")}]);
        let schemes = json!({
            "oauth2_client_credentials": {
                "type": "oauth2",
                "flows": {"clientCredentials": {"tokenUrl": format!("{root}/oauth/token"), "scopes": {}}},
            },
        });
        let text = format!(
            "{outer}\"servers\":{servers},\"security\":[{{\"oauth2_client_credentials\":[]}}],\
             \"components\":{inner}\"securitySchemes\":{schemes}}}}}"
        );
        (text.into_bytes(), digest.clone())
    }
}
