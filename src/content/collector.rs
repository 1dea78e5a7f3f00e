//! The collector as an operator sees it: what waits for it, whether it is paused, how its last run went, and whether the
//! disk is so low that it should not wait for its usual grace.

use metadata::CandidateCounts;
use serde::{Deserialize, Serialize};

use super::collect::{CollectReport, CollectRequest};
use super::error::Error;
use super::store::Content;

/// The version of the stored report.
const VERSION: u32 = 1;

/// The state of the collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorStatus {
    /// What waits for its review.
    pub candidates: CandidateCounts,
    /// Whether an operator paused it.
    pub paused: bool,
    /// Until when content of local repositories is held back because the server before did not end in order, in
    /// microseconds since 1970; `None` when it is not.
    pub held_until: Option<i64>,
    /// The last collection that ended; `None` before the first.
    pub last: Option<LastCollection>,
}

/// A collection that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastCollection {
    /// The version of this form.
    version: u32,
    /// When it began, in microseconds since 1970.
    pub started: i64,
    /// When it ended, in microseconds since 1970.
    pub finished: i64,
    /// Its grace, in microseconds.
    pub grace: i64,
    /// Whether it took untagged manifests as well.
    pub delete_untagged: bool,
    /// Candidates that were looked at.
    pub reviewed: u64,
    /// Manifests that are gone.
    pub manifests: u64,
    /// Blobs that are gone.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Candidates that stayed because they are leased, in use or held back.
    pub postponed: u64,
}

impl Content {
    /// Returns the state of the collector.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn collector_status(&self) -> Result<CollectorStatus, Error> {
        let upkeep = self.metadata.upkeep().await?;
        let report = upkeep.report.as_deref();
        // What another version wrote is no report.
        let last = report.and_then(|text| serde_json::from_str::<LastCollection>(text).ok());
        Ok(CollectorStatus {
            candidates: self.metadata.candidate_counts().await?,
            paused: upkeep.paused,
            held_until: (upkeep.hold_until > self.metadata.now()).then_some(upkeep.hold_until),
            last: last.filter(|last| last.version == VERSION),
        })
    }

    /// Pauses the collector, or lets it go on; also across restarts. A collection that runs is not broken off.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn pause_collector(&self, paused: bool) -> Result<(), Error> {
        self.with_reserve(|| self.metadata.pause_collector(paused))
            .await
    }

    /// Tells whether less of the disk is free than `cache.minfree`.
    pub async fn is_disk_low(&self) -> bool {
        let minfree = self.settings.cache.minfree;
        let disk = self.disk.lately().await;
        disk.is_some_and(|disk| disk.free < minfree.on(disk.size))
    }

    /// Stores and logs how a collection went. That it cannot be written is no failure of the collection.
    pub(super) async fn note_collection(
        &self,
        started: i64,
        request: &CollectRequest,
        report: CollectReport,
    ) {
        let CollectReport {
            reviewed,
            manifests,
            blobs,
            bytes,
            postponed,
            held_until,
        } = report;
        if reviewed > 0 {
            tracing::info!(
                reviewed,
                manifests,
                blobs,
                bytes,
                postponed,
                held_until,
                "collected"
            );
        }
        let last = LastCollection {
            version: VERSION,
            started,
            finished: self.metadata.now(),
            grace: crate::clock::micros(request.grace),
            delete_untagged: request.delete_untagged,
            reviewed,
            manifests,
            blobs,
            bytes,
            postponed,
        };
        self.metrics.collection_ended(last.finished);
        let stored = match serde_json::to_string(&last) {
            Ok(text) => {
                let store = || self.metadata.store_collector_report(text.clone());
                self.with_reserve(store).await
            }
            Err(error) => Err(Error::Unavailable {
                reason: error.to_string(),
            }),
        };
        if let Err(error) = stored {
            tracing::warn!(%error, "could not store how a collection went");
        }
        self.tell_candidates().await;
    }

    /// Tells the metrics how many candidates there are.
    pub(super) async fn tell_candidates(&self) {
        match self.metadata.candidate_counts().await {
            Ok(counts) => self.metrics.candidates(counts.blobs, counts.manifests),
            Err(error) => tracing::debug!(%error, "could not count candidates"),
        }
    }
}
