//! Bringing content back that is damaged here: asked of the upstream again, by way of the same single flight as clients.

use std::sync::Arc;

use oci::{Digest, Reference, RepositoryName};

use super::error::Error;
use super::manifest::ManifestWanted;
use super::remotes::Mirror;

/// As what a repository has a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refetched {
    /// A manifest.
    Manifest,
    /// A config or a layer.
    Blob,
}

impl Mirror {
    /// Fetches the content `digest` of the mirrored repository `repository` again and stores it; false when its upstream is
    /// not configured any more.
    ///
    /// # Errors
    /// The upstream's answer or trouble, and storage errors.
    pub async fn refetch(
        self: &Arc<Self>,
        repository: &RepositoryName,
        digest: &Digest,
        what: Refetched,
    ) -> Result<bool, Error> {
        let Some(target) = self.image_target(repository) else {
            return Ok(false);
        };
        if target.repository != *repository {
            return Ok(false);
        }
        match what {
            Refetched::Manifest => {
                let reference = Reference::Digest(*digest);
                self.manifest(&target, &reference, ManifestWanted::Bytes)
                    .await?;
            }
            Refetched::Blob => {
                self.store_blob(&target, digest, &|_| {}).await?;
            }
        }
        Ok(true)
    }
}
