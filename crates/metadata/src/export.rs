//! What Distribution needs to know of a repository in order to serve it, and giving bytes their path of Distribution's.

use oci::{Digest, RepositoryName, Tag};

use crate::database::Metadata;
use crate::error::{Error, Result};
use crate::links::{self, Known, LinkName};
use crate::repositories::{self, RepositoryKind};
use crate::tx::Tx;

/// A repository as its link files tell it, with what is remembered of them; of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exportable {
    /// Its kind; `None` when there is no such repository.
    pub kind: Option<RepositoryKind>,
    /// The blobs it holds whose bytes are here.
    pub layers: Vec<Digest>,
    /// Its manifests whose bytes are here.
    pub manifests: Vec<Digest>,
    /// Its tags.
    pub tags: Vec<(Tag, Digest)>,
    /// Those of the blobs and manifests whose bytes lie under a key, with the key.
    pub keyed: Vec<(Digest, String)>,
    /// What is remembered of its link files.
    pub known: Vec<(LinkName, Known)>,
}

/// What became of the wish that bytes lie at Distribution's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rekeyed {
    /// They are read there from now on.
    Moved,
    /// Older bytes of the same digest are being deleted there.
    Busy,
    /// They lie there already, or are not here at all.
    Unchanged,
}

pub(crate) const NAMES: &str = "SELECT name FROM (SELECT name FROM repositories \
        UNION SELECT name FROM link_repositories) AS names \
    WHERE name > $1 ORDER BY name LIMIT $2";

pub(crate) const OWNER: &str = "SELECT repository FROM link_repositories WHERE name = $1";

pub(crate) const LAYERS: &str = "SELECT l.digest, b.key FROM repository_blobs l \
    JOIN blobs b ON b.digest = l.digest AND b.state = 1 \
    WHERE l.repository_id = $1 ORDER BY l.digest";

pub(crate) const MANIFESTS: &str = "SELECT m.digest, b.key FROM manifests m \
    JOIN blobs b ON b.digest = m.digest AND b.state = 1 \
    WHERE m.repository_id = $1 ORDER BY m.digest";

pub(crate) const TAGS: &str =
    "SELECT name, digest FROM tags WHERE repository_id = $1 ORDER BY name";

pub(crate) const KEY: &str =
    "SELECT id, size, key FROM blobs WHERE digest = $1 AND state = 1 AND key = $2";

/// Live, being deleted, quarantined: each has an index of its own.
pub(crate) const AT_PLAIN_PATH: &str = "SELECT id FROM blobs WHERE digest = $1 AND state = 1 AND key IS NULL \
    UNION ALL SELECT id FROM blobs WHERE digest = $1 AND state = 2 AND key IS NULL \
    UNION ALL SELECT id FROM blobs WHERE digest = $1 AND state = 3 AND key IS NULL";

const UNKEY: &str = "UPDATE blobs SET key = NULL WHERE id = $1 AND state = 1";

/// The old name of the bytes goes like that of any deleted blob.
const LEAVE: &str = "INSERT INTO blobs (digest, size, key, state, delete_after, lease_until, created_at) \
    VALUES ($1, $2, $3, 2, $4, 0, $4)";

impl Metadata {
    /// Returns up to `limit` names after `after`, bytewise, of repositories that are here or whose link files are remembered.
    pub async fn exportable_names(
        &self,
        after: Option<&RepositoryName>,
        limit: u64,
    ) -> Result<Vec<RepositoryName>> {
        let after = after.map_or(String::new(), ToString::to_string);
        self.read((after, limit), |tx, (after, limit)| {
            Box::pin(async move {
                let rows = tx
                    .query(NAMES, &[after.as_str().into(), (*limit).into()])
                    .await?;
                rows.iter().map(|row| row.repository_name(0)).collect()
            })
        })
        .await
    }

    /// Returns the name here of the repository that is called `files` among the link files, where one is remembered.
    pub async fn owner_of_links(&self, files: &RepositoryName) -> Result<Option<RepositoryName>> {
        self.read(files.clone(), |tx, files| {
            Box::pin(async move {
                let row = tx.query_one(OWNER, &[files.into()]).await?;
                row.map(|row| row.repository_name(0)).transpose()
            })
        })
        .await
    }

    /// Returns a repository as its link files tell it, of one moment. All of its names, and all that is remembered of its
    /// files, are in memory at once: nothing but the size of the repository bounds that.
    pub async fn exportable(&self, repository: &RepositoryName) -> Result<Exportable> {
        self.read(repository.clone(), |tx, repository| {
            Box::pin(exportable(tx, repository))
        })
        .await
    }

    /// Returns whether no row has the bytes of a digest at Distribution's path.
    pub async fn is_plain_path_free(&self, digest: &Digest) -> Result<bool> {
        self.read(*digest, |tx, digest| {
            Box::pin(async move {
                let row = tx.query_one(AT_PLAIN_PATH, &[digest.into()]).await?;
                Ok(row.is_none())
            })
        })
        .await
    }

    /// Moves the row of bytes that lie under `key` to Distribution's path, where they lie too already. The file under
    /// the key is deleted later, like that of any blob whose row is claimed.
    pub async fn rekey_blob(&self, digest: &Digest, key: &str) -> Result<Rekeyed> {
        self.write((*digest, key.to_owned()), |tx, (digest, key)| {
            Box::pin(rekey_blob(tx, digest, key))
        })
        .await
    }
}

async fn exportable(tx: &mut Tx, repository: &RepositoryName) -> Result<Exportable> {
    let mut told = Exportable::default();
    if let Some(files) = links::find(tx, repository).await? {
        told.known = links::all(tx, files).await?;
    }
    let Some((id, kind)) = repositories::find(tx, repository).await? else {
        return Ok(told);
    };
    told.kind = Some(kind);
    for (sql, to) in [(LAYERS, &mut told.layers), (MANIFESTS, &mut told.manifests)] {
        for row in tx.query(sql, &[id.value()]).await? {
            let digest = row.digest(0)?;
            to.push(digest);
            if let Some(key) = row.opt_text(1)? {
                told.keyed.push((digest, key.to_owned()));
            }
        }
    }
    for row in tx.query(TAGS, &[id.value()]).await? {
        let tag = Tag::parse(row.text(0)?).map_err(|_| Error::corrupt("name is not a tag"))?;
        told.tags.push((tag, row.digest(1)?));
    }
    Ok(told)
}

async fn rekey_blob(tx: &mut Tx, digest: &Digest, key: &str) -> Result<Rekeyed> {
    let row = tx.query_one(KEY, &[digest.into(), key.into()]).await?;
    let Some(row) = row else {
        return Ok(Rekeyed::Unchanged);
    };
    if tx
        .query_one(AT_PLAIN_PATH, &[digest.into()])
        .await?
        .is_some()
    {
        return Ok(Rekeyed::Busy);
    }
    tx.execute(UNKEY, &[row.i64(0)?.into()]).await?;
    let now = tx.now();
    let columns = [digest.into(), row.u64(1)?.into(), key.into(), now.into()];
    tx.execute(LEAVE, &columns).await?;
    Ok(Rekeyed::Moved)
}
