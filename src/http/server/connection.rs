//! One connection: hyper over the guarded socket, the timer that ends it, and the way every request
//! takes to the handler and back.
//! It must never end a connection on which a response is being made or is getting through, and no
//! panic may leave it.

use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::future::{pending, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{CONTENT_TYPE, EXPECT, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};

use super::body::{BodyOut, Discarded, Leftover, RequestBody, TrackedBody, discard};
use super::guard::Guard;
use super::wire::{Deadline, Wire};

/// The most bytes a request head may have, and the most hyper reads or holds back at once.
pub(super) const HEAD_BYTES: usize = 64 * 1024;

/// What a panic answers; the text of the panic goes to the log alone.
const INTERNAL_ERROR: &str = r#"{"errors":[{"code":"UNKNOWN","message":"internal error"}]}"#;

/// The service behind the server: a request in, a response out. It never fails; a panic in it
/// becomes a 500. Dropping the future means that the client is gone.
pub type Handler = Arc<
    dyn Fn(
            Request<RequestBody>,
            PeerInfo,
        ) -> Pin<Box<dyn Future<Output = Response<BodyOut>> + Send>>
        + Send
        + Sync,
>;

/// Who sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerInfo {
    /// Someone on the network.
    Tcp {
        /// The other end of the connection, an IPv4 address never in its IPv6 form.
        addr: SocketAddr,
        /// The address that is listened on, which may stand for all.
        listener: IpAddr,
    },
    /// Someone who can open the socket in the state directory, and so has the server's own rights.
    Socket,
}

impl PeerInfo {
    /// Returns the peer's address, if it has one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp { addr, .. } => Some(addr.ip()),
            Self::Socket => None,
        }
    }
}

impl fmt::Display for PeerInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { addr, .. } => addr.fmt(f),
            Self::Socket => f.write_str("socket"),
        }
    }
}

/// What a connection may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The time for a request head, from its first byte to its last.
    pub header_timeout: Duration,
    /// The time a connection may stay open between requests.
    pub idle_timeout: Duration,
    /// The time between two arrivals of body bytes that are waited for.
    pub body_stall_timeout: Duration,
    /// The time a write may wait for a client that takes nothing of its response.
    pub write_stall_timeout: Duration,
    /// Connections open at the same time; the process's limit on open files lowers it.
    pub connections: usize,
    /// Bytes read and dropped after an early refusal, so that the client reads the answer.
    pub discard_bytes: u64,
    /// The time for the same.
    pub discard_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            body_stall_timeout: Duration::from_secs(60),
            write_stall_timeout: Duration::from_secs(60),
            connections: 10_000,
            discard_bytes: 64 * 1024 * 1024,
            discard_time: Duration::from_secs(5),
        }
    }
}

/// What the whole server is doing, as its connections are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Business as usual.
    Serving,
    /// Idle connections close, running requests finish.
    Draining,
    /// Everything ends at once.
    Cut,
}

/// What a request needs of its connection.
struct Desk {
    handler: Handler,
    peer: PeerInfo,
    limits: Limits,
    wire: Wire,
    leftovers: UnboundedSender<Leftover>,
}

