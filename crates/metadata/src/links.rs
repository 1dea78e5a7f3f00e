//! What is remembered of link files: the files by which a Distribution registry knows its repositories, layers, manifests
//! and tags. A file that says what is remembered of it says nothing new; only one that says something else is acted on.
//! Until a file that is being written is known to be on the disk, both what it said and what it is to say are remembered.

use oci::{Digest, RepositoryName, Tag};

use crate::database::Metadata;
use crate::error::{Error, Result};
use crate::tx::Tx;
use crate::value::{Row, Value};

/// What a link file is for, and its name among those of its repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LinkName {
    /// A blob of the repository.
    Layer(Digest),
    /// A manifest of the repository.
    Revision(Digest),
    /// A tag of the repository.
    Tag(Tag),
    /// A manifest that could not be used; its bytes are kept.
    Kept(Digest),
}

/// What is remembered of a link file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// What it said when it was read last, or is to say.
    pub target: Digest,
    /// While its writing is not settled: what it may say still.
    pub previous: Option<Digest>,
}

/// Link files of one repository, by its name among the files.
#[derive(Clone, Debug)]
pub(crate) struct OfRepository {
    files: RepositoryName,
    repository: RepositoryName,
    links: Vec<(LinkName, Known)>,
}

const REPOSITORY: &str = "SELECT id FROM link_repositories WHERE name = $1";

const CREATE: &str = "INSERT INTO link_repositories (name, repository) VALUES ($1, $2) \
    ON CONFLICT (name) DO UPDATE SET repository = excluded.repository";

pub(crate) const KNOWN: &str = "SELECT target, previous FROM link_files \
    WHERE link_repository_id = $1 AND kind = $2 AND name = $3";

const REMEMBER: &str = "INSERT INTO link_files (link_repository_id, kind, name, target, previous) \
    VALUES ($1, $2, $3, $4, $5) \
    ON CONFLICT (link_repository_id, kind, name) DO UPDATE SET target = excluded.target, previous = excluded.previous";

pub(crate) const SETTLE: &str = "UPDATE link_files SET previous = NULL \
    WHERE link_repository_id = $1 AND kind = $2 AND name = $3";

const FORGET: &str =
    "DELETE FROM link_files WHERE link_repository_id = $1 AND kind = $2 AND name = $3";

pub(crate) const ALL: &str = "SELECT kind, name, target, previous FROM link_files \
    WHERE link_repository_id = $1 ORDER BY kind, name";

impl Known {
    /// Returns what is remembered of a file that says `target` and is on the disk.
    pub fn settled(target: Digest) -> Self {
        Self {
            target,
            previous: None,
        }
    }

    /// Tells whether a file that says `digest` says nothing new.
    pub fn covers(&self, digest: &Digest) -> bool {
        self.target == *digest || self.previous == Some(*digest)
    }

    fn from_row(row: &Row, target: usize, previous: usize) -> Result<Self> {
        Ok(Self {
            target: row.digest(target)?,
            previous: row.opt_digest(previous)?,
        })
    }
}

impl LinkName {
    fn kind(&self) -> Value {
        Value::Int(match self {
            Self::Layer(_) => 1,
            Self::Revision(_) => 2,
            Self::Tag(_) => 3,
            Self::Kept(_) => 4,
        })
    }

    fn value(&self) -> Value {
        match self {
            Self::Layer(digest) | Self::Revision(digest) | Self::Kept(digest) => digest.into(),
            Self::Tag(tag) => tag.as_str().as_bytes().into(),
        }
    }

    fn from_row(row: &Row, kind: usize, name: usize) -> Result<Self> {
        match row.i64(kind)? {
            1 => Ok(Self::Layer(row.digest(name)?)),
            2 => Ok(Self::Revision(row.digest(name)?)),
            4 => Ok(Self::Kept(row.digest(name)?)),
            3 => {
                let text = std::str::from_utf8(row.blob(name)?).ok();
                let tag = text.and_then(|text| Tag::parse(text).ok());
                tag.map(Self::Tag)
                    .ok_or_else(|| Error::corrupt("name is not a tag"))
            }
            _ => Err(Error::corrupt("kind is not a value this version knows")),
        }
    }
}

