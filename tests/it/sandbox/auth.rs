//! Tokens: who gets one, and how long it counts.

use std::time::Duration;

use polars_edfi::sandbox::Faults;
use serde_json::json;

use super::{Caller, STUDENTS, form, http, json_of, problem, send, small, start};

#[tokio::test]
async fn tokens_are_given_to_those_who_have_the_secret() {
    let ods = start();
    let caller = Caller::new(&ods, "255901").await;
    assert_eq!(caller.token.len(), 32);
    let (key, secret) = ods.credentials("255901").expect("a district");
    let url = format!("{}/oauth/token", caller.root);

    let body = json_of(caller.ask_token(&key, &secret).await).await;
    assert_eq!(
        (&body["expires_in"], &body["token_type"]),
        (&json!(1800), &json!("bearer"))
    );

    let in_body = format!("grant_type=client_credentials&client_id={key}&client_secret={secret}");
    assert_eq!(
        send(form(caller.http.post(&url), &in_body)).await.status(),
        200
    );
    let as_json =
        json!({"grant_type": "client_credentials", "client_id": key, "client_secret": secret});
    let request = caller
        .http
        .post(&url)
        .header("content-type", "application/json")
        .body(as_json.to_string());
    assert_eq!(send(request).await.status(), 200);

    let both = send(form(
        caller.http.post(&url).basic_auth(&key, Some(&secret)),
        &in_body,
    ))
    .await;
    assert_eq!(both.status(), 400);
    assert_eq!(json_of(both).await["error"], "invalid_client");
    let wrong = caller.ask_token(&key, "wrong").await;
    assert_eq!(wrong.status(), 401);
    assert_eq!(json_of(wrong).await["error"], "invalid_client");
    let other = send(form(
        caller.http.post(&url).basic_auth(&key, Some(&secret)),
        "grant_type=password",
    ))
    .await;
    assert_eq!(json_of(other).await["error"], "unsupported_grant_type");
}

#[tokio::test]
async fn only_live_tokens_of_the_district_open_it() {
    let ods = start();
    let caller = Caller::new(&ods, "255901").await;
    assert_eq!(caller.get(STUDENTS).await.status(), 200);
    let other = Caller {
        http: http(),
        root: ods.district_url("255902").expect("a district"),
        token: caller.token.clone(),
    };
    problem(other.get(STUDENTS).await, 401, "security:authentication").await;
    let bare = send(
        caller
            .http
            .get(format!("{}/data/v3/{STUDENTS}", caller.root)),
    )
    .await;
    problem(bare, 401, "security:authentication").await;

    ods.revoke_tokens("255901");
    problem(caller.get(STUDENTS).await, 401, "security:authentication").await;
    ods.set_token_lifetime(Duration::ZERO);
    let expired = Caller::new(&ods, "255901").await;
    problem(expired.get(STUDENTS).await, 401, "security:authentication").await;
}

#[tokio::test]
async fn a_client_may_have_only_so_many_tokens() {
    let ods = small().token_limit(2).start().expect("a sandbox");
    let caller = Caller::new(&ods, "255901").await;
    let (key, secret) = ods.credentials("255901").expect("a district");
    assert_eq!(caller.ask_token(&key, &secret).await.status(), 200);
    let refused = caller.ask_token(&key, &secret).await;
    problem(refused, 429, "security:authentication:too-many-tokens").await;
}

#[tokio::test]
async fn tokens_expire_after_so_many_requests_once() {
    let ods = start();
    let caller = Caller::new(&ods, "255901").await;
    ods.set_faults(
        "255901",
        Faults {
            expire_after: Some(2),
            ..Faults::default()
        },
    );
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(caller.get(STUDENTS).await.status().as_u16());
    }
    assert_eq!(seen, [200, 200, 401]);
    let renewed = Caller::new(&ods, "255901").await;
    for _ in 0..4 {
        assert_eq!(renewed.get(STUDENTS).await.status(), 200);
    }
    ods.set_faults(
        "255901",
        Faults {
            refuse_tokens: true,
            ..Faults::default()
        },
    );
    let renewed = Caller::new(&ods, "255901").await;
    problem(renewed.get(STUDENTS).await, 401, "security:authentication").await;
}

#[tokio::test]
async fn a_token_tells_what_it_is_good_for() {
    for (release, tells_operations) in [("7.2", false), ("7.3", true)] {
        let ods = small().release(release).start().expect("a sandbox");
        let caller = Caller::new(&ods, "255901").await;
        let ask = |token: &str| {
            let request = caller
                .http
                .post(format!("{}/oauth/token_info", caller.root));
            form(
                request.bearer_auth(&caller.token),
                &format!("token={token}"),
            )
        };
        let body = json_of(send(ask(&caller.token)).await).await;
        let (key, _) = ods.credentials("255901").expect("a district");
        assert_eq!(
            (&body["active"], &body["client_id"]),
            (&true.into(), &key.into())
        );
        let organization = &body["education_organizations"][0];
        assert_eq!(organization["education_organization_id"], 255_901);
        assert_eq!(body["claim_set"].is_object(), tells_operations);
        let resources = body["resources"].as_array();
        assert_eq!(resources.is_some(), tells_operations);
        if let Some(resources) = resources {
            let named = |one: &&serde_json::Value| one["resource"] == "/ed-fi/students";
            let students = resources.iter().find(named).expect("students");
            let operations = students["operations"].as_array();
            assert_eq!(operations.map(Vec::len), Some(5));
        }
        // Nobody else's token is told about.
        problem(send(ask("another")).await, 400, "bad-request").await;
        let frozen = ask(&caller.token).header("use-snapshot", "true");
        problem(send(frozen).await, 405, "snapshots:method-not-allowed").await;
        let faults = Faults {
            no_token_info: true,
            ..Faults::default()
        };
        ods.set_faults("255901", faults);
        problem(send(ask(&caller.token)).await, 404, "not-found").await;
    }
}
