//! Clauses about adopting what another registry stored, and giving it back.

use oci::ReferenceKind;

use super::support::{World, commit, digest, mirror, name, push, references, tag};
use crate::{
    Certainty, CommitBlob, FoundBlob, ImportLink, ImportLinks, ImportOutcome, Imported, Known,
    LinkName, Origin, PushManifest, ReferenceCheck, Rekeyed, RepositoryKind, Standing,
};

const AT: i64 = 1_000;

fn found(content: &str) -> FoundBlob {
    FoundBlob {
        digest: digest(content),
        size: content.len() as u64,
    }
}

fn layer(content: &str) -> ImportLink {
    let digest = digest(content);
    ImportLink::Layer {
        name: digest,
        target: digest,
        at: AT,
    }
}

fn manifest(content: &str, layers: &[&str]) -> ImportLink {
    ImportLink::Manifest {
        manifest: Box::new(PushManifest {
            references: references(ReferenceKind::Layer, layers),
            origin: Origin::Imported,
            check: ReferenceCheck::Skip,
            lease_micros: 0,
            ..push("imported", content)
        }),
        at: AT,
    }
}

fn pointing(tag_name: &str, content: &str) -> ImportLink {
    ImportLink::Tag {
        tag: tag(tag_name),
        target: digest(content),
        at: AT,
    }
}

impl World {
    async fn import_blobs(&self, contents: &[&str]) -> u64 {
        let blobs = contents.iter().map(|content| found(content)).collect();
        let made = self.metadata.import_blobs(blobs, true).await;
        made.expect("imports")
    }

    async fn import(&self, repository: &str, links: Vec<ImportLink>) -> Vec<Imported> {
        match self
            .import_as(repository, RepositoryKind::Local, links)
            .await
        {
            ImportOutcome::Done(outcomes) => outcomes,
            ImportOutcome::KindConflict => panic!("{repository} is of another kind"),
        }
    }

    async fn import_as(
        &self,
        repository: &str,
        kind: RepositoryKind,
        links: Vec<ImportLink>,
    ) -> ImportOutcome {
        let import = ImportLinks {
            files: name(repository),
            repository: name(repository),
            kind,
            links,
        };
        self.metadata.import_links(import).await.expect("imports")
    }

    async fn known(&self, repository: &str, link: LinkName) -> Option<Known> {
        let files = name(repository);
        let known = self.metadata.known_links(&files, vec![link]);
        known.await.expect("reads").remove(0)
    }

    /// Returns what is to be looked at: repository and kind by number, and the digest.
    async fn candidates(&self) -> Vec<(i64, i64, oci::Digest)> {
        let rows = self.metadata.read((), |tx, ()| {
            const SQL: &str = "SELECT repository_id, kind, digest FROM gc_candidates ORDER BY repository_id, kind, digest";
            Box::pin(async move {
                let rows = tx.query(SQL, &[]).await?;
                let row = |row: &crate::value::Row| Ok((row.i64(0)?, row.i64(1)?, row.digest(2)?));
                rows.iter().map(row).collect()
            })
        });
        rows.await.expect("reads")
    }

    async fn is_held(&self, repository: &str) -> bool {
        let held = self.metadata.read(name(repository), |tx, name| {
            const SQL: &str =
                "SELECT id FROM repositories WHERE name = $1 AND held_since IS NOT NULL";
            Box::pin(async move { tx.query_one(SQL, &[name.into()]).await })
        });
        held.await.expect("reads").is_some()
    }
}

pub(super) async fn found_bytes_get_a_row_once_and_what_is_here_keeps_its_own(world: World) {
    world.commit(commit("a", "here")).await;
    assert_eq!(world.import_blobs(&["here", "new"]).await, 1);
    assert_eq!(world.import_blobs(&["here", "new"]).await, 0);
    let new = world.metadata.find_blob_anywhere(&digest("new")).await;
    let new = new.expect("reads").expect("it has a row");
    assert_eq!((new.size, new.key, new.lease_until), (3, None, 0));
}

pub(super) async fn bytes_whose_deletion_broke_off_are_taken_back(world: World) {
    world.commit(commit("a", "half gone")).await;
    world.claim("half gone").await;
    assert_eq!(world.import_blobs(&["half gone"]).await, 1);
    assert!(world.gives("a", "half gone").await);
    let claimed = world.metadata.claimed(None).await.expect("reads");
    assert!(claimed.is_empty(), "nobody deletes them any more");
}

