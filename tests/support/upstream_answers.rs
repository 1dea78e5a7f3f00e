//! What a fake upstream answers: tokens and challenges, lists, manifests and blobs, each with the fault
//! that is due.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use serde_json::{Value, json};

use super::gate::Gate;
use super::images::{OCI_INDEX, base64};
use super::upstream_plan::{Admission, Fault, Kind, Plan, ReferrersApi, Seen, TokenRules};

/// Pieces of a body, small enough that a client sees it arrive.
const PIECE: usize = 16 * 1024;

/// Numbers tokens apart, over every upstream of the process: any upstream honours any token.
static TOKENS: AtomicU64 = AtomicU64::new(1);

type Body = StreamBody<BoxStream<'static, io::Result<Frame<Bytes>>>>;

/// Returns the number of the next token; those below it are handed out already.
pub(super) fn next_token() -> u64 {
    TOKENS.load(Ordering::SeqCst)
}

pub(super) fn lock(plan: &Mutex<Plan>) -> MutexGuard<'_, Plan> {
    plan.lock().expect("no story panics with the plan in hand")
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

/// Answers one request as the plan says.
pub(super) async fn answer(
    plan: &Arc<Mutex<Plan>>,
    origin: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    let asked = asked(request.method(), request.uri().path());
    let mut response = answer_to(plan, origin, &asked, request).await;
    let limit = lock(plan).ratelimit.filter(|_| asked.kind != Kind::Token);
    if let Some((limit, remaining)) = limit {
        for (name, count) in [
            ("ratelimit-limit", limit),
            ("ratelimit-remaining", remaining),
        ] {
            let value = format!("{count};w=21600").parse();
            let value = value.expect("a number makes a plain value");
            response.headers_mut().insert(name, value);
        }
    }
    response
}

async fn answer_to(
    plan: &Arc<Mutex<Plan>>,
    origin: &str,
    asked: &Asked,
    request: Request<Incoming>,
) -> Response<Body> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let fault = note(plan, asked, &request, &query);
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
    if let Some(refusal) = refuse(plan, origin, asked, request.headers()) {
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
        Kind::Tags => tags(&lock(plan), asked, &query),
        Kind::Referrers => referrers(&lock(plan), asked),
        Kind::ManifestHead | Kind::ManifestGet => manifest(&lock(plan), asked, fault.as_ref()),
        Kind::BlobHead | Kind::BlobGet => blob(plan, asked, request.headers(), fault),
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
        via: header("via"),
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
        Admission::Bearer(token) => {
            if shown == format!("Bearer {token}") {
                return None;
            }
            r#"Bearer realm="https://nowhere.invalid/token""#.to_owned()
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
    format!("Basic {}", base64(pair.as_bytes()))
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
    if let Some(Fault::Bytes(other) | Fault::Headers(_, Some(other))) = &fault {
        bytes = other.clone();
    }
    if let Some(Fault::Unannounced(count)) = fault {
        // Without a length, hyper sends it chunked.
        let zeros = Bytes::from(vec![0; count]);
        return Response::new(trickle(plan.clone(), zeros, None, asked.kind));
    }
    let total = bytes.len();
    let range = headers
        .get("range")
        .and_then(|range| range.to_str().ok())
        .and_then(|range| range_in(range, total))
        .filter(|_| !matches!(fault, Some(Fault::IgnoreRange)));
    let Range { start, end } = range.clone().unwrap_or(0..total);
    if start > total {
        return unknown("RANGE_INVALID");
    }
    let part = bytes.slice(start..end);
    let length = part.len();
    let mut response = Response::new(trickle(plan.clone(), part, fault.clone(), asked.kind));
    let headers = response.headers_mut();
    headers.insert("content-length", length.into());
    let content_type = "application/octet-stream";
    headers.insert("content-type", content_type.parse().expect("a plain value"));
    if range.is_some() {
        let range = format!("bytes {start}-{}/{total}", end.saturating_sub(1));
        headers.insert("content-range", range.parse().expect("a plain value"));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    if let Some(Fault::Headers(more, _)) = fault {
        for (name, value) in more {
            let value = value.parse().expect("stories write plain header values");
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// Reads `bytes=<start>-` and `bytes=<start>-<last>` of content of `total` bytes.
fn range_in(header: &str, total: usize) -> Option<Range<usize>> {
    let (start, last) = header.strip_prefix("bytes=")?.split_once('-')?;
    let last = last.parse::<usize>().ok();
    let end = last.map_or(total, |last| total.min(last + 1));
    Some(start.parse().ok()?..end)
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
