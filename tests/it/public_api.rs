//! The crate as its users write against it: options, errors, blocking calls, summaries.

use futures_util::TryStreamExt;
use polars_edfi::polars::prelude::*;
use polars_edfi::sandbox::Sandbox;
use polars_edfi::{
    BatchOptions, Control, DeleteOptions, EdFiClient, Error, GetAllOptions, GetByIdOptions,
    JournalOptions, OnError, PostOptions, Result, ScanOptions, TokenOptions, blocking,
};

fn ods() -> Sandbox {
    Sandbox::builder()
        .districts(["255901", "255902"])
        .records(12)
        .start()
        .expect("a sandbox")
}

fn renewing() -> BatchOptions {
    BatchOptions {
        endpoint: Some("ed-fi/studentAssessments".into()),
        auth_key_col: Some("oAuthKey".into()),
        auth_secret_col: Some("oAuthSecret".into()),
        oauth_endpoint: Some("oauth/token".into()),
        ..BatchOptions::default()
    }
}

/// What a service that hands errors on does with them.
fn boxed(error: Error) -> Box<dyn std::error::Error + Send + Sync> {
    error.into()
}

#[tokio::test]
async fn a_call_without_an_endpoint_is_wrong_where_there_is_none() {
    let client = EdFiClient::builder()
        .base_url("http://127.0.0.1:1")
        .bearer_token("a-token")
        .without_endpoint()
        .build()
        .unwrap();
    assert_eq!(client.endpoint(), None);
    let posted = client.post_payload("{}", &PostOptions::default()).await;
    let text = posted.unwrap_err().to_string();
    assert!(text.contains("endpoint=\"ed-fi/students\""), "{text}");
}

#[tokio::test]
async fn a_handle_tells_how_many_rows_were_left_out() {
    let ods = ods();
    let mut districts = ods.districts();
    let statuses = Column::new("row status".into(), [None, Some("error")]);
    districts.with_column(statuses).unwrap();
    let client = EdFiClient::builder().build().unwrap();
    let expected = ["1 row was left out for 'row status', and not in the result"];

    let options = GetAllOptions {
        batch: BatchOptions {
            control: Control::new(),
            ..renewing()
        },
        ..GetAllOptions::default()
    };
    let read = client.batch_get_all(&districts, "District BK", &options);
    assert_eq!(read.await.unwrap().height(), 12);
    assert_eq!(options.batch.control.warnings(), expected);

    let mut options = ScanOptions::default();
    options.read.batch = renewing();
    let scan = client.scan_all(&districts, "District BK", &options);
    let pages = scan.await.unwrap().pages().unwrap();
    let pages: Vec<DataFrame> = pages.try_collect().await.unwrap();
    assert_eq!(pages.iter().map(DataFrame::height).sum::<usize>(), 12);
    assert_eq!(options.read.batch.control.warnings(), expected);

    let options = TokenOptions::default();
    let tokens = client.batch_fetch_tokens(&districts, "District BK", "oauth/token", &options);
    assert_eq!(tokens.await.unwrap().height(), 1);
    assert_eq!(options.control.warnings(), expected);
}

#[test]
fn a_data_url_is_refused_with_the_root() {
    let built = EdFiClient::builder()
        .base_url("https://ods.example.org/api/data/v3")
        .build();
    let text = built.unwrap_err().to_string();
    assert!(
        text.contains("https://ods.example.org/api, without"),
        "{text}"
    );
    let data = EdFiClient::builder()
        .base_url("https://ods.example.org/api/data/v3")
        .api_version("");
    assert!(data.build().is_ok());
}

#[tokio::test]
async fn an_error_tells_what_the_server_said() {
    let ods = ods();
    let client = EdFiClient::builder()
        .base_url(ods.district_url("255901").unwrap())
        .client_credentials("nobody", "wrong")
        .build()
        .unwrap();
    let error = client.count("ed-fi/students", &[]).await.unwrap_err();
    let failure = error.failure().expect("the server answered").clone();
    assert_eq!(failure.http_status, Some(401));
    assert!(matches!(error, Error::Auth(_)));
    assert!(boxed(error).to_string().starts_with("auth error: HTTP 401"));
    let failure: Box<dyn std::error::Error> = Box::new(failure);
    assert!(failure.to_string().contains("401"));
}

#[tokio::test]
async fn an_error_without_an_answer_keeps_its_source() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let client = EdFiClient::builder()
        .base_url(&url)
        .api_version("v3")
        .bearer_token("a-token")
        .max_retries(0)
        .build()
        .unwrap();
    let error = client.count("ed-fi/students", &[]).await.unwrap_err();
    let failure = error.failure().expect("nobody answered").clone();
    let error: Box<dyn std::error::Error> = Box::new(error);
    for error in [&*error, &failure] {
        let sources = std::iter::successors(error.source(), |source| source.source());
        let sources: Vec<_> = sources.collect();
        assert!(!format!("{error:?} {sources:?}").contains(&url));
        let last = sources.last().expect("a source");
        let system = last.downcast_ref::<std::io::Error>().expect("the system's");
        assert_eq!(system.kind(), std::io::ErrorKind::ConnectionRefused);
    }
}

