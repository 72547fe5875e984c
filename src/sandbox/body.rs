//! Answers: how their bytes go out, whole or (as a fault) not.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

/// The connection is to be closed without (the rest of) an answer.
#[derive(Debug)]
pub(super) struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is closed on purpose")
    }
}

impl std::error::Error for Closed {}

/// What comes after the last frame.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    /// Give the frames one chance to be flushed, then close.
    Cut {
        flushed: bool,
    },
    Stalled,
}

/// The body of an answer: frames of shared bytes, so that a page copies no record.
pub(super) struct Body {
    frames: VecDeque<Bytes>,
    left: u64,
    end: End,
    flight: Option<Flight>,
}

impl Body {
    /// A body of these frames, one after the other.
    pub(super) fn frames(frames: impl Into<VecDeque<Bytes>>) -> Self {
        let mut frames = frames.into();
        frames.retain(|frame| !frame.is_empty());
        let left = frames.iter().map(|frame| frame.len() as u64).sum();
        Self {
            frames,
            left,
            end: End::Whole,
            flight: None,
        }
    }

    /// All of the body in one piece.
    pub(super) fn concat(&self) -> Vec<u8> {
        self.frames.iter().flatten().copied().collect()
    }

    /// Whether there is something to compress, and all of it is to be sent.
    pub(super) fn is_compressible(&self) -> bool {
        self.end == End::Whole && !self.frames.is_empty()
    }

    /// The full length is declared, half of it is sent, then the connection ends.
    pub(super) fn cut(mut self) -> Self {
        let half = Bytes::from(self.concat()).slice(..(self.left / 2) as usize);
        self.frames = VecDeque::from([half]);
        self.end = End::Cut { flushed: false };
        self
    }

    /// The headers are sent, then nothing.
    pub(super) fn stalled(mut self) -> Self {
        self.frames.clear();
        self.left = self.left.max(1);
        self.end = End::Stalled;
        self
    }

    /// Counts as a request in flight until the body is gone.
    pub(super) fn until_gone(mut self, flight: Flight) -> Self {
        self.flight = Some(flight);
        self
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::frames([Bytes::from(bytes)])
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Closed;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Closed>>> {
        if let Some(frame) = self.frames.pop_front() {
            self.left -= frame.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(frame))));
        }
        match self.end {
            End::Whole => Poll::Ready(None),
            End::Stalled => Poll::Pending,
            End::Cut { flushed: true } => Poll::Ready(Some(Err(Closed))),
            End::Cut { flushed: false } => {
                self.end = End::Cut { flushed: true };
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty() && self.end == End::Whole
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// A count of requests at work, and the highest it has been.
#[derive(Default)]
pub(super) struct Flights {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Flights {
    /// One more, until the value is dropped.
    pub(super) fn start(self: &Arc<Self>) -> Flight {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        Flight(Arc::clone(self))
    }

    /// The highest count since the last reset.
    pub(super) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// Forget the highest count.
    pub(super) fn reset(&self) {
        self.most
            .store(self.now.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// One request at work.
pub(super) struct Flight(Arc<Flights>);

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::from(Vec::new()));
    *response.status_mut() = status;
    response
}

/// An answer of this content type.
pub(super) fn typed(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// An answer of JSON.
pub(super) fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    typed(
        status,
        "application/json; charset=utf-8",
        value.to_string().into_bytes().into(),
    )
}
