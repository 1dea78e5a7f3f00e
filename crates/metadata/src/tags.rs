//! Tags: names that point to manifests of their own repository. A tag never points to a manifest that is not there.

use oci::{Digest, RepositoryName, Tag};

use crate::candidates::{self, CandidateKind};
use crate::database::Metadata;
use crate::error::Result;
use crate::pulls;
use crate::repositories::{self, Origin, RepositoryId, RepositoryKind};
use crate::tag_moves::{self, Moving};
use crate::tx::Tx;
use crate::value::Value;

/// What is known about the tag a manifest was asked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagRow {
    /// When it was last known to be right, in microseconds since 1970; in a mirror, confirmed by the upstream.
    pub checked_at: i64,
    /// When it was last pointed to its manifest, in microseconds since 1970.
    pub updated_at: i64,
}

/// A tag to point to a manifest that is stored already.
#[derive(Clone, Debug)]
pub struct SetTag {
    /// The repository of both.
    pub repository: RepositoryName,
    /// The tag.
    pub tag: Tag,
    /// The manifest.
    pub digest: Digest,
    /// Who did it.
    pub by: String,
    /// How it came.
    pub origin: Origin,
    /// When the tag was known to be right, from [`Metadata::now`]; in a mirror, when the upstream was asked.
    pub checked_at: i64,
}

/// What a tag is pointed to.
pub(crate) struct TagTarget<'a> {
    pub(crate) digest: &'a Digest,
    pub(crate) by: &'a str,
    pub(crate) origin: Origin,
    pub(crate) checked_at: i64,
}

const POINT: &str = "INSERT INTO tags \
        (repository_id, name, digest, created_at, updated_at, updated_by, origin, checked_at) \
    VALUES ($1, $2, $3, $4, $4, $5, $6, $7) \
    ON CONFLICT (repository_id, name) DO UPDATE SET digest = excluded.digest, updated_at = excluded.updated_at, \
        updated_by = excluded.updated_by, origin = excluded.origin, checked_at = excluded.checked_at";

const TOUCH: &str = "UPDATE tags SET checked_at = $4 \
    WHERE repository_id = (SELECT id FROM repositories WHERE name = $1) AND name = $2 AND digest = $3";

const DELETE: &str = "DELETE FROM tags WHERE repository_id = $1 AND name = $2";

const CURRENT: &str = "SELECT digest, origin FROM tags WHERE repository_id = $1 AND name = $2";

pub(crate) const HAS_MANIFEST: &str =
    "SELECT 1 AS found FROM manifests WHERE repository_id = $1 AND digest = $2";

pub(crate) const ANY_MANIFEST: &str = "SELECT r.id FROM repositories r WHERE r.name = $1 \
    AND EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = r.id)";

pub(crate) const LIST: &str = "SELECT t.name FROM repositories r \
    JOIN tags t ON t.repository_id = r.id AND t.name > $2 \
    WHERE r.name = $1 ORDER BY t.name LIMIT $3";

impl Metadata {
    /// Points a tag to a manifest of its repository and returns `false` when the repository has no such manifest.
    pub async fn set_tag(&self, set: SetTag) -> Result<bool> {
        self.write(set, |tx, set| Box::pin(set_tag(tx, set))).await
    }

    /// Records that a tag is right now, and returns `false` when it no longer points to `digest`.
    pub async fn touch_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
    ) -> Result<bool> {
        self.write(
            (repository.clone(), tag.clone(), *digest),
            |tx, (repository, tag, digest)| {
                Box::pin(async move {
                    let now = tx.now();
                    let columns = [
                        repository.into(),
                        tag.as_str().into(),
                        digest.into(),
                        now.into(),
                    ];
                    Ok(tx.execute(TOUCH, &columns).await? > 0)
                })
            },
        )
        .await
    }

    /// Deletes a tag in the name of `by` and returns whether it was there. Its manifest stays.
    pub async fn delete_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        by: &str,
    ) -> Result<bool> {
        let input = (repository.clone(), tag.clone(), Some(by.to_owned()));
        self.write(input, |tx, (repository, tag, by)| {
            Box::pin(delete_tag(tx, repository, tag, by.as_deref()))
        })
        .await
    }

    /// Forgets a cached tag, which still stands at its upstream and so has not moved; returns whether it was there.
    pub async fn evict_tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<bool> {
        self.write(
            (repository.clone(), tag.clone()),
            |tx, (repository, tag)| Box::pin(delete_tag(tx, repository, tag, None)),
        )
        .await
    }

    /// Returns the repository's tags after `after`, which need not exist, in bytewise order; `None` when the
    /// repository is unknown or holds no manifest.
    pub async fn tags(
        &self,
        repository: &RepositoryName,
        after: Option<&str>,
        limit: Option<u64>,
    ) -> Result<Option<Vec<String>>> {
        let input = (
            repository.clone(),
            after.unwrap_or_default().to_owned(),
            limit.unwrap_or(u64::MAX),
        );
        self.read(input, |tx, (repository, after, limit)| {
            Box::pin(async move {
                let columns = [repository.into(), after.as_str().into(), (*limit).into()];
                let rows = tx.query(LIST, &columns).await?;
                if rows.is_empty()
                    && tx
                        .query_one(ANY_MANIFEST, &[repository.into()])
                        .await?
                        .is_none()
                {
                    return Ok(None);
                }
                rows.iter()
                    .map(|row| Ok(row.text(0)?.to_owned()))
                    .collect::<Result<Vec<String>>>()
                    .map(Some)
            })
        })
        .await
    }
}

