//! The moves of tags: every change of where a tag points, written in the transaction that makes it, with when, by whom and
//! from where to where. What goes only from a cache is no move: the tag still stands at its upstream.

use oci::{Digest, RepositoryName, Tag};

use crate::database::Metadata;
use crate::error::Result;
use crate::repositories::{Origin, RepositoryId};
use crate::tx::Tx;
use crate::value::{Row, Value};

/// How many moves of a tag are kept, the newest.
pub const MOVES_KEPT: u64 = 1000;

/// How long after a tag was deleted it is known what it was, in microseconds: a year.
pub const GONE_KEPT: i64 = 366 * 24 * 3600 * 1_000_000;

/// How many deleted tags a deletion may have forgotten: more than one, so that they become fewer.
const FORGOTTEN: u64 = 2;

/// A move of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagMove {
    /// Its place in the history; later moves of the same tag have higher ones.
    pub id: i64,
    /// When, in microseconds since 1970.
    pub at: i64,
    /// Who did it.
    pub by: String,
    /// How the tag came to point there; of a deletion, how it had come.
    pub origin: Origin,
    /// Where it pointed before; `None` when it was made.
    pub from: Option<Digest>,
    /// Where it points since; `None` when it was deleted.
    pub to: Option<Digest>,
}

/// A move that is being made.
pub(crate) struct Moving<'a> {
    pub(crate) by: &'a str,
    pub(crate) origin: Origin,
    pub(crate) from: Option<&'a Digest>,
    pub(crate) to: Option<&'a Digest>,
}

const NOTE: &str = "INSERT INTO tag_moves \
        (repository_id, tag, moved_at, moved_by, origin, from_digest, to_digest) \
    VALUES ($1, $2, $3, $4, $5, $6, $7)";

/// `$3` how many are kept.
pub(crate) const FORGET_OLD: &str = "DELETE FROM tag_moves WHERE repository_id = $1 AND tag = $2 \
    AND id < (SELECT min(k.id) FROM (SELECT m.id FROM tag_moves m WHERE m.repository_id = $1 AND m.tag = $2 \
        ORDER BY m.id DESC LIMIT $3) k)";

/// `$1` the latest deletion whose tag is forgotten, `$2` how many of them. Of a tag that was made anew its later moves stay.
pub(crate) const FORGET_GONE: &str = "DELETE FROM tag_moves WHERE id IN ( \
    SELECT m.id FROM (SELECT d.id, d.repository_id, d.tag FROM tag_moves d \
            WHERE d.to_digest IS NULL AND d.moved_at < $1 ORDER BY d.moved_at, d.id LIMIT $2) gone \
        JOIN tag_moves m ON m.repository_id = gone.repository_id AND m.tag = gone.tag AND m.id <= gone.id)";

/// Where a tag points by its last move.
pub(crate) const LAST: &str = "SELECT to_digest FROM tag_moves WHERE repository_id = $1 AND tag = $2 \
    ORDER BY id DESC LIMIT 1";

/// `$3` the move before which to begin.
pub(crate) const LIST: &str = "SELECT m.id, m.moved_at, m.moved_by, m.origin, m.from_digest, m.to_digest \
    FROM repositories r JOIN tag_moves m ON m.repository_id = r.id AND m.tag = $2 AND m.id < $3 \
    WHERE r.name = $1 ORDER BY m.id DESC LIMIT $4";

pub(crate) const OF_DIGEST: &str = "SELECT m.id, m.moved_at, m.moved_by, m.origin, m.from_digest, m.to_digest \
    FROM repositories r JOIN tag_moves m ON m.repository_id = r.id AND m.tag = $2 \
    WHERE r.name = $1 AND (m.from_digest = $3 OR m.to_digest = $3) ORDER BY m.id DESC LIMIT 1";

impl Metadata {
    /// Returns up to `limit` moves of a tag, the latest first, of those before the move `before`; none for a tag that
    /// never moved.
    pub async fn tag_moves(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        before: Option<i64>,
        limit: u64,
    ) -> Result<Vec<TagMove>> {
        let input = (
            repository.clone(),
            tag.clone(),
            before.unwrap_or(i64::MAX),
            limit,
        );
        self.read(input, |tx, (repository, tag, before, limit)| {
            Box::pin(async move {
                let columns = [
                    repository.into(),
                    tag.as_str().into(),
                    (*before).into(),
                    (*limit).into(),
                ];
                let rows = tx.query(LIST, &columns).await?;
                rows.iter().map(tag_move).collect()
            })
        })
        .await
    }

    /// Returns the last move by which a tag came to a digest or left it; `None` when it never pointed there.
    pub async fn last_move_of(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
    ) -> Result<Option<TagMove>> {
        let input = (repository.clone(), tag.clone(), *digest);
        self.read(input, |tx, (repository, tag, digest)| {
            Box::pin(async move {
                let columns = [repository.into(), tag.as_str().into(), digest.into()];
                let row = tx.query_one(OF_DIGEST, &columns).await?;
                row.as_ref().map(tag_move).transpose()
            })
        })
        .await
    }
}

/// Writes a move down and forgets those beyond the number that is kept; a deletion, also tags that were deleted long ago.
pub(crate) async fn note(
    tx: &mut Tx,
    repository: RepositoryId,
    tag: &str,
    moving: &Moving<'_>,
) -> Result<()> {
    let now = tx.now();
    let columns: [Value; 7] = [
        repository.value(),
        tag.into(),
        now.into(),
        moving.by.into(),
        moving.origin.value(),
        moving.from.into(),
        moving.to.into(),
    ];
    tx.execute(NOTE, &columns).await?;
    let old = [repository.value(), tag.into(), MOVES_KEPT.into()];
    tx.execute(FORGET_OLD, &old).await?;
    if moving.to.is_none() {
        let gone = [now.saturating_sub(GONE_KEPT).into(), FORGOTTEN.into()];
        tx.execute(FORGET_GONE, &gone).await?;
    }
    Ok(())
}

/// Returns where a tag points by its last move; `None` as well when it never moved.
pub(crate) async fn last(
    tx: &mut Tx,
    repository: RepositoryId,
    tag: &str,
) -> Result<Option<Digest>> {
    let row = tx
        .query_one(LAST, &[repository.value(), tag.into()])
        .await?;
    row.map_or(Ok(None), |row| row.opt_digest(0))
}

fn tag_move(row: &Row) -> Result<TagMove> {
    Ok(TagMove {
        id: row.i64(0)?,
        at: row.i64(1)?,
        by: row.text(2)?.to_owned(),
        origin: Origin::from_row(row, 3)?,
        from: row.opt_digest(4)?,
        to: row.opt_digest(5)?,
    })
}
