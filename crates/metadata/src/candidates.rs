//! What may have lost its last holder: a row per thing, written in the transaction of the event that may have made it so
//! and looked at once its grace is over. Nothing is ever looked for by reading everything. Content of local repositories
//! is noted under them; bytes that no repository has a row for, under none.

use oci::Digest;

use crate::database::Metadata;
use crate::error::Result;
use crate::repositories::RepositoryId;
use crate::tx::Tx;
use crate::value::{Row, Value};

/// The rows of a page.
const PAGE: u64 = 100;

/// What a candidate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CandidateKind {
    /// A blob: its membership in the repository, if it has one, and its bytes.
    Blob,
    /// A manifest that no tag names.
    Manifest,
}

impl CandidateKind {
    /// Returns the stored number.
    pub(crate) fn value(self) -> Value {
        Value::Int(match self {
            Self::Blob => 1,
            Self::Manifest => 2,
        })
    }

    fn from_row(row: &Row, index: usize) -> Result<Self> {
        row.code(index, |code| match code {
            1 => Some(Self::Blob),
            2 => Some(Self::Manifest),
            _ => None,
        })
    }
}

/// Something to review.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Candidate {
    /// Since when it may be without a holder, in microseconds since 1970.
    pub since: i64,
    /// Its repository; [`RepositoryId::NONE`] for bytes that no repository has a row for.
    pub repository: RepositoryId,
    /// Its digest.
    pub digest: Digest,
    /// What it is.
    pub kind: CandidateKind,
}

/// Which candidates are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// How long something stays a candidate before it is reviewed, in microseconds.
    pub grace_micros: i64,
    /// Which half of them.
    pub half: Half,
}

/// Candidates are of two halves, read one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// What waits for its review.
    Waiting,
    /// Manifests that were reviewed and stay only because untagged ones do.
    Parked,
}

impl Half {
    fn value(self) -> Value {
        Value::Int(match self {
            Self::Waiting => 0,
            Self::Parked => 1,
        })
    }
}

/// How many candidates there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CandidateCounts {
    /// Blobs.
    pub blobs: u64,
    /// Manifests that wait for their review.
    pub manifests: u64,
    /// Manifests that were reviewed and stay only because untagged ones do.
    pub parked: u64,
    /// Since when the oldest that is not parked is one, in microseconds since 1970.
    pub oldest: Option<i64>,
}

/// Of two events the later counts, and whatever was found out before the event is void.
pub(crate) const NOTE: &str = "INSERT INTO gc_candidates (repository_id, digest, kind, since) \
    VALUES ($1, $2, $3, $4) \
    ON CONFLICT (repository_id, digest, kind) DO UPDATE SET not_before = 0, parked = 0, \
        since = CASE WHEN gc_candidates.since < excluded.since THEN excluded.since ELSE gc_candidates.since END";

/// No event: one that is a candidate already stays as it is.
pub(crate) const NOTE_IF_UNKNOWN: &str = "INSERT INTO gc_candidates (repository_id, digest, kind, since) \
    VALUES ($1, $2, $3, $4) ON CONFLICT (repository_id, digest, kind) DO NOTHING";

/// `$1` repository, `$2` manifest, `$3` since: everything the manifest names.
pub(crate) const NOTE_NAMED: &str = "INSERT INTO gc_candidates (repository_id, digest, kind, since) \
    SELECT c.repository_id, c.child, CASE WHEN c.kind = 3 THEN 2 ELSE 1 END, CAST($3 AS BIGINT) \
        FROM manifest_refs c WHERE c.repository_id = $1 AND c.parent = $2 \
        GROUP BY c.repository_id, c.child, CASE WHEN c.kind = 3 THEN 2 ELSE 1 END \
    ON CONFLICT (repository_id, digest, kind) DO UPDATE SET not_before = 0, parked = 0, \
        since = CASE WHEN gc_candidates.since < excluded.since THEN excluded.since ELSE gc_candidates.since END \
    RETURNING since, repository_id, digest, kind";

