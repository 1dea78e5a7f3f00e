//! Clauses about bytes that are not what their digest says.

use std::collections::{BTreeMap, BTreeSet};

use oci::{Digest, ReferenceKind};

use super::support::{
    World, commit, digest, lease_of, mirror, mirrored, name, push, references, tag,
};
use crate::clock::tests::HOUR;
use crate::{
    CheckCursor, CheckScope, CheckedBlob, CommitBlob, Holder, Mount, MountOutcome, Origin, Place,
    PushManifest, PushOutcome, RepositoryKind,
};

async fn live(world: &World, content: &str) -> CheckedBlob {
    let found = world.metadata.live_blob(&digest(content)).await;
    found.expect("reads").expect("it is live")
}

async fn quarantine(world: &World, content: &str) -> CheckedBlob {
    let blob = live(world, content).await;
    let done = world.metadata.quarantine(blob.id, blob.revision, "size");
    assert!(done.await.expect("writes"));
    blob
}

async fn place(world: &World, content: &str) -> Place {
    let place = world.metadata.find_place(&digest(content)).await;
    place.expect("reads")
}

async fn quarantined(world: &World) -> Vec<CheckedBlob> {
    let listed = world.metadata.quarantined(None).await.expect("reads");
    let count = world.metadata.count_quarantined().await.expect("reads");
    assert_eq!(listed.len() as u64, count);
    listed
}

pub(super) async fn a_quarantined_blob_exists_to_nobody(world: World) {
    world.commit(commit("a", "blob")).await;
    quarantine(&world, "blob").await;
    assert!(!world.gives("a", "blob").await);
    let anywhere = world.metadata.find_blob_anywhere(&digest("blob")).await;
    assert_eq!(anywhere.expect("reads"), None);
    let leased = world
        .metadata
        .extend_lease(lease_of("a", "blob", HOUR))
        .await;
    assert!(!leased.expect("answers"));
    let (blob, other) = (digest("blob"), name("b"));
    let sources = world.metadata.find_mount_source(&blob, &other).await;
    assert_eq!(sources.expect("reads"), []);
    let mount = Mount {
        from: name("a"),
        to: other,
        digest: blob,
        by: "anonymous".into(),
        lease_micros: HOUR,
    };
    let mounted = world.metadata.mount_blob(mount).await.expect("answers");
    assert_eq!(mounted, MountOutcome::NotFound);
    let repository = name("a");
    let linked = world
        .metadata
        .link_blob(&repository, &blob, "x", Origin::Mirrored);
    assert!(!linked.await.expect("answers"));
}

pub(super) async fn a_quarantined_manifest_is_missing_to_those_that_name_it(world: World) {
    world.tagged("a", "v1", "m").await;
    world.commit(commit("a", "layer")).await;
    for content in ["m", "layer"] {
        quarantine(&world, content).await;
    }
    assert!(world.by_tag("a", "v1").await.is_none());
    assert!(world.by_digest("a", "m").await.is_none());
    let kinds = [(ReferenceKind::Child, "m"), (ReferenceKind::Layer, "layer")];
    for (kind, content) in kinds {
        let index = PushManifest {
            references: references(kind, &[content]),
            ..push("a", "index")
        };
        let refused = world.metadata.push_manifest(index).await.expect("answers");
        let missing = PushOutcome::MissingReferences {
            first: vec![digest(content)],
            total: 1,
        };
        assert_eq!(refused, missing);
    }
}

pub(super) async fn a_quarantine_of_bytes_that_were_replaced_meanwhile_changes_nothing(
    world: World,
) {
    world.commit(commit("a", "blob")).await;
    let seen = live(&world, "blob").await;
    world.commit(commit("b", "blob")).await;
    let late = world.metadata.quarantine(seen.id, seen.revision, "size");
    assert!(!late.await.expect("answers"));
    assert!(world.gives("a", "blob").await);
    let now = live(&world, "blob").await;
    world.claim("blob").await;
    let late = world.metadata.quarantine(now.id, now.revision, "missing");
    assert!(!late.await.expect("answers"), "it is being deleted");
    assert_eq!(place(&world, "blob").await, Place::Deleting);
}

