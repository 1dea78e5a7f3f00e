//! Deleting the bytes of blobs whose rows are claimed, and forgetting the rows. A stop in between leaves claimed rows, which
//! the next start finishes; until then their keys are not used again.

use metadata::Claimed;

use super::error::Error;
use super::store::{Content, address};

/// What became of claimed blobs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reclaimed {
    pub(super) blobs: u64,
    pub(super) bytes: u64,
}

impl Content {
    /// Deletes the files of `claimed` and forgets the rows of those that are gone; returns how many. What could not be
    /// deleted is left for the next start.
    pub(super) async fn finish_claims(&self, claimed: Vec<Claimed>) -> Result<Reclaimed, Error> {
        let mut at = Vec::with_capacity(claimed.len());
        for blob in claimed {
            self.manifests.invalidate(&blob.digest);
            at.push((address(&blob.digest, blob.key.as_deref())?, blob));
        }
        let gone = self
            .blocking(move |store| {
                let deleted = |(at, blob): (blobstore::BlobAddress, Claimed)| {
                    if let Err(error) = store.delete(&at) {
                        tracing::warn!(digest = %blob.digest, %error, "could not delete a blob; the next start will");
                        return None;
                    }
                    Some(blob)
                };
                Ok(at.into_iter().filter_map(deleted).collect::<Vec<_>>())
            })
            .await?;
        let ids: Vec<i64> = gone.iter().map(|blob| blob.id).collect();
        if !ids.is_empty() {
            self.reserve
                .with(|| async { Ok(self.metadata.forget_claimed(ids.clone()).await?) })
                .await?;
        }
        Ok(Reclaimed {
            blobs: gone.len() as u64,
            bytes: gone.iter().map(|blob| blob.size).sum(),
        })
    }

    /// Finishes the deletions that an earlier stop left behind; returns how many.
    pub(super) async fn finish_left_claims(&self) -> Result<u64, Error> {
        let mut finished = 0;
        let mut last = None;
        loop {
            let page = self.metadata.claimed(last.as_ref()).await?;
            let Some((end, _)) = page.last() else {
                return Ok(finished);
            };
            last = Some(end.clone());
            let (in_use, deletable): (Vec<_>, Vec<_>) =
                page.into_iter().partition(|(_, taken_over)| *taken_over);
            let ids = in_use.iter().map(|(blob, _)| blob.id).collect();
            self.metadata.forget_claimed(ids).await?;
            let deletable = deletable.into_iter().map(|(blob, _)| blob).collect();
            finished += self.finish_claims(deletable).await?.blobs;
        }
    }
}
