//! Filling a mirrored blob: like an upload, but followed by readers while it grows and never
//! acknowledged in part; its row and file end with the process. What is written is verified before
//! anyone may call it whole.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use metadata::{RepositoryKind, UploadPurpose};
use oci::{Algorithm, Digest, Hasher, RepositoryName, UploadId};

use super::buffers::Buffers;
use super::error::Error;
use super::in_use::Hold;
use super::ingest::{Checkpoint, Ingest};
use super::mirrored::BY;
use super::open::ByteStream;
use super::publish::Publication;
use super::store::Content;

/// A blob that is being fetched. Dropping it without [`Content::commit_fill`] needs
/// [`Content::abandon_fill`].
pub struct Fill {
    id: UploadId,
    repository: RepositoryName,
    digest: Digest,
    ingest: Ingest,
    /// Kept until the blob's row is there, so that no reclaim comes in between.
    _hold: Arc<Hold>,
}

/// The bytes of a fill that have arrived so far.
#[derive(Clone, Debug)]
pub struct GrowingFile {
    file: Arc<File>,
    buffers: Arc<Buffers>,
    _hold: Arc<Hold>,
}

impl GrowingFile {
    pub(super) fn new(file: Arc<File>, buffers: Arc<Buffers>, hold: Arc<Hold>) -> Self {
        Self {
            file,
            buffers,
            _hold: hold,
        }
    }

    /// Reads at most 256 KiB of the bytes from `offset` up to `end`, all of which must have arrived.
    ///
    /// # Errors
    /// I/O errors, and `UnexpectedEof` when they have not.
    pub async fn read_at(&self, offset: u64, end: u64) -> std::io::Result<Bytes> {
        let (file, buffers) = (Arc::clone(&self.file), Arc::clone(&self.buffers));
        let length = buffers.next_chunk(end - offset);
        tokio::task::spawn_blocking(move || buffers.read(&file, offset, length))
            .await
            .map_err(std::io::Error::other)?
    }

    /// Returns the hash over the first `end` bytes, all of which must have arrived; also after the fill was
    /// given up.
    ///
    /// # Errors
    /// As [`GrowingFile::read_at`].
    pub async fn hash(&self, algorithm: Algorithm, end: u64) -> std::io::Result<Hasher> {
        let (file, buffers) = (Arc::clone(&self.file), Arc::clone(&self.buffers));
        tokio::task::spawn_blocking(move || {
            let mut hasher = Hasher::new(algorithm);
            while hasher.hashed() < end {
                let left = end - hasher.hashed();
                let length = buffers.next_chunk(left);
                let bytes = buffers.read(&file, hasher.hashed(), length)?;
                hasher.update(&bytes);
            }
            Ok(hasher)
        })
        .await
        .map_err(std::io::Error::other)?
    }
}

/// What became of a fill whose bytes have their digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// It is stored.
    Stored {
        /// In bytes.
        size: u64,
    },
    /// There was no room to keep it. Who holds its [`GrowingFile`] can read all of it.
    NotKept {
        /// In bytes.
        size: u64,
    },
}

/// A fill whose bytes have all arrived.
struct Whole<'a> {
    id: &'a UploadId,
    repository: &'a RepositoryName,
    digest: &'a Digest,
    checkpoint: Checkpoint,
}

impl Fill {
    /// Takes all of `body`.
    ///
    /// # Errors
    /// [`Error::BodyBroken`] when the body fails; the fill may then be continued with another body
    /// that starts at [`Fill::accepted`]. Storage errors end it.
    pub async fn take(&mut self, mut body: ByteStream) -> Result<(), Error> {
        self.ingest.drain(&mut body, u64::MAX).await.map(|_| ())
    }
}

impl Content {
    /// Opens a fill of `digest` for `repository`; `on_written` is called with the bytes that readers
    /// may see.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn begin_fill(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        on_written: Arc<dyn Fn(u64) + Send + Sync>,
    ) -> Result<(Fill, GrowingFile), Error> {
        let algorithm = digest.algorithm();
        let id = self
            .new_upload(repository, UploadPurpose::MirrorFill, algorithm, BY)
            .await?;
        let upload = id.clone();
        let opened = self
            .blocking(move |store| {
                let state = store.begin_upload(&upload)?;
                let appender = store.append(&upload, &state, 0)?;
                Ok((appender, store.read_upload(&upload)?))
            })
            .await;
        let (appender, file) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.forget_fill(&id).await;
                return Err(error);
            }
        };
        let hold = Arc::new(self.in_use.hold(digest).await);
        let fill = Fill {
            id,
            repository: repository.clone(),
            digest: *digest,
            ingest: Ingest::new(appender, Hasher::new(algorithm), 0, Some(on_written)),
            _hold: Arc::clone(&hold),
        };
        let growing = GrowingFile::new(Arc::new(file), Arc::clone(&self.buffers), hold);
        Ok((fill, growing))
    }

    /// Verifies, publishes and records the fill as content of its mirrored repository.
    ///
    /// # Errors
    /// [`Error::DigestMismatch`]: nothing is stored. Storage errors; [`Error::StorageFull`] when not even
    /// the bytes could be written.
    pub async fn commit_fill(&self, mut fill: Fill, upstream: &str) -> Result<Filled, Error> {
        let outcome = match fill.ingest.flush().await {
            Ok(checkpoint) => {
                // The store publishes only what nobody writes to any more.
                drop(fill.ingest);
                let whole = Whole {
                    id: &fill.id,
                    repository: &fill.repository,
                    digest: &fill.digest,
                    checkpoint,
                };
                self.verify_and_publish(whole, upstream).await
            }
            Err(error) => Err(error),
        };
        match &outcome {
            Ok(Filled::Stored { .. }) => self.notice_growth().await,
            Ok(Filled::NotKept { .. }) | Err(Error::StorageFull) => {
                self.forget_fill(&fill.id).await;
                self.ask_for_room();
            }
            Err(_) => self.forget_fill(&fill.id).await,
        }
        outcome
    }

    async fn verify_and_publish(&self, whole: Whole<'_>, upstream: &str) -> Result<Filled, Error> {
        let checkpoint = whole.checkpoint;
        let actual = checkpoint.hasher.clone().finish();
        if actual != *whole.digest {
            return Err(Error::DigestMismatch {
                stated: *whole.digest,
                actual,
            });
        }
        let size = checkpoint.offset;
        let published = self
            .publish(Publication {
                repository: whole.repository,
                kind: RepositoryKind::Mirror {
                    upstream: upstream.to_owned(),
                },
                id: whole.id,
                checkpoint: &checkpoint,
                digest: whole.digest,
                by: BY,
            })
            .await;
        match published {
            Ok(()) => Ok(Filled::Stored { size }),
            Err(Error::StorageFull) => Ok(Filled::NotKept { size }),
            Err(error) => Err(error),
        }
    }

    /// Drops a fill that will not be completed.
    pub async fn abandon_fill(&self, fill: Fill) {
        self.forget_fill(&fill.id).await;
        // It may be that the disk is full; then this asks for room.
        self.ask_for_room();
    }

    async fn forget_fill(&self, id: &UploadId) {
        // The bytes first: on a full disk they make the room that forgetting the row takes.
        self.drop_bytes(id).await;
        if let Err(error) = self.delete_upload_row(id).await {
            tracing::warn!(upload = %id, %error, "could not forget a mirror fill; the next start will");
        }
    }
}
