//! Whether an upstream has a blob, and its size: one HEAD however many ask at the same time.

use std::time::Instant;

use oci::Digest;

use super::error::Error;
use super::inflight::FetchKey;
use super::missing::Thing;
use super::remotes::{Mirror, Target};
use crate::content::MirroredBlob;
use crate::upstream;

/// What the last HEAD met, for those who waited meanwhile.
pub(super) struct LastHead {
    at: Instant,
    answer: Result<Option<u64>, upstream::Error>,
}

impl Mirror {
    /// Returns the size in bytes of the blob `digest` of `target`, from here or from the upstream's
    /// HEAD; `None` when the upstream does not say.
    ///
    /// # Errors
    /// The upstream's answer, or storage errors.
    pub async fn blob_size(&self, target: &Target, digest: &Digest) -> Result<Option<u64>, Error> {
        target.refuse_unlisted()?;
        if let MirroredBlob::Whole(stored) = self.stored_blob(target, digest).await? {
            return Ok(Some(stored.size()));
        }
        let thing = Thing::Blob(*digest);
        self.refuse_missing(target, &thing)?;
        let key = FetchKey::new(target, digest);
        if let Some(mut follower) = self.blobs.inflight.join(&key) {
            return follower.started().await;
        }
        let size = self.head_blob(target, digest).await;
        self.heard_of(target, thing, size)
    }

    /// Asks the upstream for the size of a blob; whoever comes meanwhile gets the same answer.
    pub(super) async fn head_blob(
        &self,
        target: &Target,
        digest: &Digest,
    ) -> Result<Option<u64>, upstream::Error> {
        let asked_at = Instant::now();
        let key = FetchKey::new(target, digest);
        let turn = self.blobs.heads.turn(&key);
        let Ok(mut last) = tokio::time::timeout(target.remote.settings.timeout.read, turn).await
        else {
            let reason = "no answer to the request under way".to_owned();
            return Err(upstream::Error::TimedOut { reason });
        };
        if let Some(last) = last.as_ref().filter(|last| last.at >= asked_at) {
            return last.answer.clone();
        }
        let head = target.ask().head_blob(&target.path, digest).await;
        let answer = head.map(|head| head.size);
        *last = Some(LastHead {
            at: Instant::now(),
            answer: answer.clone(),
        });
        answer
    }
}
