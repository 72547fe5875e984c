//! Payloads checked before they are sent: beside a sandbox that checks them by rules of its own.

use std::collections::HashMap;
use std::path::Path;

use polars::prelude::*;
use polars_edfi::sandbox::Sandbox;
use polars_edfi::{
    BatchOptions, CompareOptions, EdFiClient, Error, PostOptions, Rule, ValidateOptions, blocking,
};
use serde_json::{Value, json};

use crate::real_data::{document, grand_bend, read_file, shared_data};
use crate::support::{BAD, STUDENTS, own, soon, start, texts, words};

fn payloads(endpoint: &str, bodies: &[Value]) -> (String, DataFrame) {
    let texts: Vec<String> = bodies.iter().map(Value::to_string).collect();
    let keys: Vec<u32> = (0..).take(texts.len()).collect();
    let df = df!("payload" => texts, "k" => keys).expect("a frame");
    (endpoint.to_owned(), df)
}

fn student(id: &str) -> Value {
    json!({"studentUniqueId": id, "birthDate": "2010-01-01", "firstName": "A", "lastSurname": "B"})
}

async fn validate(client: &EdFiClient, frames: &[(String, DataFrame)]) -> DataFrame {
    let found = soon(client.validate(frames, &ValidateOptions::default())).await;
    found.expect("a frame")
}

/// severity, rule, path of each finding
fn told(findings: &DataFrame) -> Vec<String> {
    let [severity, rule, path] =
        ["severity", "rule", "path"].map(|name| texts(findings, name).into_iter());
    let all = severity.zip(rule).zip(path);
    all.map(|((severity, rule), path)| {
        let path = path.unwrap_or_default();
        format!("{} {} {path}", severity.unwrap(), rule.unwrap())
    })
    .collect()
}

#[tokio::test]
async fn all_findings_of_all_rows() {
    let ods = start();
    let client = own(&ods, BAD).build().expect("a client");
    let mut wrong = student("2");
    wrong["firstname"] = "A".into();
    wrong["birthDate"] = "2010-02-30".into();
    wrong["birthCountryDescriptor"] = "uri://ed-fi.org/CountryDescriptor#XX".into();
    wrong["birthSexDescriptor"] = "uri://ed-fi.org/SexDescriptor#FEMALE".into();
    wrong["id"] = "1".into();
    wrong
        .as_object_mut()
        .expect("an object")
        .remove("lastSurname");
    let (endpoint, students) = payloads(STUDENTS, &[student("1"), wrong, student("1"), json!([])]);
    let findings = validate(&client, &[(endpoint, students)]).await;
    let expected = [
        "error schema $.lastSurname",
        "warning schema $.firstname",
        "error schema $.birthDate",
        "error schema $.id",
        "error descriptors $.birthCountryDescriptor",
        "warning descriptors $.birthSexDescriptor",
        "error schema $",
    ];
    let mut found = told(&findings);
    let mut wanted: Vec<String> = expected.map(str::to_owned).into();
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
    let rows = findings.column("row_index").expect("a column");
    let rows: Vec<_> = rows.idx().expect("numbers").iter().collect();
    assert_eq!(rows, [[Some(1); 6].as_slice(), &[Some(3)]].concat());
    let details = words(&findings, "detail").join("\n");
    for part in [
        "is required",
        "it is written 'firstName'",
        "a date such as",
        "must be an object",
        "differs in case only from 'uri://ed-fi.org/SexDescriptor#Female'",
    ] {
        assert!(details.contains(part), "{part}: {details}");
    }
}

