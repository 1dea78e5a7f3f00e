//! A registry to mirror from: a real HTTP server on a port of its own that counts what it is asked,
//! misbehaves when told to, dies and comes back at the same address.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;

use super::gate::Gate;
use super::images::{Content, OCI_INDEX};
use super::upstream_plan::{Admission, Fault, Kind, Plan, ReferrersApi, Seen, TokenRules};

/// Pieces of a body, small enough that a client sees it arrive.
const PIECE: usize = 16 * 1024;

/// Numbers tokens apart, over every upstream of the process: any upstream honours any token.
static TOKENS: AtomicU64 = AtomicU64::new(1);

type Body = StreamBody<BoxStream<'static, io::Result<Frame<Bytes>>>>;

/// A fake registry.
#[derive(Debug)]
pub(crate) struct FakeUpstream {
    address: SocketAddr,
    plan: Arc<Mutex<Plan>>,
    /// Never listens; keeps the port ours while the upstream is dead.
    _reservation: TcpSocket,
    server: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl FakeUpstream {
    /// Starts an empty upstream.
    pub(crate) async fn start() -> Self {
        let upstream = Self::dead();
        upstream.come_back().await;
        upstream
    }

    /// Reserves an address where connections are refused until [`Self::come_back`].
    pub(crate) fn dead() -> Self {
        let reservation = socket();
        reservation
            .bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .expect("the system has a free port");
        Self {
            address: reservation.local_addr().expect("a bound socket has one"),
            plan: Arc::new(Mutex::new(Plan::new())),
            _reservation: reservation,
            server: Mutex::new(None),
        }
    }

    /// Stops: connections break, new ones are refused.
    pub(crate) async fn die(&self) {
        let server = self.server.lock().expect("no story panics here").take();
        if let Some(server) = server {
            server.abort();
            let _ = server.await;
        }
    }

    /// Starts (again) at the same address with what it held.
    pub(crate) async fn come_back(&self) {
        self.die().await;
        let socket = socket();
        socket
            .bind(self.address)
            .expect("the reservation shares its port");
        let listener = socket.listen(1024).expect("nobody else listens there");
        let server = tokio::spawn(serve(listener, self.plan.clone(), self.url()));
        *self.server.lock().expect("no story panics here") = Some(server);
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Opens the plan to change it or to look something up.
    pub(crate) fn plan(&self) -> MutexGuard<'_, Plan> {
        lock(&self.plan)
    }

    /// Takes content in and tags its top.
    pub(crate) fn hold(&self, repository: &str, content: &Content, tags: &[&str]) {
        let mut plan = self.plan();
        let held = plan.repositories.entry(repository.to_owned()).or_default();
        for blob in &content.blobs {
            held.blobs.insert(blob.digest.clone(), blob.bytes.clone());
        }
        for manifest in &content.manifests {
            let entry = (manifest.media_type.clone(), manifest.bytes.clone());
            held.manifests.insert(manifest.digest.clone(), entry);
        }
        for tag in tags {
            let digest = content.top().digest.clone();
            held.tags.insert((*tag).to_owned(), digest);
        }
    }

    /// Forgets a repository.
    pub(crate) fn forget(&self, repository: &str) {
        self.plan().repositories.remove(repository);
    }

    /// Misbehaves so at the next request of that kind (several: one after the other).
    pub(crate) fn next(&self, kind: Kind, fault: Fault) {
        self.plan().next(kind, fault);
    }

    /// Misbehaves so at every request of that kind.
    pub(crate) fn always(&self, kind: Kind, fault: Fault) {
        self.plan().always(kind, fault);
    }

    /// Answers this status to everything but tokens.
    pub(crate) fn refuse_everything(&self, status: u16, headers: &[(&'static str, &str)]) {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        for kind in [
            Kind::Ping,
            Kind::ManifestHead,
            Kind::ManifestGet,
            Kind::BlobHead,
            Kind::BlobGet,
            Kind::Tags,
            Kind::Referrers,
        ] {
            self.always(kind, Fault::Answer(status, headers.clone(), String::new()));
        }
    }

    pub(crate) fn heal(&self) {
        self.plan().heal();
    }

    pub(crate) fn require_tokens(&self, rules: TokenRules) {
        self.plan().admission = Admission::Token(rules);
    }

    /// Stops honouring every token handed out so far.
    pub(crate) fn revoke_tokens(&self) {
        self.plan().first_valid_token = TOKENS.load(Ordering::SeqCst);
    }

    /// Counts the requests of one kind.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.seen(kind).len()
    }

    /// Counts every request.
    pub(crate) fn total(&self) -> usize {
        self.plan().seen.len()
    }

    /// Returns the requests of one kind in order.
    pub(crate) fn seen(&self, kind: Kind) -> Vec<Seen> {
        let plan = self.plan();
        let of_kind = plan.seen.iter().filter(|seen| seen.kind == kind);
        of_kind.cloned().collect()
    }

    pub(crate) fn blob_bytes_sent(&self) -> u64 {
        self.plan().blob_bytes_sent
    }
}

impl Drop for FakeUpstream {
    fn drop(&mut self) {
        if let Ok(mut server) = self.server.lock()
            && let Some(server) = server.take()
        {
            server.abort();
        }
    }
}

fn socket() -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("the system has sockets");
    socket
        .set_reuseport(true)
        .expect("Linux shares ports within one user");
    socket
        .set_reuseaddr(true)
        .expect("an address may be taken again at once");
    socket
}

