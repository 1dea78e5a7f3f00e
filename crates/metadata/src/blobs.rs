//! Blobs and who holds them. A blob's row says that its bytes are in the store; a membership says which repository
//! may give them out. Nothing here answers a repository about a digest it does not hold.

use oci::{Digest, RepositoryName, UploadId};

use crate::candidates::{self, CandidateKind};
use crate::damage;
use crate::database::Metadata;
use crate::error::{Error, Result};
use crate::leases::{self, held_locally};
use crate::repositories::{self, Origin, RepositoryId, RepositoryKind};
use crate::tx::Tx;
use crate::uploads;
use crate::value::{Row, Value};

/// A live blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobRow {
    /// Its bytes.
    pub size: u64,
    /// Its key in the store; `None` is Distribution's path.
    pub key: Option<String>,
    /// Until when it is not reclaimed, in microseconds since 1970.
    pub lease_until: i64,
    /// Whether the repository holds it; `false` when it is only reachable through a mirrored manifest there, and in
    /// answers that are about no repository.
    pub member: bool,
}

/// A blob whose bytes are published in the store.
#[derive(Clone, Debug)]
pub struct CommitBlob {
    /// The repository that holds it from now on.
    pub repository: RepositoryName,
    /// The kind the repository gets when its row is made.
    pub kind: RepositoryKind,
    /// The digest of the bytes.
    pub digest: Digest,
    /// How many bytes.
    pub size: u64,
    /// The key they were published under.
    pub key: Option<String>,
    /// Who did it.
    pub by: String,
    /// How it came.
    pub origin: Origin,
    /// How long it is not reclaimed from now, in microseconds.
    pub lease_micros: i64,
    /// The upload that ends with this, whose row goes in the same transaction.
    pub upload: Option<UploadId>,
}

/// What became of a [`CommitBlob`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    /// The repository holds the blob.
    Stored {
        /// The key under which the bytes are read. Not the one just published when the blob was here before; the
        /// new copy is then superfluous.
        key: Option<String>,
    },
    /// The repository exists with another kind or upstream; nothing was written.
    KindConflict,
}

/// A blob that one repository takes over from another without moving bytes.
#[derive(Clone, Debug)]
pub struct Mount {
    /// The repository that holds it.
    pub from: RepositoryName,
    /// The local repository that gets it.
    pub to: RepositoryName,
    /// The blob.
    pub digest: Digest,
    /// Who did it.
    pub by: String,
    /// How long it is not reclaimed from now, in microseconds.
    pub lease_micros: i64,
}

/// What became of a [`Mount`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountOutcome {
    /// The target holds the blob.
    Mounted {
        /// The blob's bytes.
        size: u64,
    },
    /// The source does not hold it, or the target is a mirror, into which nothing is mounted.
    NotFound,
}

struct Link {
    repository: RepositoryName,
    digest: Digest,
    by: String,
    origin: Origin,
}

/// `$1` repository, `$2` digest. A mirror also reaches what its manifests name, and those manifests.
pub(crate) const BLOB: &str = "SELECT b.size, b.key, b.lease_until, l.digest IS NOT NULL AS member \
    FROM repositories r \
    JOIN blobs b ON b.digest = $2 AND b.state = 1 \
    LEFT JOIN repository_blobs l ON l.repository_id = r.id AND l.digest = b.digest \
    WHERE r.name = $1 AND (l.digest IS NOT NULL OR (r.kind = 2 AND ( \
        EXISTS (SELECT 1 FROM manifest_refs c WHERE c.repository_id = r.id AND c.child = b.digest) \
        OR EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = r.id AND m.digest = b.digest))))";

pub(crate) const ANYWHERE: &str =
    "SELECT size, key, lease_until, 0 AS member FROM blobs WHERE digest = $1 AND state = 1";

pub(crate) const MOUNT_SOURCES: &str = "SELECT r.name FROM repository_blobs l \
    JOIN repositories r ON r.id = l.repository_id \
    WHERE l.digest = $1 AND r.name <> $2 \
        AND EXISTS (SELECT 1 FROM blobs b WHERE b.digest = $1 AND b.state = 1) \
    ORDER BY l.repository_id LIMIT 16";

pub(crate) const MEMBER: &str = "SELECT b.size FROM repositories r \
    JOIN repository_blobs l ON l.repository_id = r.id AND l.digest = $2 \
    JOIN blobs b ON b.digest = l.digest AND b.state = 1 \
    WHERE r.name = $1";

/// A blob that is live keeps its row and its key; its lease may grow, its bytes were written once more, and that a local
/// repository held it is never forgotten.
const STORE: &str = "INSERT INTO blobs (digest, size, key, state, lease_until, created_at, held_locally) \
    VALUES ($1, $2, $3, 1, $4, $5, $6) \
    ON CONFLICT (digest) WHERE state = 1 DO UPDATE SET revision = blobs.revision + 1, lease_until = \
        CASE WHEN blobs.lease_until < excluded.lease_until THEN excluded.lease_until ELSE blobs.lease_until END, \
        held_locally = CASE WHEN blobs.held_locally < excluded.held_locally THEN excluded.held_locally \
            ELSE blobs.held_locally END \
    RETURNING size, key";

