//! Token introspection: what an ODS says its client may do, and for whom.

use reqwest::{StatusCode, Url};
use serde_json::{Map, Value};

use super::discovery::root_of;
use super::session::{Access, CallContext};
use super::transport::{Request, Response};
use super::urls;
use crate::Failure;

/// Where an ODS tells it, unless its discovery document names another place.
const TOKEN_INFO: &str = "oauth/token_info";

/// What is said of a token. What a release does not tell is `None`.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct TokenInfo {
    pub(crate) claim_set: Option<String>,
    pub(crate) namespace_prefixes: Option<Vec<String>>,
    pub(crate) education_organizations: Option<Vec<EducationOrganization>>,
    pub(crate) profiles: Option<Vec<String>>,
    /// From 7.3 on.
    pub(crate) resources: Option<Vec<Permitted>>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct EducationOrganization {
    pub(crate) id: Option<i64>,
    pub(crate) name: Option<String>,
    pub(crate) kind: Option<String>,
}

/// One resource, and what may be done with it.
#[derive(Debug, PartialEq)]
pub(crate) struct Permitted {
    pub(crate) endpoint: String,
    pub(crate) operations: Vec<String>,
}

impl CallContext {
    /// What the ODS says of the token that it is shown.
    ///
    /// The usual place is asked first: a discovery document costs a request, and names another
    /// place almost never. It is asked where there is no such answer at the usual place.
    pub(crate) async fn token_info(&self, access: &Access) -> Result<TokenInfo, Failure> {
        let version = access.api_version.as_deref().or(self.client.api_version());
        let segment = version.map(urls::version_segment);
        let usual = root_of(&access.base, segment.as_deref()).join(TOKEN_INFO);
        let first = self.introspect(access, usual.clone()).await;
        let is_final = |failure: &Failure| !matches!(failure.http_status, Some(200..500));
        if segment.as_deref() == Some("") || first.as_ref().err().is_none_or(is_final) {
            return first;
        }
        let options = self.client.options(&self.control);
        let Ok(discovery) = self.client.discovery(&access.base, options).await else {
            return first;
        };
        match discovery.token_info(&access.base) {
            Some(named) if named != usual => self.introspect(access, named).await,
            _ => first,
        }
    }

    async fn introspect(&self, access: &Access, url: Url) -> Result<TokenInfo, Failure> {
        let mut request = Request {
            names_token: true,
            ..Request::form(url)
        };
        let policy = self.client.policy();
        let response = self.send(access, &mut request, policy).await?;
        match response.status {
            StatusCode::OK => read(&response),
            StatusCode::NOT_FOUND => Err(switched_off(response.failure())),
            _ => Err(response.refusal()),
        }
    }
}

fn switched_off(mut failure: Failure) -> Failure {
    failure.message = format!(
        "{} (this ODS does not tell what tokens may do: its token introspection is off)",
        failure.message
    );
    failure
}

fn read(response: &Response) -> Result<TokenInfo, Failure> {
    let body: Map<String, Value> = serde_json::from_slice(&response.body)
        .map_err(|_| response.unusable("this is not an answer about a token"))?;
    match body.get("active") {
        Some(Value::Bool(false)) => {
            return Err(response.unusable("the ODS says that the token is not active"));
        }
        None if !body.contains_key("client_id") => {
            return Err(response.unusable("this is not an answer about a token"));
        }
        _ => {}
    }
    Ok(TokenInfo::of(&body))
}

impl TokenInfo {
    fn of(body: &Map<String, Value>) -> Self {
        let list = |name: &str| body.get(name)?.as_array();
        let texts = |name: &str| Some(list(name)?.iter().filter_map(text).collect());
        let organizations = list("education_organizations");
        let organizations = organizations.map(|all| all.iter().filter_map(organization).collect());
        let resources = list("resources");
        Self {
            claim_set: match body.get("claim_set") {
                Some(Value::Object(named)) => named.get("name").and_then(text),
                plain => plain.and_then(text),
            },
            namespace_prefixes: texts("namespace_prefixes"),
            education_organizations: organizations,
            profiles: texts("assigned_profiles"),
            resources: resources.map(|all| all.iter().filter_map(permitted).collect()),
        }
    }
}

/// A text, or the name of something that has one.
fn text(value: &Value) -> Option<String> {
    let text = value.as_str().or_else(|| value.get("name")?.as_str())?;
    Some(text.to_owned())
}

fn organization(value: &Value) -> Option<EducationOrganization> {
    let id = value.as_object()?.get("education_organization_id");
    let id = match id {
        Some(Value::String(text)) => text.trim().parse().ok(),
        other => other.and_then(Value::as_i64),
    };
    let text = |name: &str| value.get(name).and_then(text);
    Some(EducationOrganization {
        id,
        name: text("name_of_institution"),
        kind: text("type"),
    })
}

fn permitted(value: &Value) -> Option<Permitted> {
    let operations = value.get("operations").and_then(Value::as_array);
    Some(Permitted {
        endpoint: value
            .get("resource")?
            .as_str()?
            .trim_matches('/')
            .to_owned(),
        operations: operations.into_iter().flatten().filter_map(text).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answers_of_every_release() {
        let old = json!({"active": true, "client_id": "k", "namespace_prefixes": [],
            "education_organizations": [{"education_organization_id": "7", "type": "edfi.School"}]});
        let info = TokenInfo::of(old.as_object().unwrap());
        assert_eq!(info.namespace_prefixes, Some(Vec::new()));
        assert_eq!((info.profiles, info.resources), (None, None));
        assert_eq!(info.education_organizations.unwrap()[0].id, Some(7));

        let new = json!({"claim_set": {"name": "SIS Vendor"}, "assigned_profiles": ["P"],
            "resources": [{"resource": "/ed-fi/students", "operations": ["Read"]}, 3]});
        let info = TokenInfo::of(new.as_object().unwrap());
        assert_eq!(info.claim_set.as_deref(), Some("SIS Vendor"));
        let resources = info.resources.unwrap();
        assert_eq!(resources.len(), 1);
        assert_eq!(resources[0].endpoint, "ed-fi/students");
    }
}
