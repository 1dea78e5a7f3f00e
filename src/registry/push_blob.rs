//! Pushing a blob: start, append, finish, cancel, ask where it stands; or all in one request.

use oci::{Algorithm, Digest, UploadId};

use super::error::{Error, content_error};
use super::resolve::Resolved;
use super::service::Registry;
use crate::auth::Caller;
use crate::content::{Piece, Upload, Uploader};

/// Opens an upload to `at`, hashed with `algorithm` while its bytes arrive.
///
/// # Errors
/// [`Error::Mirrored`], [`Error::Shadows`], [`Error::ReadOnly`], [`Error::TooManyUploads`], storage errors.
pub async fn start_upload(
    registry: &Registry,
    caller: &Caller,
    at: &Resolved,
    algorithm: Algorithm,
) -> Result<Upload, Error> {
    registry.refuse_unless_writable(at)?;
    registry.refuse_shadowing(at).await?;
    let client = caller.client();
    let who = Uploader {
        by: caller.principal.as_str(),
        client: &client,
    };
    let upload = registry
        .content
        .start_upload(&at.repository, algorithm, who)
        .await;
    upload.map_err(|error| content_error(error, &at.asked, None))
}

/// Uploads a blob in one request; returns its size in bytes. Nothing is left of one that fails.
///
/// # Errors
/// As [`start_upload`] and [`finish`].
pub async fn push_whole(
    registry: &Registry,
    caller: &Caller,
    at: &Resolved,
    digest: &Digest,
    piece: Piece,
) -> Result<u64, Error> {
    let upload = start_upload(registry, caller, at, digest.algorithm()).await?;
    let finished = finish(registry, caller, at, &upload.id, piece, digest).await;
    if finished.is_err() {
        // The client was never told the upload's id.
        let by = caller.principal.as_str();
        let cancelled = registry
            .content
            .cancel_upload(&at.repository, &upload.id, by)
            .await;
        if let Err(error) = cancelled {
            tracing::warn!(upload = %upload.id, %error, "could not drop a failed upload");
        }
    }
    finished
}

/// Returns the upload as acknowledged.
///
/// # Errors
/// [`Error::UploadUnknown`], storage errors.
pub async fn status(
    registry: &Registry,
    caller: &Caller,
    at: &Resolved,
    id: &UploadId,
) -> Result<Upload, Error> {
    let by = caller.principal.as_str();
    let upload = registry.content.upload(&at.repository, id, by).await;
    upload.map_err(|error| content_error(error, &at.asked, Some(id)))
}

/// Appends `piece`; returns the upload with its new offset.
///
/// # Errors
/// [`Error::OffsetConflict`], [`Error::SizeInvalid`], [`Error::BodyBroken`],
/// [`Error::UploadUnknown`], [`Error::ReadOnly`], storage errors.
pub async fn append(
    registry: &Registry,
    caller: &Caller,
    at: &Resolved,
    id: &UploadId,
    piece: Piece,
) -> Result<Upload, Error> {
    registry.refuse_unless_writable(at)?;
    let by = caller.principal.as_str();
    let upload = registry.content.append(&at.repository, id, by, piece).await;
    upload.map_err(|error| content_error(error, &at.asked, Some(id)))
}

/// Appends the last `piece` and makes the upload the blob `digest`; returns its size in bytes.
///
/// # Errors
/// As [`append`], and [`Error::DigestMismatch`], which leaves the upload as it was.
pub async fn finish(
    registry: &Registry,
    caller: &Caller,
    at: &Resolved,
    id: &UploadId,
    piece: Piece,
    digest: &Digest,
) -> Result<u64, Error> {
    registry.refuse_unless_writable(at)?;
    let by = caller.principal.as_str();
    let size = registry
        .content
        .finish_upload(&at.repository, id, by, piece, digest)
        .await;
    size.map_err(|error| content_error(error, &at.asked, Some(id)))
}

/// Closes the upload and drops its bytes.
///
/// # Errors
/// [`Error::UploadUnknown`], [`Error::ReadOnly`], storage errors.
pub async fn cancel(
    registry: &Registry,
    caller: &Caller,
    at: &Resolved,
    id: &UploadId,
) -> Result<(), Error> {
    registry.refuse_unless_writable(at)?;
    let by = caller.principal.as_str();
    let cancelled = registry.content.cancel_upload(&at.repository, id, by).await;
    cancelled.map_err(|error| content_error(error, &at.asked, Some(id)))
}
