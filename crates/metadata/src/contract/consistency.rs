//! Clauses about what rows say of files and of each other.

use std::collections::BTreeSet;

use oci::{Digest, ReferenceKind};

use super::support::{World, commit, digest, mirrored, name, push, references, tag};
use crate::clock::tests::HOUR;
use crate::{
    CandidateKind, CommitBlob, Entered, NameKind, Namer, Place, PushManifest, RepositoryKind,
    StoredPlace, UnnotedKind,
};

fn place(content: &str, key: Option<&str>) -> StoredPlace {
    StoredPlace {
        digest: digest(content),
        key: key.map(str::to_owned),
    }
}

async fn quarantine(world: &World, content: &str) {
    let found = world.metadata.live_blob(&digest(content)).await;
    let blob = found.expect("reads").expect("it is live");
    let done = world.metadata.quarantine(blob.id, blob.revision, "missing");
    assert!(done.await.expect("writes"));
}

pub(super) async fn places_are_known_in_every_state_and_under_their_key_alone(world: World) {
    for content in ["live", "quarantined", "deleting"] {
        let keyed = CommitBlob {
            key: Some("k1".into()),
            ..commit("a", content)
        };
        world.commit(keyed).await;
    }
    world.commit(commit("a", "plain")).await;
    quarantine(&world, "quarantined").await;
    world.claim("deleting").await;
    let mut asked = vec![place("plain", None), place("absent", None)];
    let mut unknown = vec![place("absent", None)];
    for content in ["live", "quarantined", "deleting"] {
        asked.push(place(content, Some("k1")));
        for key in [None, Some("k2")] {
            asked.push(place(content, key));
            unknown.push(place(content, key));
        }
    }
    let found = world.metadata.unknown_places(asked).await.expect("reads");
    let found: BTreeSet<_> = found.into_iter().collect();
    assert_eq!(found, unknown.into_iter().collect());
}

async fn enter(world: &World, content: &str, key: Option<&str>) -> Entered {
    let entered = world
        .metadata
        .enter_bytes(place(content, key), content.len() as u64);
    entered.await.expect("writes")
}

pub(super) async fn bytes_that_are_entered_are_live_and_wait_for_the_collector(world: World) {
    assert_eq!(enter(&world, "found", None).await, Entered::Entered);
    assert_eq!(enter(&world, "found", None).await, Entered::Known);
    let row = world.metadata.live_blob(&digest("found")).await;
    assert_eq!(row.expect("reads").expect("it is live").size, 5);
    let counts = world.metadata.candidate_counts().await.expect("reads");
    assert_eq!(counts.blobs, 1);
    // What a repository holds comes back to it, and is nobody's to collect.
    world.commit(commit("a", "held")).await;
    quarantine(&world, "held").await;
    assert_eq!(enter(&world, "held", Some("other")).await, Entered::Entered);
    assert!(world.gives("a", "held").await);
    assert_eq!(
        world.metadata.quarantined(None).await.expect("reads"),
        [],
        "its damaged bytes are given up"
    );
    let left = world.metadata.claimed(None).await.expect("reads");
    assert_eq!(left.len(), 1);
}

pub(super) async fn bytes_that_are_live_elsewhere_are_superfluous(world: World) {
    world.commit(commit("a", "blob")).await;
    let entered = enter(&world, "blob", Some("k1")).await;
    assert_eq!(entered, Entered::Superfluous);
    world.claim("blob").await;
    let found = world.metadata.find_place(&digest("blob")).await;
    assert_eq!(found.expect("reads"), Place::Deleting);
    assert_eq!(enter(&world, "blob", None).await, Entered::Known);
}

/// Returns what is named and not there, as who names it and what.
async fn dangling(world: &World, kind: NameKind) -> Vec<(String, Namer, Digest)> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = world.metadata.named(kind, after).await.expect("reads");
        let Some(last) = page.last() else {
            return found;
        };
        after = Some(last.cursor.clone());
        let nowhere = page.into_iter().filter(|named| !named.is_there);
        found.extend(nowhere.map(|named| (named.repository.to_string(), named.by, named.digest)));
    }
}