fn lock(plan: &Mutex<Plan>) -> MutexGuard<'_, Plan> {
    plan.lock().expect("no story panics with the plan in hand")
}

async fn serve(listener: TcpListener, plan: Arc<Mutex<Plan>>, origin: String) {
    let mut connections = JoinSet::new(); // dropped with this task: its connections break
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let (plan, origin) = (plan.clone(), origin.clone());
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let (plan, origin) = (plan.clone(), origin.clone());
                async move { Ok::<_, Infallible>(answer(&plan, &origin, request).await) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// What a request asks for, taken apart.
struct Asked {
    kind: Kind,
    repository: String,
    /// Tag or digest.
    object: String,
}

fn asked(method: &Method, path: &str) -> Asked {
    let head = method == Method::HEAD;
    let rest = path.strip_prefix("/v2/").unwrap_or_default();
    let split = |marker: &str| {
        rest.split_once(marker)
            .map(|(repository, object)| (repository.to_owned(), object.to_owned()))
    };
    let (kind, (repository, object)) = if let Some(found) = split("/manifests/") {
        let kind = if head {
            Kind::ManifestHead
        } else {
            Kind::ManifestGet
        };
        (kind, found)
    } else if let Some(found) = split("/blobs/") {
        let kind = if head { Kind::BlobHead } else { Kind::BlobGet };
        (kind, found)
    } else if let Some(found) = split("/tags/list") {
        (Kind::Tags, found)
    } else if let Some(found) = split("/referrers/") {
        (Kind::Referrers, found)
    } else {
        let kind = match path {
            "/v2/" | "/v2" => Kind::Ping,
            "/token" => Kind::Token,
            _ => Kind::Other,
        };
        (kind, Default::default())
    };
    Asked {
        kind,
        repository,
        object,
    }
}

async fn answer(
    plan: &Arc<Mutex<Plan>>,
    origin: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    let asked = asked(request.method(), request.uri().path());
    let query = request.uri().query().unwrap_or_default().to_owned();
    let fault = note(plan, &asked, &request, &query);
    if let Some(Fault::Silence(gate)) = &fault {
        gate.pass().await;
    }
    if let Some(Fault::Answer(status, headers, body)) = &fault {
        let mut response = whole(*status, "text/plain", body.clone().into());
        for (name, value) in headers {
            let value = value.parse().expect("stories write plain header values");
            response.headers_mut().insert(*name, value);
        }
        return response;
    }
    if asked.kind == Kind::Token {
        return token(plan);
    }
    if let Some(refusal) = refuse(plan, origin, &asked, request.headers()) {
        return refusal;
    }
    if let Some(Fault::RedirectTo(target)) = &fault {
        let mut response = whole(307, "text/plain", Bytes::new());
        let location = format!("{target}{}", request.uri());
        let location = location.parse().expect("an origin and a path make a URL");
        response.headers_mut().insert("location", location);
        return response;
    }
    match asked.kind {
        Kind::Ping => whole(200, "application/json", Bytes::from_static(b"{}")),
        Kind::Tags => tags(&lock(plan), &asked, &query),
        Kind::Referrers => referrers(&lock(plan), &asked),
        Kind::ManifestHead | Kind::ManifestGet => manifest(&lock(plan), &asked, fault.as_ref()),
        Kind::BlobHead | Kind::BlobGet => blob(plan, &asked, request.headers(), fault),
        Kind::Token | Kind::Other => unknown("NOT_FOUND"),
    }
}

/// Writes the request down and takes the fault that is due.
fn note(
    plan: &Mutex<Plan>,
    asked: &Asked,
    request: &Request<Incoming>,
    query: &str,
) -> Option<Fault> {
    let header = |name: &str| {
        let value = request.headers().get(name)?;
        Some(value.to_str().ok()?.to_owned())
    };
    let mut plan = lock(plan);
    plan.seen.push(Seen {
        kind: asked.kind,
        path: request.uri().path().to_owned(),
        query: query.to_owned(),
        range: header("range"),
        authorization: header("authorization"),
    });
    plan.take_fault(asked.kind)
}

fn token(plan: &Mutex<Plan>) -> Response<Body> {
    let number = TOKENS.fetch_add(1, Ordering::SeqCst);
    let rules = match &lock(plan).admission {
        Admission::Token(rules) => rules.clone(),
        _ => TokenRules::default(),
    };
    let mut json = json!({rules.field: format!("token-{number}")});
    if let Some(seconds) = rules.expires_in {
        json["expires_in"] = json!(seconds);
    }
    whole(200, "application/json", json.to_string().into())
}

fn refuse(
    plan: &Mutex<Plan>,
    origin: &str,
    asked: &Asked,
    headers: &HeaderMap,
) -> Option<Response<Body>> {
    let plan = lock(plan);
    let shown = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let challenge = match &plan.admission {
        Admission::Everybody => return None,
        Admission::Basic(user, password) => {
            if shown == basic(user, password) {
                return None;
            }
            r#"Basic realm="fake""#.to_owned()
        }
        Admission::Token(rules) => {
            let number = shown
                .strip_prefix("Bearer token-")
                .and_then(|number| number.parse::<u64>().ok());
            if number.is_some_and(|number| number >= plan.first_valid_token) {
                return None;
            }
            let realm = rules.realm.as_deref().unwrap_or(origin);
            let scope = format!("repository:{}:pull", asked.repository);
            format!(r#"Bearer realm="{realm}/token",service="fake",scope="{scope}""#)
        }
    };
    let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}"#;
    let mut response = whole(401, "application/json", Bytes::from_static(body.as_bytes()));
    let challenge = challenge.parse().expect("a challenge is a plain value");
    response.headers_mut().insert("www-authenticate", challenge);
    Some(response)
}

/// Returns the `Authorization` value of a user.
pub(crate) fn basic(user: &str, password: &str) -> String {
    let pair = format!("{user}:{password}");
    format!("Basic {}", super::images::base64(pair.as_bytes()))
}

fn tags(plan: &Plan, asked: &Asked, query: &str) -> Response<Body> {
    let Some(repository) = plan.repositories.get(&asked.repository) else {
        return unknown("NAME_UNKNOWN");
    };
    let parameter = |name: &str| {
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.to_owned())
    };
    let last = parameter("last").unwrap_or_default();
    let wanted = parameter("n").and_then(|n| n.parse().ok());
    let size = wanted.unwrap_or(usize::MAX).min(plan.page_size);
    let rest: Vec<&String> = repository.tags.keys().filter(|tag| **tag > last).collect();
    let page = &rest[..size.min(rest.len())];
    let body = json!({"name": asked.repository, "tags": page}).to_string();
    let mut response = whole(200, "application/json", body.into());
    if let Some(end) = page.last().filter(|_| page.len() < rest.len()) {
        let link = format!(
            r#"</v2/{}/tags/list?n={size}&last={end}>; rel="next""#,
            asked.repository
        );
        let link = link.parse().expect("a link is a plain value");
        response.headers_mut().insert("link", link);
    }
    response
}

fn referrers(plan: &Plan, asked: &Asked) -> Response<Body> {
    match plan.referrers {
        ReferrersApi::NotFound => return unknown("NOT_FOUND"),
        ReferrersApi::Html => {
            let page = Bytes::from_static(b"<html>welcome</html>");
            return whole(200, "text/html", page);
        }
        ReferrersApi::Present => {}
    }
    let mut found: Vec<Value> = Vec::new();
    if let Some(repository) = plan.repositories.get(&asked.repository) {
        for (digest, (media_type, bytes)) in &repository.manifests {
            let json: Value = serde_json::from_slice(bytes).unwrap_or_default();
            if json["subject"]["digest"] == asked.object {
                let mut descriptor =
                    json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
                for field in ["artifactType", "annotations"] {
                    if json.get(field).is_some() {
                        descriptor[field] = json[field].clone();
                    }
                }
                found.push(descriptor);
            }
        }
    }
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found});
    whole(200, OCI_INDEX, index.to_string().into())
}

