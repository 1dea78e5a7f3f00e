//! What the mirror asks and tells about repositories that have an upstream: what is known here, and what
//! the upstream confirmed. Rows only; bytes are filled elsewhere.

use metadata::{BlobRow, ManifestRow, Origin, SetTag};
use oci::{Digest, Reference, RepositoryName, Tag};

use super::error::Error;
use super::open::StoredBlob;
use super::store::Content;

/// Who mirrors, as it is stored.
pub(super) const BY: &str = "system:mirror";

/// What is here of a mirrored blob.
#[derive(Debug)]
pub enum MirroredBlob {
    /// All of it, opened.
    Whole(StoredBlob),
    /// A row, and bytes that are gone or of another size; the log says which.
    Damaged,
    /// Nothing that the repository may serve.
    Absent,
}

impl Content {
    /// Returns the stored manifest `reference` of `repository`.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn manifest_row(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<ManifestRow>, Error> {
        Ok(self.metadata.manifest(repository, reference).await?)
    }

    /// Returns the blob if `repository` has it, opened. Bytes that another repository brought belong to
    /// this one only once its upstream said so, or one of its manifests names them.
    ///
    /// # Errors
    /// Storage errors; damage is none, so that the blob is fetched again.
    pub async fn mirrored_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<MirroredBlob, Error> {
        let Some(row) = self.metadata.blob(repository, digest).await? else {
            return Ok(MirroredBlob::Absent);
        };
        if !row.member {
            self.link_mirrored(repository, digest).await;
        }
        self.sound(digest, &row).await
    }

    /// Returns the largest size in bytes that a stored manifest of `repository` gives for `digest`, if one does.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn stated_size(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<u64>, Error> {
        Ok(self.metadata.referenced_size(repository, digest).await?)
    }

    /// Tells whether the bytes of `digest` are here, whoever brought them.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn has_bytes(&self, digest: &Digest) -> Result<bool, Error> {
        Ok(self.metadata.find_blob_anywhere(digest).await?.is_some())
    }

    /// Makes bytes that are here a blob of `repository`, whose upstream said that it has them; returns
    /// it opened. A repository of which nothing is stored yet gets it with its first manifest.
    ///
    /// # Errors
    /// As [`Content::mirrored_blob`].
    pub async fn adopt_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<MirroredBlob, Error> {
        let Some(row) = self.metadata.find_blob_anywhere(digest).await? else {
            return Ok(MirroredBlob::Absent);
        };
        self.link_mirrored(repository, digest).await;
        self.sound(digest, &row).await
    }

    /// Records that the upstream confirmed that `tag` is `digest`.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn confirm_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
    ) -> Result<(), Error> {
        self.metadata.touch_tag(repository, tag, digest).await?;
        Ok(())
    }

    /// Points `tag` at the stored manifest `digest`, as the upstream did at `checked_at` (microseconds
    /// since 1970).
    ///
    /// # Errors
    /// Storage errors.
    pub async fn move_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
        checked_at: i64,
    ) -> Result<(), Error> {
        self.metadata
            .set_tag(SetTag {
                repository: repository.clone(),
                tag: tag.clone(),
                digest: *digest,
                by: BY.to_owned(),
                origin: Origin::Mirrored,
                checked_at,
            })
            .await?;
        Ok(())
    }

    /// Forgets a tag that the upstream no longer has.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn forget_tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<(), Error> {
        self.reserve
            .with(|| async { Ok(self.metadata.delete_tag(repository, tag, BY).await?) })
            .await?;
        Ok(())
    }

    /// Returns the tags known here after `after`, at most `limit`; `None` when nothing of the
    /// repository is known.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn known_tags(
        &self,
        repository: &RepositoryName,
        after: Option<&str>,
        limit: Option<u64>,
    ) -> Result<Option<Vec<String>>, Error> {
        Ok(self.metadata.tags(repository, after, limit).await?)
    }

    /// Returns the time by which stored instants are measured, in microseconds since 1970.
    pub fn now(&self) -> i64 {
        self.metadata.now()
    }

    /// Records a membership that is known without it; a failure only costs asking again.
    async fn link_mirrored(&self, repository: &RepositoryName, digest: &Digest) {
        let linked = self
            .metadata
            .link_blob(repository, digest, BY, Origin::Mirrored);
        if let Err(error) = linked.await {
            tracing::warn!(%repository, %digest, %error, "could not record a mirrored blob");
        }
    }

    async fn sound(&self, digest: &Digest, row: &BlobRow) -> Result<MirroredBlob, Error> {
        match self.open_blob(digest, row).await {
            Ok(stored) => Ok(MirroredBlob::Whole(stored)),
            Err(Error::Damaged { .. }) => Ok(MirroredBlob::Damaged),
            Err(error) => Err(error),
        }
    }
}
