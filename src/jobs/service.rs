//! The jobs room's one long-lived part: queues jobs and tells how far they are.

use std::sync::Arc;

use metadata::{Metadata, NewJob};

use super::error::Error;
use super::payload::Payload;
use super::view::JobView;
use crate::clock::Clock;
use crate::config::Warm;
use crate::content::Content;
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
    pub(super) warm: Vec<Warm>,
}

impl Jobs {
    /// Returns the room over its parts; `warm` are the schedules it follows. Nothing runs yet.
    pub fn new(
        metadata: Metadata,
        mirror: Arc<Mirror>,
        content: Arc<Content>,
        clock: Arc<dyn Clock>,
        warm: Vec<Warm>,
    ) -> Self {
        let inner = Inner {
            metadata,
            mirror,
            content,
            clock,
            warm,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Queues a job and returns it; the same one that is queued or running already is returned instead.
    ///
    /// # Errors
    /// [`Error::Payload`] for work that cannot succeed here, and the database's.
    pub async fn start(&self, payload: Payload) -> Result<JobView, Error> {
        let job = NewJob {
            kind: payload.kind().name().to_owned(),
            unique_key: payload.unique_key(),
            payload: payload.to_row(),
        };
        let row = self.inner.metadata.queue_job(job).await?;
        Ok(JobView::of_kind(payload.kind(), row))
    }

    /// Returns a job, if there is one of that id.
    ///
    /// # Errors
    /// The database's.
    pub async fn get(&self, id: i64) -> Result<Option<JobView>, Error> {
        let row = self.inner.metadata.job(id).await?;
        Ok(row.and_then(JobView::of))
    }

    /// Returns up to `limit` jobs, the latest first, of those with an id below `before`.
    ///
    /// # Errors
    /// The database's.
    pub async fn list(&self, limit: u32, before: Option<i64>) -> Result<Vec<JobView>, Error> {
        let rows = self.inner.metadata.jobs(before, limit).await?;
        Ok(rows.into_iter().filter_map(JobView::of).collect())
    }
}