async fn set_tag(tx: &mut Tx, set: &SetTag) -> Result<bool> {
    let Some((repository, _)) = repositories::find(tx, &set.repository).await? else {
        return Ok(false);
    };
    if !has_manifest(tx, repository, &set.digest).await? {
        return Ok(false);
    }
    let target = TagTarget {
        digest: &set.digest,
        by: &set.by,
        origin: set.origin,
        checked_at: set.checked_at,
    };
    point(tx, repository, &set.tag, &target).await?;
    Ok(true)
}

/// Deletes a tag; its move is noted where somebody did it.
async fn delete_tag(
    tx: &mut Tx,
    repository: &RepositoryName,
    tag: &Tag,
    by: Option<&str>,
) -> Result<bool> {
    let Some((id, kind)) = repositories::find(tx, repository).await? else {
        return Ok(false);
    };
    let Some((digest, origin)) = current(tx, id, tag).await? else {
        return Ok(false);
    };
    let name = [repository.into(), tag.as_str().into()];
    tx.execute(pulls::FORGET_TAG, &name).await?;
    tx.execute(DELETE, &[id.value(), tag.as_str().into()])
        .await?;
    if kind == RepositoryKind::Local {
        candidates::note_now(tx, id, &digest, CandidateKind::Manifest).await?;
    }
    if let Some(by) = by {
        let moving = Moving {
            by,
            origin,
            from: Some(&digest),
            to: None,
        };
        tag_moves::note(tx, id, tag.as_str(), &moving).await?;
    }
    Ok(true)
}

/// Returns where a tag points and how it came to.
async fn current(
    tx: &mut Tx,
    repository: RepositoryId,
    tag: &Tag,
) -> Result<Option<(Digest, Origin)>> {
    let key = [repository.value(), tag.as_str().into()];
    let row = tx.query_one(CURRENT, &key).await?;
    row.map(|row| Ok((row.digest(0)?, Origin::from_row(&row, 1)?)))
        .transpose()
}

/// Returns whether the repository holds the manifest.
pub(crate) async fn has_manifest(
    tx: &mut Tx,
    repository: RepositoryId,
    digest: &Digest,
) -> Result<bool> {
    let key = [repository.value(), digest.into()];
    Ok(tx.query_one(HAS_MANIFEST, &key).await?.is_some())
}

/// Points a tag to a manifest that the caller has made sure of, and notes it when that is a move.
pub(crate) async fn point(
    tx: &mut Tx,
    repository: RepositoryId,
    tag: &Tag,
    target: &TagTarget<'_>,
) -> Result<()> {
    let before = current(tx, repository, tag)
        .await?
        .map(|(digest, _)| digest);
    let now = tx.now();
    let columns: [Value; 7] = [
        repository.value(),
        tag.as_str().into(),
        target.digest.into(),
        now.into(),
        target.by.into(),
        target.origin.value(),
        target.checked_at.into(),
    ];
    tx.execute(POINT, &columns).await?;
    let from = match before {
        // A cached tag may have been evicted: it has not moved when it comes back where it was.
        None if target.origin == Origin::Mirrored => {
            tag_moves::last(tx, repository, tag.as_str()).await?
        }
        before => before,
    };
    if from.as_ref() == Some(target.digest) {
        return Ok(());
    }
    if let Some(from) = &from
        && repositories::is_local(tx, repository).await?
    {
        candidates::note_now(tx, repository, from, CandidateKind::Manifest).await?;
    }
    let moving = Moving {
        by: target.by,
        origin: target.origin,
        from: from.as_ref(),
        to: Some(target.digest),
    };
    tag_moves::note(tx, repository, tag.as_str(), &moving).await
}
