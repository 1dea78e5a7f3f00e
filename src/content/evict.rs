//! Evicting mirrored content: a manifest of a mirror at a time, by least-recent pull, with the blobs that nothing else
//! keeps. Never what is pinned, local or in use; what to take is decided in `policy/eviction`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use metadata::{Evict, EvictUnit, Evicted};

use super::cached::Cached;
use super::disk::Disk;
use super::error::Error;
use super::in_use::Claim;
use super::store::Content;
use crate::clock::micros;
use crate::policy::eviction::{Choice, Wanted, choose};
use oci::Digest;

/// Rows that one transaction deletes, about.
const BATCH_ROWS: usize = 200;

/// After an eviction that could not free enough, fills do not ask for another one for so long: each would read all rows.
const FILLS_PAUSE: Duration = Duration::from_secs(1);

/// Why mirrored content is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvictRequest {
    /// What `cache` in the configuration asks for: the high watermark, `minfree`, `maxage` and each mirror's `ttl`.
    Due,
    /// What is due, and as much more as a fill of so many bytes needs.
    RoomFor {
        /// Bytes of the fill.
        bytes: u64,
    },
    /// Everything beyond so many bytes of mirrored content.
    DownTo {
        /// What may stay, in bytes.
        bytes: u64,
    },
}

/// What was freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EvictReport {
    /// Manifests of mirrored repositories that are gone.
    pub manifests: u64,
    /// Blobs, bytes of manifests included, that are gone from the store.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Manifests and blobs that were to go and stay, because they are in use, leased, or needed by what stays.
    pub kept: u64,
    /// Whether more is stored than was to be left, because the rest is pinned, in use or leased.
    pub left_over_bound: bool,
}

/// How the last eviction ended.
#[derive(Debug, Default)]
pub(super) struct LastEviction {
    /// When it could not free enough.
    futile: Option<Instant>,
}

/// Units whose rows go in one transaction.
#[derive(Default)]
struct Batch {
    rows: usize,
    units: Vec<Evict>,
    claims: Vec<Claim>,
    claimed: BTreeSet<Digest>,
}

impl Content {
    /// Frees mirrored content by least-recent pull, never what is pinned, in use, leased or held by a local repository.
    /// Only one runs at a time; others wait and then look whether anything is left to do.
    ///
    /// # Errors
    /// Storage errors; what was freed before stays freed.
    pub async fn evict(&self, request: EvictRequest) -> Result<EvictReport, Error> {
        let mut last = self.evicting.lock().await;
        self.evict_alone(&mut last, request).await
    }

    /// As [`Content::evict`], for who holds `last`.
    pub(super) async fn evict_alone(
        &self,
        last: &mut LastEviction,
        request: EvictRequest,
    ) -> Result<EvictReport, Error> {
        let by_a_fill = matches!(request, EvictRequest::RoomFor { .. });
        let futile = last.futile.is_some_and(|at| at.elapsed() < FILLS_PAUSE);
        if by_a_fill && futile {
            return Ok(EvictReport {
                left_over_bound: true,
                ..EvictReport::default()
            });
        }
        if by_a_fill && self.excess(request).await == 0 {
            return Ok(EvictReport::default());
        }
        self.write_pulls_or_warn().await;
        let mut cached = self.gather_cached().await?;
        let wanted = Wanted {
            now: self.metadata.now(),
            bytes: self.excess(request).await,
        };
        let pins = self.settings.cache.pin.clone();
        let (cached, choices) = tokio::task::spawn_blocking(move || {
            cached.pin(&pins);
            let choices = choose(&cached.units, &cached.blobs, &wanted);
            (cached, choices)
        })
        .await?;
        let (mut report, _) = self.take_away(&cached, choices).await?;
        report.left_over_bound = self.excess(request).await > 0;
        last.futile = report.left_over_bound.then(Instant::now);
        if report.blobs > 0 || report.left_over_bound {
            let EvictReport {
                manifests,
                blobs,
                bytes,
                kept,
                left_over_bound,
            } = report;
            tracing::info!(
                manifests,
                blobs,
                bytes,
                kept,
                left_over_bound,
                "evicted mirrored content"
            );
        }
        Ok(report)
    }

    /// Evicts `choices` in batches, passing over what somebody has begun to use; returns also how many of them are gone.
    pub(super) async fn take_away(
        &self,
        cached: &Cached,
        choices: Vec<Choice>,
    ) -> Result<(EvictReport, usize), Error> {
        let mut report = EvictReport::default();
        let chosen = choices.len();
        let mut gone = 0;
        let mut batch = Batch::default();
        for choice in choices {
            self.add_to_batch(&mut batch, cached, &choice);
            if batch.rows >= BATCH_ROWS {
                let full = std::mem::take(&mut batch);
                gone += self.run_batch(full, &mut report).await?;
            }
        }
        gone += self.run_batch(batch, &mut report).await?;
        report.kept = chosen.saturating_sub(gone) as u64;
        Ok((report, gone))
    }

