//! What an answer means for a row that is one of many: one table.
//!
//! ODS/API from 7.2 on and the Data Management Service name the kind of problem (`type`); older
//! releases are told by their words. Where several rules fit, the first one holds.

use crate::client::ProblemError;
use crate::frame::outcome::Outcome;
use crate::frame::post::PostOptions;

/// What becomes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It is done.
    Done,
    /// What it is about is there already, as it should be.
    There,
    /// What it refers to is not there yet: again after what may bring it.
    Unresolved,
    /// Nobody may see the item yet, or ever: once more after the associations.
    Unauthorized,
    /// Something that is there refers to it: again after that has gone.
    Referenced,
    /// A passing trouble: again after a while.
    Passing,
    /// The same, once.
    PassingOnce,
    /// It stays so.
    Final,
}

/// What 7.2 and later call their problems, behind `urn:ed-fi:api:`.
mod problem {
    pub(super) const UNRESOLVED: [&str; 2] = ["unresolved-reference", "invalid-reference"];
    pub(super) const REFERENCED: &str = "dependent-item-exists";
    pub(super) const CONFLICT: &str = "multi-user-conflict";
    pub(super) const INVALID: &str = "data-validation-failed";
    pub(super) const AUTHORIZATION: &str = "security:authorization";
    pub(super) const NEVER_AUTHORIZED: [&str; 3] = [
        "access-denied:resource",
        "access-denied:action",
        "namespace-mismatch",
    ];
}

/// What older releases say of a reference to nothing, or of a descriptor that is not there.
const UNRESOLVED: [&str; 4] = [
    "reference could not be resolved",
    "references could not be resolved",
    "unable to resolve value",
    "value supplied for the related",
];
/// What they say where something refers to an item that is to go.
const REFERENCED: [&str; 3] = ["cannot be deleted", "is referenced by", "dependency of"];
/// What they say to a client that will never be allowed.
const NEVER_AUTHORIZED: [&str; 3] = ["missing a claim", "namespace", "permission"];
/// The words of databases that gave up (DMS-1400: until August 2026 these came as a 400).
const DATABASE: [&str; 9] = [
    "canceling statement",
    "could not obtain lock",
    "could not serialize",
    "deadlock",
    "lock request",
    "time-out",
    "timed out",
    "timeout",
    "transaction",
];

/// What the answer to a POST means.
pub(super) fn of_post(endpoint: &str, outcome: &Outcome) -> Meaning {
    let Answer {
        status,
        problem,
        text,
    } = match Answer::of(outcome) {
        Ok(answer) => answer,
        Err(meaning) => return meaning,
    };
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    match status {
        400 | 409 if is_any(problem, &problem::UNRESOLVED) => Meaning::Unresolved,
        409 if is(problem, problem::CONFLICT) => Meaning::Passing,
        400 if is(problem, problem::INVALID) => match &*outcome.errors {
            errors if lack_descriptors(errors) => Meaning::Unresolved,
            errors if has_no_path(errors) && says(&DATABASE) => Meaning::PassingOnce,
            _ => Meaning::Final,
        },
        400 | 409 if problem.is_empty() && says(&UNRESOLVED) => Meaning::Unresolved,
        409 if problem.is_empty() && endpoint.ends_with("Descriptors") => Meaning::There,
        403 if is_final(problem, &text) => Meaning::Final,
        403 => Meaning::Unauthorized,
        408 | 429 | 500 | 502 | 503 | 504 => Meaning::Passing,
        _ => Meaning::Final,
    }
}

/// What the answer to a DELETE means. Passing troubles were waited out before.
pub(super) fn of_delete(outcome: &Outcome) -> Meaning {
    let Answer {
        status,
        problem,
        text,
    } = match Answer::of(outcome) {
        Ok(answer) => answer,
        Err(meaning) => return meaning,
    };
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    match status {
        409 if is(problem, problem::REFERENCED) => Meaning::Referenced,
        409 if is(problem, problem::CONFLICT) => Meaning::Passing,
        400 | 409 if problem.is_empty() && says(&REFERENCED) => Meaning::Referenced,
        _ => Meaning::Final,
    }
}

