//! Reads: pages, filters, items, page tokens, loaded records.

use std::collections::HashSet;
use std::io::Read;
use std::path::Path;

use polars_edfi::sandbox::{Faults, SandboxBuilder};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Caller, RESULTS, STUDENTS, header, ids, json_of, problem, send, small, start, text_of,
};

#[tokio::test]
async fn pages_follow_one_another_without_gap_or_overlap() {
    let ods = small().records(103).start().expect("a sandbox");
    let caller = Caller::new(&ods, "255901").await;
    let all = caller.list(RESULTS).await;
    assert_eq!(all.len(), 103);
    assert_eq!(ids(&all).iter().collect::<HashSet<_>>().len(), 103);
    let mut paged = Vec::new();
    for offset in (0..103).step_by(10) {
        let answer = caller
            .get(&format!(
                "{RESULTS}?offset={offset}&limit=10&totalCount=true"
            ))
            .await;
        assert_eq!(header(&answer, "total-count").as_deref(), Some("103"));
        paged.extend(json_of(answer).await.as_array().expect("an array").clone());
    }
    assert_eq!(paged, all);
    let count = caller
        .get(&format!("{RESULTS}?limit=0&totalCount=true"))
        .await;
    assert_eq!(header(&count, "total-count").as_deref(), Some("103"));
    assert_eq!(text_of(count).await, "[]");
    assert!(
        caller
            .list(&format!("{RESULTS}?offset=103"))
            .await
            .is_empty()
    );
    assert!(header(&caller.get(RESULTS).await, "total-count").is_none());
    // A quarter as many students as results.
    assert_eq!(caller.list(STUDENTS).await.len(), 25);
}

#[tokio::test]
async fn wrong_parameters_are_told() {
    let ods = small().page_limit(50).start().expect("a sandbox");
    let caller = Caller::new(&ods, "255901").await;
    let kind = "bad-request:parameter-validation-failed";
    let body = problem(caller.get(&format!("{STUDENTS}?limit=51")).await, 400, kind).await;
    assert_eq!(body["detail"], "The limit parameter was incorrect.");
    assert_eq!(
        body["errors"],
        json!(["Limit must be omitted or set to a value between 0 and 50."])
    );
    for query in [
        "limit=-1",
        "limit=ten",
        "offset=-1",
        "offset=x",
        "totalCount=maybe",
        "pageSize=5",
        "pageToken=!",
        "minChangeVersion=x",
        "minChangeVersion=5&maxChangeVersion=4",
    ] {
        problem(caller.get(&format!("{STUDENTS}?{query}")).await, 400, kind).await;
    }
    problem(caller.get("ed-fi/nonsense").await, 404, "not-found").await;
    problem(caller.get("tpdm/candidates").await, 404, "not-found").await;
    // A resource of the Data Standard that holds nothing.
    assert!(caller.list("ed-fi/classPeriods").await.is_empty());
}

