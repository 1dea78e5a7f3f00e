//! Blobs: GET with ranges, HEAD, DELETE. Whether a blob is stored or still arriving shows only in its
//! headers.

use hyper::StatusCode;
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue,
    IF_RANGE, RANGE,
};
use oci::{BlobAction, Digest, RangeOutcome, media_type};

use super::call::Call;
use super::conditional::{is_known, set_etag};
use crate::http::error::Failure;
use crate::http::respond::{self, DIGEST, Response};
use crate::registry::{BlobAnswer, Resolved, delete_blob, head_blob, pull_blob};

pub(super) async fn answer(
    call: &Call,
    at: &Resolved,
    digest: &Digest,
    action: BlobAction,
) -> Result<Response, Failure> {
    match action {
        BlobAction::Get => get(call, at, digest).await,
        BlobAction::Head => head(call, at, digest).await,
        BlobAction::Delete => {
            delete_blob(&call.context.registry, &call.caller, at, digest).await?;
            Ok(respond::empty(StatusCode::ACCEPTED))
        }
    }
}

async fn get(call: &Call, at: &Resolved, digest: &Digest) -> Result<Response, Failure> {
    let found = pull_blob(&call.context.registry, &call.caller, at, digest).await?;
    let cache = found.cache.clone();
    let mut response = if is_known(&call.headers, digest) {
        respond::empty(StatusCode::NOT_MODIFIED)
    } else {
        content(call, at, digest, found).await?
    };
    describe(&mut response, digest);
    let namespace = at.namespace.as_deref();
    respond::tell_cache(&mut response, cache.as_ref(), None, namespace);
    Ok(response)
}

async fn content(
    call: &Call,
    at: &Resolved,
    digest: &Digest,
    mut found: BlobAnswer,
) -> Result<Response, Failure> {
    let Some(mut size) = found.size else {
        let bytes = found.read_whole(at).await?;
        return Ok(typed(respond::stream(StatusCode::OK, bytes)));
    };
    let range = wanted_range(call, digest);
    if oci::resolve_range(range, size) == RangeOutcome::Unsatisfiable {
        size = found.verified_size(at).await?;
    }
    Ok(match oci::resolve_range(range, size) {
        RangeOutcome::Whole => {
            let bytes = found.read_whole(at).await?;
            let mut response = typed(respond::stream(StatusCode::OK, bytes));
            respond::set_number(&mut response, CONTENT_LENGTH, size);
            response
        }
        RangeOutcome::Partial(part) => {
            let length = part.end_inclusive - part.start + 1;
            let range = part.start..part.end_inclusive + 1;
            let bytes = found.read_part(at, range).await?;
            let mut response = typed(respond::stream(StatusCode::PARTIAL_CONTENT, bytes));
            let range = format!("bytes {}-{}/{size}", part.start, part.end_inclusive);
            respond::set(&mut response, CONTENT_RANGE, &range);
            respond::set_number(&mut response, CONTENT_LENGTH, length);
            response
        }
        RangeOutcome::Unsatisfiable => Failure::RangeOutside { size }.into_response(),
    })
}

/// Returns the `Range` to obey. `If-Range` with another tag asks for the whole (RFC 9110 section
/// 13.1.5).
fn wanted_range<'a>(call: &'a Call, digest: &Digest) -> Option<&'a str> {
    let range = call.header(RANGE.as_str())?;
    match call.header(IF_RANGE.as_str()) {
        Some(tag) if tag.trim_matches('"') != digest.to_string() => None,
        Some(_) | None => Some(range),
    }
}

async fn head(call: &Call, at: &Resolved, digest: &Digest) -> Result<Response, Failure> {
    let size = head_blob(&call.context.registry, &call.caller, at, digest).await?;
    let mut response = typed(respond::empty(StatusCode::OK));
    match size {
        Some(size) => respond::set_number(&mut response, CONTENT_LENGTH, size),
        None => {
            response.headers_mut().remove(CONTENT_LENGTH);
        }
    }
    describe(&mut response, digest);
    respond::tell_cache(&mut response, None, None, at.namespace.as_deref());
    Ok(response)
}

fn typed(mut response: Response) -> Response {
    respond::set(&mut response, CONTENT_TYPE, media_type::OCTET_STREAM);
    response
}

fn describe(response: &mut Response, digest: &Digest) {
    if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
        return;
    }
    respond::set(response, DIGEST, &digest.to_string());
    set_etag(response, digest);
    let headers = response.headers_mut();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=31536000"));
}
