//! Clauses about the process that owns the database: after one that did not end in order, content that a local repository
//! ever held is kept for a while, and nothing else is.

use std::collections::BTreeSet;

use super::collecting::{AT_ONCE, collected};
use super::support::{World, commit, digest, mirror, name};
use crate::clock::tests::{HOUR, NOON};
use crate::{Certainty, CommitBlob, Evict, EvictUnit, Evicted, Origin, upkeep};

const NGINX: &str = "docker.io/library/nginx";

/// Begins as the owner of the database does, for a lease of an hour.
async fn begin(world: &World) {
    let begun = world.metadata.write(HOUR, |tx, lease| {
        Box::pin(async move {
            let hold_until = tx.now().saturating_add(*lease);
            tx.execute(upkeep::BEGIN, &[hold_until.into()]).await
        })
    });
    assert_eq!(begun.await.expect("begins"), 1);
}

async fn end(world: &World) {
    let ended = world.metadata.write((), |tx, ()| {
        Box::pin(async move { tx.execute(upkeep::END, &[]).await })
    });
    assert_eq!(ended.await.expect("ends"), 1);
}

async fn held_until(world: &World) -> i64 {
    world.metadata.upkeep().await.expect("reads").hold_until
}

fn mirrored_blob(content: &str) -> CommitBlob {
    CommitBlob {
        kind: mirror(),
        origin: Origin::Mirrored,
        lease_micros: 0,
        ..commit(NGINX, content)
    }
}

/// Evicts a mirrored blob; returns whether it was claimed.
async fn evicted(world: &World, content: &str) -> bool {
    let found = world.metadata.repository(&name(NGINX)).await;
    let evict = Evict {
        repository: found.expect("reads").expect("it is there").id,
        unit: EvictUnit::Blob(digest(content)),
        pulled_at: i64::MAX,
        reclaim: BTreeSet::from([digest(content)]),
    };
    let evicted = world.metadata.evict(vec![evict]).await.expect("evicts");
    match &evicted[..] {
        [Evicted::Gone(claimed)] => !claimed.is_empty(),
        other => panic!("it goes from its repository: {other:?}"),
    }
}

fn local_blob(content: &str) -> CommitBlob {
    CommitBlob {
        lease_micros: 0,
        ..commit("a", content)
    }
}

pub(super) async fn after_an_end_in_order_nothing_is_held_back(world: World) {
    begin(&world).await;
    world.commit(local_blob("blob")).await;
    end(&world).await;
    begin(&world).await;
    assert!(held_until(&world).await <= world.metadata.now());
    let gone = collected(&world, AT_ONCE).await;
    assert_eq!(gone, BTreeSet::from([digest("blob")]));
}

pub(super) async fn after_another_end_local_content_is_held_back_for_one_lease(world: World) {
    begin(&world).await;
    world.commit(local_blob("blob")).await;
    begin(&world).await;
    assert_eq!(held_until(&world).await, NOON + HOUR);
    assert!(collected(&world, AT_ONCE).await.is_empty());
    assert!(
        world.gives("a", "blob").await,
        "not even its membership goes"
    );
    world.clock.advance(HOUR);
    let gone = collected(&world, AT_ONCE).await;
    assert_eq!(gone, BTreeSet::from([digest("blob")]));
}

pub(super) async fn a_second_end_of_that_kind_begins_the_time_again_and_never_shortens_it(
    world: World,
) {
    begin(&world).await;
    begin(&world).await;
    world.clock.advance(HOUR / 2);
    end(&world).await;
    begin(&world).await;
    assert_eq!(held_until(&world).await, NOON + HOUR);
    begin(&world).await;
    assert_eq!(held_until(&world).await, NOON + HOUR / 2 + HOUR);
}

pub(super) async fn what_was_only_ever_mirrored_goes_on_being_evicted(world: World) {
    begin(&world).await;
    for content in ["cached", "shared"] {
        world.commit(mirrored_blob(content)).await;
    }
    world.commit(local_blob("shared")).await;
    begin(&world).await;
    assert!(evicted(&world, "cached").await);
    let (a, shared) = (name("a"), digest("shared"));
    let unlinked = world.metadata.unlink_blob(&a, &shared).await;
    assert!(unlinked.expect("unlinks"));
    assert!(!evicted(&world, "shared").await, "it was pushed here once");
    assert!(collected(&world, AT_ONCE).await.is_empty());
    world.clock.advance(HOUR);
    let gone = collected(&world, AT_ONCE).await;
    assert_eq!(gone, BTreeSet::from([digest("shared")]));
}

pub(super) async fn while_an_import_is_under_way_nothing_goes(world: World) {
    world.commit(local_blob("pushed")).await;
    world.commit(mirrored_blob("cached")).await;
    let metadata = &world.metadata;
    metadata.begin_import().await.expect("begins");
    assert!(metadata.upkeep().await.expect("reads").importing);
    assert!(collected(&world, AT_ONCE).await.is_empty());
    assert!(world.gives("a", "pushed").await);
    assert!(!evicted(&world, "cached").await, "its bytes stay");
    let ended = metadata.end_import("{}".to_owned(), Certainty::Certain);
    ended.await.expect("ends");
    assert!(!metadata.upkeep().await.expect("reads").importing);
    let gone = collected(&world, AT_ONCE).await;
    assert_eq!(
        gone,
        BTreeSet::from([digest("pushed"), digest("cached")]),
        "nothing was forgotten meanwhile"
    );
}

pub(super) async fn a_pause_and_a_report_are_kept(world: World) {
    let before = world.metadata.upkeep().await.expect("reads");
    assert!(!before.paused && before.report.is_none());
    let metadata = &world.metadata;
    metadata.pause_collector(true).await.expect("writes");
    let report = r#"{"blobs":3}"#.to_owned();
    let stored = metadata.store_collector_report(report.clone());
    stored.await.expect("writes");
    let after = metadata.upkeep().await.expect("reads");
    assert!(after.paused);
    assert_eq!(after.report, Some(report));
    metadata.pause_collector(false).await.expect("writes");
    assert!(!metadata.upkeep().await.expect("reads").paused);
}