pub(super) async fn a_link_is_taken_only_for_what_is_here(world: World) {
    world.import_blobs(&["layer", "m"]).await;
    let outcomes = world
        .import(
            "imported",
            vec![
                layer("layer"),
                layer("gone"),
                manifest("m", &["layer", "absent"]),
                manifest("gone", &[]),
                pointing("1", "m"),
                pointing("2", "gone"),
            ],
        )
        .await;
    use Imported::{Absent, Taken};
    assert_eq!(outcomes, [Taken, Absent, Taken, Absent, Taken, Absent]);
    assert!(world.gives("imported", "layer").await);
    let by_tag = world
        .by_tag("imported", "1")
        .await
        .expect("it points there");
    assert_eq!(by_tag.tag.expect("asked by tag").updated_at, AT);
    for (link, known) in [
        (LinkName::Layer(digest("layer")), true),
        (LinkName::Layer(digest("gone")), false),
        (LinkName::Revision(digest("m")), true),
        (LinkName::Tag(tag("1")), true),
        (LinkName::Tag(tag("2")), false),
    ] {
        let remembered = world.known("imported", link.clone()).await;
        assert_eq!(remembered.is_some(), known, "{link:?}");
    }
}

pub(super) async fn a_mirrored_tag_that_is_imported_is_due_to_be_asked_for(world: World) {
    world.import_blobs(&["m"]).await;
    let links = vec![manifest("m", &[]), pointing("1", "m")];
    let outcome = world.import_as("library/nginx", mirror(), links).await;
    assert!(matches!(outcome, ImportOutcome::Done(_)));
    let row = world.by_tag("library/nginx", "1").await.expect("is there");
    assert_eq!(row.tag.expect("asked by tag").checked_at, 0);
    let local = world
        .import_as("library/nginx", RepositoryKind::Local, Vec::new())
        .await;
    assert_eq!(local, ImportOutcome::KindConflict);
}

pub(super) async fn what_is_remembered_of_a_link_is_the_last_that_was_said(world: World) {
    let (files, here) = (name("nginx"), name("docker.io/nginx"));
    let link = || LinkName::Tag(tag("1"));
    let (old, new) = (digest("old"), digest("new"));
    let writing = Known {
        target: new,
        previous: Some(old),
    };
    for known in [Known::settled(old), writing] {
        let links = vec![(link(), known)];
        let remembered = world.metadata.remember_links(&files, &here, links);
        remembered.await.expect("remembers");
        assert_eq!(world.known("nginx", link()).await, Some(known));
    }
    assert_eq!(world.known("other", link()).await, None);
    let owner = world.metadata.owner_of_links(&files).await.expect("reads");
    assert_eq!(owner, Some(here));
    let forgotten = world.metadata.forget_links(&files, vec![link()]);
    forgotten.await.expect("forgets");
    assert_eq!(world.known("nginx", link()).await, None);
}

pub(super) async fn a_link_that_is_being_written_may_say_what_it_said_until_it_is_settled_or_read(
    world: World,
) {
    world.import_blobs(&["old", "new", "other"]).await;
    let manifests = ["old", "new", "other"].map(|content| manifest(content, &[]));
    world.import("a", manifests.to_vec()).await;
    let (files, link) = (name("a"), || LinkName::Tag(tag("1")));
    let writing = Known {
        target: digest("new"),
        previous: Some(digest("old")),
    };
    let says = async |content: &str| {
        let known = world.known("a", link()).await;
        known.expect("it is known").covers(&digest(content))
    };
    let remember = async || {
        let links = vec![(link(), writing)];
        let remembered = world.metadata.remember_links(&files, &files, links);
        remembered.await.expect("remembers");
    };
    remember().await;
    assert!(says("old").await && says("new").await && !says("other").await);
    let told = world.metadata.exportable(&files).await.expect("reads");
    assert!(told.known.contains(&(link(), writing)), "{told:?}");
    let settled = world.metadata.settle_links(&files, vec![link()]);
    settled.await.expect("settles");
    assert!(!says("old").await && says("new").await);
    remember().await;
    let taken = world.import("a", vec![pointing("1", "other")]).await;
    assert_eq!(taken, [Imported::Taken]);
    assert!(!says("old").await && !says("new").await && says("other").await);
}

pub(super) async fn a_repository_is_held_until_it_is_sound_and_its_candidates_wake_then(
    world: World,
) {
    world
        .import_blobs(&["layer", "idle", "m", "child", "orphan"])
        .await;
    let links = vec![
        layer("layer"),
        layer("idle"),
        manifest("m", &["layer"]),
        manifest("child", &[]),
        pointing("1", "m"),
    ];
    world.import("held", links).await;
    let end = async |standing| {
        let held = name("held");
        let ended = world.metadata.end_import_of(&held, standing);
        ended.await.expect("ends");
    };
    end(Standing::Held).await;
    assert!(world.is_held("held").await);
    assert_eq!(world.candidates().await, [], "no end of one says it");
    let idle = world.metadata.note_idle_in_repositories();
    idle.await.expect("notes");
    world.metadata.note_idle_bytes().await.expect("notes");
    let noted = world.candidates().await;
    let repository = noted.last().expect("something is noted").0;
    assert_eq!(
        noted,
        [
            (0, 1, digest("orphan")),
            (repository, 1, digest("idle")),
            (repository, 2, digest("child")),
        ]
    );
    let later = world.metadata.write((), |tx, ()| {
        Box::pin(async move {
            tx.execute("UPDATE gc_candidates SET not_before = 9", &[])
                .await
        })
    });
    later.await.expect("writes");
    end(Standing::Sound).await;
    end(Standing::Sound).await;
    assert!(!world.is_held("held").await);
    let waiting = world.metadata.read((), |tx, ()| {
        const SQL: &str = "SELECT count(*) AS number FROM gc_candidates WHERE not_before > 0";
        Box::pin(async move { tx.query_one(SQL, &[]).await })
    });
    let waiting = waiting.await.expect("reads").expect("a count is a row");
    assert_eq!(
        waiting.i64(0).expect("a number"),
        1,
        "the bytes of no repository"
    );
}