pub(super) async fn a_push_of_the_same_digest_ends_the_quarantine_in_its_place(world: World) {
    for key in [None, Some("k1".to_owned())] {
        let pushed = |repository: &str| CommitBlob {
            key: key.clone(),
            ..commit(repository, &format!("blob {key:?}"))
        };
        let content = format!("blob {key:?}");
        world.commit(pushed("a")).await;
        let before = quarantine(&world, &content).await;
        let found = place(&world, &content).await;
        assert_eq!(found, Place::Quarantined { key: key.clone() });
        world.commit(pushed("b")).await;
        assert!(world.gives("a", &content).await && world.gives("b", &content).await);
        let after = live(&world, &content).await;
        assert_eq!((after.key, after.damage), (key, None));
        assert!(after.revision > before.revision);
        assert_eq!(quarantined(&world).await, []);
    }
}

pub(super) async fn a_manifest_pushed_again_ends_its_quarantine(world: World) {
    for (repository, content) in [("a", "m"), ("mirror", "n")] {
        let again = || match repository {
            "a" => push(repository, content),
            _ => mirrored(repository, content),
        };
        world
            .push(PushManifest {
                tags: vec![tag("v1")],
                ..again()
            })
            .await;
        quarantine(&world, content).await;
        assert!(world.by_tag(repository, "v1").await.is_none());
        world.push(again()).await;
        let found = world.by_tag(repository, "v1").await;
        assert_eq!(found.expect("its tag is back").digest, digest(content));
    }
}

pub(super) async fn a_push_under_another_key_gives_the_quarantined_bytes_up(world: World) {
    world.commit(commit("a", "blob")).await;
    quarantine(&world, "blob").await;
    world
        .commit(CommitBlob {
            key: Some("other".into()),
            ..commit("a", "blob")
        })
        .await;
    assert!(world.gives("a", "blob").await);
    assert_eq!(quarantined(&world).await, []);
    let given_up = world.metadata.claimed(None).await.expect("reads");
    assert_eq!(given_up.len(), 1);
    assert_eq!((&given_up[0].0.key, given_up[0].1), (&None, false));
}

pub(super) async fn a_quarantine_is_lifted_once_and_only_of_the_bytes_that_were_looked_at(
    world: World,
) {
    world.commit(commit("a", "blob")).await;
    let blob = quarantine(&world, "blob").await;
    let lift = |revision| world.metadata.lift_quarantine(blob.id, revision);
    assert!(!lift(blob.revision + 1).await.expect("answers"));
    assert!(lift(blob.revision).await.expect("writes"));
    assert!(world.gives("a", "blob").await);
    assert!(!lift(blob.revision).await.expect("answers"));
    let again = live(&world, "blob").await;
    assert!(again.revision > blob.revision);
    assert_eq!(again.damage, None);
}

pub(super) async fn quarantined_blobs_are_listed_and_counted_until_they_are_right(world: World) {
    let contents: Vec<String> = (0..450).map(|number| format!("blob {number}")).collect();
    for content in &contents {
        world.commit(commit("a", content)).await;
        quarantine(&world, content).await;
    }
    world.commit(commit("a", "sound")).await;
    let (mut listed, mut last) = (BTreeSet::new(), None);
    loop {
        let page = world.metadata.quarantined(last.as_ref()).await;
        let page = page.expect("reads");
        let Some(end) = page.last() else { break };
        last = Some(end.clone());
        assert!(
            page.iter()
                .all(|blob| blob.damage.as_deref() == Some("size"))
        );
        listed.extend(page.into_iter().map(|blob| blob.digest));
    }
    let all: BTreeSet<Digest> = contents.iter().map(|content| digest(content)).collect();
    assert_eq!(listed, all);
    let count = world.metadata.count_quarantined().await;
    assert_eq!(count.expect("reads"), 450);
}

/// Returns the blobs of `scope`, each of which comes once.
async fn to_check(world: &World, scope: CheckScope) -> BTreeMap<Digest, CheckedBlob> {
    let mut found = BTreeMap::new();
    let mut from = CheckCursor::default();
    loop {
        let page = world.metadata.blobs_to_check(scope, from).await;
        let page = page.expect("reads");
        for blob in page.blobs {
            assert_eq!(found.insert(blob.digest, blob), None);
        }
        match page.next {
            Some(next) => from = next,
            None => return found,
        }
    }
}

