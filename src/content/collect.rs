//! Collecting what nothing holds any more, while everything goes on: candidates that are due are reviewed in batches, each
//! in one transaction that also claims the bytes; then their files are deleted and their rows forgotten. Nothing is read but
//! candidates and what has to do with them. What a collection takes from a manifest it reviews at once, so that one run is
//! enough however deep indexes are nested.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use metadata::{
    Candidate, CandidateKind, Claimed, Due, Half, Metadata, Rehearsal, RepositoryId, Review,
    Verdict,
};
use oci::{Digest, RepositoryName};
use tokio::time::Instant;

use super::error::Error;
use super::import::refuse_unimported;
use super::in_use::Claim;
use super::store::Content;
use crate::clock::micros;

/// The most candidates that one transaction reviews.
const BATCH: usize = 100;

/// What to collect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CollectRequest {
    /// How long something stays a candidate before it is reviewed. Leases count beside it, whatever it is.
    pub grace: Duration,
    /// Whether manifests go that nothing keeps but the rule that untagged ones stay.
    pub delete_untagged: bool,
    /// Whether to tell only what would be collected.
    pub dry_run: bool,
    /// The most files deleted in a second; 0 for no limit.
    pub rate: u64,
}

/// What a collection did, or would have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CollectReport {
    /// Candidates that were looked at.
    pub reviewed: u64,
    /// Manifests that are gone.
    pub manifests: u64,
    /// Blobs that are gone from the store, bytes of manifests included.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Candidates that stay for now: leased, in use, or held back.
    pub postponed: u64,
    /// Until when content of local repositories is held back because the server before did not end in order, in
    /// microseconds since 1970; `None` when it is not.
    pub held_until: Option<i64>,
}

/// What a collection tells while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collected<'a> {
    /// A manifest is gone, or would be.
    Manifest {
        /// Its repository.
        repository: &'a RepositoryName,
        /// Its digest.
        digest: &'a Digest,
    },
    /// A blob is about to be deleted, or would be.
    Blob {
        /// Its digest.
        digest: &'a Digest,
        /// Its bytes.
        size: u64,
    },
    /// So many candidates have been looked at by now.
    Reviewed(u64),
}

/// Who listens to a collection.
type Listener<'a> = dyn FnMut(Collected<'_>) + Send + 'a;

/// One collection.
struct Run<'a> {
    content: &'a Content,
    /// The database, or a copy of it.
    metadata: &'a Metadata,
    request: &'a CollectRequest,
    found: &'a mut Listener<'a>,
    report: CollectReport,
    /// The names of repositories that were told of.
    names: HashMap<RepositoryId, Option<RepositoryName>>,
    began: Instant,
}