/// How often a POST is sent again for what was answered, after a while each time.
pub(super) fn repeats(outcome: &Outcome, options: &PostOptions) -> u32 {
    match of_post("", outcome) {
        Meaning::Passing => options.max_retries,
        Meaning::PassingOnce => options.max_retries.min(1),
        _ => 0,
    }
}

/// What is known of an answer that is no success.
struct Answer<'a> {
    status: u16,
    /// Empty where the body names none.
    problem: &'a str,
    /// The server's words, in small letters.
    text: String,
}

impl<'a> Answer<'a> {
    fn of(outcome: &'a Outcome) -> Result<Self, Meaning> {
        let message = outcome.message.as_deref();
        match (outcome.http_status, message) {
            (Some(_), None) => Err(Meaning::Done),
            // No answer, or one that no ODS gives.
            (None | Some(200..=399), _) => Err(Meaning::Final),
            (Some(status), Some(message)) => Ok(Self {
                status,
                problem: outcome.problem.as_deref().unwrap_or_default(),
                text: message.to_lowercase(),
            }),
        }
    }
}

fn is(problem: &str, kind: &str) -> bool {
    problem.contains(kind)
}

fn is_any(problem: &str, kinds: &[&str]) -> bool {
    kinds.iter().any(|kind| is(problem, kind))
}

/// Whether a 403 stays one: the client may not do this at all.
fn is_final(problem: &str, text: &str) -> bool {
    match problem {
        "" => NEVER_AUTHORIZED.iter().any(|word| text.contains(word)),
        problem => {
            !is(problem, problem::AUTHORIZATION) || is_any(problem, &problem::NEVER_AUTHORIZED)
        }
    }
}

/// Whether nothing is wrong with a payload but descriptors that are not there: the Data Management
/// Service tells these by its text only.
fn lack_descriptors(errors: &[ProblemError]) -> bool {
    let lacks = |error: &ProblemError| {
        let text = error.message.to_lowercase();
        text.contains("descriptor") && text.contains("does not exist")
            || text.contains("unable to resolve value")
    };
    !errors.is_empty() && errors.iter().all(lacks)
}

