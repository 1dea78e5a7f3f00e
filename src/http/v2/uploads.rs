//! Uploads: POST, PATCH, PUT, GET, DELETE. What writes runs as a task of its own, so that bytes which
//! arrived before a client hung up are still acknowledged.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderName, LOCATION, RANGE};
use oci::{
    Algorithm, BlobAction, ContentRange, Digest, Route, UploadAction, UploadId, UploadStart,
};

use super::body::{length as length_of, stream};
use super::call::Call;
use crate::http::error::{Failure, upload_range};
use crate::http::respond::{self, DIGEST, Response, UPLOAD_ID};
use crate::http::server::RequestBody;
use crate::registry::{
    Error, Piece, Resolved, Upload, append, cancel, finish, mount_blob, push_whole, start_upload,
    status,
};

const MIN_CHUNK: HeaderName = HeaderName::from_static("oci-chunk-min-length");

pub(super) async fn start(
    call: Call,
    body: RequestBody,
    at: Resolved,
    start: UploadStart,
    mount_from: Option<Resolved>,
) -> Result<Response, Failure> {
    let registry = Arc::clone(&call.context.registry);
    if let Some(mount) = &start.mount {
        // A named source that does not resolve is a miss, not a search everywhere else.
        let searched = mount.from.is_none() || mount_from.is_some();
        let from = mount_from.as_ref();
        if searched && mount_blob(&registry, &call.caller, &at, &mount.digest, from).await? {
            return Ok(created(&call, &at, &mount.digest));
        }
    }
    if let Some(digest) = start.digest {
        return whole(call, body, at, digest).await;
    }
    let algorithm = start.algorithm.unwrap_or(Algorithm::Sha256);
    let upload = start_upload(&registry, &call.caller, &at, algorithm).await?;
    let mut response = standing(StatusCode::ACCEPTED, &call, &at, &upload);
    if let Some(least) = registry.min_chunk() {
        respond::set_number(&mut response, MIN_CHUNK, least);
    }
    Ok(response)
}

pub(super) async fn answer(
    call: Call,
    body: RequestBody,
    at: Resolved,
    id: UploadId,
    action: UploadAction,
) -> Result<Response, Failure> {
    match action {
        UploadAction::Status { .. } => {
            let upload = status(&call.context.registry, &call.caller, &at, &id).await?;
            Ok(standing(StatusCode::NO_CONTENT, &call, &at, &upload))
        }
        UploadAction::Append => patch(&call, body, at, id).await,
        UploadAction::Finish { digest } => put(&call, body, at, id, digest).await,
        UploadAction::Cancel => {
            cancel(&call.context.registry, &call.caller, &at, &id).await?;
            Ok(respond::empty(StatusCode::NO_CONTENT))
        }
    }
}

async fn patch(
    call: &Call,
    body: RequestBody,
    at: Resolved,
    id: UploadId,
) -> Result<Response, Failure> {
    if let Some(given) = call.header(CONTENT_TYPE.as_str())
        && given.starts_with("multipart/")
    {
        let reason = "a chunk is sent as application/octet-stream".to_owned();
        return Err(Failure::BadContentRange(reason));
    }
    let piece = piece(call, body)?;
    let (registry, caller) = (Arc::clone(&call.context.registry), call.caller.clone());
    let place = at.clone();
    let upload =
        detached(async move { append(&registry, &caller, &place, &id, piece).await }).await?;
    Ok(standing(StatusCode::ACCEPTED, call, &at, &upload))
}

async fn put(
    call: &Call,
    body: RequestBody,
    at: Resolved,
    id: UploadId,
    digest: Digest,
) -> Result<Response, Failure> {
    let piece = piece(call, body)?;
    let (registry, caller) = (Arc::clone(&call.context.registry), call.caller.clone());
    let place = at.clone();
    detached(async move { finish(&registry, &caller, &place, &id, piece, &digest).await }).await?;
    Ok(created(call, &at, &digest))
}

async fn whole(
    call: Call,
    body: RequestBody,
    at: Resolved,
    digest: Digest,
) -> Result<Response, Failure> {
    let piece = piece(&call, body)?;
    let (registry, caller) = (Arc::clone(&call.context.registry), call.caller.clone());
    let place = at.clone();
    detached(async move { push_whole(&registry, &caller, &place, &digest, piece).await }).await?;
    Ok(created(&call, &at, &digest))
}

/// Runs `work` to its end, also when the client is gone and this request is dropped.
async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::spawn(work).await {
        Ok(done) => done.map_err(Failure::Registry),
        Err(lost) => Err(Failure::Registry(Error::Unavailable {
            reason: format!("an upload's task ended early: {lost}"),
        })),
    }
}

/// Takes the body with where it starts and how long it is.
fn piece(call: &Call, body: RequestBody) -> Result<Piece, Failure> {
    let length = length_of(&call.headers);
    let (start, length) = match call.headers.get(CONTENT_RANGE) {
        None => (None, length),
        Some(value) => {
            let text = String::from_utf8_lossy(value.as_bytes());
            let range = ContentRange::parse(&text)
                .map_err(|error| Failure::BadContentRange(error.to_string()))?;
            let stated = range.end_inclusive - range.start + 1;
            match length {
                // An empty last request may repeat where the upload stands.
                Some(0) => (None, length),
                Some(length) if length != stated => {
                    return Err(Failure::Registry(Error::SizeInvalid {
                        stated,
                        received: length,
                    }));
                }
                Some(_) | None => (Some(range.start), Some(stated)),
            }
        }
    };
    Ok(Piece {
        start,
        length,
        body: stream(body),
    })
}

fn upload_route(at: &Resolved, id: &UploadId) -> Route {
    Route::Upload {
        name: at.asked.clone(),
        id: id.clone(),
        action: UploadAction::Append,
    }
}

/// Returns the answer that tells where an upload stands.
fn standing(status: StatusCode, call: &Call, at: &Resolved, upload: &Upload) -> Response {
    let mut response = respond::empty(status);
    let location = call.url(&upload_route(at, &upload.id));
    respond::set(&mut response, LOCATION, &location);
    respond::set(&mut response, RANGE, &upload_range(upload.offset));
    respond::set(&mut response, UPLOAD_ID, &upload.id.to_string());
    response
}

fn created(call: &Call, at: &Resolved, digest: &Digest) -> Response {
    let mut response = respond::empty(StatusCode::CREATED);
    let blob = Route::Blob {
        name: at.asked.clone(),
        digest: *digest,
        action: BlobAction::Get,
    };
    respond::set(&mut response, LOCATION, &call.url(&blob));
    respond::set(&mut response, DIGEST, &digest.to_string());
    response
}
