//! Hashing stored blobs again: what is not what its digest says is quarantined, and what was and is right again comes back.
//! Reading goes at a pace, in little memory, and holds nobody up; a stop loses no more than the last blobs.

use std::collections::VecDeque;
use std::time::Duration;

use metadata::{CheckCursor, CheckScope, CheckedBlob, RepositoryId};
use oci::Glob;
use tokio::time::Instant;

use super::damage::{Damage, Look, Seen};
use super::error::Error;
use super::pace::Pace;
use super::problem::{Action, Problem, ProblemKind};
use super::store::{Content, address};

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
    /// Blobs that were found right after this instant, in microseconds since 1970, are not hashed again.
    pub since: i64,
    /// The most bytes per second; 0 for no limit.
    pub rate: u64,
}

/// A walk over stored blobs. It goes on where it was with another walk of the same [`ScrubRequest::since`].
pub struct Scrub<'c> {
    content: &'c Content,
    request: ScrubRequest,
    pace: Pace,
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
    /// Begins to hash stored blobs again.
    pub fn scrub(&self, request: ScrubRequest) -> Scrub<'_> {
        Scrub {
            content: self,
            pace: Pace::of(request.rate),
            request,
            began: self.metadata.now(),
            stage: Stage::Quarantined(None),
            waiting: VecDeque::new(),
            right: Vec::new(),
            noted: Instant::now(),
        }
    }

    /// Returns how many live blobs there are and their bytes, for telling how far a walk over them is.
    ///
    /// # Errors
    /// The database's.
    pub async fn live_blobs(&self) -> Result<(u64, u64), Error> {
        Ok(self.metadata.count_live().await?)
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
                return Ok(None);
            };
            let size = blob.size;
            let problem = if blob.damage.is_some() {
                Some(self.quarantined(&blob).await?)
            } else if blob.checked_at > self.request.since {
                // Another scope's, or an earlier part's.
                if blob.checked_at < self.began {
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
