//! Adopting what another registry stored: rows for bytes that are here already, and what its link files say about them.
//! The bytes were looked at by the caller; nothing here makes a row for bytes that have none.

use oci::{Digest, RepositoryName, Tag};

use crate::database::Metadata;
use crate::error::Result;
use crate::held;
use crate::links::{self, Known, LinkName};
use crate::push::{self, PushManifest};
use crate::repositories::{self, Origin, RepositoryId, RepositoryKind};
use crate::tags::{self, TagTarget};
use crate::tx::Tx;
use crate::upkeep;
use crate::value::Value;

/// Who imports, as it is stored.
const BY: &str = "system:import";

/// Bytes that lie at Distribution's path of their digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundBlob {
    /// Their digest, as the path says.
    pub digest: Digest,
    /// How many.
    pub size: u64,
}

/// What the link files of a repository say.
#[derive(Clone, Debug)]
pub struct ImportLinks {
    /// The repository's name among the files.
    pub files: RepositoryName,
    /// Its name here.
    pub repository: RepositoryName,
    /// The kind it gets when its row is made.
    pub kind: RepositoryKind,
    /// The links; a manifest comes before the tags that point to it.
    pub links: Vec<ImportLink>,
}

/// One link file, read and checked. `at` is when it was written, in microseconds since 1970.
#[derive(Clone, Debug)]
pub enum ImportLink {
    /// A blob of the repository.
    Layer {
        /// The digest that the file is named after, which may be another one of the same bytes.
        name: Digest,
        /// The digest in the file.
        target: Digest,
        /// When it was written.
        at: i64,
    },
    /// A manifest of the repository; its tags are links of their own.
    Manifest {
        /// What it says.
        manifest: Box<PushManifest>,
        /// When its link was written.
        at: i64,
    },
    /// A tag of the repository.
    Tag {
        /// The tag.
        tag: Tag,
        /// The manifest it points to.
        target: Digest,
        /// When it was written.
        at: i64,
    },
    /// A manifest that cannot be used, whose bytes are kept for who can.
    Kept {
        /// Its digest.
        digest: Digest,
        /// When its link was written.
        at: i64,
    },
}

/// What became of an [`ImportLink`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imported {
    /// It holds here from now on, and is remembered.
    Taken,
    /// What it names is not here: the bytes, or the manifest of a tag. It is not remembered.
    Absent,
}

/// What became of [`ImportLinks`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportOutcome {
    /// One answer for each link, in their order.
    Done(Vec<Imported>),
    /// The repository exists with another kind or upstream; nothing was written.
    KindConflict,
}

/// How a repository's link files were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// All of them could be used, or what could not was given up.
    Sound,
    /// Some could not be used: nothing of the repository is collected until that is mended or given up.
    Held,
}

/// Whether an import found out what all of the root needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// It did, or what it could not find out was given up.
    Certain,
    /// It did not: what seems idle may be needed by what could not be read.
    Uncertain,
}

/// The last import that came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedImport {
    /// When, in microseconds since 1970.
    pub at: i64,
    /// Whether it found out what all of the root needs.
    pub certainty: Certainty,
    /// What the program said about it.
    pub report: String,
}

const INSERT: &str = "INSERT INTO blobs (digest, size, key, state, lease_until, created_at, held_locally) \
    VALUES ($1, $2, NULL, 1, 0, $3, $4)";

/// Nobody else has the database, so nobody is deleting the file just now.
pub(crate) const REVIVE: &str = "UPDATE blobs SET state = 1, delete_after = NULL, size = $2 \
    WHERE digest = $1 AND state = 2 AND key IS NULL";

pub(crate) const LIVE: &str = "SELECT size FROM blobs WHERE digest = $1 AND state = 1";

pub(crate) const QUARANTINED: &str =
    "SELECT id FROM blobs WHERE digest = $1 AND state = 3 AND key IS NULL LIMIT 1";

pub(crate) const HOLD_LOCALLY: &str =
    "UPDATE blobs SET held_locally = 1 WHERE digest = $1 AND state = 1 AND held_locally = 0";

const JOIN: &str = "INSERT INTO repository_blobs (repository_id, digest, added_at, added_by, origin) \
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT (repository_id, digest) DO NOTHING";

const DATE_MANIFEST: &str =
    "UPDATE manifests SET created_at = $3 WHERE repository_id = $1 AND digest = $2";

/// `$4` is when the row was written, so that a tag that was here before keeps when it came.
const DATE_TAG: &str = "UPDATE tags SET updated_at = $3, \
        created_at = CASE WHEN created_at = $4 THEN $3 ELSE created_at END \
    WHERE repository_id = $1 AND name = $2";

