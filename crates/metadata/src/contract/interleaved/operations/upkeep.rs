//! Collecting, checking, importing, and what remembers how they went.

use super::{Operation, operation};
use crate::clock::tests::NOON;
use crate::contract::interleaved::scenario::{Facts, MIRROR, image};
use crate::contract::support::{digest, mirror, name, tag};
use crate::{
    CandidateKind, Certainty, FoundBlob, ImportLink, ImportLinks, Known, LinkName, RepositoryKind,
    Review, Standing, StoredPlace, Unnoted,
};

pub(super) fn operations() -> Vec<Operation> {
    let mut all = collecting();
    all.extend(checking());
    all.extend(importing());
    all
}

fn collecting() -> Vec<Operation> {
    vec![
        operation!(review, "of everything", facts, [review(&facts, true)]),
        operation!(
            review,
            "that keeps what has no tag",
            facts,
            [review(&facts, false)]
        ),
        operation!(
            review,
            "of a blob",
            facts,
            [Review {
                candidates: of_blob(&facts, "loose"),
                ..review(&facts, false)
            }]
        ),
        operation!(pause_collector, "that runs", _facts, [true]),
        operation!(store_collector_report, "of one", _facts, ["{}".to_owned()]),
    ]
}

/// Returns a review of the blob that nothing names and of the manifest without a tag: with more of them the pairs only cost more.
fn review(facts: &Facts, delete_untagged: bool) -> Review {
    let mut candidates = facts.candidates.clone();
    let wanted = [
        (digest("loose"), CandidateKind::Blob),
        (digest("n"), CandidateKind::Manifest),
    ];
    candidates.retain(|one| wanted.contains(&(one.digest, one.kind)));
    assert_eq!(candidates.len(), wanted.len(), "they are candidates");
    Review {
        candidates,
        grace_micros: 0,
        delete_untagged,
    }
}

fn of_blob(facts: &Facts, content: &str) -> Vec<crate::Candidate> {
    let mut some = facts.candidates.clone();
    some.retain(|one| one.kind == CandidateKind::Blob && one.digest == digest(content));
    assert_eq!(some.len(), 1, "it is a candidate");
    some
}

fn checking() -> Vec<Operation> {
    vec![
        operation!(
            quarantine,
            "of what nothing names",
            facts,
            [facts.loose.id, facts.loose.revision, "digest"]
        ),
        operation!(
            lift_quarantine,
            "of what is right again",
            facts,
            [facts.bad.id, facts.bad.revision]
        ),
        operation!(begin_scrub, "of everything", _facts, ["", 0]),
        operation!(end_scrub, "of everything", _facts, [""]),
        operation!(
            enter_bytes,
            "of what nobody knows",
            _facts,
            [
                StoredPlace {
                    digest: digest("found"),
                    key: None
                },
                5
            ]
        ),
        operation!(
            note_for_collection,
            "of what nothing names",
            facts,
            [Unnoted {
                repository: of_blob(&facts, "loose")[0].repository,
                name: Some(name("a")),
                digest: digest("loose"),
                kind: CandidateKind::Blob,
                is_unnoted: true,
                id: 0,
            }]
        ),
        operation!(
            note_checked,
            "of what nothing names",
            facts,
            [vec![(facts.loose.id, facts.loose.revision)]]
        ),
        operation!(
            rekey_blob,
            "to its plain path",
            _facts,
            [&digest("keyed"), "k"]
        ),
    ]
}

fn importing() -> Vec<Operation> {
    vec![
        operation!(begin_import, "of anything", _facts, []),
        operation!(
            import_blobs,
            "new, there and being deleted",
            _facts,
            [["new", "loose", "going", "bad"].map(found).to_vec(), true]
        ),
        operation!(
            import_links,
            "of a local repository",
            _facts,
            [links("a", RepositoryKind::Local)]
        ),
        operation!(
            import_links,
            "of a new repository",
            _facts,
            [links("b", RepositoryKind::Local)]
        ),
        operation!(
            import_links,
            "of the mirror",
            _facts,
            [links(MIRROR, mirror())]
        ),
        operation!(
            end_import_of,
            "that is sound",
            _facts,
            [&name("a"), Standing::Sound]
        ),
        operation!(
            end_import_of,
            "that is not",
            _facts,
            [&name("a"), Standing::Held]
        ),
        operation!(note_idle_in_repositories, "of all", _facts, []),
        operation!(note_idle_bytes, "of all", _facts, []),
        operation!(
            end_import,
            "with a report",
            _facts,
            ["{}".to_owned(), Certainty::Certain]
        ),
        operation!(
            remember_links,
            "of a repository",
            _facts,
            [
                &name("a"),
                &name("a"),
                vec![(LinkName::Tag(tag("v1")), Known::settled(digest("n")))]
            ]
        ),
        operation!(
            settle_links,
            "of a repository",
            _facts,
            [&name("a"), vec![LinkName::Tag(tag("v1"))]]
        ),
        operation!(
            forget_links,
            "of a repository",
            _facts,
            [&name("a"), vec![LinkName::Tag(tag("v1"))]]
        ),
    ]
}

fn found(content: &str) -> FoundBlob {
    FoundBlob {
        digest: digest(content),
        size: content.len() as u64,
    }
}

/// Returns what link files of three kinds say; `n` is a manifest of `a` already.
fn links(repository: &str, kind: RepositoryKind) -> ImportLinks {
    let at = NOON;
    let (loose, n) = (digest("loose"), digest("n"));
    let links = match (&kind, repository) {
        (RepositoryKind::Local, "a") => vec![
            ImportLink::Layer {
                name: loose,
                target: loose,
                at,
            },
            ImportLink::Tag {
                tag: tag("v1"),
                target: n,
                at,
            },
        ],
        (RepositoryKind::Local, _) => vec![
            ImportLink::Manifest {
                manifest: Box::new(crate::PushManifest {
                    kind: kind.clone(),
                    ..image(repository, "n")
                }),
                at,
            },
            ImportLink::Tag {
                tag: tag("v1"),
                target: n,
                at,
            },
        ],
        (RepositoryKind::Mirror { .. }, _) => vec![ImportLink::Kept { digest: loose, at }],
    };
    ImportLinks {
        files: name(repository),
        repository: name(repository),
        kind,
        links,
    }
}
