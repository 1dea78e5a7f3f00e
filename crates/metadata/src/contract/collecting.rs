//! Clauses about what is collected: every event that may leave something without a holder makes it a candidate, a review
//! keeps what anything still holds, and what goes makes candidates of what it held.

use std::collections::BTreeSet;

use oci::{Digest, ReferenceKind};

use super::support::{
    World, commit, digest, lease_of, mirror, mirrored, name, push, references, tag,
};
use crate::clock::tests::{HOUR, NOON, SECOND};
use crate::{
    Candidate, Claimed, CommitBlob, Due, Evict, EvictUnit, Evicted, ExtendLease, Half,
    HeldRepositories, LeaseOf, Mount, MountOutcome, Origin, Place, PushManifest, Review, SetTag,
    Standing, Verdict,
};

const DAY: i64 = 24 * HOUR;

/// How to collect.
#[derive(Clone, Copy)]
pub(super) struct How {
    pub(super) grace: i64,
    pub(super) delete_untagged: bool,
}

/// What is due at once, and untagged manifests stay.
pub(super) const AT_ONCE: How = How {
    grace: 0,
    delete_untagged: false,
};

/// The same, and untagged manifests go.
pub(super) const UNTAGGED: How = How {
    grace: 0,
    delete_untagged: true,
};

/// Collects as a run does, but for the files; returns what was claimed, and the verdicts other than that nothing was due.
pub(super) async fn collect(world: &World, how: How) -> (Vec<Claimed>, Vec<(Candidate, Verdict)>) {
    let (mut claimed, mut verdicts) = (Vec::new(), Vec::new());
    for half in [Half::Waiting, Half::Parked] {
        if half == Half::Parked && !how.delete_untagged {
            break;
        }
        let due = Due {
            grace_micros: how.grace,
            half,
        };
        let mut last = None;
        loop {
            let page = world.metadata.due_candidates(due, last.as_ref()).await;
            let mut waiting = page.expect("reads");
            let Some(end) = waiting.last() else { break };
            last = Some(*end);
            while !waiting.is_empty() {
                let candidates = waiting.split_off(waiting.len().saturating_sub(10));
                let review = Review {
                    candidates: candidates.clone(),
                    grace_micros: how.grace,
                    delete_untagged: how.delete_untagged,
                };
                let reviewed = world.metadata.review(review).await.expect("reviews");
                waiting.extend(candidates.iter().skip(reviewed.verdicts.len()));
                let outcomes = candidates.into_iter().zip(reviewed.verdicts);
                verdicts.extend(outcomes.filter(|(_, verdict)| *verdict != Verdict::NotDue));
                claimed.extend(reviewed.claimed);
                waiting.extend(reviewed.next);
            }
        }
    }
    (claimed, verdicts)
}

/// Collects, and forgets the rows as if the files were deleted; returns the digests.
pub(super) async fn collected(world: &World, how: How) -> BTreeSet<Digest> {
    let (claimed, _) = collect(world, how).await;
    let ids = claimed.iter().map(|blob| blob.id).collect();
    world.metadata.forget_claimed(ids).await.expect("forgets");
    claimed.into_iter().map(|blob| blob.digest).collect()
}

pub(super) fn digests(contents: &[&str]) -> BTreeSet<Digest> {
    contents.iter().map(|content| digest(content)).collect()
}

/// Waits until no lease is left.
pub(super) fn let_leases_end(world: &World) {
    world.clock.advance(HOUR);
}

/// Pushes a manifest named `image` over its layers.
async fn image(world: &World, repository: &str, image: &str, layers: &[&str], tags: &[&str]) {
    for layer in layers {
        world.commit(commit(repository, layer)).await;
    }
    world
        .push(PushManifest {
            references: references(ReferenceKind::Layer, layers),
            tags: tags.iter().map(|name| tag(name)).collect(),
            ..push(repository, image)
        })
        .await;
}

/// Pushes an index named `index` over its children.
pub(super) async fn index(
    world: &World,
    repository: &str,
    index: &str,
    children: &[&str],
    tags: &[&str],
) {
    world
        .push(PushManifest {
            references: references(ReferenceKind::Child, children),
            tags: tags.iter().map(|name| tag(name)).collect(),
            ..push(repository, index)
        })
        .await;
}

/// Pushes a manifest named `referrer` that refers to `subject`.
async fn referrer(world: &World, repository: &str, referrer: &str, subject: &str) {
    world
        .push(PushManifest {
            subject: Some(digest(subject)),
            ..push(repository, referrer)
        })
        .await;
}

async fn delete(world: &World, repository: &str, content: &str) {
    let (repository, manifest) = (name(repository), digest(content));
    let deleted = world
        .metadata
        .delete_manifest(&repository, &manifest, "alice");
    assert!(deleted.await.expect("deletes"), "{content} was there");
}

