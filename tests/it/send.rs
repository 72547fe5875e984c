//! Many resources at once, against the sandbox: in any order in, and out again.

use polars::prelude::*;
use polars_edfi::sandbox::{Faults, Sandbox};
use polars_edfi::{
    DeleteOptions, EdFiClient, Error, PostOptions, RemoveOptions, ResourceFrame, SendOptions,
    blocking,
};
use serde_json::{Value, json};

use crate::support::{DISTRICTS, STUDENTS, own, sandbox, soon, statuses, texts, words};

const ENROLMENTS: &str = "ed-fi/studentSchoolAssociations";
const SCHOOLS: &str = "ed-fi/schools";

fn strict() -> Sandbox {
    let builder = sandbox().strict(true).records(8);
    builder.start().expect("a sandbox")
}

fn client(ods: &Sandbox) -> EdFiClient {
    own(ods, DISTRICTS[0]).build().expect("a client")
}

fn committing() -> SendOptions {
    let post = PostOptions {
        commit: true,
        ..PostOptions::default()
    };
    SendOptions {
        post,
        ..SendOptions::default()
    }
}

fn frame(endpoint: &str, bodies: &[Value]) -> ResourceFrame {
    let payloads = bodies.iter().map(|body| Some(body.to_string()));
    let payloads = StringChunked::from_iter_options("payload".into(), payloads).into_column();
    let df = DataFrame::new(bodies.len(), vec![payloads]).expect("a frame");
    ResourceFrame::new(endpoint, df)
}

/// Another district's items, as they could be posted.
fn bodies(ods: &Sandbox, endpoint: &str) -> Vec<Value> {
    let mut items = ods.items(DISTRICTS[1], endpoint);
    for item in &mut items {
        tidy(item);
    }
    items
}

fn tidy(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Object(members) => {
            for own in ["id", "_etag", "_lastModifiedDate", "link"] {
                members.shift_remove(own);
            }
            members.values_mut().for_each(tidy);
        }
        _ => {}
    }
}

fn rounds(df: &DataFrame) -> Vec<u32> {
    let rounds = df.column("round").expect("a column");
    let rounds = rounds.u32().expect("numbers");
    rounds.iter().flatten().collect()
}

fn enrolment(student: &str, school: &Value) -> Value {
    json!({
        "entryDate": "2024-08-15",
        "entryGradeLevelDescriptor": "uri://ed-fi.org/GradeLevelDescriptor#Fifth grade",
        "schoolReference": {"schoolId": school["schoolId"]},
        "studentReference": {"studentUniqueId": student},
    })
}

#[tokio::test]
async fn people_are_sent_again_after_their_enrolment() {
    let ods = strict();
    let client = client(&ods);
    let school = ods.items(DISTRICTS[0], SCHOOLS).remove(0);
    let student = |name: &str| {
        json!({"studentUniqueId": name, "birthDate": "2010-01-01", "firstName": "A",
            "lastSurname": "B"})
    };
    let first = vec![frame(STUDENTS, &[student("s1"), student("s2")])];
    let sent = soon(client.send(first, "payload", None, &committing())).await;
    assert_eq!(statuses(&sent.expect("a result")), [Some(201); 2]);
    let frames = vec![
        frame(ENROLMENTS, &[enrolment("s1", &school)]),
        frame(STUDENTS, &[student("s1"), student("s2"), student("s3")]),
    ];
    let sent = soon(client.send(frames, "payload", None, &committing())).await;
    let sent = sent.expect("a result");
    assert_eq!(
        statuses(&sent),
        [Some(201), Some(200), Some(403), Some(201)]
    );
    assert_eq!(rounds(&sent), [1, 2, 2, 1]);
    let endpoints = [ENROLMENTS, STUDENTS, STUDENTS, STUDENTS];
    assert_eq!(words(&sent, "endpoint"), endpoints);
}

