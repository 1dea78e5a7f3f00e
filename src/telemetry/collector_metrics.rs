//! What the collector counts; `Metrics` feeds it.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::labels::Kind;
use super::metrics::Metrics;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByKind {
    kind: Kind,
}

/// The collector's numbers.
#[derive(Debug, Default)]
pub struct CollectorMetrics {
    bytes: Counter,
    blobs: Counter,
    candidates: Family<ByKind, Gauge<u64, AtomicU64>>,
    last_run: Gauge<u64, AtomicU64>,
    enabled: Gauge,
    paused: Gauge,
    running: Gauge,
    held: Gauge<u64, AtomicU64>,
}

/// A collection that runs; it ends when this is dropped.
#[derive(Debug)]
#[must_use]
pub struct CollectionUnderWay(Gauge);

impl Drop for CollectionUnderWay {
    fn drop(&mut self) {
        self.0.set(0);
    }
}

impl CollectorMetrics {
    /// Makes them known to `registry`.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let this = Self::default();
        let bytes = "Bytes freed by collecting what nothing held any more";
        registry.register("seawall_gc_reclaimed_bytes", bytes, this.bytes.clone());
        let blobs = "Blobs freed by collecting, those of manifests included";
        registry.register("seawall_gc_reclaimed_blobs", blobs, this.blobs.clone());
        let candidates = "What waits for its review by the collector";
        registry.register("seawall_gc_candidates", candidates, this.candidates.clone());
        let last_run = "When the last collection ended, in seconds since 1970; 0 before the first";
        registry.register(
            "seawall_gc_last_run_timestamp_seconds",
            last_run,
            this.last_run.clone(),
        );
        let enabled = "Whether the collector runs by itself";
        registry.register("seawall_gc_enabled", enabled, this.enabled.clone());
        let paused = "Whether somebody paused the collector";
        registry.register("seawall_gc_paused", paused, this.paused.clone());
        let running = "Whether a collection runs";
        registry.register("seawall_gc_running", running, this.running.clone());
        let held = "Repositories of which nothing is collected, because an import could not use something in them";
        registry.register("seawall_gc_held_repositories", held, this.held.clone());
        // Known from the start, so that a rate can be asked of them.
        this.candidates(0, 0);
        this
    }

    /// Notes whether the collector runs by itself.
    pub fn enabled(&self, enabled: bool) {
        self.enabled.set(i64::from(enabled));
    }

    /// Notes whether somebody paused it.
    pub fn paused(&self, paused: bool) {
        self.paused.set(i64::from(paused));
    }

    /// Notes that a collection runs, as long as what is returned is there.
    pub fn begins(&self) -> CollectionUnderWay {
        self.running.set(1);
        CollectionUnderWay(self.running.clone())
    }

    /// Counts blobs that were collected, and their bytes.
    pub fn collected(&self, blobs: u64, bytes: u64) {
        self.blobs.inc_by(blobs);
        self.bytes.inc_by(bytes);
    }

    /// Notes how many blobs and manifests wait for their review.
    pub fn candidates(&self, blobs: u64, manifests: u64) {
        for (kind, number) in [(Kind::Blob, blobs), (Kind::Manifest, manifests)] {
            self.candidates.get_or_create(&ByKind { kind }).set(number);
        }
    }

    /// Notes of how many repositories nothing is collected.
    pub fn held(&self, number: u64) {
        self.held.set(number);
    }

    /// Notes that a collection ended, at `at` in microseconds since 1970.
    pub fn ended(&self, at: i64) {
        self.last_run
            .set(u64::try_from(at / 1_000_000).unwrap_or(0));
    }
}

impl Metrics {
    /// Counts blobs that were collected, and their bytes.
    pub fn collected(&self, blobs: u64, bytes: u64) {
        self.0.collector.collected(blobs, bytes);
    }

    /// Notes how many blobs and manifests wait for their review by the collector.
    pub fn candidates(&self, blobs: u64, manifests: u64) {
        self.0.collector.candidates(blobs, manifests);
    }

    /// Notes whether the collector runs by itself.
    pub fn collector_enabled(&self, enabled: bool) {
        self.0.collector.enabled(enabled);
    }

    /// Notes whether somebody paused the collector.
    pub fn collector_paused(&self, paused: bool) {
        self.0.collector.paused(paused);
    }

    /// Notes that a collection runs, as long as what is returned is there.
    pub fn collection_begins(&self) -> CollectionUnderWay {
        self.0.collector.begins()
    }

    /// Notes that a collection ended, at `at` in microseconds since 1970.
    pub fn collection_ended(&self, at: i64) {
        self.0.collector.ended(at);
    }
}

#[cfg(test)]
mod tests {
    use crate::telemetry::Metrics;

    fn expect(metrics: &Metrics, lines: &[&str]) {
        let text = metrics.render();
        for line in lines {
            assert!(text.lines().any(|shown| shown == *line), "{line}\n{text}");
        }
    }

    #[test]
    fn the_collectors_names_are_as_promised() {
        let metrics = Metrics::new();
        expect(
            &metrics,
            &[
                "seawall_gc_enabled 0",
                "seawall_gc_paused 0",
                "seawall_gc_running 0",
                "seawall_gc_held_repositories 0",
                "seawall_gc_reclaimed_bytes_total 0",
                r#"seawall_gc_candidates{kind="manifest"} 0"#,
            ],
        );
        metrics.collector().enabled(true);
        metrics.collector().paused(true);
        metrics.collector().collected(2, 700);
        metrics.collector().candidates(5, 3);
        metrics.collector().held(2);
        metrics.collector().ended(1_795_262_400_999_999);
        let under_way = metrics.collector().begins();
        expect(
            &metrics,
            &[
                "seawall_gc_enabled 1",
                "seawall_gc_paused 1",
                "seawall_gc_running 1",
                "seawall_gc_reclaimed_bytes_total 700",
                "seawall_gc_reclaimed_blobs_total 2",
                r#"seawall_gc_candidates{kind="blob"} 5"#,
                r#"seawall_gc_candidates{kind="manifest"} 3"#,
                "seawall_gc_held_repositories 2",
                "seawall_gc_last_run_timestamp_seconds 1795262400",
            ],
        );
        drop(under_way);
        expect(&metrics, &["seawall_gc_running 0"]);
    }
}
