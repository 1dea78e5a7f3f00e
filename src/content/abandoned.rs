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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::{Arc, LazyLock};
    use std::time::Duration;

    use bytes::Bytes;
    use futures_util::{StreamExt, stream};
    use oci::{Algorithm, RepositoryName, UploadId};

    use super::LOOK_EVERY;
    use crate::clock::Fake;
    use crate::config::{Cache, UploadPurging};
    use crate::content::{ByteStream, Content, Piece, Uploader, testing};

    const BY: &str = "anonymous";
    const HOUR: Duration = Duration::from_secs(3600);
    const PURGING: UploadPurging = UploadPurging {
        age: HOUR,
        interval: Duration::from_secs(24 * 3600),
        dryrun: false,
    };

    fn repository() -> &'static RepositoryName {
        static NAME: LazyLock<RepositoryName> =
            LazyLock::new(|| RepositoryName::parse("team/app").expect("a name"));
        &NAME
    }

    fn open(directory: &Path) -> (Arc<Content>, Arc<Fake>) {
        let clock = Arc::new(Fake::at(1_000_000));
        let (mut content, _) = testing::open_by(directory, Cache::default(), Arc::clone(&clock));
        content.settings.uploads.purging = Some(PURGING);
        (Arc::new(content), clock)
    }

    /// Begins an upload and gives it some bytes.
    async fn begin(content: &Arc<Content>) -> UploadId {
        let client = Uploader {
            by: BY,
            client: "192.0.2.7",
        };
        let begun = content.start_upload(repository(), Algorithm::Sha256, client);
        let id = begun.await.expect("begins").id;
        send(
            content,
            &id,
            Box::pin(stream::iter([Ok(Bytes::from_static(b"abc"))])),
        )
        .await;
        id
    }

    async fn send(content: &Arc<Content>, id: &UploadId, body: ByteStream) {
        let piece = Piece {
            start: None,
            length: None,
            body,
        };
        let sent = content.append(repository(), id, BY, piece).await;
        sent.expect("takes the bytes");
    }

    async fn is_open(content: &Content, id: &UploadId) -> bool {
        content.upload(repository(), id, BY).await.is_ok()
    }

    fn files(directory: &Path) -> usize {
        let uploads = std::fs::read_dir(directory.join("uploads"));
        uploads.expect("lists").count()
    }

    #[tokio::test]
    async fn what_nobody_sent_to_for_an_age_goes_with_its_bytes() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (content, clock) = open(directory.path());
        let (abandoned, resumed) = (begin(&content).await, begin(&content).await);
        clock.advance(HOUR / 2);
        send(&content, &resumed, Box::pin(stream::empty())).await;
        clock.advance(HOUR / 2);
        let purged = content.purge_uploads(PURGING).await.expect("purges");
        assert_eq!(purged, 1);
        assert!(!is_open(&content, &abandoned).await);
        assert!(is_open(&content, &resumed).await, "its last piece is young");
        assert_eq!(files(directory.path()), 1);
    }

    #[tokio::test]
    async fn a_dry_run_counts_and_leaves_everything() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (content, clock) = open(directory.path());
        let id = begin(&content).await;
        clock.advance(HOUR);
        let dry = UploadPurging {
            dryrun: true,
            ..PURGING
        };
        assert_eq!(content.purge_uploads(dry).await.expect("looks"), 1);
        assert!(is_open(&content, &id).await);
        assert_eq!(files(directory.path()), 1);
    }

    #[tokio::test]
    async fn more_than_a_page_of_abandoned_uploads_goes_in_one_run() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (content, clock) = open(directory.path());
        for _ in 0..120 {
            begin(&content).await;
        }
        clock.advance(HOUR);
        let purged = content.purge_uploads(PURGING).await.expect("purges");
        assert_eq!((purged, files(directory.path())), (120, 0));
    }

    #[tokio::test]
    async fn an_upload_that_is_being_sent_to_is_not_abandoned() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (content, clock) = open(directory.path());
        let id = begin(&content).await;
        clock.advance(HOUR);
        let (sender, body) = body_that_waits();
        let sending = {
            let (content, id) = (Arc::clone(&content), id.clone());
            tokio::spawn(async move { send(&content, &id, body).await })
        };
        while content.holders.try_turn(&id).is_some() {
            tokio::task::yield_now().await;
        }
        let purged = content.purge_uploads(PURGING).await.expect("looks");
        assert_eq!(purged, 0);
        drop(sender);
        sending.await.expect("the piece is taken");
        let purged = content.purge_uploads(PURGING).await.expect("looks");
        assert_eq!(purged, 0, "it has just moved on");
        assert!(is_open(&content, &id).await);
    }

    /// Returns a body that goes on until the sender is dropped.
    fn body_that_waits() -> (tokio::sync::oneshot::Sender<()>, ByteStream) {
        let (sender, ended) = tokio::sync::oneshot::channel();
        let end = stream::once(async move {
            drop(ended.await);
            Ok(Bytes::from_static(b"def"))
        });
        (sender, end.boxed())
    }

    #[tokio::test]
    async fn where_purging_is_off_nobody_purges() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (mut content, _) = testing::open(directory.path(), Cache::default());
        content.settings.uploads.purging = None;
        let purger = content.keep_purging_uploads();
        let ended = tokio::time::timeout(LOOK_EVERY, purger).await;
        ended.expect("it has nothing to do, ever");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_run_comes_one_interval_after_the_start() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (content, clock) = open(directory.path());
        let id = begin(&content).await;
        let purger = {
            let content = Arc::clone(&content);
            tokio::spawn(async move { content.keep_purging_uploads().await })
        };
        tokio::time::sleep(LOOK_EVERY).await;
        clock.advance(PURGING.interval - HOUR / 60);
        tokio::time::sleep(LOOK_EVERY * 10).await;
        assert!(is_open(&content, &id).await, "not before the interval");
        clock.advance(HOUR / 60);
        while is_open(&content, &id).await {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        purger.abort();
    }
}
