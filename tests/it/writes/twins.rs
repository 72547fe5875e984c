//! What only Rust has: futures that any thread may drive.

use polars_edfi::{
    BatchOptions, Control, DeleteOptions, EdFiClient, Error, GetAllOptions, GetByIdOptions,
    Outcome, TokenOptions, blocking,
};

use super::{committing, of_students, posts, students};
use crate::support::{BAD, KEY, STUDENTS, own, soon, start, with_tokens};

#[test]
fn what_is_public_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<EdFiClient>();
    shared::<blocking::EdFiClient>();
    shared::<Control>();
    shared::<Error>();
    shared::<Outcome>();
    shared::<TokenOptions>();
    shared::<GetAllOptions>();
    shared::<GetByIdOptions>();
    shared::<DeleteOptions>();
}

/// Runs a call as a task of its own, which it must be able to be.
macro_rules! spawned {
    ($client:expr, |$name:ident| $call:expr) => {{
        let $name = $client.clone();
        let task = tokio::spawn(async move { $call.await });
        soon(task).await.expect("no panic").expect("a result")
    }};
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_can_be_a_task() {
    let ods = start();
    let client = own(&ods, BAD).endpoint(STUDENTS).build().expect("a client");
    let districts = with_tokens(&ods).await;
    let df = posts(&districts, BAD, &students(2));
    let body = students(3).remove(2);
    let id = ods.items(BAD, STUDENTS)[0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();

    let token = spawned!(client, |client| client.fetch_token());
    assert!(token.expires_at.is_some());
    let accounts = ods.districts();
    let tokens = spawned!(client, |client| {
        let options = TokenOptions::default();
        async move {
            client
                .batch_fetch_tokens(&accounts, KEY, "oauth/token", &options)
                .await
        }
    });
    assert_eq!(tokens.height(), 3);
    let all = spawned!(client, |client| {
        let options = GetAllOptions::default();
        async move { client.get_all(&options).await }
    });
    let read = spawned!(client, |client| {
        let options = GetAllOptions::default();
        async move { client.batch_get_all(&districts, KEY, &options).await }
    });
    assert!(read.height() > all.height());
    let outcome = spawned!(client, |client| {
        let options = committing();
        async move { client.post_payload(&body, &options).await }
    });
    assert_eq!(outcome.http_status, Some(201));
    let rows = df.clone();
    let posted = spawned!(client, |client| {
        let options = committing();
        async move {
            client
                .batch_post_payload(&rows, "payload", KEY, &options)
                .await
        }
    });
    let one = id.clone();
    let text = spawned!(client, |client| {
        let options = GetByIdOptions::default();
        async move { client.get_by_id(&one, &options).await }
    });
    assert!(text.contains(&id));
    let mut items = df;
    items
        .with_column(posted.column("resource_id").expect("a column").clone())
        .expect("rows");
    let rows = items.clone();
    let found = spawned!(client, |client| {
        let options = GetByIdOptions::default();
        async move { client.batch_get_by_id(&rows, "resource_id", &options).await }
    });
    assert_eq!(found.height(), 2);
    let delete = || DeleteOptions {
        batch: of_students(BatchOptions::default()),
        commit: true,
        ..DeleteOptions::default()
    };
    let outcome = spawned!(client, |client| {
        let (options, id) = (delete(), outcome.resource_id.clone().expect("an id"));
        async move { client.delete_by_id(&id, &options).await }
    });
    assert_eq!(outcome.status.as_deref(), Some("deleted"));
    let deleted = spawned!(client, |client| {
        let options = delete();
        async move {
            client
                .batch_delete_by_id(&items, "resource_id", KEY, &options)
                .await
        }
    });
    assert_eq!(deleted.height(), 2);
    assert_eq!(ods.items(BAD, STUDENTS).len(), all.height());
}
