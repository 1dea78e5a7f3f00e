//! The world of a clause: an empty database, a clock that it moves, and short ways to say what is pushed.

use std::collections::BTreeMap;
use std::sync::Arc;

use oci::{Algorithm, Digest, Reference, ReferenceKind, RepositoryName, Tag, UploadId};

use crate::clock::tests::{FakeClock, HOUR};
use crate::{
    CommitBlob, Committed, ExtendLease, LeaseOf, ManifestRow, Metadata, Origin, PushManifest,
    PushOutcome, Ref, ReferenceCheck, RepositoryKind,
};

/// An empty database and its clock.
pub(crate) struct World {
    pub(crate) metadata: Metadata,
    pub(crate) clock: Arc<FakeClock>,
}

pub(crate) fn name(text: &str) -> RepositoryName {
    RepositoryName::parse(text).expect("the test names a repository")
}

pub(crate) fn tag(text: &str) -> Tag {
    Tag::parse(text).expect("the test names a tag")
}

pub(crate) fn digest(content: &str) -> Digest {
    Digest::of(Algorithm::Sha256, content.as_bytes())
}

pub(crate) fn upload_id(number: u64) -> UploadId {
    let text = format!("0190c0de-0000-4000-8000-{number:012x}");
    UploadId::parse(&text).expect("the text has the form of an upload id")
}

pub(crate) fn mirror() -> RepositoryKind {
    RepositoryKind::Mirror {
        upstream: "docker.io".into(),
    }
}

/// Returns the commit of a blob whose bytes are `content`.
pub(crate) fn commit(repository: &str, content: &str) -> CommitBlob {
    CommitBlob {
        repository: name(repository),
        kind: RepositoryKind::Local,
        digest: digest(content),
        size: content.len() as u64,
        key: None,
        by: "anonymous".into(),
        origin: Origin::Pushed,
        lease_micros: HOUR,
        upload: None,
    }
}

/// Returns the lease of a blob that a repository is asked for.
pub(super) fn lease_of(repository: &str, content: &str, lease_micros: i64) -> ExtendLease {
    ExtendLease {
        repository: name(repository),
        digest: digest(content),
        of: LeaseOf::Blob,
        lease_micros,
    }
}

/// Returns the push of a manifest whose bytes are `content`, which names nothing and has no tag.
pub(crate) fn push(repository: &str, content: &str) -> PushManifest {
    PushManifest {
        repository: name(repository),
        kind: RepositoryKind::Local,
        digest: digest(content),
        media_type: "application/vnd.oci.image.manifest.v1+json".into(),
        size: content.len() as u64,
        artifact_type: None,
        config_media_type: None,
        subject: None,
        annotations: BTreeMap::new(),
        references: Vec::new(),
        tags: Vec::new(),
        by: "anonymous".into(),
        origin: Origin::Pushed,
        upstream: None,
        lease_micros: HOUR,
        key: None,
        check: ReferenceCheck::Required,
        checked_at: 0,
    }
}

/// Returns the same push as a mirror makes it.
pub(crate) fn mirrored(repository: &str, content: &str) -> PushManifest {
    PushManifest {
        kind: mirror(),
        origin: Origin::Mirrored,
        upstream: Some("docker.io".into()),
        check: ReferenceCheck::Skip,
        ..push(repository, content)
    }
}

/// Returns references of one kind to `contents`, in order.
pub(crate) fn references(kind: ReferenceKind, contents: &[&str]) -> Vec<Ref> {
    let reference = |(position, content): (usize, &&str)| Ref {
        position: u32::try_from(position).expect("a handful"),
        digest: digest(content),
        kind,
        size: content.len() as u64,
        media_type: "application/octet-stream".into(),
        foreign: false,
    };
    contents.iter().enumerate().map(reference).collect()
}

impl World {
    pub(crate) async fn commit(&self, commit: CommitBlob) {
        let committed = self.metadata.commit_blob(commit).await.expect("commits");
        assert!(matches!(committed, Committed::Stored { .. }));
    }

    pub(crate) async fn push(&self, push: PushManifest) {
        let outcome = self.metadata.push_manifest(push).await.expect("pushes");
        assert_eq!(outcome, PushOutcome::Stored);
    }

    /// Pushes a manifest under a tag.
    pub(crate) async fn tagged(&self, repository: &str, name: &str, content: &str) {
        self.push(PushManifest {
            tags: vec![tag(name)],
            ..push(repository, content)
        })
        .await;
    }

    pub(crate) async fn by_tag(&self, repository: &str, wanted: &str) -> Option<ManifestRow> {
        let reference = Reference::Tag(tag(wanted));
        self.metadata
            .manifest(&name(repository), &reference)
            .await
            .expect("reads")
    }

    pub(crate) async fn by_digest(&self, repository: &str, content: &str) -> Option<ManifestRow> {
        let reference = Reference::Digest(digest(content));
        self.metadata
            .manifest(&name(repository), &reference)
            .await
            .expect("reads")
    }

    /// Returns whether the repository gives out the blob.
    pub(crate) async fn gives(&self, repository: &str, content: &str) -> bool {
        self.metadata
            .blob(&name(repository), &digest(content))
            .await
            .expect("reads")
            .is_some()
    }

    /// Does what a reclaim does first: claims the blob's row for deletion.
    pub(crate) async fn claim(&self, content: &str) {
        let claimed = self.metadata.write(digest(content), |tx, digest| {
            const CLAIM: &str = "UPDATE blobs SET state = 2 WHERE digest = $1 AND state = 1";
            Box::pin(async move { tx.execute(CLAIM, &[digest.into()]).await })
        });
        assert_eq!(claimed.await.expect("claims"), 1);
    }
}
