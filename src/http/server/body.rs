//! Bodies: the request's as the handler reads it, what happens to the part the handler did not
//! read, and the response's while it is being sent.
//! It must never hold more than one chunk, nor ask a client that waits for `100 Continue` for a
//! body nobody wants.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::timeout;

use super::wire::InFlight;

/// A response body. An error breaks the connection before the body's end, so that the client knows
/// it does not have everything.
pub type BodyOut = UnsyncBoxBody<Bytes, io::Error>;

/// A request body. Dropping it unread is fine: the connection then discards the rest, within
/// [`Limits`](super::Limits), so that the client gets to read the answer.
#[derive(Debug)]
pub struct RequestBody {
    /// Taken only by drop.
    incoming: Option<Incoming>,
    leftovers: UnboundedSender<Leftover>,
    stall_timeout: Duration,
    /// The client sends nothing before it is told to continue, which the first poll does.
    waits_for_continue: bool,
    is_polled: bool,
    is_failed: bool,
    is_ended: bool,
}

/// What a handler leaves of a request body.
#[derive(Debug)]
pub(super) enum Leftover {
    /// Bytes that are on their way and must be read before the connection can go on.
    Unread(Incoming),
    /// Nothing to read, but hyper must be polled to notice that the body is gone.
    Gone,
}

impl RequestBody {
    pub(super) fn new(
        incoming: Incoming,
        leftovers: UnboundedSender<Leftover>,
        stall_timeout: Duration,
        waits_for_continue: bool,
    ) -> Self {
        Self {
            is_ended: incoming.is_end_stream(),
            incoming: Some(incoming),
            leftovers,
            stall_timeout,
            waits_for_continue,
            is_polled: false,
            is_failed: false,
        }
    }

    /// Returns the next bytes, `None` after the last; trailers are dropped. Cancelling the future
    /// loses nothing.
    ///
    /// # Errors
    /// `TimedOut` when nothing arrived for the stall timeout, `UnexpectedEof` when the client hung
    /// up early, `InvalidInput` or `InvalidData` for broken chunked framing, else what the socket
    /// said. After an error comes `None`.
    pub async fn chunk(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            if self.is_ended || self.is_failed {
                return None;
            }
            self.is_polled = true;
            let incoming = self.incoming.as_mut()?;
            match timeout(self.stall_timeout, incoming.frame()).await {
                Ok(None) => {
                    self.is_ended = true;
                }
                Ok(Some(Ok(frame))) => {
                    self.is_ended = incoming.is_end_stream();
                    match frame.into_data() {
                        Ok(data) if !data.is_empty() => return Some(Ok(data)),
                        _ => continue,
                    }
                }
                Ok(Some(Err(error))) => {
                    self.is_failed = true;
                    return Some(Err(into_io(error)));
                }
                Err(_) => {
                    self.is_failed = true;
                    let text = format!("request body stalled for {:?}", self.stall_timeout);
                    return Some(Err(io::Error::new(io::ErrorKind::TimedOut, text)));
                }
            }
        }
    }

    /// Returns whether every byte was read, which is so from the start when there is no body.
    pub fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Returns whether anybody has asked for bytes yet.
    pub fn is_polled(&self) -> bool {
        self.is_polled
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let Some(incoming) = self.incoming.take().filter(|_| !self.is_ended) else {
            return;
        };
        let is_unwanted = self.waits_for_continue && !self.is_polled;
        let leftover = if self.is_failed || is_unwanted {
            drop(incoming);
            Leftover::Gone
        } else {
            Leftover::Unread(incoming)
        };
        // A closed channel means that the connection is gone, and the body with it.
        let _ = self.leftovers.send(leftover);
    }
}

/// Keeps the kind of the socket's or the decoder's error, which hyper hides in its own.
fn into_io(error: hyper::Error) -> io::Error {
    let source =
        std::error::Error::source(&error).and_then(|source| source.downcast_ref::<io::Error>());
    let kind = match source {
        Some(source) => source.kind(),
        None if error.is_incomplete_message() => io::ErrorKind::UnexpectedEof,
        None => io::ErrorKind::ConnectionAborted,
    };
    io::Error::new(kind, error)
}

/// How discarding ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Discarded {
    /// The body's end was reached, or the connection broke.
    ToTheEnd,
    /// A limit was reached first.
    GaveUp,
}

/// Reads the rest of a body and drops it, at most `bytes` and for at most `time`.
pub(super) async fn discard(mut incoming: Incoming, bytes: u64, time: Duration) -> Discarded {
    let read = async {
        let mut left = bytes;
        while let Some(Ok(frame)) = incoming.frame().await {
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            match left.checked_sub(length) {
                Some(rest) => left = rest,
                None => return Discarded::GaveUp,
            }
        }
        Discarded::ToTheEnd
    };
    timeout(time, read).await.unwrap_or(Discarded::GaveUp)
}

/// A response body that keeps its request counted as running until it is dropped.
pub(super) struct TrackedBody {
    pub(super) body: BodyOut,
    pub(super) _in_flight: InFlight,
}

impl Body for TrackedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
