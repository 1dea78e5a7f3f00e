//! Clauses about leases: whoever is told that a blob exists can rely on it for a while.

use oci::ReferenceKind;

use super::support::{World, commit, digest, lease_of, name, push, references};
use crate::clock::tests::{HOUR, NOON, SECOND};
use crate::{CommitBlob, Origin, PushManifest};

async fn lease(world: &World, content: &str) -> i64 {
    let found = world
        .metadata
        .find_blob_anywhere(&digest(content))
        .await
        .expect("reads");
    found.expect("the blob is here").lease_until
}

pub(super) async fn a_lease_is_written_only_when_less_than_half_remains(world: World) {
    world.commit(commit("a", "blob")).await;
    world.clock.advance(HOUR / 2);
    assert!(
        world
            .metadata
            .extend_lease(lease_of("a", "blob", HOUR))
            .await
            .expect("answers")
    );
    assert_eq!(
        lease(&world, "blob").await,
        NOON + HOUR,
        "exactly half remains"
    );
    world.clock.advance(SECOND);
    assert!(
        world
            .metadata
            .extend_lease(lease_of("a", "blob", HOUR))
            .await
            .expect("answers")
    );
    assert_eq!(lease(&world, "blob").await, NOON + HOUR / 2 + SECOND + HOUR);
}

pub(super) async fn a_lease_on_what_does_not_exist_is_refused(world: World) {
    assert!(
        !world
            .metadata
            .extend_lease(lease_of("a", "blob", HOUR))
            .await
            .expect("answers")
    );
    world.commit(commit("a", "blob")).await;
    world.claim("blob").await;
    assert!(
        !world
            .metadata
            .extend_lease(lease_of("a", "blob", HOUR))
            .await
            .expect("answers")
    );
}

pub(super) async fn a_lease_is_never_shortened(world: World) {
    world.commit(commit("a", "blob")).await;
    world
        .commit(CommitBlob {
            lease_micros: SECOND,
            ..commit("b", "blob")
        })
        .await;
    assert!(
        world
            .metadata
            .extend_lease(lease_of("b", "blob", SECOND))
            .await
            .expect("answers")
    );
    let (repository, blob) = (name("b"), digest("blob"));
    let linked = world
        .metadata
        .link_blob(&repository, &blob, "x", Origin::Mirrored)
        .await;
    assert!(linked.expect("answers"));
    assert_eq!(lease(&world, "blob").await, NOON + HOUR);
}

pub(super) async fn a_push_extends_the_lease_of_the_manifest_and_all_it_names(world: World) {
    world.commit(commit("a", "config")).await;
    world.commit(commit("a", "layer")).await;
    world.push(push("a", "child")).await;
    world.clock.advance(SECOND);
    let mut named = references(ReferenceKind::Layer, &["config", "layer"]);
    named.extend(references(ReferenceKind::Child, &["child"]));
    named[2].position = 2;
    world
        .push(PushManifest {
            references: named,
            ..push("a", "m")
        })
        .await;
    for content in ["config", "layer", "child", "m"] {
        assert_eq!(
            lease(&world, content).await,
            NOON + SECOND + HOUR,
            "{content}"
        );
    }
}

pub(super) async fn leases_end_no_earlier_when_the_wall_clock_jumps(world: World) {
    world.commit(commit("a", "blob")).await;
    world.clock.set_wall(NOON + 100 * HOUR);
    assert!(world.metadata.now() < lease(&world, "blob").await);
    world.clock.set_wall(0);
    assert!(world.metadata.now() < lease(&world, "blob").await);
    world.clock.advance(2 * HOUR);
    assert!(
        world.metadata.now() >= lease(&world, "blob").await,
        "time goes on all the same"
    );
}
