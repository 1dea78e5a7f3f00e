//! Clauses about the moves of tags.

use oci::Digest;

use super::support::{World, digest, mirrored, name, push, tag};
use crate::clock::tests::{NOON, SECOND};
use crate::{
    Evict, EvictUnit, Evicted, GONE_KEPT, MOVES_KEPT, Origin, PushManifest, SetTag, TagMove,
};

async fn moves(world: &World, repository: &str, wanted: &str) -> Vec<TagMove> {
    let (repository, wanted) = (name(repository), tag(wanted));
    let found = world.metadata.tag_moves(&repository, &wanted, None, 100);
    found.await.expect("reads")
}

/// Returns from where to where, the latest first.
async fn ways(
    world: &World,
    repository: &str,
    wanted: &str,
) -> Vec<(Option<Digest>, Option<Digest>)> {
    let found = moves(world, repository, wanted).await;
    found.into_iter().map(|one| (one.from, one.to)).collect()
}

fn at(content: &str) -> Option<Digest> {
    Some(digest(content))
}

pub(super) async fn what_a_tag_was_is_forgotten_a_year_after_it_was_deleted(world: World) {
    for gone in ["one", "two", "three", "four"] {
        world.tagged("a", gone, "old").await;
        delete(&world, "a", gone).await;
        world.clock.advance(SECOND);
    }
    // One of them was made anew.
    world.tagged("a", "two", "new").await;
    world.clock.advance(GONE_KEPT);
    assert_eq!(moves(&world, "a", "one").await.len(), 2);
    // Two are forgotten with every deletion.
    world.tagged("a", "v1", "old").await;
    delete(&world, "a", "v1").await;
    assert_eq!(moves(&world, "a", "one").await, []);
    assert_eq!(ways(&world, "a", "two").await, [(None, at("new"))]);
    assert_eq!(moves(&world, "a", "three").await.len(), 2);
    assert_eq!(moves(&world, "a", "v1").await.len(), 2);
}

async fn delete(world: &World, repository: &str, gone: &str) {
    let (repository, gone) = (name(repository), tag(gone));
    let deleted = world.metadata.delete_tag(&repository, &gone, "somebody");
    assert!(deleted.await.expect("deletes"));
}

pub(super) async fn a_tag_keeps_its_moves_with_when_and_by_whom(world: World) {
    world.tagged("a", "v1", "old").await;
    world.clock.advance(SECOND);
    world
        .push(PushManifest {
            tags: vec![tag("v1")],
            by: "htpasswd:alice".into(),
            ..push("a", "new")
        })
        .await;
    world.clock.advance(SECOND);
    let (repository, wanted) = (name("a"), tag("v1"));
    let deleted = world
        .metadata
        .delete_tag(&repository, &wanted, "htpasswd:bob")
        .await;
    assert!(deleted.expect("deletes"));
    let found = moves(&world, "a", "v1").await;
    let told: Vec<_> = found
        .iter()
        .map(|one| (one.at, one.by.as_str(), one.from, one.to, one.origin))
        .collect();
    let expected = [
        (
            NOON + 2 * SECOND,
            "htpasswd:bob",
            at("new"),
            None,
            Origin::Pushed,
        ),
        (
            NOON + SECOND,
            "htpasswd:alice",
            at("old"),
            at("new"),
            Origin::Pushed,
        ),
        (NOON, "anonymous", None, at("old"), Origin::Pushed),
    ];
    assert_eq!(told, expected);
    assert_eq!(moves(&world, "a", "v2").await, []);
    assert_eq!(
        moves(&world, "b", "v1").await,
        [],
        "of this repository alone"
    );
}

pub(super) async fn a_tag_that_stays_where_it_is_has_not_moved(world: World) {
    world.tagged("a", "v1", "m").await;
    world.tagged("a", "v1", "m").await;
    let nothing = world
        .metadata
        .delete_tag(&name("a"), &tag("v2"), "htpasswd:bob")
        .await;
    assert!(!nothing.expect("answers"));
    assert_eq!(ways(&world, "a", "v1").await, [(None, at("m"))]);
    assert_eq!(ways(&world, "a", "v2").await, []);
}

pub(super) async fn a_deleted_manifest_moves_every_tag_it_had(world: World) {
    world.tagged("a", "v1", "m").await;
    world.tagged("a", "v2", "m").await;
    world.tagged("a", "v3", "other").await;
    let deleted = world
        .metadata
        .delete_manifest(&name("a"), &digest("m"), "htpasswd:bob")
        .await;
    assert!(deleted.expect("deletes"));
    for wanted in ["v1", "v2"] {
        let found = moves(&world, "a", wanted).await;
        assert_eq!((found[0].from, found[0].to), (at("m"), None), "{wanted}");
        assert_eq!(found[0].by, "htpasswd:bob");
    }
    assert_eq!(ways(&world, "a", "v3").await, [(None, at("other"))]);
    world.tagged("a", "v1", "m").await;
    let back = [(None, at("m")), (at("m"), None), (None, at("m"))];
    assert_eq!(ways(&world, "a", "v1").await, back);
}

