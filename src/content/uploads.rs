//! Uploads: start, append, finish, cancel. An upload is its row, made before its first byte; offset,
//! hash state and driver state move together by compare-and-set before anything is acknowledged, so a
//! restart (or another node) continues at the acknowledged byte. Bytes past it are cut off first.

use std::io::Read;
use std::sync::Arc;

use blobstore::{Appender, BlobAddress, UploadState};
use metadata::{
    Advance, AdvanceOutcome, NewUpload, RepositoryKind, UploadBegun, UploadPurpose, UploadRow,
};
use oci::{Algorithm, Digest, Hasher, RepositoryName, UploadId};

use super::error::Error;
use super::ingest::{Checkpoint, Ingest};
use super::leftovers::Settled;
use super::piece::{Piece, Taken, take};
use super::publish::Publication;
use super::store::Content;

/// How many bytes of one streamed PATCH are acknowledged to the database at a time: what a crash in
/// the middle of a huge layer can lose at most.
const CHECKPOINT_EVERY: u64 = 64 << 20;

/// An open upload.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Its id.
    pub id: UploadId,
    /// Bytes acknowledged.
    pub offset: u64,
}

/// The bytes of an upload that is gone on with.
enum Opened {
    /// They can be added to.
    At(Box<dyn Appender>),
    /// They were published here.
    Published(Vec<BlobAddress>),
}

/// Who opens an upload.
#[derive(Clone, Copy, Debug)]
pub struct Uploader<'a> {
    /// Who it is, as it is stored; only they can go on with it.
    pub by: &'a str,
    /// Who counts towards `uploads.maxpersubject`; not empty.
    pub client: &'a str,
}

impl Content {
    /// Opens an upload to `repository` that is hashed with `algorithm`.
    ///
    /// # Errors
    /// [`Error::TooManyUploads`], storage errors.
    pub async fn start_upload(
        &self,
        repository: &RepositoryName,
        algorithm: Algorithm,
        who: Uploader<'_>,
    ) -> Result<Upload, Error> {
        let most = self.settings.uploads.maxpersubject;
        let upload = NewUpload {
            client: who.client.to_owned(),
            most,
            ..new_upload(repository, UploadPurpose::Push, algorithm, who.by)
        };
        let id = self.open_upload(upload).await?;
        Ok(Upload { id, offset: 0 })
    }

    /// Makes the row of an upload; before its first byte, so that what lies in the uploads directory is found from rows.
    pub(super) async fn open_upload(&self, upload: NewUpload) -> Result<UploadId, Error> {
        let (id, most) = (upload.id.clone(), upload.most);
        match self.metadata.create_upload(upload).await? {
            UploadBegun::Begun => {
                self.metrics.uploads_open(1);
                Ok(id)
            }
            UploadBegun::TooMany => Err(Error::TooManyUploads {
                most: most.unwrap_or_default(),
            }),
        }
    }

    /// Returns the upload as acknowledged.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`] when `by` has no such upload in `repository`.
    pub async fn upload(
        &self,
        repository: &RepositoryName,
        id: &UploadId,
        by: &str,
    ) -> Result<Upload, Error> {
        let row = self.upload_row(repository, id, by).await?;
        Ok(Upload {
            id: row.id,
            offset: row.offset,
        })
    }

