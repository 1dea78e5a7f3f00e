//! The small world in which two operations meet: the same digests, repositories and tags for all of them.

use std::sync::Arc;

use oci::ReferenceKind;

use crate::clock::tests::SECOND;
use crate::contract::support::{
    World, commit, digest, mirror, mirrored, name, push, references, tag, upload_id,
};
use crate::{
    Claim, CommitBlob, Evict, EvictUnit, Evicted, NewJob, NewUpload, Origin, PushManifest,
    RepositoryId, UploadPurpose,
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
}

/// Fills an empty database. Without a lease everywhere: leases must not hide what the statements themselves prevent.
///
/// Local `a`: the blob `loose` that nothing names; the image `m` over `base`, tagged `v1`; the manifest `n` without a
/// tag. The mirror: the image `i` over `shared`, tagged `v1`. The upload 1; a job that waits and one that runs.
pub(super) async fn fill(world: &World) -> Arc<Facts> {
    for content in ["loose", "base"] {
        world.commit(unleased(commit("a", content))).await;
    }
    world
        .push(PushManifest {
            references: references(ReferenceKind::Layer, &["base"]),
            tags: vec![tag("v1")],
            ..image("a", "m")
        })
        .await;
    world.push(image("a", "n")).await;
    let mirror = fill_mirror(world).await;
    let upload = NewUpload {
        id: upload_id(1),
        repository: name("a"),
        purpose: UploadPurpose::Push,
        algorithm: oci::Algorithm::Sha256,
        hash_state: None,
        store_state: vec![1],
        by: "alice".into(),
    };
    world.metadata.create_upload(upload).await.expect("creates");
    let (mirror, going) = mirror;
    let running = fill_jobs(world).await;
    Arc::new(Facts {
        mirror,
        going,
        running,
    })
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
