//! Storing a manifest: one transaction that checks what it refers to, records it and its references, moves its tags
//! and extends every lease involved. Its bytes are in the store before; nothing here looks at them.

use std::collections::{BTreeMap, BTreeSet};

use oci::{Digest, ReferenceKind, RepositoryName, Tag};

use crate::blobs::{self, Stored};
use crate::candidates::{self, CandidateKind};
use crate::database::Metadata;
use crate::error::{Error, Result};
use crate::leases;
use crate::manifests::DELETE_REFS;
use crate::repositories::{self, Origin, RepositoryId, RepositoryKind};
use crate::tags::{self, TagTarget};
use crate::tx::Tx;
use crate::value::Value;

/// A manifest whose bytes are published in the store.
#[derive(Clone, Debug)]
pub struct PushManifest {
    /// The repository it goes to.
    pub repository: RepositoryName,
    /// The kind the repository gets when its row is made.
    pub kind: RepositoryKind,
    /// The digest of its bytes.
    pub digest: Digest,
    /// The media type it is served with.
    pub media_type: String,
    /// How many bytes.
    pub size: u64,
    /// What the referrers list tells and filters by.
    pub artifact_type: Option<String>,
    /// The media type of its config.
    pub config_media_type: Option<String>,
    /// The manifest it refers to, which may be absent.
    pub subject: Option<Digest>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Everything it names.
    pub references: Vec<Ref>,
    /// The tags that point to it from now on.
    pub tags: Vec<Tag>,
    /// Who did it.
    pub by: String,
    /// How it came.
    pub origin: Origin,
    /// The configured name of the upstream it came from.
    pub upstream: Option<String>,
    /// How long it and its references are not reclaimed from now, in microseconds.
    pub lease_micros: i64,
    /// The key its bytes were published under.
    pub key: Option<String>,
    /// Whether its references must be here.
    pub check: ReferenceCheck,
    /// When the tags were known to be right, from [`Metadata::now`]; in a mirror, when the upstream was asked.
    pub checked_at: i64,
}

/// One thing a manifest names.
#[derive(Clone, Debug)]
pub struct Ref {
    /// Its place in the manifest, unique within it.
    pub position: u32,
    /// Its digest.
    pub digest: Digest,
    /// What it is.
    pub kind: ReferenceKind,
    /// The bytes the manifest says it has.
    pub size: u64,
    /// The media type the manifest gives.
    pub media_type: String,
    /// Whether the manifest gives URLs to fetch it from, so that it need not be here.
    pub foreign: bool,
}

/// Whether a manifest's references must be in its repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceCheck {
    /// Each is here with the size the manifest states, but for foreign ones: a child as a manifest, the others as a
    /// blob or a manifest.
    Required,
    /// Some may be absent, as in a mirror.
    Skip,
}

/// What became of a [`PushManifest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushOutcome {
    /// It is stored and its tags point to it.
    Stored,
    /// The repository does not hold all it names; nothing was written.
    MissingReferences {
        /// The first few in the order of the manifest.
        first: Vec<Digest>,
        /// How many different ones.
        total: u64,
    },
    /// The manifest is wrong about the size of something it names; nothing was written.
    SizeMismatch {
        /// What it is wrong about.
        digest: Digest,
        /// The bytes it states.
        stated: u64,
        /// The bytes there are.
        actual: u64,
    },
    /// The repository exists with another kind or upstream; nothing was written.
    KindConflict,
}

/// How many missing references are named.
const NAMED_MISSING: usize = 5;

/// The version of the code that fills the columns from a manifest's bytes; rows of older versions can be told apart
/// and filled again.
const EXTRACTOR: i64 = 1;

pub(crate) const HELD_BLOB: &str = "SELECT b.size FROM blobs b WHERE b.digest = $2 AND b.state = 1 \
    AND (EXISTS (SELECT 1 FROM repository_blobs l WHERE l.repository_id = $1 AND l.digest = $2) \
        OR EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = $1 AND m.digest = $2))";

pub(crate) const HELD_MANIFEST: &str = "SELECT b.size FROM blobs b WHERE b.digest = $2 AND b.state = 1 \
    AND EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = $1 AND m.digest = $2)";

/// A manifest pushed again keeps when, by whom and how it first came.
const STORE: &str = "INSERT INTO manifests (repository_id, digest, media_type, size, artifact_type, \
        config_media_type, subject, annotations, created_at, created_by, origin, upstream, extractor) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
    ON CONFLICT (repository_id, digest) DO UPDATE SET media_type = excluded.media_type, \
        artifact_type = excluded.artifact_type, config_media_type = excluded.config_media_type, \
        subject = excluded.subject, annotations = excluded.annotations, extractor = excluded.extractor";

const REFER: &str = "INSERT INTO manifest_refs \
        (repository_id, parent, position, child, kind, size, media_type) \
    VALUES ($1, $2, $3, $4, $5, $6, $7)";

impl Metadata {
    /// Stores a manifest and points its tags to it, or says why not.
    pub async fn push_manifest(&self, push: PushManifest) -> Result<PushOutcome> {
        self.write(push, |tx, push| Box::pin(push_manifest(tx, push)))
            .await
    }
}

