//! Bytes that are not what their digest says. A quarantined blob exists to nobody; its row stays, so that its place is
//! known: the next push or fill of the digest overwrites it, and bytes that are found right again come back.

use oci::{Digest, RepositoryName};

use crate::database::Metadata;
use crate::error::{Error, Result};
use crate::repositories::{RepositoryId, RepositoryKind};
use crate::tx::Tx;
use crate::value::{Row, Value};

/// The rows of a page.
const PAGE: u64 = 200;

/// A blob's row as whoever checks its bytes needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedBlob {
    /// The key of the row.
    pub id: i64,
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
    /// The key of its bytes in the store; `None` is Distribution's path.
    pub key: Option<String>,
    /// Counts the times its bytes were written; what was seen of others says nothing about these.
    pub revision: i64,
    /// What was found wrong, if it is quarantined.
    pub damage: Option<String>,
    /// When its bytes were last hashed and found right, in microseconds since 1970; 0 when they never were.
    pub checked_at: i64,
}

/// Which blobs are to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckScope {
    /// All.
    Everything,
    /// Those that a repository holds, is told of by its manifests, or has as manifests.
    Repository(RepositoryId),
}

pub(crate) const LIVE: &str = "SELECT id, digest, size, key, revision, damage, checked_at FROM blobs WHERE digest = $1 AND state = 1";

pub(crate) const QUARANTINED_AT: &str =
    "SELECT key FROM blobs WHERE digest = $1 AND state = 3 ORDER BY id LIMIT 1";

/// Only of the bytes that were looked at: a push that replaced them meanwhile has changed the revision.
pub(crate) const QUARANTINE: &str =
    "UPDATE blobs SET state = 3, damage = $3 WHERE id = $1 AND state = 1 AND revision = $2";

pub(crate) const LIFT: &str = "UPDATE blobs SET state = 1, damage = NULL, revision = revision + 1, checked_at = $3 \
    WHERE id = $1 AND state = 3 AND revision = $2 \
        AND NOT EXISTS (SELECT 1 FROM blobs o WHERE o.digest = blobs.digest AND o.state = 1)";

pub(crate) const CHECKED: &str =
    "UPDATE blobs SET checked_at = $3 WHERE id = $1 AND state = 1 AND revision = $2";

/// `$1` digest, `$2` size, `$3` key, `$4` lease, for bytes that were just written and are right. Of a digest that is live
/// nothing is revived.
pub(crate) const REVIVE: &str = "UPDATE blobs SET state = 1, size = $2, damage = NULL, lease_until = \
        CASE WHEN lease_until < $4 THEN $4 ELSE lease_until END \
    WHERE digest = $1 AND state = 3 AND coalesce(key, '') = coalesce($3, '') \
        AND NOT EXISTS (SELECT 1 FROM blobs o WHERE o.digest = $1 AND o.state = 1)";

/// The place of these is taken over by the live bytes.
pub(crate) const TAKE_OVER: &str = "DELETE FROM blobs \
    WHERE digest = $1 AND state = 3 AND coalesce(key, '') = coalesce($2, '')";

/// What lies quarantined in another place than the live bytes is superfluous.
pub(crate) const DISCARD: &str =
    "UPDATE blobs SET state = 2, delete_after = $2 WHERE digest = $1 AND state = 3";

/// Beside a live row, as an older program makes it, a quarantined one says nothing any more.
pub(crate) const QUARANTINED: &str = "SELECT b.id, b.digest, b.size, b.key, b.revision, b.damage, b.checked_at FROM blobs b \
    WHERE b.state = 3 AND (b.digest, b.id) > ($1, $2) \
        AND NOT EXISTS (SELECT 1 FROM blobs o WHERE o.digest = b.digest AND o.state = 1) \
    ORDER BY b.digest, b.id LIMIT $3";

const COUNT_QUARANTINED: &str = "SELECT count(*) FROM blobs WHERE state = 3";

