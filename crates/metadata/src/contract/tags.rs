//! Clauses about tags.

use super::support::{World, digest, mirrored, name, push, tag};
use crate::clock::tests::{NOON, SECOND};
use crate::{Origin, PushManifest, SetTag, TagRow};

async fn list(world: &World, after: Option<&str>, limit: Option<u64>) -> Vec<String> {
    let tags = world
        .metadata
        .tags(&name("a"), after, limit)
        .await
        .expect("reads");
    tags.expect("the repository has manifests")
}

pub(super) async fn tags_are_listed_bytewise_and_paged_by_name(world: World) {
    for text in ["b", "a", "B", "1.10", "1.9", "_x", "a.b", "a-b"] {
        world.tagged("a", text, "m").await;
    }
    world.tagged("other", "zzz", "m").await;
    let all = ["1.10", "1.9", "B", "_x", "a", "a-b", "a.b", "b"];
    assert_eq!(list(&world, None, None).await, all);
    assert_eq!(list(&world, None, Some(3)).await, all[..3]);
    assert_eq!(list(&world, Some("B"), Some(3)).await, all[3..6]);
    assert_eq!(
        list(&world, Some("2"), Some(1)).await,
        ["B"],
        "the tag need not exist"
    );
    assert_eq!(list(&world, Some("b"), None).await, Vec::<String>::new());
    assert_eq!(list(&world, None, Some(0)).await, Vec::<String>::new());
}

pub(super) async fn the_tags_of_an_unknown_repository_are_not_an_empty_list(world: World) {
    world.push(push("a", "m")).await;
    assert_eq!(list(&world, None, None).await, Vec::<String>::new());
    let unknown = world.metadata.tags(&name("unknown"), None, None).await;
    assert_eq!(unknown.expect("reads"), None);
}

pub(super) async fn a_tag_is_deleted_without_its_manifest(world: World) {
    world.tagged("a", "v1", "m").await;
    world.tagged("b", "v1", "m").await;
    assert!(
        world
            .metadata
            .delete_tag(&name("a"), &tag("v1"), "alice")
            .await
            .expect("deletes")
    );
    assert!(
        !world
            .metadata
            .delete_tag(&name("a"), &tag("v1"), "alice")
            .await
            .expect("answers")
    );
    assert!(
        !world
            .metadata
            .delete_tag(&name("c"), &tag("v1"), "alice")
            .await
            .expect("answers")
    );
    assert_eq!(world.by_tag("a", "v1").await, None);
    assert!(world.by_digest("a", "m").await.is_some());
    assert!(world.by_tag("b", "v1").await.is_some());
}

fn set(repository: &str, content: &str) -> SetTag {
    SetTag {
        repository: name(repository),
        tag: tag("latest"),
        digest: digest(content),
        by: "system:mirror".into(),
        origin: Origin::Mirrored,
        checked_at: 42,
    }
}

pub(super) async fn a_tag_is_set_only_to_a_manifest_of_its_repository(world: World) {
    world.push(mirrored("a", "m")).await;
    world.push(mirrored("b", "other")).await;
    assert!(world.metadata.set_tag(set("a", "m")).await.expect("sets"));
    assert!(
        !world
            .metadata
            .set_tag(set("a", "other"))
            .await
            .expect("answers")
    );
    assert!(
        !world
            .metadata
            .set_tag(set("unknown", "m"))
            .await
            .expect("answers")
    );
    let found = world.by_tag("a", "latest").await.expect("is set");
    assert_eq!(found.digest, digest("m"));
    assert_eq!(
        found.tag,
        Some(TagRow {
            checked_at: 42,
            updated_at: NOON
        })
    );
}

pub(super) async fn a_tag_is_confirmed_only_while_it_points_there(world: World) {
    world.push(mirrored("a", "new")).await;
    let tags = vec![tag("latest")];
    world
        .push(PushManifest {
            tags,
            ..mirrored("a", "old")
        })
        .await;
    world.clock.advance(SECOND);
    let touch = async |content: &str| {
        let touched = world
            .metadata
            .touch_tag(&name("a"), &tag("latest"), &digest(content))
            .await;
        touched.expect("answers")
    };
    assert!(touch("old").await);
    let row = world.by_tag("a", "latest").await.expect("is set").tag;
    assert_eq!(
        row,
        Some(TagRow {
            checked_at: NOON + SECOND,
            updated_at: NOON
        })
    );
    assert!(world.metadata.set_tag(set("a", "new")).await.expect("sets"));
    assert!(!touch("old").await);
    let row = world.by_tag("a", "latest").await.expect("is set").tag;
    assert_eq!(row.expect("asked by tag").checked_at, 42);
}
