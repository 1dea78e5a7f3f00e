//! Reviewing candidates: whether something still holds them is asked and decided in one transaction, a batch at a time. What
//! nothing holds loses its rows, its bytes are claimed, and what it held becomes a candidate in turn.

use crate::blobs;
use crate::candidates::{self, Candidate, CandidateKind};
use crate::database::Metadata;
use crate::error::Result;
use crate::manifests;
use crate::reclaim::{self, Claimed};
use crate::repositories::RepositoryId;
use crate::tx::Tx;
use crate::upkeep;
use crate::value::Value;

/// Who deletes, where that is recorded.
const BY: &str = "system:gc";

/// Rows that one batch may free before the rest of it is left for the next: an index of many thousand entries must not
/// keep others from writing for long.
const MOST_FREED: usize = 2000;

/// How long candidates of a repository that is held are not looked at, in microseconds.
const HELD_PAUSE: i64 = 24 * 3600 * 1_000_000;

/// Candidates to review.
#[derive(Clone, Debug)]
pub struct Review {
    /// Which, in this order. The caller must know that no one stores or reads these digests meanwhile.
    pub candidates: Vec<Candidate>,
    /// How long something stays a candidate before it is reviewed, in microseconds.
    pub grace_micros: i64,
    /// Whether manifests go that nothing keeps but the rule that untagged ones stay.
    pub delete_untagged: bool,
}

/// What became of a [`Review`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reviewed {
    /// What became of each, in order; of the first of them only where these freed so much that the rest was left.
    pub verdicts: Vec<Verdict>,
    /// What has to be deleted now.
    pub claimed: Vec<Claimed>,
    /// What lost a holder by this and is to be reviewed next.
    pub next: Vec<Candidate>,
}

/// What became of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is none any more, or not yet due.
    NotDue,
    /// Something keeps it; it is no candidate any more.
    Kept,
    /// It is a manifest that only the rule keeps that untagged ones stay.
    Parked,
    /// Nothing keeps it but a lease, or what holds its repository or all local content back.
    Postponed,
    /// Its rows are gone.
    Gone,
}

/// `$1` repository, `$2` digest, `$3` kind.
pub(crate) const CANDIDATE: &str = "SELECT since, not_before, parked FROM gc_candidates \
    WHERE repository_id = $1 AND digest = $2 AND kind = $3";

pub(crate) const DROP: &str =
    "DELETE FROM gc_candidates WHERE repository_id = $1 AND digest = $2 AND kind = $3";

pub(crate) const POSTPONE: &str = "UPDATE gc_candidates SET not_before = $4 \
    WHERE repository_id = $1 AND digest = $2 AND kind = $3";

pub(crate) const PARK: &str = "UPDATE gc_candidates SET parked = 1 \
    WHERE repository_id = $1 AND digest = $2 AND kind = $3";

pub(crate) const HELD: &str =
    "SELECT id FROM repositories WHERE id = $1 AND held_since IS NOT NULL";

/// `$1` repository, `$2` digest: whether a tag, another manifest or its subject keeps a manifest.
pub(crate) const MANIFEST_KEPT: &str = "SELECT \
        (EXISTS (SELECT 1 FROM tags t WHERE t.repository_id = $1 AND t.digest = $2) \
        OR EXISTS (SELECT 1 FROM manifest_refs c WHERE c.repository_id = $1 AND c.child = $2) \
        OR EXISTS (SELECT 1 FROM manifests s WHERE s.repository_id = $1 AND s.digest = m.subject)) AS kept \
    FROM manifests m WHERE m.repository_id = $1 AND m.digest = $2";

pub(crate) const NAMED: &str =
    "SELECT child FROM manifest_refs WHERE repository_id = $1 AND child = $2 LIMIT 1";

pub(crate) const IS_MANIFEST: &str =
    "SELECT digest FROM manifests WHERE repository_id = $1 AND digest = $2";

/// `$1` digest.
pub(crate) const BYTES: &str = "SELECT lease_until, held_locally FROM blobs \
    WHERE ((digest = $1 AND state = 1) OR (digest = $1 AND state = 3))";

impl Metadata {
    /// Reviews a batch of candidates in one transaction.
    pub async fn review(&self, review: Review) -> Result<Reviewed> {
        self.write(review, |tx, review| Box::pin(review_batch(tx, review)))
            .await
    }
}

async fn review_batch(tx: &mut Tx, review: &Review) -> Result<Reviewed> {
    let upkeep = upkeep::read(tx).await?;
    let mut reviewed = Reviewed::default();
    if upkeep.importing {
        // What the import did not come to yet may hold any of them.
        reviewed.verdicts = vec![Verdict::NotDue; review.candidates.len()];
        return Ok(reviewed);
    }
    for candidate in &review.candidates {
        if reviewed.next.len() > MOST_FREED {
            break;
        }
        let mut one = One {
            candidate,
            hold_until: upkeep.hold_until,
            reviewed: &mut reviewed,
        };
        let verdict = one.review(tx, review).await?;
        reviewed.verdicts.push(verdict);
    }
    Ok(reviewed)
}

/// The review of one candidate.
struct One<'a> {
    candidate: &'a Candidate,
    hold_until: i64,
    reviewed: &'a mut Reviewed,
}

