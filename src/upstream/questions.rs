//! Questions as calls, and answers as facts: routes and headers in one place, for the functions of `asking`.

use std::ops::Range;

use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_RANGE, HeaderName, RANGE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use oci::{BlobAction, Digest, ManifestAction, Reference, RepositoryName, Route};

use super::body::BlobBody;
use super::error::Error;
use super::listing::is_html;
use super::outgoing::Proof;
use super::request::{Answer, Call};
use crate::telemetry::Kind;

/// Every manifest is welcome: what is stored is what the upstream prefers to give.
const ACCEPT_MANIFESTS: HeaderValue = HeaderValue::from_static(
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json, */*",
);
const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

pub(super) fn call(kind: Kind, repository: &RepositoryName, route: &Route, proof: Proof) -> Call {
    let method = match route.method() {
        oci::Method::Head => Method::HEAD,
        oci::Method::Get
        | oci::Method::Put
        | oci::Method::Post
        | oci::Method::Patch
        | oci::Method::Delete => Method::GET,
    };
    Call {
        kind,
        method,
        repository: repository.as_str().to_owned(),
        path_and_query: route.path_and_query(),
        headers: HeaderMap::new(),
        proof,
    }
}

pub(super) fn manifest_call(
    repository: &RepositoryName,
    reference: &Reference,
    action: ManifestAction,
) -> Call {
    let route = Route::Manifest {
        name: repository.clone(),
        reference: reference.clone(),
        action,
    };
    let proof = match reference {
        Reference::Digest(_) => Proof::Digest,
        Reference::Tag(_) => Proof::Connection,
    };
    let mut call = call(Kind::Manifest, repository, &route, proof);
    call.headers.insert(ACCEPT, ACCEPT_MANIFESTS);
    call
}

pub(super) fn blob_call(repository: &RepositoryName, digest: &Digest, action: BlobAction) -> Call {
    let route = Route::Blob {
        name: repository.clone(),
        digest: *digest,
        action,
    };
    call(Kind::Blob, repository, &route, Proof::Digest)
}

pub(super) fn blob_from(repository: &RepositoryName, digest: &Digest, from: u64) -> Call {
    let mut call = blob_call(repository, digest, BlobAction::Get);
    if from > 0 {
        set_range(&mut call, &format!("bytes={from}-"));
    }
    call
}

pub(super) fn blob_part(repository: &RepositoryName, digest: &Digest, part: &Range<u64>) -> Call {
    let mut call = blob_call(repository, digest, BlobAction::Get);
    let last = part.end.saturating_sub(1).max(part.start);
    set_range(&mut call, &format!("bytes={}-{last}", part.start));
    call
}

pub(super) fn set_range(call: &mut Call, range: &str) {
    let range = HeaderValue::try_from(range).expect("a header value because it is ASCII");
    call.headers.insert(RANGE, range);
}

/// Returns the body of a blob of which the bytes from `from` on were asked for.
pub(super) fn blob_body(answer: Answer, from: u64) -> Result<BlobBody, Error> {
    let wanted = [StatusCode::OK, StatusCode::PARTIAL_CONTENT];
    let answer = answer.expect(&wanted)?;
    // A portal's page is no blob, and is told before its first byte is sent on.
    registry_answer(&answer)?;
    let received = answer.received;
    let (start, total) = if received.status() == StatusCode::PARTIAL_CONTENT {
        let range = text(received.headers(), CONTENT_RANGE);
        let range = range.as_deref().and_then(read_content_range);
        match range {
            Some((start, total)) if start == from => (start, total),
            _ => return Err(Error::protocol("another range than the one asked for")),
        }
    } else {
        (0, content_length(received.headers()))
    };
    Ok(BlobBody {
        received,
        start,
        total,
    })
}

/// Returns the headers of an answer that came from a registry and not from a portal before it.
pub(super) fn registry_answer(answer: &Answer) -> Result<&HeaderMap, Error> {
    let headers = answer.received.headers();
    if is_html(headers) {
        return Err(Error::protocol("a web page"));
    }
    Ok(headers)
}

pub(super) fn claimed_digest(headers: &HeaderMap) -> Result<Option<Digest>, Error> {
    let Some(value) = headers.get(DOCKER_CONTENT_DIGEST) else {
        return Ok(None);
    };
    let digest = value
        .to_str()
        .ok()
        .and_then(|text| Digest::parse(text).ok());
    match digest {
        Some(digest) => Ok(Some(digest)),
        None => Err(Error::protocol("a malformed Docker-Content-Digest")),
    }
}

pub(super) fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.to_owned())
}

/// The header itself: the body of an answer to HEAD has no size.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    text(headers, CONTENT_LENGTH)?.parse().ok()
}

/// Reads `bytes <start>-<end>/<total or *>` (RFC 9110 section 14.4) as start and total.
pub(super) fn read_content_range(header: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = header.strip_prefix("bytes ")?.split_once('/')?;
    let (start, end) = range.split_once('-')?;
    let (start, end): (u64, u64) = (start.parse().ok()?, end.parse().ok()?);
    if total == "*" {
        return (start <= end).then_some((start, None));
    }
    let total: u64 = total.parse().ok()?;
    (start <= end && end < total).then_some((start, Some(total)))
}
