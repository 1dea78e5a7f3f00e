//! Reading and deleting manifests. Finding one, by tag or digest, is one indexed query and parses nothing: this is
//! the path of every pull.

use oci::{Digest, Reference, RepositoryName};

use crate::candidates::{self, Candidate};
use crate::database::Metadata;
use crate::error::Result;
use crate::pulls;
use crate::repositories::{self, Origin, RepositoryId, RepositoryKind};
use crate::tag_moves::{self, Moving};
use crate::tags::{self, TagRow};
use crate::tx::Tx;
use crate::value::Row;

/// A stored manifest, as a pull needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestRow {
    /// Its digest.
    pub digest: Digest,
    /// The media type it is served with.
    pub media_type: String,
    /// Its bytes.
    pub size: u64,
    /// The key of its bytes in the store; `None` is Distribution's path.
    pub key: Option<String>,
    /// Until when its bytes are not reclaimed, in microseconds since 1970.
    pub lease_until: i64,
    /// The digest of the manifest it refers to.
    pub subject: Option<Digest>,
    /// The tag it was asked by; `None` when it was asked by digest.
    pub tag: Option<TagRow>,
    /// The kind of the repository it is in.
    pub repository_kind: RepositoryKind,
}

pub(crate) const BY_DIGEST: &str = "SELECT m.digest, m.media_type, m.size, m.subject, b.key, b.lease_until, r.kind, r.upstream \
    FROM repositories r \
    JOIN manifests m ON m.repository_id = r.id AND m.digest = $2 \
    JOIN blobs b ON b.digest = m.digest AND b.state = 1 \
    WHERE r.name = $1";

pub(crate) const BY_TAG: &str = "SELECT m.digest, m.media_type, m.size, m.subject, b.key, b.lease_until, r.kind, r.upstream, \
        t.checked_at, t.updated_at \
    FROM repositories r \
    JOIN tags t ON t.repository_id = r.id AND t.name = $2 \
    JOIN manifests m ON m.repository_id = r.id AND m.digest = t.digest \
    JOIN blobs b ON b.digest = m.digest AND b.state = 1 \
    WHERE r.name = $1";

pub(crate) const EVER_MIRRORED: &str = "SELECT r.id FROM repositories r WHERE r.name = $1 \
    AND (r.mirrored_at IS NOT NULL \
        OR EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = r.id AND m.origin = 2))";

pub(crate) const REFERENCED_SIZE: &str = "SELECT c.size FROM repositories r \
    JOIN manifest_refs c ON c.repository_id = r.id AND c.child = $2 \
    WHERE r.name = $1 ORDER BY c.size DESC LIMIT 1";

const DELETE: &str = "DELETE FROM manifests WHERE repository_id = $1 AND digest = $2";
pub(crate) const DELETE_REFS: &str =
    "DELETE FROM manifest_refs WHERE repository_id = $1 AND parent = $2";
const DELETE_TAGS: &str = "DELETE FROM tags WHERE repository_id = $1 AND digest = $2";
pub(crate) const TAGS_OF: &str =
    "SELECT name, origin FROM tags WHERE repository_id = $1 AND digest = $2 ORDER BY name";

impl Metadata {
    /// Returns the manifest a tag points to, or that has a digest, in this repository.
    pub async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<ManifestRow>> {
        self.read(
            (repository.clone(), reference.clone()),
            |tx, (repository, reference)| {
                Box::pin(async move {
                    let (sql, wanted) = match reference {
                        Reference::Tag(tag) => (BY_TAG, tag.as_str().into()),
                        Reference::Digest(digest) => (BY_DIGEST, digest.into()),
                    };
                    let Some(row) = tx.query_one(sql, &[repository.into(), wanted]).await? else {
                        return Ok(None);
                    };
                    manifest_row(&row, matches!(reference, Reference::Tag(_))).map(Some)
                })
            },
        )
        .await
    }

