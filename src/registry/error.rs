//! What a client can be told when a request is refused or fails: one variant per thing it can act on.
//! Texts name the thing and the value; they hold no paths, SQL, or hosts but an upstream's name.

use oci::{Digest, ManifestError, RepositoryName, UploadId};

use crate::content;
use crate::mirror;
use crate::mirror::UpstreamError;
use crate::policy::repositories::Refusal;

/// A request that is not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The start is not finished yet.
    #[error("not ready yet: {what}")]
    Preparing {
        /// What is being done, and how far it is.
        what: String,
    },
    /// No such repository.
    #[error("repository {name} is unknown")]
    NameUnknown {
        /// The repository.
        name: String,
    },
    /// `ns=` names no mirror, and there is no such repository here.
    #[error("repository {name} is unknown: no mirror is named {namespace}")]
    NamespaceUnknown {
        /// The repository.
        name: String,
        /// The value of `ns=`.
        namespace: String,
    },
    /// No such manifest in the repository.
    #[error("manifest {reference} is unknown in {name}")]
    ManifestUnknown {
        /// The repository.
        name: String,
        /// The tag or digest.
        reference: String,
    },
    /// The upstream of a name nobody pulled here yet could not be asked, and the asker may be about
    /// to push: for a push it does not exist.
    #[error("manifest {reference} is unknown in {name}")]
    UnknownBesideUpstream {
        /// The repository.
        name: String,
        /// The tag or digest.
        reference: String,
        /// What the upstream said, for the `Warning` header.
        warning: String,
    },
    /// No such blob in the repository.
    #[error("blob {digest} is unknown in {name}")]
    BlobUnknown {
        /// The repository.
        name: String,
        /// The blob.
        digest: Digest,
    },
    /// No such upload in the repository.
    #[error("upload {id} is unknown in {name}")]
    UploadUnknown {
        /// The repository.
        name: String,
        /// The upload.
        id: String,
    },
    /// The caller has as many uploads open as one may.
    #[error(
        "you have {most} uploads open, which is the most one may have (uploads.maxpersubject): finish or cancel some, or try again later"
    )]
    TooManyUploads {
        /// The most.
        most: u64,
    },
    /// The upload stands elsewhere.
    #[error("upload {id} continues at byte {offset}")]
    OffsetConflict {
        /// The upload.
        id: UploadId,
        /// Bytes acknowledged.
        offset: u64,
    },
    /// The request body broke off or stalled.
    #[error("request body broke off")]
    BodyBroken,
    /// The body has another length than announced.
    #[error("body has {received} bytes, {stated} were announced")]
    SizeInvalid {
        /// Bytes announced.
        stated: u64,
        /// Bytes received, at least.
        received: u64,
    },
    /// The content does not have the stated digest.
    #[error("content has digest {actual}, not {stated}")]
    DigestMismatch {
        /// The digest in the request.
        stated: Digest,
        /// The digest of the bytes.
        actual: Digest,
    },
    /// The manifest cannot be used.
    #[error(transparent)]
    ManifestInvalid(#[from] ManifestError),
    /// The manifest names content that is not in the repository.
    #[error("{}", missing(first, *total))]
    MissingReferences {
        /// The first of them, at most five.
        first: Vec<Digest>,
        /// How many there are.
        total: u64,
    },
    /// The manifest states a wrong size for a reference.
    #[error("reference {digest} has {actual} bytes, the manifest says {stated}")]
    ReferenceSize {
        /// The reference.
        digest: Digest,
        /// What the manifest says, in bytes.
        stated: u64,
        /// What is stored, in bytes.
        actual: u64,
    },
    /// Mirrored repositories take no pushes and no deletes.
    #[error("{name} is mirrored from {upstream} and is read-only; push to another name")]
    Mirrored {
        /// The repository.
        name: RepositoryName,
        /// The upstream's configured name.
        upstream: String,
    },
    /// A push would hide a repository that clients already pull through the default upstream.
    #[error(
        "{name} is already mirrored from {upstream}: a push would hide it (the mirror's `shadow: true` allows that)"
    )]
    Shadows {
        /// The name pushed to.
        name: RepositoryName,
        /// The upstream's configured name.
        upstream: String,
    },
    /// The server takes no writes now.
    #[error("the registry is read-only")]
    ReadOnly,
    /// Deleting is switched off.
    #[error("deleting is disabled (storage.delete.enabled)")]
    DeleteDisabled,
    /// The upstream refused or is in trouble, and nothing stored can be served.
    #[error("upstream {upstream}: {error}")]
    Upstream {
        /// Its configured name.
        upstream: String,
        /// What it said.
        error: UpstreamError,
    },
    /// The mirror's lists refuse the repository.
    #[error("{name} may not be pulled from {upstream}: {why}")]
    Refused {
        /// The repository.
        name: String,
        /// The upstream's configured name.
        upstream: String,
        /// Which list, which pattern.
        why: Refusal,
    },
    /// The disk is full.
    #[error("storage is full")]
    StorageFull,
    /// Storage does not answer.
    #[error("storage is unavailable, try again")]
    Unavailable {
        /// For the log only.
        reason: String,
    },
    /// Stored bytes are lost or wrong.
    #[error("blob {digest} is damaged in storage; push it again to repair it")]
    Damaged {
        /// The blob.
        digest: Digest,
    },
}

