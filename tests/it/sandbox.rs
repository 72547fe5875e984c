//! The sandbox over real HTTP: it must be as the documentation of a real ODS says.

mod auth;
mod changes;
mod faults;
mod moving;
mod reads;
mod real_data;
mod server;
mod writes;

use std::time::Duration;

use polars_edfi::sandbox::{Sandbox, SandboxBuilder};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

const STUDENTS: &str = "ed-fi/students";
const ENROLMENTS: &str = "ed-fi/studentSchoolAssociations";
const RESULTS: &str = "ed-fi/studentAssessments";

/// A plain HTTP client of one district.
struct Caller {
    http: reqwest::Client,
    root: String,
    token: String,
}

pub(crate) fn http() -> reqwest::Client {
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

/// Enrols a student in a school that is there.
async fn enrol(caller: &Caller, student: &str) -> Response {
    let school = caller.list("ed-fi/schools").await.remove(0)["schoolId"].clone();
    let body = json!({
        "entryDate": "2024-08-15",
        "entryGradeLevelDescriptor": "uri://ed-fi.org/GradeLevelDescriptor#Fifth grade",
        "schoolReference": {"schoolId": school},
        "studentReference": {"studentUniqueId": student},
    });
    caller.post(ENROLMENTS, &body).await
}

/// A student that can be posted.
fn student(id: &str) -> Value {
    json!({"studentUniqueId": id, "birthDate": "2012-01-02", "firstName": "Ana", "lastSurname": "Ruiz"})
}
