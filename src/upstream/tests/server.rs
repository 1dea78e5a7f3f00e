//! A registry, token server or storage for tests of this room: a closure behind a real socket
//! on a port of its own, which remembers what it was asked.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use url::Url;

/// What the server was asked.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
}

impl Asked {
    /// Returns a header as text; empty when there is none.
    pub(super) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| {
            value.to_str().expect("ASCII because our client wrote it")
        })
    }
}

/// What the server does.
pub(super) enum Reply {
    /// Answers with status, headers and body.
    Answer(u16, Vec<(&'static str, String)>, Bytes),
    /// Announces this many bytes, sends the body, and breaks the connection.
    Cut(u64, Bytes),
    /// Sends the body again and again, without announcing a size.
    Endless(Bytes),
    /// Never answers.
    Silence,
}

/// Returns an answer without headers.
pub(super) fn answer(status: u16, body: &str) -> Reply {
    Reply::Answer(status, Vec::new(), Bytes::copy_from_slice(body.as_bytes()))
}

/// Returns an answer with one header.
pub(super) fn answer_with(status: u16, name: &'static str, value: String, body: &str) -> Reply {
    let body = Bytes::copy_from_slice(body.as_bytes());
    Reply::Answer(status, vec![(name, value)], body)
}

type Log = Arc<Mutex<Vec<Asked>>>;

/// A running server; dropping it stops it.
pub(super) struct TestServer {
    pub(super) url: Url,
    log: Log,
    _tasks: JoinSet<()>,
}

impl TestServer {
    /// Starts a server that answers as `behave` says.
    pub(super) async fn start<F>(behave: F) -> Self
    where
        F: Fn(&Asked) -> Reply + Send + Sync + 'static,
    {
        Self::start_as("http", None, behave).await
    }

    /// Starts a server that speaks TLS.
    pub(super) async fn start_with_tls<F>(tls: ServerConfig, behave: F) -> Self
    where
        F: Fn(&Asked) -> Reply + Send + Sync + 'static,
    {
        let tls = TlsAcceptor::from(Arc::new(tls));
        Self::start_as("https", Some(tls), behave).await
    }

    async fn start_as<F>(scheme: &str, tls: Option<TlsAcceptor>, behave: F) -> Self
    where
        F: Fn(&Asked) -> Reply + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound above").port();
        let url = format!("{scheme}://127.0.0.1:{port}");
        let url = Url::parse(&url).expect("a URL because it is written so");
        let log = Log::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, tls, Arc::clone(&log), Arc::new(behave)));
        Self {
            url,
            log,
            _tasks: tasks,
        }
    }

    /// Returns everything that was asked so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.log
            .lock()
            .expect("no test panics while it holds this")
            .clone()
    }

    /// Returns the targets that were asked, as `GET /path?query`.
    pub(super) fn targets(&self) -> Vec<String> {
        let asked = self.asked();
        let target = |asked: &Asked| format!("{} {}", asked.method, asked.uri);
        asked.iter().map(target).collect()
    }
}

/// A port that refuses connections and that nobody else can take meanwhile.
pub(super) struct ClosedPort {
    pub(super) url: Url,
    _bound: TcpSocket,
}

impl ClosedPort {
    /// Takes a port without listening on it.
    pub(super) fn take() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(any).expect("a free port");
        let address = socket.local_addr().expect("bound above");
        let url = Url::parse(&format!("http://{address}"));
        Self {
            url: url.expect("a URL because it is written so"),
            _bound: socket,
        }
    }
}

async fn accept<F>(listener: TcpListener, tls: Option<TlsAcceptor>, log: Log, behave: Arc<F>)
where
    F: Fn(&Asked) -> Reply + Send + Sync + 'static,
{
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let (tls, log, behave) = (tls.clone(), Arc::clone(&log), Arc::clone(&behave));
        connections.spawn(async move {
            match tls {
                None => serve(socket, log, behave).await,
                // A client that refuses the certificate hangs up.
                Some(tls) => {
                    if let Ok(socket) = tls.accept(socket).await {
                        serve(socket, log, behave).await;
                    }
                }
            }
        });
    }
}

async fn serve<S, F>(socket: S, log: Log, behave: Arc<F>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(&Asked) -> Reply + Send + Sync + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let asked = Asked {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
        };
        let reply = behave(&asked);
        log.lock()
            .expect("no test panics while it holds this")
            .push(asked);
        async move { Ok::<_, Infallible>(respond(reply).await) }
    });
    // An error here is the cut that the test asked for, or the client's hang-up.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(socket), service)
        .await;
}

async fn respond(reply: Reply) -> Response<BoxBody<Bytes, io::Error>> {
    let mut response = Response::builder();
    let body = match reply {
        Reply::Answer(status, headers, bytes) => {
            response = response.status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            Full::new(bytes).map_err(|never| match never {}).boxed()
        }
        Reply::Cut(announced, bytes) => {
            response = response.header("content-length", announced);
            let parts = stream::unfold(Some(bytes), |left| async move {
                if let Some(bytes) = left {
                    return Some((Ok(Frame::data(bytes)), None));
                }
                // Without a pause the bytes would be thrown away unsent.
                tokio::task::yield_now().await;
                Some((Err(io::ErrorKind::ConnectionReset.into()), None))
            });
            BodyExt::boxed(StreamBody::new(parts))
        }
        Reply::Endless(bytes) => {
            let parts = stream::repeat_with(move || Ok(Frame::data(bytes.clone())));
            BodyExt::boxed(StreamBody::new(parts))
        }
        Reply::Silence => std::future::pending().await,
    };
    response
        .body(body)
        .expect("a response because the test says so")
}
