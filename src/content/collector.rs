//! The collector: when it runs by itself, and how an operator sees it. It runs every `gc.interval` or so, and at once, with
//! a shorter grace, while the disk is low; what it does is in `collect`.

use std::time::Duration;

use metadata::{CandidateCounts, HeldRepositories};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::collect::{CollectReport, CollectRequest};
use super::error::Error;
use super::store::Content;
use crate::clock::micros;

/// The version of the stored report.
const VERSION: u32 = 1;

/// How often it looks whether it is time, and whether the disk is low.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How long after its start a server that never collected does, at most.
const FIRST_AFTER: Duration = Duration::from_mins(1);

/// The pause after a run on a low disk that freed nothing, and after one that failed.
const FUTILE_PAUSE: Duration = Duration::from_mins(1);

/// How many repositories that are held are told by name.
const HELD_TOLD: u64 = 20;

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
    /// The repositories of which nothing is collected since an import could not read something in them.
    pub held: HeldRepositories,
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

/// When the collector runs next.
struct Plan {
    /// By the database's clock, in microseconds since 1970.
    due: i64,
    /// Until when a low disk is no reason.
    futile_until: Option<Instant>,
}

impl Content {
    /// Collects again and again, until it is dropped.
    pub(super) async fn keep_collecting(&self) {
        self.tell_standing().await;
        if !self.settings.gc.enabled {
            return std::future::pending().await;
        }
        let mut plan = self.first_plan().await;
        loop {
            tokio::select! {
                () = self.collector_woken.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            match self.grace_now(&plan).await {
                Ok(Some(grace)) => self.collect_as_planned(&mut plan, grace).await,
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "could not look for what to collect"),
            }
        }
    }

    async fn first_plan(&self) -> Plan {
        let now = self.metadata.now();
        let interval = self.settings.gc.interval;
        let last = self.collector_status().await.ok();
        let last = last.and_then(|status| status.last);
        Plan {
            due: match last {
                Some(last) => last
                    .finished
                    .saturating_add(micros(interval))
                    .min(now.saturating_add(micros(interval))),
                None => now.saturating_add(micros(interval.min(FIRST_AFTER))),
            },
            futile_until: None,
        }
    }

    /// Returns the grace to collect with, if it is time.
    async fn grace_now(&self, plan: &Plan) -> Result<Option<Duration>, Error> {
        let gc = &self.settings.gc;
        let is_time = self.metadata.now() >= plan.due;
        let may_be_low = plan
            .futile_until
            .is_none_or(|until| Instant::now() >= until);
        let low_grace = gc.lowspacegrace.min(gc.grace);
        let is_low = may_be_low && self.is_disk_low().await;
        if !is_time && !is_low {
            return Ok(None);
        }
        if self.metadata.upkeep().await?.paused {
            return Ok(None);
        }
        if is_low
            && (is_time
                || self
                    .metadata
                    .is_any_candidate_due(micros(low_grace))
                    .await?)
        {
            return Ok(Some(low_grace));
        }
        Ok(is_time.then_some(gc.grace))
    }

    async fn collect_as_planned(&self, plan: &mut Plan, grace: Duration) {
        let gc = &self.settings.gc;
        let request = CollectRequest {
            grace,
            delete_untagged: gc.deleteuntagged,
            dry_run: false,
            rate: gc.rate,
        };
        let collected = self.collect(&request, &mut |_| {}).await;
        let now = self.metadata.now();
        let pause = match &collected {
            Ok(_) => with_jitter(gc.interval, uuid::Uuid::new_v4().as_u128()),
            Err(error) => {
                tracing::warn!(%error, "could not collect what nothing holds any more");
                FUTILE_PAUSE.min(gc.interval)
            }
        };
        plan.due = now.saturating_add(micros(pause));
        // What failed is no more use to repeat at once.
        let was_futile = collected.map_or(true, |report| report.blobs == 0);
        plan.futile_until = was_futile.then(|| Instant::now() + FUTILE_PAUSE);
    }

    /// Has the collector look now whether it is time, instead of within a few seconds.
    pub fn wake_collector(&self) {
        self.collector_woken.notify_one();
    }

    /// Returns how many blobs there are, bytes of manifests included. Counts every row.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn count_blobs(&self) -> Result<u64, Error> {
        Ok(self.metadata.count_blobs().await?)
    }

    /// Tells whether a collection runs.
    pub fn is_collecting(&self) -> bool {
        self.collecting.try_lock().is_err()
    }

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
            held: self.metadata.held_repositories(HELD_TOLD).await?,
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
            .await?;
        self.metrics.collector().paused(paused);
        self.wake_collector();
        Ok(())
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
            grace: micros(request.grace),
            delete_untagged: request.delete_untagged,
            reviewed,
            manifests,
            blobs,
            bytes,
            postponed,
        };
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
        self.tell_standing().await;
    }

    /// Tells the metrics how the collector stands.
    async fn tell_standing(&self) {
        let CollectorStatus {
            candidates,
            paused,
            last,
            held_until: _,
            held,
        } = match self.collector_status().await {
            Ok(status) => status,
            Err(error) => {
                tracing::debug!(%error, "could not look how the collector stands");
                return;
            }
        };
        self.metrics.collector().enabled(self.settings.gc.enabled);
        self.metrics.collector().paused(paused);
        self.metrics
            .collector()
            .candidates(candidates.blobs, candidates.manifests);
        self.metrics.collector().held(held.count);
        if let Some(last) = last {
            self.metrics.collector().ended(last.finished);
        }
    }
}

/// Returns the pause with up to a tenth more, by a random number, so that servers that started together do not collect
/// together.
fn with_jitter(pause: Duration, random: u128) -> Duration {
    let tenth = u128::from(u64::try_from(pause.as_micros() / 10).unwrap_or(u64::MAX));
    let more = u64::try_from(random % (tenth + 1)).unwrap_or(0);
    pause.saturating_add(Duration::from_micros(more))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::with_jitter;

    #[test]
    fn a_pause_is_never_shorter_and_up_to_a_tenth_longer() {
        let hour = Duration::from_hours(1);
        assert_eq!(with_jitter(hour, 0), hour);
        for random in [1, 12_345_678_901, u128::MAX] {
            let paused = with_jitter(hour, random);
            assert!(paused > hour && paused <= hour + hour / 10, "{paused:?}");
        }
        assert_eq!(with_jitter(Duration::ZERO, 7), Duration::ZERO);
    }
}