#[tokio::test]
async fn filters_choose_by_members_and_by_those_of_references() {
    let ods = small().start().expect("a sandbox");
    let caller = Caller::new(&ods, "255901").await;
    let all = caller.list(RESULTS).await;
    let student = all[0]["studentReference"]["studentUniqueId"]
        .as_str()
        .expect("an id");
    let grade = all[0]["whenAssessedGradeLevelDescriptor"]
        .as_str()
        .expect("a grade");
    let school = all
        .iter()
        .find_map(|one| one["reportedSchoolReference"]["schoolId"].as_i64())
        .expect("a school");
    let expect = |test: &dyn Fn(&Value) -> bool| {
        all.iter()
            .filter(|one| test(one))
            .cloned()
            .collect::<Vec<_>>()
    };

    let found = caller
        .list(&format!("{RESULTS}?studentUniqueId={student}"))
        .await;
    assert_eq!(
        found,
        expect(&|one| one["studentReference"]["studentUniqueId"] == student)
    );
    let found = caller
        .list(&format!("{RESULTS}?reportedSchoolId={school}"))
        .await;
    assert_eq!(
        found,
        expect(&|one| one["reportedSchoolReference"]["schoolId"] == school)
    );
    let encoded = grade.replace('#', "%23").replace(' ', "+");
    let answer = caller
        .get(&format!(
            "{RESULTS}?whenAssessedGradeLevelDescriptor={encoded}&limit=1&totalCount=true"
        ))
        .await;
    let expected = expect(&|one| one["whenAssessedGradeLevelDescriptor"] == grade);
    assert_eq!(
        header(&answer, "total-count"),
        Some(expected.len().to_string())
    );
    assert_eq!(json_of(answer).await, json!([expected[0]]));
    assert_eq!(
        caller.list(&format!("{RESULTS}?id={}", ids(&all)[3])).await,
        [all[3].clone()]
    );
    assert_eq!(
        caller.list(&format!("{RESULTS}?studentUniqeId=1")).await,
        all
    );
    assert!(
        caller
            .list(&format!("{RESULTS}?studentUniqueId=1"))
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn an_item_is_found_by_its_id() {
    let ods = start();
    let caller = Caller::new(&ods, "255901").await;
    let all = caller.list(STUDENTS).await;
    let path = format!("{STUDENTS}/{}", ids(&all)[2]);
    let answer = caller.get(&path).await;
    let etag = header(&answer, "etag").expect("an ETag");
    assert_eq!(etag, format!("{}", all[2]["_etag"]));
    assert_eq!(json_of(answer).await, all[2]);
    for known in [etag.as_str(), etag.trim_matches('"')] {
        let request = caller
            .request(Method::GET, &format!("data/v3/{path}"))
            .header("if-none-match", known);
        let answer = send(request).await;
        assert_eq!(answer.status(), 304);
        assert_eq!(text_of(answer).await, "");
    }
    for missing in ["00000000000000000000000000000000", "a%2Fb", "%C3%A9"] {
        problem(
            caller.get(&format!("{STUDENTS}/{missing}")).await,
            404,
            "not-found",
        )
        .await;
    }
    // The link of a reference leads to what it refers to.
    let result = &caller.list(&format!("{RESULTS}?limit=1")).await[0];
    for reference in [
        "studentReference",
        "assessmentReference",
        "schoolYearTypeReference",
    ] {
        let href = result[reference]["link"]["href"].as_str().expect("a link");
        assert_eq!(
            caller.get(href.trim_start_matches('/')).await.status(),
            200,
            "{href}"
        );
    }
}

#[tokio::test]
async fn the_same_seed_makes_the_same_records() {
    let page = |builder: SandboxBuilder, district: &'static str| async move {
        let ods = builder.start().expect("a sandbox");
        text_of(Caller::new(&ods, district).await.get(RESULTS).await).await
    };
    let first = page(small(), "255901").await;
    assert_eq!(first, page(small(), "255901").await);
    assert_ne!(first, page(small(), "255902").await);
    assert_ne!(first, page(small().seed(1), "255901").await);
    assert!(first.contains("\"link\""));
    assert!(
        !page(small().links(false), "255901")
            .await
            .contains("\"link\"")
    );
}

#[tokio::test]
async fn compressed_for_those_who_accept_it() {
    let ods = small().gzip(true).start().expect("a sandbox");
    let mut caller = Caller::new(&ods, "255901").await;
    // A client that leaves the body as it came.
    caller.http = reqwest::Client::builder()
        .no_proxy()
        .no_gzip()
        .build()
        .expect("a client");
    assert!(header(&caller.get(RESULTS).await, "content-encoding").is_none());
    let request = caller
        .request(Method::GET, &format!("data/v3/{RESULTS}"))
        .header("accept-encoding", "gzip");
    let answer = send(request).await;
    assert_eq!(header(&answer, "content-encoding").as_deref(), Some("gzip"));
    let packed = answer.bytes().await.expect("a body");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed[..])
        .read_to_string(&mut text)
        .expect("gzip");
    let records: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    assert_eq!(records, ods.items("255901", RESULTS));
}