fn manifest(plan: &Plan, asked: &Asked, fault: Option<&Fault>) -> Response<Body> {
    let Some(repository) = plan.repositories.get(&asked.repository) else {
        return unknown("NAME_UNKNOWN");
    };
    let digest = repository.tags.get(&asked.object).unwrap_or(&asked.object);
    let Some((media_type, bytes)) = repository.manifests.get(digest) else {
        return unknown("MANIFEST_UNKNOWN");
    };
    let bytes = match fault {
        Some(Fault::Bytes(other)) => other.clone(),
        _ => bytes.clone(),
    };
    let mut response = whole(200, media_type, bytes);
    if plan.digest_header {
        let digest = digest.parse().expect("a digest is a plain value");
        response
            .headers_mut()
            .insert("docker-content-digest", digest);
    }
    response
}

fn blob(
    plan: &Arc<Mutex<Plan>>,
    asked: &Asked,
    headers: &HeaderMap,
    fault: Option<Fault>,
) -> Response<Body> {
    let held = {
        let plan = lock(plan);
        let repository = plan.repositories.get(&asked.repository);
        repository.and_then(|repository| repository.blobs.get(&asked.object).cloned())
    };
    let Some(mut bytes) = held else {
        return unknown("BLOB_UNKNOWN");
    };
    if let Some(Fault::Bytes(other)) = &fault {
        bytes = other.clone();
    }
    let total = bytes.len();
    let from = headers
        .get("range")
        .and_then(|range| range.to_str().ok()?.strip_prefix("bytes="))
        .and_then(|range| range.split('-').next()?.parse::<usize>().ok())
        .filter(|_| !matches!(fault, Some(Fault::IgnoreRange)));
    let start = from.unwrap_or(0);
    if start > total {
        return unknown("RANGE_INVALID");
    }
    let part = bytes.slice(start..);
    let mut response = Response::new(trickle(plan.clone(), part.clone(), fault, asked.kind));
    let headers = response.headers_mut();
    headers.insert("content-length", part.len().into());
    let content_type = "application/octet-stream";
    headers.insert("content-type", content_type.parse().expect("a plain value"));
    if from.is_some() {
        let range = format!("bytes {start}-{}/{total}", total.saturating_sub(1));
        headers.insert("content-range", range.parse().expect("a plain value"));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}

/// Sends `bytes` piece by piece, up to where the fault says.
fn trickle(plan: Arc<Mutex<Plan>>, bytes: Bytes, fault: Option<Fault>, kind: Kind) -> Body {
    if kind == Kind::BlobHead {
        return body(stream::empty().boxed());
    }
    let (stop, gate): (Option<usize>, Option<Gate>) = match fault {
        Some(Fault::StallAt(at, gate)) => (Some(at), Some(gate)),
        Some(Fault::CutAt(at)) => (Some(at), None),
        _ => (None, None),
    };
    let pieces = stream::unfold(0, move |sent| {
        let (plan, bytes, gate) = (plan.clone(), bytes.clone(), gate.clone());
        async move {
            if stop == Some(sent) {
                match gate {
                    Some(gate) => gate.pass().await,
                    None => return Some((Err(io::Error::other("cut")), bytes.len())),
                }
            }
            if sent >= bytes.len() {
                return None;
            }
            let mut end = (sent + PIECE).min(bytes.len());
            if let Some(stop) = stop.filter(|stop| sent < *stop) {
                end = end.min(stop);
            }
            lock(&plan).blob_bytes_sent += (end - sent) as u64;
            Some((Ok(Frame::data(bytes.slice(sent..end))), end))
        }
    });
    body(pieces.boxed())
}

fn unknown(code: &str) -> Response<Body> {
    let json = json!({"errors": [{"code": code, "message": "not here"}]});
    whole(404, "application/json", json.to_string().into())
}

fn whole(status: u16, content_type: &str, bytes: Bytes) -> Response<Body> {
    let length = bytes.len();
    let one = stream::once(async move { Ok(Frame::data(bytes)) });
    let mut response = Response::new(body(one.boxed()));
    *response.status_mut() = StatusCode::from_u16(status).expect("stories use real statuses");
    let headers = response.headers_mut();
    headers.insert("content-length", length.into());
    let content_type = content_type.parse().expect("a media type is a plain value");
    headers.insert("content-type", content_type);
    response
}

fn body(stream: BoxStream<'static, io::Result<Frame<Bytes>>>) -> Body {
    StreamBody::new(stream)
}
