//! Manifests: their exact bytes are blobs, their facts are rows. Bytes first, then one transaction
//! that checks the references, writes the rows and moves the tags.

use std::sync::Arc;

use blobstore::{BlobAddress, BlobStore};
use bytes::Bytes;
use metadata::{ManifestRow, Origin, PushManifest, PushOutcome, ReferenceCheck, RepositoryKind};
use oci::{Digest, Manifest, RepositoryName, Tag, UploadId};

use super::damage::Look;
use super::error::Error;
use super::leftovers::{Leftover, Settled};
use super::mirrored::BY;
use super::room::{Counted, ROOM_PATIENCE};
use super::store::{Content, address};
use super::uploads::fresh_id;

/// How a manifest comes.
#[derive(Clone, Copy, Debug)]
pub enum ManifestSource<'a> {
    /// A client pushes it.
    Push {
        /// Who.
        by: &'a str,
        /// Whether its references must be here.
        checked: bool,
    },
    /// The mirror fetched it; its references are fetched when they are asked for.
    Upstream {
        /// The upstream's configured name.
        name: &'a str,
    },
}

/// A manifest to store.
pub struct NewManifest<'a> {
    /// Where it goes.
    pub repository: &'a RepositoryName,
    /// The digest of `bytes`, already checked.
    pub digest: Digest,
    /// The exact bytes.
    pub bytes: Bytes,
    /// The facts read from them.
    pub manifest: &'a Manifest,
    /// The type it is served with.
    pub media_type: &'a str,
    /// Tags to point at it, in the same transaction.
    pub tags: Vec<Tag>,
    /// How it came.
    pub source: ManifestSource<'a>,
}

impl Content {
    /// Stores a manifest and points its tags at it.
    ///
    /// # Errors
    /// [`Error::MissingReferences`], [`Error::ReferenceSize`], [`Error::KindConflict`] and storage
    /// errors, [`Error::StorageFull`] also where `cache.maxsize` has no room for a mirrored one; after any of them neither rows nor tags have changed.
    pub async fn put_manifest(self: &Arc<Self>, new: NewManifest<'_>) -> Result<(), Error> {
        let size = new.bytes.len() as u64;
        let (kind, origin, upstream, by, check) = match new.source {
            ManifestSource::Push { by, checked } => {
                let check = if checked {
                    ReferenceCheck::Required
                } else {
                    ReferenceCheck::Skip
                };
                (RepositoryKind::Local, Origin::Pushed, None, by, check)
            }
            ManifestSource::Upstream { name } => {
                let upstream = name.to_owned();
                let kind = RepositoryKind::Mirror { upstream };
                let upstream = Some(name.to_owned());
                (kind, Origin::Mirrored, upstream, BY, ReferenceCheck::Skip)
            }
        };
        // What is mirrored can be fetched again and takes no lease, or a full cache could not be emptied.
        let lease_micros = match new.source {
            ManifestSource::Push { .. } => self.lease_micros(),
            ManifestSource::Upstream { .. } => 0,
        };
        let push = PushManifest {
            repository: new.repository.clone(),
            kind,
            digest: new.digest,
            media_type: new.media_type.to_owned(),
            size,
            key: None,
            artifact_type: new.manifest.artifact_type.clone(),
            config_media_type: new.manifest.config_media_type.clone(),
            subject: new.manifest.subject.as_ref().map(|subject| subject.digest),
            annotations: new.manifest.annotations.clone(),
            references: references(new.manifest),
            tags: new.tags,
            by: by.to_owned(),
            origin,
            upstream,
            lease_micros,
            check,
            checked_at: self.metadata.now(),
        };
        // A task of its own: who hangs up leaves nothing between its publication and its commit.
        let (content, bytes) = (Arc::clone(self), new.bytes);
        tokio::spawn(async move { content.store_manifest(push, bytes).await }).await?
    }

    /// Publishes the bytes of `push` and commits its rows. A failure leaves no bytes that no row points to.
    async fn store_manifest(
        self: &Arc<Self>,
        mut push: PushManifest,
        bytes: Bytes,
    ) -> Result<(), Error> {
        let (digest, size) = (push.digest, push.size);
        // From the choice of the key to the commit no reclaim may decide about this digest.
        let hold = self.in_use.hold(&digest).await;
        let mirrored = matches!(push.kind, RepositoryKind::Mirror { .. });
        let room = if mirrored {
            let room = self.take_room(Some(size), ROOM_PATIENCE).await;
            // It is small: where only the disk is short of free room, what was pulled is still known by it.
            if room.is_none() && !self.is_within_bound(size).await {
                return Err(Error::StorageFull);
            }
            room
        } else {
            None
        };
        let placed = self.choose_place(&digest, bytes.len() as u64).await?;
        let key = placed.key.as_deref();
        push.key = placed.key.clone();
        let (id, at) = (fresh_id(), address(&digest, key)?);
        let in_hands = self.in_hands.take(&id);
        let sound = !placed.new && self.verified_bytes(&digest, size, key).await.is_ok();
        let published = if sound {
            Ok(())
        } else {
            self.publish_small(&id, &at, bytes.clone()).await
        };
        let counted = (mirrored && placed.new).then(|| self.rooms.count(&digest, size));
        drop(room);
        let committed = match published {
            Ok(()) => self.commit_manifest(push, counted, bytes).await,
            Err(error) => Err(error),
        };
        drop(hold);
        if sound {
            return committed;
        }
        // Under a key of its own it may be superfluous: somebody else may have committed the same bytes first.
        let may_be_in_vain = committed.is_err() || placed.key.is_some();
        if may_be_in_vain && self.settle_now(&at).await == Settled::InUse {
            self.leftovers.add(Leftover::file(id));
        } else {
            let dropped = self.begin_dropping(&id, in_hands);
            // The answer to a push does not wait for it.
            if committed.is_err() {
                drop(dropped.await);
            }
        }
        committed
    }