    fn add_to_batch(&self, batch: &mut Batch, cached: &Cached, choice: &Choice) {
        let (unit, name) = (&cached.units[choice.unit], &cached.names[choice.unit]);
        let frees = choice.frees.iter();
        let mut reclaim: BTreeSet<_> = frees.map(|blob| cached.digests[*blob as usize]).collect();
        if !cached.is_local(name.digest()) {
            reclaim.insert(*name.digest());
        }
        // A child's bytes may go with the child or with its index, both in this batch.
        let fresh = reclaim.difference(&batch.claimed).copied().collect();
        let Some(claim) = self.in_use.claim(&fresh) else {
            return;
        };
        batch.claimed.extend(fresh);
        batch.rows += 4 + 2 * name.tags.len() + 4 * unit.blobs.len();
        batch.claims.push(claim);
        batch.units.push(Evict {
            repository: name.repository,
            unit: name.unit,
            pulled_at: unit.last_pull,
            reclaim,
        });
    }

    /// Evicts a batch and returns how many of its units are gone.
    async fn run_batch(&self, batch: Batch, report: &mut EvictReport) -> Result<usize, Error> {
        if batch.units.is_empty() {
            return Ok(0);
        }
        // Who asked for one of these a moment ago keeps it.
        self.write_pulls_or_warn().await;
        let turn = self.turn_to_reclaim().await;
        let units = &batch.units;
        let outcomes = self
            .reserve
            .with(|| async { Ok(self.metadata.evict(units.clone()).await?) })
            .await?;
        // Decided: who stores one of these again takes a new key.
        drop(batch.claims);
        let mut claimed = Vec::new();
        let (mut gone, mut manifests) = (0, 0);
        for (outcome, unit) in outcomes.into_iter().zip(&batch.units) {
            match outcome {
                Evicted::Gone(blobs) => {
                    gone += 1;
                    manifests += u64::from(matches!(unit.unit, EvictUnit::Manifest(_)));
                    claimed.extend(blobs);
                }
                Evicted::Kept => {}
            }
        }
        report.manifests += manifests;
        let reclaimed = self.finish_claims(claimed, turn).await?;
        report.blobs += reclaimed.blobs;
        report.bytes += reclaimed.bytes;
        self.rooms.subtract(reclaimed.bytes);
        self.metrics.evicted(manifests, reclaimed.bytes);
        self.tell_cache_size().await;
        Ok(gone)
    }

    /// Returns how many bytes of mirrored content have to go.
    async fn excess(&self, request: EvictRequest) -> u64 {
        self.excess_on(self.disk.now().await, request)
    }

    fn excess_on(&self, disk: Option<Disk>, request: EvictRequest) -> u64 {
        let held = self.rooms.held();
        let cache = &self.settings.cache;
        let share = |most: u64, percent: u8| most / 100 * u64::from(percent);
        let (announced, missing) = self.announced();
        let coming = match request {
            EvictRequest::DownTo { bytes } => return held.saturating_sub(bytes),
            EvictRequest::Due => 0,
            EvictRequest::RoomFor { bytes } => bytes,
        };
        let over_bound = self.most_on(disk).map_or(0, |most| {
            let low = share(most, cache.lowwatermark);
            // What is under way has its room already; what is coming must fit beside that.
            let room = match request {
                EvictRequest::RoomFor { .. } => {
                    most.saturating_sub(announced).saturating_sub(coming)
                }
                EvictRequest::Due | EvictRequest::DownTo { .. } => most,
            };
            if held > share(most, cache.highwatermark) || held > room {
                held.saturating_sub(low.min(room))
            } else {
                0
            }
        });
        let under_free = disk.map_or(0, |disk| {
            let minfree = cache.minfree.on(disk.size);
            let free = disk.free.saturating_sub(missing).saturating_sub(coming);
            if free >= minfree {
                return 0;
            }
            // As far beyond as between the watermarks, so that the next fill does not begin this again.
            let step = cache.highwatermark.saturating_sub(cache.lowwatermark);
            let goal = minfree.saturating_add(share(minfree, step));
            goal.saturating_add(missing)
                .saturating_add(coming)
                .saturating_sub(disk.free)
        });
        over_bound.max(under_free)
    }

    /// Tells whether no blob is being read, fetched or stored, so that no eviction passes anything over for that.
    pub fn is_idle(&self) -> bool {
        self.in_use.is_empty()
    }

    /// Tells whether the high watermark is passed or the disk is too full.
    pub(super) async fn is_crowded(&self) -> bool {
        self.excess(EvictRequest::Due).await > 0
    }

    /// Has evicting begin when the last commit passed the high watermark.
    pub(super) async fn notice_growth(&self) {
        self.tell_cache_size().await;
        let disk = self.disk.lately().await;
        if self.excess_on(disk, EvictRequest::Due) > 0 {
            self.ask_for_room();
        }
    }

    /// Returns how long content of `upstream` is kept after its last pull, in microseconds; `None` for as long as there is
    /// room.
    pub(super) fn lifetime_of(&self, upstream: &str) -> Option<i64> {
        let own = self.settings.lifetimes.get(upstream).copied();
        let most = [own, self.settings.cache.maxage].into_iter().flatten();
        let shortest = most.filter(|most| !most.is_zero()).min()?;
        Some(micros(shortest))
    }

    pub(super) async fn write_pulls_or_warn(&self) {
        if let Err(error) = self.flush_pulls().await {
            tracing::warn!(%error, "could not write when content was last pulled");
        }
    }
}
