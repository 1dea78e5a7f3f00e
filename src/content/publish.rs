//! The commit order (law 2): a durable file, its final name, then one transaction. Nothing is
//! acknowledged, and no row points anywhere, before the bytes are safe.

use blobstore::UploadState;
use metadata::{CommitBlob, Committed, Origin, Place, RepositoryKind};
use oci::{Digest, RepositoryName, UploadId};

use super::error::Error;
use super::ingest::Checkpoint;
use super::store::{Content, address};
use super::uploads::fresh_id;

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

/// Where bytes lie.
pub(super) struct Placed {
    /// The key of their row; `None` is Distribution's path.
    pub key: Option<String>,
    /// Whether there was no such blob before.
    pub new: bool,
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
        // From the choice of the key to the commit no reclaim may decide about this digest.
        let _hold = self.in_use.hold(digest).await;
        let placed = self.place(id, &checkpoint.state, size, digest).await?;
        // What is mirrored can be fetched again and takes no lease, or a full cache could not be emptied.
        let (origin, lease_micros) = match kind {
            RepositoryKind::Local => (Origin::Pushed, self.lease_micros()),
            RepositoryKind::Mirror { .. } => (Origin::Mirrored, 0),
        };
        let mirrored = matches!(kind, RepositoryKind::Mirror { .. });
        let counted = (mirrored && placed.new).then(|| self.rooms.count(digest, size));
        let committed = self
            .metadata
            .commit_blob(CommitBlob {
                repository: repository.clone(),
                kind,
                digest: *digest,
                size,
                key: placed.key,
                by: by.to_owned(),
                origin,
                lease_micros,
                upload: Some(id.clone()),
            })
            .await?;
        match committed {
            Committed::Stored { .. } => {
                if let Some(counted) = counted {
                    counted.committed();
                }
                self.drop_bytes(id).await;
                Ok(())
            }
            Committed::KindConflict => Err(Error::KindConflict),
        }
    }

    /// Chooses where the bytes of `digest`, which the caller holds, are stored: in the place of its row, or in a free one. A
    /// key under which an older copy is being deleted is never used again.
    pub(super) async fn choose_place(&self, digest: &Digest) -> Result<Placed, Error> {
        Ok(match self.metadata.find_place(digest).await? {
            Place::Live(row) => Placed {
                key: row.key,
                new: false,
            },
            Place::Free => Placed {
                key: None,
                new: true,
            },
            // Over what is damaged: no reader has it open as whole.
            Place::Quarantined { key } => Placed { key, new: true },
            Place::Deleting => Placed {
                key: Some(fresh_id().to_string()),
                new: true,
            },
        })
    }

    /// Puts the upload's bytes under the blob's name. What is there already is replaced: the new bytes are verified, and the
    /// old ones may have rotted.
    async fn place(
        &self,
        id: &UploadId,
        state: &UploadState,
        size: u64,
        digest: &Digest,
    ) -> Result<Placed, Error> {
        let placed = self.choose_place(digest).await?;
        let at = address(digest, placed.key.as_deref())?;
        let (id, state) = (id.clone(), state.clone());
        self.blocking(move |store| store.publish(&id, &state, size, &at))
            .await?;
        Ok(placed)
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