const ENDED: &str = "INSERT INTO imports (ended_at, uncertain, report) VALUES ($1, $2, $3)";

impl Metadata {
    /// Records that an import begins: until [`Metadata::end_import`] nothing is reclaimed, whatever becomes of this process.
    pub async fn begin_import(&self) -> Result<()> {
        self.write((), |tx, ()| {
            Box::pin(async move {
                let importing = i64::from(true);
                tx.execute(upkeep::IMPORTING, &[importing.into()])
                    .await
                    .map(drop)
            })
        })
        .await
    }

    /// Makes live rows for bytes that have none, and returns how many it made. Only for the one process that owns the
    /// database: a file whose deletion broke off is taken back.
    pub async fn import_blobs(&self, blobs: Vec<FoundBlob>, held_locally: bool) -> Result<u64> {
        self.write((blobs, held_locally), |tx, (blobs, held_locally)| {
            Box::pin(async move {
                let mut made = 0;
                for blob in blobs {
                    made += u64::from(import_blob(tx, blob, *held_locally).await?);
                }
                Ok(made)
            })
        })
        .await
    }

    /// Records what link files say, and remembers the files.
    pub async fn import_links(&self, links: ImportLinks) -> Result<ImportOutcome> {
        self.write(links, |tx, links| Box::pin(import_links(tx, links)))
            .await
    }

    /// Ends the import of a repository: holds it, or lets it be collected again.
    pub async fn end_import_of(
        &self,
        repository: &RepositoryName,
        standing: Standing,
    ) -> Result<()> {
        self.write(
            (repository.clone(), standing),
            |tx, (repository, standing)| Box::pin(end_import_of(tx, repository, *standing)),
        )
        .await
    }

    /// Records that an import came to its end.
    pub async fn end_import(&self, report: String, certainty: Certainty) -> Result<()> {
        self.write((report, certainty), |tx, (report, certainty)| {
            Box::pin(async move {
                let importing = i64::from(false);
                tx.execute(upkeep::IMPORTING, &[importing.into()]).await?;
                tx.execute("DELETE FROM imports", &[]).await?;
                let uncertain = i64::from(*certainty == Certainty::Uncertain);
                let columns = [tx.now().into(), uncertain.into(), report.as_str().into()];
                tx.execute(ENDED, &columns).await.map(drop)
            })
        })
        .await
    }

    /// Returns the last import that came to its end; `None` when there was none.
    pub async fn ended_import(&self) -> Result<Option<EndedImport>> {
        self.read((), |tx, ()| {
            Box::pin(async move {
                let row = tx
                    .query_one("SELECT ended_at, uncertain, report FROM imports", &[])
                    .await?;
                row.map(|row| {
                    let certainty = if row.bool(1)? {
                        Certainty::Uncertain
                    } else {
                        Certainty::Certain
                    };
                    Ok(EndedImport {
                        at: row.i64(0)?,
                        certainty,
                        report: row.text(2)?.to_owned(),
                    })
                })
                .transpose()
            })
        })
        .await
    }
}

/// Makes a row, unless the digest has one or its place is taken by what a row of another state is about.
async fn import_blob(tx: &mut Tx, blob: &FoundBlob, held_locally: bool) -> Result<bool> {
    let digest = || Value::from(&blob.digest);
    if tx.query_one(LIVE, &[digest()]).await?.is_some() {
        return Ok(false);
    }
    if tx.execute(REVIVE, &[digest(), blob.size.into()]).await? > 0 {
        return Ok(true);
    }
    if tx.query_one(QUARANTINED, &[digest()]).await?.is_some() {
        return Ok(false);
    }
    let columns = [
        digest(),
        blob.size.into(),
        tx.now().into(),
        i64::from(held_locally).into(),
    ];
    tx.execute(INSERT, &columns).await?;
    Ok(true)
}

async fn import_links(tx: &mut Tx, import: &ImportLinks) -> Result<ImportOutcome> {
    let repository = repositories::find_or_create(tx, &import.repository, &import.kind).await?;
    let Some(repository) = repository else {
        return Ok(ImportOutcome::KindConflict);
    };
    let files = links::find_or_create(tx, &import.files, &import.repository).await?;
    let target = Target {
        repository,
        files,
        kind: &import.kind,
    };
    let mut outcomes = Vec::with_capacity(import.links.len());
    for link in &import.links {
        outcomes.push(import_link(tx, &target, link).await?);
    }
    Ok(ImportOutcome::Done(outcomes))
}

/// Where links go.
struct Target<'a> {
    repository: RepositoryId,
    files: i64,
    kind: &'a RepositoryKind,
}

