//! The discovery document of an ODS: where its data, its changes and its metadata are.

use reqwest::{StatusCode, Url};
use serde_json::Value;

use super::problem;
use super::retry;
use super::transport::{Request, SendOptions, Transport};
use super::urls::{self, BaseUrl};
use crate::Failure;

/// What the discovery document says: paths only. The host in it may be wrong behind a proxy, and
/// credentials must not follow it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Discovery {
    /// Whether there is a document. What is said without one may be an accident: a page of a
    /// gateway, an ODS that is being deployed.
    is_document: bool,
    data: Option<String>,
    changes: Option<String>,
    metadata: Option<String>,
    token_info: Option<String>,
    dependencies: Option<String>,
    /// The path of the data where it has gaps that the base URL must fill.
    template: Option<String>,
    release: Option<String>,
}

impl Discovery {
    /// Asks the ODS at `base`; one without a discovery document says nothing.
    pub(crate) async fn fetch(
        base: &BaseUrl,
        transport: &Transport,
        options: SendOptions<'_>,
    ) -> Result<Self, Failure> {
        let mut request = Request {
            small: true,
            ..Request::get(base.as_url().clone())
        };
        let response = transport.send(&mut request, options).await?;
        if retry::is_passing(response.status) {
            return Err(response.failure());
        }
        let document = (response.status == StatusCode::OK)
            .then(|| serde_json::from_slice::<Value>(&response.body).ok())
            .flatten()
            .unwrap_or_default();
        let urls = &document["urls"];
        Ok(Self {
            is_document: document.is_object(),
            data: path(&urls["dataManagementApi"]),
            changes: path(&urls["changeQueries"]),
            metadata: path(&urls["openApiMetadata"]),
            token_info: path(&urls["oauthTokenIntrospection"]).or(path(&urls["tokenInfo"])),
            dependencies: path(&urls["dependencies"]),
            template: template(&urls["dataManagementApi"]),
            release: release(&document),
        })
    }

    /// Whether it stays what it is.
    pub(crate) fn is_document(&self) -> bool {
        self.is_document
    }

    /// Checks that the base URL names all that the ODS's own URLs need, such as a tenant.
    pub(crate) fn check(&self, base: &BaseUrl) -> Result<(), Failure> {
        let Some(template) = &self.template else {
            return Ok(());
        };
        let root = template.split("/data").next().unwrap_or_default();
        let gaps: Vec<&str> = root
            .split('/')
            .filter(|part| part.starts_with('{'))
            .collect();
        let filled = problem::shortened(&root.replace(['{', '}'], ""));
        let origin = urls::origin(base.as_url());
        Err(Failure::new(format!(
            "the base URL lacks {}; one that would do is {origin}{filled}, with the ODS's own \
             values in place of these names",
            problem::shortened(&gaps.join(" and ")),
        )))
    }

    /// The data URL. Without one in the document, the ODS is taken for one of the releases that
    /// serve `data/v3`.
    pub(crate) fn data_root(&self, base: &BaseUrl) -> BaseUrl {
        match &self.data {
            Some(path) => base.with_path(path),
            None => with_version(base, urls::DEFAULT_VERSION),
        }
    }

    /// Where the ODS tells about its changes.
    pub(crate) fn change_queries_root(&self, base: &BaseUrl) -> BaseUrl {
        match &self.changes {
            Some(path) => base.with_path(path),
            None => change_queries(base, urls::DEFAULT_VERSION),
        }
    }

    /// Where the ODS tells what a token may do, where the document says it.
    pub(crate) fn token_info(&self, base: &BaseUrl) -> Option<Url> {
        let path = self.token_info.as_deref()?;
        Some(base.with_path(path).into())
    }

    /// Where the OpenAPI documents are listed, as the document says it.
    pub(crate) fn metadata(&self) -> Option<&str> {
        self.metadata.as_deref()
    }

    /// What of the document tells one state of the ODS's metadata from another: version, build and
    /// data models.
    pub(crate) fn release(&self) -> Option<&str> {
        self.release.as_deref()
    }