impl Metadata {
    /// Returns what is remembered of each of `names`, in their order; `files` is the repository's name among the files.
    pub async fn known_links(
        &self,
        files: &RepositoryName,
        names: Vec<LinkName>,
    ) -> Result<Vec<Option<Known>>> {
        self.read((files.clone(), names), |tx, (files, names)| {
            Box::pin(async move {
                let Some(id) = find(tx, files).await? else {
                    return Ok(vec![None; names.len()]);
                };
                let mut known = Vec::with_capacity(names.len());
                for name in names {
                    let key = [id.into(), name.kind(), name.value()];
                    let row = tx.query_one(KNOWN, &key).await?;
                    known.push(row.map(|row| Known::from_row(&row, 0, 1)).transpose()?);
                }
                Ok(known)
            })
        })
        .await
    }

    /// Remembers what link files say, or are about to say; `repository` is what the repository is called here. To be
    /// called before they are written.
    pub async fn remember_links(
        &self,
        files: &RepositoryName,
        repository: &RepositoryName,
        links: Vec<(LinkName, Known)>,
    ) -> Result<()> {
        let input = OfRepository {
            files: files.clone(),
            repository: repository.clone(),
            links,
        };
        self.write(input, |tx, input| {
            Box::pin(async move {
                let id = find_or_create(tx, &input.files, &input.repository).await?;
                for (name, known) in &input.links {
                    remember(tx, id, name, known).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Remembers that link files are on the disk and say only what they are to say.
    pub async fn settle_links(&self, files: &RepositoryName, names: Vec<LinkName>) -> Result<()> {
        self.write((files.clone(), names), |tx, (files, names)| {
            Box::pin(for_each(tx, SETTLE, files, names))
        })
        .await
    }

    /// Forgets link files that are gone for good, also after a power cut.
    pub async fn forget_links(&self, files: &RepositoryName, names: Vec<LinkName>) -> Result<()> {
        self.write((files.clone(), names), |tx, (files, names)| {
            Box::pin(for_each(tx, FORGET, files, names))
        })
        .await
    }
}

async fn for_each(
    tx: &mut Tx,
    sql: &'static str,
    files: &RepositoryName,
    names: &[LinkName],
) -> Result<()> {
    let Some(id) = find(tx, files).await? else {
        return Ok(());
    };
    for name in names {
        let key = [id.into(), name.kind(), name.value()];
        tx.execute(sql, &key).await?;
    }
    Ok(())
}

/// Returns the key of the repository among the link files.
pub(crate) async fn find(tx: &mut Tx, files: &RepositoryName) -> Result<Option<i64>> {
    let row = tx.query_one(REPOSITORY, &[files.into()]).await?;
    row.map(|row| row.i64(0)).transpose()
}

/// Returns the key of the repository among the link files, whose row is made when it is absent.
pub(crate) async fn find_or_create(
    tx: &mut Tx,
    files: &RepositoryName,
    repository: &RepositoryName,
) -> Result<i64> {
    tx.execute(CREATE, &[files.into(), repository.into()])
        .await?;
    find(tx, files)
        .await?
        .ok_or_else(|| Error::unavailable("a row of link files was neither found nor made"))
}

/// Remembers something of a link file.
pub(crate) async fn remember(
    tx: &mut Tx,
    repository: i64,
    name: &LinkName,
    known: &Known,
) -> Result<()> {
    let columns = [
        repository.into(),
        name.kind(),
        name.value(),
        (&known.target).into(),
        known.previous.as_ref().into(),
    ];
    tx.execute(REMEMBER, &columns).await.map(drop)
}

/// Returns everything that is remembered of a repository's link files.
pub(crate) async fn all(tx: &mut Tx, repository: i64) -> Result<Vec<(LinkName, Known)>> {
    let rows = tx.query(ALL, &[repository.into()]).await?;
    rows.iter()
        .map(|row| {
            let name = LinkName::from_row(row, 0, 1)?;
            Ok((name, Known::from_row(row, 2, 3)?))
        })
        .collect()
}