impl Content {
    /// Collects what is due: reviews every candidate older than the grace, and what that takes away from others. Only one
    /// collection runs at a time; another one waits for it and then does what is left for its own grace. Uploads, pulls and
    /// deletions go on beside it. It may be dropped at any time: what it had claimed is finished by the next one, or at the
    /// next start.
    ///
    /// # Errors
    /// Storage errors; what was freed before stays freed. [`Error::Unavailable`] for a root that was not imported to the end.
    pub async fn collect(
        &self,
        request: &CollectRequest,
        found: &mut (dyn FnMut(Collected<'_>) + Send),
    ) -> Result<CollectReport, Error> {
        if request.dry_run {
            return self.rehearse(request, found).await;
        }
        let _alone = self.collecting.lock().await;
        // Once no other runs: what it finds is so until the end.
        refuse_unimported(&self.settings.root, &self.metadata).await?;
        let _under_way = self.metrics.collector().begins();
        self.finish_left_claims().await?;
        let started = self.metadata.now();
        let report = self.collect_from(&self.metadata, request, found).await?;
        self.note_collection(started, request, report).await;
        Ok(report)
    }

    /// Collects from a copy of the database, which is thrown away. Nobody waits for it but another one like it.
    async fn rehearse(
        &self,
        request: &CollectRequest,
        found: &mut (dyn FnMut(Collected<'_>) + Send),
    ) -> Result<CollectReport, Error> {
        let _alone = self.rehearsing.lock().await;
        refuse_unimported(&self.settings.root, &self.metadata).await?;
        self.check_room_for_a_copy().await?;
        let copy = self.metadata.rehearse().await?;
        let report = self.collect_from(copy.metadata(), request, found).await;
        Rehearsal::end(copy).await;
        report
    }

    async fn collect_from(
        &self,
        metadata: &Metadata,
        request: &CollectRequest,
        found: &mut (dyn FnMut(Collected<'_>) + Send),
    ) -> Result<CollectReport, Error> {
        let mut run = Run {
            content: self,
            metadata,
            request,
            found,
            report: CollectReport::default(),
            names: HashMap::new(),
            began: Instant::now(),
        };
        run.every_half().await?;
        let mut report = run.report;
        let hold_until = metadata.upkeep().await?.hold_until;
        report.held_until = (hold_until > metadata.now()).then_some(hold_until);
        Ok(report)
    }
}

impl Run<'_> {
    async fn every_half(&mut self) -> Result<(), Error> {
        let halves = if self.request.delete_untagged {
            &[Half::Waiting, Half::Parked][..]
        } else {
            &[Half::Waiting]
        };
        for half in halves {
            let due = Due {
                grace_micros: micros(self.request.grace),
                half: *half,
            };
            let mut last = None;
            loop {
                let page = self.metadata.due_candidates(due, last.as_ref()).await?;
                let Some(end) = page.last() else { break };
                last = Some(*end);
                self.review_all(page).await?;
            }
        }
        Ok(())
    }

    /// Reviews `waiting`, and everything that loses a holder by that.
    async fn review_all(&mut self, mut waiting: Vec<Candidate>) -> Result<(), Error> {
        // A burst is no longer than what a second may take.
        let most = match usize::try_from(self.request.rate) {
            Ok(0) | Err(_) => BATCH,
            Ok(rate) => rate.min(BATCH),
        };
        while !waiting.is_empty() {
            let batch = waiting.split_off(waiting.len().saturating_sub(most));
            let left = self.review_batch(batch).await?;
            waiting.extend(left);
            (self.found)(Collected::Reviewed(self.report.reviewed));
            self.keep_to_rate().await;
        }
        Ok(())
    }

    /// Reviews a batch; returns what is to be reviewed next.
    async fn review_batch(&mut self, batch: Vec<Candidate>) -> Result<Vec<Candidate>, Error> {
        let (candidates, claims) = self.claim(batch);
        if candidates.is_empty() {
            return Ok(Vec::new());
        }
        let review = Review {
            candidates,
            grace_micros: micros(self.request.grace),
            delete_untagged: self.request.delete_untagged,
        };
        if self.request.dry_run {
            let reviewed = self.metadata.review(review.clone()).await?;
            self.tell(&review.candidates, &reviewed.verdicts).await?;
            self.tell_blobs(&reviewed.claimed);
            self.report.blobs += reviewed.claimed.len() as u64;
            let sizes = reviewed.claimed.iter().map(|blob| blob.size);
            self.report.bytes += sizes.sum::<u64>();
            return Ok(left(reviewed.next, &review.candidates, &reviewed.verdicts));
        }
        let turn = self.content.turn_to_reclaim().await;
        let write = || self.metadata.review(review.clone());
        let reviewed = self.content.with_reserve(write).await?;
        // Decided: who stores one of these again takes a new key.
        drop(claims);
        self.tell(&review.candidates, &reviewed.verdicts).await?;
        self.tell_blobs(&reviewed.claimed);
        let reclaimed = self.content.finish_claims(reviewed.claimed, turn).await?;
        self.report.blobs += reclaimed.blobs;
        self.report.bytes += reclaimed.bytes;
        self.content
            .metrics
            .collector()
            .collected(reclaimed.blobs, reclaimed.bytes);
        Ok(left(reviewed.next, &review.candidates, &reviewed.verdicts))
    }

    /// Claims the digests of candidates one by one: who holds one, or has a lease on it that could not be written, postpones
    /// only that one.
    fn claim(&mut self, batch: Vec<Candidate>) -> (Vec<Candidate>, Vec<Claim>) {
        let in_use = &self.content.in_use;
        let now = self.metadata.now();
        let mut claimed = BTreeSet::new();
        let mut claims = Vec::new();
        let mut candidates = Vec::with_capacity(batch.len());
        for candidate in batch {
            let digest = candidate.digest;
            let is_ours = claimed.contains(&digest) || {
                let free = if self.request.dry_run {
                    !in_use.is_held(&digest)
                } else {
                    let claim = in_use.claim(&BTreeSet::from([digest]));
                    let free = claim.is_some();
                    claims.extend(claim);
                    free
                };
                // Asked after the claim: from here on nobody can be promised anything.
                free && !in_use.has_unwritten_lease(&digest, now)
            };
            if is_ours {
                claimed.insert(digest);
                candidates.push(candidate);
            } else {
                self.report.reviewed += 1;
                self.report.postponed += 1;
            }
        }
        (candidates, claims)
    }

    /// Counts verdicts and tells of manifests that are gone.
    async fn tell(&mut self, candidates: &[Candidate], verdicts: &[Verdict]) -> Result<(), Error> {
        for (candidate, verdict) in candidates.iter().zip(verdicts) {
            match verdict {
                Verdict::NotDue => continue,
                Verdict::Kept | Verdict::Parked => {}
                Verdict::Postponed => self.report.postponed += 1,
                Verdict::Gone if candidate.kind == CandidateKind::Manifest => {
                    self.report.manifests += 1;
                    self.tell_manifest(candidate).await?;
                }
                Verdict::Gone => {}
            }
            self.report.reviewed += 1;
        }
        Ok(())
    }

    async fn tell_manifest(&mut self, candidate: &Candidate) -> Result<(), Error> {
        let id = candidate.repository;
        if !self.names.contains_key(&id) {
            let name = self.metadata.repository_name(id).await?;
            self.names.insert(id, name);
        }
        if let Some(Some(repository)) = self.names.get(&id) {
            let digest = &candidate.digest;
            (self.found)(Collected::Manifest { repository, digest });
        }
        Ok(())
    }

    fn tell_blobs(&mut self, claimed: &[Claimed]) {
        for Claimed { digest, size, .. } in claimed {
            let size = *size;
            (self.found)(Collected::Blob { digest, size });
        }
    }

    /// Waits as long as the files deleted so far had to take.
    async fn keep_to_rate(&mut self) {
        if self.request.rate == 0 || self.request.dry_run {
            return;
        }
        let seconds = self.report.blobs as f64 / self.request.rate as f64;
        tokio::time::sleep_until(self.began + Duration::from_secs_f64(seconds)).await;
    }
}

/// Returns what is to be reviewed next: what was taken from, and what the review did not get to.
fn left(
    mut next: Vec<Candidate>,
    candidates: &[Candidate],
    verdicts: &[Verdict],
) -> Vec<Candidate> {
    next.extend(candidates.iter().skip(verdicts.len()));
    next
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use metadata::{CommitBlob, Origin, RepositoryKind};
    use oci::{Algorithm, Digest, RepositoryName};

    use super::{CollectReport, CollectRequest, Collected};
    use crate::config::Cache;
    use crate::content::{Content, testing};

    const AT_ONCE: CollectRequest = CollectRequest {
        grace: Duration::ZERO,
        delete_untagged: false,
        dry_run: false,
        rate: 0,
    };

    fn open(directory: &Path) -> Arc<Content> {
        Arc::new(testing::open(directory, Cache::default()).0)
    }

    fn digest(text: &str) -> Digest {
        Digest::of(Algorithm::Sha256, text.as_bytes())
    }

    /// Stores a blob that nothing names, without a lease.
    async fn store(content: &Content, text: &str) {
        let row = CommitBlob {
            repository: RepositoryName::parse("team/app").expect("a name"),
            kind: RepositoryKind::Local,
            digest: digest(text),
            size: text.len() as u64,
            key: None,
            by: "alice".to_owned(),
            origin: Origin::Pushed,
            lease_micros: 0,
            upload: None,
        };
        content.metadata.commit_blob(row).await.expect("commits");
    }

    async fn collect(content: &Content, request: &CollectRequest) -> (CollectReport, Vec<Digest>) {
        let mut told = Vec::new();
        let mut listen = |found: Collected<'_>| match found {
            Collected::Blob { digest, .. } => told.push(*digest),
            Collected::Manifest { .. } | Collected::Reviewed(_) => {}
        };
        let report = content.collect(request, &mut listen).await;
        let report = report.expect("collects");
        (report, told)
    }

    #[tokio::test]
    async fn a_lease_that_could_not_be_written_postpones_its_digest_and_no_other() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let content = open(directory.path());
        for text in ["promised", "loose"] {
            store(&content, text).await;
        }
        let until = content.metadata.now() + 1;
        content
            .in_use
            .note_unwritten_lease(&digest("promised"), until);
        for dry_run in [true, false] {
            let request = CollectRequest { dry_run, ..AT_ONCE };
            let (report, told) = collect(&content, &request).await;
            assert_eq!(told, [digest("loose")]);
            assert_eq!((report.blobs, report.postponed), (1, 1));
        }
    }

    #[tokio::test]
    async fn what_somebody_holds_is_reviewed_once_he_lets_go() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let content = open(directory.path());
        store(&content, "held").await;
        let hold = content.in_use.hold(&digest("held")).await;
        for dry_run in [true, false] {
            let request = CollectRequest { dry_run, ..AT_ONCE };
            let (report, _) = collect(&content, &request).await;
            assert_eq!((report.blobs, report.postponed), (0, 1));
        }
        drop(hold);
        let (report, _) = collect(&content, &AT_ONCE).await;
        assert_eq!((report.blobs, report.postponed), (1, 0));
        drop(content.in_use.hold(&digest("held")).await);
    }

    #[tokio::test]
    async fn two_collections_take_turns() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let content = open(directory.path());
        for number in 0..20 {
            store(&content, &number.to_string()).await;
        }
        let first = CollectRequest {
            rate: 40,
            ..AT_ONCE
        };
        let ((first, _), (second, _)) =
            tokio::join!(collect(&content, &first), collect(&content, &AT_ONCE));
        assert_eq!((first.blobs, second.blobs), (20, 0));
        assert!(!content.is_collecting());
    }

    #[tokio::test]
    async fn a_rate_is_kept_to_and_a_run_broken_off_is_gone_on_with() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let content = open(directory.path());
        for number in 0..6 {
            store(&content, &number.to_string()).await;
        }
        let slow = CollectRequest { rate: 2, ..AT_ONCE };
        let mut told = 0;
        let broken_off = {
            let mut count = |found: Collected<'_>| {
                told += u32::from(matches!(found, Collected::Blob { .. }));
            };
            let run = content.collect(&slow, &mut count);
            tokio::time::timeout(Duration::from_millis(500), run).await
        };
        assert!(broken_off.is_err(), "six files take three seconds");
        assert!(told <= 4, "{told} files in half a second");
        let (rest, _) = collect(&content, &AT_ONCE).await;
        let left = content.metadata.claimed(None).await.expect("reads");
        assert!(left.is_empty() && rest.blobs >= 2, "{rest:?}");
    }
}