#[tokio::test]
async fn loaded_records_are_served_as_they_are() {
    let ods = start();
    let caller = Caller::new(&ods, "255901").await;
    let bodies = vec![
        json!({"studentUniqueId": "1", "oddity": [1, 2.5, null]}),
        json!({"studentUniqueId": "1", "id": "0123456789abcdef0123456789abcdef"}),
        json!({"studentUniqueId": "1"}),
    ];
    assert_eq!(
        ods.load("255901", "/ed-fi/students/", bodies.clone())
            .expect("a load"),
        3
    );
    let all = caller.list(STUDENTS).await;
    assert_eq!(all[0]["oddity"], bodies[0]["oddity"]);
    assert_eq!(all[1]["id"], bodies[1]["id"]);
    assert_eq!(ids(&all).iter().collect::<HashSet<_>>().len(), 3);
    for id in ids(&all) {
        assert_eq!(caller.get(&format!("{STUDENTS}/{id}")).await.status(), 200);
    }
    assert_eq!(all, ods.items("255901", STUDENTS));

    assert!(ods.load("nowhere", STUDENTS, []).is_err());
    assert!(ods.load("255901", "students", []).is_err());
    assert!(ods.load("255901", STUDENTS, [json!(1)]).is_err());
    assert!(
        ods.load_jsonl("255901", STUDENTS, Path::new("no-such-file"))
            .is_err()
    );
}

#[tokio::test]
async fn page_tokens_walk_to_the_end() {
    let ods = small()
        .records(107)
        .page_limit(10)
        .start()
        .expect("a sandbox");
    let caller = Caller::new(&ods, "255901").await;
    let all = ods.items("255901", RESULTS);
    let first = caller.get(&format!("{RESULTS}?limit=7")).await;
    let token = header(&first, "next-page-token");
    let mut found = json_of(first).await.as_array().expect("an array").clone();
    found.extend(walk(&caller, "", token).await);
    assert_eq!(found, all);

    for number in [1, 2, 3, 200] {
        let answer = caller
            .get(&format!("{RESULTS}/partitions?number={number}"))
            .await;
        let tokens = json_of(answer).await["pageTokens"].clone();
        let tokens: Vec<_> = tokens
            .as_array()
            .expect("tokens")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        assert!(!tokens.is_empty() && tokens.len() <= number);
        let mut found = Vec::new();
        for token in tokens {
            found.extend(walk(&caller, "", Some(token.to_owned())).await);
        }
        assert_eq!(found, all, "{number}");
    }
    let grade = all[0]["assessmentReference"]["assessmentIdentifier"]
        .as_str()
        .expect("a text");
    let filter = format!("assessmentIdentifier={grade}&");
    let tokens = json_of(
        caller
            .get(&format!("{RESULTS}/partitions?{filter}number=3"))
            .await,
    )
    .await;
    let mut found = Vec::new();
    for token in tokens["pageTokens"].as_array().expect("tokens") {
        found.extend(walk(&caller, &filter, token.as_str().map(str::to_owned)).await);
    }
    assert_eq!(found, caller_filtered(&all, grade));
    ods.set_faults(
        "255901",
        Faults {
            no_cursor: true,
            ..Faults::default()
        },
    );
    problem(
        caller.get(&format!("{RESULTS}/partitions")).await,
        404,
        "not-found",
    )
    .await;
    assert!(header(&caller.get(RESULTS).await, "next-page-token").is_none());
}

fn caller_filtered(all: &[Value], assessment: &str) -> Vec<Value> {
    let fits = |one: &&Value| one["assessmentReference"]["assessmentIdentifier"] == assessment;
    all.iter().filter(fits).cloned().collect()
}

async fn walk(caller: &Caller, filter: &str, mut token: Option<String>) -> Vec<Value> {
    let mut found = Vec::new();
    while let Some(next) = token {
        let answer = caller
            .get(&format!("{RESULTS}?{filter}pageToken={next}&pageSize=10"))
            .await;
        assert_eq!(answer.status(), 200);
        token = header(&answer, "next-page-token");
        let page = json_of(answer).await.as_array().expect("an array").clone();
        assert!(page.len() <= 10 && page.is_empty() == token.is_none());
        found.extend(page);
    }
    found
}
