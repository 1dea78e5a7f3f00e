//! Whether an upstream has a blob, and its size: one HEAD however many ask at the same time.

use std::sync::Arc;

use oci::Digest;

use super::account::{Miss, MissReason, Told};
use super::error::Error;
use super::flights::Answer;
use super::inflight::FetchKey;
use super::missing::Thing;
use super::remotes::{Mirror, Target};
use super::tally::Tally;
use crate::content::MirroredBlob;
use crate::telemetry::Kind;

/// The size of a blob.
struct Sized {
    /// In bytes; none when the upstream does not say.
    size: Option<u64>,
    /// Why it was asked for, if it was.
    miss: Option<Miss>,
}

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
        let told = Told::begin(target, Kind::Blob, digest);
        let tally = Tally::new(&self.metrics, target);
        match self.size_of(target, digest).await {
            Ok(Sized { size, miss }) => {
                match miss {
                    None => tally.hit(),
                    Some(miss) => told.miss(miss),
                }
                Ok(size)
            }
            Err(error) => {
                tally.failed();
                told.error(&error);
                Err(error)
            }
        }
    }

    async fn size_of(self: &Arc<Self>, target: &Target, digest: &Digest) -> Result<Sized, Error> {
        target.refuse_unlisted()?;
        let reason = match self.stored_blob(target, digest).await? {
            MirroredBlob::Whole(stored) => {
                let size = Some(stored.size());
                return Ok(Sized { size, miss: None });
            }
            MirroredBlob::Damaged => MissReason::Damaged,
            MirroredBlob::Absent => MissReason::NotStored,
        };
        let key = FetchKey::new(target, digest);
        let (size, joined) = match self.blobs.inflight.join(&key) {
            Some(mut follower) => {
                self.metrics.joined(&target.remote.label);
                (follower.started(target).await?, true)
            }
            None => {
                let answer = self.head_blob(target, digest).await?;
                (answer.outcome?, answer.joined)
            }
        };
        let miss = Some(Miss { reason, joined });
        Ok(Sized { size, miss })
    }

    /// Asks the upstream for the size of a blob; whoever comes meanwhile gets the same answer.
    ///
    /// # Errors
    /// That the upstream said a moment ago that it has no such blob.
    pub(super) async fn head_blob(
        self: &Arc<Self>,
        target: &Target,
        digest: &Digest,
    ) -> Result<Answer<Option<u64>>, Error> {
        let thing = Thing::Blob(*digest);
        self.refuse_missing(target, &thing)?;
        let (mirror, asked, wanted) = (Arc::clone(self), target.clone(), *digest);
        let asking = async move {
            let head = asked.ask().head_blob(&asked.path, &wanted).await;
            mirror.heard_of(&asked, Thing::Blob(wanted), head.map(|head| head.size))
        };
        let key = FetchKey::new(target, digest);
        let joining = || self.joined(target, &thing);
        let heads = &self.blobs.heads;
        Ok(heads.ask(key, Box::pin(asking), joining).await)
    }
}