pub(crate) const LIVE_PAGE: &str = "SELECT id, digest, size, key, revision, damage, checked_at FROM blobs \
    WHERE state = 1 AND id > $1 ORDER BY id LIMIT $2";

const COUNT_LIVE: &str =
    "SELECT count(*), CAST(coalesce(sum(size), 0) AS BIGINT) FROM blobs WHERE state = 1";

pub(crate) const EVERY_REPOSITORY: &str =
    "SELECT id, name FROM repositories WHERE id > $1 ORDER BY id LIMIT $2";

const HOLDERS: &str = "SELECT r.name, r.kind, r.upstream, \
        EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = r.id AND m.digest = $1) AS manifest \
    FROM repositories r WHERE r.id IN ( \
        SELECT l.repository_id FROM repository_blobs l WHERE l.digest = $1 \
        UNION SELECT m.repository_id FROM manifests m WHERE m.digest = $1 \
        UNION SELECT c.repository_id FROM manifest_refs c WHERE c.child = $1)";

/// The digests of a repository, a page of each list, so that no page reads all of them.
pub(crate) const DIGESTS_OF: &str = "SELECT digest FROM ( \
        SELECT digest FROM (SELECT l.digest FROM repository_blobs l \
            WHERE l.repository_id = $1 AND l.digest > $2 ORDER BY l.digest LIMIT $3) held \
        UNION SELECT digest FROM (SELECT m.digest FROM manifests m \
            WHERE m.repository_id = $1 AND m.digest > $2 ORDER BY m.digest LIMIT $3) manifests \
        UNION SELECT digest FROM (SELECT DISTINCT c.child AS digest FROM manifest_refs c \
            WHERE c.repository_id = $1 AND c.child > $2 ORDER BY c.child LIMIT $3) named \
    ) digests ORDER BY digest LIMIT $3";

/// `$1` scope, `$2` now, `$3` the earliest that is gone on with.
pub(crate) const BEGIN_SCRUB: &str = "INSERT INTO scrubs (scope, began_at) VALUES ($1, $2) \
    ON CONFLICT (scope) DO UPDATE SET began_at = \
        CASE WHEN scrubs.began_at < $3 THEN excluded.began_at ELSE scrubs.began_at END \
    RETURNING began_at";

const END_SCRUB: &str = "DELETE FROM scrubs WHERE scope = $1";

/// A repository that holds a digest, or is told of it by a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its name.
    pub name: RepositoryName,
    /// Its kind.
    pub kind: RepositoryKind,
    /// Whether the digest is a manifest there.
    pub manifest: bool,
}

/// How far a walk over the blobs to check is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckCursor {
    id: i64,
    digest: Option<Digest>,
}

/// A page of blobs to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckPage {
    /// The blobs; there may be none although more follow.
    pub blobs: Vec<CheckedBlob>,
    /// Where the next page begins; none when there is none.
    pub next: Option<CheckCursor>,
}

impl Metadata {
    /// Returns the live row of a digest. As [`Metadata::find_blob_anywhere`], never an answer to somebody who asks in a
    /// repository.
    pub async fn live_blob(&self, digest: &Digest) -> Result<Option<CheckedBlob>> {
        self.read(*digest, |tx, digest| {
            Box::pin(async move {
                let row = tx.query_one(LIVE, &[digest.into()]).await?;
                row.as_ref().map(checked_blob).transpose()
            })
        })
        .await
    }

    /// Quarantines a blob of which `damage` was found in the bytes of that revision: it exists to nobody from now on.
    /// Returns whether it did; bytes that were replaced or deleted meanwhile are left alone.
    pub async fn quarantine(&self, id: i64, revision: i64, damage: &str) -> Result<bool> {
        let input = (id, revision, damage.to_owned());
        self.write(input, |tx, (id, revision, damage)| {
            Box::pin(async move {
                let columns = [(*id).into(), (*revision).into(), damage.as_str().into()];
                Ok(tx.execute(QUARANTINE, &columns).await? > 0)
            })
        })
        .await
    }

