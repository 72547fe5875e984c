//! The server itself, and what it says about itself.

use std::time::Duration;

use polars_edfi::sandbox::{Faults, Sandbox};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Caller, STUDENTS, form, header, http, json_of, problem, send, small, start};

#[tokio::test]
async fn discovery_names_the_urls_of_the_district() {
    let ods = start();
    let http = http();
    for path in ["255901", "255901/"] {
        let document = json_of(send(http.get(format!("{}/{path}", ods.url()))).await).await;
        let root = ods.district_url("255901").expect("a district");
        assert_eq!(document["version"], "7.3");
        assert_eq!(
            document["urls"]["dataManagementApi"],
            format!("{root}/data/v3/")
        );
        assert_eq!(document["urls"]["oauth"], format!("{root}/oauth/token"));
        assert_eq!(
            document["urls"]["openApiMetadata"],
            format!("{root}/metadata/")
        );
    }
    let document = json_of(send(http.get(ods.url())).await).await;
    let data = document["urls"]["dataManagementApi"]
        .as_str()
        .expect("a URL");
    assert!(data.ends_with("/{tenantIdentifier}/data/v3/"));
    problem(
        send(http.get(format!("{}/nowhere", ods.url()))).await,
        404,
        "not-found",
    )
    .await;
}

#[tokio::test]
async fn the_log_tells_requests_but_no_secrets() {
    let ods = small().keep_bodies(true).start().expect("a sandbox");
    let caller = Caller::new(&ods, "255901").await;
    ods.clear_requests();
    caller.get(&format!("{STUDENTS}?limit=1")).await;
    caller.post(STUDENTS, &json!({"a": 1})).await;
    let (key, secret) = ods.credentials("255901").expect("a district");
    caller.ask_token(&key, &secret).await;
    let in_body = format!("grant_type=client_credentials&client_id={key}&client_secret={secret}");
    send(form(
        caller.http.post(format!("{}/oauth/token", caller.root)),
        &in_body,
    ))
    .await;
    let requests = ods.requests();
    assert_eq!(requests.len(), 4);
    let first = &requests[0];
    assert_eq!(
        (first.method.as_str(), first.district.as_deref()),
        ("GET", Some("255901"))
    );
    assert_eq!(
        (first.path.as_str(), first.query.as_str()),
        ("/data/v3/ed-fi/students", "limit=1")
    );
    assert_eq!(
        (first.status, first.token_accepted),
        (Some(200), Some(true))
    );
    assert_eq!(requests[1].body.as_deref(), Some(&b"{\"a\":1}"[..]));
    assert!(requests[3].body.is_none());
    let shown = format!("{requests:?} {ods:?}");
    assert!(!shown.contains(&secret) && !shown.contains(&caller.token));
}

#[tokio::test]
async fn requests_at_once_are_counted() {
    let ods = small()
        .latency(Duration::from_millis(300))
        .start()
        .expect("a sandbox");
    let caller = Caller::new(&ods, "255901").await;
    assert_eq!(ods.max_in_flight(), 1);
    let (a, b, c) = tokio::join!(
        caller.get(STUDENTS),
        caller.get(STUDENTS),
        caller.get(STUDENTS)
    );
    assert!(
        [a, b, c]
            .iter()
            .all(|answer| answer.status() == StatusCode::OK)
    );
    assert_eq!(ods.max_in_flight(), 3);
}

#[tokio::test]
async fn a_stopped_sandbox_answers_no_more() {
    let ods = start();
    let url = ods.url();
    let http = http();
    send(http.get(&url)).await;
    drop(ods);
    assert!(http.get(&url).send().await.is_err());
    let taken = start();
    let port = taken
        .url()
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok())
        .expect("a port");
    let error = small()
        .port(port)
        .start()
        .expect_err("the port is taken")
        .to_string();
    assert!(error.contains(&port.to_string()), "{error}");
    assert!(Sandbox::builder().districts(["a", "a"]).start().is_err());
}

#[tokio::test]
async fn the_metadata_is_true() {
    let ods = small().records(200).start().expect("a sandbox");
    let caller = Caller::new(&ods, "255901").await;
    let sections = json_of(send(caller.http.get(format!("{}/metadata/", caller.root))).await).await;
    let mut checked = 0;
    for section in sections.as_array().expect("sections") {
        let answer = send(
            caller
                .http
                .get(section["endpointUri"].as_str().expect("a URL")),
        )
        .await;
        let etag = header(&answer, "etag").expect("an ETag");
        let document = json_of(answer).await;
        let again = caller
            .http
            .get(section["endpointUri"].as_str().expect("a URL"))
            .header("if-none-match", etag);
        assert_eq!(send(again).await.status(), 304);
        for (path, item) in document["paths"].as_object().expect("paths") {
            let schema =
                &item["get"]["responses"]["200"]["content"]["application/json"]["schema"]["items"];
            if path.matches('/').count() != 2 {
                continue;
            }
            let known = item["get"]["parameters"].as_array().expect("parameters");
            assert!(
                known.iter().any(|one| one["x-Ed-Fi-isIdentity"] == true),
                "{path}"
            );
            for record in caller.list(path.trim_start_matches('/')).await {
                conforms(&document, schema, &record, path);
                checked += 1;
            }
        }
    }
    assert!(checked > 250);
    ods.set_faults(
        "255901",
        Faults {
            no_metadata: true,
            ..Faults::default()
        },
    );
    problem(
        send(caller.http.get(format!("{}/metadata/", caller.root))).await,
        404,
        "not-found",
    )
    .await;
    ods.set_faults(
        "255901",
        Faults {
            metadata_statuses: vec![500],
            ..Faults::default()
        },
    );
    assert_eq!(
        send(caller.http.get(format!("{}/metadata/", caller.root)))
            .await
            .status(),
        500
    );
}

