//! What is told of copies of the database; `Metrics` feeds it.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The numbers of copies.
#[derive(Debug, Default)]
pub(super) struct BackupMetrics {
    last_success: Gauge<u64, AtomicU64>,
}

impl BackupMetrics {
    /// Makes them known to `registry`.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let this = Self::default();
        let last_success =
            "When the newest copy of the database was made, in seconds since 1970; 0 without one";
        registry.register(
            "seawall_backup_last_success_timestamp_seconds",
            last_success,
            this.last_success.clone(),
        );
        this
    }

    /// Notes that a copy was made, at `at` in microseconds since 1970.
    pub(super) fn made(&self, at: i64) {
        self.last_success
            .set(u64::try_from(at / 1_000_000).unwrap_or(0));
    }
}