    /// Makes a quarantined blob live again, whose bytes of that revision were found right. Returns whether it did.
    pub async fn lift_quarantine(&self, id: i64, revision: i64) -> Result<bool> {
        self.write((id, revision), |tx, (id, revision)| {
            Box::pin(async move {
                let now = tx.now();
                let columns = [(*id).into(), (*revision).into(), now.into()];
                Ok(tx.execute(LIFT, &columns).await? > 0)
            })
        })
        .await
    }

    /// Returns the next quarantined blobs after `after`; none when there are no more.
    pub async fn quarantined(&self, after: Option<&CheckedBlob>) -> Result<Vec<CheckedBlob>> {
        let (digest, id) = match after {
            Some(last) => ((&last.digest).into(), last.id),
            None => (Value::Blob(Vec::new()), 0),
        };
        self.read((digest, id), |tx, (digest, id)| {
            Box::pin(async move {
                let start = [digest.clone(), (*id).into(), PAGE.into()];
                let rows = tx.query(QUARANTINED, &start).await?;
                rows.iter().map(checked_blob).collect()
            })
        })
        .await
    }

    /// Returns how many blobs are quarantined.
    pub async fn count_quarantined(&self) -> Result<u64> {
        self.read((), |tx, ()| {
            Box::pin(async move {
                let row = tx.query_one(COUNT_QUARANTINED, &[]).await?;
                row.map_or(Ok(0), |row| row.u64(0))
            })
        })
        .await
    }

    /// Returns the next live blobs of `scope`, from `from` on.
    pub async fn blobs_to_check(&self, scope: CheckScope, from: CheckCursor) -> Result<CheckPage> {
        self.read((scope, from), |tx, (scope, from)| {
            Box::pin(async move {
                match scope {
                    CheckScope::Everything => all(tx, *from).await,
                    CheckScope::Repository(repository) => {
                        of_repository(tx, *repository, *from).await
                    }
                }
            })
        })
        .await
    }

    /// Returns how many live blobs there are, and their bytes.
    pub async fn count_live(&self) -> Result<(u64, u64)> {
        self.read((), |tx, ()| {
            Box::pin(async move {
                let row = tx.query_one(COUNT_LIVE, &[]).await?;
                row.map_or(Ok((0, 0)), |row| Ok((row.u64(0)?, row.u64(1)?)))
            })
        })
        .await
    }

    /// Returns the next repositories of any kind after `after`; none when there are no more.
    pub async fn every_repository(
        &self,
        after: Option<RepositoryId>,
    ) -> Result<Vec<(RepositoryId, RepositoryName)>> {
        let after = after.map_or(Value::Int(0), RepositoryId::value);
        self.read(after, |tx, after| {
            Box::pin(async move {
                let rows = tx
                    .query(EVERY_REPOSITORY, &[after.clone(), PAGE.into()])
                    .await?;
                let decode =
                    |row: &Row| Ok((RepositoryId::from_row(row, 0)?, row.repository_name(1)?));
                rows.iter().map(decode).collect()
            })
        })
        .await
    }

    /// Returns all repositories that hold a digest or are told of it by a manifest. For those who mend it, and never an
    /// answer to somebody who asks in a repository.
    pub async fn holders(&self, digest: &Digest) -> Result<Vec<Holder>> {
        self.read(*digest, |tx, digest| {
            Box::pin(async move {
                let rows = tx.query(HOLDERS, &[digest.into()]).await?;
                let decode = |row: &Row| {
                    Ok(Holder {
                        name: row.repository_name(0)?,
                        kind: RepositoryKind::from_row(row, 1)?,
                        manifest: row.bool(3)?,
                    })
                };
                rows.iter().map(decode).collect()
            })
        })
        .await
    }

