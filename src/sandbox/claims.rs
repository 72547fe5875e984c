//! Claim sets: what a district's client may do with which resource.

use hyper::Method;
use serde_json::{Value, json};

use super::definitions::Definitions;
use super::problem::Problem;

/// All that can be allowed; a client without a claim set of its own may do it everywhere.
const OPERATIONS: [&str; 5] = ["Create", "Read", "Update", "Delete", "ReadChanges"];

/// What a client may do.
pub(super) struct ClaimSet {
    pub(super) name: String,
    /// By endpoint, the operations that are allowed; others are not.
    pub(super) resources: Vec<(String, Vec<String>)>,
}

impl ClaimSet {
    /// Refuses a request for which there is no claim, as the ODS does from 7.2 on: 403, before the
    /// body is looked at.
    pub(super) fn check(&self, method: &Method, segments: &[&str]) -> Result<(), Problem> {
        let ["data", "v3", namespace, resource, below @ ..] = segments else {
            return Ok(());
        };
        // A POST is an insert or an update: which one is not known yet.
        let needed: &[&str] = match (method, below) {
            (&Method::POST, []) => &["Create", "Update"],
            (&Method::PUT, _) => &["Update"],
            (&Method::DELETE, _) => &["Delete"],
            (_, ["deletes" | "keyChanges"]) => &["ReadChanges"],
            _ => &["Read"],
        };
        let endpoint = format!("{namespace}/{resource}");
        let claimed = self.resources.iter().find(|(name, _)| *name == endpoint);
        let Some((_, operations)) = claimed else {
            return Err(Problem::no_claim(&self.name, &endpoint));
        };
        match needed
            .iter()
            .any(|one| operations.iter().any(|own| own == one))
        {
            true => Ok(()),
            false => Err(Problem::no_action(&self.name, needed[0], &endpoint)),
        }
    }
}

/// `claim_set` and `resources` of what a token is good for.
pub(super) fn told(claims: Option<&ClaimSet>, definitions: &Definitions) -> (Value, Value) {
    let entry = |endpoint: &str, operations: Value| json!({"resource": format!("/{endpoint}"), "operations": operations});
    match claims {
        Some(claims) => {
            let all = claims.resources.iter();
            let all = all.map(|(endpoint, operations)| entry(endpoint, json!(operations)));
            (json!({"name": claims.name}), all.collect())
        }
        None => {
            let all = definitions.served().into_iter();
            let all = all.map(|endpoint| entry(endpoint, json!(OPERATIONS)));
            (json!({"name": "Sandbox"}), all.collect())
        }
    }
}
