//! Giving bytes that lie under a key the path where Distribution looks for them, beside whoever deletes or quarantines them.

use std::sync::Arc;

use blobstore::filesystem::Filesystem;
use blobstore::{BlobAddress, ErrorKind};
use metadata::Rekeyed;
use oci::Digest;

use crate::content::damage::Look;
use crate::content::error::Error;
use crate::content::in_use::Hold;
use crate::content::leftovers::{Leftover, Settled};
use crate::content::store::{Content, address};
use crate::content::uploads::fresh_id;

impl Content {
    /// Moves the bytes of `digest` from `key` to Distribution's path, unless that is not where they are any more. Returns
    /// why that cannot be now.
    pub(super) async fn give_plain_path(
        &self,
        store: &Arc<Filesystem>,
        digest: &Digest,
        key: &str,
    ) -> Result<Option<String>, Error> {
        // Nobody may decide about the digest meanwhile.
        let hold = self.in_use.hold(digest).await;
        if !self.is_live_at(digest, key).await? {
            // Whoever decided before deletes the file now.
            return Ok(None);
        }
        if !self.metadata.is_plain_path_free(digest).await? {
            return Ok(Some(busy(digest)));
        }
        let (from, to) = (address(digest, Some(key))?, address(digest, None)?);
        let (linking, id, at) = (Arc::clone(store), fresh_id(), to.clone());
        let linked = tokio::task::spawn_blocking(move || linking.name_again(&id, &from, &at));
        match linked.await? {
            Ok(()) => {}
            // It was quarantined meanwhile, which needs no claim.
            Err(_) if !self.is_live_at(digest, key).await? => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return match self.met_damage(digest, Look::Size).await {
                    Error::Damaged { .. } => Ok(Some(format!("the bytes of {digest} are missing"))),
                    error => Err(error),
                };
            }
            Err(error) => return Err(error.into()),
        }
        self.move_row(hold, digest, key, to).await
    }

    /// Makes the row say that its bytes lie at `to`, where they have a name by now; takes that name away when there is no
    /// such row any more.
    async fn move_row(
        &self,
        hold: Hold,
        digest: &Digest,
        key: &str,
        to: BlobAddress,
    ) -> Result<Option<String>, Error> {
        let rekeyed = self.metadata.rekey_blob(digest, key).await?;
        drop(hold);
        match rekeyed {
            Rekeyed::Moved => Ok(None),
            Rekeyed::Busy => Ok(Some(busy(digest))),
            Rekeyed::Unchanged => {
                if self.settle_now(&to).await == Settled::InUse {
                    self.leftovers.add(Leftover::published(fresh_id(), to));
                }
                Ok(None)
            }
        }
    }

    async fn is_live_at(&self, digest: &Digest, key: &str) -> Result<bool, Error> {
        let row = self.metadata.find_blob_anywhere(digest).await?;
        Ok(row.is_some_and(|row| row.key.as_deref() == Some(key)))
    }
}