/// Every member has its place in the schema, and its type; every required member is there.
fn conforms(document: &Value, schema: &Value, value: &Value, path: &str) {
    let named = schema["$ref"]
        .as_str()
        .and_then(|path| path.rsplit('/').next());
    let schema = named.map_or(schema, |name| &document["components"]["schemas"][name]);
    let fits = match schema["type"].as_str().expect("a type") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        other => panic!("{other} at {path}"),
    };
    assert!(fits, "{path}: {value} is not {schema}");
    for (name, value) in value.as_object().into_iter().flatten() {
        let member = &schema["properties"][name];
        assert!(member.is_object(), "{path}.{name} has no schema");
        conforms(document, member, value, &format!("{path}.{name}"));
    }
    for name in schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        assert!(value.get(name).is_some(), "{path}.{name} is missing");
    }
    for value in value.as_array().into_iter().flatten() {
        conforms(document, &schema["items"], value, path);
    }
}

async fn dependencies(caller: &Caller) -> Vec<(u64, String, Vec<String>)> {
    let url = format!("{}/metadata/data/v3/dependencies", caller.root);
    let entries = json_of(send(caller.http.get(url)).await).await;
    let texts = |list: &Value| -> Vec<String> {
        let list = list.as_array().expect("a list").iter();
        list.map(|text| text.as_str().expect("a text").to_owned())
            .collect()
    };
    let entries = entries.as_array().expect("entries").iter();
    entries
        .map(|entry| {
            let resource = entry["resource"].as_str().expect("a resource");
            let order = entry["order"].as_u64().expect("a number");
            (order, resource.to_owned(), texts(&entry["operations"]))
        })
        .collect()
}

#[tokio::test]
async fn dependencies_order_what_is_served() {
    let ods = start();
    let caller = Caller::new(&ods, "255901").await;
    let entries = dependencies(&caller).await;
    assert!(entries.iter().map(|(order, ..)| order).is_sorted());
    let orders = |resource: &str, operation: &str| -> Vec<u64> {
        let path = format!("/ed-fi/{resource}");
        let mut found = entries.clone();
        found.retain(|(_, name, operations)| {
            *name == path && operations.iter().any(|one| one == operation)
        });
        found.into_iter().map(|(order, ..)| order).collect()
    };
    let order = |resource: &str| {
        let found = orders(resource, "Create");
        assert_eq!(found.len(), 1, "{resource}");
        found[0]
    };
    assert_eq!(order("gradeLevelDescriptors"), 1);
    for (first, then) in [
        ("gradeLevelDescriptors", "students"),
        ("localEducationAgencies", "schools"),
        ("schools", "studentSchoolAssociations"),
        ("schools", "classPeriods"),
        ("students", "studentSchoolAssociations"),
        ("studentSchoolAssociations", "studentAssessments"),
        ("assessments", "objectiveAssessments"),
        ("objectiveAssessments", "studentAssessments"),
    ] {
        assert!(order(first) < order(then), "{first} before {then}");
    }
    // People stand there twice.
    let enrolment = order("studentSchoolAssociations");
    assert_eq!(orders("students", "Update"), [enrolment + 1]);
    assert!(orders("schoolYearTypes", "Create").is_empty());

    let old = small().release("6.1").start().expect("a sandbox");
    let mut unsorted = dependencies(&Caller::new(&old, "255901").await).await;
    assert!(!unsorted.iter().map(|(order, ..)| order).is_sorted());
    unsorted.sort();
    assert_eq!(unsorted, entries);
    let faults = Faults {
        no_dependencies: true,
        ..Faults::default()
    };
    ods.set_faults("255901", faults);
    let url = format!("{}/metadata/data/v3/dependencies", caller.root);
    problem(send(caller.http.get(url)).await, 404, "not-found").await;
    let discovery = json_of(send(caller.http.get(&caller.root)).await).await;
    assert_eq!(discovery["urls"]["dependencies"], Value::Null);
}

#[tokio::test]
async fn a_host_takes_only_so_many_requests() {
    for retry_after in [true, false] {
        let hour = Duration::from_secs(3_600);
        let builder = small().request_limit(4, hour, retry_after);
        let ods = builder.start().expect("a sandbox");
        let caller = Caller::new(&ods, "255901").await;
        for _ in 0..3 {
            assert_eq!(caller.get(STUDENTS).await.status(), 200);
        }
        let refused = caller.get(STUDENTS).await;
        let seconds = header(&refused, "retry-after").map(|text| text.parse::<u64>());
        assert_eq!(seconds.is_some(), retry_after);
        assert!(seconds.is_none_or(|seconds| matches!(seconds, Ok(1..=3_600))));
        problem(refused, 429, "too-many-requests").await;
    }
}

#[tokio::test]
async fn filters_can_be_ignored() {
    let ods = start();
    let caller = Caller::new(&ods, "255901").await;
    let id = ods.items("255901", STUDENTS)[0]["studentUniqueId"].clone();
    let path = format!("{STUDENTS}?studentUniqueId={}", id.as_str().expect("an id"));
    assert_eq!(caller.list(&path).await.len(), 1);
    let faults = Faults {
        ignore_filters: true,
        ..Faults::default()
    };
    ods.set_faults("255901", faults);
    assert_eq!(caller.list(&path).await.len(), 10);
}
