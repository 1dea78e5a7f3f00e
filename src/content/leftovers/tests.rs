//! Crashes between publication and commit: what they leave goes, and nothing else does.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use blobstore::filesystem::Filesystem;
use blobstore::{BlobAddress, BlobKey, BlobStore};
use bytes::Bytes;
use metadata::{Evict, EvictUnit, Evicted, UploadPurpose};
use oci::{Algorithm, Digest, RepositoryName, UploadId};
use tempfile::TempDir;

use super::super::uploads::{fresh_id, new_upload};
use super::super::{Content, Error, Filled, Piece, Uploader, testing};
use super::{Leftover, Settled};
use crate::config::Cache;

const BYTES: &[u8] = b"the bytes of a layer";
const BY: &str = "anonymous";
const CLIENT: Uploader<'_> = Uploader {
    by: BY,
    client: "192.0.2.7",
};

fn repository() -> &'static RepositoryName {
    static NAME: LazyLock<RepositoryName> =
        LazyLock::new(|| RepositoryName::parse("team/app").expect("a name"));
    &NAME
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

fn at(bytes: &[u8]) -> BlobAddress {
    BlobAddress {
        digest: digest(bytes),
        key: None,
    }
}

fn piece(bytes: &[u8]) -> Piece {
    let body = futures_util::stream::iter([Ok(Bytes::copy_from_slice(bytes))]);
    Piece {
        start: None,
        length: None,
        body: Box::pin(body),
    }
}

/// A content room in a directory of its own.
struct World {
    directory: TempDir,
    content: Arc<Content>,
    store: Arc<Filesystem>,
}

impl World {
    fn new() -> Self {
        Self::over(tempfile::tempdir().expect("a temporary directory"))
    }

    fn over(directory: TempDir) -> Self {
        let (content, store) = testing::open(directory.path(), Cache::default());
        Self {
            directory,
            content: Arc::new(content),
            store,
        }
    }

    /// Crashes here and starts again over what the disk holds now: a copy, so that nothing is closed in order.
    async fn crash_and_start(&self) -> Self {
        let copied = tempfile::tempdir().expect("a temporary directory");
        copy(self.directory.path(), copied.path(), &mut HashMap::new());
        let world = Self::over(copied);
        world.content.note_leftovers().await.expect("lists");
        world.end_all().await;
        world
    }

    /// Ends what is left, once; returns what could not be.
    async fn end_all(&self) -> usize {
        let mut again = Vec::new();
        for mut leftover in self.content.leftovers.take() {
            let ended = self.content.end_leftover(&mut leftover).await;
            if ended.expect("the disk is well") == Settled::InUse {
                again.push(leftover);
            }
        }
        let left = again.len();
        self.content.leftovers.put(again);
        left
    }

    async fn begin(&self) -> UploadId {
        let begun = self
            .content
            .start_upload(repository(), Algorithm::Sha256, CLIENT);
        begun.await.expect("begins").id
    }

    /// Publishes `bytes` as the upload `id` and stops there.
    fn publish(&self, id: &UploadId, bytes: &[u8], at: &BlobAddress) {
        let state = self.store.begin_upload(id).expect("begins");
        let mut appender = self.store.append(id, &state, 0).expect("opens");
        appender.write(bytes).expect("writes");
        let state = appender.flush().expect("flushes");
        drop(appender);
        let published = self.store.publish(id, &state, bytes.len() as u64, at);
        published.expect("publishes");
    }

    async fn finish(&self, id: &UploadId, bytes: &[u8]) -> Result<u64, Error> {
        let digest = digest(bytes);
        let finished = self
            .content
            .finish_upload(repository(), id, BY, piece(bytes), &digest);
        finished.await
    }

    async fn push(&self, bytes: &[u8]) {
        let id = self.begin().await;
        self.finish(&id, bytes).await.expect("is stored");
    }

    async fn is_readable(&self, bytes: &[u8]) -> bool {
        let digest = digest(bytes);
        let row = self.content.metadata.blob(repository(), &digest);
        let Some(row) = row.await.expect("reads") else {
            return false;
        };
        let opened = self.content.open_file(&digest, row.key.as_deref());
        opened
            .await
            .is_ok_and(|opened| opened.size == bytes.len() as u64)
    }

    fn blobs(&self) -> Vec<BlobAddress> {
        let mut stored = Vec::new();
        self.store
            .list(&mut |at, _| {
                stored.push(at);
                ControlFlow::Continue(())
            })
            .expect("lists");
        stored.sort();
        stored
    }

    /// Returns the names in the directory of uploads.
    fn uploads(&self) -> Vec<PathBuf> {
        let names = fs::read_dir(self.directory.path().join("uploads")).expect("lists");
        names.map(|name| name.expect("lists").path()).collect()
    }

    #[track_caller]
    fn expect_nothing_left(&self) {
        assert_eq!(self.blobs(), []);
        assert_eq!(self.uploads(), Vec::<PathBuf>::new());
    }
}

