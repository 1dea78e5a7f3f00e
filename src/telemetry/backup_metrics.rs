//! What is told of copies of the database; `Metrics` feeds it.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::metrics::Metrics;

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
}

impl Metrics {
    /// Notes that a copy of the database was made, at `at` in microseconds since 1970.
    pub fn backed_up(&self, at: i64) {
        let seconds = u64::try_from(at / 1_000_000).unwrap_or(0);
        self.0.backup.last_success.set(seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::Metrics;

    #[test]
    fn the_last_copy_is_told_in_seconds() {
        let metrics = Metrics::new();
        metrics.backed_up(1_795_262_400_999_999);
        let line = "seawall_backup_last_success_timestamp_seconds 1795262400\n";
        assert!(metrics.render().contains(line));
    }
}