#[tokio::test]
async fn rules_are_chosen_and_results_have_a_fixed_shape() {
    let ods = start();
    let client = own(&ods, BAD).build().expect("a client");
    let frames = [payloads(STUDENTS, &[json!({"x": 1})])];
    let options = ValidateOptions {
        rules: vec![Rule::Keys],
        batch: BatchOptions {
            row_id_col: Some("k".into()),
            ..BatchOptions::default()
        },
        ..ValidateOptions::default()
    };
    let found = soon(client.validate(&frames, &options)).await;
    let found = found.expect("a frame");
    assert_eq!(found.height(), 0);
    let expected = [
        ("endpoint", DataType::String),
        ("row_index", IDX_DTYPE),
        ("row_id", DataType::UInt32),
        ("severity", DataType::String),
        ("rule", DataType::String),
        ("path", DataType::String),
        ("detail", DataType::String),
    ];
    for (column, (name, dtype)) in found.columns().iter().zip(expected) {
        assert_eq!((column.name().as_str(), column.dtype()), (name, &dtype));
    }
    let none = ValidateOptions {
        rules: Vec::new(),
        ..ValidateOptions::default()
    };
    let refused = soon(client.validate(&frames, &none)).await;
    assert!(matches!(refused, Err(Error::Config(_))), "{refused:?}");
    let missing = ValidateOptions {
        payload_col: "p".into(),
        ..ValidateOptions::default()
    };
    let refused = soon(client.validate(&frames, &missing)).await;
    assert!(matches!(refused, Err(Error::ColumnNotFound(_))));
}

#[tokio::test]
async fn what_good_rows_bring_counts_as_there() {
    let ods = start();
    let client = own(&ods, BAD).build().expect("a client");
    let result = |student: &str| {
        json!({"studentAssessmentIdentifier": student, "administrationDate": "2026-01-01",
            "assessmentReference": {"assessmentIdentifier": "none", "namespace": "uri://x"},
            "studentReference": {"studentUniqueId": student}})
    };
    let mut spoilt = student("new-2");
    spoilt["birthDate"] = "never".into();
    let frames = [
        payloads(
            "ed-fi/studentAssessments",
            &[result("new-1"), result("new-2"), result("new-3")],
        ),
        payloads(STUDENTS, &[student("new-1"), spoilt]),
    ];
    let options = ValidateOptions {
        rules: vec![Rule::Schema, Rule::References],
        ..ValidateOptions::default()
    };
    let found = soon(client.validate(&frames, &options)).await;
    let found = found.expect("a frame");
    let mut missing: Vec<(String, String)> = words(&found, "path")
        .into_iter()
        .zip(words(&found, "detail"))
        .filter(|(path, _)| path == "$.studentReference")
        .collect();
    missing.sort();
    assert_eq!(missing.len(), 2, "{found:?}");
    assert!(
        missing[0]
            .1
            .contains("\"new-2\"; the row that would bring it has errors")
    );
    assert!(missing[1].1.ends_with("\"new-3\""));
}

#[test]
fn rows_with_errors_stay_home() {
    let ods = start();
    let client: blocking::EdFiClient = own(&ods, BAD).build().expect("a client").into();
    let (_, df) = payloads(
        STUDENTS,
        &[
            student("home-1"),
            json!({"studentUniqueId": "home-2"}),
            student("home-3"),
        ],
    );
    let mut options = PostOptions {
        validate: true,
        ..PostOptions::default()
    };
    options.batch.endpoint = Some(STUDENTS.into());
    for commit in [false, true] {
        options.commit = commit;
        let sent = client.batch_post_payload(&df, "payload", "k", &options);
        let sent = sent.expect("a frame");
        let kept = texts(&sent, "message")[1].clone().expect("a message");
        assert_eq!(kept, "invalid: $.birthDate: is required (and 2 more)");
        let statuses = texts(&sent, "status");
        assert_eq!(statuses[1].as_deref(), Some("error"));
        let expected = (!commit).then_some("dry_run");
        assert_eq!(statuses[0].as_deref(), expected);
    }
    let items = ods.items(BAD, STUDENTS);
    let posted = items.iter().filter(|item| {
        let id = item["studentUniqueId"].as_str();
        id.is_some_and(|id| id.starts_with("home-"))
    });
    assert_eq!(posted.count(), 2);
}

/// Grand Bend and its descriptors, in a sandbox that is strict.
fn loaded(data: &Path) -> (Sandbox, HashMap<String, Vec<Value>>) {
    let ods = Sandbox::builder()
        .districts(["gb"])
        .records(0)
        .openapi(document(data, "resources-ds-5.0.json"))
        .openapi(document(data, "descriptor-api-5.0.json"))
        .start()
        .expect("a sandbox");
    let mut all: HashMap<String, Vec<Value>> = grand_bend(data).collect();
    for entry in read_file(&data.join("records/descriptors-ds5.2.jsonl.gz")) {
        let endpoint = entry["resource"]
            .as_str()
            .expect("a path")
            .trim_matches('/');
        let all = all.entry(endpoint.to_owned()).or_default();
        all.push(entry["body"].clone());
    }
    let years = (2020..2026).map(|year| {
        json!({"schoolYear": year, "currentSchoolYear": year == 2022, "schoolYearDescription": "x"})
    });
    all.insert("ed-fi/schoolYearTypes".into(), years.collect());
    for (endpoint, bodies) in &all {
        ods.load("gb", endpoint, bodies.iter().cloned())
            .expect("a load");
    }
    (ods, all)
}

