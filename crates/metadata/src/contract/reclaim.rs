//! Clauses about taking bytes away: what anybody holds, names or leases is never claimed, and what is claimed is gone for
//! everybody until it is forgotten.

use std::collections::BTreeSet;

use oci::{Digest, ReferenceKind};

use super::support::{
    World, commit, digest, lease_of, mirror, mirrored, name, push, references, tag,
};
use crate::clock::tests::{HOUR, NOON, SECOND};
use crate::{
    Claimed, CommitBlob, Error, Evict, EvictUnit, Evicted, Mount, MountOutcome, Origin, Place,
    Pull, PushManifest, RepositoryId,
};

const NGINX: &str = "docker.io/library/nginx";
const OTHER: &str = "docker.io/library/other";

/// Mirrors an image: a manifest named `image` over its layers, without a lease.
async fn image(world: &World, repository: &str, image: &str, layers: &[&str]) {
    world
        .push(PushManifest {
            lease_micros: 0,
            references: references(ReferenceKind::Layer, layers),
            tags: vec![tag("v1")],
            ..mirrored(repository, image)
        })
        .await;
    for layer in layers {
        world.commit(mirrored_blob(repository, layer)).await;
    }
}

fn mirrored_blob(repository: &str, content: &str) -> CommitBlob {
    CommitBlob {
        kind: mirror(),
        origin: Origin::Mirrored,
        lease_micros: 0,
        ..commit(repository, content)
    }
}

async fn id(world: &World, repository: &str) -> RepositoryId {
    let found = world.metadata.repository(&name(repository)).await;
    found.expect("reads").expect("it is there").id
}

fn digests(contents: &[&str]) -> BTreeSet<Digest> {
    contents.iter().map(|content| digest(content)).collect()
}

/// Evicts the manifest `manifest`, ready to claim `reclaim`; returns what was claimed, or nothing when it stays.
async fn evict(
    world: &World,
    repository: &str,
    manifest: &str,
    reclaim: &[&str],
) -> Option<Vec<Claimed>> {
    evict_unit(
        world,
        repository,
        EvictUnit::Manifest(digest(manifest)),
        reclaim,
    )
    .await
}

async fn evict_unit(
    world: &World,
    repository: &str,
    unit: EvictUnit,
    reclaim: &[&str],
) -> Option<Vec<Claimed>> {
    let evict = Evict {
        repository: id(world, repository).await,
        unit,
        pulled_at: NOON,
        reclaim: digests(reclaim),
    };
    let outcomes = world.metadata.evict(vec![evict]).await.expect("evicts");
    let [outcome] = <[Evicted; 1]>::try_from(outcomes).expect("one outcome for one unit");
    match outcome {
        Evicted::Gone(claimed) => Some(claimed),
        Evicted::Kept => None,
    }
}

fn claimed(gone: Option<Vec<Claimed>>) -> BTreeSet<Digest> {
    let gone = gone.expect("it goes");
    gone.iter().map(|blob| blob.digest).collect()
}

pub(super) async fn an_evicted_image_is_gone_and_its_bytes_are_claimed(world: World) {
    image(&world, NGINX, "m", &["a", "b"]).await;
    let all = ["m", "a", "b"];
    assert_eq!(
        claimed(evict(&world, NGINX, "m", &all).await),
        digests(&all)
    );
    assert!(world.by_tag(NGINX, "v1").await.is_none());
    assert!(world.by_digest(NGINX, "m").await.is_none());
    for content in all {
        assert!(!world.gives(NGINX, content).await, "{content}");
        let place = world.metadata.find_place(&digest(content)).await;
        assert_eq!(place.expect("reads"), Place::Deleting);
    }
    assert!(
        evict(&world, NGINX, "m", &all).await.is_none(),
        "it is gone"
    );
    let ever = world.metadata.has_ever_mirrored(&name(NGINX)).await;
    assert!(
        ever.expect("reads"),
        "that it was mirrored is not forgotten"
    );
}

pub(super) async fn what_another_image_or_repository_names_is_not_claimed(world: World) {
    image(&world, NGINX, "m", &["base", "a"]).await;
    image(&world, NGINX, "n", &["base"]).await;
    image(&world, OTHER, "o", &["a"]).await;
    let gone = evict(&world, NGINX, "m", &["m", "base", "a"]).await;
    assert_eq!(claimed(gone), digests(&["m"]));
    assert!(world.gives(NGINX, "base").await && world.gives(OTHER, "a").await);
    assert!(
        !world.gives(NGINX, "a").await,
        "it is no member there any more"
    );
}

pub(super) async fn what_a_local_repository_holds_is_not_claimed(world: World) {
    image(&world, NGINX, "m", &["a"]).await;
    let mount = Mount {
        from: name(NGINX),
        to: name("local"),
        digest: digest("a"),
        by: "alice".into(),
        lease_micros: 0,
    };
    let mounted = world.metadata.mount_blob(mount).await.expect("mounts");
    assert!(matches!(mounted, MountOutcome::Mounted { .. }));
    let gone = evict(&world, NGINX, "m", &["m", "a"]).await;
    assert_eq!(claimed(gone), digests(&["m"]));
    assert!(world.gives("local", "a").await);
}

