//! Deleting the bytes of blobs whose rows are claimed, and forgetting the rows. A stop in between leaves claimed rows, which
//! the next start finishes; until then their keys are not used again.

use std::sync::Arc;

use metadata::Claimed;
use tokio::sync::OwnedRwLockReadGuard;

use super::error::Error;
use super::store::{Content, address};

/// What became of claimed blobs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reclaimed {
    pub(super) blobs: u64,
    pub(super) bytes: u64,
}

impl Content {
    /// Waits until it may claim blobs and delete their files. The turn is to be taken before the claim, and given to
    /// [`Content::finish_claims`].
    pub(super) async fn turn_to_reclaim(&self) -> OwnedRwLockReadGuard<()> {
        Arc::clone(&self.reclaiming).read_owned().await
    }

    /// Deletes the files of `claimed` and forgets the rows of those that are gone; returns how many. What could not be
    /// deleted is left for the next collection or start. The `turn` lasts as long as files are being deleted, also where
    /// nobody waits for it any more.
    pub(super) async fn finish_claims<T: Send + 'static>(
        &self,
        claimed: Vec<Claimed>,
        turn: T,
    ) -> Result<Reclaimed, Error> {
        if claimed.is_empty() {
            return Ok(Reclaimed::default());
        }
        let mut at = Vec::with_capacity(claimed.len());
        for blob in claimed {
            self.manifests.invalidate(&blob.digest);
            at.push((address(&blob.digest, blob.key.as_deref())?, blob));
        }
        let (gone, _turn) = self
            .blocking(move |store| {
                let deleted = |(at, blob): (blobstore::BlobAddress, Claimed)| {
                    if let Err(error) = store.delete(&at) {
                        tracing::warn!(digest = %blob.digest, %error, "could not delete a blob; the next collection will");
                        return None;
                    }
                    Some(blob)
                };
                Ok((at.into_iter().filter_map(deleted).collect::<Vec<_>>(), turn))
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

    /// Finishes the deletions that a stop or a failure left behind; returns how many. Nobody claims anything meanwhile: a
    /// file deleted twice could be a new one the second time.
    pub(super) async fn finish_left_claims(&self) -> Result<u64, Error> {
        let mut finished = 0;
        let mut last = None;
        loop {
            let turn = Arc::clone(&self.reclaiming).write_owned().await;
            let page = self.metadata.claimed(last.as_ref()).await?;
            let Some((end, _)) = page.last() else {
                return Ok(finished);
            };
            last = Some(end.clone());
            let (in_use, deletable): (Vec<_>, Vec<_>) =
                page.into_iter().partition(|(_, taken_over)| *taken_over);
            let ids: Vec<i64> = in_use.iter().map(|(blob, _)| blob.id).collect();
            self.reserve
                .with(|| async { Ok(self.metadata.forget_claimed(ids.clone()).await?) })
                .await?;
            let deletable = deletable.into_iter().map(|(blob, _)| blob).collect();
            finished += self.finish_claims(deletable, turn).await?.blobs;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ops::ControlFlow;
    use std::path::Path;
    use std::sync::Arc;

    use blobstore::filesystem::Filesystem;
    use blobstore::{BlobAddress, BlobStore};
    use futures_util::TryStreamExt;
    use metadata::{Evict, EvictUnit, Evicted};
    use oci::{Algorithm, Digest, RepositoryName};

    use crate::config::Cache;
    use crate::content::{Content, Filled, MirroredBlob, testing};

    const BYTES: &[u8] = b"a layer";

    fn repository() -> RepositoryName {
        RepositoryName::parse("docker.io/library/nginx").expect("a name")
    }

    fn digest() -> Digest {
        Digest::of(Algorithm::Sha256, BYTES)
    }

    fn open(directory: &Path) -> (Content, Arc<Filesystem>) {
        testing::open(directory, Cache::default())
    }

    async fn fill(content: &Content) {
        let (repository, digest) = (repository(), digest());
        let begun = content.begin_fill(&repository, &digest, Arc::new(|_| {}));
        let (mut fill, _) = begun.await.expect("begins");
        let body = futures_util::stream::iter([Ok(bytes::Bytes::from_static(BYTES))]);
        fill.take(Box::pin(body)).await.expect("takes");
        let filled = content.commit_fill(fill, "docker.io").await;
        assert!(matches!(filled, Ok(Filled::Stored { .. })));
    }

    /// Claims the blob and stops there, as a crash would.
    async fn claim(content: &Content) {
        let found = content.metadata.repository(&repository()).await;
        let evict = Evict {
            repository: found.expect("reads").expect("it is there").id,
            unit: EvictUnit::Blob(digest()),
            pulled_at: i64::MAX,
            reclaim: BTreeSet::from([digest()]),
        };
        let outcomes = content.metadata.evict(vec![evict]).await.expect("evicts");
        assert!(matches!(&outcomes[..], [Evicted::Gone(blobs)] if blobs.len() == 1));
    }

    fn stored(store: &Filesystem) -> Vec<BlobAddress> {
        let mut stored = Vec::new();
        store
            .list(&mut |at, _| {
                stored.push(at);
                ControlFlow::Continue(())
            })
            .expect("lists");
        stored
    }

    #[tokio::test]
    async fn a_deletion_that_a_stop_left_behind_is_finished() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (content, store) = open(directory.path());
        fill(&content).await;
        claim(&content).await;
        assert_eq!(stored(&store).len(), 1);
        assert_eq!(content.finish_left_claims().await.expect("finishes"), 1);
        assert!(stored(&store).is_empty());
        assert_eq!(content.finish_left_claims().await.expect("finishes"), 0);
        fill(&content).await;
        assert_eq!(stored(&store)[0].key, None, "its old place is free again");
    }

    #[tokio::test]
    async fn what_is_stored_while_an_older_copy_is_being_deleted_survives_the_deletion() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (content, store) = open(directory.path());
        fill(&content).await;
        claim(&content).await;
        let gone = content.mirrored_blob(&repository(), &digest()).await;
        assert!(matches!(gone, Ok(MirroredBlob::Absent)));
        fill(&content).await;
        assert_eq!(content.finish_left_claims().await.expect("finishes"), 1);
        let left = stored(&store);
        assert_eq!(left.len(), 1);
        assert!(left[0].key.is_some(), "under a key of its own");
        let found = content.mirrored_blob(&repository(), &digest()).await;
        let Ok(MirroredBlob::Whole(blob)) = found else {
            panic!("it is whole: {found:?}");
        };
        let read: Vec<_> = blob
            .read(0..blob.size())
            .try_collect()
            .await
            .expect("reads");
        assert_eq!(read.concat(), BYTES);
    }
}