/// Copies a directory with all below it; names of one file stay names of one file.
fn copy(from: &Path, to: &Path, copied: &mut HashMap<u64, PathBuf>) {
    for entry in fs::read_dir(from).expect("lists") {
        let entry = entry.expect("lists");
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let metadata = entry.metadata().expect("is there");
        if metadata.is_dir() {
            fs::create_dir(&target).expect("makes a directory");
            copy(&source, &target, copied);
        } else if let Some(first) = copied.get(&metadata.ino()) {
            fs::hard_link(first, &target).expect("links");
        } else {
            fs::copy(&source, &target).expect("copies");
            copied.insert(metadata.ino(), target);
        }
    }
}

#[tokio::test]
async fn bytes_published_and_not_committed_when_a_crash_came_go_with_their_upload() {
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        for key in [None, BlobKey::parse("a-key")] {
            let before = World::new();
            let at = BlobAddress {
                digest: Digest::of(algorithm, BYTES),
                key,
            };
            // Without a row, as a manifest is published.
            before.publish(&fresh_id(), BYTES, &at);
            assert_eq!(before.blobs(), [at]);
            before.crash_and_start().await.expect_nothing_left();
        }
    }
}

#[tokio::test]
async fn a_crash_in_a_mirror_fill_leaves_neither_row_nor_bytes() {
    let before = World::new();
    let fill = new_upload(
        repository(),
        UploadPurpose::MirrorFill,
        Algorithm::Sha256,
        BY,
    );
    let id = before.content.open_upload(fill).await.expect("begins");
    before.publish(&id, BYTES, &at(BYTES));
    let after = before.crash_and_start().await;
    after.expect_nothing_left();
    let open = after.content.metadata.open_uploads().await.expect("reads");
    assert_eq!(open, []);
}