    /// Where the order of resources is told, as the document says it.
    pub(crate) fn dependencies(&self) -> Option<&str> {
        self.dependencies.as_deref()
    }
}

/// `{base}/data/{segment}`, or the base itself where that is the data URL.
pub(crate) fn with_version(base: &BaseUrl, segment: &str) -> BaseUrl {
    match segment {
        "" => base.clone(),
        urls::NO_SEGMENT => base.below("data"),
        segment => base.below(&format!("data/{segment}")),
    }
}

/// The base URL of an ODS, also where a segment of `""` says that the base URL is that of the data.
pub(crate) fn root_of(base: &BaseUrl, segment: Option<&str>) -> BaseUrl {
    let path = base.as_url().path();
    match (segment, path.rsplit_once("/data/")) {
        (Some(""), Some((root, _))) => base.with_path(root),
        _ => base.clone(),
    }
}

/// `{base}/changeQueries/v1`, whatever segment the data is below; beside `data` where the base URL
/// is that of the data. A year in the segment stays (`v3/2026`).
pub(crate) fn change_queries(base: &BaseUrl, segment: &str) -> BaseUrl {
    let base_path = base.as_url().path();
    let (root, segment) = match (segment, base_path.rsplit_once("/data/")) {
        ("", Some((root, segment))) => (root, segment),
        _ => (base_path, segment),
    };
    let year = segment.split_once('/').map_or("", |(_, year)| year);
    let root = root.trim_end_matches('/');
    base.with_path(&format!("{root}/changeQueries/v1/{year}"))
}

/// Where a data URL has its dependencies: `{root}/metadata/data/v3/dependencies` for
/// `{root}/data/v3`, `{root}/metadata/dependencies` for `{root}/data`.
pub(crate) fn dependencies(data: &BaseUrl) -> Option<String> {
    let path = data.as_url().path();
    if let Some((root, segment)) = path.rsplit_once("/data/") {
        return Some(format!("{root}/metadata/data/{segment}/dependencies"));
    }
    let root = path.strip_suffix("/data")?;
    Some(format!("{root}/metadata/dependencies"))
}

fn release(document: &Value) -> Option<String> {
    let names = [
        "version",
        "informationalVersion",
        "suite",
        "build",
        "dataModels",
    ];
    let said = names.map(|name| document.get(name).unwrap_or(&Value::Null));
    let [version, informational, _, build, _] = said;
    let is_told = [version, informational, build]
        .iter()
        .any(|said| !said.is_null());
    is_told.then(|| serde_json::json!(said).to_string())
}

/// The path of a URL; none of a template such as `{tenantIdentifier}` that nobody filled in.
fn path(url: &Value) -> Option<String> {
    let text = url.as_str().filter(|text| !text.contains('{'))?;
    let url = urls::parse_url(text).ok()?;
    Some(url.path().to_owned())
}

/// The path of a URL that is a template.
fn template(url: &Value) -> Option<String> {
    let text = url.as_str().filter(|text| text.contains('{'))?;
    let url = urls::parse_url(text).ok()?;
    let path = percent_encoding::percent_decode_str(url.path());
    Some(path.decode_utf8().ok()?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn change_queries_stand_beside_the_data() {
        for (base, segment, expected) in [
            ("http://a.test", "v3", "/changeQueries/v1"),
            ("http://a.test/api/", "v3", "/api/changeQueries/v1"),
            ("http://a.test/api", "v3/2026", "/api/changeQueries/v1/2026"),
            ("http://a.test/api/data/v3", "", "/api/changeQueries/v1"),
            (
                "http://a.test/api/data/v3/2026",
                "",
                "/api/changeQueries/v1/2026",
            ),
            ("http://a.test/api", "", "/api/changeQueries/v1"),
        ] {
            let base = BaseUrl::parse(base, true).unwrap();
            assert_eq!(change_queries(&base, segment).as_url().path(), expected);
        }
    }
}
