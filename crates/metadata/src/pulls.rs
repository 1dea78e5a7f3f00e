//! When something was last pulled. Written in batches and kept for local repositories too; a row goes with the tag,
//! manifest or membership it is about, and none is made for what is not here.

use oci::{Digest, Reference, RepositoryName, Tag};

use crate::database::Metadata;
use crate::error::Result;
use crate::repositories::{self, RepositoryId};
use crate::tx::Tx;

/// A pull of a manifest, or of a blob of a mirrored repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// The repository it is in.
    pub repository: RepositoryName,
    /// What was pulled.
    pub digest: Digest,
    /// The tag it was asked by.
    pub tag: Option<Tag>,
    /// When, in microseconds since 1970, from [`Metadata::now`].
    pub at: i64,
}

pub(crate) const NOTE_DIGEST: &str = "INSERT INTO digest_pulls (repository_id, digest, pulled_at) \
    SELECT r.id, $2, $3 FROM repositories r WHERE r.id = $1 AND ( \
        EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = r.id AND m.digest = $2) \
        OR (r.kind = 2 AND EXISTS (SELECT 1 FROM repository_blobs l WHERE l.repository_id = r.id AND l.digest = $2))) \
    ON CONFLICT (repository_id, digest) DO UPDATE SET pulled_at = excluded.pulled_at \
        WHERE digest_pulls.pulled_at < excluded.pulled_at";

pub(crate) const NOTE_TAG: &str = "INSERT INTO tag_pulls (repository_id, tag, pulled_at) \
    SELECT t.repository_id, t.name, $3 FROM tags t WHERE t.repository_id = $1 AND t.name = $2 \
    ON CONFLICT (repository_id, tag) DO UPDATE SET pulled_at = excluded.pulled_at \
        WHERE tag_pulls.pulled_at < excluded.pulled_at";

pub(crate) const FORGET_DIGEST: &str =
    "DELETE FROM digest_pulls WHERE repository_id = $1 AND digest = $2";

pub(crate) const FORGET_TAG: &str = "DELETE FROM tag_pulls \
    WHERE repository_id = (SELECT id FROM repositories WHERE name = $1) AND tag = $2";

/// Every tag on a manifest; run before the tags go.
pub(crate) const FORGET_TAGS_OF: &str = "DELETE FROM tag_pulls WHERE repository_id = $1 \
    AND tag IN (SELECT t.name FROM tags t WHERE t.repository_id = $1 AND t.digest = $2)";

pub(crate) const DIGEST_PULLED: &str = "SELECT p.pulled_at FROM repositories r \
    JOIN digest_pulls p ON p.repository_id = r.id AND p.digest = $2 WHERE r.name = $1";

pub(crate) const TAG_PULLED: &str = "SELECT p.pulled_at FROM repositories r \
    JOIN tag_pulls p ON p.repository_id = r.id AND p.tag = $2 WHERE r.name = $1";

impl Metadata {
    /// Records pulls, in one transaction; each row keeps the latest time. What is no longer here is left out, and no pull
    /// lies in the future.
    pub async fn record_pulls(&self, pulls: Vec<Pull>) -> Result<()> {
        self.write(pulls, |tx, pulls| Box::pin(record(tx, pulls)))
            .await
    }

    /// Returns when a tag, or a digest, was last pulled in this repository, in microseconds since 1970.
    pub async fn last_pull(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<i64>> {
        self.read(
            (repository.clone(), reference.clone()),
            |tx, (repository, reference)| {
                Box::pin(async move {
                    let (sql, what) = match reference {
                        Reference::Tag(tag) => (TAG_PULLED, tag.as_str().into()),
                        Reference::Digest(digest) => (DIGEST_PULLED, digest.into()),
                    };
                    let row = tx.query_one(sql, &[repository.into(), what]).await?;
                    row.map(|row| row.i64(0)).transpose()
                })
            },
        )
        .await
    }
}

async fn record(tx: &mut Tx, pulls: &[Pull]) -> Result<()> {
    let now = tx.now();
    let mut last: Option<(&RepositoryName, RepositoryId)> = None;
    for pull in pulls {
        let id = match last {
            Some((name, id)) if *name == pull.repository => id,
            _ => {
                let Some((id, _)) = repositories::find(tx, &pull.repository).await? else {
                    continue;
                };
                last = Some((&pull.repository, id));
                id
            }
        };
        let at = pull.at.min(now);
        let columns = [id.value(), (&pull.digest).into(), at.into()];
        tx.execute(NOTE_DIGEST, &columns).await?;
        if let Some(tag) = &pull.tag {
            let columns = [id.value(), tag.as_str().into(), at.into()];
            tx.execute(NOTE_TAG, &columns).await?;
        }
    }
    Ok(())
}