pub(super) async fn a_refused_push_moves_nothing(world: World) {
    world.tagged("a", "v1", "m").await;
    let refused = PushManifest {
        tags: vec![tag("v1")],
        references: super::support::references(oci::ReferenceKind::Layer, &["absent"]),
        ..push("a", "new")
    };
    let refused = world.metadata.push_manifest(refused).await;
    refused.expect("answers");
    assert_eq!(ways(&world, "a", "v1").await, [(None, at("m"))]);
}

pub(super) async fn a_mirrored_tag_moves_when_its_upstream_moves_it_and_not_when_it_is_evicted(
    world: World,
) {
    let wanted = tag("v1");
    let fetched = |content: &str| PushManifest {
        tags: vec![tag("v1")],
        by: "system:mirror".into(),
        lease_micros: 0,
        ..mirrored("a", content)
    };
    world.push(fetched("old")).await;
    let repository = world.metadata.repository(&name("a")).await.expect("reads");
    let evict = Evict {
        repository: repository.expect("is there").id,
        unit: EvictUnit::Manifest(digest("old")),
        pulled_at: NOON,
        reclaim: [digest("old")].into(),
    };
    let evicted = world.metadata.evict(vec![evict]).await.expect("evicts");
    let Evicted::Gone(claimed) = &evicted[0] else {
        panic!("nobody needs it");
    };
    let ids = claimed.iter().map(|blob| blob.id).collect();
    let forgotten = world.metadata.forget_claimed(ids).await;
    forgotten.expect("forgets");
    world.push(fetched("old")).await;
    assert_eq!(ways(&world, "a", "v1").await, [(None, at("old"))]);

    let evicted = world.metadata.evict_tag(&name("a"), &wanted).await;
    assert!(evicted.expect("evicts"));
    world.push(fetched("new")).await;
    let set = SetTag {
        repository: name("a"),
        tag: wanted.clone(),
        digest: digest("new"),
        by: "system:mirror".into(),
        origin: Origin::Mirrored,
        checked_at: 7,
    };
    assert!(world.metadata.set_tag(set).await.expect("sets"));
    let expected = [(at("old"), at("new")), (None, at("old"))];
    assert_eq!(ways(&world, "a", "v1").await, expected);

    let gone = world
        .metadata
        .delete_tag(&name("a"), &wanted, "system:mirror")
        .await;
    assert!(gone.expect("deletes"));
    world.push(fetched("new")).await;
    let latest = ways(&world, "a", "v1").await;
    assert_eq!(latest[..2], [(None, at("new")), (at("new"), None)]);
    assert_eq!(
        moves(&world, "a", "v1").await[0].origin,
        Origin::Mirrored,
        "how it came"
    );
}

pub(super) async fn moves_are_paged_from_the_latest_and_found_by_digest(world: World) {
    for content in ["one", "two", "three", "one"] {
        world.tagged("a", "v1", content).await;
    }
    let (repository, wanted) = (name("a"), tag("v1"));
    let page = async |before| {
        let page = world.metadata.tag_moves(&repository, &wanted, before, 3);
        page.await.expect("reads")
    };
    let first = page(None).await;
    assert_eq!(first.len(), 3);
    let rest = page(Some(first[2].id)).await;
    assert_eq!(rest.len(), 1);
    assert_eq!((rest[0].from, rest[0].to), (None, at("one")));
    let last = async |content: &str| {
        let digest = digest(content);
        let found = world.metadata.last_move_of(&repository, &wanted, &digest);
        found.await.expect("reads")
    };
    assert_eq!(last("one").await.as_ref(), Some(&first[0]));
    assert_eq!(
        last("two").await.as_ref(),
        Some(&first[1]),
        "the one that left it"
    );
    assert_eq!(last("four").await, None);
}

pub(super) async fn the_newest_moves_of_a_tag_are_kept_and_its_neighbours_are_not_touched(
    world: World,
) {
    world.tagged("a", "quiet", "one").await;
    world.push(push("a", "two")).await;
    let contents = ["one", "two"];
    let set = |content: &str| SetTag {
        repository: name("a"),
        tag: tag("busy"),
        digest: digest(content),
        by: "anonymous".into(),
        origin: Origin::Pushed,
        checked_at: 0,
    };
    for turn in 0..MOVES_KEPT + 5 {
        let set = world.metadata.set_tag(set(contents[turn as usize % 2]));
        assert!(set.await.expect("sets"));
    }
    let (repository, busy) = (name("a"), tag("busy"));
    let all = world.metadata.tag_moves(&repository, &busy, None, u64::MAX);
    let all = all.await.expect("reads");
    assert_eq!(all.len() as u64, MOVES_KEPT);
    assert_eq!(
        all.last().expect("many").from,
        at("one"),
        "the oldest are forgotten"
    );
    assert_eq!(ways(&world, "a", "quiet").await, [(None, at("one"))]);
}
