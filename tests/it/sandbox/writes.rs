//! Writes: upserts, checks, references.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{
    Caller, ENROLMENTS, RESULTS, STUDENTS, enrol, header, json_of, problem, send, small, start,
    student, text_of,
};

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
    // Nobody may write a student again who is in nobody's school.
    let refused = caller.post(STUDENTS, &changed).await;
    let body = problem(refused, 403, "security:authorization:").await;
    let detail = body["detail"].as_str().expect("a text");
    assert!(detail.contains("'StudentSchoolAssociation'"), "{detail}");
    assert_eq!(enrol(&caller, "new").await.status(), 201);
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
    let ods = small().strict(false).start().expect("a sandbox");
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

#[tokio::test]
async fn descriptors_must_exist() {
    let ods = start();
    let caller = Caller::new(&ods, "255901").await;
    let result = |grade: &str, level: &str| {
        let mut body = ods.items("255901", RESULTS).remove(0);
        for own in ["id", "_etag", "_lastModifiedDate"] {
            body.as_object_mut().expect("an object").remove(own);
        }
        body["whenAssessedGradeLevelDescriptor"] = grade.into();
        body["performanceLevels"] = json!([{
            "assessmentReportingMethodDescriptor":
                "uri://ed-fi.org/AssessmentReportingMethodDescriptor#Scale score",
            "performanceLevelDescriptor": level,
        }]);
        body
    };
    let (grade, level) = (
        "uri://ed-fi.org/GradeLevelDescriptor#Kindergarten",
        "uri://ed-fi.org/PerformanceLevelDescriptor#Basic",
    );
    let fine = caller.post(RESULTS, &result(grade, level)).await;
    assert_eq!(fine.status(), 200);
    let in_capitals = result(&grade.to_uppercase(), level);
    assert_eq!(caller.post(RESULTS, &in_capitals).await.status(), 200);
    let kind = "bad-request:data-validation-failed";
    let invented = "uri://ed-fi.org/PerformanceLevelDescriptor#Splendid";
    let bodies = [
        result("Kindergarten", level),
        result(level, level),
        result(grade, invented),
    ];
    for (body, path) in bodies.iter().zip([
        "$.whenAssessedGradeLevelDescriptor",
        "$.whenAssessedGradeLevelDescriptor",
        "$.performanceLevels[0].performanceLevelDescriptor",
    ]) {
        let errors = problem(caller.post(RESULTS, body).await, 400, kind).await;
        let text = errors["validationErrors"][path][0].as_str();
        let text = text.unwrap_or_else(|| panic!("{path} in {errors}"));
        assert!(text.contains("Descriptor value '"), "{text}");
        assert!(text.ends_with("' does not exist."), "{text}");
    }
    // Whoever needs another one posts it first.
    let descriptor = json!({
        "namespace": "uri://ed-fi.org/PerformanceLevelDescriptor",
        "codeValue": "Splendid",
        "shortDescription": "Splendid",
    });
    let created = caller.post("ed-fi/performanceLevelDescriptors", &descriptor);
    assert_eq!(created.await.status(), 201);
    assert_eq!(caller.post(RESULTS, &bodies[2]).await.status(), 200);
    let lenient = small().strict(false).start().expect("a sandbox");
    let caller = Caller::new(&lenient, "255901").await;
    let body = result("Kindergarten", "anything");
    assert_eq!(caller.post(RESULTS, &body).await.status(), 200);
}

#[tokio::test]
async fn enrolments_need_a_student_and_a_school() {
    let ods = start();
    let caller = Caller::new(&ods, "255901").await;
    let kind = "data-conflict:unresolved-reference";
    let refused = problem(enrol(&caller, "nobody").await, 409, kind).await;
    assert_eq!(
        refused["detail"],
        "The referenced 'Student' item does not exist."
    );
    let mut body = ods.items("255901", ENROLMENTS).remove(0);
    for own in ["id", "_etag", "_lastModifiedDate"] {
        body.as_object_mut().expect("an object").remove(own);
    }
    assert_eq!(caller.post(ENROLMENTS, &body).await.status(), 200);
    body["schoolReference"] = json!({"schoolId": 1});
    problem(caller.post(ENROLMENTS, &body).await, 409, kind).await;
    // An abstract reference means any kind of organization.
    let mut assessment = ods.items("255901", "ed-fi/assessments").remove(0);
    for own in ["id", "_etag", "_lastModifiedDate"] {
        assessment.as_object_mut().expect("an object").remove(own);
    }
    for (organization, status) in [(255_901, 200), (255_901_001, 200), (7, 409)] {
        assessment["educationOrganizationReference"] =
            json!({"educationOrganizationId": organization});
        let answer = caller.post("ed-fi/assessments", &assessment).await;
        assert_eq!(answer.status(), status, "{organization}");
    }
}

#[tokio::test]
async fn what_a_schema_does_not_have_is_dropped_and_twins_are_refused() {
    let ods = start();
    let caller = Caller::new(&ods, "255901").await;
    let mut body = student("new");
    body["firstname"] = "Eva".into();
    body["otherNames"] = json!([{"otherNameTypeDescriptor": "uri://ed-fi.org/OtherNameTypeDescriptor#Alias",
        "firstName": "A", "lastSurname": "B", "nickname": "C"}]);
    let created = caller.post(STUDENTS, &body).await;
    assert_eq!(created.status(), 201);
    let stored = ods.items("255901", STUDENTS).pop().expect("a student");
    assert_eq!(
        (&stored["firstname"], &stored["firstName"]),
        (&Value::Null, &"Ana".into())
    );
    assert_eq!(stored["otherNames"][0].as_object().map(Map::len), Some(3));
    let name = body["otherNames"][0].clone();
    body["studentUniqueId"] = "newer".into();
    body["otherNames"] = json!([name, name]);
    let kind = "bad-request:data-validation-failed";
    let errors = problem(caller.post(STUDENTS, &body).await, 400, kind).await;
    assert!(errors["validationErrors"]["$.otherNames"].is_array());
}

#[tokio::test]
async fn there_is_what_the_documents_tell() {
    let ods = start();
    let caller = Caller::new(&ods, "255901").await;
    for endpoint in ["ed-fi/sections", "ed-fi/termDescriptors", "tpdm/candidates"] {
        problem(caller.get(endpoint).await, 404, "not-found").await;
        problem(caller.post(endpoint, &json!({})).await, 404, "not-found").await;
    }
    let lenient = small().strict(false).start().expect("a sandbox");
    let caller = Caller::new(&lenient, "255901").await;
    assert!(caller.list("ed-fi/sections").await.is_empty());
}

#[tokio::test]
async fn an_empty_ods_has_descriptors_and_school_years() {
    let ods = small().records(0).start().expect("a sandbox");
    let caller = Caller::new(&ods, "255901").await;
    for (endpoint, is_empty) in [
        (RESULTS, true),
        (STUDENTS, true),
        (ENROLMENTS, true),
        ("ed-fi/schools", true),
        ("ed-fi/assessments", true),
        ("ed-fi/schoolYearTypes", false),
        ("ed-fi/gradeLevelDescriptors", false),
    ] {
        assert_eq!(
            caller.list(endpoint).await.is_empty(),
            is_empty,
            "{endpoint}"
        );
    }
}
