//! Taking bytes away again, in three steps: a blob's row is claimed, its file is deleted by somebody else, its row is
//! forgotten. A claim is one statement that checks once more that nobody holds, names or leases the blob.

use std::collections::BTreeSet;

use oci::Digest;

use crate::blobs::{self, BlobRow};
use crate::candidates;
use crate::damage;
use crate::database::Metadata;
use crate::error::Result;
use crate::manifests;
use crate::repositories::RepositoryId;
use crate::tx::Tx;
use crate::value::Row;

/// The rows of a page of claimed blobs.
const PAGE: u64 = 200;

/// A blob that is being deleted: no operation sees it any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The key of its row.
    pub id: i64,
    /// Its digest.
    pub digest: Digest,
    /// The key of its bytes in the store; never used again for this digest while the row is there.
    pub key: Option<String>,
    /// Its bytes.
    pub size: u64,
}

/// Something to evict from a mirrored repository.
#[derive(Clone, Debug)]
pub struct Evict {
    /// The repository; nothing happens to one that is no mirror.
    pub repository: RepositoryId,
    /// What is to go.
    pub unit: EvictUnit,
    /// The last pull that was known, in microseconds since 1970; after a later one it stays.
    pub pulled_at: i64,
    /// What to claim if nobody else holds it. The caller must know that no one stores or reads these meanwhile.
    pub reclaim: BTreeSet<Digest>,
}

/// What goes in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvictUnit {
    /// A manifest with its tags and the memberships that only it needs.
    Manifest(Digest),
    /// A membership that no manifest of the repository needs.
    Blob(Digest),
}

/// What became of an [`Evict`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evicted {
    /// It is gone; the files of these must be deleted and their rows forgotten.
    Gone(Vec<Claimed>),
    /// It is pulled, leased or needed again, or is no longer there; nothing was written for it.
    Kept,
}

/// Where the bytes of a digest are or may be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// They are here.
    Live(BlobRow),
    /// They are not; Distribution's path is free.
    Free,
    /// They are not, and an older copy is being deleted: take a new key.
    Deleting,
    /// What is there is not what the digest says: put the right bytes over it.
    Quarantined {
        /// The key of the damaged bytes.
        key: Option<String>,
    },
}

/// `$1` digest, `$2` now. The one statement that takes bytes from everybody, whoever wants them gone: it asks once more
/// that they are live or quarantined, that nobody holds, names or leases them, and after an unclean end that no local
/// repository ever held them; and that no import is under way, as what it did not come to yet may need them.
pub(crate) const CLAIM: &str = "UPDATE blobs SET state = 2, delete_after = $2 \
    WHERE ((digest = $1 AND state = 1) OR (digest = $1 AND state = 3)) AND lease_until <= $2 \
        AND (held_locally = 0 OR NOT EXISTS (SELECT 1 FROM upkeep u WHERE u.hold_until > $2)) \
        AND NOT EXISTS (SELECT 1 FROM upkeep u WHERE u.importing = 1) \
        AND NOT EXISTS (SELECT 1 FROM repository_blobs l WHERE l.digest = $1) \
        AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.digest = $1) \
        AND NOT EXISTS (SELECT 1 FROM manifest_refs c WHERE c.child = $1) \
    RETURNING id, digest, key, size";

pub(crate) const FORGET: &str = "DELETE FROM blobs WHERE id = $1 AND state = 2";

/// A live row of the same key was written by an older program, which did not know of deletions: its bytes must stay.
pub(crate) const CLAIMED: &str = "SELECT b.id, b.digest, b.key, b.size, EXISTS (SELECT 1 FROM blobs o \
        WHERE o.digest = b.digest AND o.state = 1 AND coalesce(o.key, '') = coalesce(b.key, '')) AS taken_over \
    FROM blobs b WHERE b.state = 2 AND (b.digest, b.id) > ($1, $2) ORDER BY b.digest, b.id LIMIT $3";

pub(crate) const DELETING: &str = "SELECT id FROM blobs WHERE digest = $1 AND state = 2 LIMIT 1";

/// `$1` digest, `$2` key. Every state has an index of its own: 1 live, 2 being deleted, 3 quarantined.
pub(crate) const TAKEN: &str = "SELECT 1 WHERE \
    EXISTS (SELECT 1 FROM blobs WHERE digest = $1 AND state = 1 AND coalesce(key, '') = coalesce($2, '')) \
    OR EXISTS (SELECT 1 FROM blobs WHERE digest = $1 AND state = 2 AND coalesce(key, '') = coalesce($2, '')) \
    OR EXISTS (SELECT 1 FROM blobs WHERE digest = $1 AND state = 3 AND coalesce(key, '') = coalesce($2, ''))";

