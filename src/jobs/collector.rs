//! The collector as people see and steer it: what waits for it, whether it is paused, how its last run went, and a run now.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::Error;
use super::payload::{CollectNow, Payload};
use super::service::Jobs;
use super::view::JobView;
use crate::clock::micros;
use crate::content::{CollectorStatus, LastCollection};

/// What to collect now; what is not said is as configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CollectAsked {
    /// How long content is kept that nothing names any more.
    pub grace: Option<std::time::Duration>,
    /// Whether manifests go that nothing keeps but the rule that untagged ones stay.
    pub delete_untagged: Option<bool>,
    /// Whether to tell only what would be collected.
    pub dry_run: bool,
}

/// How the collector stands. It works on content of local repositories; mirrored content is the cache's business.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CollectorView {
    /// What it does now.
    pub state: CollectorState,
    /// Whether it runs by itself (`gc.enabled`).
    pub enabled: bool,
    /// Whether it was paused; then it runs only when asked.
    pub paused: bool,
    /// How long content is kept that nothing names any more, in microseconds (`gc.grace`).
    pub grace: i64,
    /// How long it waits from one run to the next, in microseconds (`gc.interval`).
    pub interval: i64,
    /// What waits for its review.
    pub candidates: Candidates,
    /// After a server that did not end in order: until when nothing is collected that a local repository ever held, in
    /// microseconds since 1970; null when nothing is held back.
    pub helduntil: Option<i64>,
    /// Repositories of which nothing is collected, because an import could not use something in them.
    pub heldrepositories: Held,
    /// The last run that ended; null before the first.
    pub lastrun: Option<LastRun>,
}

/// What the collector does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CollectorState {
    /// It collects.
    Running,
    /// It waits for its next run.
    Waiting,
    /// Somebody paused it.
    Paused,
    /// The configuration keeps it from running by itself.
    Disabled,
}

/// What waits for its review.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Candidates {
    /// Blobs that may have lost the last manifest that named them.
    pub blobs: u64,
    /// Manifests that may have lost their last tag.
    pub manifests: u64,
    /// Manifests that nothing keeps but the rule that untagged ones stay; only a run that takes these looks at them.
    pub untagged: u64,
    /// Since when the oldest of blobs and manifests waits, in microseconds since 1970; null when none does.
    pub oldest: Option<i64>,
}

/// Repositories of which nothing is collected until a later import finds nothing unusable in them, or gives it up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Held {
    /// How many there are.
    pub count: u64,
    /// The first twenty of them by name.
    pub names: Vec<String>,
}

/// A run that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LastRun {
    /// When it began, in microseconds since 1970.
    pub startedat: i64,
    /// When it ended, in microseconds since 1970.
    pub finishedat: i64,
    /// Its grace, in microseconds.
    pub grace: i64,
    /// Whether it took untagged manifests as well.
    pub deleteuntagged: bool,
    /// Candidates that were looked at.
    pub reviewed: u64,
    /// Manifests that were removed.
    pub manifests: u64,
    /// Blobs that were removed, bytes of manifests included.
    pub blobs: u64,
    /// Their bytes.
    pub bytesfreed: u64,
    /// Candidates that stayed because they were leased, in use or held back.
    pub kept: u64,
}

impl Jobs {
    /// Queues a collection and returns it; the same one that is queued or running already is returned instead.
    ///
    /// # Errors
    /// As [`Jobs::start`].
    pub async fn collect(&self, asked: CollectAsked) -> Result<JobView, Error> {
        let configured = &self.inner.settings.gc;
        let grace = asked.grace.unwrap_or(configured.grace);
        let delete_untagged = asked.delete_untagged.unwrap_or(configured.deleteuntagged);
        let wanted = CollectNow::new(grace, delete_untagged, asked.dry_run);
        self.start(Payload::Collect(wanted)).await
    }

    /// Returns how the collector stands.
    ///
    /// # Errors
    /// The database's.
    pub async fn collector(&self) -> Result<CollectorView, Error> {
        let status = self.inner.content.collector_status().await?;
        let gc = &self.inner.settings.gc;
        let state = if self.inner.content.is_collecting() {
            CollectorState::Running
        } else if !gc.enabled {
            CollectorState::Disabled
        } else if status.paused {
            CollectorState::Paused
        } else {
            CollectorState::Waiting
        };
        let CollectorStatus {
            candidates,
            paused,
            held_until,
            held,
            last,
        } = status;
        Ok(CollectorView {
            state,
            enabled: gc.enabled,
            paused,
            grace: micros(gc.grace),
            interval: micros(gc.interval),
            candidates: Candidates {
                blobs: candidates.blobs,
                manifests: candidates.manifests,
                untagged: candidates.parked,
                oldest: candidates.oldest,
            },
            helduntil: held_until,
            heldrepositories: Held {
                count: held.count,
                names: held.first.iter().map(ToString::to_string).collect(),
            },
            lastrun: last.map(LastRun::from),
        })
    }

    /// Pauses the collector, or lets it go on, also over a restart. Runs that somebody asks for are done all the same.
    ///
    /// # Errors
    /// The database's; not that of a full disk as long as there is a reserve.
    pub async fn pause_collector(&self, paused: bool) -> Result<CollectorView, Error> {
        self.inner.content.pause_collector(paused).await?;
        self.collector().await
    }
}

impl From<LastCollection> for LastRun {
    fn from(last: LastCollection) -> Self {
        Self {
            startedat: last.started,
            finishedat: last.finished,
            grace: last.grace,
            deleteuntagged: last.delete_untagged,
            reviewed: last.reviewed,
            manifests: last.manifests,
            blobs: last.blobs,
            bytesfreed: last.bytes,
            kept: last.postponed,
        }
    }
}
