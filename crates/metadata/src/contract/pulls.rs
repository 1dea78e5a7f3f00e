//! Clauses about pull times: each keeps the latest, and goes with what it is about.

use oci::Reference;

use super::support::{World, commit, digest, mirror, mirrored, name, push, tag};
use crate::clock::tests::{HOUR, NOON, SECOND};
use crate::{CommitBlob, Origin, Pull, PushManifest};

fn pull(repository: &str, content: &str, by: Option<&str>, at: i64) -> Pull {
    Pull {
        repository: name(repository),
        digest: digest(content),
        tag: by.map(tag),
        at,
    }
}

async fn of_tag(world: &World, repository: &str, wanted: &str) -> Option<i64> {
    let reference = Reference::Tag(tag(wanted));
    let read = world
        .metadata
        .last_pull(&name(repository), &reference)
        .await;
    read.expect("reads")
}

async fn of_digest(world: &World, repository: &str, content: &str) -> Option<i64> {
    let reference = Reference::Digest(digest(content));
    let read = world
        .metadata
        .last_pull(&name(repository), &reference)
        .await;
    read.expect("reads")
}

async fn record(world: &World, pulls: Vec<Pull>) {
    world.metadata.record_pulls(pulls).await.expect("records");
}

pub(super) async fn a_pull_is_kept_by_tag_and_by_digest_and_the_latest_wins(world: World) {
    world.tagged("a", "v1", "m").await;
    record(&world, vec![pull("a", "m", None, NOON - 2 * SECOND)]).await;
    assert_eq!(of_tag(&world, "a", "v1").await, None);
    record(&world, vec![pull("a", "m", Some("v1"), NOON - SECOND)]).await;
    record(&world, vec![pull("a", "m", Some("v1"), NOON - HOUR)]).await;
    assert_eq!(of_tag(&world, "a", "v1").await, Some(NOON - SECOND));
    assert_eq!(of_digest(&world, "a", "m").await, Some(NOON - SECOND));
    assert_eq!(of_digest(&world, "b", "m").await, None);
}

pub(super) async fn no_pull_lies_in_the_future(world: World) {
    world.tagged("a", "v1", "m").await;
    record(&world, vec![pull("a", "m", Some("v1"), NOON + HOUR)]).await;
    assert_eq!(of_tag(&world, "a", "v1").await, Some(NOON));
}

pub(super) async fn a_pull_of_what_is_not_here_leaves_nothing(world: World) {
    world.commit(commit("a", "pushed blob")).await;
    let unknown = [("a", "m"), ("a", "pushed blob"), ("nobody", "m")];
    let pulls = unknown.map(|(repository, content)| pull(repository, content, Some("v1"), NOON));
    record(&world, pulls.to_vec()).await;
    for (repository, content) in unknown {
        assert_eq!(of_digest(&world, repository, content).await, None);
    }
    assert_eq!(of_tag(&world, "a", "v1").await, None);
}

pub(super) async fn a_mirrored_blob_that_is_pulled_directly_has_its_own(world: World) {
    world
        .commit(CommitBlob {
            kind: mirror(),
            origin: Origin::Mirrored,
            ..commit("m", "blob")
        })
        .await;
    record(&world, vec![pull("m", "blob", None, NOON)]).await;
    assert_eq!(of_digest(&world, "m", "blob").await, Some(NOON));
    let unlinked = world
        .metadata
        .unlink_blob(&name("m"), &digest("blob"))
        .await;
    assert!(unlinked.expect("unlinks"));
    assert_eq!(of_digest(&world, "m", "blob").await, None);
}

pub(super) async fn a_deleted_tag_and_a_deleted_manifest_take_their_pulls_along(world: World) {
    for (tag, content) in [("v1", "m"), ("v2", "m"), ("other", "n")] {
        world.tagged("a", tag, content).await;
        record(&world, vec![pull("a", content, Some(tag), NOON)]).await;
    }
    let deleted = world
        .metadata
        .delete_tag(&name("a"), &tag("v1"), "alice")
        .await;
    assert!(deleted.expect("deletes"));
    world.tagged("a", "v1", "m").await;
    assert_eq!(of_tag(&world, "a", "v1").await, None);
    assert_eq!(of_tag(&world, "a", "v2").await, Some(NOON));
    let deleted = world
        .metadata
        .delete_manifest(&name("a"), &digest("m"), "alice")
        .await;
    assert!(deleted.expect("deletes"));
    world
        .push(PushManifest {
            tags: vec![tag("v2")],
            ..push("a", "m")
        })
        .await;
    assert_eq!(of_tag(&world, "a", "v2").await, None);
    assert_eq!(of_digest(&world, "a", "m").await, None);
    assert_eq!(of_tag(&world, "a", "other").await, Some(NOON));
}

pub(super) async fn the_lists_of_what_is_mirrored_tell_the_pulls_and_leave_out_what_is_local(
    world: World,
) {
    world.tagged("local", "v1", "m").await;
    world
        .push(PushManifest {
            tags: vec![tag("v1")],
            ..mirrored("docker.io/library/nginx", "m")
        })
        .await;
    world.push(mirrored("docker.io/library/nginx", "n")).await;
    let by_tag = pull("docker.io/library/nginx", "m", Some("v1"), NOON);
    record(&world, vec![by_tag]).await;
    let metadata = &world.metadata;
    let repositories = metadata.cached_repositories(None).await.expect("reads");
    let [repository] = repositories.as_slice() else {
        panic!("one is mirrored: {repositories:?}");
    };
    assert_eq!(repository.upstream, "docker.io");
    let manifests = metadata.cached_manifests(None).await.expect("reads");
    let mut told: Vec<_> = manifests.iter().map(|m| (m.digest, m.pulled_at)).collect();
    told.sort_unstable();
    let mut expected = [(digest("m"), Some(NOON)), (digest("n"), None)];
    expected.sort_unstable();
    assert_eq!(told, expected);
    let tags = metadata.cached_tags(None).await.expect("reads");
    assert_eq!(tags.len(), 1);
    assert_eq!(
        (tags[0].digest, tags[0].pulled_at),
        (digest("m"), Some(NOON))
    );
    let after = metadata.cached_tags(tags.last()).await.expect("reads");
    assert!(after.is_empty(), "the page ends there");
    let stored = metadata.stored_bytes(None).await.expect("reads");
    let held: Vec<_> = stored.iter().map(|b| (b.local, b.mirrored)).collect();
    assert_eq!(held, [(true, true), (false, true)]);
}
