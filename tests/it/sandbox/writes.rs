//! Writes: upserts, checks, references.

use reqwest::Method;
use serde_json::json;

use super::{Caller, RESULTS, STUDENTS, header, json_of, problem, send, start, student, text_of};

#[tokio::test]
async fn a_post_creates_and_then_updates() {
    let ods = start();
    let caller = Caller::new(&ods, "255901").await;
    let created = caller.post(STUDENTS, &student("new")).await;
    assert_eq!(created.status(), 201);
    let location = header(&created, "location").expect("a Location");
    let etag = header(&created, "etag").expect("an ETag");
    assert_eq!(text_of(created).await, "");
    let id = location
        .strip_prefix(&format!("{}/data/v3/{STUDENTS}/", caller.root))
        .expect("an absolute URL");
    assert_eq!(id.len(), 32);

    let mut changed = student("new");
    changed["middleName"] = "Inés".into();
    let updated = caller.post(STUDENTS, &changed).await;
    assert_eq!(updated.status(), 200);
    assert_eq!(
        header(&updated, "location").as_deref(),
        Some(location.as_str())
    );
    assert_ne!(header(&updated, "etag"), Some(etag.clone()));
    let item = json_of(caller.get(&format!("{STUDENTS}/{id}")).await).await;
    assert_eq!(item["middleName"], "Inés");

    let mut with_id = student("new");
    with_id["id"] = id.into();
    let body = problem(caller.post(STUDENTS, &with_id).await, 400, "bad-request").await;
    assert!(body["errors"][0].as_str().expect("a text").contains("'id'"));
    for (old, status) in [
        (etag.as_str(), 412),
        (item["_etag"].as_str().expect("an etag"), 204),
    ] {
        let request = caller
            .request(Method::PUT, &format!("data/v3/{STUDENTS}/{id}"))
            .header("if-match", old);
        let request = request
            .header("content-type", "application/json")
            .body(changed.to_string());
        assert_eq!(send(request).await.status(), status);
    }
}

#[tokio::test]
async fn digits_come_back_as_they_were_sent() {
    let ods = start();
    let caller = Caller::new(&ods, "255901").await;
    let body = r#"{ "itemIdentifier": "x", "price" : 12345678901234567890.123456789012345678, "list": [1.10, {"deep":1.50e+300}] }"#;
    assert_eq!(
        caller
            .write_text(Method::POST, "ext/items", body.to_owned())
            .await
            .status(),
        201
    );
    let text = text_of(caller.get("ext/items").await).await;
    assert!(
        text.contains("\"price\":12345678901234567890.123456789012345678,"),
        "{text}"
    );
    assert!(
        text.contains("\"list\":[1.10,{\"deep\":1.50e+300}]"),
        "{text}"
    );
}

#[tokio::test]
async fn bodies_are_checked() {
    let ods = start();
    let caller = Caller::new(&ods, "255901").await;
    let kind = "bad-request:data-validation-failed";
    let body = json!({"studentUniqueId": 5, "birthDate": "yesterday", "firstName": "x".repeat(76),
        "multipleBirthStatus": "no", "otherNames": [{"firstName": 1}]});
    let errors =
        problem(caller.post(STUDENTS, &body).await, 400, kind).await["validationErrors"].clone();
    assert_eq!(errors["$.lastSurname"], json!(["LastSurname is required."]));
    for path in [
        "$.studentUniqueId",
        "$.birthDate",
        "$.firstName",
        "$.multipleBirthStatus",
        "$.otherNames[0].firstName",
        "$.otherNames[0].lastSurname",
    ] {
        assert!(errors[path].is_array(), "{path} in {errors}");
    }
    for text in ["{", "[]", "1", "null"] {
        problem(
            caller
                .write_text(Method::POST, STUDENTS, text.to_owned())
                .await,
            400,
            kind,
        )
        .await;
    }
    problem(
        caller
            .write_text(Method::POST, STUDENTS, String::new())
            .await,
        400,
        "bad-request",
    )
    .await;
    let request = caller
        .request(Method::POST, &format!("data/v3/{STUDENTS}"))
        .body(student("x").to_string());
    problem(
        send(request.header("content-type", "text/plain")).await,
        415,
        "unsupported-media-type",
    )
    .await;
    problem(
        caller.post("ed-fi/nonsense", &json!({})).await,
        404,
        "not-found",
    )
    .await;
    for (method, path) in [
        (Method::PUT, STUDENTS),
        (Method::DELETE, STUDENTS),
        (Method::PATCH, STUDENTS),
        (
            Method::POST,
            "ed-fi/students/00000000000000000000000000000000",
        ),
    ] {
        problem(
            caller.write(method, path, &student("x")).await,
            405,
            "method-not-allowed",
        )
        .await;
    }
}

#[tokio::test]
async fn references_must_lead_somewhere() {
    let ods = start();
    let caller = Caller::new(&ods, "255901").await;
    let mut result = caller.list(&format!("{RESULTS}?limit=1")).await.remove(0);
    for own in ["id", "_etag", "_lastModifiedDate"] {
        result.as_object_mut().expect("an object").remove(own);
    }
    assert_eq!(caller.post(RESULTS, &result).await.status(), 200);
    let known = result["studentReference"]["studentUniqueId"].clone();
    result["studentReference"] = json!({"studentUniqueId": "nobody"});
    let body = problem(
        caller.post(RESULTS, &result).await,
        409,
        "data-conflict:unresolved-reference",
    )
    .await;
    assert_eq!(
        body["detail"],
        "The referenced 'Student' item does not exist."
    );
    caller.post(STUDENTS, &student("nobody")).await;
    let created = caller.post(RESULTS, &result).await;
    assert_eq!(created.status(), 201);

    let stored = json_of(
        send(
            caller
                .http
                .get(header(&created, "location").expect("a Location"))
                .bearer_auth(&caller.token),
        )
        .await,
    )
    .await;
    let href = stored["studentReference"]["link"]["href"]
        .as_str()
        .expect("a link");
    assert_eq!(
        json_of(caller.get(&href[1..]).await).await["studentUniqueId"],
        "nobody"
    );
    let path = href.trim_start_matches('/');
    let refused = caller.write(Method::DELETE, path, &json!({})).await;
    let body = problem(refused, 409, "data-conflict:dependent-item-exists").await;
    assert!(
        body["detail"]
            .as_str()
            .expect("a text")
            .contains("'StudentAssessment'")
    );
    assert_ne!(known, "nobody");
}