pub(super) async fn nothing_is_evicted_from_a_local_repository(world: World) {
    world.push(push("local", "m")).await;
    world.clock.advance(2 * HOUR);
    assert!(evict(&world, "local", "m", &["m"]).await.is_none());
    assert!(world.by_digest("local", "m").await.is_some());
}

pub(super) async fn a_lease_keeps_what_it_protects_until_it_ends(world: World) {
    image(&world, NGINX, "m", &["a"]).await;
    let leased = world
        .metadata
        .extend_lease(lease_of(NGINX, "a", HOUR))
        .await;
    assert!(leased.expect("extends"));
    assert!(evict(&world, NGINX, "m", &["m", "a"]).await.is_none());
    assert!(world.gives(NGINX, "a").await);
    world.clock.advance(HOUR);
    let gone = evict(&world, NGINX, "m", &["m", "a"]).await;
    assert_eq!(claimed(gone), digests(&["m", "a"]));
}

pub(super) async fn a_pull_since_the_choice_keeps_an_image(world: World) {
    for (image_name, by) in [("m", None), ("n", Some(tag("v1")))] {
        image(&world, NGINX, image_name, &[]).await;
        world.clock.advance(SECOND);
        let pull = Pull {
            repository: name(NGINX),
            digest: digest(image_name),
            tag: by,
            at: world.metadata.now(),
        };
        world
            .metadata
            .record_pulls(vec![pull])
            .await
            .expect("records");
        assert!(
            evict(&world, NGINX, image_name, &[image_name])
                .await
                .is_none()
        );
    }
}

pub(super) async fn a_blob_that_could_not_be_claimed_stays_a_member_so_that_it_is_found(
    world: World,
) {
    image(&world, NGINX, "m", &["a"]).await;
    let gone = evict(&world, NGINX, "m", &["m"]).await;
    assert_eq!(claimed(gone), digests(&["m"]));
    assert!(world.gives(NGINX, "a").await);
    let blobs = world.metadata.cached_blobs(None).await.expect("reads");
    assert_eq!(blobs.len(), 1);
    let gone = evict_unit(&world, NGINX, EvictUnit::Blob(digest("a")), &["a"]).await;
    assert_eq!(claimed(gone), digests(&["a"]));
}

pub(super) async fn claimed_blobs_are_listed_until_they_are_forgotten(world: World) {
    image(&world, NGINX, "m", &["a"]).await;
    let gone = evict(&world, NGINX, "m", &["m", "a"]).await.expect("goes");
    let left = world.metadata.claimed(None).await.expect("reads");
    assert_eq!(left.len(), 2);
    assert!(left.iter().all(|(_, taken_over)| !taken_over));
    let after = world.metadata.claimed(left.last().map(|(blob, _)| blob));
    assert!(after.await.expect("reads").is_empty());
    let ids = gone.iter().map(|blob| blob.id).collect();
    world.metadata.forget_claimed(ids).await.expect("forgets");
    assert!(
        world
            .metadata
            .claimed(None)
            .await
            .expect("reads")
            .is_empty()
    );
    let place = world.metadata.find_place(&digest("a")).await;
    assert_eq!(place.expect("reads"), Place::Free);
}

pub(super) async fn a_key_being_deleted_is_not_taken_again(world: World) {
    image(&world, NGINX, "m", &["a"]).await;
    evict(&world, NGINX, "m", &["m", "a"]).await.expect("goes");
    let same_key = world.metadata.commit_blob(mirrored_blob(NGINX, "a")).await;
    assert!(
        matches!(same_key, Err(Error::Unavailable { .. })),
        "{same_key:?}"
    );
    let other_key = CommitBlob {
        key: Some("new".into()),
        ..mirrored_blob(NGINX, "a")
    };
    world.commit(other_key).await;
    let left = world.metadata.claimed(None).await.expect("reads");
    assert!(left.iter().all(|(_, taken_over)| !taken_over));
    assert!(world.gives(NGINX, "a").await);
}

pub(super) async fn a_place_is_taken_while_a_row_in_any_state_has_its_bytes_there(world: World) {
    let taken = |key| {
        let metadata = world.metadata.clone();
        async move { metadata.is_place_taken(&digest("a"), key).await }
    };
    assert!(!taken(None).await.expect("reads"));
    image(&world, NGINX, "m", &["a"]).await;
    assert!(taken(None).await.expect("reads"));
    let other_key = taken(Some("other")).await;
    assert!(!other_key.expect("reads"), "a place is digest and key");
    let gone = evict(&world, NGINX, "m", &["a"]).await.expect("goes");
    assert!(taken(None).await.expect("reads"), "it is being deleted");
    let ids = gone.iter().map(|blob| blob.id).collect();
    world.metadata.forget_claimed(ids).await.expect("forgets");
    assert!(!taken(None).await.expect("reads"));
}
