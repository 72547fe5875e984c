//! Origins that do not answer: nobody waits behind them, and hardly anything is sent there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use polars::prelude::*;
use polars_edfi::sandbox::Sandbox;
use polars_edfi::{BatchOptions, Control, DeleteOptions, TokenOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{attempts, committing, held, post, posts, students};
use crate::support::{
    BAD, STUDENTS, data_requests, patient, soon, start, statuses, texts, until, with_texts,
    with_tokens, words,
};

const TIMEOUT: Duration = Duration::from_secs(1);
const BROKEN: &str = "connection broken after the request was sent; it may have been applied";

/// A server that answers no request, or only those after so many.
struct Silent {
    url: String,
    requests: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Silent {
    async fn start(unanswered: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let requests = Arc::new(AtomicUsize::new(0));
        let count = requests.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, count.clone(), unanswered));
            }
        });
        Self {
            url: format!("http://127.0.0.1:{port}"),
            requests,
            serving,
        }
    }

    async fn never() -> Self {
        Self::start(usize::MAX).await
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    fn not_sent(&self) -> String {
        format!("not sent: {} does not answer (no byte for 1 s)", self.url)
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(mut stream: TcpStream, requests: Arc<AtomicUsize>, unanswered: usize) {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        seen.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&seen).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.split_once("content-length: ").map(|(_, rest)| rest);
        let length = length.and_then(|rest| rest.lines().next()?.parse().ok());
        if body.len() < length.unwrap_or(0) {
            continue;
        }
        seen.clear();
        if requests.fetch_add(1, Ordering::SeqCst) >= unanswered {
            let created = b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(created).await.expect("a client");
        }
    }
}

/// The rows of a frame with another URL in each `every`-th of them.
fn every(df: &DataFrame, every: usize, url: &str) -> DataFrame {
    let urls = words(df, "targetUrl");
    let rows = urls.iter().enumerate();
    let urls = rows.map(|(row, old)| Some(if row % every == 0 { url } else { old }));
    with_texts(df, "targetUrl", urls)
}

async fn rows(ods: &Sandbox, count: usize) -> DataFrame {
    posts(&with_tokens(ods).await, BAD, &students(count))
}

/// The messages of the rows that are not null, in their order.
fn told(df: &DataFrame) -> Vec<String> {
    texts(df, "message").into_iter().flatten().collect()
}

#[tokio::test]
async fn a_thousand_posts_do_not_wait_for_a_hundred_to_a_silent_origin() {
    let (ods, silent) = (start(), Silent::never().await);
    let df = every(&rows(&ods, 1_000).await, 10, &silent.url);
    let control = Control::new();
    let mut options = committing();
    options.batch.control = control.clone();
    let begin = Instant::now();
    let call = tokio::spawn(async move { post(&patient(TIMEOUT, 5), &df, &options).await });
    until("all others are done", || control.done() >= 900).await;
    let others = begin.elapsed();
    let result = soon(call).await.expect("no panic");
    let all = begin.elapsed();
    assert!(others < all && all < 4 * TIMEOUT, "{others:?} of {all:?}");
    assert_eq!(held(&ods, BAD, "new-"), 900);
    // Eight at once, two in the place of the first to end, and one that tries it alone.
    let requests = silent.requests();
    assert!(requests <= 11, "{requests} requests");
    let mut messages = told(&result);
    assert_eq!(messages.len(), 100);
    messages.retain(|message| *message != silent.not_sent());
    assert_eq!(
        messages,
        vec![format!("{BROKEN} (no byte for 1 s)"); requests]
    );
    let sent: u32 = attempts(&result).into_iter().step_by(10).sum();
    assert_eq!(sent as usize, requests);
}

#[tokio::test]
async fn a_later_call_tries_a_closed_origin_once_more() {
    let (ods, silent) = (start(), Silent::start(4).await);
    let df = every(&rows(&ods, 20).await, 1, &silent.url);
    let client = patient(TIMEOUT, 5);
    let mut options = committing();
    options.batch.workers = 1;
    let result = post(&client, &df, &options).await;
    assert_eq!(
        (told(&result).len(), attempts(&result).iter().sum()),
        (20, 4)
    );
    // By now the server has come to itself.
    let result = post(&client, &df, &options).await;
    assert_eq!(
        (silent.requests(), statuses(&result)),
        (24, vec![Some(201); 20])
    );
}

#[tokio::test]
async fn an_origin_that_answers_again_is_open_to_all() {
    let (ods, silent) = (start(), Silent::start(3).await);
    let df = every(&rows(&ods, 200).await, 1, &silent.url);
    let mut options = committing();
    options.batch.workers = 3;
    let result = post(&patient(TIMEOUT, 5), &df, &options).await;
    assert_eq!(
        told(&result),
        [BROKEN; 3].map(|text| format!("{text} (no byte for 1 s)"))
    );
    assert_eq!(attempts(&result), [1; 200]);
    let mut expected = vec![None; 3];
    expected.extend([Some(201); 197]);
    assert_eq!(statuses(&result), expected);
}

