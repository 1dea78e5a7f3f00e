//! What the collector counts; `Metrics` feeds it.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::labels::Kind;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByKind {
    kind: Kind,
}

/// The collector's numbers.
#[derive(Debug, Default)]
pub(super) struct CollectorMetrics {
    bytes: Counter,
    blobs: Counter,
    candidates: Family<ByKind, Gauge<u64, AtomicU64>>,
    last_run: Gauge<u64, AtomicU64>,
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
        this
    }

    /// Counts blobs that were collected, and their bytes.
    pub(super) fn collected(&self, blobs: u64, bytes: u64) {
        self.blobs.inc_by(blobs);
        self.bytes.inc_by(bytes);
    }

    /// Notes how many blobs and manifests wait for their review.
    pub(super) fn candidates(&self, blobs: u64, manifests: u64) {
        for (kind, number) in [(Kind::Blob, blobs), (Kind::Manifest, manifests)] {
            self.candidates.get_or_create(&ByKind { kind }).set(number);
        }
    }

    /// Notes that a collection ended, at `at` in microseconds since 1970.
    pub(super) fn ended(&self, at: i64) {
        self.last_run
            .set(u64::try_from(at / 1_000_000).unwrap_or(0));
    }
}
