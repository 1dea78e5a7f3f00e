//! Clauses about what a collection costs: indexes that share children are walked by their edges, and no transaction grows
//! with what is to go.

use oci::ReferenceKind;

use super::collecting::{UNTAGGED, candidates, collect, collected, digests, index, let_leases_end};
use super::support::{World, digest, push};
use crate::{CandidateKind, Due, Half, PushManifest, Ref, Review, Verdict};

/// Every index names both of the two below it: a walk over paths instead of edges would not end.
pub(super) async fn shared_indexes_cost_time_by_their_edges(world: World) {
    const DEPTH: usize = 40;
    let node = |level: usize, side: usize| format!("{level} {side}");
    for level in 0..DEPTH {
        for side in 0..2 {
            let below = [
                node(level.wrapping_sub(1), 0),
                node(level.wrapping_sub(1), 1),
            ];
            let below: Vec<&str> = below.iter().map(String::as_str).collect();
            let children = if level == 0 { &[][..] } else { &below };
            index(&world, "a", &node(level, side), children, &[]).await;
        }
    }
    let_leases_end(&world);
    let (claimed, verdicts) = collect(&world, UNTAGGED).await;
    assert_eq!(claimed.len(), 2 * DEPTH, "all of it went");
    let edges = 4 * (DEPTH - 1);
    // Each node once for its push, each of its edges once, and its bytes.
    let most = 2 * DEPTH + edges + 2 * DEPTH;
    assert!(verdicts.len() <= most, "{} reviews", verdicts.len());
}

pub(super) async fn a_batch_that_frees_much_leaves_the_rest_for_the_next(world: World) {
    let many = |from: u64| -> Vec<Ref> {
        let reference = |number: u64| Ref {
            position: u32::try_from(number).expect("a few thousand"),
            digest: digest(&format!("layer {}", from + number)),
            kind: ReferenceKind::Layer,
            size: 1,
            media_type: "application/octet-stream".into(),
            foreign: true,
        };
        (0..2500).map(reference).collect()
    };
    for (number, manifest) in ["m", "n"].into_iter().enumerate() {
        world
            .push(PushManifest {
                references: many(10_000 * number as u64),
                ..push("a", manifest)
            })
            .await;
    }
    let_leases_end(&world);
    let due = Due {
        grace_micros: 0,
        half: Half::Waiting,
    };
    let page = world.metadata.due_candidates(due, None).await;
    let due_now = page.expect("reads");
    assert_eq!(due_now.len(), 2);
    assert!(
        due_now
            .iter()
            .all(|candidate| candidate.kind == CandidateKind::Manifest)
    );
    let review = Review {
        candidates: due_now,
        grace_micros: 0,
        delete_untagged: true,
    };
    let reviewed = world.metadata.review(review).await.expect("reviews");
    assert_eq!(reviewed.verdicts, [Verdict::Gone]);
    assert_eq!(reviewed.next.len(), 2501, "all it named, and its bytes");
    assert_eq!(collected(&world, UNTAGGED).await, digests(&["m", "n"]));
    assert_eq!(candidates(&world).await, 0);
}
