//! Hashing stored blobs again: what is not what its digest says is quarantined, and what was and is right again comes back.
//! Reading goes at a pace, in little memory, and holds nobody up; a stop loses no more than the last blobs.

use std::collections::VecDeque;
use std::time::Duration;

use metadata::{CheckCursor, CheckScope, CheckedBlob, Holder, RepositoryId, RepositoryKind};
use oci::{Digest, Glob, RepositoryName};
use tokio::time::Instant;

use super::damage::{Damage, Look, Seen};
use super::error::Error;
use super::pace::Pace;
use super::problem::{Action, Problem, ProblemKind};
use super::store::{Content, address};
use crate::clock::micros;

/// That so many blobs are right is written at once, or what was found in so much time.
const NOTED_TOGETHER: usize = 100;
const NOTED_WITHIN: Duration = Duration::from_secs(5);

/// What is to be hashed again.
#[derive(Clone, Debug)]
pub struct ScrubRequest {
    /// Only the blobs of these repositories; all blobs without it.
    pub repositories: Option<Glob>,
    /// Whether quarantined blobs are looked at too, and come back when their bytes are right.
    pub repair: bool,
    /// The most bytes per second; 0 for no limit.
    pub rate: u64,
}

/// How old a scrub may be that did not end and is gone on with.
const GONE_ON_WITH: Duration = Duration::from_hours(30 * 24);

/// A walk over stored blobs. One that does not end is gone on with by the next over the same repositories.
pub struct Scrub<'c> {
    content: &'c Content,
    request: ScrubRequest,
    pace: Pace,
    /// When it first began; what was found right since is not hashed again.
    since: i64,
    /// When this walk began; what was hashed since is its own work.
    began: i64,
    stage: Stage,
    waiting: VecDeque<CheckedBlob>,
    right: Vec<(i64, i64)>,
    noted: Instant,
}

enum Stage {
    /// What is quarantined, after this one.
    Quarantined(Option<CheckedBlob>),
    /// What is live: the scopes left, the last first, and how far the walk over it is.
    Live(Vec<CheckScope>, CheckCursor),
}

impl Content {
    /// Begins to hash stored blobs again, or goes on with it where it did not end.
    ///
    /// # Errors
    /// The database's.
    pub async fn scrub(&self, request: ScrubRequest) -> Result<Scrub<'_>, Error> {
        let age = micros(GONE_ON_WITH);
        let since = self.metadata.begin_scrub(request.scope(), age).await?;
        Ok(Scrub {
            content: self,
            pace: Pace::together(request.rate, &self.hashed),
            request,
            since,
            began: self.metadata.now(),
            stage: Stage::Quarantined(None),
            waiting: VecDeque::new(),
            right: Vec::new(),
            noted: Instant::now(),
        })
    }

    /// Returns how many live blobs there are and their bytes, for telling how far a walk over them is.
    ///
    /// # Errors
    /// The database's.
    pub async fn live_blobs(&self) -> Result<(u64, u64), Error> {
        Ok(self.metadata.count_live().await?)
    }

    /// Returns the mirrored repositories that hold a digest or are told of it by a manifest, and whether it is a manifest
    /// there.
    ///
    /// # Errors
    /// The database's.
    pub async fn mirrored_holders(
        &self,
        digest: &Digest,
    ) -> Result<Vec<(RepositoryName, bool)>, Error> {
        let holders = self.metadata.holders(digest).await?;
        let mirrored = |holder: Holder| match holder.kind {
            RepositoryKind::Local => None,
            RepositoryKind::Mirror { .. } => Some((holder.name, holder.manifest)),
        };
        Ok(holders.into_iter().filter_map(mirrored).collect())
    }

    /// Returns the path of a stored blob.
    pub(super) fn path_of(&self, blob: &CheckedBlob) -> String {
        let root = &self.settings.root;
        match address(&blob.digest, blob.key.as_deref()) {
            Ok(at) => root.join(at.path()).display().to_string(),
            // A row whose key no store could have given has no place.
            Err(_) => root.display().to_string(),
        }
    }
}

