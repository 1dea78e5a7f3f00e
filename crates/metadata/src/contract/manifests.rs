//! Clauses about finding and deleting manifests.

use oci::ReferenceKind;

use super::support::{World, commit, digest, mirrored, name, push, references, tag};
use crate::clock::tests::{HOUR, NOON, SECOND};
use crate::{ManifestRow, PushManifest, RepositoryKind, TagRow};

pub(super) async fn a_manifest_is_found_by_its_tags_and_its_digest(world: World) {
    let image = PushManifest {
        tags: vec![tag("v1"), tag("latest")],
        subject: Some(digest("subject")),
        key: Some("k1".into()),
        checked_at: 7,
        ..push("a", "m")
    };
    world.push(image).await;
    let row = ManifestRow {
        digest: digest("m"),
        media_type: "application/vnd.oci.image.manifest.v1+json".into(),
        size: 1,
        key: Some("k1".into()),
        lease_until: NOON + HOUR,
        subject: Some(digest("subject")),
        tag: Some(TagRow {
            checked_at: 7,
            updated_at: NOON,
        }),
        repository_kind: RepositoryKind::Local,
    };
    assert_eq!(world.by_tag("a", "v1").await, Some(row.clone()));
    assert_eq!(world.by_tag("a", "latest").await, Some(row.clone()));
    assert_eq!(
        world.by_digest("a", "m").await,
        Some(ManifestRow { tag: None, ..row })
    );
    assert_eq!(world.by_tag("a", "v2").await, None);
    assert_eq!(world.by_tag("a", "V1").await, None, "tags differ by case");
}

pub(super) async fn a_manifest_is_found_only_in_its_repository(world: World) {
    world.tagged("a", "v1", "m").await;
    world.push(push("b", "other")).await;
    assert_eq!(
        world.by_digest("b", "m").await,
        None,
        "knowing a digest gives nothing"
    );
    assert_eq!(world.by_tag("b", "v1").await, None);
    assert_eq!(world.by_digest("unknown", "m").await, None);
}

pub(super) async fn a_manifest_being_deleted_is_not_found(world: World) {
    world.tagged("a", "v1", "m").await;
    world.claim("m").await;
    assert_eq!(world.by_digest("a", "m").await, None);
    assert_eq!(world.by_tag("a", "v1").await, None);
}

pub(super) async fn a_push_moves_its_tags(world: World) {
    world
        .push(PushManifest {
            tags: vec![tag("v1"), tag("v2")],
            ..push("a", "old")
        })
        .await;
    world.clock.advance(SECOND);
    world.tagged("a", "v2", "new").await;
    let moved = world.by_tag("a", "v2").await.expect("is tagged");
    assert_eq!(moved.digest, digest("new"));
    assert_eq!(moved.tag.expect("asked by tag").updated_at, NOON + SECOND);
    assert_eq!(
        world.by_tag("a", "v1").await.expect("is tagged").digest,
        digest("old")
    );
    assert!(world.by_digest("a", "old").await.is_some());
}

pub(super) async fn deleting_a_manifest_deletes_its_tags_and_nothing_else(world: World) {
    world.commit(commit("a", "layer")).await;
    let named = references(ReferenceKind::Layer, &["layer"]);
    let tags = vec![tag("v1"), tag("latest")];
    world
        .push(PushManifest {
            references: named,
            tags,
            ..push("a", "m")
        })
        .await;
    world.tagged("a", "v2", "other").await;
    world.tagged("b", "v1", "m").await;
    assert!(
        world
            .metadata
            .delete_manifest(&name("a"), &digest("m"), "alice")
            .await
            .expect("deletes")
    );
    assert_eq!(world.by_digest("a", "m").await, None);
    let left = world
        .metadata
        .tags(&name("a"), None, None)
        .await
        .expect("reads");
    assert_eq!(left, Some(vec!["v2".to_owned()]));
    assert!(world.gives("a", "layer").await);
    assert!(
        world.by_tag("b", "v1").await.is_some(),
        "another repository is not touched"
    );
    assert!(
        !world
            .metadata
            .delete_manifest(&name("a"), &digest("m"), "alice")
            .await
            .expect("answers")
    );
    let unknown = world
        .metadata
        .delete_manifest(&name("unknown"), &digest("m"), "alice")
        .await;
    assert!(!unknown.expect("answers"));
}

pub(super) async fn a_deleted_and_repushed_manifest_is_back_without_its_tags(world: World) {
    world.tagged("a", "v1", "m").await;
    world
        .metadata
        .delete_manifest(&name("a"), &digest("m"), "alice")
        .await
        .expect("deletes");
    world.push(push("a", "m")).await;
    assert!(world.by_digest("a", "m").await.is_some());
    assert_eq!(world.by_tag("a", "v1").await, None);
}

pub(super) async fn deleting_the_last_manifest_takes_the_repository_out_of_the_lists(world: World) {
    world.tagged("a", "v1", "m").await;
    world
        .metadata
        .delete_manifest(&name("a"), &digest("m"), "alice")
        .await
        .expect("deletes");
    let row = world
        .metadata
        .repository(&name("a"))
        .await
        .expect("reads")
        .expect("remains");
    assert!(!row.has_manifests);
    assert_eq!(
        world
            .metadata
            .tags(&name("a"), None, None)
            .await
            .expect("reads"),
        None
    );
}

pub(super) async fn whether_a_repository_was_ever_mirrored_is_told_by_its_manifests(world: World) {
    world.push(push("local", "m")).await;
    world.push(mirrored("mirror", "m")).await;
    for (repository, expected) in [("local", false), ("mirror", true), ("unknown", false)] {
        let told = world
            .metadata
            .has_ever_mirrored(&name(repository))
            .await
            .expect("reads");
        assert_eq!(told, expected, "{repository}");
    }
}
