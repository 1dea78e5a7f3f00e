//! Clauses about pushing manifests: what is checked and what a refusal leaves, which is nothing.

use oci::ReferenceKind;

use super::support::{World, commit, digest, mirrored, name, push, references};
use crate::{PushManifest, PushOutcome, Ref};

async fn outcome(world: &World, push: PushManifest) -> PushOutcome {
    world.metadata.push_manifest(push).await.expect("answers")
}

pub(super) async fn references_must_be_in_the_same_repository(world: World) {
    world.commit(commit("a", "layer")).await;
    world.commit(commit("b", "config")).await;
    let named = references(ReferenceKind::Layer, &["config", "layer"]);
    let image = |repository| PushManifest {
        references: named.clone(),
        ..push(repository, "m")
    };
    let config = PushOutcome::MissingReferences {
        first: vec![digest("config")],
        total: 1,
    };
    let layer = PushOutcome::MissingReferences {
        first: vec![digest("layer")],
        total: 1,
    };
    assert_eq!(outcome(&world, image("a")).await, config);
    assert_eq!(outcome(&world, image("b")).await, layer);
    world.commit(commit("a", "config")).await;
    assert_eq!(outcome(&world, image("a")).await, PushOutcome::Stored);
}

pub(super) async fn missing_references_are_counted_once_and_the_first_are_named(world: World) {
    world.commit(commit("a", "here")).await;
    let contents = ["z", "here", "y", "x", "z", "w", "v", "u", "t"];
    let named = references(ReferenceKind::Layer, &contents);
    let refused = outcome(
        &world,
        PushManifest {
            references: named,
            ..push("a", "m")
        },
    )
    .await;
    let first = ["z", "y", "x", "w", "v"].map(digest).to_vec();
    assert_eq!(refused, PushOutcome::MissingReferences { first, total: 7 });
}

pub(super) async fn a_refused_push_leaves_nothing(world: World) {
    let named = references(ReferenceKind::Config, &["absent"]);
    let refused = outcome(
        &world,
        PushManifest {
            references: named,
            ..push("new", "m")
        },
    )
    .await;
    assert!(matches!(
        refused,
        PushOutcome::MissingReferences { total: 1, .. }
    ));
    assert_eq!(
        world
            .metadata
            .repository(&name("new"))
            .await
            .expect("reads"),
        None
    );
    let bytes = world.metadata.find_blob_anywhere(&digest("m")).await;
    assert_eq!(bytes.expect("reads"), None);
}

pub(super) async fn a_wrong_size_is_named_with_both_numbers(world: World) {
    world.commit(commit("a", "layer")).await;
    let mut named = references(ReferenceKind::Layer, &["layer"]);
    for stated in [4, u64::MAX] {
        named[0].size = stated;
        let image = PushManifest {
            references: named.clone(),
            ..push("a", "m")
        };
        let wrong = PushOutcome::SizeMismatch {
            digest: digest("layer"),
            stated,
            actual: 5,
        };
        assert_eq!(outcome(&world, image).await, wrong);
    }
    named.extend(references(ReferenceKind::Layer, &["layer", "absent"]).pop());
    let both = PushManifest {
        references: named,
        ..push("a", "m")
    };
    let missing = PushOutcome::MissingReferences {
        first: vec![digest("absent")],
        total: 1,
    };
    assert_eq!(
        outcome(&world, both).await,
        missing,
        "what is missing is told first"
    );
    assert_eq!(world.by_digest("a", "m").await, None);
}

pub(super) async fn a_foreign_reference_need_not_be_here(world: World) {
    let foreign = |reference: Ref| Ref {
        foreign: true,
        ..reference
    };
    let named = references(ReferenceKind::Layer, &["elsewhere"])
        .into_iter()
        .map(foreign);
    let image = PushManifest {
        references: named.collect(),
        ..push("a", "m")
    };
    assert_eq!(outcome(&world, image).await, PushOutcome::Stored);
}

pub(super) async fn a_child_must_be_a_manifest_and_a_manifest_may_be_a_layer(world: World) {
    world.commit(commit("a", "blob")).await;
    world.push(push("a", "child")).await;
    world.push(push("b", "stranger")).await;
    let index = |content: &str| PushManifest {
        references: references(ReferenceKind::Child, &[content]),
        ..push("a", &format!("index of {content}"))
    };
    for content in ["blob", "stranger"] {
        let missing = PushOutcome::MissingReferences {
            first: vec![digest(content)],
            total: 1,
        };
        assert_eq!(outcome(&world, index(content)).await, missing);
    }
    assert_eq!(outcome(&world, index("child")).await, PushOutcome::Stored);
    let named = references(ReferenceKind::Layer, &["child"]);
    let layered = PushManifest {
        references: named,
        ..push("a", "layered")
    };
    assert_eq!(outcome(&world, layered).await, PushOutcome::Stored);
}

pub(super) async fn a_reference_being_deleted_is_missing(world: World) {
    world.commit(commit("a", "layer")).await;
    world.claim("layer").await;
    let named = references(ReferenceKind::Layer, &["layer"]);
    let refused = outcome(
        &world,
        PushManifest {
            references: named,
            ..push("a", "m")
        },
    )
    .await;
    assert!(matches!(
        refused,
        PushOutcome::MissingReferences { total: 1, .. }
    ));
}

pub(super) async fn a_mirror_stores_what_it_has_not_fetched_the_parts_of(world: World) {
    let named = references(ReferenceKind::Child, &["amd64", "arm64"]);
    let sparse = PushManifest {
        references: named,
        ..mirrored("docker.io/a", "index")
    };
    assert_eq!(outcome(&world, sparse).await, PushOutcome::Stored);
    assert!(world.by_digest("docker.io/a", "index").await.is_some());
    assert_eq!(world.by_digest("docker.io/a", "amd64").await, None);
}

pub(super) async fn pushing_the_same_manifest_again_changes_nothing_but_its_lease(world: World) {
    world.commit(commit("a", "layer")).await;
    let named = references(ReferenceKind::Layer, &["layer"]);
    let image = PushManifest {
        references: named,
        ..push("a", "m")
    };
    assert_eq!(outcome(&world, image.clone()).await, PushOutcome::Stored);
    let first = world.by_digest("a", "m").await.expect("is stored");
    world.clock.advance(10);
    assert_eq!(outcome(&world, image).await, PushOutcome::Stored);
    let second = world.by_digest("a", "m").await.expect("is stored");
    assert_eq!(second.lease_until, first.lease_until + 10);
    assert_eq!(
        crate::ManifestRow {
            lease_until: first.lease_until,
            ..second
        },
        first
    );
}