    /// Appends `piece` and returns the upload with its new offset.
    ///
    /// Of several pieces for one offset exactly one is taken. When the body breaks off, what arrived
    /// is kept and acknowledged to a later status request.
    ///
    /// # Errors
    /// [`Error::OffsetConflict`], [`Error::BodyBroken`], [`Error::LengthMismatch`],
    /// [`Error::UploadUnknown`] and storage errors.
    pub async fn append(
        self: &Arc<Self>,
        repository: &RepositoryName,
        id: &UploadId,
        by: &str,
        mut piece: Piece,
    ) -> Result<Upload, Error> {
        let asked_at = self.upload_row(repository, id, by).await?;
        expect_offset(&asked_at, piece.start)?;
        let turn = self.holders.turn(id).await;
        piece.body = turn.watch(piece.body);
        self.give_way(piece.length.unwrap_or(0)).await;
        let mut row = self.upload_row(repository, id, by).await?;
        expect_offset(&row, Some(asked_at.offset))?;
        let mut ingest = self.continue_upload(&row).await?;
        loop {
            let taken = take(&mut ingest, &mut piece, row.offset, CHECKPOINT_EVERY).await;
            let (taken, checkpoint) = match taken {
                Ok(kept) => kept,
                Err(error) => {
                    self.give_way_after(&error, ingest.accepted());
                    drop(ingest);
                    self.cut_back(&row).await;
                    return Err(error);
                }
            };
            row = match self.acknowledge(row.clone(), &checkpoint).await {
                Ok(row) => row,
                Err(error) => {
                    drop(ingest);
                    self.cut_back_if_full(&row, &error).await;
                    return Err(error);
                }
            };
            match taken {
                Taken::All => {
                    return Ok(Upload {
                        id: row.id,
                        offset: row.offset,
                    });
                }
                Taken::Part => {}
                Taken::UntilBroken(error) => return Err(error),
            }
        }
    }

    /// Appends the last `piece`, checks the digest, publishes the blob and closes the upload.
    /// Returns the blob's size in bytes.
    ///
    /// # Errors
    /// As [`Content::append`]; [`Error::DigestMismatch`] leaves the upload open as it was before.
    pub async fn finish_upload(
        self: &Arc<Self>,
        repository: &RepositoryName,
        id: &UploadId,
        by: &str,
        mut piece: Piece,
        digest: &Digest,
    ) -> Result<u64, Error> {
        let asked_at = self.upload_row(repository, id, by).await?;
        expect_offset(&asked_at, piece.start)?;
        let turn = self.holders.turn(id).await;
        piece.body = turn.watch(piece.body);
        self.give_way(piece.length.unwrap_or(0)).await;
        let row = self.upload_row(repository, id, by).await?;
        expect_offset(&row, Some(asked_at.offset))?;
        let mut ingest = self.continue_upload(&row).await?;
        let taken = take(&mut ingest, &mut piece, row.offset, u64::MAX).await;
        let accepted = ingest.accepted();
        // The store publishes and cuts only what nobody writes to any more.
        drop(ingest);
        let (taken, checkpoint) = match taken {
            Ok(kept) => kept,
            Err(error) => {
                self.give_way_after(&error, accepted);
                self.cut_back(&row).await;
                return Err(error);
            }
        };
        if let Taken::UntilBroken(error) = taken {
            if let Err(full) = self.acknowledge(row.clone(), &checkpoint).await {
                self.cut_back_if_full(&row, &full).await;
            }
            return Err(error);
        }
        let size = checkpoint.offset;
        let actual = self.digest_of(id, &checkpoint, digest.algorithm()).await?;
        if actual != *digest {
            self.cut_back(&row).await;
            return Err(Error::DigestMismatch {
                stated: *digest,
                actual,
            });
        }
        let publication = Publication {
            repository,
            kind: RepositoryKind::Local,
            id,
            checkpoint: &checkpoint,
            digest,
            by,
        };
        if let Err(error) = self.publish(publication).await {
            self.give_way_after(&error, accepted);
            self.cut_back(&row).await;
            return Err(error);
        }
        Ok(size)
    }

    /// Closes the upload and drops its bytes.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`] when `by` has no such upload in `repository`; storage errors.
    pub async fn cancel_upload(
        &self,
        repository: &RepositoryName,
        id: &UploadId,
        by: &str,
    ) -> Result<(), Error> {
        self.upload_row(repository, id, by).await?;
        // Cancelling ends a writer whose client may be long gone.
        let _turn = self.holders.take_over(id).await;
        // The bytes first: on a full disk they make the room that forgetting the row takes.
        self.discard_bytes(id).await;
        if self.delete_upload_row(id).await? {
            Ok(())
        } else {
            Err(Error::UploadUnknown)
        }
    }

