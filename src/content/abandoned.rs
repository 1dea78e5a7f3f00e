//! Purging uploads that their clients abandoned. Their age counts from the last piece that was acknowledged; an upload that
//! somebody is sending to, or is waiting to, is not abandoned.

use std::time::Duration;

use metadata::IdleUpload;

use super::error::Error;
use super::store::Content;
use crate::clock::micros;
use crate::config::UploadPurging;

/// How often the time is looked at, at most: it may jump.
const LOOK_EVERY: Duration = Duration::from_secs(5);

impl Content {
    /// Purges abandoned uploads whenever it is due, for the first time one interval after the start.
    pub(super) async fn keep_purging_uploads(&self) {
        let Some(purging) = self.settings.uploads.purging else {
            return;
        };
        let mut last = self.metadata.now();
        loop {
            tokio::time::sleep(purging.interval.min(LOOK_EVERY)).await;
            let now = self.metadata.now();
            if now.saturating_sub(last) < micros(purging.interval) {
                continue;
            }
            match self.purge_uploads(purging).await {
                Ok(_) => last = now,
                // Tried again at the next look.
                Err(error) => tracing::warn!(%error, "could not purge abandoned uploads"),
            }
        }
    }

    /// Purges what is abandoned now, bytes and rows, or with `dryrun` only logs it. Returns how many uploads.
    async fn purge_uploads(&self, purging: UploadPurging) -> Result<u64, Error> {
        let until = self.metadata.now().saturating_sub(micros(purging.age));
        let (mut found, mut bytes) = (0_u64, 0_u64);
        let mut last: Option<IdleUpload> = None;
        loop {
            let page = self.metadata.idle_uploads(until, last.as_ref()).await?;
            let Some(end) = page.last() else { break };
            last = Some(end.clone());
            for upload in page {
                if purging.dryrun {
                    let IdleUpload {
                        id,
                        repository,
                        offset,
                        ..
                    } = &upload;
                    tracing::info!(upload = %id, %repository, bytes = offset, "would purge an abandoned upload");
                } else if !self.purge_upload(&upload, until).await? {
                    continue;
                }
                found += 1;
                bytes += upload.offset;
            }
        }
        if found > 0 && !purging.dryrun {
            tracing::info!(uploads = found, bytes, "purged abandoned uploads");
        }
        Ok(found)
    }

    /// Purges an upload unless it is in somebody's hands or moved on since `until`; returns whether it is gone.
    async fn purge_upload(&self, upload: &IdleUpload, until: i64) -> Result<bool, Error> {
        let Some(_turn) = self.holders.try_turn(&upload.id) else {
            return Ok(false);
        };
        let gone = match self.delete_idle_row(upload, until).await {
            // Not even the reserve is enough: the bytes may make the room. In this turn nobody moves the upload on.
            Err(Error::StorageFull) if self.is_idle_since(upload, until).await? => {
                self.discard_bytes(&upload.id).await;
                self.delete_idle_row(upload, until).await?
            }
            gone => gone?,
        };
        if gone {
            self.metrics.uploads_open(-1);
            self.discard_bytes(&upload.id).await;
        }
        Ok(gone)
    }

    async fn is_idle_since(&self, upload: &IdleUpload, until: i64) -> Result<bool, Error> {
        let row = self.metadata.upload(&upload.id).await?;
        Ok(row.is_some_and(|row| row.updated_at <= until))
    }

    async fn delete_idle_row(&self, upload: &IdleUpload, until: i64) -> Result<bool, Error> {
        self.reserve
            .with(|| async { Ok(self.metadata.delete_idle_upload(&upload.id, until).await?) })
            .await
    }
}