    /// Begins a scrub over `scope`, or goes on with one that did not end and is not older than `age_micros` microseconds.
    /// Returns when it began, in microseconds since 1970.
    pub async fn begin_scrub(&self, scope: &str, age_micros: i64) -> Result<i64> {
        self.write((scope.to_owned(), age_micros), |tx, (scope, age)| {
            Box::pin(async move {
                let now = tx.now();
                let earliest = now.saturating_sub(*age);
                let columns = [scope.as_str().into(), now.into(), earliest.into()];
                let row = tx.query_one(BEGIN_SCRUB, &columns).await?;
                row.ok_or_else(|| Error::corrupt("a scrub has no row"))?
                    .i64(0)
            })
        })
        .await
    }

    /// Notes that a scrub over `scope` is at its end, so that the next one begins anew.
    pub async fn end_scrub(&self, scope: &str) -> Result<()> {
        self.write(scope.to_owned(), |tx, scope| {
            Box::pin(async move {
                tx.execute(END_SCRUB, &[scope.as_str().into()])
                    .await
                    .map(drop)
            })
        })
        .await
    }

    /// Records that the bytes of these rows, each with its revision, are right as of now.
    pub async fn note_checked(&self, blobs: Vec<(i64, i64)>) -> Result<()> {
        self.write(blobs, |tx, blobs| {
            Box::pin(async move {
                let now = tx.now();
                for (id, revision) in blobs {
                    let columns = [(*id).into(), (*revision).into(), now.into()];
                    tx.execute(CHECKED, &columns).await?;
                }
                Ok(())
            })
        })
        .await
    }
}

async fn all(tx: &mut Tx, from: CheckCursor) -> Result<CheckPage> {
    let rows = tx.query(LIVE_PAGE, &[from.id.into(), PAGE.into()]).await?;
    let blobs = rows.iter().map(checked_blob);
    let blobs = blobs.collect::<Result<Vec<CheckedBlob>>>()?;
    let next = blobs.last().map(|last| CheckCursor {
        id: last.id,
        digest: None,
    });
    Ok(CheckPage { blobs, next })
}

async fn of_repository(
    tx: &mut Tx,
    repository: RepositoryId,
    from: CheckCursor,
) -> Result<CheckPage> {
    let after = from.digest.as_ref();
    let after = after.map_or(Value::Blob(Vec::new()), Value::from);
    let start = [repository.value(), after, PAGE.into()];
    let mut page = CheckPage {
        blobs: Vec::new(),
        next: None,
    };
    for row in tx.query(DIGESTS_OF, &start).await? {
        let digest = row.digest(0)?;
        if let Some(row) = tx.query_one(LIVE, &[(&digest).into()]).await? {
            page.blobs.push(checked_blob(&row)?);
        }
        page.next = Some(CheckCursor {
            id: 0,
            digest: Some(digest),
        });
    }
    Ok(page)
}

pub(crate) fn checked_blob(row: &Row) -> Result<CheckedBlob> {
    Ok(CheckedBlob {
        id: row.i64(0)?,
        digest: row.digest(1)?,
        size: row.u64(2)?,
        key: row.opt_text(3)?.map(str::to_owned),
        revision: row.i64(4)?,
        damage: row.opt_text(5)?.map(str::to_owned),
        checked_at: row.i64(6)?,
    })
}

/// Makes the quarantined row of bytes that were just written live again, and gives up what lies quarantined elsewhere.
pub(crate) async fn revive(
    tx: &mut Tx,
    digest: &Digest,
    size: u64,
    key: Option<&str>,
    lease_until: i64,
) -> Result<()> {
    if tx
        .query_one(QUARANTINED_AT, &[digest.into()])
        .await?
        .is_none()
    {
        return Ok(());
    }
    let columns = [digest.into(), size.into(), key.into(), lease_until.into()];
    tx.execute(REVIVE, &columns).await?;
    tx.execute(TAKE_OVER, &[digest.into(), key.into()]).await?;
    let now = tx.now();
    tx.execute(DISCARD, &[digest.into(), now.into()]).await?;
    Ok(())
}