const JOIN: &str = "INSERT INTO repository_blobs (repository_id, digest, added_at, added_by, origin) \
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT (repository_id, digest) DO NOTHING";

pub(crate) const LEAVE: &str =
    "DELETE FROM repository_blobs WHERE repository_id = $1 AND digest = $2";

pub(crate) const FORGET_PULL: &str = "DELETE FROM digest_pulls WHERE repository_id = $1 AND digest = $2 \
    AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = $1 AND m.digest = $2)";

/// Whether bytes of the digest under this key are being deleted.
pub(crate) const KEY_DELETING: &str = "SELECT id FROM blobs \
    WHERE digest = $1 AND state = 2 AND coalesce(key, '') = coalesce($2, '') LIMIT 1";

impl Metadata {
    /// Returns the blob when the repository holds it or, in a mirror, when a manifest there names it or is it.
    pub async fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<BlobRow>> {
        self.read((repository.clone(), *digest), |tx, (repository, digest)| {
            Box::pin(async move {
                blob_row(
                    tx.query_one(BLOB, &[repository.into(), digest.into()])
                        .await?,
                )
            })
        })
        .await
    }

    /// Returns the blob if its bytes are here at all. Only for not fetching or storing them twice: the answer must
    /// never reach someone who asks in a repository.
    pub async fn find_blob_anywhere(&self, digest: &Digest) -> Result<Option<BlobRow>> {
        self.read(*digest, |tx, digest| {
            Box::pin(async move { blob_row(tx.query_one(ANYWHERE, &[digest.into()]).await?) })
        })
        .await
    }

    /// Returns up to sixteen repositories other than `target` that hold the blob. Whether the caller may read them
    /// is for the caller's gate to say.
    pub async fn find_mount_source(
        &self,
        digest: &Digest,
        target: &RepositoryName,
    ) -> Result<Vec<RepositoryName>> {
        self.read((*digest, target.clone()), |tx, (digest, target)| {
            Box::pin(async move {
                let rows = tx
                    .query(MOUNT_SOURCES, &[digest.into(), target.into()])
                    .await?;
                rows.iter().map(|row| row.repository_name(0)).collect()
            })
        })
        .await
    }

    /// Records a published blob, its membership and its lease, and ends its upload.
    pub async fn commit_blob(&self, commit: CommitBlob) -> Result<Committed> {
        self.write(commit, |tx, commit| Box::pin(commit_blob(tx, commit)))
            .await
    }

    /// Makes a blob of one repository a blob of another.
    pub async fn mount_blob(&self, mount: Mount) -> Result<MountOutcome> {
        self.write(mount, |tx, mount| Box::pin(mount_blob(tx, mount)))
            .await
    }

    /// Makes a blob whose bytes are here a blob of an existing repository, once it is known from its upstream that
    /// it is. Returns `false` when there is no such repository or no such blob.
    pub async fn link_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        by: &str,
        origin: Origin,
    ) -> Result<bool> {
        let link = Link {
            repository: repository.clone(),
            digest: *digest,
            by: by.to_owned(),
            origin,
        };
        self.write(link, |tx, link| Box::pin(link_blob(tx, link)))
            .await
    }

    /// Ends a membership and returns whether there was one. The bytes and other repositories are not touched.
    pub async fn unlink_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool> {
        self.write((repository.clone(), *digest), |tx, (repository, digest)| {
            Box::pin(async move {
                let Some((id, kind)) = repositories::find(tx, repository).await? else {
                    return Ok(false);
                };
                let left = leave(tx, id, digest).await?;
                match kind {
                    RepositoryKind::Local if left => {
                        candidates::note_now(tx, id, digest, CandidateKind::Blob).await?;
                    }
                    RepositoryKind::Mirror { .. } if left => {
                        candidates::note_orphan(tx, digest).await?;
                    }
                    RepositoryKind::Local | RepositoryKind::Mirror { .. } => {}
                }
                Ok(left)
            })
        })
        .await
    }
}

pub(crate) fn blob_row(row: Option<Row>) -> Result<Option<BlobRow>> {
    let Some(row) = row else { return Ok(None) };
    let key = row.opt_text(1)?.map(str::to_owned);
    Ok(Some(BlobRow {
        size: row.u64(0)?,
        key,
        lease_until: row.i64(2)?,
        member: row.bool(3)?,
    }))
}

/// Bytes that are published.
pub(crate) struct Stored<'a> {
    pub(crate) digest: &'a Digest,
    pub(crate) size: u64,
    pub(crate) key: Option<&'a str>,
    /// The kind of the repository that gets them.
    pub(crate) kind: &'a RepositoryKind,
    pub(crate) lease_micros: i64,
}

