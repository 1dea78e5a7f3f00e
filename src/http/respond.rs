//! Building answers: the few shapes that every handler uses. Header values come from parsed types;
//! text from elsewhere is cleaned here, so that no answer can be split.

use std::io;

use bytes::Bytes;
use futures_util::TryStreamExt;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response as HttpResponse, StatusCode};
use serde::Serialize;

use super::server::BodyOut;
use crate::registry::{ByteStream, CacheState};

/// An answer.
pub(super) type Response = HttpResponse<BodyOut>;

/// `Docker-Content-Digest`.
pub(super) const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// `Docker-Upload-UUID`.
pub(super) const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");
/// `Seawall-Cache`.
const CACHE: HeaderName = HeaderName::from_static("seawall-cache");
/// `OCI-Namespace`.
const NAMESPACE: HeaderName = HeaderName::from_static("oci-namespace");

/// After how many seconds to ask again while the start is not finished (`Retry-After`).
pub(super) const PREPARING_SECS: &str = "5";

/// Returns an answer without a body.
pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = HttpResponse::new(no_body());
    *response.status_mut() = status;
    let has_length = status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED;
    if has_length {
        response
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    response
}

/// Returns an answer with `bytes` of `media_type`.
pub(super) fn bytes(status: StatusCode, media_type: &str, bytes: Bytes) -> Response {
    let length = bytes.len() as u64;
    let mut response = HttpResponse::new(
        Full::new(bytes)
            .map_err(|never| match never {})
            .boxed_unsync(),
    );
    *response.status_mut() = status;
    set(&mut response, CONTENT_TYPE, media_type);
    set_number(&mut response, CONTENT_LENGTH, length);
    response
}

/// Returns an answer with `value` as JSON.
pub(super) fn json<T: Serialize>(status: StatusCode, media_type: &str, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => bytes(status, media_type, body.into()),
        Err(error) => {
            tracing::error!(%error, "could not print an answer");
            empty(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// Returns an answer that sends `stream`; its length is set by the caller, if it is known.
pub(super) fn stream(status: StatusCode, stream: ByteStream) -> Response {
    let body = StreamBody::new(stream.map_ok(Frame::data));
    let mut response = HttpResponse::new(BodyExt::boxed_unsync(body));
    *response.status_mut() = status;
    response
}

fn no_body() -> BodyOut {
    Empty::new()
        .map_err(|never| -> io::Error { match never {} })
        .boxed_unsync()
}

/// Sets a header from text; characters that no header may have become spaces.
pub(super) fn set(response: &mut Response, name: HeaderName, value: &str) {
    response.headers_mut().insert(name, header_value(value));
}

/// Sets a header from a number.
pub(super) fn set_number(response: &mut Response, name: HeaderName, value: u64) {
    response.headers_mut().insert(name, value.into());
}

/// Returns `value` as a header value, cut to a kilobyte, with characters no header may have as spaces.
pub(super) fn header_value(value: &str) -> HeaderValue {
    let cleaned: String = value
        .chars()
        .map(|c| {
            if c.is_ascii() && !c.is_ascii_control() {
                c
            } else {
                ' '
            }
        })
        .take(1024)
        .collect();
    HeaderValue::from_str(&cleaned).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Returns the answer to HEAD that `response` is to GET: the same headers, no body.
pub(super) fn without_body(response: Response) -> Response {
    let (parts, _) = response.into_parts();
    HttpResponse::from_parts(parts, no_body())
}

/// Tells the client how a mirrored answer came about.
pub(super) fn tell_cache(
    response: &mut Response,
    cache: Option<&CacheState>,
    age: Option<std::time::Duration>,
    namespace: Option<&str>,
) {
    if let Some(namespace) = namespace {
        set(response, NAMESPACE, namespace);
    }
    let Some(cache) = cache else {
        return;
    };
    let word = match cache {
        CacheState::Hit => "hit",
        CacheState::Revalidated => "revalidated",
        CacheState::Stale { .. } => "stale",
        CacheState::Miss => "miss",
    };
    response
        .headers_mut()
        .insert(CACHE, HeaderValue::from_static(word));
    if let CacheState::Stale { reason } = cache {
        warn(response, &format!("stale: {reason}"));
    }
    if let Some(age) = age {
        set_number(response, hyper::header::AGE, age.as_secs());
    }
}

/// Adds a `Warning` in the form of the distribution-spec ("Warnings").
pub(super) fn warn(response: &mut Response, text: &str) {
    let text: String = text
        .chars()
        .map(|c| if c == '"' || c == '\\' { '\'' } else { c })
        .take(256)
        .collect();
    set(
        response,
        hyper::header::WARNING,
        &format!("299 - \"{text}\""),
    );
}
