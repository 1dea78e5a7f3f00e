//! The small world in which two operations meet: the same digests, repositories and tags for all of them.

use std::sync::Arc;

use oci::{Algorithm, ReferenceKind};

use crate::clock::tests::SECOND;
use crate::contract::support::{
    World, commit, digest, mirror, mirrored, name, push, references, tag, upload_id,
};
use crate::{
    Candidate, CheckedBlob, Claim, CommitBlob, Due, Evict, EvictUnit, Evicted, Half, Known,
    LinkName, NewJob, NewUpload, Origin, PushManifest, RepositoryId, UploadPurpose,
};

/// The mirrored repository.
pub(super) const MIRROR: &str = "docker.io/library/nginx";

/// What the rows of the scenario are called by.
pub(super) struct Facts {
    /// The key of [`MIRROR`].
    pub(super) mirror: RepositoryId,
    /// The key of the blob `going`, which is being deleted.
    pub(super) going: i64,
    /// The right to run the job `running`.
    pub(super) running: Claim,
    /// Everything that may have lost its last holder, the oldest first.
    pub(super) candidates: Vec<Candidate>,
    /// The row of the blob `loose`.
    pub(super) loose: CheckedBlob,
    /// The row of the blob `bad`, which is quarantined.
    pub(super) bad: CheckedBlob,
}

/// Fills an empty database. Without a lease everywhere: leases must not hide what the statements themselves prevent.
///
/// Local `a`: the blob `loose` that nothing names, `keyed` in a place of its own and `bad` with damage; the image `m` over
/// `base`, tagged `v1`; the manifest `n` without a tag. The mirror: the image `i` over `shared`, tagged `v1`; `going` is
/// being deleted. The upload 1; a job that waits and one that runs; a link file of `a`.
pub(super) async fn fill(world: &World) -> Arc<Facts> {
    for content in ["loose", "base", "bad"] {
        world.commit(unleased(commit("a", content))).await;
    }
    let keyed = CommitBlob {
        key: Some("k".into()),
        ..unleased(commit("a", "keyed"))
    };
    world.commit(keyed).await;
    world
        .push(PushManifest {
            references: references(ReferenceKind::Layer, &["base"]),
            tags: vec![tag("v1")],
            ..image("a", "m")
        })
        .await;
    world.push(image("a", "n")).await;
    let mirror = fill_mirror(world).await;
    let metadata = &world.metadata;
    let begun = metadata.create_upload(upload(1, "alice")).await;
    begun.expect("creates");
    let running = fill_jobs(world).await;
    let link = (
        LinkName::Tag(tag("v1")),
        Known {
            target: digest("m"),
            previous: Some(digest("n")),
        },
    );
    let a = name("a");
    let linked = metadata.remember_links(&a, &a, vec![link]);
    linked.await.expect("remembers");
    let loose = live(world, "loose").await;
    let bad = live(world, "bad").await;
    let quarantined = metadata.quarantine(bad.id, bad.revision, "size").await;
    assert!(quarantined.expect("quarantines"));
    let due = Due {
        grace_micros: 0,
        half: Half::Waiting,
    };
    let candidates = metadata.due_candidates(due, None).await.expect("reads");
    let (mirror, going) = mirror;
    Arc::new(Facts {
        mirror,
        going,
        running,
        candidates,
        loose,
        bad,
    })
}

async fn live(world: &World, content: &str) -> CheckedBlob {
    let found = world.metadata.live_blob(&digest(content)).await;
    found.expect("reads").expect("it is there")
}

/// Returns an upload of that client, who may have one at a time.
pub(super) fn upload(number: u64, client: &str) -> NewUpload {
    NewUpload {
        id: upload_id(number),
        repository: name("a"),
        purpose: UploadPurpose::Push,
        algorithm: Algorithm::Sha256,
        hash_state: None,
        store_state: vec![1],
        by: "alice".into(),
        client: client.into(),
        most: Some(1),
    }
}

async fn fill_mirror(world: &World) -> (RepositoryId, i64) {
    for (manifest, layer) in [("i", "shared"), ("gone", "going")] {
        world
            .push(PushManifest {
                lease_micros: 0,
                references: references(ReferenceKind::Layer, &[layer]),
                tags: vec![tag(if manifest == "i" { "v1" } else { "v0" })],
                ..mirrored(MIRROR, manifest)
            })
            .await;
        world
            .commit(unleased(CommitBlob {
                kind: mirror(),
                origin: Origin::Mirrored,
                ..commit(MIRROR, layer)
            }))
            .await;
    }
    let repository = world.metadata.repository(&name(MIRROR)).await;
    let mirror = repository.expect("reads").expect("it is there").id;
    let evict = Evict {
        repository: mirror,
        unit: EvictUnit::Manifest(digest("gone")),
        pulled_at: world.metadata.now(),
        reclaim: [digest("going")].into(),
    };
    let evicted = world.metadata.evict(vec![evict]).await.expect("evicts");
    let [Evicted::Gone(claimed)] = evicted.as_slice() else {
        panic!("it goes: {evicted:?}");
    };
    (mirror, claimed[0].id)
}

async fn fill_jobs(world: &World) -> Claim {
    let metadata = &world.metadata;
    metadata.queue_job(job("running")).await.expect("queues");
    let claimed = metadata.claim_job("p", 60 * SECOND, None).await;
    let running = claimed.expect("claims").expect("it waits").claim;
    metadata.queue_job(job("waiting")).await.expect("queues");
    running
}

/// Returns a job of that key.
pub(super) fn job(unique_key: &str) -> NewJob {
    NewJob {
        kind: "warm".into(),
        unique_key: unique_key.to_owned(),
        payload: "{}".into(),
    }
}

/// Returns the commit without a lease.
pub(super) fn unleased(commit: CommitBlob) -> CommitBlob {
    CommitBlob {
        lease_micros: 0,
        ..commit
    }
}

/// Returns the push of a local manifest without a lease.
pub(super) fn image(repository: &str, content: &str) -> PushManifest {
    PushManifest {
        lease_micros: 0,
        ..push(repository, content)
    }
}