    /// Deletes a manifest from this repository in the name of `by`, with what it refers to and every tag on it, and
    /// returns whether it was there. Memberships of blobs stay.
    pub async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        by: &str,
    ) -> Result<bool> {
        let input = (repository.clone(), *digest, by.to_owned());
        self.write(input, |tx, (repository, digest, by)| {
            Box::pin(delete_manifest(tx, repository, digest, by))
        })
        .await
    }

    /// Returns the most bytes that a manifest of this repository says `child` has, if one names it.
    pub async fn referenced_size(
        &self,
        repository: &RepositoryName,
        child: &Digest,
    ) -> Result<Option<u64>> {
        self.read((repository.clone(), *child), |tx, (repository, child)| {
            Box::pin(async move {
                let row = tx
                    .query_one(REFERENCED_SIZE, &[repository.into(), child.into()])
                    .await?;
                row.map(|row| row.u64(0)).transpose()
            })
        })
        .await
    }

    /// Returns whether the repository holds a manifest that came from an upstream, or held one that was evicted.
    pub async fn has_ever_mirrored(&self, repository: &RepositoryName) -> Result<bool> {
        self.read(repository.clone(), |tx, repository| {
            Box::pin(async move {
                Ok(tx
                    .query_one(EVER_MIRRORED, &[repository.into()])
                    .await?
                    .is_some())
            })
        })
        .await
    }
}

fn manifest_row(row: &Row, by_tag: bool) -> Result<ManifestRow> {
    let tag = if by_tag {
        Some(TagRow {
            checked_at: row.i64(8)?,
            updated_at: row.i64(9)?,
        })
    } else {
        None
    };
    Ok(ManifestRow {
        digest: row.digest(0)?,
        media_type: row.text(1)?.to_owned(),
        size: row.u64(2)?,
        subject: row.opt_digest(3)?,
        key: row.opt_text(4)?.map(str::to_owned),
        lease_until: row.i64(5)?,
        tag,
        repository_kind: RepositoryKind::from_row(row, 6)?,
    })
}

async fn delete_manifest(
    tx: &mut Tx,
    repository: &RepositoryName,
    digest: &Digest,
    by: &str,
) -> Result<bool> {
    let Some((id, kind)) = repositories::find(tx, repository).await? else {
        return Ok(false);
    };
    let since = tx.now();
    let gone = match kind {
        RepositoryKind::Local => delete_local(tx, id, digest, by, since).await?.is_some(),
        RepositoryKind::Mirror { .. } => {
            let gone = delete_rows(tx, id, digest, Some(by)).await?;
            let key = [id.value(), digest.into()];
            tx.execute(pulls::FORGET_DIGEST, &key).await?;
            candidates::note_orphan(tx, digest).await?;
            gone
        }
    };
    Ok(gone)
}

/// Deletes a manifest of a local repository, and notes as of `since` what it kept; returns that, or `None` when there
/// was no such manifest.
pub(crate) async fn delete_local(
    tx: &mut Tx,
    repository: RepositoryId,
    digest: &Digest,
    by: &str,
    since: i64,
) -> Result<Option<Vec<Candidate>>> {
    let key = [repository.value(), digest.into()];
    if tx.query_one(tags::HAS_MANIFEST, &key).await?.is_none() {
        return Ok(None);
    }
    let noted = candidates::note_kept_by(tx, repository, digest, since).await?;
    delete_rows(tx, repository, digest, Some(by)).await?;
    tx.execute(pulls::FORGET_DIGEST, &key).await?;
    Ok(Some(noted))
}

/// Deletes the manifest's row, its references and its tags, and returns whether it was there. `by` is who deletes it;
/// `None` where it only goes from a cache, which moves no tag.
pub(crate) async fn delete_rows(
    tx: &mut Tx,
    repository: RepositoryId,
    digest: &Digest,
    by: Option<&str>,
) -> Result<bool> {
    let key = [repository.value(), digest.into()];
    if tx.execute(DELETE, &key).await? == 0 {
        return Ok(false);
    }
    if let Some(by) = by {
        for row in tx.query(TAGS_OF, &key).await? {
            let moving = Moving {
                by,
                origin: Origin::from_row(&row, 1)?,
                from: Some(digest),
                to: None,
            };
            tag_moves::note(tx, repository, row.text(0)?, &moving).await?;
        }
    }
    tx.execute(DELETE_REFS, &key).await?;
    tx.execute(pulls::FORGET_TAGS_OF, &key).await?;
    tx.execute(DELETE_TAGS, &key).await?;
    Ok(true)
}