pub(super) async fn names_that_lead_nowhere_are_told_and_quarantined_bytes_are_somewhere(
    world: World,
) {
    for content in ["config", "layer", "gone"] {
        world.commit(commit("a", content)).await;
    }
    let image = |repository: &str, content: &str| PushManifest {
        references: references(ReferenceKind::Layer, &["config", "layer", "gone"]),
        ..push(repository, content)
    };
    world
        .push(PushManifest {
            tags: vec![tag("v1")],
            ..image("a", "m")
        })
        .await;
    world
        .push(PushManifest {
            references: references(ReferenceKind::Child, &["m", "elsewhere"]),
            check: crate::ReferenceCheck::Skip,
            ..push("a", "index")
        })
        .await;
    // A mirror fetches what it does not have.
    world
        .push(PushManifest {
            references: references(ReferenceKind::Layer, &["unfetched"]),
            ..mirrored("mirror", "x")
        })
        .await;
    quarantine(&world, "layer").await;
    let left = world
        .metadata
        .unlink_blob(&name("a"), &digest("gone"))
        .await;
    assert!(left.expect("writes"));
    let named = |parent: &str, position, child: &str| {
        let by = Namer::Manifest(digest(parent), position);
        ("a".to_owned(), by, digest(child))
    };
    let mut references = dangling(&world, NameKind::References).await;
    references.sort_by_key(|(_, _, child)| *child);
    let mut expected = vec![named("m", 2, "gone"), named("index", 1, "elsewhere")];
    expected.sort_by_key(|(_, _, child)| *child);
    assert_eq!(references, expected);
    for kind in [NameKind::Tags, NameKind::Manifests, NameKind::Memberships] {
        assert_eq!(dangling(&world, kind).await, [], "{kind:?}");
    }
    // Rows that only another program's mistake, or a broken disk, can take away.
    for lost in ["m", "config"] {
        let lost = digest(lost);
        let rows = world.metadata.write(lost, |tx, digest| {
            const LOSE: &str = "DELETE FROM blobs WHERE digest = $1";
            Box::pin(async move { tx.execute(LOSE, &[digest.into()]).await })
        });
        assert_eq!(rows.await.expect("writes"), 1);
    }
    let manifests = dangling(&world, NameKind::Manifests).await;
    let by = Namer::Repository;
    assert_eq!(manifests, [("a".to_owned(), by.clone(), digest("m"))]);
    let memberships = dangling(&world, NameKind::Memberships).await;
    assert_eq!(memberships, [("a".to_owned(), by, digest("config"))]);
    let rows = world.metadata.write(digest("m"), |tx, digest| {
        const LOSE: &str = "DELETE FROM manifests WHERE digest = $1";
        Box::pin(async move { tx.execute(LOSE, &[digest.into()]).await })
    });
    assert_eq!(rows.await.expect("writes"), 1);
    let tags = dangling(&world, NameKind::Tags).await;
    let by = Namer::Tag("v1".to_owned());
    assert_eq!(tags, [("a".to_owned(), by, digest("m"))]);
}

/// Returns what the collector should know of and does not.
async fn unnoted(world: &World) -> Vec<(Option<String>, CandidateKind, Digest)> {
    let mut found = Vec::new();
    for kind in UnnotedKind::ALL {
        let mut after = None;
        loop {
            let page = world.metadata.collectable(kind, after).await;
            let page = page.expect("reads");
            let Some(last) = page.last() else { break };
            after = Some(last.clone());
            for one in page.into_iter().filter(|one| one.is_unnoted) {
                let repository = one.name.as_ref().map(ToString::to_string);
                found.push((repository, one.kind, one.digest));
            }
        }
    }
    found
}

pub(super) async fn what_the_collector_does_not_know_of_is_told_until_it_does(world: World) {
    world.commit(commit("a", "loose")).await;
    world.commit(commit("a", "layer")).await;
    for (content, tags) in [("m", vec![tag("v1")]), ("untagged", Vec::new())] {
        world
            .push(PushManifest {
                references: references(ReferenceKind::Layer, &["layer"]),
                tags,
                ..push("a", content)
            })
            .await;
    }
    world
        .push(PushManifest {
            subject: Some(digest("m")),
            ..push("a", "signature")
        })
        .await;
    enter(&world, "orphan", None).await;
    world
        .commit(CommitBlob {
            kind: RepositoryKind::Mirror {
                upstream: "docker.io".into(),
            },
            ..commit("mirror", "mirrored")
        })
        .await;
    world.push(push("a", "deleted")).await;
    let deleted = world
        .metadata
        .delete_manifest(&name("a"), &digest("deleted"), "anonymous")
        .await;
    assert!(deleted.expect("writes"));
    assert_eq!(unnoted(&world).await, [], "events noted all of it");
    let forgotten = world.metadata.write((), |tx, ()| {
        Box::pin(async move { tx.execute("DELETE FROM gc_candidates", &[]).await })
    });
    assert!(forgotten.await.expect("writes") > 0);
    let a = Some("a".to_owned());
    let expected = [
        (None, CandidateKind::Blob, digest("orphan")),
        (None, CandidateKind::Blob, digest("deleted")),
        (a.clone(), CandidateKind::Blob, digest("loose")),
        (a, CandidateKind::Manifest, digest("untagged")),
    ];
    assert_eq!(unnoted(&world).await, expected);
    world.clock.advance(HOUR);
    for kind in UnnotedKind::ALL {
        let page = world.metadata.collectable(kind, None).await;
        for one in page
            .expect("reads")
            .into_iter()
            .filter(|one| one.is_unnoted)
        {
            let noted = world.metadata.note_for_collection(one).await;
            noted.expect("writes");
        }
    }
    assert_eq!(unnoted(&world).await, []);
    let counts = world.metadata.candidate_counts().await.expect("reads");
    assert_eq!((counts.blobs, counts.manifests), (3, 1));
    assert_eq!(counts.oldest, Some(world.metadata.now()));
}
