//! The first step of every request: which API behind its door it is for, then the headers and the log
//! line that every answer gets.

use std::sync::Arc;

use hyper::header::{CACHE_CONTROL, CONTENT_ENCODING, HeaderName, HeaderValue, VIA};
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode};
use oci::RouteError;

use super::access_log::Pending;
use super::api::{self, Problem};
use super::context::Context;
use super::door::Door;
use super::error::Failure;
use super::respond::{self, Response};
use super::server::{Handler, PeerInfo, RequestBody};
use super::{v2, watch};
use crate::registry::Via;

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const NO_SNIFF: HeaderName = HeaderName::from_static("x-content-type-options");

/// Returns the service behind `door`.
pub fn handler(context: Arc<Context>, door: Door) -> Handler {
    let door = Arc::new(door);
    Arc::new(move |request, peer| {
        let (context, door) = (Arc::clone(&context), Arc::clone(&door));
        Box::pin(async move { answer(&context, &door, request, peer).await })
    })
}

async fn answer(
    context: &Arc<Context>,
    door: &Door,
    request: Request<RequestBody>,
    peer: PeerInfo,
) -> Response {
    let (parts, body) = request.into_parts();
    let is_head = parts.method == Method::HEAD;
    let log = context.access_log.is_enabled().then(|| {
        let clock = context.clock.as_ref();
        Pending::of(&parts, peer.ip(), clock)
    });
    let mut response = dispatch(context, door, parts, body, peer).await;
    if is_head {
        response = respond::without_body(response);
    }
    let headers = response.headers_mut();
    headers.insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    headers.insert(NO_SNIFF, HeaderValue::from_static("nosniff"));
    for (name, value) in &context.settings.headers {
        headers.append(name.clone(), value.clone());
    }
    match log {
        Some(pending) => pending.follow(context, response),
        None => response,
    }
}

async fn dispatch(
    context: &Arc<Context>,
    door: &Door,
    parts: Parts,
    body: RequestBody,
    peer: PeerInfo,
) -> Response {
    if let Some(response) = watch::answer(context, door, &parts, peer).await {
        return response;
    }
    let path = parts.uri.path().to_owned();
    let prepared = context.registry.preparation().check();
    if let Some(prefix) = door.api_prefix(&context.settings)
        && let Some(below) = api::below_root(&path, prefix)
    {
        if let Err(error) = prepared {
            let detail = error.to_string();
            return Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response();
        }
        let root = format!("{}{}", prefix.trim_end_matches('/'), api::ROOT);
        return api::answer(context, (root, below), parts, body, peer).await;
    }
    if !door.has_registry() {
        return Problem::not_found().into_response();
    }
    let answered = match prepared {
        Ok(()) => registry(context, parts, body, peer).await,
        Err(error) => Err(Failure::from(error)),
    };
    answered.unwrap_or_else(Failure::into_response)
}

async fn registry(
    context: &Arc<Context>,
    parts: Parts,
    body: RequestBody,
    peer: PeerInfo,
) -> Result<Response, Failure> {
    let via = Via::parse(parts.headers.get_all(VIA).iter().map(HeaderValue::as_bytes));
    if via.names(&context.instance) {
        return Err(Failure::Loop);
    }
    refuse_encoded(&parts)?;
    let path = parts.uri.path().to_owned();
    if path == "/" {
        return Ok(alive());
    }
    // The prefix begins and ends with a slash; what follows it begins with `v2`.
    let Some(rest) = path.strip_prefix(context.settings.prefix.as_str()) else {
        return Err(Failure::Route(RouteError::NotFound));
    };
    let path = format!("/{rest}");
    let sender = v2::Sender { peer, via };
    v2::answer(context, &path, parts, body, sender).await
}

/// The check of load balancers, as Distribution answers it.
fn alive() -> Response {
    let mut response = respond::empty(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// Bytes are kept as they come, so an encoded body would be stored encoded.
fn refuse_encoded(parts: &Parts) -> Result<(), Failure> {
    for value in parts.headers.get_all(CONTENT_ENCODING) {
        if !value.as_bytes().eq_ignore_ascii_case(b"identity") {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            return Err(Failure::ContentEncoding(value));
        }
    }
    Ok(())
}
