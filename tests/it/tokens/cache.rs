//! One token for each client in the whole process.

use std::time::Duration;

use polars_edfi::{EdFiClient, Error, GetAllOptions};

use super::fetch;
use crate::support::{BAD, client, own, sandbox, soon, start, token_requests, words};

async fn read(client: &EdFiClient) -> usize {
    let options = GetAllOptions::default();
    soon(client.get_all(&options))
        .await
        .expect("records")
        .height()
}

#[tokio::test]
async fn clients_with_the_same_credentials_share_a_token() {
    let ods = start();
    for _ in 0..3 {
        let client = own(&ods, BAD).build().expect("a client");
        assert_eq!(read(&client).await, 40);
    }
    assert_eq!(token_requests(&ods, BAD), 1);
}

#[tokio::test]
async fn calls_at_once_share_a_request() {
    let ods = sandbox()
        .latency(Duration::from_millis(20))
        .start()
        .expect("a sandbox");
    let client = own(&ods, BAD).build().expect("a client");
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { read(&client).await })
        })
        .collect();
    for call in calls {
        assert_eq!(soon(call).await.expect("no panic"), 40);
    }
    assert_eq!(token_requests(&ods, BAD), 1);
}

#[tokio::test]
async fn to_fetch_a_token_is_to_ask_for_it() {
    let ods = start();
    let client = own(&ods, BAD).build().expect("a client");
    let first = soon(client.fetch_token()).await.expect("a token");
    let second = soon(client.fetch_token()).await.expect("a token");
    assert_ne!(first.token, second.token);
    assert_eq!(token_requests(&ods, BAD), 2);
    for shown in [format!("{first:?}"), format!("{client:?}")] {
        assert!(!shown.contains(first.token.reveal()), "{shown}");
    }
    // Both leave the token for later calls.
    assert_eq!(read(&client).await, 40);
    assert_eq!(token_requests(&ods, BAD), 2);

    let ods = start();
    let tokens = fetch(&super::client(), &ods.districts()).await;
    assert_eq!(read(&own(&ods, BAD).build().expect("a client")).await, 40);
    assert_eq!((tokens.height(), token_requests(&ods, BAD)), (3, 1));
}

#[tokio::test]
async fn a_wrong_secret_never_finds_the_right_ones_token() {
    let ods = start();
    let right = own(&ods, BAD).build().expect("a client");
    assert_eq!(read(&right).await, 40);
    let key = ods.credentials(BAD).expect("a district").0;
    let wrong = own(&ods, BAD)
        .client_credentials(key, "wrong")
        .build()
        .expect("a client");
    let refused = soon(wrong.get_all(&GetAllOptions::default())).await;
    assert!(matches!(refused, Err(Error::Auth(_))), "{refused:?}");
    // Nor does it take the token away.
    assert_eq!(read(&right).await, 40);
    assert_eq!(token_requests(&ods, BAD), 2);
}

#[tokio::test]
async fn a_token_near_its_end_is_not_used() {
    let ods = sandbox()
        .token_lifetime(Duration::from_secs(2))
        .start()
        .expect("a sandbox");
    let client = own(&ods, BAD).build().expect("a client");
    assert_eq!(read(&client).await, 40);
    // Half of its life is margin.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(read(&client).await, 40);
    assert_eq!(token_requests(&ods, BAD), 2);
    let refused = ods
        .requests()
        .iter()
        .filter(|one| one.token_accepted == Some(false))
        .count();
    assert_eq!(refused, 0);
}

#[tokio::test]
async fn a_given_token_is_given_back() {
    let ods = start();
    let token = words(&fetch(&client(), &ods.districts()).await, "EdFi Token").remove(1);
    let url = ods.district_url(BAD).expect("a district");
    let client = EdFiClient::builder()
        .base_url(url)
        .bearer_token(token.as_str())
        .build();
    let client = client.expect("a client");
    let given = soon(client.fetch_token()).await.expect("a token");
    assert_eq!(
        (given.token.reveal(), given.expires_at),
        (token.as_str(), None)
    );
    assert_eq!(read(&client).await, 40);
    assert_eq!(token_requests(&ods, BAD), 1);
    ods.revoke_tokens(BAD);
    let refused = soon(client.get_all(&GetAllOptions::default())).await;
    assert!(matches!(refused, Err(Error::Auth(_))), "{refused:?}");
}

#[test]
fn threads_make_clients_with_one_folder_at_once() {
    let folder = std::env::temp_dir().join(format!("polars-edfi-tokens-{}", std::process::id()));
    let clients = || {
        for _ in 0..200 {
            let client = EdFiClient::builder().token_cache(&folder).build();
            client.expect("a client");
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(clients);
        }
    });
    let left = std::fs::read_dir(&folder).expect("a folder").count();
    std::fs::remove_dir_all(&folder).expect("a folder");
    assert_eq!(left, 0);
}