/// The places of all values below a value, but for the root.
fn places(value: &Value, path: &str, found: &mut Vec<String>) {
    let mut each = |name: String, value: &Value| {
        let path = format!("{path}/{name}");
        places(value, &path, found);
        found.push(path);
    };
    match value {
        Value::Object(members) => members
            .iter()
            .for_each(|(name, value)| each(name.clone(), value)),
        Value::Array(list) => (0..)
            .zip(list)
            .for_each(|(at, value)| each(format!("{at}"), value)),
        _ => {}
    }
}

/// Does one of the things to a payload that go wrong in files of vendors.
fn mutate(body: &mut Value, random: &mut fastrand::Rng) {
    let mut all = Vec::new();
    places(body, "", &mut all);
    let place = all[random.usize(..all.len())].clone();
    let (parent, name) = place.rsplit_once('/').expect("a path");
    let name = name.to_owned();
    let target = body.pointer(&place).cloned().unwrap_or_default();
    let parent = body.pointer_mut(parent).expect("the parent");
    let put = |parent: &mut Value, value: Value| match parent {
        Value::Object(members) => drop(members.insert(name.clone(), value)),
        Value::Array(list) => list[name.parse::<usize>().expect("a number")] = value,
        _ => {}
    };
    match random.u8(..9) {
        0 | 1 => match parent {
            Value::Object(members) => drop(members.remove(&name)),
            Value::Array(list) => list.push(target),
            _ => {}
        },
        2 => put(parent, Value::Null),
        3 => put(parent, json!({"unexpected": true})),
        4 => match &target {
            Value::String(text) => put(parent, format!("{text}{}", "x".repeat(320)).into()),
            Value::Number(_) => put(parent, json!(5_000_000_000_000_000_000_i64)),
            _ => put(parent, json!("text")),
        },
        5 => match &target {
            Value::String(text) => put(parent, format!("{text}x").into()),
            Value::Number(number) => put(parent, number.to_string().into()),
            Value::Bool(truth) => put(parent, truth.to_string().into()),
            _ => put(parent, json!(7)),
        },
        6 => match &target {
            Value::Number(number) => put(parent, json!(number.as_f64().unwrap_or(0.0) + 0.5)),
            _ => put(parent, json!("2022-13-41")),
        },
        7 => match &target {
            Value::String(_) => put(parent, "".into()),
            _ => put(parent, json!([])),
        },
        _ => body["id"] = "0123456789abcdef0123456789abcdef".into(),
    }
}