#[tokio::test]
async fn a_client_may_finish_what_a_crash_cut_off_before_its_commit() {
    let before = World::new();
    let id = before.begin().await;
    before.publish(&id, BYTES, &at(BYTES));
    let after = before.crash_and_start().await;
    assert_eq!(after.blobs(), [at(BYTES)], "the client may come back");
    after.finish(&id, BYTES).await.expect("is stored");
    assert!(after.is_readable(BYTES).await);
    assert_eq!(after.uploads(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_client_that_comes_back_with_other_bytes_leaves_none_of_the_first() {
    let before = World::new();
    let id = before.begin().await;
    before.publish(&id, BYTES, &at(BYTES));
    let after = before.crash_and_start().await;
    after.finish(&id, b"others").await.expect("is stored");
    assert_eq!(after.blobs(), [at(b"others")]);
    assert_eq!(after.uploads(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_client_that_gives_up_after_a_crash_leaves_nothing() {
    let before = World::new();
    let id = before.begin().await;
    before.publish(&id, BYTES, &at(BYTES));
    let after = before.crash_and_start().await;
    let cancelled = after.content.cancel_upload(repository(), &id, BY).await;
    cancelled.expect("ends");
    after.expect_nothing_left();
}

#[tokio::test]
async fn a_blob_that_has_a_row_stays_also_when_a_leftover_name_is_the_same_file() {
    let before = World::new();
    before.push(BYTES).await;
    let blob = before.blobs();
    let hex = digest(BYTES).hex();
    let file = format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
    let file = before.directory.path().join(file);
    let left = before.directory.path().join("uploads");
    for name in [fresh_id().to_string(), format!("{}.publish", fresh_id())] {
        fs::hard_link(&file, left.join(name)).expect("links");
    }
    let after = before.crash_and_start().await;
    assert_eq!(after.blobs(), blob);
    assert!(after.is_readable(BYTES).await);
    assert_eq!(after.uploads(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_crash_while_a_blob_is_healed_leaves_the_blob() {
    let before = World::new();
    before.push(BYTES).await;
    before.publish(&fresh_id(), BYTES, &at(BYTES));
    let after = before.crash_and_start().await;
    assert!(after.is_readable(BYTES).await);
    assert_eq!(after.uploads(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_push_of_the_same_bytes_wins_over_what_is_left() {
    let world = World::new();
    let left = fresh_id();
    world.publish(&left, BYTES, &at(BYTES));
    world.content.leftovers.add(Leftover::file(left.clone()));
    // A push that stands between its publication and its commit.
    let hold = world.content.in_use.hold(&digest(BYTES)).await;
    assert_eq!(world.end_all().await, 1, "it is in somebody's hands");
    assert_eq!(world.blobs(), [at(BYTES)]);
    assert_eq!(world.uploads().len(), 1, "by its name it is found again");
    world.push(BYTES).await;
    drop(hold);
    assert_eq!(world.end_all().await, 0);
    assert!(world.is_readable(BYTES).await);
    assert_eq!(world.uploads(), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pushes_beside_the_ending_of_the_same_bytes_all_keep_theirs() {
    let world = Arc::new(World::new());
    for round in 0..25 {
        let bytes = format!("the bytes of round {round}");
        let left = fresh_id();
        world.publish(&left, bytes.as_bytes(), &at(bytes.as_bytes()));
        let mut leftover = Leftover::file(left);
        let ending = {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                loop {
                    let ended = world.content.end_leftover(&mut leftover).await;
                    if ended.expect("the disk is well") == Settled::Done {
                        return;
                    }
                }
            })
        };
        let push = || {
            let (world, bytes) = (Arc::clone(&world), bytes.clone());
            tokio::spawn(async move { world.push(bytes.as_bytes()).await })
        };
        for task in [push(), push(), ending] {
            task.await.expect("ends well");
        }
        assert!(world.is_readable(bytes.as_bytes()).await, "round {round}");
    }
    assert_eq!(world.uploads(), Vec::<PathBuf>::new());
}

/// Makes the repository a mirror's, with a blob of `bytes` in it.
async fn mirror(world: &World, bytes: &[u8]) {
    let (content, digest) = (&world.content, digest(bytes));
    let begun = content.begin_fill(repository(), &digest, Arc::new(|_| {}));
    let (mut fill, _) = begun.await.expect("begins");
    fill.take(piece(bytes).body).await.expect("takes");
    let filled = content.commit_fill(fill, "docker.io").await;
    assert!(matches!(filled, Ok(Filled::Stored { .. })));
}

#[tokio::test]
async fn a_commit_that_is_refused_leaves_no_blob_and_an_upload_that_goes_on() {
    let world = World::new();
    mirror(&world, b"mirrored").await;
    let id = world.begin().await;
    let refused = world.finish(&id, BYTES).await;
    assert!(matches!(refused, Err(Error::KindConflict)), "{refused:?}");
    assert_eq!(world.blobs(), [at(b"mirrored")]);
    let open = world.content.upload(repository(), &id, BY).await;
    assert_eq!(open.expect("it stays open").offset, 0);
    let bytes: u64 = world
        .uploads()
        .iter()
        .map(|file| fs::metadata(file).expect("is there").len())
        .sum();
    assert_eq!(bytes, 0, "nothing of it was acknowledged");
    let cancelled = world.content.cancel_upload(repository(), &id, BY).await;
    cancelled.expect("ends");
    assert_eq!(world.uploads(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_refused_commit_of_bytes_that_are_here_leaves_them() {
    let world = World::new();
    mirror(&world, BYTES).await;
    let id = world.begin().await;
    let refused = world.finish(&id, BYTES).await;
    assert!(matches!(refused, Err(Error::KindConflict)), "{refused:?}");
    assert!(world.is_readable(BYTES).await);
}

#[tokio::test]
async fn a_fill_that_is_refused_goes_once_its_readers_are_gone() {
    let world = World::new();
    world.push(b"pushed").await;
    let digest = digest(BYTES);
    let begun = world
        .content
        .begin_fill(repository(), &digest, Arc::new(|_| {}));
    let (mut fill, reader) = begun.await.expect("begins");
    fill.take(piece(BYTES).body).await.expect("takes");
    let refused = world.content.commit_fill(fill, "docker.io").await;
    assert!(matches!(refused, Err(Error::KindConflict)), "{refused:?}");
    assert_eq!(world.end_all().await, 1);
    let end = BYTES.len() as u64;
    let read = reader.read_at(0, end).await.expect("it is still read");
    assert_eq!(read, BYTES);
    drop(reader);
    assert_eq!(world.end_all().await, 0);
    assert_eq!(world.blobs(), [at(b"pushed")]);
    assert_eq!(world.uploads(), Vec::<PathBuf>::new());
    let open = world.content.metadata.open_uploads().await.expect("reads");
    assert_eq!(open, []);
}

#[tokio::test]
async fn of_two_that_store_the_same_bytes_beside_their_deletion_one_copy_is_kept() {
    let world = World::new();
    mirror(&world, BYTES).await;
    let metadata = &world.content.metadata;
    let found = metadata.repository(repository()).await.expect("reads");
    let evict = Evict {
        repository: found.expect("it is there").id,
        unit: EvictUnit::Blob(digest(BYTES)),
        pulled_at: i64::MAX,
        reclaim: BTreeSet::from([digest(BYTES)]),
    };
    let outcomes = metadata.evict(vec![evict]).await.expect("evicts");
    assert!(matches!(&outcomes[..], [Evicted::Gone(blobs)] if blobs.len() == 1));
    // Its old place is being deleted: each takes a key of its own.
    tokio::join!(mirror(&world, BYTES), mirror(&world, BYTES));
    assert_eq!(world.end_all().await, 0);
    let finished = world.content.finish_left_claims().await;
    assert_eq!(finished.expect("finishes"), 1);
    assert_eq!(world.blobs().len(), 1);
    assert!(world.is_readable(BYTES).await);
    assert_eq!(world.uploads(), Vec::<PathBuf>::new());
}
