//! Clauses about repositories and the catalog.

use super::support::{World, commit, digest, mirror, mirrored, name, push};
use crate::{CatalogPage, CommitBlob, Committed, PushManifest, PushOutcome, RepositoryKind};

pub(super) async fn an_unknown_repository_is_nothing(world: World) {
    assert_eq!(
        world.metadata.repository(&name("a")).await.expect("reads"),
        None
    );
}

pub(super) async fn a_repository_without_manifests_is_in_no_list(world: World) {
    world.commit(commit("only/blobs", "x")).await;
    let found = world
        .metadata
        .repository(&name("only/blobs"))
        .await
        .expect("reads");
    let found = found.expect("the row exists");
    assert!(!found.has_manifests);
    assert_eq!(found.kind, RepositoryKind::Local);
    assert_eq!(found.name, name("only/blobs"));
    assert_eq!(catalog(&world, None, 10).await, Vec::<String>::new());
    let tags = world.metadata.tags(&name("only/blobs"), None, None).await;
    assert_eq!(tags.expect("reads"), None);
}

pub(super) async fn a_repository_tells_its_kind_and_its_upstream(world: World) {
    world.push(mirrored("docker.io/library/nginx", "m")).await;
    let found = world
        .metadata
        .repository(&name("docker.io/library/nginx"))
        .await;
    let found = found.expect("reads").expect("exists");
    assert_eq!(found.kind, mirror());
    assert!(found.has_manifests);
}

pub(super) async fn the_catalog_sorts_the_slash_first_and_pages_by_name(world: World) {
    for repository in ["ab", "a.b", "a-b", "a/b", "a", "a/b/c", "b"] {
        world.push(push(repository, "m")).await;
    }
    world.commit(commit("a/a", "blob")).await;
    let all = ["a", "a/b", "a/b/c", "a-b", "a.b", "ab", "b"];
    assert_eq!(catalog(&world, None, 100).await, all);
    assert_eq!(catalog(&world, None, 2).await, all[..2]);
    assert_eq!(catalog(&world, Some("a/b"), 2).await, all[2..4]);
    assert_eq!(
        catalog(&world, Some("a/zzz"), 2).await,
        all[3..5],
        "the name need not exist"
    );
    assert_eq!(catalog(&world, Some("b"), 2).await, Vec::<String>::new());
    assert_eq!(catalog(&world, None, 0).await, Vec::<String>::new());
}

async fn catalog(world: &World, after: Option<&str>, limit: u64) -> Vec<String> {
    let page = CatalogPage {
        after: after.map(str::to_owned),
        limit,
    };
    let names = world.metadata.catalog(page).await.expect("reads");
    names.iter().map(ToString::to_string).collect()
}

pub(super) async fn a_repositorys_kind_never_changes(world: World) {
    world.push(push("local", "m")).await;
    world.push(mirrored("mirror", "m")).await;
    let other = RepositoryKind::Mirror {
        upstream: "quay.io".into(),
    };
    let pairs = [
        ("local", mirror()),
        ("mirror", RepositoryKind::Local),
        ("mirror", other),
    ];
    for (repository, kind) in pairs {
        let blob = CommitBlob {
            kind: kind.clone(),
            ..commit(repository, "blob")
        };
        let committed = world.metadata.commit_blob(blob).await.expect("answers");
        assert_eq!(committed, Committed::KindConflict);
        let manifest = PushManifest {
            kind,
            ..push(repository, "m2")
        };
        let outcome = world
            .metadata
            .push_manifest(manifest)
            .await
            .expect("answers");
        assert_eq!(outcome, PushOutcome::KindConflict);
    }
    let nothing = world.metadata.find_blob_anywhere(&digest("blob")).await;
    assert_eq!(nothing.expect("reads"), None);
    assert_eq!(world.by_digest("local", "m2").await, None);
}
