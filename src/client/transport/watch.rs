//! Silence: how long nothing has moved on the connection of a request, once it has one.
//!
//! The time that a connection takes to be made is limited by itself, and a body that is on its way
//! is no silence.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tower_layer::Layer;
use tower_service::Service;

/// A body of more than this is handed on in parts, each of which is a sign of life.
const PART: usize = 1 << 16;

tokio::task_local! {
    /// The watch of the request that is being sent.
    static CURRENT: Watch;
}

/// What has been seen of one request that was sent. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Watch(Arc<Seen>);

#[derive(Debug)]
struct Seen {
    began: Instant,
    /// When something last moved, in milliseconds after the begin.
    moved: AtomicU64,
    connecting: AtomicBool,
    /// Whether a connection was made for the request, or one was there.
    opened: AtomicBool,
}

/// Nothing moved for too long.
pub(super) struct Silent;

impl Watch {
    pub(super) fn new() -> Self {
        Self(Arc::new(Seen {
            began: Instant::now(),
            moved: AtomicU64::new(0),
            connecting: AtomicBool::new(false),
            opened: AtomicBool::new(false),
        }))
    }

    /// Whether the request has a connection.
    pub(super) fn is_connected(&self) -> bool {
        !self.0.connecting.load(Ordering::Acquire)
    }

    /// Whether a connection was made for the request.
    pub(super) fn has_opened(&self) -> bool {
        self.0.opened.load(Ordering::Acquire)
    }

    /// Waits for an exchange, unless nothing moves for as long as `limit`.
    pub(super) async fn run<T>(
        &self,
        limit: Duration,
        exchange: impl Future<Output = T>,
    ) -> Result<T, Silent> {
        let mut exchange = std::pin::pin!(CURRENT.scope(self.clone(), exchange));
        let mut wait = limit;
        loop {
            tokio::select! {
                biased;
                done = &mut exchange => return Ok(done),
                () = tokio::time::sleep(wait) => {}
            }
            wait = match self.is_connected() {
                true => limit.saturating_sub(self.silence()),
                false => limit,
            };
            if wait.is_zero() {
                return Err(Silent);
            }
        }
    }

    /// The parts of a body, or all of it where it is small.
    pub(super) fn upload(&self, body: Bytes) -> reqwest::Body {
        if body.len() <= PART {
            return body.into();
        }
        reqwest::Body::wrap(Upload {
            rest: body,
            watch: self.clone(),
        })
    }

    fn silence(&self) -> Duration {
        let moved = Duration::from_millis(self.0.moved.load(Ordering::Acquire));
        self.0.began.elapsed().saturating_sub(moved)
    }

    fn moves(&self) {
        let now = self.0.began.elapsed().as_millis();
        self.0.moved.store(now as u64, Ordering::Release);
    }
}

/// A body on its way.
struct Upload {
    rest: Bytes,
    watch: Watch,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.watch.moves();
        let length = self.rest.len().min(PART);
        let part = self.rest.split_to(length);
        Poll::Ready((length > 0).then_some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

/// A connection that is being made, until this is dropped. However that ends, silence counts from
/// then on: the request may have gone over another connection meanwhile.
struct Connecting(Watch);

impl Connecting {
    fn new(watch: Watch) -> Self {
        watch.0.connecting.store(true, Ordering::Release);
        Self(watch)
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        self.0.moves();
        self.0.0.connecting.store(false, Ordering::Release);
    }
}

/// Tells the watch of a request when its connection is being made, and when it is there.
#[derive(Debug, Clone)]
pub(super) struct WatchConnects;

impl<S> Layer<S> for WatchConnects {
    type Service = WatchedConnector<S>;

    fn layer(&self, connector: S) -> WatchedConnector<S> {
        WatchedConnector(connector)
    }
}

#[derive(Debug, Clone)]
pub(super) struct WatchedConnector<S>(S);

impl<S, R> Service<R> for WatchedConnector<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, target: R) -> Self::Future {
        let connecting = CURRENT.try_with(Watch::clone).ok().map(Connecting::new);
        let connection = self.0.call(target);
        Box::pin(async move {
            let connection = connection.await?;
            if let Some(Connecting(watch)) = &connecting {
                watch.0.opened.store(true, Ordering::Release);
            }
            Ok(connection)
        })
    }
}
