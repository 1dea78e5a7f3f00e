//! What the access log tells of a request: kept while it is answered, written once the answer is sent or broken off.
//! Holds nothing secret: no authorization, no bodies.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_LENGTH, REFERER, USER_AGENT};
use hyper::http::request::Parts;
use hyper::{HeaderMap, StatusCode};

use super::context::Context;
use super::respond::Response;
use super::server::BodyOut;
use crate::clock::Clock;
use crate::telemetry::{AccessLine, AccessLog};

/// The longest target and header that is logged, in characters.
const LONGEST: usize = 1024;

/// What of a request is logged.
pub(super) struct Pending {
    remote: Option<IpAddr>,
    arrived_micros: i64,
    method: String,
    target: String,
    protocol: String,
    referer: Option<String>,
    user_agent: Option<String>,
}

impl Pending {
    /// Returns what is to be logged of `request`.
    pub(super) fn of(request: &Parts, remote: Option<IpAddr>, clock: &dyn Clock) -> Self {
        Self {
            remote,
            arrived_micros: clock.wall_micros(),
            method: request.method.to_string(),
            target: request.uri.to_string().chars().take(LONGEST).collect(),
            protocol: format!("{:?}", request.version),
            referer: text(&request.headers, REFERER.as_str()),
            user_agent: text(&request.headers, USER_AGENT.as_str()),
        }
    }

    /// Returns `response`, whose line is written once its body is sent or broken off.
    pub(super) fn follow(self, context: &Arc<Context>, response: Response) -> Response {
        let (parts, body) = response.into_parts();
        let length = parts.headers.get(CONTENT_LENGTH);
        let counted = CountedBody {
            line: Some(self),
            context: Arc::clone(context),
            status: parts.status,
            length: length.and_then(|length| length.to_str().ok()?.parse().ok()),
            sent: 0,
            body,
        };
        Response::from_parts(parts, counted.into_body())
    }

    fn write(self, log: &AccessLog, status: StatusCode, sent: u64) {
        log.write(&AccessLine {
            remote: self.remote,
            user: None,
            arrived_micros: self.arrived_micros,
            method: &self.method,
            target: &self.target,
            protocol: &self.protocol,
            status: status.as_u16(),
            bytes: sent,
            referer: self.referer.as_deref(),
            user_agent: self.user_agent.as_deref(),
        });
    }
}

/// A response body that counts what is taken from it to be sent, and then has the line written.
struct CountedBody {
    /// Taken when the line is written.
    line: Option<Pending>,
    context: Arc<Context>,
    status: StatusCode,
    /// The announced length.
    length: Option<u64>,
    sent: u64,
    body: BodyOut,
}

impl CountedBody {
    fn into_body(mut self) -> BodyOut {
        // Before the client has the answer, where there is nothing to wait for.
        if self.body.is_end_stream() {
            self.write();
        }
        self.boxed_unsync()
    }

    fn write(&mut self) {
        if let Some(line) = self.line.take() {
            line.write(&self.context.access_log, self.status, self.sent);
        }
    }
}

impl Drop for CountedBody {
    fn drop(&mut self) {
        self.write();
    }
}

impl Body for CountedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        if self.body.is_end_stream() || self.length == Some(self.sent) {
            self.write();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.chars().take(LONGEST).collect())
}
