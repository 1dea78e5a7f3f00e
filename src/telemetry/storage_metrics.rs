//! What is told of what is stored here: how much it is, what was evicted of it, what is being uploaded, and when the database was
//! copied last.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::metrics::{Metrics, known};

type Unsigned = Gauge<u64, AtomicU64>;

/// The numbers of what is stored.
#[derive(Debug)]
pub(super) struct StorageMetrics {
    cache_bytes: Unsigned,
    cache_max_bytes: Unsigned,
    blob_bytes: Unsigned,
    uploads_open: Gauge,
    evicted_bytes: Counter,
    evicted_manifests: Counter,
}

impl StorageMetrics {
    /// Makes them known to `registry`; all stand at zero.
    pub(super) fn register(registry: &mut Registry) -> Self {
        Self {
            cache_bytes: known(
                registry,
                "seawall_cache_bytes",
                "Bytes of blobs that only mirrored repositories hold",
                Gauge::default(),
            ),
            cache_max_bytes: known(
                registry,
                "seawall_cache_max_bytes",
                "The bound on them, 0 for none",
                Gauge::default(),
            ),
            blob_bytes: known(
                registry,
                "seawall_blob_bytes",
                "Bytes of all stored blobs",
                Gauge::default(),
            ),
            uploads_open: known(
                registry,
                "seawall_uploads_open",
                "Uploads of clients and mirror fills that are neither finished nor ended",
                Gauge::default(),
            ),
            evicted_bytes: known(
                registry,
                "seawall_evicted_bytes",
                "Bytes freed by evicting mirrored content",
                Counter::default(),
            ),
            evicted_manifests: known(
                registry,
                "seawall_evicted_manifests",
                "Mirrored manifests evicted",
                Counter::default(),
            ),
        }
    }
}

impl Metrics {
    /// Notes the size of the cache and its bound in bytes, 0 for none.
    pub fn cache_size(&self, bytes: u64, most: u64) {
        self.0.storage.cache_bytes.set(bytes);
        self.0.storage.cache_max_bytes.set(most);
    }

    /// Notes the bytes of all blobs.
    pub fn store_size(&self, bytes: u64) {
        self.0.storage.blob_bytes.set(bytes);
    }

    /// Notes how many uploads are open at the start.
    pub fn uploads_open_are(&self, open: usize) {
        self.0
            .storage
            .uploads_open
            .set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// Adds `change` to the uploads that are open.
    pub fn uploads_open(&self, change: i64) {
        self.0.storage.uploads_open.inc_by(change);
    }

    /// Counts an eviction.
    pub fn evicted(&self, manifests: u64, bytes: u64) {
        self.0.storage.evicted_manifests.inc_by(manifests);
        self.0.storage.evicted_bytes.inc_by(bytes);
    }
}