/// Makes sure that the blob, whose bytes were just written, has a live row with a lease, and returns the key they are
/// read under. A quarantined row of the digest ends with it.
pub(crate) async fn store(tx: &mut Tx, stored: &Stored<'_>) -> Result<Option<String>> {
    let Stored { digest, size, .. } = *stored;
    let now = tx.now();
    let until = now.saturating_add(stored.lease_micros);
    damage::revive(tx, digest, size, stored.key, until).await?;
    let columns = [
        digest.into(),
        size.into(),
        stored.key.into(),
        until.into(),
        now.into(),
        held_locally(stored.kind),
    ];
    let row = tx.query_one(STORE, &columns).await?;
    let row = row.ok_or_else(|| Error::unavailable("a blob's row was neither found nor made"))?;
    let recorded_key = row.opt_text(1)?.map(str::to_owned);
    let under = [digest.into(), recorded_key.as_deref().into()];
    if tx.query_one(KEY_DELETING, &under).await?.is_some() {
        return Err(Error::unavailable(format!(
            "blob {digest} was stored under a key that is being deleted"
        )));
    }
    let recorded = row.u64(0)?;
    if recorded != size {
        return Err(Error::corrupt(format!(
            "blob {digest} has {size} bytes but is recorded with {recorded}"
        )));
    }
    Ok(recorded_key)
}

/// Ends a membership with what is known of its pulls, and returns whether there was one.
pub(crate) async fn leave(tx: &mut Tx, repository: RepositoryId, digest: &Digest) -> Result<bool> {
    let key = [repository.value(), digest.into()];
    let left = tx.execute(LEAVE, &key).await? > 0;
    if left {
        tx.execute(FORGET_PULL, &key).await?;
    }
    Ok(left)
}

async fn join(
    tx: &mut Tx,
    repository: RepositoryId,
    digest: &Digest,
    by: &str,
    origin: Origin,
) -> Result<()> {
    let now = tx.now();
    let columns: [Value; 5] = [
        repository.value(),
        digest.into(),
        now.into(),
        by.into(),
        origin.value(),
    ];
    tx.execute(JOIN, &columns).await.map(drop)
}

async fn commit_blob(tx: &mut Tx, commit: &CommitBlob) -> Result<Committed> {
    let Some(repository) =
        repositories::find_or_create(tx, &commit.repository, &commit.kind).await?
    else {
        return Ok(Committed::KindConflict);
    };
    let stored = Stored {
        digest: &commit.digest,
        size: commit.size,
        key: commit.key.as_deref(),
        kind: &commit.kind,
        lease_micros: commit.lease_micros,
    };
    let key = store(tx, &stored).await?;
    join(tx, repository, &commit.digest, &commit.by, commit.origin).await?;
    if commit.kind == RepositoryKind::Local {
        // Until a manifest names it.
        candidates::note_now(tx, repository, &commit.digest, CandidateKind::Blob).await?;
    }
    if let Some(upload) = &commit.upload {
        uploads::remove(tx, upload).await?;
    }
    Ok(Committed::Stored { key })
}

async fn mount_blob(tx: &mut Tx, mount: &Mount) -> Result<MountOutcome> {
    let source = tx
        .query_one(MEMBER, &[(&mount.from).into(), (&mount.digest).into()])
        .await?;
    let Some(source) = source else {
        return Ok(MountOutcome::NotFound);
    };
    let size = source.u64(0)?;
    let Some(target) = repositories::find_or_create(tx, &mount.to, &RepositoryKind::Local).await?
    else {
        return Ok(MountOutcome::NotFound);
    };
    let local = RepositoryKind::Local;
    if !leases::lease_until(tx, &mount.digest, &local, mount.lease_micros).await? {
        return Err(Error::unavailable(format!(
            "blob {} was reclaimed while it was mounted",
            mount.digest
        )));
    }
    join(tx, target, &mount.digest, &mount.by, Origin::Mounted).await?;
    candidates::note_now(tx, target, &mount.digest, CandidateKind::Blob).await?;
    Ok(MountOutcome::Mounted { size })
}

async fn link_blob(tx: &mut Tx, link: &Link) -> Result<bool> {
    let Some((repository, kind)) = repositories::find(tx, &link.repository).await? else {
        return Ok(false);
    };
    // Touching the live row, even with an unchanged lease, is what a concurrent reclaim collides with.
    if !leases::lease_until(tx, &link.digest, &kind, 0).await? {
        return Ok(false);
    }
    join(tx, repository, &link.digest, &link.by, link.origin).await?;
    if kind == RepositoryKind::Local {
        candidates::note_now(tx, repository, &link.digest, CandidateKind::Blob).await?;
    }
    Ok(true)
}