impl Scrub<'_> {
    /// Returns the next problem; none when all is looked at. `checked` hears of every blob that was looked at, with its bytes.
    ///
    /// # Errors
    /// Storage errors, and that the store is not there at all. The walk is over then.
    pub async fn next(
        &mut self,
        checked: &mut (dyn FnMut(u64) + Send),
    ) -> Result<Option<Problem>, Error> {
        loop {
            let Some(blob) = self.waiting.pop_front() else {
                if self.load().await? {
                    continue;
                }
                self.note_right().await;
                let metadata = &self.content.metadata;
                metadata.end_scrub(self.request.scope()).await?;
                return Ok(None);
            };
            let size = blob.size;
            let problem = if blob.damage.is_some() {
                Some(self.quarantined(&blob).await?)
            } else if blob.checked_at > self.since {
                // Another scope's, or an earlier part's.
                if blob.checked_at <= self.began {
                    checked(size);
                }
                continue;
            } else {
                self.live(&blob).await?
            };
            checked(size);
            if problem.is_some() {
                self.content.metrics.integrity().scrub_problem();
                return Ok(problem);
            }
        }
    }

    /// Looks for more blobs; false when there are none.
    async fn load(&mut self) -> Result<bool, Error> {
        let metadata = &self.content.metadata;
        match &mut self.stage {
            Stage::Quarantined(after) => {
                let page = metadata.quarantined(after.as_ref()).await?;
                *after = page.last().cloned();
                let is_end = page.is_empty();
                for blob in page {
                    if self.request.is_about(self.content, &blob).await? {
                        self.waiting.push_back(blob);
                    }
                }
                if is_end {
                    let scopes = self.request.scopes(self.content).await?;
                    self.stage = Stage::Live(scopes, CheckCursor::default());
                }
            }
            Stage::Live(scopes, from) => {
                let Some(scope) = scopes.last() else {
                    return Ok(false);
                };
                let page = metadata.blobs_to_check(*scope, *from).await?;
                self.waiting.extend(page.blobs);
                if let Some(next) = page.next {
                    *from = next;
                } else {
                    scopes.pop();
                    *from = CheckCursor::default();
                    // The next scope may hold the same blobs.
                    self.note_right().await;
                }
            }
        }
        Ok(true)
    }

    async fn live(&mut self, blob: &CheckedBlob) -> Result<Option<Problem>, Error> {
        let seen = self.content.look_at(blob, Look::Bytes, &mut self.pace);
        let damage = match seen.await? {
            Seen::Right => {
                self.content.metrics.integrity().scrubbed(blob.size);
                self.right.push((blob.id, blob.revision));
                if self.right.len() >= NOTED_TOGETHER || self.noted.elapsed() >= NOTED_WITHIN {
                    self.note_right().await;
                }
                return Ok(None);
            }
            Seen::Damaged(damage) => damage,
            Seen::Unreadable(reason) => {
                tracing::error!(digest = %blob.digest, reason, "a stored blob cannot be read");
                let unreadable = self.problem(blob, ProblemKind::Unreadable, Action::None);
                return Ok(Some(unreadable));
            }
        };
        // One that was replaced or deleted while it was read is no problem.
        let is_wrong = self.content.quarantine(blob, damage).await?;
        Ok(is_wrong.then(|| self.problem(blob, damage.into(), Action::Quarantined)))
    }

    async fn quarantined(&mut self, blob: &CheckedBlob) -> Result<Problem, Error> {
        let damage = Damage::of_row(blob.damage.as_deref());
        let still = self.problem(blob, damage.into(), Action::Quarantined);
        if !self.request.repair {
            return Ok(still);
        }
        let seen = self.content.look_at(blob, Look::Bytes, &mut self.pace);
        let is_right = seen.await? == Seen::Right;
        Ok(if is_right && self.content.lift_quarantine(blob).await? {
            Problem {
                action: Action::Restored,
                ..still
            }
        } else {
            still
        })
    }

    fn problem(&self, blob: &CheckedBlob, problem: ProblemKind, action: Action) -> Problem {
        Problem {
            digest: Some(blob.digest),
            path: self.content.path_of(blob),
            problem,
            action,
        }
    }

    /// Writes which blobs are right, so that a stop does not lose it. A failure costs hashing them again.
    async fn note_right(&mut self) {
        self.noted = Instant::now();
        if self.right.is_empty() {
            return;
        }
        let right = std::mem::take(&mut self.right);
        if let Err(error) = self.content.metadata.note_checked(right).await {
            tracing::warn!(%error, "could not write which blobs are right");
        }
    }
}

impl ScrubRequest {
    /// Returns what tells this walk from others.
    fn scope(&self) -> &str {
        self.repositories.as_ref().map_or("", Glob::as_str)
    }

    /// Returns what is walked over, the last first.
    async fn scopes(&self, content: &Content) -> Result<Vec<CheckScope>, Error> {
        let Some(glob) = &self.repositories else {
            return Ok(vec![CheckScope::Everything]);
        };
        let mut scopes = Vec::new();
        let mut after: Option<RepositoryId> = None;
        loop {
            let page = content.metadata.every_repository(after).await?;
            let Some((last, _)) = page.last() else {
                return Ok(scopes);
            };
            after = Some(*last);
            let fitting = page.iter().filter(|(_, name)| glob.matches(name.as_str()));
            scopes.extend(fitting.map(|(id, _)| CheckScope::Repository(*id)));
        }
    }

    /// Tells whether one of the repositories holds or names the blob.
    async fn is_about(&self, content: &Content, blob: &CheckedBlob) -> Result<bool, Error> {
        let Some(glob) = &self.repositories else {
            return Ok(true);
        };
        let holders = content.metadata.holders(&blob.digest).await?;
        Ok(holders
            .iter()
            .any(|holder| glob.matches(holder.name.as_str())))
    }
}
