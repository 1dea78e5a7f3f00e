//! Blobs, manifests, what takes them away, and pulls.

use std::collections::BTreeSet;

use oci::{Digest, ReferenceKind};

use super::{Operation, operation};
use crate::clock::tests::HOUR;
use crate::contract::interleaved::scenario::{Facts, MIRROR, image, unleased};
use crate::contract::support::{
    commit, digest, mirror, mirrored, name, references, tag, upload_id,
};
use crate::{
    CommitBlob, Evict, EvictUnit, ExtendLease, LeaseOf, Mount, Origin, Pull, PushManifest,
};

pub(super) fn operations() -> Vec<Operation> {
    let mut all = blobs();
    all.extend(manifests());
    all.extend(reclaim());
    all
}

fn blobs() -> Vec<Operation> {
    vec![
        operation!(
            commit_blob,
            "of what is here already",
            _facts,
            [CommitBlob {
                upload: Some(upload_id(1)),
                ..unleased(commit("a", "loose"))
            }]
        ),
        operation!(
            commit_blob,
            "of what is mirrored, into a new repository",
            _facts,
            [unleased(commit("b", "shared"))]
        ),
        operation!(
            commit_blob,
            "of what is being deleted",
            _facts,
            [CommitBlob {
                key: Some("again".into()),
                ..unleased(commit("a", "going"))
            }]
        ),
        operation!(
            commit_blob,
            "of a mirror",
            _facts,
            [CommitBlob {
                kind: mirror(),
                origin: Origin::Mirrored,
                ..unleased(commit(MIRROR, "shared"))
            }]
        ),
        operation!(
            mount_blob,
            "of what nothing names",
            _facts,
            [mount("a", "loose")]
        ),
        operation!(
            mount_blob,
            "of what is mirrored",
            _facts,
            [mount(MIRROR, "shared")]
        ),
        operation!(
            link_blob,
            "into the mirror",
            _facts,
            [&name(MIRROR), &digest("loose"), "mirror", Origin::Mirrored]
        ),
        operation!(
            unlink_blob,
            "that nothing names",
            _facts,
            [&name("a"), &digest("loose")]
        ),
        operation!(
            unlink_blob,
            "of the mirror",
            _facts,
            [&name(MIRROR), &digest("shared")]
        ),
        operation!(
            extend_lease,
            "on what nothing names",
            _facts,
            [lease("a", "loose", LeaseOf::Blob)]
        ),
        operation!(
            extend_lease,
            "on a manifest without a tag",
            _facts,
            [lease("a", "n", LeaseOf::Manifest)]
        ),
        operation!(
            commit_blob,
            "of what is quarantined",
            _facts,
            [unleased(commit("a", "bad"))]
        ),
        operation!(
            extend_lease,
            "on what is mirrored",
            _facts,
            [lease(MIRROR, "shared", LeaseOf::Blob)]
        ),
    ]
}

fn lease(repository: &str, content: &str, of: LeaseOf) -> ExtendLease {
    ExtendLease {
        repository: name(repository),
        digest: digest(content),
        of,
        lease_micros: HOUR,
    }
}

fn mount(from: &str, content: &str) -> Mount {
    Mount {
        from: name(from),
        to: name("b"),
        digest: digest(content),
        by: "bob".into(),
        lease_micros: 0,
    }
}

fn manifests() -> Vec<Operation> {
    vec![
        operation!(
            push_manifest,
            "over what nothing named",
            _facts,
            [PushManifest {
                references: references(ReferenceKind::Layer, &["loose"]),
                tags: vec![tag("v1")],
                ..image("a", "new")
            }]
        ),
        operation!(
            push_manifest,
            "of an index over what has no tag",
            _facts,
            [PushManifest {
                references: references(ReferenceKind::Child, &["n"]),
                ..image("a", "index")
            }]
        ),
        operation!(
            push_manifest,
            "again",
            _facts,
            [PushManifest {
                references: references(ReferenceKind::Layer, &["base"]),
                tags: vec![tag("v1"), tag("v2")],
                ..image("a", "m")
            }]
        ),
        operation!(
            push_manifest,
            "of a referrer",
            _facts,
            [PushManifest {
                subject: Some(digest("n")),
                ..image("a", "referrer")
            }]
        ),
        operation!(
            push_manifest,
            "of a mirror",
            _facts,
            [PushManifest {
                lease_micros: 0,
                references: references(ReferenceKind::Layer, &["shared", "loose"]),
                tags: vec![tag("v1")],
                ..mirrored(MIRROR, "j")
            }]
        ),
        operation!(
            delete_manifest,
            "with its tag",
            _facts,
            [&name("a"), &digest("m"), "alice"]
        ),
        operation!(
            delete_manifest,
            "without a tag",
            _facts,
            [&name("a"), &digest("n"), "alice"]
        ),
        operation!(record_pulls, "of all there is", _facts, [pulls()]),
    ]
}

fn pulls() -> Vec<Pull> {
    let pull = |repository: &str, content: &str, by: Option<&str>| Pull {
        repository: name(repository),
        digest: digest(content),
        tag: by.map(tag),
        at: i64::MAX,
    };
    vec![
        pull("a", "m", Some("v1")),
        pull("a", "n", None),
        pull(MIRROR, "i", Some("v1")),
        pull(MIRROR, "shared", None),
    ]
}

fn reclaim() -> Vec<Operation> {
    vec![
        operation!(
            evict,
            "of an image",
            facts,
            [vec![evict(
                &facts,
                EvictUnit::Manifest(digest("i")),
                &["i", "shared"]
            )]]
        ),
        operation!(
            evict,
            "of a blob",
            facts,
            [vec![evict(
                &facts,
                EvictUnit::Blob(digest("shared")),
                &["shared"]
            )]]
        ),
        operation!(
            forget_claimed,
            "of what was being deleted",
            facts,
            [vec![facts.going]]
        ),
    ]
}

fn evict(facts: &Facts, unit: EvictUnit, reclaim: &[&str]) -> Evict {
    let reclaim: BTreeSet<Digest> = reclaim.iter().map(|content| digest(content)).collect();
    Evict {
        repository: facts.mirror,
        unit,
        pulled_at: 0,
        reclaim,
    }
}
