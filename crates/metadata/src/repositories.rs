//! Repositories: their rows, their kinds and the catalog. A repository's kind is set when its row is made and never
//! derived from its name again.

use oci::RepositoryName;

use crate::database::Metadata;
use crate::error::Result;
use crate::tx::Tx;
use crate::value::{Row, Value};

/// The key of a repository's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryId(i64);

impl RepositoryId {
    /// The key that no repository has.
    pub const NONE: Self = Self(0);

    /// Returns the key in the column `index`.
    pub(crate) fn from_row(row: &Row, index: usize) -> Result<Self> {
        Ok(Self(row.i64(index)?))
    }

    /// Returns the key as a parameter.
    pub(crate) fn value(self) -> Value {
        Value::Int(self.0)
    }
}

/// Where a repository's content comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepositoryKind {
    /// Content is pushed here.
    Local,
    /// Content is fetched from an upstream.
    Mirror {
        /// The configured name of the upstream.
        upstream: String,
    },
}

impl RepositoryKind {
    pub(crate) fn code(&self) -> i64 {
        match self {
            Self::Local => 1,
            Self::Mirror { .. } => 2,
        }
    }

    pub(crate) fn upstream(&self) -> Option<&str> {
        match self {
            Self::Local => None,
            Self::Mirror { upstream } => Some(upstream),
        }
    }

    /// Returns the kind stored in the columns `kind` and `upstream` at `index` and the one after it.
    pub(crate) fn from_row(row: &Row, index: usize) -> Result<Self> {
        let upstream = row.opt_text(index + 1)?.map(str::to_owned);
        row.code(index, |code| match code {
            1 => Some(Self::Local),
            2 => upstream.clone().map(|upstream| Self::Mirror { upstream }),
            _ => None,
        })
    }
}

/// How a manifest, a tag or a membership came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client pushed it.
    Pushed,
    /// It was fetched from an upstream.
    Mirrored,
    /// It was adopted from another registry's store.
    Imported,
    /// It was mounted from another repository.
    Mounted,
}

impl Origin {
    /// Returns the stored number.
    pub(crate) fn value(self) -> Value {
        Value::Int(match self {
            Self::Pushed => 1,
            Self::Mirrored => 2,
            Self::Imported => 3,
            Self::Mounted => 4,
        })
    }

    /// Returns the origin stored in a column.
    pub(crate) fn from_row(row: &Row, index: usize) -> Result<Self> {
        row.code(index, |code| match code {
            1 => Some(Self::Pushed),
            2 => Some(Self::Mirrored),
            3 => Some(Self::Imported),
            4 => Some(Self::Mounted),
            _ => None,
        })
    }
}

/// A repository's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Its key.
    pub id: RepositoryId,
    /// Its name.
    pub name: RepositoryName,
    /// Its kind.
    pub kind: RepositoryKind,
    /// Whether at least one manifest is stored in it; without one it is in no list.
    pub has_manifests: bool,
}

/// Which part of the catalog is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogPage {
    /// The page starts after this name, which need not exist.
    pub after: Option<String>,
    /// The most names returned.
    pub limit: u64,
}

pub(crate) const REPOSITORY: &str = "SELECT r.id, r.kind, r.upstream, \
        EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = r.id) AS has_manifests \
    FROM repositories r WHERE r.name = $1";

pub(crate) const CATALOG: &str = "SELECT r.name FROM repositories r \
    WHERE replace(r.name, '/', ' ') > $1 AND EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = r.id) \
    ORDER BY replace(r.name, '/', ' ') LIMIT $2";

pub(crate) const KIND: &str = "SELECT id, kind, upstream FROM repositories WHERE name = $1";

pub(crate) const NAME: &str = "SELECT name FROM repositories WHERE id = $1";

pub(crate) const IS_LOCAL: &str = "SELECT id FROM repositories WHERE id = $1 AND kind = 1";

const CREATE: &str = "INSERT INTO repositories (name, kind, upstream, created_at) VALUES ($1, $2, $3, $4) \
    ON CONFLICT (name) DO NOTHING";

impl Metadata {
    /// Returns the repository of that name.
    pub async fn repository(&self, name: &RepositoryName) -> Result<Option<Repository>> {
        self.read(name.clone(), |tx, name| {
            Box::pin(async move {
                let Some(row) = tx.query_one(REPOSITORY, &[name.into()]).await? else {
                    return Ok(None);
                };
                let kind = RepositoryKind::from_row(&row, 1)?;
                let id = RepositoryId(row.i64(0)?);
                Ok(Some(Repository {
                    id,
                    name: name.clone(),
                    kind,
                    has_manifests: row.bool(3)?,
                }))
            })
        })
        .await
    }

    /// Returns the name of a repository.
    pub async fn repository_name(&self, id: RepositoryId) -> Result<Option<RepositoryName>> {
        self.read(id, |tx, id| {
            Box::pin(async move {
                let row = tx.query_one(NAME, &[id.value()]).await?;
                row.map(|row| row.repository_name(0)).transpose()
            })
        })
        .await
    }

    /// Returns the names of repositories that hold a manifest, in Distribution's order: `/` before every other
    /// character.
    pub async fn catalog(&self, page: CatalogPage) -> Result<Vec<RepositoryName>> {
        self.read(page, |tx, page| {
            Box::pin(async move {
                let after = page.after.as_deref().unwrap_or_default().replace('/', " ");
                let rows = tx
                    .query(CATALOG, &[Value::Text(after), page.limit.into()])
                    .await?;
                rows.iter().map(|row| row.repository_name(0)).collect()
            })
        })
        .await
    }
}

/// Returns the repository's key and kind.
pub(crate) async fn find(
    tx: &mut Tx,
    name: &RepositoryName,
) -> Result<Option<(RepositoryId, RepositoryKind)>> {
    let Some(row) = tx.query_one(KIND, &[name.into()]).await? else {
        return Ok(None);
    };
    Ok(Some((
        RepositoryId(row.i64(0)?),
        RepositoryKind::from_row(&row, 1)?,
    )))
}

/// Returns whether content is pushed to the repository, and not fetched.
pub(crate) async fn is_local(tx: &mut Tx, repository: RepositoryId) -> Result<bool> {
    let row = tx.query_one(IS_LOCAL, &[repository.value()]).await?;
    Ok(row.is_some())
}

/// Returns the key of the repository, whose row is made when it is absent; `None` when it exists with another kind
/// or another upstream.
pub(crate) async fn find_or_create(
    tx: &mut Tx,
    name: &RepositoryName,
    kind: &RepositoryKind,
) -> Result<Option<RepositoryId>> {
    let mut found = find(tx, name).await?;
    if found.is_none() {
        let now = tx.now();
        let columns = [
            name.into(),
            kind.code().into(),
            kind.upstream().into(),
            now.into(),
        ];
        tx.execute(CREATE, &columns).await?;
        found = find(tx, name).await?;
    }
    Ok(found.and_then(|(id, stored)| (stored == *kind).then_some(id)))
}
