//! Clauses about blobs, memberships and mounts.

use super::support::{World, commit, digest, mirrored, name, push, upload_id};
use crate::clock::tests::{HOUR, NOON};
use crate::{
    BlobRow, CommitBlob, Committed, Error, Mount, MountOutcome, NewUpload, Origin, UploadPurpose,
};

pub(super) async fn a_blob_is_given_out_only_where_it_is_a_member(world: World) {
    world
        .commit(CommitBlob {
            key: Some("k1".into()),
            ..commit("a", "blob")
        })
        .await;
    world.commit(commit("b", "other")).await;
    let found = world
        .metadata
        .blob(&name("a"), &digest("blob"))
        .await
        .expect("reads");
    let row = BlobRow {
        size: 4,
        key: Some("k1".into()),
        lease_until: NOON + HOUR,
        member: true,
    };
    assert_eq!(found, Some(row.clone()));
    assert!(
        !world.gives("b", "blob").await,
        "knowing a digest gives nothing"
    );
    assert!(!world.gives("unknown", "blob").await);
    assert!(!world.gives("a", "other").await);
    let anywhere = world
        .metadata
        .find_blob_anywhere(&digest("blob"))
        .await
        .expect("reads");
    assert_eq!(
        anywhere,
        Some(BlobRow {
            member: false,
            ..row
        })
    );
}

pub(super) async fn a_manifest_of_a_local_repository_is_not_a_blob_of_it(world: World) {
    world.push(push("a", "m")).await;
    assert!(!world.gives("a", "m").await);
}

pub(super) async fn a_blob_stored_twice_keeps_its_first_key(world: World) {
    let first = CommitBlob {
        key: Some("k1".into()),
        ..commit("a", "blob")
    };
    let second = CommitBlob {
        key: Some("k2".into()),
        ..commit("b", "blob")
    };
    for push in [first, second] {
        let committed = world.metadata.commit_blob(push).await.expect("commits");
        assert_eq!(
            committed,
            Committed::Stored {
                key: Some("k1".into())
            }
        );
    }
    let found = world
        .metadata
        .blob(&name("b"), &digest("blob"))
        .await
        .expect("reads");
    assert_eq!(found.expect("is a member").key.as_deref(), Some("k1"));
}

pub(super) async fn a_size_that_contradicts_the_digest_is_corruption(world: World) {
    world.commit(commit("a", "blob")).await;
    let wrong = CommitBlob {
        size: 5,
        ..commit("b", "blob")
    };
    let refused = world
        .metadata
        .commit_blob(wrong)
        .await
        .expect_err("two sizes");
    assert!(matches!(refused, Error::Corrupt { .. }), "{refused}");
    assert!(!world.gives("b", "blob").await);
    assert_eq!(
        world.metadata.repository(&name("b")).await.expect("reads"),
        None
    );
}

pub(super) async fn a_commit_ends_its_upload(world: World) {
    let upload = NewUpload {
        id: upload_id(1),
        repository: name("a"),
        purpose: UploadPurpose::Push,
        algorithm: oci::Algorithm::Sha256,
        hash_state: None,
        store_state: vec![1],
        by: "anonymous".into(),
        client: String::new(),
        most: None,
    };
    world.metadata.create_upload(upload).await.expect("creates");
    world
        .commit(CommitBlob {
            upload: Some(upload_id(1)),
            ..commit("a", "blob")
        })
        .await;
    assert_eq!(
        world.metadata.upload(&upload_id(1)).await.expect("reads"),
        None
    );
}

