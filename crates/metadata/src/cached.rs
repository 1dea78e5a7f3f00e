//! What is mirrored here, a page at a time: the facts by which somebody above decides what to evict. Pages are read apart
//! from each other, so that no read is long; what is decided from them is checked again where it is done.

use oci::{Digest, RepositoryName};

use crate::database::Metadata;
use crate::error::Result;
use crate::repositories::RepositoryId;
use crate::value::{Row, Value};

/// The rows of a page.
const PAGE: u64 = 500;

/// A mirrored repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedRepository {
    /// Its key.
    pub id: RepositoryId,
    /// Its name.
    pub name: RepositoryName,
    /// The configured name of its upstream.
    pub upstream: String,
}

/// A manifest of a mirrored repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedManifest {
    /// Its repository.
    pub repository: RepositoryId,
    /// Its digest.
    pub digest: Digest,
    /// The manifest it refers to.
    pub subject: Option<Digest>,
    /// When it came, in microseconds since 1970.
    pub created_at: i64,
    /// When it was last pulled, in microseconds since 1970.
    pub pulled_at: Option<i64>,
}

/// A tag of a mirrored repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedTag {
    /// Its repository.
    pub repository: RepositoryId,
    /// Its name.
    pub name: String,
    /// The manifest it points to.
    pub digest: Digest,
    /// When it was last pulled, in microseconds since 1970.
    pub pulled_at: Option<i64>,
}

/// What a manifest of a mirrored repository names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedRef {
    /// The repository of both.
    pub repository: RepositoryId,
    /// The manifest.
    pub parent: Digest,
    /// The place of the child among those of its parent.
    pub position: u64,
    /// What it names.
    pub child: Digest,
}

/// A blob that a mirrored repository holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedBlob {
    /// The repository.
    pub repository: RepositoryId,
    /// The blob.
    pub digest: Digest,
    /// Since when, in microseconds since 1970.
    pub added_at: i64,
    /// When it was last pulled there, in microseconds since 1970.
    pub pulled_at: Option<i64>,
}

/// Bytes in the store, whoever holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBytes {
    /// Their place in this list.
    pub id: i64,
    /// Their digest.
    pub digest: Digest,
    /// How many.
    pub size: u64,
    /// Until when they are not reclaimed, in microseconds since 1970.
    pub lease_until: i64,
    /// Whether a local repository holds or names them.
    pub local: bool,
    /// Whether a mirrored repository holds or names them.
    pub mirrored: bool,
}

pub(crate) const REPOSITORIES: &str = "SELECT id, name, upstream FROM repositories \
    WHERE id > $1 AND kind = 2 AND upstream IS NOT NULL ORDER BY id LIMIT $2";

pub(crate) const MANIFESTS: &str = "SELECT m.repository_id, m.digest, m.subject, m.created_at, p.pulled_at \
    FROM manifests m LEFT JOIN digest_pulls p ON p.repository_id = m.repository_id AND p.digest = m.digest \
    WHERE (m.repository_id, m.digest) > ($1, $2) \
        AND EXISTS (SELECT 1 FROM repositories r WHERE r.id = m.repository_id AND r.kind = 2) \
    ORDER BY m.repository_id, m.digest LIMIT $3";

pub(crate) const TAGS: &str = "SELECT t.repository_id, t.name, t.digest, p.pulled_at \
    FROM tags t LEFT JOIN tag_pulls p ON p.repository_id = t.repository_id AND p.tag = t.name \
    WHERE (t.repository_id, t.name) > ($1, $2) \
        AND EXISTS (SELECT 1 FROM repositories r WHERE r.id = t.repository_id AND r.kind = 2) \
    ORDER BY t.repository_id, t.name LIMIT $3";

pub(crate) const REFS: &str = "SELECT c.repository_id, c.parent, c.position, c.child FROM manifest_refs c \
    WHERE (c.repository_id, c.parent, c.position) > ($1, $2, $3) \
        AND EXISTS (SELECT 1 FROM repositories r WHERE r.id = c.repository_id AND r.kind = 2) \
    ORDER BY c.repository_id, c.parent, c.position LIMIT $4";

pub(crate) const BLOBS: &str = "SELECT l.repository_id, l.digest, l.added_at, p.pulled_at \
    FROM repository_blobs l LEFT JOIN digest_pulls p ON p.repository_id = l.repository_id AND p.digest = l.digest \
    WHERE (l.repository_id, l.digest) > ($1, $2) \
        AND EXISTS (SELECT 1 FROM repositories r WHERE r.id = l.repository_id AND r.kind = 2) \
    ORDER BY l.repository_id, l.digest LIMIT $3";

/// Kinds: 1 local, 2 mirror.
pub(crate) const STORED: &str = "SELECT b.id, b.digest, b.size, b.lease_until, \
        (EXISTS (SELECT 1 FROM repository_blobs l JOIN repositories r ON r.id = l.repository_id \
            WHERE l.digest = b.digest AND r.kind <> 2) \
        OR EXISTS (SELECT 1 FROM manifests m JOIN repositories r ON r.id = m.repository_id \
            WHERE m.digest = b.digest AND r.kind <> 2) \
        OR EXISTS (SELECT 1 FROM manifest_refs c JOIN repositories r ON r.id = c.repository_id \
            WHERE c.child = b.digest AND r.kind <> 2)) AS local, \
        (EXISTS (SELECT 1 FROM repository_blobs l JOIN repositories r ON r.id = l.repository_id \
            WHERE l.digest = b.digest AND r.kind = 2) \
        OR EXISTS (SELECT 1 FROM manifests m JOIN repositories r ON r.id = m.repository_id \
            WHERE m.digest = b.digest AND r.kind = 2) \
        OR EXISTS (SELECT 1 FROM manifest_refs c JOIN repositories r ON r.id = c.repository_id \
            WHERE c.child = b.digest AND r.kind = 2)) AS mirrored \
    FROM blobs b WHERE b.state = 1 AND b.id > $1 ORDER BY b.id LIMIT $2";