#[tokio::test]
async fn what_a_strict_server_refuses_is_predicted() {
    let Some(data) = shared_data() else { return };
    let (ods, all) = loaded(&data);
    let client = own(&ods, "gb").build().expect("a client");
    let mut random = fastrand::Rng::with_seed(20_260_831);
    let (mut refused, mut predicted, mut accepted, mut alarms) = (0, 0, 0, Vec::new());
    for (endpoint, bodies) in &all {
        // Those whose mutations move others, and where people are out of reach.
        if endpoint.ends_with("Descriptors") || endpoint.ends_with("schoolYearTypes") {
            continue;
        }
        let count = bodies.len().min(40);
        let bodies: Vec<Value> = (0..count)
            .map(|row| {
                let mut body = bodies[random.usize(..bodies.len())].clone();
                if row % 5 > 0 {
                    mutate(&mut body, &mut random);
                }
                body
            })
            .collect();
        let frames = [payloads(endpoint, &bodies)];
        let findings = validate(&client, &frames).await;
        let severities = texts(&findings, "severity");
        let rows = findings
            .column("row_index")
            .expect("rows")
            .idx()
            .expect("numbers")
            .clone();
        let mut errors: HashMap<usize, String> = HashMap::new();
        for (place, row) in rows.iter().enumerate() {
            if let (Some(row), Some("error")) = (row, severities[place].as_deref()) {
                let [path, detail] =
                    ["path", "detail"].map(|name| words_at(&findings, name, place));
                errors.insert(row as usize, format!("{path}: {detail}"));
            }
        }
        let mut options = PostOptions {
            commit: true,
            ..PostOptions::default()
        };
        options.batch.endpoint = Some(endpoint.clone());
        let sent = soon(client.batch_post_payload(&frames[0].1, "payload", "k", &options)).await;
        let sent = sent.expect("a frame");
        let statuses = sent
            .column("http_status")
            .expect("statuses")
            .i32()
            .expect("numbers");
        let messages = texts(&sent, "message");
        for (row, status) in statuses.iter().enumerate() {
            match (status, errors.get(&row)) {
                (Some(400 | 409), error) => {
                    refused += 1;
                    predicted += usize::from(error.is_some());
                    if error.is_none() {
                        println!(
                            "not predicted: {endpoint} {:?} {}",
                            messages[row], bodies[row]
                        );
                    }
                }
                (Some(200 | 201), error) => {
                    accepted += 1;
                    if let Some(error) = error {
                        alarms.push(format!("{endpoint}: {error}: {}", bodies[row]));
                    }
                }
                (Some(403), _) => {}
                (status, _) => panic!("{endpoint}: {status:?} {:?}", messages[row]),
            }
        }
    }
    println!(
        "{predicted} of {refused} predicted; {} of {accepted} alarms",
        alarms.len()
    );
    for alarm in &alarms {
        println!("alarm: {alarm}");
    }
    assert!(refused > 500 && accepted > 300, "{refused} {accepted}");
    assert!(predicted * 100 >= refused * 95, "{predicted} of {refused}");
    assert!(
        alarms.len() * 50 <= accepted,
        "{} of {accepted}",
        alarms.len()
    );
}

fn words_at(df: &DataFrame, name: &str, place: usize) -> String {
    texts(df, name)[place].clone().unwrap_or_default()
}

#[tokio::test]
async fn nothing_is_found_in_what_is_accepted() {
    let Some(data) = shared_data() else { return };
    let (ods, all) = loaded(&data);
    let client = own(&ods, "gb").build().expect("a client");
    // What refers to items that the sample does not have is refused by a strict server.
    let frames: Vec<_> = all
        .iter()
        .filter(|(endpoint, _)| !endpoint.ends_with("/disciplineActions"))
        .map(|(endpoint, bodies)| payloads(endpoint, bodies))
        .collect();
    ods.clear_requests();
    let findings = validate(&client, &frames).await;
    let errors: Vec<String> = told(&findings)
        .into_iter()
        .filter(|told| told.starts_with("error"))
        .collect();
    assert_eq!(errors, Vec::<String>::new(), "{findings:?}");
    // Each collection once: a request each, as none is larger than ten pages, and a few counts.
    let mut seen: HashMap<String, usize> = HashMap::new();
    for request in ods.requests() {
        if request.path.contains("/data/") && request.query.contains("offset=0&") {
            *seen.entry(request.path).or_default() += 1;
        }
    }
    assert!(seen.values().all(|count| *count <= 2), "{seen:?}");
}

#[tokio::test]
async fn what_an_ods_has_is_the_same_compared_with_itself() {
    let Some(data) = shared_data() else { return };
    let (ods, all) = loaded(&data);
    let client = own(&ods, "gb").build().expect("a client");
    let frames: Vec<_> = all
        .iter()
        .map(|(endpoint, bodies)| payloads(endpoint, bodies))
        .collect();
    let options = CompareOptions {
        extra: true,
        ..CompareOptions::default()
    };
    let compared = soon(client.compare(&frames, &options)).await;
    let compared = compared.expect("a frame");
    let total: usize = frames.iter().map(|(_, df)| df.height()).sum();
    let statuses = words(&compared, "status");
    let others: Vec<_> = statuses.iter().filter(|status| *status != "same").collect();
    assert!(others.is_empty(), "{others:?}");
    assert_eq!(compared.height(), total);
}