impl Target<'_> {
    /// Returns when something came. What is mirrored counts as new, or all that nobody pulled for long would be evicted
    /// before anybody could.
    fn came_at(&self, tx: &Tx, written: i64) -> i64 {
        match self.kind {
            RepositoryKind::Local => written.min(tx.now()),
            RepositoryKind::Mirror { .. } => tx.now(),
        }
    }

    fn origin(&self) -> Origin {
        match self.kind {
            RepositoryKind::Local => Origin::Imported,
            RepositoryKind::Mirror { .. } => Origin::Mirrored,
        }
    }
}

async fn import_link(tx: &mut Tx, to: &Target<'_>, link: &ImportLink) -> Result<Imported> {
    let (name, target, taken) = match link {
        ImportLink::Layer { name, target, at } => {
            let taken = join(tx, to, target, *at).await?;
            if name != target {
                join(tx, to, name, *at).await?;
            }
            (LinkName::Layer(*name), target, taken)
        }
        ImportLink::Manifest { manifest, at } => {
            let taken = store_manifest(tx, to, manifest, *at).await?;
            (LinkName::Revision(manifest.digest), &manifest.digest, taken)
        }
        ImportLink::Tag { tag, target, at } => {
            let taken = point(tx, to, tag, target, *at).await?;
            (LinkName::Tag(tag.clone()), target, taken)
        }
        ImportLink::Kept { digest, at } => {
            let taken = join(tx, to, digest, *at).await?;
            (LinkName::Kept(*digest), digest, taken)
        }
    };
    if !taken {
        return Ok(Imported::Absent);
    }
    links::remember(tx, to.files, &name, &Known::settled(*target)).await?;
    Ok(Imported::Taken)
}

/// Makes the blob a member and returns whether its bytes are here.
async fn join(tx: &mut Tx, to: &Target<'_>, digest: &Digest, at: i64) -> Result<bool> {
    if tx.query_one(LIVE, &[digest.into()]).await?.is_none() {
        return Ok(false);
    }
    let at = to.came_at(tx, at);
    let columns: [Value; 5] = [
        to.repository.value(),
        digest.into(),
        at.into(),
        BY.into(),
        to.origin().value(),
    ];
    tx.execute(JOIN, &columns).await?;
    hold_locally(tx, to, digest).await?;
    Ok(true)
}

async fn hold_locally(tx: &mut Tx, to: &Target<'_>, digest: &Digest) -> Result<()> {
    if *to.kind == RepositoryKind::Local {
        tx.execute(HOLD_LOCALLY, &[digest.into()]).await?;
    }
    Ok(())
}

async fn store_manifest(
    tx: &mut Tx,
    to: &Target<'_>,
    manifest: &PushManifest,
    at: i64,
) -> Result<bool> {
    let live = tx.query_one(LIVE, &[(&manifest.digest).into()]).await?;
    let size = live.map(|row| row.u64(0)).transpose()?;
    if size != Some(manifest.size) {
        return Ok(false);
    }
    hold_locally(tx, to, &manifest.digest).await?;
    for reference in &manifest.references {
        hold_locally(tx, to, &reference.digest).await?;
    }
    if tags::has_manifest(tx, to.repository, &manifest.digest).await? {
        return Ok(true);
    }
    push::store_manifest(tx, to.repository, manifest).await?;
    push::store_references(tx, to.repository, manifest).await?;
    let at = to.came_at(tx, at);
    let columns = [to.repository.value(), (&manifest.digest).into(), at.into()];
    tx.execute(DATE_MANIFEST, &columns).await?;
    Ok(true)
}

async fn point(tx: &mut Tx, to: &Target<'_>, tag: &Tag, digest: &Digest, at: i64) -> Result<bool> {
    if !tags::has_manifest(tx, to.repository, digest).await? {
        return Ok(false);
    }
    let now = tx.now();
    let at = to.came_at(tx, at);
    // A mirrored tag is to be asked for at the next pull.
    let checked_at = match to.kind {
        RepositoryKind::Local => at,
        RepositoryKind::Mirror { .. } => 0,
    };
    let target = TagTarget {
        digest,
        by: BY,
        origin: to.origin(),
        checked_at,
    };
    tags::point(tx, to.repository, tag, &target).await?;
    let columns = [
        to.repository.value(),
        tag.as_str().into(),
        at.into(),
        now.into(),
    ];
    tx.execute(DATE_TAG, &columns).await?;
    Ok(true)
}

async fn end_import_of(tx: &mut Tx, repository: &RepositoryName, standing: Standing) -> Result<()> {
    let Some((id, RepositoryKind::Local)) = repositories::find(tx, repository).await? else {
        return Ok(());
    };
    match standing {
        Standing::Held => held::hold(tx, id).await?,
        Standing::Sound => held::release(tx, id).await?,
    };
    Ok(())
}
