//! Clauses about mirrored repositories: what their manifests name can be reached before it is a member.

use oci::ReferenceKind;

use super::support::{World, commit, digest, mirror, mirrored, name, push, references};
use crate::{CommitBlob, Origin, PushManifest, ReferenceCheck};

const MIRROR: &str = "docker.io/library/nginx";

pub(super) async fn a_mirror_reaches_what_its_manifests_name_without_being_a_member(world: World) {
    world.commit(commit("local", "layer")).await;
    assert!(!world.gives(MIRROR, "layer").await);
    let named = references(ReferenceKind::Layer, &["layer", "not fetched"]);
    world
        .push(PushManifest {
            references: named,
            ..mirrored(MIRROR, "m")
        })
        .await;
    for (content, expected) in [
        ("layer", Some(false)),
        ("m", Some(false)),
        ("not fetched", None),
    ] {
        let found = world
            .metadata
            .blob(&name(MIRROR), &digest(content))
            .await
            .expect("reads");
        assert_eq!(found.map(|row| row.member), expected, "{content}");
    }
    let elsewhere = "docker.io/library/other";
    world.push(mirrored(elsewhere, "other")).await;
    assert!(
        !world.gives(elsewhere, "layer").await,
        "another mirrored repository does not"
    );
}

pub(super) async fn a_local_repository_reaches_members_only(world: World) {
    world.commit(commit("a", "layer")).await;
    let named = references(ReferenceKind::Layer, &["layer"]);
    let check = ReferenceCheck::Skip;
    world
        .push(PushManifest {
            references: named,
            check,
            ..push("b", "m")
        })
        .await;
    assert!(!world.gives("b", "layer").await);
}

pub(super) async fn a_blob_becomes_a_member_once_linked(world: World) {
    world.commit(commit("local", "layer")).await;
    world.push(mirrored(MIRROR, "m")).await;
    let link = async |repository: &str, content: &str| {
        let (repository, content) = (name(repository), digest(content));
        let linked =
            world
                .metadata
                .link_blob(&repository, &content, "system:mirror", Origin::Mirrored);
        linked.await.expect("answers")
    };
    assert!(!link("unknown", "layer").await);
    assert!(!link(MIRROR, "absent").await);
    assert!(link(MIRROR, "layer").await);
    assert!(link(MIRROR, "layer").await, "twice does no harm");
    let found = world
        .metadata
        .blob(&name(MIRROR), &digest("layer"))
        .await
        .expect("reads");
    assert!(found.expect("is linked").member);
}

pub(super) async fn a_fetched_blob_is_a_member_of_its_mirror(world: World) {
    let fetched = CommitBlob {
        kind: mirror(),
        origin: Origin::Mirrored,
        lease_micros: 0,
        ..commit(MIRROR, "layer")
    };
    world.commit(fetched).await;
    let found = world
        .metadata
        .blob(&name(MIRROR), &digest("layer"))
        .await
        .expect("reads");
    assert!(found.expect("is stored").member);
    assert!(!world.gives("docker.io/library/other", "layer").await);
}
