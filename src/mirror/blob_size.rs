//! Whether an upstream has a blob, and its size: one HEAD however many ask at the same time.

use std::sync::Arc;

use oci::Digest;

use super::error::Error;
use super::inflight::FetchKey;
use super::missing::Thing;
use super::remotes::{Mirror, Target};
use crate::content::MirroredBlob;

impl Mirror {
    /// Returns the size in bytes of the blob `digest` of `target`, from here or from the upstream's
    /// HEAD; `None` when the upstream does not say.
    ///
    /// # Errors
    /// The upstream's answer, or storage errors.
    pub async fn blob_size(
        self: &Arc<Self>,
        target: &Target,
        digest: &Digest,
    ) -> Result<Option<u64>, Error> {
        target.refuse_unlisted()?;
        if let MirroredBlob::Whole(stored) = self.stored_blob(target, digest).await? {
            return Ok(Some(stored.size()));
        }
        let key = FetchKey::new(target, digest);
        if let Some(mut follower) = self.blobs.inflight.join(&key) {
            return follower.started(target).await;
        }
        self.head_blob(target, digest).await
    }

    /// Asks the upstream for the size of a blob; whoever comes meanwhile gets the same answer.
    pub(super) async fn head_blob(
        self: &Arc<Self>,
        target: &Target,
        digest: &Digest,
    ) -> Result<Option<u64>, Error> {
        let thing = Thing::Blob(*digest);
        self.refuse_missing(target, &thing)?;
        let (mirror, asked, wanted) = (Arc::clone(self), target.clone(), *digest);
        let asking = async move {
            let head = asked.ask().head_blob(&asked.path, &wanted).await;
            mirror.heard_of(&asked, Thing::Blob(wanted), head.map(|head| head.size))
        };
        let key = FetchKey::new(target, digest);
        let joining = || self.joined(target, &thing);
        self.blobs
            .heads
            .ask(key, Box::pin(asking), joining)
            .await
            .outcome
    }
}
