//! Deletes, changed keys, change versions, snapshots.

use polars_edfi::sandbox::Faults;
use reqwest::{Method, Response};
use serde_json::json;

use super::{
    Caller, ENROLMENTS, RESULTS, STUDENTS, header, ids, json_of, problem, send, start, student,
};

#[tokio::test]
async fn deletes_are_remembered() {
    let ods = start();
    let caller = Caller::new(&ods, "255901").await;
    let all = caller.list(RESULTS).await;
    let versions = || async {
        json_of(send(caller.request(Method::GET, "changeQueries/v1/availableChangeVersions")).await)
            .await
    };
    let newest = versions().await["newestChangeVersion"]
        .as_u64()
        .expect("a number");
    let id = ids(&all)[5];
    let path = format!("{RESULTS}/{id}");
    let stale = caller
        .request(Method::DELETE, &format!("data/v3/{path}"))
        .header("if-match", "\"1\"");
    problem(send(stale).await, 412, "optimistic-lock-failed").await;
    assert_eq!(
        caller
            .write(Method::DELETE, &path, &json!({}))
            .await
            .status(),
        204
    );
    problem(
        caller.write(Method::DELETE, &path, &json!({})).await,
        404,
        "not-found",
    )
    .await;
    problem(caller.get(&path).await, 404, "not-found").await;
    assert_eq!(caller.list(RESULTS).await.len(), 39);

    let deletes = caller
        .list(&format!(
            "{RESULTS}/deletes?minChangeVersion={}",
            newest + 1
        ))
        .await;
    assert_eq!(
        deletes,
        [json!({"id": id, "changeVersion": newest + 1, "keyValues": {
            "assessmentIdentifier": all[5]["assessmentReference"]["assessmentIdentifier"],
            "namespace": all[5]["assessmentReference"]["namespace"],
            "studentAssessmentIdentifier": all[5]["studentAssessmentIdentifier"],
            "studentUniqueId": all[5]["studentReference"]["studentUniqueId"],
        }})]
    );
    assert!(
        caller
            .list(&format!("{RESULTS}/deletes?maxChangeVersion={newest}"))
            .await
            .is_empty()
    );

    caller.post(STUDENTS, &student("new")).await;
    let changed = caller
        .list(&format!("{STUDENTS}?minChangeVersion={}", newest + 1))
        .await;
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0]["studentUniqueId"], "new");
    assert_eq!(versions().await["newestChangeVersion"], newest + 2);
    ods.set_faults(
        "255901",
        Faults {
            no_change_queries: true,
            ..Faults::default()
        },
    );
    problem(
        caller.get(&format!("{RESULTS}/deletes")).await,
        404,
        "not-found",
    )
    .await;
}

#[tokio::test]
async fn some_natural_keys_may_change() {
    let ods = start();
    let caller = Caller::new(&ods, "255901").await;
    let location = |answer: &Response| header(answer, "location").expect("a Location");
    let mut school = caller.list("ed-fi/schools").await.remove(0);
    let id = school["id"].as_str().expect("an id");
    let path = format!("ed-fi/schools/{id}");
    school["schoolId"] = 1.into();
    let kind = "bad-request:data-validation-failed:key-change-not-supported";
    problem(caller.write(Method::PUT, &path, &school).await, 400, kind).await;

    let period =
        |name: &str| json!({"classPeriodName": name, "schoolReference": {"schoolId": 255901001}});
    let created = caller.post("ed-fi/classPeriods", &period("1")).await;
    assert_eq!(created.status(), 201);
    let path = location(&created)
        .split_once("/data/v3/")
        .expect("a path")
        .1
        .to_owned();
    for name in ["2", "3"] {
        assert_eq!(
            caller
                .write(Method::PUT, &path, &period(name))
                .await
                .status(),
            204
        );
    }
    let changes = caller.list("ed-fi/classPeriods/keyChanges").await;
    assert_eq!(changes.len(), 1);
    assert_eq!(
        changes[0]["oldKeyValues"],
        json!({"classPeriodName": "1", "schoolId": 255901001})
    );
    assert_eq!(
        changes[0]["newKeyValues"],
        json!({"classPeriodName": "3", "schoolId": 255901001})
    );
    // The old key is free again, the new one is taken.
    assert_eq!(
        caller
            .post("ed-fi/classPeriods", &period("1"))
            .await
            .status(),
        201
    );
    assert_eq!(
        caller
            .post("ed-fi/classPeriods", &period("3"))
            .await
            .status(),
        200
    );
    let taken = caller.write(Method::PUT, &path, &period("1")).await;
    problem(taken, 409, "data-conflict:non-unique-identity").await;
    assert_eq!(caller.list("ed-fi/classPeriods").await.len(), 2);
}

#[tokio::test]
async fn a_snapshot_stays_as_it_was() {
    let ods = start();
    let caller = Caller::new(&ods, "255901").await;
    let frozen = |method: Method| {
        let request = caller.request(method, &format!("data/v3/{STUDENTS}"));
        send(
            request
                .header("use-snapshot", "true")
                .header("content-type", "application/json")
                .body("{}"),
        )
    };
    problem(frozen(Method::GET).await, 404, "not-found").await;
    ods.take_snapshot("255901");
    caller.post(STUDENTS, &student("new")).await;
    assert_eq!(
        json_of(frozen(Method::GET).await)
            .await
            .as_array()
            .map(Vec::len),
        Some(10)
    );
    assert_eq!(caller.list(STUDENTS).await.len(), 11);
    problem(
        frozen(Method::POST).await,
        405,
        "snapshots:method-not-allowed",
    )
    .await;
}

#[tokio::test]
async fn a_changed_key_shows_where_it_is_referred_to() {
    let ods = start();
    let caller = Caller::new(&ods, "255901").await;
    let results = caller.list(RESULTS).await;
    let known = results[0]["studentReference"]["studentUniqueId"].clone();
    let mut person = caller.list(STUDENTS).await;
    person.retain(|one| one["studentUniqueId"] == known);
    let (mut person, id) = (person[0].clone(), ids(&person)[0].to_owned());
    person["studentUniqueId"] = "renamed".into();
    let answer = caller
        .write(Method::PUT, &format!("{STUDENTS}/{id}"), &person)
        .await;
    assert_eq!(answer.status(), 204);
    let after = caller.list(RESULTS).await;
    for (old, new) in results.iter().zip(&after) {
        let mut expected = old.clone();
        if old["studentReference"]["studentUniqueId"] == known {
            expected["studentReference"]["studentUniqueId"] = "renamed".into();
        }
        // Neither the etag nor the change version tells of it.
        assert_eq!(*new, expected);
    }
    let filter = "studentUniqueId=renamed";
    let enrolments = caller.list(&format!("{ENROLMENTS}?{filter}")).await;
    assert_eq!(enrolments.len(), 1);
    assert!(!caller.list(&format!("{RESULTS}?{filter}")).await.is_empty());
    // They still hold on to the student.
    let refused = caller
        .write(Method::DELETE, &format!("{STUDENTS}/{id}"), &json!({}))
        .await;
    problem(refused, 409, "data-conflict:dependent-item-exists").await;
    let changes = caller.list(&format!("{STUDENTS}/keyChanges")).await;
    assert_eq!(changes[0]["newKeyValues"]["studentUniqueId"], "renamed");
}