pub(super) async fn candidates(world: &World) -> u64 {
    let counts = world.metadata.candidate_counts().await.expect("counts");
    counts.blobs + counts.manifests
}

pub(super) async fn a_blob_nobody_names_goes_after_its_grace_and_not_before(world: World) {
    world.commit(commit("a", "blob")).await;
    let day = How {
        grace: DAY,
        ..AT_ONCE
    };
    world.clock.advance(DAY - SECOND);
    assert!(collected(&world, day).await.is_empty());
    assert!(world.gives("a", "blob").await);
    world.clock.advance(SECOND);
    assert_eq!(collected(&world, day).await, digests(&["blob"]));
    assert!(!world.gives("a", "blob").await);
    assert_eq!(candidates(&world).await, 0);
}

pub(super) async fn a_lease_outlasts_a_grace_of_nothing(world: World) {
    world.commit(commit("a", "blob")).await;
    let (claimed, verdicts) = collect(&world, AT_ONCE).await;
    assert!(claimed.is_empty());
    assert!(matches!(verdicts[..], [(_, Verdict::Postponed)]));
    let (_, again) = collect(&world, AT_ONCE).await;
    assert!(again.is_empty(), "it is not looked at while it is leased");
    let_leases_end(&world);
    assert_eq!(collected(&world, AT_ONCE).await, digests(&["blob"]));
}

pub(super) async fn what_a_manifest_names_stays_and_is_no_candidate_any_more(world: World) {
    image(&world, "a", "m", &["config", "layer"], &["v1"]).await;
    let_leases_end(&world);
    assert!(collected(&world, UNTAGGED).await.is_empty());
    assert_eq!(candidates(&world).await, 0);
    assert!(world.gives("a", "layer").await && world.by_tag("a", "v1").await.is_some());
}

pub(super) async fn a_deleted_image_takes_its_layers_along_and_leaves_shared_ones(world: World) {
    image(&world, "a", "m", &["base", "own"], &["v1"]).await;
    image(&world, "a", "n", &["base"], &["v2"]).await;
    image(&world, "b", "o", &["elsewhere"], &["v1"]).await;
    let mount = Mount {
        from: name("b"),
        to: name("a"),
        digest: digest("elsewhere"),
        by: "alice".into(),
        lease_micros: HOUR,
    };
    let mounted = world.metadata.mount_blob(mount).await.expect("mounts");
    assert!(matches!(mounted, MountOutcome::Mounted { .. }));
    image(&world, "a", "p", &["elsewhere"], &["v3"]).await;
    for manifest in ["m", "p"] {
        delete(&world, "a", manifest).await;
    }
    let_leases_end(&world);
    assert_eq!(
        collected(&world, AT_ONCE).await,
        digests(&["m", "own", "p"])
    );
    assert!(world.gives("a", "base").await);
    assert!(
        !world.gives("a", "elsewhere").await && world.gives("b", "elsewhere").await,
        "each repository has its own membership"
    );
}

pub(super) async fn the_grace_of_what_a_manifest_named_begins_when_it_is_deleted(world: World) {
    image(&world, "a", "m", &["layer"], &["v1"]).await;
    world.clock.advance(2 * DAY);
    delete(&world, "a", "m").await;
    let day = How {
        grace: DAY,
        ..AT_ONCE
    };
    assert!(collected(&world, day).await.is_empty());
    world.clock.advance(DAY);
    assert_eq!(collected(&world, day).await, digests(&["m", "layer"]));
}

pub(super) async fn an_untagged_manifest_stays_until_somebody_asks_for_it(world: World) {
    image(&world, "a", "m", &["old"], &["v1"]).await;
    image(&world, "a", "n", &["new"], &["v1"]).await;
    let_leases_end(&world);
    assert!(collected(&world, AT_ONCE).await.is_empty());
    assert!(world.by_digest("a", "m").await.is_some());
    let (_, again) = collect(&world, AT_ONCE).await;
    assert!(again.is_empty(), "it is looked at once");
    let counts = world.metadata.candidate_counts().await.expect("counts");
    assert_eq!((counts.parked, counts.manifests), (1, 0));
    assert_eq!(collected(&world, UNTAGGED).await, digests(&["m", "old"]));
    assert!(world.by_tag("a", "v1").await.is_some());
}

