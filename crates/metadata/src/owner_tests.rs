//! What the owner of a database file promises: that it ended in order is written down when it did, and only then; a
//! rehearsal changes nothing and leaves nothing.

use std::path::Path;

use oci::{Algorithm, Digest, RepositoryName};
use tempfile::TempDir;

use crate::clock::tests::{FakeClock, HOUR, NOON, SECOND};
use crate::{CommitBlob, Due, FILE_NAME, Half, Metadata, Origin, RepositoryKind, Review};

fn open(directory: &Path, at: i64) -> Metadata {
    Metadata::open_owned(&directory.join(FILE_NAME), FakeClock::at(at), HOUR).expect("opens")
}

async fn held_until(metadata: &Metadata) -> i64 {
    metadata.upkeep().await.expect("reads").hold_until
}

/// Returns a copy of the files as they are on disk now, which is what a killed process leaves.
fn killed(directory: &TempDir) -> TempDir {
    let copied = tempfile::tempdir().expect("a temporary directory");
    for file in files(directory.path()) {
        let from = directory.path().join(&file);
        std::fs::copy(from, copied.path().join(&file)).expect("copies");
    }
    copied
}

fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("it is there");
    let names = entries.map(|entry| entry.expect("reads").file_name());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

async fn commit(metadata: &Metadata, content: &str) {
    let commit = CommitBlob {
        repository: RepositoryName::parse("a").expect("a name"),
        kind: RepositoryKind::Local,
        digest: Digest::of(Algorithm::Sha256, content.as_bytes()),
        size: content.len() as u64,
        key: None,
        by: "anonymous".into(),
        origin: Origin::Pushed,
        lease_micros: 0,
        upload: None,
    };
    metadata.commit_blob(commit).await.expect("commits");
}

#[tokio::test]
async fn only_an_owner_that_was_killed_has_content_held_back() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let first = open(directory.path(), NOON);
    assert!(held_until(&first).await <= NOON, "there was none before");
    first.close().await;
    let second = open(directory.path(), NOON);
    assert!(held_until(&second).await <= NOON, "it was closed");
    drop(second);
    let third = open(directory.path(), NOON);
    assert!(held_until(&third).await <= NOON, "it was dropped");
    let killed = killed(&directory);
    let after = open(killed.path(), NOON + SECOND);
    assert_eq!(held_until(&after).await, NOON + SECOND + HOUR);
    after.close().await;
    let again = open(killed.path(), NOON + 2 * SECOND);
    assert_eq!(
        held_until(&again).await,
        NOON + SECOND + HOUR,
        "an end in order neither shortens it nor begins it anew"
    );
}

#[tokio::test]
async fn an_end_while_somebody_relies_on_the_process_is_not_in_order() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let first = open(directory.path(), NOON);
    first.rely_on_process(NOON + SECOND);
    first.close().await;
    let second = open(directory.path(), NOON);
    assert_eq!(held_until(&second).await, NOON + HOUR);
    second.rely_on_process(NOON);
    second.close().await;
    let third = open(directory.path(), NOON + HOUR);
    assert_eq!(
        held_until(&third).await,
        NOON + HOUR,
        "nobody relied on it any more"
    );
}

#[tokio::test]
async fn who_does_not_own_the_database_does_not_answer_for_its_end() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let owner = open(directory.path(), NOON);
    let visitor = Metadata::open(&directory.path().join(FILE_NAME), FakeClock::at(NOON));
    visitor.expect("opens").close().await;
    let killed = killed(&directory);
    let after = open(killed.path(), NOON);
    assert_eq!(held_until(&after).await, NOON + HOUR);
    owner.close().await;
}

#[tokio::test]
async fn a_rehearsal_changes_nothing_and_leaves_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let metadata = open(directory.path(), NOON);
    commit(&metadata, "blob").await;
    let rehearsal = metadata.rehearse().await.expect("copies");
    // What comes after the copy is not in it.
    commit(&metadata, "later").await;
    let due = Due {
        grace_micros: 0,
        half: Half::Waiting,
    };
    let candidates = rehearsal.metadata().due_candidates(due, None).await;
    let review = Review {
        candidates: candidates.expect("reads"),
        grace_micros: 0,
        delete_untagged: true,
    };
    let reviewed = rehearsal.metadata().review(review).await.expect("reviews");
    assert_eq!(reviewed.claimed.len(), 1);
    rehearsal.end().await;
    let kept = metadata.due_candidates(due, None).await.expect("reads");
    assert_eq!(kept.len(), 2);
    metadata.close().await;
    assert_eq!(files(directory.path()), [FILE_NAME]);
}

#[tokio::test]
async fn what_a_rehearsal_that_was_killed_left_goes_at_the_next_start() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let metadata = open(directory.path(), NOON);
    let rehearsal = metadata.rehearse().await.expect("copies");
    let left = killed(&directory);
    let is_copy = |file: &String| file.contains("rehearsal");
    assert!(
        files(left.path()).iter().any(is_copy),
        "there is something to remove"
    );
    let after = open(left.path(), NOON);
    assert!(!files(left.path()).iter().any(is_copy));
    drop(after);
    rehearsal.end().await;
}