fn has_no_path(errors: &[ProblemError]) -> bool {
    errors.iter().all(|error| error.path.is_none())
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;
    use crate::Failure;

    /// What a server's answer becomes.
    fn answer(status: u16, body: &str) -> Outcome {
        let details = crate::client::Details::of(body.as_bytes(), &Default::default());
        let failure = crate::client::problem::failure(
            StatusCode::from_u16(status).unwrap(),
            &Default::default(),
            body.as_bytes(),
            &Default::default(),
        );
        Outcome {
            problem: details.problem,
            errors: details.errors,
            ..Outcome::from(failure)
        }
    }

    fn typed(status: u16, kind: &str) -> Outcome {
        let body = format!(r#"{{"type": "urn:ed-fi:api:{kind}", "detail": "No."}}"#);
        answer(status, &body)
    }

    fn said(status: u16, message: &str) -> Outcome {
        answer(status, &serde_json::json!({"message": message}).to_string())
    }

    #[test]
    fn what_has_a_type_is_told_by_it() {
        for (status, kind, meaning) in [
            (
                409,
                "data-conflict:unresolved-reference",
                Meaning::Unresolved,
            ),
            (409, "data-conflict:multi-user-conflict", Meaning::Passing),
            (409, "data-conflict:dependent-item-exists", Meaning::Final),
            (409, "data-conflict:non-unique-identity", Meaning::Final),
            (409, "data-conflict:non-unique-values", Meaning::Final),
            (409, "identity-conflict", Meaning::Final),
            (403, "security:authorization:", Meaning::Unauthorized),
            (403, "security:authorization", Meaning::Unauthorized),
            (
                403,
                "security:authorization:relationships:access-denied:element-required",
                Meaning::Unauthorized,
            ),
            (
                403,
                "security:authorization:access-denied:resource",
                Meaning::Final,
            ),
            (
                403,
                "security:authorization:access-denied:action",
                Meaning::Final,
            ),
            (
                403,
                "security:authorization:namespace:access-denied:namespace-mismatch",
                Meaning::Final,
            ),
            (403, "security:data-policy:incorrect-usage", Meaning::Final),
            (400, "bad-request:data-validation-failed", Meaning::Final),
            (400, "bad-request", Meaning::Final),
            (404, "not-found", Meaning::Final),
            (412, "optimistic-lock-failed", Meaning::Final),
            (500, "system", Meaning::Passing),
        ] {
            assert_eq!(
                of_post("ed-fi/students", &typed(status, kind)),
                meaning,
                "{kind}"
            );
        }
        let kind = "data-conflict:dependent-item-exists";
        assert_eq!(of_delete(&typed(409, kind)), Meaning::Referenced);
        assert_eq!(
            of_delete(&typed(403, "security:authorization:")),
            Meaning::Final
        );
        assert_eq!(of_delete(&typed(404, "not-found")), Meaning::Final);
    }

    #[test]
    fn what_has_none_is_told_by_its_words() {
        let of = |status, text| of_post("ed-fi/students", &said(status, text));
        let unresolved = "Validation of 'X' failed.\n\tStudent reference could not be resolved.";
        assert_eq!(of(400, unresolved), Meaning::Unresolved);
        assert_eq!(of(409, unresolved), Meaning::Unresolved);
        let related = "The value supplied for the related 'student' resource does not exist.";
        assert_eq!(of(409, related), Meaning::Unresolved);
        assert_eq!(of(409, "A natural key conflict occurred."), Meaning::Final);
        let there = said(409, "A natural key conflict occurred.");
        assert_eq!(of_post("ed-fi/sexDescriptors", &there), Meaning::There);
        let kind = typed(409, "data-conflict:non-unique-identity");
        assert_eq!(of_post("ed-fi/sexDescriptors", &kind), Meaning::Final);
        let claim = "Access to the resource could not be authorized. Are you missing a claim?";
        assert_eq!(of(403, claim), Meaning::Final);
        let relationship = "Authorization denied. The claim does not have any established \
                            relationships with the requested resource.";
        assert_eq!(of(403, relationship), Meaning::Unauthorized);
        let dependent = said(
            409,
            "The resource cannot be deleted because of the 'x' entity.",
        );
        assert_eq!(of_delete(&dependent), Meaning::Referenced);
    }

    #[test]
    fn the_data_management_service_tells_some_things_by_text_only() {
        let invalid = |errors: &str| {
            answer(
                400,
                &format!(
                    r#"{{"type": "urn:ed-fi:api:bad-request:data-validation-failed",
                        "detail": "Data validation failed.", {errors}}}"#
                ),
            )
        };
        let missing = "GradeLevelDescriptor value 'uri://a#b' does not exist.";
        let one = format!(r#""validationErrors": {{"$.gradeLevelDescriptor": ["{missing}"]}}"#);
        assert_eq!(of_post("", &invalid(&one)), Meaning::Unresolved);
        let two = one.replace("]}", r#"], "$.b": ["B is required."]}"#);
        assert_eq!(of_post("", &invalid(&two)), Meaning::Final);
        let database = invalid(r#""errors": ["40P01: deadlock detected"]"#);
        assert_eq!(of_post("", &database), Meaning::PassingOnce);
        let options = PostOptions::default();
        assert_eq!(repeats(&database, &options), 1);
        assert_eq!(repeats(&typed(500, "system"), &options), 2);
        let path = invalid(r#""validationErrors": {"$.a": ["Timeout is no number."]}"#);
        assert_eq!(of_post("", &path), Meaning::Final);
    }

    #[test]
    fn without_an_answer_nothing_is_known() {
        let outcome = Outcome::from(Failure::new("connection refused"));
        assert_eq!(of_post("", &outcome), Meaning::Final);
        let done = Outcome {
            http_status: Some(201),
            ..Outcome::default()
        };
        assert_eq!(of_post("", &done), Meaning::Done);
        assert_eq!(of_delete(&done), Meaning::Done);
    }
}