/// `$1` repository, `$2` manifest, `$3` since: everything that refers to the manifest.
pub(crate) const NOTE_REFERRERS: &str = "INSERT INTO gc_candidates (repository_id, digest, kind, since) \
    SELECT m.repository_id, m.digest, 2, CAST($3 AS BIGINT) \
        FROM manifests m WHERE m.repository_id = $1 AND m.subject = $2 \
    ON CONFLICT (repository_id, digest, kind) DO UPDATE SET not_before = 0, parked = 0, \
        since = CASE WHEN gc_candidates.since < excluded.since THEN excluded.since ELSE gc_candidates.since END \
    RETURNING since, repository_id, digest, kind";

/// `$1` digest, `$2` now: its bytes, if they are here and no repository has a row for them.
pub(crate) const NOTE_ORPHAN: &str = "INSERT INTO gc_candidates (repository_id, digest, kind, since) \
    SELECT 0, b.digest, 1, CAST($2 AS BIGINT) FROM blobs b \
    WHERE ((b.digest = $1 AND b.state = 1) OR (b.digest = $1 AND b.state = 3)) \
        AND NOT EXISTS (SELECT 1 FROM repository_blobs l WHERE l.digest = $1) \
        AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.digest = $1) \
        AND NOT EXISTS (SELECT 1 FROM manifest_refs c WHERE c.child = $1) \
    ON CONFLICT (repository_id, digest, kind) DO UPDATE SET not_before = 0, parked = 0, \
        since = CASE WHEN gc_candidates.since < excluded.since THEN excluded.since ELSE gc_candidates.since END";

/// `$1` parked, `$2` to `$5` the candidate after which the page starts, `$6` the latest since, `$7` now.
pub(crate) const PAGE_OF_DUE: &str = "SELECT g.since, g.repository_id, g.digest, g.kind FROM gc_candidates g \
    WHERE g.parked = $1 AND (g.since, g.repository_id, g.digest, g.kind) > ($2, $3, $4, $5) \
        AND g.since <= $6 AND g.not_before <= $7 \
    ORDER BY g.since, g.repository_id, g.digest, g.kind LIMIT $8";

/// The oldest that may be due at all: whether a run would find anything to look at. `$1` since, `$2` now.
pub(crate) const ANY_DUE: &str = "SELECT g.since FROM gc_candidates g \
    WHERE g.parked = 0 AND g.since <= $1 AND g.not_before <= $2 LIMIT 1";

pub(crate) const OLDEST: &str =
    "SELECT g.since FROM gc_candidates g WHERE g.parked = 0 ORDER BY g.since LIMIT 1";

/// Reads the narrow index of what waits; asked for by people, not by requests.
const COUNTS: &str =
    "SELECT g.kind, g.parked, COUNT(*) AS number FROM gc_candidates g GROUP BY g.kind, g.parked";

impl Metadata {
    /// Returns the next candidates that are due after `after`, oldest first; none when there are no more.
    pub async fn due_candidates(
        &self,
        due: Due,
        after: Option<&Candidate>,
    ) -> Result<Vec<Candidate>> {
        self.read((due, after.copied()), |tx, (due, after)| {
            Box::pin(async move {
                let latest = tx.now().saturating_sub(due.grace_micros);
                let (since, repository, digest, kind) = match after {
                    Some(last) => (
                        last.since,
                        last.repository,
                        (&last.digest).into(),
                        last.kind.value(),
                    ),
                    None => (
                        i64::MIN,
                        RepositoryId::NONE,
                        Value::Blob(Vec::new()),
                        Value::Int(0),
                    ),
                };
                let columns = [
                    due.half.value(),
                    since.into(),
                    repository.value(),
                    digest,
                    kind,
                    latest.into(),
                    tx.now().into(),
                    PAGE.into(),
                ];
                let rows = tx.query(PAGE_OF_DUE, &columns).await?;
                rows.iter().map(candidate).collect()
            })
        })
        .await
    }