fn busy(digest: &Digest) -> String {
    format!(
        "an older copy of {digest} is being deleted where Distribution looks for it: do this again later"
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use blobstore::filesystem::Filesystem;
    use metadata::{Evict, EvictUnit};
    use oci::RepositoryName;

    use crate::config::Cache;
    use crate::content::store::address;
    use crate::content::testing::{self, MANIFEST, manifest_digest as digest, put_manifest};
    use crate::content::uploads::fresh_id;
    use crate::content::{Content, ManifestSource};

    fn mirrored() -> RepositoryName {
        RepositoryName::parse("docker.io/library/nginx").expect("a name")
    }

    /// Returns the directory of the blob at Distribution's path.
    fn place(root: &Path) -> PathBuf {
        let hex = digest().hex().to_owned();
        let blobs = root.join("docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex)
    }

    fn plain(root: &Path) -> PathBuf {
        place(root).join("data")
    }

    async fn mirror(content: &Arc<Content>) {
        let source = ManifestSource::Upstream { name: "docker.io" };
        put_manifest(content, &mirrored(), source).await;
    }

    /// Claims the bytes and does not delete them yet.
    async fn claim(content: &Content) {
        let found = content.metadata.repository(&mirrored()).await;
        let evict = Evict {
            repository: found.expect("reads").expect("it is there").id,
            unit: EvictUnit::Manifest(digest()),
            pulled_at: i64::MAX,
            reclaim: [digest()].into(),
        };
        content.metadata.evict(vec![evict]).await.expect("evicts");
    }

    /// Opens a room in which the bytes lie under a key alone, and returns the key.
    async fn with_key(root: &Path) -> (Arc<Content>, Arc<Filesystem>, String) {
        let (content, store) = testing::open(root, Cache::default());
        let content = Arc::new(content);
        mirror(&content).await;
        claim(&content).await;
        mirror(&content).await;
        content.finish_left_claims().await.expect("deletes");
        let row = content.metadata.find_blob_anywhere(&digest()).await;
        let key = row.expect("reads").expect("it is live").key;
        assert!(!plain(root).exists());
        (content, store, key.expect("it has a key"))
    }

    #[tokio::test]
    async fn bytes_under_a_key_get_distributions_path_and_lose_the_other_name_later() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (content, _) = testing::open(directory.path(), Cache::default());
        let content = Arc::new(content);
        // The first copy is claimed and not deleted yet, as by a crash, so the second one gets a key.
        mirror(&content).await;
        claim(&content).await;
        let push = ManifestSource::Push {
            by: "anonymous",
            checked: false,
        };
        let pushed = RepositoryName::parse("team/app").expect("a name");
        put_manifest(&content, &pushed, push).await;

        let conflicts = async || {
            let report = content.export_links(&mut |_, _| {}).await;
            report.expect("exports").conflicts
        };
        assert_eq!(conflicts().await, 1, "the older copy is in the way");
        content.finish_left_claims().await.expect("deletes");
        assert_eq!(conflicts().await, 0);
        let place = place(directory.path());
        assert_eq!(fs::read(place.join("data")).expect("it is there"), MANIFEST);
        content.finish_left_claims().await.expect("deletes");
        assert_eq!(fs::read_dir(&place).expect("it is there").count(), 1);
        let row = content.metadata.find_blob_anywhere(&digest()).await;
        assert_eq!(row.expect("reads").expect("it is live").key, None);
        assert_eq!(conflicts().await, 0);
    }

    #[tokio::test]
    async fn bytes_that_are_being_deleted_get_no_other_name_whether_the_file_is_gone_or_not() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (content, store, key) = with_key(directory.path()).await;
        let give = async || content.give_plain_path(&store, &digest(), &key).await;
        claim(&content).await;
        assert_eq!(give().await.expect("passes over"), None);
        assert!(!plain(directory.path()).exists());
        content.finish_left_claims().await.expect("deletes");
        assert_eq!(give().await.expect("passes over"), None);
        assert!(!plain(directory.path()).exists());
    }

    #[tokio::test]
    async fn a_name_that_was_given_to_bytes_of_which_the_row_went_is_taken_away() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (content, store, key) = with_key(directory.path()).await;
        let hold = content.in_use.hold(&digest()).await;
        let at = |key| address(&digest(), key).expect("an address");
        let (from, to) = (at(Some(&key)), at(None));
        let linked = store.name_again(&fresh_id(), &from, &to);
        linked.expect("links");
        assert!(plain(directory.path()).exists());
        claim(&content).await;
        let moved = content.move_row(hold, &digest(), &key, to).await;
        assert_eq!(moved.expect("passes over"), None);
        assert!(!plain(directory.path()).exists());
    }

    #[tokio::test]
    async fn bytes_that_are_missing_are_told_and_do_not_end_the_export() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (content, store, key) = with_key(directory.path()).await;
        let from = address(&digest(), Some(&key)).expect("an address");
        blobstore::BlobStore::delete(&*store, &from).expect("it goes");
        let given = content.give_plain_path(&store, &digest(), &key).await;
        let reason = given.expect("goes on").expect("it is told");
        assert!(reason.contains("missing"), "{reason}");
        let row = content.metadata.find_blob_anywhere(&digest()).await;
        assert_eq!(row.expect("reads"), None, "it is quarantined");
    }
}