const IS_MIRROR: &str = "SELECT id FROM repositories WHERE id = $1 AND kind = 2";

pub(crate) const PULLED_SINCE: &str = "SELECT pulled_at FROM digest_pulls WHERE repository_id = $1 AND digest = $2 AND pulled_at > $3";

pub(crate) const TAG_PULLED_SINCE: &str = "SELECT p.pulled_at FROM tags t \
    JOIN tag_pulls p ON p.repository_id = t.repository_id AND p.tag = t.name \
    WHERE t.repository_id = $1 AND t.digest = $2 AND p.pulled_at > $3 LIMIT 1";

pub(crate) const LEASED: &str =
    "SELECT id FROM blobs WHERE digest = $1 AND state = 1 AND lease_until > $2";

const EVER_MIRRORED: &str =
    "UPDATE repositories SET mirrored_at = $2 WHERE id = $1 AND mirrored_at IS NULL";

const CHILDREN: &str =
    "SELECT child FROM manifest_refs WHERE repository_id = $1 AND parent = $2 ORDER BY position";

/// `$1` repository, `$2` digest. What its other manifests need stays.
pub(crate) const LEAVE: &str = "DELETE FROM repository_blobs WHERE repository_id = $1 AND digest = $2 \
    AND NOT EXISTS (SELECT 1 FROM manifest_refs c WHERE c.repository_id = $1 AND c.child = $2)";

/// The same for what cannot be claimed now: the last membership stays, so that the blob is found again.
pub(crate) const LEAVE_SHARED: &str = "DELETE FROM repository_blobs WHERE repository_id = $1 AND digest = $2 \
    AND NOT EXISTS (SELECT 1 FROM manifest_refs c WHERE c.repository_id = $1 AND c.child = $2) \
    AND (EXISTS (SELECT 1 FROM repository_blobs l WHERE l.digest = $2 AND l.repository_id <> $1) \
        OR EXISTS (SELECT 1 FROM manifests m WHERE m.digest = $2) \
        OR EXISTS (SELECT 1 FROM manifest_refs c WHERE c.child = $2))";

pub(crate) const FORGET_PULL: &str = "DELETE FROM digest_pulls WHERE repository_id = $1 AND digest = $2 \
    AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = $1 AND m.digest = $2) \
    AND NOT EXISTS (SELECT 1 FROM repository_blobs l WHERE l.repository_id = $1 AND l.digest = $2)";

impl Metadata {
    /// Evicts from mirrored repositories, in one transaction, and claims what nobody holds any more. The outcomes are in
    /// the order of `units`.
    pub async fn evict(&self, units: Vec<Evict>) -> Result<Vec<Evicted>> {
        self.write(units, |tx, units| {
            Box::pin(async move {
                let mut outcomes = Vec::with_capacity(units.len());
                for unit in units {
                    outcomes.push(evict(tx, unit).await?);
                }
                Ok(outcomes)
            })
        })
        .await
    }

