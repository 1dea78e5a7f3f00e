//! What rows say of each other and of files, a page at a time: for those who look for what does not fit. Every page is read
//! apart; what is done about something asks once more, in the transaction that does it.

use oci::{Digest, RepositoryName};

use crate::blobs::{self, Stored};
use crate::candidates::{self, CandidateKind};
use crate::database::Metadata;
use crate::error::Result;
use crate::reclaim;
use crate::repositories::{RepositoryId, RepositoryKind};
use crate::tx::Tx;
use crate::value::{Row, Value};

/// The rows of a page.
const PAGE: u64 = 500;

/// A place in the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredPlace {
    /// The digest.
    pub digest: Digest,
    /// The key; `None` is Distribution's path.
    pub key: Option<String>,
}

/// What became of bytes for which a row was wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// They have a row now, and the collector knows of them.
    Entered,
    /// They have a row already, in whatever state.
    Known,
    /// The same bytes are live in another place.
    Superfluous,
}

/// Something that names what may not be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Whose page it ends.
    pub cursor: NameCursor,
    /// The repository.
    pub repository: RepositoryName,
    /// Who names it.
    pub by: Namer,
    /// What it names.
    pub digest: Digest,
    /// Whether that is there; its bytes may be quarantined.
    pub is_there: bool,
}

/// Who names something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namer {
    /// A tag names a manifest of its repository.
    Tag(String),
    /// A manifest names something of its repository: its place among what it names.
    Manifest(Digest, u64),
    /// A membership, or a manifest's row, names bytes.
    Repository,
}

/// The kinds of things that name others, in the order in which they are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    /// Tags.
    Tags,
    /// What manifests of local repositories name; mirrored ones are fetched when they are asked for.
    References,
    /// The rows of manifests.
    Manifests,
    /// Memberships.
    Memberships,
}

/// How far a walk over things of one kind is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameCursor {
    repository: Value,
    key: Value,
    position: i64,
}

/// Content that the collector should know of and does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unnoted {
    /// Its repository; [`RepositoryId::NONE`] for bytes that no repository has a row for.
    pub repository: RepositoryId,
    /// The repository's name, if there is one.
    pub name: Option<RepositoryName>,
    /// Its digest.
    pub digest: Digest,
    /// What it is.
    pub kind: CandidateKind,
    /// Whether nothing names it and the collector does not know of it.
    pub is_unnoted: bool,
    pub(crate) id: i64,
}

/// The kinds of content that the collector has to know of, in the order in which they are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnnotedKind {
    /// Bytes that no repository has a row for.
    Bytes,
    /// Blobs of local repositories that no manifest there names.
    Blobs,
    /// Manifests of local repositories that no tag, index or subject keeps.
    Manifests,
}

pub(crate) const TAGS: &str = "SELECT t.repository_id, r.name, t.name, t.digest, \
        EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = t.repository_id AND m.digest = t.digest) AS there \
    FROM tags t JOIN repositories r ON r.id = t.repository_id \
    WHERE (t.repository_id, t.name) > ($1, $2) ORDER BY t.repository_id, t.name LIMIT $3";

/// Kinds: 3 is a child, which must be a manifest there.
pub(crate) const REFERENCES: &str = "SELECT c.repository_id, r.name, c.parent, c.position, c.child, \
        (EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = c.repository_id AND m.digest = c.child) \
        OR (c.kind <> 3 AND EXISTS (SELECT 1 FROM repository_blobs l \
            WHERE l.repository_id = c.repository_id AND l.digest = c.child))) AS there \
    FROM manifest_refs c JOIN repositories r ON r.id = c.repository_id \
    WHERE (c.repository_id, c.parent, c.position) > ($1, $2, $3) AND r.kind = 1 \
    ORDER BY c.repository_id, c.parent, c.position LIMIT $4";

pub(crate) const MANIFESTS: &str = "SELECT m.repository_id, r.name, m.digest, \
        (EXISTS (SELECT 1 FROM blobs b WHERE b.digest = m.digest AND b.state = 1) \
        OR EXISTS (SELECT 1 FROM blobs b WHERE b.digest = m.digest AND b.state = 3)) AS there \
    FROM manifests m JOIN repositories r ON r.id = m.repository_id \
    WHERE (m.repository_id, m.digest) > ($1, $2) ORDER BY m.repository_id, m.digest LIMIT $3";

pub(crate) const MEMBERSHIPS: &str = "SELECT l.repository_id, r.name, l.digest, \
        (EXISTS (SELECT 1 FROM blobs b WHERE b.digest = l.digest AND b.state = 1) \
        OR EXISTS (SELECT 1 FROM blobs b WHERE b.digest = l.digest AND b.state = 3)) AS there \
    FROM repository_blobs l JOIN repositories r ON r.id = l.repository_id \
    WHERE (l.repository_id, l.digest) > ($1, $2) ORDER BY l.repository_id, l.digest LIMIT $3";