    async fn upload_row(
        &self,
        repository: &RepositoryName,
        id: &UploadId,
        by: &str,
    ) -> Result<UploadRow, Error> {
        match self.metadata.upload(id).await? {
            Some(row)
                if row.repository == *repository
                    && row.created_by == by
                    && row.purpose == UploadPurpose::Push =>
            {
                Ok(row)
            }
            Some(_) | None => Err(Error::UploadUnknown),
        }
    }

    /// Opens the upload at its acknowledged byte, with the hash over what is there.
    async fn continue_upload(&self, row: &UploadRow) -> Result<Ingest, Error> {
        let offset = row.offset;
        let opened = match self.open_at(row, Vec::new()).await {
            Ok(Opened::Published(published)) => {
                // Where it was published before a crash or a failure: what nothing committed goes before that is forgotten.
                if self.settle_all(&published).await? == Settled::InUse {
                    let reason = "what the upload was published as is in use".to_owned();
                    return Err(Error::Unavailable { reason });
                }
                self.open_at(row, published).await
            }
            opened => opened,
        };
        let appender = match opened {
            Ok(Opened::At(appender)) => appender,
            Ok(Opened::Published(_)) => {
                let reason = "the upload was published meanwhile".to_owned();
                return Err(Error::Unavailable { reason });
            }
            Err(Error::BytesLost) => return Err(self.close_lost(row).await),
            Err(error) => return Err(error),
        };
        let hasher = match row.hash_state.as_deref().and_then(Hasher::restore) {
            Some(hasher) if hasher.hashed() == offset && hasher.algorithm() == row.algorithm => {
                hasher
            }
            Some(_) | None => self.rehash(&row.id, offset, row.algorithm).await?,
        };
        Ok(Ingest::new(appender, hasher, offset, None))
    }

    /// Opens the upload's bytes at its acknowledged one, unless it was published anywhere but at what is `settled`.
    async fn open_at(&self, row: &UploadRow, settled: Vec<BlobAddress>) -> Result<Opened, Error> {
        let (id, offset) = (row.id.clone(), row.offset);
        // Empty until the first bytes were acknowledged.
        let state = Some(row.store_state.clone()).filter(|state| !state.is_empty());
        self.blocking(move |store| {
            let published = store.published(&id)?;
            if published.iter().any(|at| !settled.contains(at)) {
                return Ok(Opened::Published(published));
            }
            let state = match state {
                Some(state) => UploadState::from_bytes(state),
                None => {
                    store.abort_upload(&id)?;
                    store.begin_upload(&id)?
                }
            };
            Ok(Opened::At(store.append(&id, &state, offset)?))
        })
        .await
    }

    async fn cut_back_if_full(self: &Arc<Self>, row: &UploadRow, error: &Error) {
        if matches!(error, Error::StorageFull) {
            self.give_way_after(error, row.offset);
            self.cut_back(row).await;
        }
    }

    /// Drops what lies behind the acknowledged byte, so that a refused piece does not keep a full disk
    /// full. What was published is left for the next piece, which settles it. A failure is only logged: the next piece
    /// cuts again.
    async fn cut_back(&self, row: &UploadRow) {
        let (id, offset) = (row.id.clone(), row.offset);
        let state = UploadState::from_bytes(row.store_state.clone());
        let cut = self
            .blocking(move |store| {
                if !store.published(&id)?.is_empty() {
                    return Ok(());
                }
                if offset == 0 {
                    return store
                        .abort_upload(&id)
                        .and_then(|()| store.begin_upload(&id).map(|_| ()));
                }
                store.append(&id, &state, offset).map(|_| ())
            })
            .await;
        if let Err(error) = cut {
            tracing::warn!(upload = %row.id, %error, "could not cut an upload back");
        }
    }