pub(super) async fn a_manifest_that_lost_its_tag_in_any_way_is_a_candidate(world: World) {
    for manifest in ["deleted", "moved", "set", "never"] {
        let tags: &[&str] = if manifest == "never" {
            &[]
        } else {
            &[manifest]
        };
        image(&world, "a", manifest, &[], tags).await;
    }
    let (a, lost) = (name("a"), tag("deleted"));
    let deleted = world.metadata.delete_tag(&a, &lost, "alice").await;
    assert!(deleted.expect("deletes"));
    image(&world, "a", "kept", &[], &["moved"]).await;
    let set = SetTag {
        repository: name("a"),
        tag: tag("set"),
        digest: digest("kept"),
        by: "alice".into(),
        origin: Origin::Pushed,
        checked_at: 0,
    };
    assert!(world.metadata.set_tag(set).await.expect("sets"));
    let_leases_end(&world);
    let gone = collected(&world, UNTAGGED).await;
    assert_eq!(gone, digests(&["deleted", "moved", "set", "never"]));
    assert!(world.by_tag("a", "moved").await.is_some());
}

pub(super) async fn children_of_a_kept_index_and_referrers_of_a_kept_subject_stay(world: World) {
    for (child, layer) in [("amd64", "one"), ("arm64", "two")] {
        image(&world, "a", child, &[layer], &[]).await;
    }
    index(&world, "a", "index", &["amd64", "arm64"], &["v1"]).await;
    referrer(&world, "a", "signature", "amd64").await;
    referrer(&world, "a", "of the signature", "signature").await;
    referrer(&world, "a", "of nothing", "absent").await;
    let_leases_end(&world);
    assert_eq!(
        collected(&world, UNTAGGED).await,
        digests(&["of nothing"]),
        "only what refers to nothing that is here"
    );
    delete(&world, "a", "index").await;
    let manifests = ["index", "amd64", "arm64", "signature", "of the signature"];
    let mut all = digests(&manifests);
    all.extend(digests(&["one", "two"]));
    assert_eq!(collected(&world, UNTAGGED).await, all);
    assert_eq!(candidates(&world).await, 0);
}

pub(super) async fn a_manifest_somebody_was_told_of_is_not_deleted_while_it_is_leased(
    world: World,
) {
    image(&world, "a", "m", &[], &[]).await;
    let_leases_end(&world);
    let told = ExtendLease {
        of: LeaseOf::Manifest,
        ..lease_of("a", "m", HOUR)
    };
    assert!(world.metadata.extend_lease(told.clone()).await.expect("ok"));
    assert!(collected(&world, UNTAGGED).await.is_empty());
    assert!(world.by_digest("a", "m").await.is_some());
    let_leases_end(&world);
    assert_eq!(collected(&world, UNTAGGED).await, digests(&["m"]));
    let told = world.metadata.extend_lease(told).await;
    assert!(!told.expect("answers"), "it is not said to exist any more");
}

pub(super) async fn what_one_repository_lost_is_not_leased_there_because_another_has_it(
    world: World,
) {
    for repository in ["a", "b"] {
        world.commit(commit(repository, "blob")).await;
    }
    image(&world, "b", "m", &["blob"], &["v1"]).await;
    let_leases_end(&world);
    collected(&world, AT_ONCE).await;
    let in_a = world
        .metadata
        .extend_lease(lease_of("a", "blob", HOUR))
        .await;
    assert!(!in_a.expect("answers"));
    let in_b = world
        .metadata
        .extend_lease(lease_of("b", "blob", HOUR))
        .await;
    assert!(in_b.expect("answers"));
}

pub(super) async fn an_unlinked_blob_goes_and_one_that_is_still_named_stays(world: World) {
    image(&world, "a", "m", &["named"], &["v1"]).await;
    world.commit(commit("a", "loose")).await;
    for blob in ["named", "loose"] {
        let (a, blob) = (name("a"), digest(blob));
        let unlinked = world.metadata.unlink_blob(&a, &blob).await;
        assert!(unlinked.expect("unlinks"));
    }
    let_leases_end(&world);
    assert_eq!(collected(&world, AT_ONCE).await, digests(&["loose"]));
    delete(&world, "a", "m").await;
    assert_eq!(collected(&world, AT_ONCE).await, digests(&["m", "named"]));
}

pub(super) async fn a_manifest_that_another_names_as_a_layer_stays_with_it(world: World) {
    image(&world, "a", "inner", &[], &[]).await;
    world
        .push(PushManifest {
            references: references(ReferenceKind::Layer, &["inner"]),
            tags: vec![tag("v1")],
            ..push("a", "outer")
        })
        .await;
    let_leases_end(&world);
    assert!(collected(&world, UNTAGGED).await.is_empty());
    delete(&world, "a", "outer").await;
    let_leases_end(&world);
    let gone = collected(&world, UNTAGGED).await;
    assert_eq!(gone, digests(&["outer", "inner"]));
}