    /// Returns whether any candidate that is not parked is due after a grace of `grace_micros` microseconds.
    pub async fn is_any_candidate_due(&self, grace_micros: i64) -> Result<bool> {
        self.read(grace_micros, |tx, grace| {
            Box::pin(async move {
                let latest = tx.now().saturating_sub(*grace);
                let now = tx.now();
                let row = tx.query_one(ANY_DUE, &[latest.into(), now.into()]).await?;
                Ok(row.is_some())
            })
        })
        .await
    }

    /// Returns how many candidates there are.
    pub async fn candidate_counts(&self) -> Result<CandidateCounts> {
        self.read((), |tx, ()| {
            Box::pin(async move {
                let mut counts = CandidateCounts::default();
                for row in tx.query(COUNTS, &[]).await? {
                    let number = row.u64(2)?;
                    match (CandidateKind::from_row(&row, 0)?, row.bool(1)?) {
                        (_, true) => counts.parked += number,
                        (CandidateKind::Blob, false) => counts.blobs += number,
                        (CandidateKind::Manifest, false) => counts.manifests += number,
                    }
                }
                let oldest = tx.query_one(OLDEST, &[]).await?;
                counts.oldest = oldest.map(|row| row.i64(0)).transpose()?;
                Ok(counts)
            })
        })
        .await
    }
}

/// Notes that something of a local repository may have lost its last holder.
pub(crate) async fn note(tx: &mut Tx, candidate: &Candidate) -> Result<()> {
    tx.execute(NOTE, &columns(candidate)).await.map(drop)
}

/// Has something reviewed to which nothing happened; it stays as it is if it waits already.
pub(crate) async fn note_if_unknown(tx: &mut Tx, candidate: &Candidate) -> Result<()> {
    let columns = columns(candidate);
    tx.execute(NOTE_IF_UNKNOWN, &columns).await.map(drop)
}

fn columns(candidate: &Candidate) -> [Value; 4] {
    [
        candidate.repository.value(),
        (&candidate.digest).into(),
        candidate.kind.value(),
        candidate.since.into(),
    ]
}

/// The same, as of now.
pub(crate) async fn note_now(
    tx: &mut Tx,
    repository: RepositoryId,
    digest: &Digest,
    kind: CandidateKind,
) -> Result<()> {
    let since = tx.now();
    let candidate = Candidate {
        since,
        repository,
        digest: *digest,
        kind,
    };
    note(tx, &candidate).await
}

/// Notes what the rows of a manifest that is about to be deleted keep: all it names and all that refers to it. To be
/// called before they are gone. Returns what was noted.
pub(crate) async fn note_kept_by(
    tx: &mut Tx,
    repository: RepositoryId,
    manifest: &Digest,
    since: i64,
) -> Result<Vec<Candidate>> {
    let columns = [repository.value(), manifest.into(), since.into()];
    let mut noted = Vec::new();
    for sql in [NOTE_NAMED, NOTE_REFERRERS] {
        let rows = tx.query(sql, &columns).await?;
        let rows = rows.iter().map(candidate);
        noted.extend(rows.collect::<Result<Vec<Candidate>>>()?);
    }
    let own_bytes = Candidate {
        since,
        repository,
        digest: *manifest,
        kind: CandidateKind::Blob,
    };
    note(tx, &own_bytes).await?;
    noted.push(own_bytes);
    Ok(noted)
}

/// Notes the bytes of a digest if they are here and no repository has a row for them.
pub(crate) async fn note_orphan(tx: &mut Tx, digest: &Digest) -> Result<()> {
    let now = tx.now();
    tx.execute(NOTE_ORPHAN, &[digest.into(), now.into()])
        .await
        .map(drop)
}

pub(crate) fn candidate(row: &Row) -> Result<Candidate> {
    Ok(Candidate {
        since: row.i64(0)?,
        repository: RepositoryId::from_row(row, 1)?,
        digest: row.digest(2)?,
        kind: CandidateKind::from_row(row, 3)?,
    })
}
