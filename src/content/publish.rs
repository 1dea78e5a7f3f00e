//! The commit order (law 2): a durable file, its final name, then one transaction. Nothing is
//! acknowledged, and no row points anywhere, before the bytes are safe.

use std::sync::Arc;

use blobstore::BlobAddress;
use metadata::{CommitBlob, Committed, Origin, Place, RepositoryKind};
use oci::{Digest, RepositoryName, UploadId};
use tokio::task::JoinHandle;

use super::damage::Damage;
use super::error::Error;
use super::in_hands::Handled;
use super::ingest::Checkpoint;
use super::leftovers::{Leftover, Settled};
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
    /// The commit order of a blob: durable file, its name, then one transaction; the upload's own name goes last, so that
    /// what a crash in between leaves is found by it. A failure leaves the upload, and no bytes that no row points to.
    pub(super) async fn publish(&self, publication: Publication<'_>) -> Result<(), Error> {
        let in_hands = self.in_hands.take(publication.id);
        // From the choice of the key to the commit no reclaim may decide about this digest.
        let hold = self.in_use.hold(publication.digest).await;
        let size = publication.checkpoint.offset;
        let placed = self.choose_place(publication.digest, size).await?;
        let at = address(publication.digest, placed.key.as_deref())?;
        let committed = self.place_and_commit(&publication, &placed, &at).await;
        drop(hold);
        let key = match committed {
            Ok(key) => key,
            Err(error) => {
                self.settle_now(&at).await;
                return Err(error);
            }
        };
        self.metrics.uploads_open(-1);
        // Somebody else committed the same bytes first, under another key.
        if key != placed.key && self.settle_now(&at).await == Settled::InUse {
            self.leftovers.add(Leftover::file(publication.id.clone()));
        } else {
            // A failure is lost with its task only when the process ends.
            drop(self.begin_dropping(publication.id, in_hands).await);
        }
        Ok(())
    }

    /// Puts the upload's bytes under the blob's name and commits its row; returns the key that the row has. What is there
    /// already is replaced: the new bytes are verified, and the old ones may have rotted.
    async fn place_and_commit(
        &self,
        publication: &Publication<'_>,
        placed: &Placed,
        at: &BlobAddress,
    ) -> Result<Option<String>, Error> {
        let Publication {
            repository,
            kind,
            id,
            checkpoint,
            digest,
            by,
        } = publication;
        let size = checkpoint.offset;
        let (upload, state, place) = ((*id).clone(), checkpoint.state.clone(), at.clone());
        self.blocking(move |store| store.publish(&upload, &state, size, &place))
            .await?;
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
                repository: (*repository).clone(),
                kind: kind.clone(),
                digest: **digest,
                size,
                key: placed.key.clone(),
                by: (*by).to_owned(),
                origin,
                lease_micros,
                upload: Some((*id).clone()),
            })
            .await?;
        match committed {
            Committed::Stored { key } => {
                if let Some(counted) = counted {
                    counted.committed();
                }
                Ok(key)
            }
            Committed::KindConflict => Err(Error::KindConflict),
        }
    }

    /// Deletes bytes that were published in vain. In use also where storage fails: then they are found again by the name
    /// of their upload.
    pub(super) async fn settle_now(&self, at: &BlobAddress) -> Settled {
        self.settle(at).await.unwrap_or_else(|error| {
            tracing::warn!(digest = %at.digest, %error, "could not delete bytes that nothing committed");
            Settled::InUse
        })
    }

    /// Chooses where the `size` verified bytes of `digest`, which the caller holds, are stored: in the place of its row, or in
    /// a free one. A key under which an older copy is being deleted is never used again.
    pub(super) async fn choose_place(&self, digest: &Digest, size: u64) -> Result<Placed, Error> {
        let mut place = self.metadata.find_place(digest).await?;
        // As after the import of a file that a crash had cut: the row is of other bytes than those of its digest.
        while matches!(&place, Place::Live(row) if row.size != size) {
            let live = self.metadata.live_blob(digest).await?;
            if let Some(wrong) = live.filter(|row| row.size != size) {
                self.quarantine(&wrong, Damage::Size).await?;
            }
            place = self.metadata.find_place(digest).await?;
        }
        Ok(match place {
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

    /// Begins to remove the files of an upload whose blob is committed or gone, which are in hands until then. It goes on
    /// also when nobody waits for the end. A failure is only logged: the next start ends what has no row.
    pub(super) fn begin_dropping(&self, id: &UploadId, in_hands: Handled) -> JoinHandle<()> {
        let (store, id) = (Arc::clone(&self.store), id.clone());
        tokio::task::spawn_blocking(move || {
            if let Err(error) = store.abort_upload(&id) {
                tracing::warn!(upload = %id, %error, "could not remove an upload's file");
            }
            drop(in_hands);
        })
    }
}
