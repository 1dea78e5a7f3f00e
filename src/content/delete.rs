//! Deleting rows: tags, manifests, memberships, uploads. What makes room must work on a full disk, so all
//! of it goes through the reserve.

use oci::{Digest, Reference, RepositoryName, UploadId};

use super::error::Error;
use super::store::Content;

impl Content {
    /// Deletes the tag, or the manifest with all its tags, in the name of `by`; returns whether it was there.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        by: &str,
    ) -> Result<bool, Error> {
        self.reserve
            .with(|| async {
                Ok(match reference {
                    Reference::Tag(tag) => self.metadata.delete_tag(repository, tag, by).await?,
                    Reference::Digest(digest) => {
                        self.metadata
                            .delete_manifest(repository, digest, by)
                            .await?
                    }
                })
            })
            .await
    }

    /// Ends the repository's hold on the blob; returns whether it had one.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn delete_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, Error> {
        self.reserve
            .with(|| async { Ok(self.metadata.unlink_blob(repository, digest).await?) })
            .await
    }

    /// Forgets an upload; returns whether it was there.
    pub(super) async fn delete_upload_row(&self, id: &UploadId) -> Result<bool, Error> {
        let gone = self
            .reserve
            .with(|| async { Ok(self.metadata.delete_upload(id).await?) })
            .await?;
        if gone {
            self.metrics.uploads_open(-1);
        }
        Ok(gone)
    }
}
