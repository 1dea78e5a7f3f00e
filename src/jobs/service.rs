//! The jobs room's one long-lived part: queues jobs and tells how far they are.

use std::sync::Arc;

use metadata::{JobLine, JobRow, Metadata, NewJob};
use tokio::sync::Notify;
use uuid::Uuid;

use super::error::Error;
use super::live::Live;
use super::payload::{Payload, PayloadError, WarmImages};
use super::view::{JobKind, JobState, JobView};
use crate::clock::Clock;
use crate::config::{Config, Gc, Scrub, Warm};
use crate::content::{self, Content};
use crate::mirror::Mirror;

/// The jobs of a server. Clones are handles of the same.
#[derive(Clone)]
pub struct Jobs {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) metadata: Metadata,
    pub(super) mirror: Arc<Mirror>,
    pub(super) content: Arc<Content>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) settings: Settings,
    /// What this process claims jobs as.
    pub(super) name: String,
    pub(super) live: Live,
    /// Told when something was queued.
    pub(super) woken: Notify,
}

/// What the configuration says of jobs.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The schedules of what is fetched before anybody asks.
    pub warm: Vec<Warm>,
    /// How content is collected.
    pub gc: Gc,
    /// How stored blobs are hashed again.
    pub scrub: Scrub,
    /// The schedule by which the database is copied, if it has one.
    pub backup: Option<String>,
}

impl Settings {
    /// Returns what `config` says of jobs.
    pub fn of(config: &Config) -> Self {
        Self {
            warm: config.warm.clone(),
            gc: config.gc.clone(),
            scrub: config.scrub.clone(),
            backup: config.backup.schedule.clone(),
        }
    }
}

/// Jobs that may be queued before no further image is taken on to be warmed.
const QUEUED_MAX: u64 = 1000;

impl Jobs {
    /// Returns the room over its parts. Nothing runs yet.
    pub fn new(
        metadata: Metadata,
        mirror: Arc<Mirror>,
        content: Arc<Content>,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Self {
        let inner = Inner {
            metadata,
            mirror,
            content,
            clock,
            settings,
            name: Uuid::new_v4().to_string(),
            live: Live::default(),
            woken: Notify::new(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Queues a job and returns it; the same one that is queued or running already is returned instead.
    ///
    /// # Errors
    /// [`Error::Payload`] for work that cannot succeed here, [`Error::TooMany`] for more to fetch than anybody waits for, [`Error::StorageFull`] where not even the reserve has room
    /// for work that makes room, and the database's.
    pub async fn start(&self, payload: Payload) -> Result<JobView, Error> {
        if let Payload::Warm(images) = &payload {
            self.inner.refuse_unmirrored(images)?;
            if self.inner.metadata.queued_jobs().await? >= QUEUED_MAX {
                return Err(Error::TooMany { most: QUEUED_MAX });
            }
        }
        let job = NewJob {
            kind: payload.kind().name().to_owned(),
            unique_key: payload.unique_key(),
            payload: payload.to_row(),
        };
        let queue = || self.inner.metadata.queue_job(job.clone());
        let row = self.inner.write(Some(payload.kind()), queue).await?;
        self.inner.woken.notify_one();
        Ok(self.inner.view(payload.kind(), row))
    }

    /// Returns a job, if there is one of that id.
    ///
    /// # Errors
    /// The database's.
    pub async fn get(&self, id: i64) -> Result<Option<JobView>, Error> {
        let row = self.inner.metadata.job(id).await?;
        Ok(row.and_then(|row| self.inner.view_of(row)))
    }

    /// Returns up to `limit` of the lines that a job told, from the one at `from` on, in their order; `None` where there is no such job.
    ///
    /// # Errors
    /// The database's.
    pub async fn lines(
        &self,
        id: i64,
        from: i64,
        limit: u32,
    ) -> Result<Option<Vec<JobLine>>, Error> {
        if self.get(id).await?.is_none() {
            return Ok(None);
        }
        Ok(Some(self.inner.metadata.job_lines(id, from, limit).await?))
    }

    /// Returns up to `limit` jobs, the latest first, of those with an id below `before`.
    ///
    /// # Errors
    /// The database's.
    pub async fn list(&self, limit: u32, before: Option<i64>) -> Result<Vec<JobView>, Error> {
        let wanted = limit as usize;
        let mut views = Vec::new();
        let mut before = before;
        // Jobs of a kind that only another version knows are passed over, and do not shorten the answer.
        loop {
            let rows = self.inner.metadata.jobs(before, limit).await?;
            let is_last = rows.len() < wanted;
            before = rows.last().map(|row| row.id);
            views.extend(rows.into_iter().filter_map(|row| self.inner.view_of(row)));
            if is_last || views.len() >= wanted {
                views.truncate(wanted);
                return Ok(views);
            }
        }
    }
}

impl Inner {
    /// Does `write`, which changes the row of a job of that kind; of one that makes room also on a full disk.
    pub(super) async fn write<T, F>(
        &self,
        kind: Option<JobKind>,
        write: impl Fn() -> F,
    ) -> Result<T, content::Error>
    where
        F: Future<Output = Result<T, metadata::Error>>,
    {
        if kind.is_some_and(JobKind::makes_room) {
            self.content.with_reserve(write).await
        } else {
            Ok(write().await?)
        }
    }

    /// Refuses images that no mirror would be asked for.
    fn refuse_unmirrored(&self, images: &WarmImages) -> Result<(), PayloadError> {
        for (text, repository, _) in images.images() {
            if self.mirror.image_target(&repository).is_none() {
                let shown: String = text.chars().take(128).collect();
                let reason = format!("{shown:?} belongs to no mirror of this server");
                return Err(PayloadError::new(reason));
            }
        }
        Ok(())
    }

    /// Returns the view of a row; nothing for a kind of work that only another version knows.
    fn view_of(&self, row: JobRow) -> Option<JobView> {
        let kind = JobKind::from_name(&row.kind)?;
        Some(self.view(kind, row))
    }

    /// Returns the view of a row, with what this process knows better.
    fn view(&self, kind: JobKind, row: JobRow) -> JobView {
        let mut view = JobView::of(kind, row);
        if view.state == JobState::Running
            && let Some(now) = self.live.progress(view.id)
        {
            view.progress = now.max_of(view.progress);
        }
        view
    }
}