impl One<'_> {
    async fn review(&mut self, tx: &mut Tx, review: &Review) -> Result<Verdict> {
        let Candidate {
            repository, kind, ..
        } = *self.candidate;
        let now = tx.now();
        let Some(row) = tx.query_one(CANDIDATE, &self.key()).await? else {
            return Ok(Verdict::NotDue);
        };
        let (since, not_before, parked) = (row.i64(0)?, row.i64(1)?, row.bool(2)?);
        let latest = now.saturating_sub(review.grace_micros);
        if since > latest || not_before > now {
            return Ok(Verdict::NotDue);
        }
        if parked && !review.delete_untagged {
            return Ok(Verdict::Parked);
        }
        if tx.query_one(HELD, &[repository.value()]).await?.is_some() {
            return self.postpone(tx, now.saturating_add(HELD_PAUSE)).await;
        }
        match kind {
            // What this one lets go is due in the same run, whatever the order of reviews. Only a later event of its own spares it.
            CandidateKind::Manifest => self.manifest(tx, latest, review.delete_untagged).await,
            CandidateKind::Blob if repository == RepositoryId::NONE => self.bytes(tx).await,
            CandidateKind::Blob => self.blob(tx, latest).await,
        }
    }

    async fn manifest(&mut self, tx: &mut Tx, since: i64, delete: bool) -> Result<Verdict> {
        let Candidate {
            repository, digest, ..
        } = *self.candidate;
        let key = [repository.value(), (&digest).into()];
        let Some(row) = tx.query_one(MANIFEST_KEPT, &key).await? else {
            // Deleted while another still named it, which then kept its bytes.
            self.review_as(tx, CandidateKind::Blob, since).await?;
            return self.drop(tx, Verdict::Kept).await;
        };
        if row.bool(0)? {
            return self.drop(tx, Verdict::Kept).await;
        }
        if !delete {
            tx.execute(PARK, &self.key()).await?;
            return Ok(Verdict::Parked);
        }
        if let Some(until) = self.protected_until(tx).await? {
            return self.postpone(tx, until).await;
        }
        let freed = manifests::delete_local(tx, repository, &digest, BY, since).await?;
        self.reviewed.next.extend(freed.into_iter().flatten());
        self.drop(tx, Verdict::Gone).await
    }

    async fn blob(&mut self, tx: &mut Tx, since: i64) -> Result<Verdict> {
        let Candidate {
            repository, digest, ..
        } = *self.candidate;
        let key = [repository.value(), (&digest).into()];
        if tx.query_one(IS_MANIFEST, &key).await?.is_some() {
            // Stored as a manifest since; as which it may have been left behind by one that named it as a blob.
            self.review_as(tx, CandidateKind::Manifest, since).await?;
            return self.drop(tx, Verdict::Kept).await;
        }
        if tx.query_one(NAMED, &key).await?.is_some() {
            return self.drop(tx, Verdict::Kept).await;
        }
        if let Some(until) = self.protected_until(tx).await? {
            return self.postpone(tx, until).await;
        }
        blobs::leave(tx, repository, &digest).await?;
        self.claim(tx).await
    }

    /// Has the digest reviewed as something else next. Nothing happened to it: as what it waits already, it waits on.
    async fn review_as(&mut self, tx: &mut Tx, kind: CandidateKind, since: i64) -> Result<()> {
        let other = Candidate {
            since,
            kind,
            ..*self.candidate
        };
        candidates::note_if_unknown(tx, &other).await?;
        self.reviewed.next.push(other);
        Ok(())
    }

    /// Reviews bytes that no repository has a row for.
    async fn bytes(&mut self, tx: &mut Tx) -> Result<Verdict> {
        if let Some(until) = self.protected_until(tx).await? {
            return self.postpone(tx, until).await;
        }
        self.claim(tx).await
    }

    /// Claims the bytes, unless somebody else holds them: then they are reviewed again when he lets go.
    async fn claim(&mut self, tx: &mut Tx) -> Result<Verdict> {
        let claimed = reclaim::claim(tx, &self.candidate.digest).await?;
        self.reviewed.claimed.extend(claimed);
        self.drop(tx, Verdict::Gone).await
    }

    /// Returns until when a lease, or an unclean end, protects the digest; `None` when neither does.
    async fn protected_until(&self, tx: &mut Tx) -> Result<Option<i64>> {
        let mut until = i64::MIN;
        for row in tx.query(BYTES, &[(&self.candidate.digest).into()]).await? {
            until = until.max(row.i64(0)?);
            if row.bool(1)? {
                until = until.max(self.hold_until);
            }
        }
        Ok((until > tx.now()).then_some(until))
    }

    async fn postpone(&self, tx: &mut Tx, until: i64) -> Result<Verdict> {
        let [repository, digest, kind] = self.key();
        tx.execute(POSTPONE, &[repository, digest, kind, until.into()])
            .await?;
        Ok(Verdict::Postponed)
    }

    async fn drop(&self, tx: &mut Tx, verdict: Verdict) -> Result<Verdict> {
        tx.execute(DROP, &self.key()).await?;
        Ok(verdict)
    }

    fn key(&self) -> [Value; 3] {
        let Candidate {
            repository,
            digest,
            kind,
            ..
        } = self.candidate;
        [repository.value(), digest.into(), kind.value()]
    }
}