    async fn commit_manifest(
        self: &Arc<Self>,
        mut push: PushManifest,
        counted: Option<Counted<'_>>,
        bytes: Bytes,
    ) -> Result<(), Error> {
        let digest = push.digest;
        push.checked_at = self.metadata.now();
        match self.metadata.push_manifest(push).await? {
            PushOutcome::Stored => {
                if let Some(counted) = counted {
                    counted.committed();
                    self.notice_growth().await;
                }
                self.manifests.insert(digest, bytes);
                Ok(())
            }
            PushOutcome::MissingReferences { first, total } => {
                Err(Error::MissingReferences { first, total })
            }
            PushOutcome::SizeMismatch {
                digest,
                stated,
                actual,
            } => {
                if self.is_damaged_after_all(&digest).await? {
                    let (first, total) = (vec![digest], 1);
                    return Err(Error::MissingReferences { first, total });
                }
                Err(Error::ReferenceSize {
                    digest,
                    stated,
                    actual,
                })
            }
            PushOutcome::KindConflict => Err(Error::KindConflict),
        }
    }

    /// Returns the exact bytes of the manifest of `row`, re-hashed whenever they come from disk.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the stored bytes are gone or are not those of the digest; they are quarantined then.
    pub async fn manifest_bytes(&self, row: &ManifestRow) -> Result<Bytes, Error> {
        if let Some(bytes) = self.manifests.get(&row.digest) {
            return Ok(bytes);
        }
        let bytes = self
            .verified_bytes(&row.digest, row.size, row.key.as_deref())
            .await?;
        self.manifests.insert(row.digest, bytes.clone());
        Ok(bytes)
    }

    /// Returns the bytes of a manifest that was deleted while its bytes are still stored; `None` when they are not.
    ///
    /// # Errors
    /// [`Error::Damaged`] when they are not those of the digest, storage errors.
    pub async fn bytes_of_deleted(&self, digest: &Digest) -> Result<Option<Bytes>, Error> {
        let Some(row) = self.metadata.find_blob_anywhere(digest).await? else {
            return Ok(None);
        };
        let bytes = self.verified_bytes(digest, row.size, row.key.as_deref());
        bytes.await.map(Some)
    }

    /// Reads small content from disk and checks that it has its digest.
    async fn verified_bytes(
        &self,
        digest: &Digest,
        size: u64,
        key: Option<&str>,
    ) -> Result<Bytes, Error> {
        let digest = *digest;
        let opened = self.open_file(&digest, key).await?;
        let length = usize::try_from(size).map_err(|_| Error::Damaged { digest })?;
        if opened.size != size {
            return Err(self.met_damage(&digest, Look::Size).await);
        }
        let buffers = Arc::clone(&self.buffers);
        let bytes = tokio::task::spawn_blocking(move || buffers.read(&opened.file, 0, length))
            .await?
            .map_err(|error| Error::Unavailable {
                reason: error.to_string(),
            })?;
        if Digest::of(digest.algorithm(), &bytes) != digest {
            return Err(self.met_damage(&digest, Look::Bytes).await);
        }
        // A copy of its own size: what is kept must not keep a buffer that goes round.
        Ok(Bytes::copy_from_slice(&bytes))
    }

    /// Writes small content and publishes it, durably, in one step and without a row: what a crash leaves has no row, and is
    /// found by the name `id` when the next start lists the uploads.
    async fn publish_small(
        &self,
        id: &UploadId,
        at: &BlobAddress,
        bytes: Bytes,
    ) -> Result<(), Error> {
        let (id, at) = (id.clone(), at.clone());
        self.blocking(move |store| write_and_publish(store, &id, &bytes, &at))
            .await
    }
}

/// Makes `bytes` the blob at `at`, by way of the upload `id`.
pub(super) fn write_and_publish(
    store: &dyn BlobStore,
    id: &UploadId,
    bytes: &[u8],
    at: &BlobAddress,
) -> blobstore::Result<()> {
    let state = store.begin_upload(id)?;
    let mut appender = store.append(id, &state, 0)?;
    appender.write(bytes)?;
    let state = appender.flush()?;
    drop(appender);
    store.publish(id, &state, bytes.len() as u64, at)
}

/// Returns what a manifest names, as it is recorded.
pub(super) fn references(manifest: &Manifest) -> Vec<metadata::Ref> {
    (0..)
        .zip(&manifest.references)
        .map(|(position, reference)| metadata::Ref {
            position,
            digest: reference.descriptor.digest,
            kind: reference.kind,
            size: reference.descriptor.size,
            media_type: reference.descriptor.media_type.clone(),
            foreign: !reference.descriptor.urls.is_empty(),
        })
        .collect()
}
