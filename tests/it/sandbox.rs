//! The sandbox over real HTTP: it must be as the documentation of a real ODS says.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use polars_edfi::sandbox::{Faults, Sandbox, SandboxBuilder};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

const STUDENTS: &str = "ed-fi/students";
const RESULTS: &str = "ed-fi/studentAssessments";

/// A plain HTTP client of one district.
struct Caller {
    http: reqwest::Client,
    root: String,
    token: String,
}

fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(20))
        .build()
        .expect("a client")
}

impl Caller {
    async fn new(ods: &Sandbox, district: &str) -> Self {
        let mut caller = Self {
            http: http(),
            root: ods.district_url(district).expect("a district"),
            token: String::new(),
        };
        let (key, secret) = ods.credentials(district).expect("a district");
        let answer = caller.ask_token(&key, &secret).await;
        caller.token = json_of(answer).await["access_token"]
            .as_str()
            .expect("a token")
            .to_owned();
        caller
    }

    async fn ask_token(&self, key: &str, secret: &str) -> Response {
        let request = self
            .http
            .post(format!("{}/oauth/token", self.root))
            .basic_auth(key, Some(secret));
        send(form(request, "grant_type=client_credentials")).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}/{path}", self.root))
            .bearer_auth(&self.token)
    }

    async fn get(&self, endpoint: &str) -> Response {
        send(self.request(Method::GET, &format!("data/v3/{endpoint}"))).await
    }

    async fn list(&self, endpoint: &str) -> Vec<Value> {
        let answer = self.get(endpoint).await;
        assert_eq!(answer.status(), 200, "{endpoint}");
        json_of(answer).await.as_array().expect("an array").clone()
    }

    async fn write(&self, method: Method, endpoint: &str, body: &Value) -> Response {
        self.write_text(method, endpoint, body.to_string()).await
    }

    async fn write_text(&self, method: Method, endpoint: &str, body: String) -> Response {
        let request = self.request(method, &format!("data/v3/{endpoint}"));
        send(
            request
                .header("content-type", "application/json")
                .body(body),
        )
        .await
    }

    async fn post(&self, endpoint: &str, body: &Value) -> Response {
        self.write(Method::POST, endpoint, body).await
    }
}

fn form(request: RequestBuilder, body: &str) -> RequestBuilder {
    request
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body.to_owned())
}

async fn send(request: RequestBuilder) -> Response {
    request.send().await.expect("an answer")
}

async fn text_of(answer: Response) -> String {
    answer.text().await.expect("a body")
}

async fn json_of(answer: Response) -> Value {
    serde_json::from_str(&text_of(answer).await).expect("JSON")
}

fn header(answer: &Response, name: &str) -> Option<String> {
    answer
        .headers()
        .get(name)
        .map(|value| value.to_str().expect("text").to_owned())
}

/// A problem of this status, and its body.
async fn problem(answer: Response, status: u16, kind: &str) -> Value {
    assert_eq!(answer.status(), status);
    assert_eq!(
        header(&answer, "content-type").as_deref(),
        Some("application/problem+json")
    );
    let correlation_id = header(&answer, "correlation-id");
    let body = json_of(answer).await;
    assert_eq!(body["type"], format!("urn:ed-fi:api:{kind}"), "{body}");
    assert_eq!(body["status"], status);
    assert_eq!(body["correlationId"].as_str(), correlation_id.as_deref());
    body
}

fn small() -> SandboxBuilder {
    Sandbox::builder()
        .districts(["255901", "255902"])
        .records(40)
}

fn start() -> Sandbox {
    small().start().expect("a sandbox")
}

fn ids(records: &[Value]) -> Vec<&str> {
    records
        .iter()
        .map(|record| record["id"].as_str().expect("an id"))
        .collect()
}

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
    assert!(caller.list("ed-fi/sections").await.is_empty());
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
        .latency(Duration::from_millis(100))
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

fn student(id: &str) -> Value {
    json!({"studentUniqueId": id, "birthDate": "2012-01-02", "firstName": "Ana", "lastSurname": "Ruiz"})
}

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
    let created = caller.post(STUDENTS, &student("old")).await;
    let path = location(&created)
        .split_once("/data/v3/")
        .expect("a path")
        .1
        .to_owned();
    let kind = "bad-request:data-validation-failed:key-change-not-supported";
    problem(
        caller.write(Method::PUT, &path, &student("new")).await,
        400,
        kind,
    )
    .await;

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

/// Real Ed-Fi data beside the project, if it is there.
fn shared_data() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: there is no {}", folder.display());
    None
}