fn missing(first: &[Digest], total: u64) -> String {
    let named: Vec<String> = first.iter().map(Digest::to_string).collect();
    let more = total.saturating_sub(first.len() as u64);
    let list = named.join(", ");
    if more == 0 {
        format!("references are unknown in this repository: {list}")
    } else {
        format!("references are unknown in this repository: {list} and {more} more")
    }
}

/// Says what a failure of the content room means for `name`, and for `upload` where there is one.
pub(super) fn content_error(
    error: content::Error,
    name: &RepositoryName,
    upload: Option<&UploadId>,
) -> Error {
    match error {
        content::Error::StorageFull => Error::StorageFull,
        content::Error::Unavailable { reason } => Error::Unavailable { reason },
        content::Error::Damaged { digest } => Error::Damaged { digest },
        content::Error::UploadUnknown | content::Error::BytesLost => Error::UploadUnknown {
            name: name.to_string(),
            id: upload.map(UploadId::to_string).unwrap_or_default(),
        },
        content::Error::TooManyUploads { most } => Error::TooManyUploads { most },
        content::Error::OffsetConflict { offset } => match upload {
            Some(id) => Error::OffsetConflict {
                id: id.clone(),
                offset,
            },
            None => Error::Unavailable {
                reason: format!("an offset conflict at {offset} without an upload"),
            },
        },
        content::Error::BodyBroken { .. } => Error::BodyBroken,
        content::Error::LengthMismatch { stated, received } => {
            Error::SizeInvalid { stated, received }
        }
        content::Error::DigestMismatch { stated, actual } => {
            Error::DigestMismatch { stated, actual }
        }
        content::Error::MissingReferences { first, total } => {
            Error::MissingReferences { first, total }
        }
        content::Error::ReferenceSize {
            digest,
            stated,
            actual,
        } => Error::ReferenceSize {
            digest,
            stated,
            actual,
        },
        content::Error::KindConflict => Error::Mirrored {
            name: name.clone(),
            upstream: "another source".to_owned(),
        },
    }
}

/// Says what a failed pull through a mirror means for `name`; `unknown` is what the thing asked for
/// is called when the upstream does not have it.
pub(super) fn mirror_error(
    error: mirror::Error,
    name: &RepositoryName,
    unknown: impl FnOnce() -> Error,
) -> Error {
    if error.is_not_found() {
        return unknown();
    }
    match error {
        mirror::Error::Missing { .. } => unknown(),
        mirror::Error::Refused { upstream, why, .. } => Error::Refused {
            name: name.to_string(),
            upstream,
            why,
        },
        mirror::Error::Upstream(trouble) => Error::Upstream {
            upstream: trouble.upstream,
            error: trouble.error,
        },
        mirror::Error::Content(error) => content_error(error, name, None),
    }
}

impl From<metadata::Error> for Error {
    fn from(error: metadata::Error) -> Self {
        match error {
            metadata::Error::StorageFull => Self::StorageFull,
            other => Self::Unavailable {
                reason: other.to_string(),
            },
        }
    }
}
