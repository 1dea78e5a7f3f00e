//! The server's tests: bytes in, bytes out, over pipes in memory and a clock that stands still;
//! real sockets only where the kernel's behaviour is the point.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod bodies;
mod listening;
mod local_socket;
mod scanning;
mod sockets;
mod timeouts;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::watch;

use super::connection::{Stage, serve};
use super::{BodyOut, Handler, Limits, PeerInfo, RequestBody};

/// Bytes a pipe holds before its writer has to wait.
const PIPE: usize = 1024 * 1024;

/// The client's end of a connection.
struct Client {
    io: DuplexStream,
    stage: watch::Sender<Stage>,
}

impl Client {
    fn connect(handler: Handler) -> Self {
        Self::connect_with(handler, Limits::default(), PIPE)
    }

    fn connect_with(handler: Handler, limits: Limits, pipe: usize) -> Self {
        let (io, far_end) = duplex(pipe);
        let (stage, stages) = watch::channel(Stage::Serving);
        tokio::spawn(serve(far_end, peer(), handler, limits, stages));
        Self { io, stage }
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.io.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Reads until `end` has come.
    async fn read_until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            let byte = self.io.read_u8().await;
            read.push(byte.unwrap_or_else(|_| panic!("closed after {:?}", text(&read))));
        }
        text(&read)
    }

    /// Reads until the server closes.
    async fn read_to_end(&mut self) -> String {
        let mut read = Vec::new();
        self.io.read_to_end(&mut read).await.unwrap();
        text(&read)
    }
}

fn peer() -> PeerInfo {
    PeerInfo::Tcp {
        addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000)),
        listener: Ipv4Addr::LOCALHOST.into(),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Sends everything at once and returns all that comes until the server closes.
async fn exchange(handler: Handler, request: impl AsRef<[u8]>) -> String {
    let mut client = Client::connect(handler);
    client.send(request).await;
    client.read_to_end().await
}

fn status_of(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}

fn handler<F, Answer>(handle: F) -> Handler
where
    F: Fn(Request<RequestBody>) -> Answer + Send + Sync + 'static,
    Answer: Future<Output = Response<BodyOut>> + Send + 'static,
{
    Arc::new(move |request, _| {
        let answer: Pin<Box<dyn Future<Output = Response<BodyOut>> + Send>> =
            Box::pin(handle(request));
        answer
    })
}

fn respond(status: StatusCode, body: impl Into<Bytes>) -> Response<BodyOut> {
    let body = Full::new(body.into())
        .map_err(|never| match never {})
        .boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

async fn read_all(body: &mut RequestBody) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(chunk) = body.chunk().await {
        all.extend_from_slice(&chunk?);
    }
    Ok(all)
}

/// Answers with `<METHOD path body>`, or 400 and the kind of the error when the body breaks.
fn echo() -> Handler {
    handler(|request| async {
        let (head, mut body) = request.into_parts();
        match read_all(&mut body).await {
            Ok(body) => {
                let line = format!("<{} {} {}>", head.method, head.uri.path(), text(&body));
                respond(StatusCode::OK, line)
            }
            Err(error) => respond(StatusCode::BAD_REQUEST, format!("<{:?}>", error.kind())),
        }
    })
}

/// Refuses without touching the body.
fn refuse_all() -> Handler {
    handler(|_| async { respond(StatusCode::UNAUTHORIZED, "<no>") })
}

/// The echoed lines of an answer, in order.
fn echoes(answer: &str) -> Vec<&str> {
    answer
        .match_indices('<')
        .map(|(at, _)| &answer[at..=at + answer[at..].find('>').unwrap()])
        .collect()
}