fn read_jsonl(path: &Path) -> Vec<Value> {
    let bytes = std::fs::read(path).expect("a file");
    let mut text = String::new();
    if path.extension().is_some_and(|extension| extension == "gz") {
        flate2::read::MultiGzDecoder::new(&bytes[..])
            .read_to_string(&mut text)
            .expect("gzip");
    } else {
        text = String::from_utf8(bytes).expect("UTF-8");
    }
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn without_server_fields(mut item: Value) -> Value {
    for own in ["id", "_etag", "_lastModifiedDate"] {
        item.as_object_mut().expect("an object").remove(own);
    }
    item
}

/// Grand Bend, resource by resource in the order in which it can be posted.
fn grand_bend(data: &Path) -> Vec<(String, Vec<Value>)> {
    let text = std::fs::read_to_string(data.join("metadata/ods7-ds5.2.0-dependencies.json"))
        .expect("a file");
    let order: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let mut places = HashMap::new();
    for entry in order {
        let resource = entry["resource"]
            .as_str()
            .expect("a path")
            .trim_start_matches('/')
            .to_owned();
        places.entry(resource).or_insert(entry["order"].as_u64());
    }
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(data.join("records/grandbend")).expect("a folder") {
        let path = entry.expect("a file").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name");
        let resource = format!("ed-fi/{}", name.trim_end_matches(".jsonl.gz"));
        found.insert((places[&resource], resource), read_jsonl(&path));
    }
    found
        .into_iter()
        .map(|((_, resource), bodies)| (resource, bodies))
        .collect()
}

#[tokio::test]
async fn grand_bend_is_posted_and_comes_back() {
    if let Some(data) = shared_data() {
        post_grand_bend(&data, Sandbox::builder()).await;
    }
}

#[tokio::test]
async fn grand_bend_fits_the_data_standards_own_document() {
    let Some(data) = shared_data() else { return };
    let text = std::fs::read_to_string(data.join("openapi/resources-ds-5.0.json")).expect("a file");
    let document = serde_json::from_str(&text).expect("JSON");
    post_grand_bend(&data, Sandbox::builder().openapi(document)).await;
}

async fn post_grand_bend(data: &Path, builder: SandboxBuilder) {
    let ods = builder
        .districts(["gb"])
        .records(0)
        .links(false)
        .start()
        .expect("a sandbox");
    for resource in ["students", "schools", "assessments", "objectiveAssessments"] {
        ods.load("gb", &format!("ed-fi/{resource}"), [])
            .expect("a load");
    }
    let caller = Caller::new(&ods, "gb").await;
    for (resource, bodies) in grand_bend(data) {
        let mut last = HashMap::new();
        for body in &bodies {
            let answer = caller.post(&resource, body).await;
            let status = answer.status();
            let location = header(&answer, "location");
            assert!(
                status.is_success(),
                "{resource}: {} {body}",
                text_of(answer).await
            );
            last.insert(location, body);
        }
        // Two courseOfferings of the sample share a natural key: the later one counts.
        let stored = ods.items("gb", &resource);
        assert_eq!(stored.len(), last.len(), "{resource}");
        assert!(bodies.len() - last.len() <= 1, "{resource}");
        for item in stored {
            let id = item["id"].as_str().expect("an id").to_owned();
            let location = format!("{}/data/v3/{resource}/{id}", caller.root);
            assert_eq!(
                without_server_fields(item),
                *last[&Some(location)],
                "{resource}"
            );
        }
    }
}

#[tokio::test]
async fn vendors_files_are_loaded_and_read() {
    let Some(data) = shared_data() else { return };
    let ods = start();
    let caller = Caller::new(&ods, "255901").await;
    for vendor in ["ACT", "AP", "FastBridge_English", "KRA"] {
        let path = data
            .join("assessments")
            .join(vendor)
            .join("studentAssessments.jsonl");
        let bodies = read_jsonl(&path);
        assert_eq!(
            ods.load_jsonl("255901", RESULTS, &path).expect("a load"),
            bodies.len()
        );
        let found = caller
            .list(RESULTS)
            .await
            .into_iter()
            .map(without_server_fields)
            .collect::<Vec<_>>();
        assert_eq!(found, bodies[..found.len()], "{vendor}");
        assert!(found.len() == bodies.len().min(500));
    }
    let path = data.join("records/grandbend/students.jsonl.gz");
    assert_eq!(
        ods.load_jsonl("255901", STUDENTS, &path).expect("a load"),
        960
    );
}
