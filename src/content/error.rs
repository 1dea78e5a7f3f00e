//! What can go wrong with stored content. Knows nothing of HTTP; its texts name digests and offsets,
//! never paths or SQL.

use oci::Digest;

/// A failure of the content room.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk or the quota under blobs or metadata is used up.
    #[error("storage is full")]
    StorageFull,
    /// The store or the database did not answer; trying again may help.
    #[error("storage is unavailable: {reason}")]
    Unavailable {
        /// For the log only.
        reason: String,
    },
    /// The bytes of a blob are missing or are not what its row says.
    #[error("blob {digest} is damaged in storage")]
    Damaged {
        /// The blob.
        digest: Digest,
    },
    /// Stored bytes that were acknowledged are gone or too few; only for uploads, which are then closed.
    #[error("acknowledged bytes are lost")]
    BytesLost,
    /// No such upload in this repository for this caller.
    #[error("upload is unknown")]
    UploadUnknown,
    /// The client has as many uploads open as it may.
    #[error("{most} uploads are open, which is the most")]
    TooManyUploads {
        /// `uploads.maxpersubject`.
        most: u64,
    },
    /// The upload stands at another offset than the request said.
    #[error("upload stands at byte {offset}")]
    OffsetConflict {
        /// Bytes acknowledged so far.
        offset: u64,
    },
    /// The request body ended early or stalled; what arrived is kept.
    #[error("request body broke off: {reason}")]
    BodyBroken {
        /// What the connection said.
        reason: String,
    },
    /// The body is longer or shorter than the request said.
    #[error("body of {received} bytes where {stated} were announced")]
    LengthMismatch {
        /// Bytes announced.
        stated: u64,
        /// Bytes received, at least.
        received: u64,
    },
    /// The uploaded bytes have another digest than the client said.
    #[error("content has digest {actual}, not {stated}")]
    DigestMismatch {
        /// The digest in the request.
        stated: Digest,
        /// The digest of the bytes.
        actual: Digest,
    },
    /// A manifest names content that is not in its repository.
    #[error("{total} references are unknown")]
    MissingReferences {
        /// The first of them, at most five.
        first: Vec<Digest>,
        /// How many there are.
        total: u64,
    },
    /// A manifest states another size for a reference than the stored one.
    #[error("reference {digest} has {actual} bytes, not {stated}")]
    ReferenceSize {
        /// The reference.
        digest: Digest,
        /// What the manifest says, in bytes.
        stated: u64,
        /// What is stored, in bytes.
        actual: u64,
    },
    /// The repository is mirrored and takes no pushes, or local and takes no mirrored content.
    #[error("repository is of another kind")]
    KindConflict,
}

impl From<blobstore::Error> for Error {
    fn from(error: blobstore::Error) -> Self {
        match error.kind() {
            blobstore::ErrorKind::StorageFull => Self::StorageFull,
            blobstore::ErrorKind::NotFound | blobstore::ErrorKind::UploadTooShort { .. } => {
                Self::BytesLost
            }
            blobstore::ErrorKind::UploadBusy | blobstore::ErrorKind::Other => Self::Unavailable {
                reason: format!("{error}"),
            },
        }
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

impl From<tokio::task::JoinError> for Error {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Unavailable {
            reason: format!("a storage task ended early: {error}"),
        }
    }
}