/// An event notes bytes under the repository that let go of them, or under none. Which one is looked up only for what nothing
/// names, and there is not much of that.
const UNNOTED_BYTES: &str = "SELECT b.id, b.digest, \
        (NOT EXISTS (SELECT 1 FROM repository_blobs l WHERE l.digest = b.digest) \
        AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.digest = b.digest) \
        AND NOT EXISTS (SELECT 1 FROM manifest_refs c WHERE c.child = b.digest) \
        AND NOT EXISTS (SELECT 1 FROM gc_candidates g WHERE g.repository_id = 0 AND g.digest = b.digest AND g.kind = 1) \
        AND NOT EXISTS (SELECT 1 FROM repositories r CROSS JOIN gc_candidates g \
            WHERE g.repository_id = r.id AND g.digest = b.digest AND g.kind = 1)) AS unnoted \
    FROM blobs b WHERE b.id > $1 AND b.state <> 2 ORDER BY b.id LIMIT $2";

pub(crate) const UNNOTED_BLOBS: &str = "SELECT l.repository_id, r.name, l.digest, \
        (NOT EXISTS (SELECT 1 FROM manifest_refs c WHERE c.repository_id = l.repository_id AND c.child = l.digest) \
        AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = l.repository_id AND m.digest = l.digest) \
        AND NOT EXISTS (SELECT 1 FROM gc_candidates g \
            WHERE g.repository_id = l.repository_id AND g.digest = l.digest AND g.kind = 1)) AS unnoted \
    FROM repository_blobs l JOIN repositories r ON r.id = l.repository_id \
    WHERE (l.repository_id, l.digest) > ($1, $2) AND r.kind = 1 ORDER BY l.repository_id, l.digest LIMIT $3";

pub(crate) const UNNOTED_MANIFESTS: &str = "SELECT m.repository_id, r.name, m.digest, \
        (NOT EXISTS (SELECT 1 FROM tags t WHERE t.repository_id = m.repository_id AND t.digest = m.digest) \
        AND NOT EXISTS (SELECT 1 FROM manifest_refs c \
            WHERE c.repository_id = m.repository_id AND c.child = m.digest) \
        AND NOT EXISTS (SELECT 1 FROM manifests s WHERE s.repository_id = m.repository_id AND s.digest = m.subject) \
        AND NOT EXISTS (SELECT 1 FROM gc_candidates g \
            WHERE g.repository_id = m.repository_id AND g.digest = m.digest AND g.kind = 2)) AS unnoted \
    FROM manifests m JOIN repositories r ON r.id = m.repository_id \
    WHERE (m.repository_id, m.digest) > ($1, $2) AND r.kind = 1 ORDER BY m.repository_id, m.digest LIMIT $3";

impl Metadata {
    /// Returns those of `places` that no row has, whatever its state.
    pub async fn unknown_places(&self, places: Vec<StoredPlace>) -> Result<Vec<StoredPlace>> {
        self.read(places, |tx, places| {
            Box::pin(async move {
                let mut unknown = Vec::new();
                for place in places {
                    if !is_known(tx, place).await? {
                        unknown.push(place.clone());
                    }
                }
                Ok(unknown)
            })
        })
        .await
    }

    /// Gives bytes that were found right a row of their own. Unless something names them, the collector frees them once its
    /// grace is over.
    pub async fn enter_bytes(&self, place: StoredPlace, size: u64) -> Result<Entered> {
        self.write((place, size), |tx, (place, size)| {
            Box::pin(async move {
                if is_known(tx, place).await? {
                    return Ok(Entered::Known);
                }
                let digest = &place.digest;
                if tx
                    .query_one(blobs::ANYWHERE, &[digest.into()])
                    .await?
                    .is_some()
                {
                    return Ok(Entered::Superfluous);
                }
                let stored = Stored {
                    digest,
                    size: *size,
                    key: place.key.as_deref(),
                    // Whoever it was, it is kept like what was pushed.
                    kind: &RepositoryKind::Local,
                    lease_micros: 0,
                };
                blobs::store(tx, &stored).await?;
                candidates::note_orphan(tx, digest).await?;
                Ok(Entered::Entered)
            })
        })
        .await
    }

    /// Returns the next things of a kind that name others, after `after`; none when there are no more.
    pub async fn named(&self, kind: NameKind, after: Option<NameCursor>) -> Result<Vec<Named>> {
        self.read((kind, after), |tx, (kind, after)| {
            Box::pin(async move {
                let start = kind.start(after.as_ref());
                let rows = tx.query(kind.sql(), &start).await?;
                rows.iter().map(|row| kind.named(row)).collect()
            })
        })
        .await
    }