pub(super) async fn an_import_that_ended_is_told_until_the_next_one(world: World) {
    assert_eq!(world.metadata.ended_import().await.expect("reads"), None);
    use Certainty::{Certain, Uncertain};
    for (report, certainty) in [("first", Certain), ("second", Uncertain)] {
        let ended = world.metadata.end_import(report.to_owned(), certainty);
        ended.await.expect("writes");
        let ended = world.metadata.ended_import().await.expect("reads");
        let ended = ended.expect("one ended");
        assert_eq!(
            (ended.report.as_str(), ended.certainty),
            (report, certainty)
        );
    }
}

pub(super) async fn what_is_idle_is_noted_however_many_repositories_there_are(world: World) {
    world.import_blobs(&["idle"]).await;
    for number in 0..41 {
        world
            .import(&format!("r{number}"), vec![layer("idle")])
            .await;
    }
    let idle = world.metadata.note_idle_in_repositories();
    idle.await.expect("notes");
    assert_eq!(world.candidates().await.len(), 41);
}

pub(super) async fn a_repository_is_told_as_its_links_tell_it_with_what_is_remembered(
    world: World,
) {
    world.import_blobs(&["layer", "m", "kept"]).await;
    let links = vec![
        layer("layer"),
        manifest("m", &["layer"]),
        pointing("1", "m"),
        ImportLink::Kept {
            digest: digest("kept"),
            at: AT,
        },
    ];
    world.import("a", links).await;
    world.commit(commit("b", "other")).await;
    world.claim("other").await;
    let told = world.metadata.exportable(&name("a")).await.expect("reads");
    assert_eq!(told.kind, Some(RepositoryKind::Local));
    let mut layers = vec![digest("layer"), digest("kept")];
    layers.sort();
    assert_eq!(told.layers, layers);
    assert_eq!(told.manifests, [digest("m")]);
    assert_eq!(told.tags, [(tag("1"), digest("m"))]);
    assert_eq!((told.known.len(), told.keyed.len()), (4, 0));
    let being_deleted = world.metadata.exportable(&name("b")).await.expect("reads");
    assert_eq!(being_deleted.layers, []);
    let nothing = world
        .metadata
        .exportable(&name("none"))
        .await
        .expect("reads");
    assert_eq!(nothing, crate::Exportable::default());
    let names = world
        .metadata
        .exportable_names(None, 9)
        .await
        .expect("reads");
    assert_eq!(names, [name("a"), name("b")]);
    let rest = world.metadata.exportable_names(Some(&names[0]), 9).await;
    assert_eq!(rest.expect("reads"), [name("b")]);
}

pub(super) async fn bytes_under_a_key_move_to_the_plain_path_once_nothing_is_deleted_there(
    world: World,
) {
    world.commit(commit("a", "layer")).await;
    world.claim("layer").await;
    let again = CommitBlob {
        key: Some("second".to_owned()),
        ..commit("a", "layer")
    };
    world.commit(again).await;
    let rekey = async || {
        let rekeyed = world.metadata.rekey_blob(&digest("layer"), "second").await;
        rekeyed.expect("answers")
    };
    assert_eq!(rekey().await, Rekeyed::Busy);
    let is_free = async || {
        let free = world.metadata.is_plain_path_free(&digest("layer")).await;
        free.expect("reads")
    };
    assert!(!is_free().await);
    let claimed = world.metadata.claimed(None).await.expect("reads");
    let ids = claimed.iter().map(|(blob, _)| blob.id).collect();
    world.metadata.forget_claimed(ids).await.expect("forgets");
    assert!(is_free().await);
    assert_eq!(rekey().await, Rekeyed::Moved);
    assert_eq!(rekey().await, Rekeyed::Unchanged);
    let row = world.metadata.find_blob_anywhere(&digest("layer")).await;
    assert_eq!(row.expect("reads").expect("is live").key, None);
    let claimed = world.metadata.claimed(None).await.expect("reads");
    let keys: Vec<_> = claimed
        .iter()
        .map(|(blob, taken)| (blob.key.as_deref(), *taken))
        .collect();
    assert_eq!(
        keys,
        [(Some("second"), false)],
        "the file under the key goes"
    );
}