#[tokio::test]
async fn a_refused_connection_is_tried_with_the_patience_of_one_request() {
    let ods = start();
    let url = {
        let gone = Silent::never().await;
        gone.serving.abort();
        until("nobody listens", || {
            std::net::TcpStream::connect(gone.url.trim_start_matches("http://")).is_err()
        })
        .await;
        gone.url.clone()
    };
    let df = every(&rows(&ods, 300).await, 3, &url);
    let begin = Instant::now();
    let result = post(&patient(TIMEOUT, 2), &df, &committing()).await;
    assert!(begin.elapsed() < Duration::from_secs(10));
    assert_eq!(attempts(&result), [0, 1, 1].repeat(100));
    let (gone, others): (Vec<_>, Vec<_>) = told(&result)
        .into_iter()
        .partition(|message| message.starts_with("not sent: "));
    assert_eq!(gone.len() + others.len(), 100);
    let why = format!("not sent: {url} does not answer (could not connect: ");
    for message in &gone {
        assert!(message.starts_with(&why), "{message}");
    }
    // Those that tried it to the end say what they met.
    for message in &others {
        assert!(message.starts_with("could not connect: "), "{message}");
    }
    assert!((1..=3).contains(&others.len()), "{others:?}");
}

#[tokio::test]
async fn tries_after_a_failure_stand_behind_the_first_tries_of_others() {
    let (ods, silent) = (start(), Silent::start(1).await);
    let df = with_tokens(&ods).await;
    let ids: Vec<String> = ods.items(BAD, STUDENTS)[..10]
        .iter()
        .map(|item| item["id"].as_str().expect("an id").to_owned())
        .collect();
    let ids = StringChunked::from_iter_values("id".into(), ids.iter().map(String::as_str));
    let df = super::rows_with(&df, BAD, ids.into_column());
    let urls = words(&df, "targetUrl");
    let urls = urls.iter().enumerate();
    let urls = urls.map(|(row, url)| Some(if row == 0 { &*silent.url } else { url }));
    let df = with_texts(&df, "targetUrl", urls);
    ods.clear_requests();
    let options = DeleteOptions {
        batch: BatchOptions {
            endpoint: Some(STUDENTS.into()),
            workers: 1,
            ..BatchOptions::default()
        },
        commit: true,
        ..DeleteOptions::default()
    };
    let client = patient(TIMEOUT, 2);
    let call =
        tokio::spawn(async move { client.batch_delete_by_id(&df, "id", "id", &options).await });
    until("the second try", || silent.requests() == 2).await;
    assert_eq!(data_requests(&ods, BAD).len(), 9);
    let result = soon(call).await.expect("no panic").expect("a frame");
    let done = statuses(&result);
    assert_eq!((done.len(), done[0]), (10, Some(201)));
}

#[tokio::test]
async fn tokens_of_others_do_not_wait_for_silent_origins() {
    let ods = start();
    let own = ods.districts();
    for in_front in [true, false] {
        let mut silent = Vec::new();
        for _ in 0..8 {
            silent.push(Silent::never().await);
        }
        // Eight accounts of silent origins, and 32 of one that answers.
        let place = |row: usize| match in_front {
            true => row < 8,
            false => row.is_multiple_of(5),
        };
        let rows = IdxCa::from_vec(PlSmallStr::EMPTY, vec![0; 40]);
        let df = own.take(&rows).expect("rows");
        let mut urls = silent.iter();
        let known = words(&df, "targetUrl");
        let urls: Vec<&str> = (0..40)
            .map(|row| match place(row) {
                true => &*urls.next().expect("eight").url,
                false => &known[row],
            })
            .collect();
        let df = with_texts(&df, "targetUrl", urls.into_iter().map(Some));
        let df = df.with_row_index("account".into(), None).expect("rows");
        let control = Control::new();
        let options = TokenOptions {
            control: control.clone(),
            ..TokenOptions::default()
        };
        let client = patient(TIMEOUT, 1);
        let begin = Instant::now();
        let call = tokio::spawn(async move {
            client
                .batch_fetch_tokens(&df, "account", "oauth/token", &options)
                .await
        });
        until("all others are done", || control.done() >= 32).await;
        let others = begin.elapsed();
        let result = soon(call).await.expect("no panic").expect("a frame");
        let all = begin.elapsed();
        assert!(
            others < 2 * TIMEOUT && all < 4 * TIMEOUT,
            "{others:?}, {all:?}"
        );
        assert_eq!(told(&result), ["no byte for 1 s"; 8]);
        assert!(silent.iter().all(|one| one.requests() <= 2));
    }
}

#[tokio::test]
async fn an_interrupt_ends_the_wait_for_a_closed_origin() {
    let (ods, silent) = (start(), Silent::never().await);
    let df = every(&rows(&ods, 100).await, 1, &silent.url);
    let control = Control::new();
    let mut options = committing();
    options.batch.workers = 3;
    options.batch.control = control.clone();
    let call = tokio::spawn(async move { post(&patient(TIMEOUT, 5), &df, &options).await });
    // Others wait for what is in flight.
    until("the origin is closed", || silent.requests() >= 4).await;
    control.cancel();
    let result = soon(call).await.expect("no panic");
    let (messages, sent) = (told(&result), silent.requests());
    let interrupted = messages
        .iter()
        .filter(|text| *text == "not sent: interrupted");
    assert_eq!((messages.len(), interrupted.count()), (100, 100 - sent));
}