    /// Closes an upload whose file lost acknowledged bytes (with its disk's cache, say): it can never be
    /// continued, and the client has to start anew.
    async fn close_lost(&self, row: &UploadRow) -> Error {
        tracing::warn!(upload = %row.id, offset = row.offset, "upload lost acknowledged bytes and is closed");
        self.discard_bytes(&row.id).await;
        match self.delete_upload_row(&row.id).await {
            Ok(_) => Error::UploadUnknown,
            Err(error) => error,
        }
    }

    async fn acknowledge(
        &self,
        row: UploadRow,
        checkpoint: &Checkpoint,
    ) -> Result<UploadRow, Error> {
        let hash_state = Some(checkpoint.hasher.save());
        let store_state = checkpoint.state.as_bytes().to_vec();
        let outcome = self
            .metadata
            .advance_upload(Advance {
                id: row.id.clone(),
                expected_revision: row.revision,
                offset: checkpoint.offset,
                hash_state: hash_state.clone(),
                store_state: store_state.clone(),
            })
            .await?;
        match outcome {
            AdvanceOutcome::Advanced { revision } => Ok(UploadRow {
                offset: checkpoint.offset,
                revision,
                hash_state,
                store_state,
                ..row
            }),
            AdvanceOutcome::Lost => match self.metadata.upload(&row.id).await? {
                Some(now) => Err(Error::OffsetConflict { offset: now.offset }),
                None => Err(Error::UploadUnknown),
            },
        }
    }

    /// Returns the digest of the upload; costs a re-read when it was hashed with another algorithm.
    pub(super) async fn digest_of(
        &self,
        id: &UploadId,
        checkpoint: &Checkpoint,
        algorithm: Algorithm,
    ) -> Result<Digest, Error> {
        if checkpoint.hasher.algorithm() == algorithm {
            return Ok(checkpoint.hasher.clone().finish());
        }
        Ok(self
            .rehash(id, checkpoint.offset, algorithm)
            .await?
            .finish())
    }

    async fn rehash(
        &self,
        id: &UploadId,
        length: u64,
        algorithm: Algorithm,
    ) -> Result<Hasher, Error> {
        let id = id.clone();
        let hashed = self
            .blocking(move |store| {
                let mut file = store.read_upload(&id)?.take(length);
                Ok(hash_file(&mut file, algorithm))
            })
            .await?;
        match hashed {
            Ok(hasher) if hasher.hashed() == length => Ok(hasher),
            Ok(_) => Err(Error::Unavailable {
                reason: "upload file is shorter than acknowledged".to_owned(),
            }),
            Err(error) => Err(Error::Unavailable {
                reason: error.to_string(),
            }),
        }
    }
}

fn expect_offset(row: &UploadRow, expected: Option<u64>) -> Result<(), Error> {
    match expected {
        Some(expected) if expected != row.offset => {
            Err(Error::OffsetConflict { offset: row.offset })
        }
        Some(_) | None => Ok(()),
    }
}

/// Returns the row of a new upload, which counts for nobody.
pub(super) fn new_upload(
    repository: &RepositoryName,
    purpose: UploadPurpose,
    algorithm: Algorithm,
    by: &str,
) -> NewUpload {
    NewUpload {
        id: fresh_id(),
        repository: repository.clone(),
        purpose,
        algorithm,
        hash_state: Some(Hasher::new(algorithm).save()),
        store_state: Vec::new(),
        by: by.to_owned(),
        client: String::new(),
        most: None,
    }
}

pub(super) fn fresh_id() -> UploadId {
    // Version 4, from the operating system's generator: an upload's id grants access to it.
    UploadId::parse(&uuid::Uuid::new_v4().to_string())
        .expect("a UUID prints in the form UploadId parses, because both are the canonical one")
}

fn hash_file(file: &mut impl Read, algorithm: Algorithm) -> std::io::Result<Hasher> {
    let mut hasher = Hasher::new(algorithm);
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher),
            read => hasher.update(&buffer[..read]),
        }
    }
}