pub(super) async fn a_blob_being_deleted_does_not_exist_and_comes_back_under_a_new_key(
    world: World,
) {
    world
        .commit(CommitBlob {
            key: Some("k1".into()),
            ..commit("a", "blob")
        })
        .await;
    world.claim("blob").await;
    assert!(!world.gives("a", "blob").await);
    let anywhere = world.metadata.find_blob_anywhere(&digest("blob")).await;
    assert_eq!(anywhere.expect("reads"), None);
    let sources = world
        .metadata
        .find_mount_source(&digest("blob"), &name("b"))
        .await;
    assert_eq!(sources.expect("reads"), []);
    let (repository, blob) = (name("a"), digest("blob"));
    let linked = world
        .metadata
        .link_blob(&repository, &blob, "x", Origin::Mirrored)
        .await;
    assert!(!linked.expect("answers"));
    let mounted = world
        .metadata
        .mount_blob(mount("a", "b"))
        .await
        .expect("answers");
    assert_eq!(mounted, MountOutcome::NotFound);
    world
        .commit(CommitBlob {
            key: Some("k2".into()),
            ..commit("a", "blob")
        })
        .await;
    let found = world
        .metadata
        .blob(&name("a"), &digest("blob"))
        .await
        .expect("reads");
    assert_eq!(found.expect("is back").key.as_deref(), Some("k2"));
}

fn mount(from: &str, to: &str) -> Mount {
    let (from, to) = (name(from), name(to));
    Mount {
        from,
        to,
        digest: digest("blob"),
        by: "anonymous".into(),
        lease_micros: HOUR,
    }
}

pub(super) async fn a_blob_is_mounted_from_where_it_is_a_member_and_nowhere_else(world: World) {
    world.commit(commit("a", "blob")).await;
    world.push(push("empty", "m")).await;
    world.push(mirrored("mirror", "m")).await;
    for (from, to) in [("empty", "b"), ("unknown", "b"), ("a", "mirror")] {
        let outcome = world
            .metadata
            .mount_blob(mount(from, to))
            .await
            .expect("answers");
        assert_eq!(outcome, MountOutcome::NotFound, "{from} to {to}");
    }
    assert_eq!(
        world.metadata.repository(&name("b")).await.expect("reads"),
        None
    );
    for _ in 0..2 {
        let outcome = world
            .metadata
            .mount_blob(mount("a", "b"))
            .await
            .expect("answers");
        assert_eq!(outcome, MountOutcome::Mounted { size: 4 });
    }
    assert!(world.gives("b", "blob").await);
    assert!(world.gives("a", "blob").await);
}

pub(super) async fn a_mount_extends_the_lease(world: World) {
    world.commit(commit("a", "blob")).await;
    world.clock.advance(10);
    world
        .metadata
        .mount_blob(mount("a", "b"))
        .await
        .expect("mounts");
    let found = world
        .metadata
        .blob(&name("b"), &digest("blob"))
        .await
        .expect("reads");
    assert_eq!(found.expect("is mounted").lease_until, NOON + 10 + HOUR);
}

pub(super) async fn mount_sources_are_a_few_other_members(world: World) {
    for number in 0..20 {
        world.commit(commit(&format!("r{number}"), "blob")).await;
    }
    world.commit(commit("stranger", "other")).await;
    let sources = world
        .metadata
        .find_mount_source(&digest("blob"), &name("r3"))
        .await;
    let sources = sources.expect("reads");
    assert_eq!(sources.len(), 16);
    assert!(!sources.contains(&name("r3")));
    assert!(!sources.contains(&name("stranger")));
    let unknown = world
        .metadata
        .find_mount_source(&digest("unknown"), &name("r3"))
        .await;
    assert_eq!(unknown.expect("reads"), []);
}

pub(super) async fn unlinking_ends_one_membership_only(world: World) {
    world.commit(commit("a", "blob")).await;
    world.commit(commit("b", "blob")).await;
    assert!(
        world
            .metadata
            .unlink_blob(&name("a"), &digest("blob"))
            .await
            .expect("answers")
    );
    assert!(
        !world
            .metadata
            .unlink_blob(&name("a"), &digest("blob"))
            .await
            .expect("answers")
    );
    assert!(
        !world
            .metadata
            .unlink_blob(&name("c"), &digest("blob"))
            .await
            .expect("answers")
    );
    assert!(!world.gives("a", "blob").await);
    assert!(world.gives("b", "blob").await);
}
