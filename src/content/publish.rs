//! The commit order (law 2): a durable file, its final name, then one transaction. Nothing is
//! acknowledged, and no row points anywhere, before the bytes are safe.

use blobstore::UploadState;
use metadata::{CommitBlob, Committed, Origin, RepositoryKind};
use oci::{Digest, RepositoryName, UploadId};

use super::error::Error;
use super::ingest::Checkpoint;
use super::store::{Content, address};

/// An upload whose bytes are whole and hash to their digest.
pub(super) struct Publication<'a> {
    /// The repository that gets the blob.
    pub repository: &'a RepositoryName,
    /// Pushed here, or mirrored.
    pub kind: RepositoryKind,
    /// The upload.
    pub id: &'a UploadId,
    /// Its last, durable state.
    pub checkpoint: &'a Checkpoint,
    /// The digest of its bytes.
    pub digest: &'a Digest,
    /// Who brought it.
    pub by: &'a str,
}

impl Content {
    /// The commit order of a blob: durable file, its name, then one transaction; the upload's own
    /// name goes last, so that a crash in between leaves an upload that can be finished again.
    pub(super) async fn publish(&self, publication: Publication<'_>) -> Result<(), Error> {
        let Publication {
            repository,
            kind,
            id,
            checkpoint,
            digest,
            by,
        } = publication;
        let size = checkpoint.offset;
        let key = self.place(id, &checkpoint.state, size, digest).await?;
        let origin = match kind {
            RepositoryKind::Local => Origin::Pushed,
            RepositoryKind::Mirror { .. } => Origin::Mirrored,
        };
        let committed = self
            .metadata
            .commit_blob(CommitBlob {
                repository: repository.clone(),
                kind,
                digest: *digest,
                size,
                key,
                by: by.to_owned(),
                origin,
                lease_micros: self.lease_micros(),
                upload: Some(id.clone()),
            })
            .await?;
        match committed {
            Committed::Stored { .. } => {
                self.drop_bytes(id).await;
                Ok(())
            }
            Committed::KindConflict => Err(Error::KindConflict),
        }
    }

    /// Puts the upload's bytes under the blob's name; returns the key of the blob's row. What is there
    /// already is replaced: the new bytes are verified, and the old ones may have rotted.
    async fn place(
        &self,
        id: &UploadId,
        state: &UploadState,
        size: u64,
        digest: &Digest,
    ) -> Result<Option<String>, Error> {
        let known = self.metadata.find_blob_anywhere(digest).await?;
        let key = known.and_then(|row| row.key);
        let at = address(digest, key.as_deref())?;
        let (id, state) = (id.clone(), state.clone());
        self.blocking(move |store| store.publish(&id, &state, size, &at))
            .await?;
        Ok(key)
    }

    /// Removes an upload's file. A failure is only logged: the row is gone, and the next start drops
    /// files without a row.
    pub(super) async fn drop_bytes(&self, id: &UploadId) {
        let upload = id.clone();
        if let Err(error) = self
            .blocking(move |store| store.abort_upload(&upload))
            .await
        {
            tracing::warn!(upload = %id, %error, "could not remove an upload's file");
        }
    }
}