#[tokio::test]
async fn a_blocking_call_in_an_async_runtime_is_an_error() {
    let ods = ods();
    let client: blocking::EdFiClient = EdFiClient::builder()
        .base_url(ods.district_url("255901").unwrap())
        .build()
        .unwrap()
        .into();
    let endpoint = Some("ed-fi/students".into());
    let batch = BatchOptions {
        endpoint,
        ..BatchOptions::default()
    };
    let post = PostOptions {
        batch,
        ..PostOptions::default()
    };
    let df = df!("id" => ["a"], "payload" => ["{}"]).unwrap();
    type Call<'c> = Box<dyn Fn() -> Result<DataFrame> + 'c>;
    let calls: [(&str, Call<'_>); 4] = [
        ("resources", Box::new(|| client.resources())),
        (
            "post",
            Box::new(|| client.batch_post_payload(&df, "payload", "id", &post)),
        ),
        (
            "put",
            Box::new(|| client.batch_put_payload(&df, "payload", "id", "id", &post)),
        ),
        (
            "journal",
            Box::new(|| blocking::read_journal(std::path::Path::new("none.edfi"))),
        ),
    ];
    for (name, call) in &calls {
        let error = call().unwrap_err();
        assert!(matches!(error, Error::Internal(_)), "{name}: {error:?}");
    }
    drop(calls);
    let elsewhere = tokio::task::spawn_blocking(move || client.clone());
    let client = elsewhere.await.unwrap();
    let waited = std::thread::spawn(move || client.resources())
        .join()
        .unwrap();
    assert!(waited.unwrap().height() > 0);
}

#[tokio::test]
async fn a_call_of_one_item_refuses_what_only_batches_look_at() {
    let client = EdFiClient::builder()
        .base_url("http://127.0.0.1:1")
        .bearer_token("a-token")
        .build()
        .unwrap();
    let column = || Some("etag".to_owned());
    let journaling = || JournalOptions {
        journal: Some("none.edfi".into()),
        ..JournalOptions::default()
    };
    let posts = [
        PostOptions {
            validate: true,
            ..PostOptions::default()
        },
        PostOptions {
            etag_col: column(),
            ..PostOptions::default()
        },
        PostOptions {
            order_by_col: column(),
            ..PostOptions::default()
        },
        PostOptions {
            journaling: journaling(),
            ..PostOptions::default()
        },
    ];
    for options in posts {
        let error = client.post_payload("{}", &options).await.unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("is an option of batch_post_payload alone"),
            "{error}"
        );
    }
    let deletes = [
        DeleteOptions {
            etag_col: column(),
            ..DeleteOptions::default()
        },
        DeleteOptions {
            journaling: journaling(),
            ..DeleteOptions::default()
        },
    ];
    for options in deletes {
        let error = client.delete_by_id("a", &options).await.unwrap_err();
        assert!(matches!(error, Error::Config(_)), "{error:?}");
    }
    let flat = GetByIdOptions {
        flatten: true,
        ..GetByIdOptions::default()
    };
    let error = client.get_by_id("a", &flat).await.unwrap_err();
    assert!(matches!(error, Error::Config(_)), "{error:?}");
}

#[tokio::test]
async fn a_summary_has_a_row_for_each_district() {
    let ods = ods();
    let mut districts = ods.districts();
    let dead = Column::new("targetUrl".into(), ["http://127.0.0.1:1", ods_url(&ods)]);
    districts.with_column(dead).unwrap();
    let client = EdFiClient::builder().max_retries(0).build().unwrap();
    let options = GetAllOptions {
        batch: renewing(),
        ..GetAllOptions::default()
    };
    let records = client
        .batch_get_all(&districts, "District BK", &options)
        .await
        .unwrap();
    let summary = polars_edfi::summary(&districts, &records, "District BK").unwrap();
    assert_eq!(summary.height(), 2);
    let told = summary.column("records").unwrap().u32().unwrap();
    assert_eq!(told.iter().collect::<Vec<_>>(), [Some(0), Some(12)]);
    let stages = summary.column("stage").unwrap().str().unwrap();
    assert!(stages.get(0).is_some() && stages.get(1).is_none());
}

fn ods_url(ods: &Sandbox) -> &'static str {
    ods.district_url("255902").unwrap().leak()
}

#[tokio::test]
async fn a_failed_district_of_a_scan_is_a_row() {
    use futures_util::TryStreamExt;

    let ods = ods();
    let mut districts = ods.districts();
    let dead = Column::new("targetUrl".into(), ["http://127.0.0.1:1", ods_url(&ods)]);
    districts.with_column(dead).unwrap();
    let client = EdFiClient::builder().max_retries(0).build().unwrap();
    let options = ScanOptions {
        read: GetAllOptions {
            batch: renewing(),
            ..GetAllOptions::default()
        },
        on_error: OnError::Row,
        ..ScanOptions::default()
    };
    let scan = client
        .scan_all(&districts, "District BK", &options)
        .await
        .unwrap();
    let frames: Vec<DataFrame> = scan.pages().unwrap().try_collect().await.unwrap();
    let rows: usize = frames.iter().map(DataFrame::height).sum();
    assert_eq!(rows, 13);
    assert_eq!(
        frames[0].column("status").unwrap().str().unwrap().get(0),
        Some("error")
    );

    let wrong = client.scan("ed-fi/students", &options).await;
    assert!(matches!(wrong, Err(Error::Config(_))));
}