#[tokio::test]
async fn a_district_goes_out_and_comes_in_again() {
    for release in ["7.3", "6.1"] {
        let builder = sandbox().strict(true).records(24).release(release);
        let ods = builder.start().expect("a sandbox");
        let client = client(&ods);
        let endpoints = [
            "ed-fi/studentAssessments",
            STUDENTS,
            "ed-fi/objectiveAssessments",
            SCHOOLS,
            ENROLMENTS,
            "ed-fi/assessments",
            "ed-fi/localEducationAgencies",
        ];
        let ids = |endpoint: &&str| {
            let items = ods.items(DISTRICTS[0], endpoint);
            let ids = items.iter().map(|item| item["id"].as_str());
            let ids = StringChunked::from_iter_options("id".into(), ids).into_column();
            let df = DataFrame::new(items.len(), vec![ids]).expect("a frame");
            ResourceFrame::new(*endpoint, df)
        };
        let remove = RemoveOptions {
            delete: DeleteOptions {
                commit: true,
                ..DeleteOptions::default()
            },
            ..RemoveOptions::default()
        };
        let frames: Vec<_> = endpoints.iter().map(ids).collect();
        let removed = soon(client.remove(frames, "id", None, &remove)).await;
        let removed = removed.expect("a result");
        assert!(removed.height() > 40);
        let messages = texts(&removed, "message");
        let first = messages.iter().flatten().next();
        assert_eq!(first, None, "{release}");
        let there = |endpoint: &&str| ods.items(DISTRICTS[0], endpoint).len();
        assert_eq!(endpoints.iter().map(there).sum::<usize>(), 0);

        // The same records are those of another district as well.
        let frames = endpoints.map(|endpoint| frame(endpoint, &bodies(&ods, endpoint)));
        let expected: usize = endpoints.iter().map(|one| bodies(&ods, one).len()).sum();
        let sent = soon(client.send(frames.into(), "payload", None, &committing())).await;
        let sent = sent.expect("a result");
        assert_eq!(sent.height(), expected);
        let refused = texts(&sent, "message");
        assert_eq!(refused.iter().flatten().next(), None, "{release}");
        let now: usize = endpoints.iter().map(there).sum();
        assert_eq!(now, expected);
    }
}

#[test]
fn batches_are_read_when_their_level_comes() {
    let ods = strict();
    let client: blocking::EdFiClient = client(&ods).into();
    let whole = bodies(&ods, STUDENTS);
    let batches: Vec<_> = whole.chunks(1).map(|chunk| Ok(frame_of(chunk))).collect();
    let schema = frame_of(&[]).schema().clone();
    let frames = vec![ResourceFrame::batches(STUDENTS, &schema, batches)];
    let sent = client.send(frames, "payload", None, &committing());
    assert_eq!(sent.expect("a result").height(), whole.len());

    let broken = [
        Ok(frame_of(&whole[..1])),
        Err(Error::Config("no more".into())),
    ];
    let frames = vec![ResourceFrame::batches(STUDENTS, &schema, broken)];
    let error = client.send(frames, "payload", None, &committing());
    match error.expect_err("an error") {
        Error::Unread { rows, source } => {
            assert_eq!(rows.height(), 1);
            assert!(source.to_string().contains("no more"), "{source}");
        }
        other => panic!("{other}"),
    }
}

fn frame_of(bodies: &[Value]) -> DataFrame {
    let payloads = bodies.iter().map(|body| Some(body.to_string()));
    let payloads = StringChunked::from_iter_options("payload".into(), payloads).into_column();
    DataFrame::new(bodies.len(), vec![payloads]).expect("a frame")
}

#[tokio::test]
async fn without_dependencies_the_order_must_be_given() {
    let ods = strict();
    let faults = Faults {
        no_dependencies: true,
        ..Faults::default()
    };
    ods.set_faults(DISTRICTS[0], faults);
    let client = client(&ods);
    let frames = || vec![frame(STUDENTS, &bodies(&ods, STUDENTS))];
    let sent = soon(client.send(frames(), "payload", None, &committing())).await;
    let sent = sent.expect("a result");
    assert!(words(&sent, "message")[0].contains("order="));
    let options = SendOptions {
        order: vec![vec![STUDENTS.into()]],
        ..committing()
    };
    let sent = soon(client.send(frames(), "payload", None, &options)).await;
    let sent = sent.expect("a result");
    assert_eq!(texts(&sent, "status")[0], None);
}

#[tokio::test]
async fn wrong_calls_are_refused() {
    let ods = strict();
    let client = client(&ods);
    let twice = vec![frame(STUDENTS, &[]), frame("/ed-fi/students/", &[])];
    let error = soon(client.send(twice, "payload", None, &committing())).await;
    let error = error.expect_err("an error").to_string();
    assert!(error.contains("twice"), "{error}");
    let other = vec![frame(STUDENTS, &[])];
    let error = soon(client.send(other, "body", None, &committing())).await;
    match error.expect_err("an error") {
        Error::ColumnNotFound(text) => assert!(text.contains(STUDENTS), "{text}"),
        other => panic!("{other}"),
    }
    let none = SendOptions {
        rounds: 0,
        ..SendOptions::default()
    };
    assert!(
        soon(client.send(vec![], "payload", None, &none))
            .await
            .is_err()
    );
    assert!(ods.requests().is_empty());
}