async fn push_manifest(tx: &mut Tx, push: &PushManifest) -> Result<PushOutcome> {
    let existing = repositories::find(tx, &push.repository).await?;
    if existing
        .as_ref()
        .is_some_and(|(_, kind)| *kind != push.kind)
    {
        return Ok(PushOutcome::KindConflict);
    }
    if push.check == ReferenceCheck::Required
        && let Some(refusal) =
            check_references(tx, existing.map(|(id, _)| id), &push.references).await?
    {
        return Ok(refusal);
    }
    let Some(repository) = repositories::find_or_create(tx, &push.repository, &push.kind).await?
    else {
        return Ok(PushOutcome::KindConflict);
    };
    let stored = Stored {
        digest: &push.digest,
        size: push.size,
        key: push.key.as_deref(),
        kind: &push.kind,
        lease_micros: push.lease_micros,
    };
    blobs::store(tx, &stored).await?;
    extend_leases(tx, push).await?;
    store_manifest(tx, repository, push).await?;
    store_references(tx, repository, push).await?;
    for tag in &push.tags {
        let target = TagTarget {
            digest: &push.digest,
            by: &push.by,
            origin: push.origin,
            checked_at: push.checked_at,
        };
        tags::point(tx, repository, tag, &target).await?;
    }
    if push.tags.is_empty() && push.kind == RepositoryKind::Local {
        // Until a tag or another manifest names it.
        candidates::note_now(tx, repository, &push.digest, CandidateKind::Manifest).await?;
    }
    Ok(PushOutcome::Stored)
}

/// Returns why the references do not hold in the repository, or `None` when they do.
async fn check_references(
    tx: &mut Tx,
    repository: Option<RepositoryId>,
    references: &[Ref],
) -> Result<Option<PushOutcome>> {
    let mut missing = BTreeSet::new();
    let mut first = Vec::new();
    let mut mismatch = None;
    for reference in references.iter().filter(|reference| !reference.foreign) {
        match held_size(tx, repository, reference).await? {
            None => {
                if missing.insert(reference.digest) && first.len() < NAMED_MISSING {
                    first.push(reference.digest);
                }
            }
            Some(actual) if actual != reference.size && mismatch.is_none() => {
                let (digest, stated) = (reference.digest, reference.size);
                mismatch = Some(PushOutcome::SizeMismatch {
                    digest,
                    stated,
                    actual,
                });
            }
            Some(_) => {}
        }
    }
    if missing.is_empty() {
        return Ok(mismatch);
    }
    Ok(Some(PushOutcome::MissingReferences {
        first,
        total: missing.len() as u64,
    }))
}

/// Returns the size of what is referred to when the repository holds it as what it is referred to.
async fn held_size(
    tx: &mut Tx,
    repository: Option<RepositoryId>,
    reference: &Ref,
) -> Result<Option<u64>> {
    let Some(repository) = repository else {
        return Ok(None);
    };
    let sql = match reference.kind {
        ReferenceKind::Config | ReferenceKind::Layer => HELD_BLOB,
        ReferenceKind::Child => HELD_MANIFEST,
    };
    let row = tx
        .query_one(sql, &[repository.value(), (&reference.digest).into()])
        .await?;
    row.map(|row| row.u64(0)).transpose()
}

/// Extends the leases of everything named, in sorted order so that two pushes never wait for each other in a circle.
async fn extend_leases(tx: &mut Tx, push: &PushManifest) -> Result<()> {
    let required = |reference: &Ref| push.check == ReferenceCheck::Required && !reference.foreign;
    let mut digests = BTreeMap::new();
    for reference in &push.references {
        *digests.entry(reference.digest).or_insert(false) |= required(reference);
    }
    for (digest, required) in digests {
        let live = leases::lease_until(tx, &digest, &push.kind, push.lease_micros).await?;
        // Checked a moment ago in this transaction; only beside other nodes can it be reclaimed in between.
        if required && !live {
            return Err(Error::unavailable(format!(
                "{digest} was reclaimed while it was being referred to"
            )));
        }
    }
    Ok(())
}

/// Writes the manifest's row.
pub(crate) async fn store_manifest(
    tx: &mut Tx,
    repository: RepositoryId,
    push: &PushManifest,
) -> Result<()> {
    let annotations = serde_json::to_string(&push.annotations);
    let annotations = annotations.map_err(|error| Error::unavailable(error.to_string()))?;
    let columns = [
        repository.value(),
        (&push.digest).into(),
        push.media_type.as_str().into(),
        push.size.into(),
        push.artifact_type.as_deref().into(),
        push.config_media_type.as_deref().into(),
        push.subject.as_ref().into(),
        Value::Text(annotations),
        tx.now().into(),
        push.by.as_str().into(),
        push.origin.value(),
        push.upstream.as_deref().into(),
        EXTRACTOR.into(),
    ];
    tx.execute(STORE, &columns).await.map(drop)
}

/// Writes what the manifest names.
pub(crate) async fn store_references(
    tx: &mut Tx,
    repository: RepositoryId,
    push: &PushManifest,
) -> Result<()> {
    tx.execute(DELETE_REFS, &[repository.value(), (&push.digest).into()])
        .await?;
    for reference in &push.references {
        let columns = [
            repository.value(),
            (&push.digest).into(),
            i64::from(reference.position).into(),
            (&reference.digest).into(),
            i64::from(reference.kind.code()).into(),
            reference.size.into(),
            reference.media_type.as_str().into(),
        ];
        tx.execute(REFER, &columns).await?;
    }
    Ok(())
}