/// Serves one connection until either side ends it.
pub(super) async fn serve<IO>(
    io: IO,
    peer: PeerInfo,
    handler: Handler,
    limits: Limits,
    mut stages: watch::Receiver<Stage>,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let wire = Wire::new();
    let (sender, mut leftovers) = unbounded_channel();
    let desk = Desk {
        handler,
        peer,
        limits,
        wire: wire.clone(),
        leftovers: sender,
    };
    let desk = Arc::new(desk);
    let service = service_fn(move |request| answer(request, Arc::clone(&desk)));
    let guard = Guard::new(io, wire.clone(), limits);
    let mut connection = pin!(
        http1::Builder::new()
            .header_read_timeout(None) // it would run on idle connections too
            .max_buf_size(HEAD_BYTES)
            .max_header_size(HEAD_BYTES) // the buffer alone may grow past its size
            .serve_connection(TokioIo::new(guard), service)
    );
    let mut timer = Timer {
        sleep: Box::pin(sleep_until(Instant::now())),
    };
    let mut discarding = None;
    let mut stage = Stage::Serving;
    loop {
        // In this order: the timer looks at what the connection has just done. Every branch leads
        // back to polling the connection.
        tokio::select! {
            biased;
            end = connection.as_mut() => {
                if let Err(error) = end {
                    tracing::debug!(peer = %peer, error = &error as &dyn std::error::Error, "connection ended");
                }
                return;
            }
            Some(leftover) = leftovers.recv() => {
                if let Leftover::Unread(incoming) = leftover {
                    let rest = discard(incoming, limits.discard_bytes, limits.discard_time);
                    discarding = Some(Box::pin(rest));
                }
            }
            end = finish(&mut discarding) => {
                discarding = None;
                if end == Discarded::GaveUp {
                    wire.spend_patience();
                }
            }
            passed = poll_fn(|cx| timer.poll_passed(cx, || wire.deadline(&limits))) => match passed {
                Deadline::Head(_) => wire.refuse_head(),
                Deadline::Quiet(_) => return,
                Deadline::Stalled(_) => {
                    tracing::debug!(peer = %peer, "client takes nothing of its response, connection broken");
                    return;
                }
            },
            next = next_stage(&mut stages, stage) => {
                if next == Stage::Cut {
                    return;
                }
                stage = next;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Waits for the discarding that runs, for ever when none does.
async fn finish<F: Future<Output = Discarded> + Unpin>(discarding: &mut Option<F>) -> Discarded {
    match discarding {
        Some(discarding) => discarding.await,
        None => pending().await,
    }
}

/// Waits until the stage is another. A server that is gone without a word cuts.
async fn next_stage(stages: &mut watch::Receiver<Stage>, stage: Stage) -> Stage {
    match stages.wait_for(|next| *next != stage).await {
        Ok(next) => *next,
        Err(_) => Stage::Cut,
    }
}

/// One sleep for whichever deadline is next. It is set anew only to ring earlier: a bell too early
/// costs one look at the clock, while setting it at every request would cost each of them.
struct Timer {
    sleep: Pin<Box<Sleep>>,
}

impl Timer {
    fn poll_passed(
        &mut self,
        cx: &mut Context<'_>,
        next: impl Fn() -> Option<Deadline>,
    ) -> Poll<Deadline> {
        loop {
            let Some(deadline) = next() else {
                return Poll::Pending;
            };
            let (Deadline::Head(at) | Deadline::Quiet(at) | Deadline::Stalled(at)) = deadline;
            if Instant::now() >= at {
                return Poll::Ready(deadline);
            }
            if self.sleep.is_elapsed() || self.sleep.deadline() > at {
                self.sleep.as_mut().reset(at);
            }
            ready!(self.sleep.as_mut().poll(cx));
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    desk: Arc<Desk>,
) -> Result<Response<TrackedBody>, Infallible> {
    let in_flight = desk.wire.begin_request();
    let waits_for_continue = request.version() == Version::HTTP_11
        && request
            .headers()
            .get_all(EXPECT)
            .iter()
            .any(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let stall_timeout = desk.limits.body_stall_timeout;
    let request = request.map(|incoming| {
        RequestBody::new(
            incoming,
            desk.leftovers.clone(),
            stall_timeout,
            waits_for_continue,
        )
    });
    let handled = AssertUnwindSafe(async { (desk.handler)(request, desk.peer).await });
    let response = match handled.catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            let text = panic_text(panic.as_ref());
            tracing::error!(peer = %desk.peer, panic = text, "request handler panicked");
            internal_error()
        }
    };
    Ok(response.map(|body| TrackedBody {
        body,
        _in_flight: in_flight,
    }))
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("not a text")
}

fn internal_error() -> Response<BodyOut> {
    let body = Full::new(Bytes::from_static(INTERNAL_ERROR.as_bytes()));
    let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
