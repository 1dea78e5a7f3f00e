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
use super::leftovers::Leftover;
use super::mirrored::BY;
use super::open::ByteStream;
use super::publish::Publication;
use super::store::Content;
use super::uploads::new_upload;

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
        let upload = new_upload(repository, UploadPurpose::MirrorFill, algorithm, BY);
        let id = self.open_upload(upload).await?;
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
    pub async fn commit_fill(&self, fill: Fill, upstream: &str) -> Result<Filled, Error> {
        let Fill {
            id,
            repository,
            digest,
            mut ingest,
            _hold: hold,
        } = fill;
        let flushed = ingest.flush().await;
        // The store publishes only what nobody writes to any more.
        drop(ingest);
        let checkpoint = match flushed.and_then(|checkpoint| verified(&digest, checkpoint)) {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                self.forget_fill(&id).await;
                if matches!(error, Error::StorageFull) {
                    self.ask_for_room();
                }
                return Err(error);
            }
        };
        let size = checkpoint.offset;
        let published = self
            .publish(Publication {
                repository: &repository,
                kind: RepositoryKind::Mirror {
                    upstream: upstream.to_owned(),
                },
                id: &id,
                checkpoint: &checkpoint,
                digest: &digest,
                by: BY,
            })
            .await;
        drop(hold);
        let Err(error) = published else {
            self.notice_growth().await;
            return Ok(Filled::Stored { size });
        };
        // What was published goes as soon as no reader of the fill has the digest in hands.
        self.leftovers.add(Leftover::row(id));
        match error {
            Error::StorageFull => {
                self.ask_for_room();
                Ok(Filled::NotKept { size })
            }
            error => Err(error),
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
        self.discard_bytes(id).await;
        if let Err(error) = self.delete_upload_row(id).await {
            tracing::warn!(upload = %id, %error, "could not forget a mirror fill; the next start will");
        }
    }
}

/// Returns the checkpoint if its bytes have the digest.
fn verified(digest: &Digest, checkpoint: Checkpoint) -> Result<Checkpoint, Error> {
    let actual = checkpoint.hasher.clone().finish();
    if actual == *digest {
        return Ok(checkpoint);
    }
    Err(Error::DigestMismatch {
        stated: *digest,
        actual,
    })
}