/// Reads one page: `$start` are the parameters before the limit.
macro_rules! page {
    ($metadata:expr, $sql:expr, $start:expr, $decode:expr) => {{
        let start: Vec<Value> = $start;
        $metadata
            .read(start, |tx, start| {
                Box::pin(async move {
                    let mut params = start.clone();
                    params.push(PAGE.into());
                    tx.query($sql, &params).await?.iter().map($decode).collect()
                })
            })
            .await
    }};
}

impl Metadata {
    /// Returns the next mirrored repositories after `after`; none when there are no more.
    pub async fn cached_repositories(
        &self,
        after: Option<&CachedRepository>,
    ) -> Result<Vec<CachedRepository>> {
        let start = vec![id_of(after.map(|last| last.id))];
        page!(self, REPOSITORIES, start, repository)
    }

    /// Returns the next manifests of mirrored repositories after `after`; none when there are no more.
    pub async fn cached_manifests(
        &self,
        after: Option<&CachedManifest>,
    ) -> Result<Vec<CachedManifest>> {
        let start = digest_after(after.map(|last| (last.repository, &last.digest)));
        page!(self, MANIFESTS, start, manifest)
    }

    /// Returns the next tags of mirrored repositories after `after`; none when there are no more.
    pub async fn cached_tags(&self, after: Option<&CachedTag>) -> Result<Vec<CachedTag>> {
        let name = after.map_or("", |last| last.name.as_str());
        let start = vec![id_of(after.map(|last| last.repository)), name.into()];
        page!(self, TAGS, start, tag)
    }

    /// Returns the next references of manifests of mirrored repositories after `after`; none when there are no more.
    pub async fn cached_refs(&self, after: Option<&CachedRef>) -> Result<Vec<CachedRef>> {
        let mut start = digest_after(after.map(|last| (last.repository, &last.parent)));
        start.push(after.map_or(0, |last| last.position).into());
        page!(self, REFS, start, reference)
    }

    /// Returns the next memberships of mirrored repositories after `after`; none when there are no more.
    pub async fn cached_blobs(&self, after: Option<&CachedBlob>) -> Result<Vec<CachedBlob>> {
        let start = digest_after(after.map(|last| (last.repository, &last.digest)));
        page!(self, BLOBS, start, blob)
    }

    /// Returns the next live blobs of the store after `after`, with who holds them; none when there are no more.
    pub async fn stored_bytes(&self, after: Option<&StoredBytes>) -> Result<Vec<StoredBytes>> {
        let start = vec![after.map_or(0, |last| last.id).into()];
        page!(self, STORED, start, stored)
    }
}

fn id_of(id: Option<RepositoryId>) -> Value {
    id.map_or(Value::Int(0), RepositoryId::value)
}

fn digest_after(last: Option<(RepositoryId, &Digest)>) -> Vec<Value> {
    let digest = last.map_or(Value::Blob(Vec::new()), |(_, digest)| digest.into());
    vec![id_of(last.map(|(id, _)| id)), digest]
}

fn repository(row: &Row) -> Result<CachedRepository> {
    Ok(CachedRepository {
        id: RepositoryId::from_row(row, 0)?,
        name: row.repository_name(1)?,
        upstream: row.text(2)?.to_owned(),
    })
}

fn manifest(row: &Row) -> Result<CachedManifest> {
    Ok(CachedManifest {
        repository: RepositoryId::from_row(row, 0)?,
        digest: row.digest(1)?,
        subject: row.opt_digest(2)?,
        created_at: row.i64(3)?,
        pulled_at: row.opt_i64(4)?,
    })
}

fn tag(row: &Row) -> Result<CachedTag> {
    Ok(CachedTag {
        repository: RepositoryId::from_row(row, 0)?,
        name: row.text(1)?.to_owned(),
        digest: row.digest(2)?,
        pulled_at: row.opt_i64(3)?,
    })
}

fn reference(row: &Row) -> Result<CachedRef> {
    Ok(CachedRef {
        repository: RepositoryId::from_row(row, 0)?,
        parent: row.digest(1)?,
        position: row.u64(2)?,
        child: row.digest(3)?,
    })
}

fn blob(row: &Row) -> Result<CachedBlob> {
    Ok(CachedBlob {
        repository: RepositoryId::from_row(row, 0)?,
        digest: row.digest(1)?,
        added_at: row.i64(2)?,
        pulled_at: row.opt_i64(3)?,
    })
}

fn stored(row: &Row) -> Result<StoredBytes> {
    Ok(StoredBytes {
        id: row.i64(0)?,
        digest: row.digest(1)?,
        size: row.u64(2)?,
        lease_until: row.i64(3)?,
        local: row.bool(4)?,
        mirrored: row.bool(5)?,
    })
}