pub(super) async fn an_event_after_the_review_began_counts_anew(world: World) {
    world.commit(commit("a", "blob")).await;
    world.clock.advance(DAY);
    let due = Due {
        grace_micros: DAY,
        half: Half::Waiting,
    };
    let page = world.metadata.due_candidates(due, None).await;
    let candidates = page.expect("reads");
    assert_eq!(candidates.len(), 1);
    // The same blob is pushed again before it is reviewed.
    world.commit(commit("a", "blob")).await;
    let review = Review {
        candidates,
        grace_micros: DAY,
        delete_untagged: false,
    };
    let reviewed = world.metadata.review(review).await.expect("reviews");
    assert_eq!(reviewed.verdicts, [Verdict::NotDue]);
    assert!(world.gives("a", "blob").await);
}

pub(super) async fn a_review_of_one_kind_is_no_event_for_the_other(world: World) {
    // The bytes were a blob first, so that both kinds wait for their review.
    world.commit(commit("a", "image")).await;
    image(&world, "a", "image", &[], &[]).await;
    let_leases_end(&world);
    assert!(collected(&world, AT_ONCE).await.is_empty());
    // Neither the review as a blob nor that as a manifest lets its grace begin anew.
    let hour = How {
        grace: HOUR,
        ..UNTAGGED
    };
    assert_eq!(collected(&world, hour).await, digests(&["image"]));
}

pub(super) async fn the_grace_of_what_a_collection_let_go_begins_with_it(world: World) {
    image(&world, "a", "image", &["layer"], &[]).await;
    let_leases_end(&world);
    let lease = world.metadata.extend_lease(lease_of("a", "layer", HOUR));
    assert!(lease.await.expect("ok"));
    assert_eq!(collected(&world, UNTAGGED).await, digests(&["image"]));
    // Whatever was reviewed first: its upload and its image are older, but nobody let go of it before.
    let_leases_end(&world);
    let two_hours = How {
        grace: 2 * HOUR,
        ..UNTAGGED
    };
    assert!(collected(&world, two_hours).await.is_empty());
    world.clock.advance(HOUR);
    assert_eq!(collected(&world, two_hours).await, digests(&["layer"]));
}

pub(super) async fn nothing_of_a_held_repository_goes_until_it_is_released(world: World) {
    image(&world, "a", "m", &["layer"], &[]).await;
    world.commit(commit("a", "loose")).await;
    let end = async |standing| {
        let a = name("a");
        let ended = world.metadata.end_import_of(&a, standing);
        ended.await.expect("ends");
        let held = world.metadata.held_repositories(1).await;
        held.expect("reads")
    };
    let held = end(Standing::Held).await;
    assert_eq!((held.count, held.first), (1, vec![name("a")]));
    world.clock.advance(DAY);
    assert!(collected(&world, UNTAGGED).await.is_empty());
    assert!(world.gives("a", "loose").await);
    assert_eq!(end(Standing::Sound).await, HeldRepositories::default());
    let gone = collected(&world, UNTAGGED).await;
    assert_eq!(gone, digests(&["m", "layer", "loose"]));
}

pub(super) async fn mirrored_content_is_no_candidate(world: World) {
    world
        .push(PushManifest {
            tags: Vec::new(),
            references: references(ReferenceKind::Layer, &["layer"]),
            ..mirrored("docker.io/library/nginx", "m")
        })
        .await;
    let blob = CommitBlob {
        kind: mirror(),
        origin: Origin::Mirrored,
        ..commit("docker.io/library/nginx", "loose")
    };
    world.commit(blob).await;
    assert_eq!(candidates(&world).await, 0);
    let_leases_end(&world);
    assert!(collected(&world, UNTAGGED).await.is_empty());
}

pub(super) async fn what_an_eviction_could_not_claim_is_found_by_the_collector(world: World) {
    let repository = "docker.io/library/nginx";
    world
        .push(PushManifest {
            lease_micros: 0,
            ..mirrored(repository, "m")
        })
        .await;
    let found = world.metadata.repository(&name(repository)).await;
    let evict = Evict {
        repository: found.expect("reads").expect("it is there").id,
        unit: EvictUnit::Manifest(digest("m")),
        pulled_at: NOON,
        // As where a local repository had it when the choice was made.
        reclaim: BTreeSet::new(),
    };
    let evicted = world.metadata.evict(vec![evict]).await.expect("evicts");
    assert_eq!(evicted, [Evicted::Gone(Vec::new())]);
    let place = world.metadata.find_place(&digest("m")).await;
    assert!(matches!(place.expect("reads"), Place::Live(_)));
    assert_eq!(candidates(&world).await, 1);
    assert_eq!(collected(&world, AT_ONCE).await, digests(&["m"]));
}

pub(super) async fn the_last_manifest_takes_its_repository_out_of_the_catalog(world: World) {
    image(&world, "a", "m", &[], &[]).await;
    let_leases_end(&world);
    assert_eq!(collected(&world, UNTAGGED).await, digests(&["m"]));
    let found = world.metadata.repository(&name("a")).await;
    assert!(!found.expect("reads").expect("its row stays").has_manifests);
}
