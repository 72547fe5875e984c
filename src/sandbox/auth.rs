//! The token endpoint: OAuth 2.0 client credentials (RFC 6749, section 4.4), as the ODS has it.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::body::{Body, json as json_answer};
use super::claims;
use super::definitions::Definitions;
use super::district::District;
use super::problem::Problem;
use super::query::Query;
use super::read::wants_snapshot;
use super::release::Release;
use super::server::Call;
use super::store::Record;

/// How tokens are given.
#[derive(Clone, Copy)]
pub(super) struct TokenRules {
    pub(super) lifetime: Duration,
    pub(super) limit: Option<usize>,
}

/// `POST /oauth/token`.
pub(super) fn token(
    district: &District,
    method: &Method,
    headers: &HeaderMap,
    body: &[u8],
    rules: TokenRules,
) -> Result<Response<Body>, Problem> {
    if method != Method::POST {
        return Err(Problem::method("Tokens are requested by POST."));
    }
    let fields = Fields::read(headers, body)?;
    let in_body = (fields.get("client_id"), fields.get("client_secret"));
    let has_body = in_body.0.is_some() || in_body.1.is_some();
    let credentials = match headers.get(AUTHORIZATION) {
        Some(_) if has_body => {
            let text = "Credentials must be in the header or in the body, not in both.";
            return Ok(refusal(400, "invalid_client", text));
        }
        Some(header) => match basic(header) {
            Some(credentials) => credentials,
            None => {
                return Ok(refusal(
                    400,
                    "invalid_client",
                    "The Authorization header is not valid.",
                ));
            }
        },
        None => match in_body {
            (Some(key), Some(secret)) => (key, secret),
            _ => {
                return Ok(refusal(
                    401,
                    "invalid_client",
                    "Unable to authenticate the client.",
                ));
            }
        },
    };
    match fields.get("grant_type").as_deref() {
        Some("client_credentials") => {}
        Some(_) => {
            return Ok(refusal(
                400,
                "unsupported_grant_type",
                "Only client_credentials is supported.",
            ));
        }
        None => return Ok(refusal(400, "invalid_request", "grant_type is missing.")),
    }
    if credentials != (district.key.clone(), district.secret.clone()) {
        return Ok(refusal(
            401,
            "invalid_client",
            "Invalid client id or secret.",
        ));
    }
    match district.issue_token(rules.lifetime, rules.limit) {
        Some(token) => {
            let body = json!({
                "access_token": token,
                "expires_in": rules.lifetime.as_secs(),
                "token_type": "bearer",
            });
            let mut answer = json_answer(StatusCode::OK, &body);
            answer
                .headers_mut()
                .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            Ok(answer)
        }
        None => Err(Problem::too_many_tokens(rules.limit.unwrap_or_default())),
    }
}

/// `POST /oauth/token_info`: what the caller's own token is good for.
pub(super) fn token_info(
    district: &District,
    call: &Call<'_>,
    definitions: &Definitions,
    release: Release,
) -> Result<Response<Body>, Problem> {
    if call.method != Method::POST {
        return Err(Problem::method("Token information is requested by POST."));
    }
    if wants_snapshot(&call.headers) {
        return Err(Problem::snapshot_is_read_only());
    }
    check(district, &call.headers)?;
    let token = Fields::read(&call.headers, &call.body)?.get("token");
    if token.as_deref() != Some(bearer(&call.headers)?) {
        let text = "The token must be the one of the Authorization header.";
        return Err(Problem::bad_request(text));
    }
    let mut body = json!({
        "active": true,
        "client_id": district.key,
        "namespace_prefixes": ["uri://ed-fi.org"],
        "education_organizations": organizations(district),
        "student_identification_system": null,
        "assigned_profiles": [],
    });
    if release.tells_operations() {
        let (claim_set, resources) = claims::told(district.claims().as_ref(), definitions);
        body["claim_set"] = claim_set;
        body["resources"] = resources;
        body["services"] = json!([]);
    }
    Ok(json_answer(StatusCode::OK, &body))
}

/// The districts that a client is authorized for: all that there are.
fn organizations(district: &District) -> Vec<Value> {
    let state = district.state();
    let table = state.tables.get("ed-fi/localEducationAgencies");
    let records = table.map_or(&[][..], |table| table.records());
    let organization = |record: &Arc<Record>| {
        let body = record.parse();
        json!({
            "education_organization_id": body.get("localEducationAgencyId"),
            "name_of_institution": body.get("nameOfInstitution"),
            "type": "edfi.LocalEducationAgency",
            "local_education_agency_id": body.get("localEducationAgencyId"),
        })
    };
    records.iter().map(organization).collect()
}

/// Refuses a request without a bearer token that is this district's and alive.
pub(super) fn check(district: &District, headers: &HeaderMap) -> Result<(), Problem> {
    if district.accepts(bearer(headers)?) {
        Ok(())
    } else {
        Err(Problem::unauthenticated("Invalid token"))
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let Some(header) = headers.get(AUTHORIZATION) else {
        return Err(Problem::unauthenticated("Authorization header is missing."));
    };
    let (scheme, token) = header
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .unwrap_or_default();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(token.trim());
    }
    Err(Problem::unauthenticated(
        "Unknown Authorization header scheme.",
    ))
}

fn refusal(status: u16, error: &str, description: &str) -> Response<Body> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    json_answer(
        status,
        &json!({"error": error, "error_description": description}),
    )
}

fn basic(header: &HeaderValue) -> Option<(String, String)> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    let text = String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let mut parts = text.split(':');
    // As in the ODS, a secret with a colon is not understood.
    let pair = (parts.next()?.to_owned(), parts.next()?.to_owned());
    (scheme.eq_ignore_ascii_case("basic") && parts.next().is_none()).then_some(pair)
}

/// The fields of a form or of a JSON object.
enum Fields {
    Form(Query),
    Json(Value),
}

impl Fields {
    fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, Problem> {
        let kind = headers
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or_default();
        if kind.starts_with("application/json") {
            let parsed = serde_json::from_slice(body);
            return parsed
                .map(Self::Json)
                .map_err(|_| Problem::bad_request("The body is not JSON."));
        }
        if kind.starts_with("application/x-www-form-urlencoded") {
            return Ok(Self::Form(Query::parse(&String::from_utf8_lossy(body))));
        }
        Err(Problem::media_type())
    }

    fn get(&self, name: &str) -> Option<String> {
        match self {
            Self::Form(form) => form.get(name).map(str::to_owned),
            Self::Json(value) => value[name].as_str().map(str::to_owned),
        }
    }
}
