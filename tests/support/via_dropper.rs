//! A proxy in front of a server that passes everything on but `Via`, as some in the world do.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::header::{HOST, VIA};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The proxy; it ends with the story.
pub(crate) struct ViaDropper {
    url: String,
    passed: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl ViaDropper {
    /// Starts the proxy before the server at `origin` (`http://host:port`).
    pub(crate) async fn before(origin: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("the system has a free port");
        let address = listener.local_addr().expect("a bound socket has one");
        let passed = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, origin.to_owned(), Arc::clone(&passed)));
        Self {
            url: format!("http://{address}"),
            passed,
            _tasks: tasks,
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Counts the requests that were passed on.
    pub(crate) fn passed(&self) -> usize {
        self.passed.load(Ordering::SeqCst)
    }
}

async fn serve(listener: TcpListener, origin: String, passed: Arc<AtomicUsize>) {
    let http = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client with these few settings can be built");
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (http, origin, passed) = (http.clone(), origin.clone(), Arc::clone(&passed));
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let (http, origin) = (http.clone(), origin.clone());
                passed.fetch_add(1, Ordering::SeqCst);
                async move { Ok::<_, Infallible>(pass_on(&http, &origin, &request).await) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Passes on a request without a body, as pulls are.
async fn pass_on(
    http: &reqwest::Client,
    origin: &str,
    request: &Request<Incoming>,
) -> Response<Full<Bytes>> {
    let mut headers = request.headers().clone();
    headers.remove(VIA);
    headers.remove(HOST);
    let url = format!("{origin}{}", request.uri());
    let sent = http.request(request.method().clone(), url).headers(headers);
    let Ok(answer) = sent.send().await else {
        return status(StatusCode::BAD_GATEWAY);
    };
    let (code, headers) = (answer.status(), answer.headers().clone());
    let Ok(body) = answer.bytes().await else {
        return status(StatusCode::BAD_GATEWAY);
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = code;
    *response.headers_mut() = headers;
    response
}

fn status(code: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = code;
    response
}