    /// Returns the next content of a kind that the collector has to know of unless something names it, after `after`; none
    /// when there is no more.
    pub async fn collectable(
        &self,
        kind: UnnotedKind,
        after: Option<Unnoted>,
    ) -> Result<Vec<Unnoted>> {
        self.read((kind, after), |tx, (kind, after)| {
            Box::pin(async move {
                let start = kind.start(after.as_ref());
                let rows = tx.query(kind.sql(), &start).await?;
                rows.iter().map(|row| kind.unnoted(row)).collect()
            })
        })
        .await
    }

    /// Has the collector know of content. What is named again meanwhile it leaves alone.
    pub async fn note_for_collection(&self, found: Unnoted) -> Result<()> {
        self.write(found, |tx, found| {
            Box::pin(async move {
                candidates::note_now(tx, found.repository, &found.digest, found.kind).await
            })
        })
        .await
    }
}

async fn is_known(tx: &mut Tx, place: &StoredPlace) -> Result<bool> {
    let columns = [(&place.digest).into(), place.key.as_deref().into()];
    Ok(tx.query_one(reclaim::TAKEN, &columns).await?.is_some())
}

impl NameKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [
        Self::Tags,
        Self::References,
        Self::Manifests,
        Self::Memberships,
    ];

    fn sql(self) -> &'static str {
        match self {
            Self::Tags => TAGS,
            Self::References => REFERENCES,
            Self::Manifests => MANIFESTS,
            Self::Memberships => MEMBERSHIPS,
        }
    }

    fn start(self, after: Option<&NameCursor>) -> Vec<Value> {
        let first = match self {
            Self::Tags => Value::Text(String::new()),
            Self::References | Self::Manifests | Self::Memberships => Value::Blob(Vec::new()),
        };
        let (repository, key, position) = match after {
            Some(last) => (last.repository.clone(), last.key.clone(), last.position),
            None => (Value::Int(0), first, 0),
        };
        match self {
            Self::References => vec![repository, key, position.into(), PAGE.into()],
            Self::Tags | Self::Manifests | Self::Memberships => vec![repository, key, PAGE.into()],
        }
    }

    fn named(self, row: &Row) -> Result<Named> {
        let repository = RepositoryId::from_row(row, 0)?.value();
        let name = row.repository_name(1)?;
        let (key, position, by, digest, is_there) = match self {
            Self::Tags => {
                let tag = row.text(2)?.to_owned();
                let by = Namer::Tag(tag.clone());
                (Value::Text(tag), 0, by, row.digest(3)?, row.bool(4)?)
            }
            Self::References => {
                let (parent, position) = (row.digest(2)?, row.i64(3)?);
                let by = Namer::Manifest(parent, row.u64(3)?);
                let key = (&parent).into();
                (key, position, by, row.digest(4)?, row.bool(5)?)
            }
            Self::Manifests | Self::Memberships => {
                let digest = row.digest(2)?;
                let key = (&digest).into();
                (key, 0, Namer::Repository, digest, row.bool(3)?)
            }
        };
        Ok(Named {
            cursor: NameCursor {
                repository,
                key,
                position,
            },
            repository: name,
            by,
            digest,
            is_there,
        })
    }
}

impl UnnotedKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Bytes, Self::Blobs, Self::Manifests];

    fn sql(self) -> &'static str {
        match self {
            Self::Bytes => UNNOTED_BYTES,
            Self::Blobs => UNNOTED_BLOBS,
            Self::Manifests => UNNOTED_MANIFESTS,
        }
    }

    fn start(self, after: Option<&Unnoted>) -> Vec<Value> {
        match self {
            Self::Bytes => vec![after.map_or(0, |last| last.id).into(), PAGE.into()],
            Self::Blobs | Self::Manifests => match after {
                Some(last) => vec![last.repository.value(), (&last.digest).into(), PAGE.into()],
                None => vec![Value::Int(0), Value::Blob(Vec::new()), PAGE.into()],
            },
        }
    }

    fn unnoted(self, row: &Row) -> Result<Unnoted> {
        Ok(match self {
            Self::Bytes => Unnoted {
                repository: RepositoryId::NONE,
                name: None,
                digest: row.digest(1)?,
                kind: CandidateKind::Blob,
                is_unnoted: row.bool(2)?,
                id: row.i64(0)?,
            },
            Self::Blobs | Self::Manifests => Unnoted {
                repository: RepositoryId::from_row(row, 0)?,
                name: Some(row.repository_name(1)?),
                digest: row.digest(2)?,
                kind: match self {
                    Self::Manifests => CandidateKind::Manifest,
                    Self::Bytes | Self::Blobs => CandidateKind::Blob,
                },
                is_unnoted: row.bool(3)?,
                id: 0,
            },
        })
    }
}
