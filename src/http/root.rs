//! The first step of every request: which API it is for, then the headers and the log line that every
//! answer gets.

use std::sync::Arc;

use hyper::header::{CACHE_CONTROL, CONTENT_ENCODING, HeaderName, HeaderValue, VIA};
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode};
use oci::RouteError;

use super::access_log::Pending;
use super::context::Context;
use super::error::Failure;
use super::respond::{self, Response};
use super::server::{Handler, PeerInfo, RequestBody};
use super::v2;
use crate::registry::Via;

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const NO_SNIFF: HeaderName = HeaderName::from_static("x-content-type-options");

/// Returns the service of the whole server.
pub fn handler(context: Context) -> Handler {
    let context = Arc::new(context);
    Arc::new(move |request, peer| {
        let context = Arc::clone(&context);
        Box::pin(async move { answer(&context, request, peer).await })
    })
}

async fn answer(context: &Arc<Context>, request: Request<RequestBody>, peer: PeerInfo) -> Response {
    let (parts, body) = request.into_parts();
    let is_head = parts.method == Method::HEAD;
    let log = context.access_log.is_enabled().then(|| {
        let clock = context.clock.as_ref();
        Pending::of(&parts, peer.addr.ip(), clock)
    });
    let mut response = match dispatch(context, parts, body, peer).await {
        Ok(response) => response,
        Err(failure) => failure.into_response(),
    };
    if is_head {
        response = respond::without_body(response);
    }
    let headers = response.headers_mut();
    headers.insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    headers.insert(NO_SNIFF, HeaderValue::from_static("nosniff"));
    for (name, value) in &context.settings.headers {
        headers.append(name.clone(), value.clone());
    }
    if let Some(pending) = log {
        pending.write(&context.access_log, &response);
    }
    response
}

async fn dispatch(
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
