//! What is counted of content that is checked and of what is found wrong with it.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::metrics::known;

/// The counters of damaged content.
#[derive(Debug)]
pub struct IntegrityMetrics {
    quarantined: Gauge<u64, AtomicU64>,
    scrubbed_bytes: Counter,
    scrubbed_blobs: Counter,
    problems: Counter,
}

impl IntegrityMetrics {
    /// Makes them known to `registry`; all stand at zero.
    pub(super) fn register(registry: &mut Registry) -> Self {
        Self {
            quarantined: known(
                registry,
                "seawall_blobs_quarantined",
                "Blobs whose bytes were found wrong and were not repaired yet",
                Gauge::default(),
            ),
            scrubbed_bytes: known(
                registry,
                "seawall_scrub_bytes",
                "Bytes of blobs that were hashed again",
                Counter::default(),
            ),
            scrubbed_blobs: known(
                registry,
                "seawall_scrub_blobs",
                "Blobs that were hashed again",
                Counter::default(),
            ),
            problems: known(
                registry,
                "seawall_scrub_problems",
                "Blobs of which scrubbing found that something is wrong with them",
                Counter::default(),
            ),
        }
    }

    /// Notes how many blobs are quarantined.
    pub fn quarantined(&self, blobs: u64) {
        self.quarantined.set(blobs);
    }

    /// Counts a blob of so many bytes that was hashed again.
    pub fn scrubbed(&self, bytes: u64) {
        self.scrubbed_blobs.inc();
        self.scrubbed_bytes.inc_by(bytes);
    }

    /// Counts a blob of which scrubbing found that something is wrong with it.
    pub fn scrub_problem(&self) {
        self.problems.inc();
    }
}
