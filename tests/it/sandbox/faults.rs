//! What a district does wrong on purpose.

use std::time::Duration;

use polars_edfi::sandbox::Faults;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Caller, RESULTS, STUDENTS, header, json_of, start, text_of};

#[tokio::test]
async fn statuses_come_in_their_order_and_then_no_more() {
    let ods = start();
    let caller = Caller::new(&ods, "255901").await;
    let faults = Faults {
        statuses: vec![503, 0, 429, 500],
        token_statuses: vec![500],
        retry_after: Some(2),
        ..Faults::default()
    };
    ods.set_faults("255901", faults);
    let mut seen = Vec::new();
    for _ in 0..5 {
        let answer = caller.get(STUDENTS).await;
        seen.push((answer.status().as_u16(), header(&answer, "retry-after")));
    }
    let two = Some("2".to_owned());
    assert_eq!(
        seen,
        [
            (503, two.clone()),
            (200, None),
            (429, two),
            (500, None),
            (200, None)
        ]
    );
    let (key, secret) = ods.credentials("255901").expect("a district");
    assert_eq!(caller.ask_token(&key, &secret).await.status(), 500);
    assert_eq!(caller.ask_token(&key, &secret).await.status(), 200);
    // The other district is none the worse.
    assert_eq!(
        Caller::new(&ods, "255902")
            .await
            .get(STUDENTS)
            .await
            .status(),
        200
    );

    ods.set_faults(
        "255901",
        Faults {
            always_status: Some(502),
            writes_only: true,
            ..Faults::default()
        },
    );
    assert_eq!(caller.get(STUDENTS).await.status(), 200);
    assert_eq!(caller.post(STUDENTS, &json!({})).await.status(), 502);
    ods.set_faults("255901", Faults::default());
    assert_eq!(caller.post(STUDENTS, &json!({})).await.status(), 400);
}

#[tokio::test]
async fn connections_break_before_and_after_the_work() {
    let ods = start();
    let caller = Caller::new(&ods, "255901").await;
    let body = |id: &str| json!({"studentUniqueId": id, "birthDate": "2012-01-02", "firstName": "A", "lastSurname": "B"});
    let before = ods.items("255901", STUDENTS).len();
    ods.set_faults(
        "255901",
        Faults {
            break_before: 1,
            break_after: 1,
            ..Faults::default()
        },
    );
    for (id, more) in [("a", 0), ("b", 1)] {
        let request = caller.request(Method::POST, &format!("data/v3/{STUDENTS}"));
        let request = request
            .header("content-type", "application/json")
            .body(body(id).to_string());
        assert!(request.send().await.is_err());
        assert_eq!(ods.items("255901", STUDENTS).len(), before + more);
    }
    assert_eq!(caller.post(STUDENTS, &body("c")).await.status(), 201);
    assert_eq!(
        ods.requests()
            .iter()
            .filter(|one| one.method == "POST" && one.status.is_none())
            .count(),
        2
    );

    ods.set_faults(
        "255901",
        Faults {
            break_every: 3,
            ..Faults::default()
        },
    );
    let mut broken = Vec::new();
    for number in 1..=6 {
        let request = caller.request(Method::GET, &format!("data/v3/{STUDENTS}?limit=1"));
        if request.send().await.is_err() {
            broken.push(number);
        }
    }
    assert_eq!(broken, [3, 6]);
}

#[tokio::test]
async fn pages_that_are_not_what_they_seem() {
    let ods = start();
    let caller = Caller::new(&ods, "255901").await;
    let page = || caller.get(RESULTS);

    ods.set_faults(
        "255901",
        Faults {
            truncate_pages: 1,
            ..Faults::default()
        },
    );
    let cut = page().await;
    assert_eq!(cut.status(), 200);
    assert!(cut.text().await.is_err());
    ods.set_faults(
        "255901",
        Faults {
            truncate_json: 1,
            ..Faults::default()
        },
    );
    assert!(serde_json::from_str::<Value>(&text_of(page().await).await).is_err());
    ods.set_faults(
        "255901",
        Faults {
            html: 1,
            ..Faults::default()
        },
    );
    let html = page().await;
    assert_eq!(html.status(), 200);
    assert!(text_of(html).await.starts_with("<!DOCTYPE html>"));
    ods.set_faults(
        "255901",
        Faults {
            object_instead_of_array: 1,
            ..Faults::default()
        },
    );
    assert!(json_of(page().await).await.is_object());
    ods.set_faults(
        "255901",
        Faults {
            redirect_to: Some("http://127.0.0.1:9/".to_owned()),
            ..Faults::default()
        },
    );
    let away = page().await;
    assert_eq!(
        (away.status().as_u16(), header(&away, "location").as_deref()),
        (302, Some("http://127.0.0.1:9/"))
    );
    ods.set_faults(
        "255901",
        Faults {
            stall: 1,
            ..Faults::default()
        },
    );
    let stalled = page().await;
    assert_eq!(stalled.status(), 200);
    let waited = tokio::time::timeout(Duration::from_millis(50), stalled.text()).await;
    assert!(waited.is_err());
    assert_eq!(caller.list(RESULTS).await.len(), 40);
}

#[tokio::test]
async fn records_are_lost_and_repeated() {
    let ods = start();
    let caller = Caller::new(&ods, "255901").await;
    let all = caller.list(RESULTS).await;
    let pages = || async {
        let mut found = Vec::new();
        for offset in (0..40).step_by(10) {
            let answer = caller
                .get(&format!(
                    "{RESULTS}?offset={offset}&limit=10&totalCount=true"
                ))
                .await;
            assert_eq!(header(&answer, "total-count").as_deref(), Some("40"));
            found.extend(json_of(answer).await.as_array().expect("an array").clone());
        }
        found
    };
    ods.set_faults(
        "255901",
        Faults {
            lose_records: 3,
            lose_reads: 2,
            ..Faults::default()
        },
    );
    assert_eq!(pages().await, all[..37]);
    assert_eq!(pages().await, all[..37]);
    assert_eq!(pages().await, all);
    ods.set_faults(
        "255901",
        Faults {
            repeat_records: true,
            ..Faults::default()
        },
    );
    let found = pages().await;
    assert_eq!(found.len(), 43);
    assert_eq!(found[9], found[10]);

    ods.set_faults(
        "255901",
        Faults {
            no_total_count: true,
            no_ids: true,
            ..Faults::default()
        },
    );
    let answer = caller.get(&format!("{RESULTS}?totalCount=true")).await;
    assert!(header(&answer, "total-count").is_none());
    let found = json_of(answer).await;
    assert!(found[0].get("id").is_none() && found[0]["_etag"].is_string());
    ods.set_faults(
        "255901",
        Faults {
            mistype: true,
            ..Faults::default()
        },
    );
    let found = caller.list(RESULTS).await;
    let is_text = |one: &&Value| one["schoolYearTypeReference"]["schoolYear"].is_string();
    assert_eq!(found[..20].iter().filter(is_text).count(), 0);
    assert!(found[20..].iter().filter(is_text).count() >= 6);
}
