//! Noting what nothing needs, all over the database: once an import is over there was no event that would have.

use crate::database::Metadata;
use crate::error::Result;
use crate::repositories::RepositoryId;

/// How many rows of blobs one statement looks at.
const RANGE: i64 = 10_000;

/// How many repositories one transaction looks at.
const REPOSITORIES: u64 = 20;

/// `$1` the last one, `$2` how many.
pub(crate) const LOCAL: &str =
    "SELECT id FROM repositories WHERE id > $1 AND kind = 1 ORDER BY id LIMIT $2";

pub(crate) const IDLE_BLOBS: &str = "INSERT INTO gc_candidates (repository_id, digest, kind, since) \
    SELECT l.repository_id, l.digest, 1, CAST($2 AS BIGINT) FROM repository_blobs l \
    WHERE l.repository_id = $1 \
        AND NOT EXISTS (SELECT 1 FROM manifest_refs c WHERE c.repository_id = $1 AND c.child = l.digest) \
        AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = $1 AND m.digest = l.digest) \
    ON CONFLICT (repository_id, digest, kind) DO NOTHING";

pub(crate) const IDLE_MANIFESTS: &str = "INSERT INTO gc_candidates (repository_id, digest, kind, since) \
    SELECT m.repository_id, m.digest, 2, CAST($2 AS BIGINT) FROM manifests m \
    WHERE m.repository_id = $1 \
        AND NOT EXISTS (SELECT 1 FROM tags t WHERE t.repository_id = $1 AND t.digest = m.digest) \
    ON CONFLICT (repository_id, digest, kind) DO NOTHING";

pub(crate) const IDLE_BYTES: &str = "INSERT INTO gc_candidates (repository_id, digest, kind, since) \
    SELECT 0, b.digest, 1, CAST($3 AS BIGINT) FROM blobs b \
    WHERE b.state = 1 AND b.id > $1 AND b.id <= $2 \
        AND NOT EXISTS (SELECT 1 FROM repository_blobs l WHERE l.digest = b.digest) \
        AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.digest = b.digest) \
        AND NOT EXISTS (SELECT 1 FROM manifest_refs c WHERE c.child = b.digest) \
    ON CONFLICT (repository_id, digest, kind) DO NOTHING";

const HIGHEST: &str = "SELECT id FROM blobs ORDER BY id DESC LIMIT 1";

impl Metadata {
    /// Notes what no manifest of its local repository names, and manifests without a tag, so that they are collected after
    /// their grace. The caller must know that every manifest has its rows.
    pub async fn note_idle_in_repositories(&self) -> Result<()> {
        let mut after = 0_i64;
        loop {
            let last = self.write(after, |tx, after| {
                Box::pin(async move {
                    let page = [(*after).into(), REPOSITORIES.into()];
                    let rows = tx.query(LOCAL, &page).await?;
                    let now = tx.now();
                    for row in &rows {
                        let id = RepositoryId::from_row(row, 0)?;
                        for sql in [IDLE_BLOBS, IDLE_MANIFESTS] {
                            tx.execute(sql, &[id.value(), now.into()]).await?;
                        }
                    }
                    let is_full = rows.len() as u64 == REPOSITORIES;
                    let last = rows.last().filter(|_| is_full);
                    last.map(|row| row.i64(0)).transpose()
                })
            });
            match last.await? {
                Some(last) => after = last,
                None => return Ok(()),
            }
        }
    }

    /// Notes all bytes that no repository holds or names, so that they are collected after their grace.
    pub async fn note_idle_bytes(&self) -> Result<()> {
        let mut from = 0_i64;
        loop {
            let more = self.write(from, |tx, from| {
                Box::pin(async move {
                    let highest = tx.query_one(HIGHEST, &[]).await?;
                    let highest = highest.map(|row| row.i64(0)).transpose()?.unwrap_or(0);
                    let to = from.saturating_add(RANGE);
                    let now = tx.now();
                    tx.execute(IDLE_BYTES, &[(*from).into(), to.into(), now.into()])
                        .await?;
                    Ok(to < highest)
                })
            });
            if !more.await? {
                return Ok(());
            }
            from += RANGE;
        }
    }
}
