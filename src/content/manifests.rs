//! Manifests: their exact bytes are blobs, their facts are rows. Bytes first, then one transaction
//! that checks the references, writes the rows and moves the tags.

use std::sync::Arc;

use blobstore::{BlobAddress, BlobStore};
use bytes::Bytes;
use metadata::{ManifestRow, Origin, PushManifest, PushOutcome, ReferenceCheck, RepositoryKind};
use oci::{Digest, Manifest, RepositoryName, Tag, UploadId};

use super::error::Error;
use super::mirrored::BY;
use super::publish::Placed;
use super::room::ROOM_PATIENCE;
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
        // From the choice of the key to the commit no reclaim may decide about this digest.
        let _hold = self.in_use.hold(&new.digest).await;
        let mirrored = matches!(kind, RepositoryKind::Mirror { .. });
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
        let placed = self.place_bytes(&new.digest, new.bytes.clone()).await?;
        let counted = (mirrored && placed.new).then(|| self.rooms.count(&new.digest, size));
        drop(room);
        let outcome = self
            .metadata
            .push_manifest(PushManifest {
                repository: new.repository.clone(),
                kind,
                digest: new.digest,
                media_type: new.media_type.to_owned(),
                size,
                key: placed.key,
                artifact_type: new.manifest.artifact_type.clone(),
                config_media_type: new.manifest.config_media_type.clone(),
                subject: new.manifest.subject.as_ref().map(|subject| subject.digest),
                annotations: new.manifest.annotations.clone(),
                references: references(new.manifest),
                tags: new.tags,
                by: by.to_owned(),
                origin,
                upstream,
                // What is mirrored can be fetched again and takes no lease, or a full cache could not be emptied.
                lease_micros: if mirrored { 0 } else { self.lease_micros() },
                check,
                checked_at: self.metadata.now(),
            })
            .await?;
        match outcome {
            PushOutcome::Stored => {
                if let Some(counted) = counted {
                    counted.committed();
                    self.notice_growth().await;
                }
                self.manifests.insert(new.digest, new.bytes);
                Ok(())
            }
            PushOutcome::MissingReferences { first, total } => {
                Err(Error::MissingReferences { first, total })
            }
            PushOutcome::SizeMismatch {
                digest,
                stated,
                actual,
            } => Err(Error::ReferenceSize {
                digest,
                stated,
                actual,
            }),
            PushOutcome::KindConflict => Err(Error::KindConflict),
        }
    }

    /// Returns the exact bytes of the manifest of `row`, re-hashed whenever they come from disk.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the stored bytes are gone or are not those of the digest.
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
            return Err(Error::Damaged { digest });
        }
        let buffers = Arc::clone(&self.buffers);
        let bytes = tokio::task::spawn_blocking(move || buffers.read(&opened.file, 0, length))
            .await?
            .map_err(|error| Error::Unavailable {
                reason: error.to_string(),
            })?;
        if Digest::of(digest.algorithm(), &bytes) != digest {
            tracing::error!(%digest, "stored manifest does not have its digest");
            return Err(Error::Damaged { digest });
        }
        // A copy of its own size: what is kept must not keep a buffer that goes round.
        Ok(Bytes::copy_from_slice(&bytes))
    }

    /// Writes small content under its digest's name, durably; returns where.
    ///
    /// It needs no upload row: one blocking step writes, publishes and removes its temporary file, and
    /// a crash in between leaves a file that the next start drops, or an extra blob.
    async fn place_bytes(&self, digest: &Digest, bytes: Bytes) -> Result<Placed, Error> {
        let placed = self.choose_place(digest).await?;
        let (size, key) = (bytes.len() as u64, placed.key.as_deref());
        if !placed.new && self.verified_bytes(digest, size, key).await.is_ok() {
            return Ok(placed);
        }
        let at = address(digest, key)?;
        let id = fresh_id();
        self.blocking(move |store| {
            let published = write_and_publish(store, &id, &bytes, &at);
            let removed = store.abort_upload(&id);
            published.and(removed)
        })
        .await?;
        Ok(placed)
    }
}

fn write_and_publish(
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

fn references(manifest: &Manifest) -> Vec<metadata::Ref> {
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
