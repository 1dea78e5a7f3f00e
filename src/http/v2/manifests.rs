//! Manifests: GET, HEAD, PUT, DELETE. The stored bytes and the stored type go out as they came in.

use hyper::StatusCode;
use hyper::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, LOCATION};
use oci::{ManifestAction, Reference, Route, Tag};

use super::body::read;
use super::call::Call;
use super::conditional::{is_known, set_etag};
use crate::http::error::Failure;
use crate::http::respond::{self, DIGEST, Response};
use crate::http::server::RequestBody;
use crate::registry::{
    Accepted, ManifestAnswer, ManifestRequest, ManifestWanted, NewPush, Resolved, delete_manifest,
    pull_manifest, push_manifest,
};

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const TAG: HeaderName = HeaderName::from_static("oci-tag");

pub(super) async fn answer(
    call: &Call,
    body: RequestBody,
    at: &Resolved,
    reference: &Reference,
    action: ManifestAction,
) -> Result<Response, Failure> {
    match action {
        ManifestAction::Get => get(call, at, reference, ManifestWanted::Bytes).await,
        ManifestAction::Head => get(call, at, reference, ManifestWanted::Facts).await,
        ManifestAction::Put { tags } => put(call, body, at, reference, &tags).await,
        ManifestAction::Delete => {
            delete_manifest(&call.context.registry, &call.caller, at, reference).await?;
            Ok(respond::empty(StatusCode::ACCEPTED))
        }
    }
}

async fn get(
    call: &Call,
    at: &Resolved,
    reference: &Reference,
    wanted: ManifestWanted,
) -> Result<Response, Failure> {
    let accept = call.headers.get_all(ACCEPT);
    let accepted = Accepted::parse(accept.iter().filter_map(|value| value.to_str().ok()));
    let request = ManifestRequest {
        reference,
        wanted,
        accepted: &accepted,
    };
    let found = pull_manifest(&call.context.registry, &call.caller, at, request).await?;
    let mut response = if is_known(&call.headers, &found.digest) {
        respond::empty(StatusCode::NOT_MODIFIED)
    } else {
        whole(&found)
    };
    respond::set(&mut response, DIGEST, &found.digest.to_string());
    set_etag(&mut response, &found.digest);
    let namespace = at.namespace.as_deref();
    respond::tell_cache(&mut response, found.cache.as_ref(), found.age, namespace);
    Ok(response)
}

fn whole(found: &ManifestAnswer) -> Response {
    let bytes = found.bytes.clone().unwrap_or_default();
    let mut response = respond::bytes(StatusCode::OK, &found.media_type, bytes);
    respond::set_number(&mut response, CONTENT_LENGTH, found.size);
    response
}

async fn put(
    call: &Call,
    mut body: RequestBody,
    at: &Resolved,
    reference: &Reference,
    tags: &[Tag],
) -> Result<Response, Failure> {
    let limit = call.context.settings.manifest_limit;
    let budget = &call.context.manifest_budget;
    let whole = read(&call.headers, &mut body, limit, budget).await?;
    let push = NewPush {
        reference,
        tags,
        content_type: call.header(CONTENT_TYPE.as_str()),
        bytes: whole.bytes.clone(),
    };
    let pushed = push_manifest(&call.context.registry, &call.caller, at, push).await?;
    let mut response = respond::empty(StatusCode::CREATED);
    let location = Route::Manifest {
        name: at.asked.clone(),
        reference: Reference::Digest(pushed.digest),
        action: ManifestAction::Get,
    };
    respond::set(&mut response, LOCATION, &call.url(&location));
    respond::set(&mut response, DIGEST, &pushed.digest.to_string());
    if let Some(subject) = pushed.subject {
        respond::set(&mut response, SUBJECT, &subject.to_string());
    }
    for tag in tags {
        let value = respond::header_value(tag.as_str());
        response.headers_mut().append(TAG, value);
    }
    Ok(response)
}