pub(super) async fn when_bytes_were_checked_is_noted_of_those_that_were_looked_at(world: World) {
    let contents: Vec<String> = (0..250).map(|number| format!("blob {number}")).collect();
    for content in &contents {
        world.commit(commit("a", content)).await;
    }
    let before = to_check(&world, CheckScope::Everything).await;
    assert_eq!(before.len(), 250);
    assert!(before.values().all(|blob| blob.checked_at == 0));
    world.clock.advance(10);
    let first = live(&world, "blob 0").await;
    let second = live(&world, "blob 1").await;
    world.commit(commit("a", "blob 1")).await;
    let checked = vec![(first.id, first.revision), (second.id, second.revision)];
    world.metadata.note_checked(checked).await.expect("writes");
    let now = world.metadata.now();
    let after = to_check(&world, CheckScope::Everything).await;
    assert_eq!(after[&first.digest].checked_at, now);
    assert_eq!(
        after[&second.digest].checked_at, 0,
        "other bytes were looked at"
    );
}

pub(super) async fn the_blobs_of_one_repository_are_checked_alone(world: World) {
    let layers: Vec<String> = (0..450).map(|number| format!("layer {number}")).collect();
    let mut expected = BTreeSet::new();
    for (index, layer) in layers.iter().enumerate() {
        world.commit(commit("other", layer)).await;
        if index % 2 == 0 {
            world.commit(commit("a", layer)).await;
            expected.insert(digest(layer));
        }
    }
    world.push(push("a", "m")).await;
    world.push(push("other", "n")).await;
    expected.insert(digest("m"));
    // A mirror also reaches what its manifests name.
    world
        .push(PushManifest {
            references: references(ReferenceKind::Layer, &["layer 1", "layer 3"]),
            ..mirrored("mirror", "x")
        })
        .await;
    let scope = async |repository: &str| {
        let found = world.metadata.repository(&name(repository)).await;
        CheckScope::Repository(found.expect("reads").expect("it is there").id)
    };
    let found = to_check(&world, scope("a").await).await;
    assert_eq!(found.into_keys().collect::<BTreeSet<_>>(), expected);
    let mirrored = ["layer 1", "layer 3", "x"].map(digest);
    let found = to_check(&world, scope("mirror").await).await;
    assert_eq!(
        found.into_keys().collect::<BTreeSet<_>>(),
        BTreeSet::from(mirrored)
    );
}

pub(super) async fn all_repositories_that_hold_or_name_a_digest_are_told(world: World) {
    world.commit(commit("a", "blob")).await;
    world.push(push("b", "m")).await;
    for (repository, content) in [("mirror", "x"), ("other", "y")] {
        let named = references(ReferenceKind::Layer, &["blob"]);
        world
            .push(PushManifest {
                references: named,
                ..mirrored(repository, content)
            })
            .await;
    }
    world.push(mirrored("other", "m")).await;
    let holders = async |content: &str| {
        let found = world.metadata.holders(&digest(content)).await;
        let told = |holder: Holder| (holder.name.to_string(), holder.kind, holder.manifest);
        let mut told: Vec<_> = found.expect("reads").into_iter().map(told).collect();
        told.sort_by(|one, other| one.0.cmp(&other.0));
        told
    };
    let local = RepositoryKind::Local;
    assert_eq!(
        holders("blob").await,
        [
            ("a".to_owned(), local.clone(), false),
            ("mirror".to_owned(), mirror(), false),
            ("other".to_owned(), mirror(), false),
        ]
    );
    assert_eq!(
        holders("m").await,
        [
            ("b".to_owned(), local, true),
            ("other".to_owned(), mirror(), true)
        ]
    );
    let every = world.metadata.every_repository(None).await.expect("reads");
    let names: Vec<String> = every.iter().map(|(_, name)| name.to_string()).collect();
    assert_eq!(names, ["a", "b", "mirror", "other"]);
    let after = world.metadata.every_repository(Some(every[2].0)).await;
    assert_eq!(after.expect("reads"), every[3..]);
}

pub(super) async fn a_scrub_that_did_not_end_is_gone_on_with_unless_it_is_too_old(world: World) {
    let begin = async |scope: &str| {
        let began = world.metadata.begin_scrub(scope, HOUR).await;
        began.expect("writes")
    };
    let first = begin("").await;
    world.clock.advance(HOUR);
    assert_eq!(begin("").await, first);
    assert_eq!(begin("team/**").await, first + HOUR, "another scope");
    world.clock.advance(1);
    assert_eq!(begin("").await, first + HOUR + 1, "it was too old");
    world.metadata.end_scrub("").await.expect("writes");
    world.clock.advance(1);
    assert_eq!(begin("").await, first + HOUR + 2);
    assert_eq!(begin("team/**").await, first + HOUR);
}