    /// Forgets claimed blobs whose files are deleted.
    pub async fn forget_claimed(&self, ids: Vec<i64>) -> Result<()> {
        self.write(ids, |tx, ids| {
            Box::pin(async move {
                for id in ids {
                    tx.execute(FORGET, &[(*id).into()]).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Returns the next claimed blobs after `after`, which a stop left behind, each with whether its bytes are in use
    /// again and must not be deleted; none when there are no more.
    pub async fn claimed(&self, after: Option<&Claimed>) -> Result<Vec<(Claimed, bool)>> {
        let start = after.map(|last| (last.digest, last.id));
        self.read(start, |tx, start| {
            Box::pin(async move {
                let (digest, id) = match start {
                    Some((digest, id)) => (digest.into(), *id),
                    None => (crate::value::Value::Blob(Vec::new()), 0),
                };
                let rows = tx.query(CLAIMED, &[digest, id.into(), PAGE.into()]).await?;
                let decode = |row: &Row| Ok((claimed(row)?, row.bool(4)?));
                rows.iter().map(decode).collect()
            })
        })
        .await
    }

    /// Tells whether a row, in whatever state, has its bytes under this key: then they are not for anybody else to delete.
    pub async fn is_place_taken(&self, digest: &Digest, key: Option<&str>) -> Result<bool> {
        let place = (*digest, key.map(str::to_owned));
        self.read(place, |tx, (digest, key)| {
            Box::pin(async move {
                let place = [digest.into(), key.as_deref().into()];
                Ok(tx.query_one(TAKEN, &place).await?.is_some())
            })
        })
        .await
    }

    /// Returns where the bytes of a digest are, or under what kind of key they may be stored. As
    /// [`Metadata::find_blob_anywhere`], never an answer to somebody who asks in a repository.
    pub async fn find_place(&self, digest: &Digest) -> Result<Place> {
        self.read(*digest, |tx, digest| {
            Box::pin(async move {
                let live = tx.query_one(blobs::ANYWHERE, &[digest.into()]).await?;
                if let Some(row) = blobs::blob_row(live)? {
                    return Ok(Place::Live(row));
                }
                if let Some(row) = tx
                    .query_one(damage::QUARANTINED_AT, &[digest.into()])
                    .await?
                {
                    let key = row.opt_text(0)?.map(str::to_owned);
                    return Ok(Place::Quarantined { key });
                }
                let deleting = tx.query_one(DELETING, &[digest.into()]).await?;
                Ok(deleting.map_or(Place::Free, |_| Place::Deleting))
            })
        })
        .await
    }
}

async fn evict(tx: &mut Tx, evict: &Evict) -> Result<Evicted> {
    if must_stay(tx, evict).await? {
        return Ok(Evicted::Kept);
    }
    let repository = evict.repository;
    let freed = match evict.unit {
        EvictUnit::Manifest(digest) => {
            let rows = tx
                .query(CHILDREN, &[repository.value(), (&digest).into()])
                .await?;
            if !manifests::delete_rows(tx, repository, &digest, None).await? {
                return Ok(Evicted::Kept);
            }
            let now = tx.now();
            tx.execute(EVER_MIRRORED, &[repository.value(), now.into()])
                .await?;
            let children = rows.iter().map(|row| row.digest(0));
            let mut freed = children.collect::<Result<BTreeSet<Digest>>>()?;
            freed.insert(digest);
            freed
        }
        EvictUnit::Blob(digest) => BTreeSet::from([digest]),
    };
    for digest in &freed {
        let key = [repository.value(), digest.into()];
        let leave = if evict.reclaim.contains(digest) {
            LEAVE
        } else {
            LEAVE_SHARED
        };
        tx.execute(leave, &key).await?;
        tx.execute(FORGET_PULL, &key).await?;
    }
    let mut gone = Vec::new();
    for digest in &freed {
        let before = gone.len();
        if evict.reclaim.contains(digest) {
            gone.extend(claim(tx, digest).await?);
        }
        if gone.len() == before {
            // What nothing leads to any more would otherwise be found by nobody.
            candidates::note_orphan(tx, digest).await?;
        }
    }
    Ok(Evicted::Gone(gone))
}

/// Claims the bytes of a digest, if nothing keeps them; returns what has to be deleted.
pub(crate) async fn claim(tx: &mut Tx, digest: &Digest) -> Result<Vec<Claimed>> {
    let now = tx.now();
    let rows = tx.query(CLAIM, &[digest.into(), now.into()]).await?;
    rows.iter().map(claimed).collect()
}

/// Tells whether something happened since the unit was chosen that keeps it.
async fn must_stay(tx: &mut Tx, evict: &Evict) -> Result<bool> {
    let (EvictUnit::Manifest(digest) | EvictUnit::Blob(digest)) = evict.unit;
    let repository = evict.repository.value();
    if tx
        .query_one(IS_MIRROR, std::slice::from_ref(&repository))
        .await?
        .is_none()
    {
        return Ok(true);
    }
    let since = [repository, (&digest).into(), evict.pulled_at.into()];
    for sql in [PULLED_SINCE, TAG_PULLED_SINCE] {
        if tx.query_one(sql, &since).await?.is_some() {
            return Ok(true);
        }
    }
    for digest in &evict.reclaim {
        let now = tx.now();
        if tx
            .query_one(LEASED, &[digest.into(), now.into()])
            .await?
            .is_some()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn claimed(row: &Row) -> Result<Claimed> {
    Ok(Claimed {
        id: row.i64(0)?,
        digest: row.digest(1)?,
        key: row.opt_text(2)?.map(str::to_owned),
        size: row.u64(3)?,
    })
}
