//! What is counted, in base units: one typed function per thing that happens, called where it happens and nowhere else.
//! Labels come from closed lists; a repository, a tag or a digest is never one.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry};

use super::backup_metrics::BackupMetrics;
use super::collector_metrics::CollectorMetrics;
use super::distribution_metrics::DistributionMetrics;
use super::integrity_metrics::IntegrityMetrics;
use super::labels::{Breaker, CacheResult, Endpoint, Kind, usual_status};
use super::storage_metrics::StorageMetrics;

/// The type of what `/metrics` answers.
pub const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    upstream: Arc<str>,
    kind: Kind,
    result: CacheResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    upstream: Arc<str>,
    kind: Kind,
    /// The HTTP status or its class, or `error` and `timeout` where none came.
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByKind {
    upstream: Arc<str>,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByUpstream {
    upstream: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByEndpoint {
    upstream: Arc<str>,
    /// Its place in the mirror's list, from 0.
    endpoint: u32,
}

/// What an upstream's counters say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MirrorNumbers {
    /// Manifests and blobs answered from here, revalidated ones included.
    pub hits: u64,
    /// Manifests and blobs fetched.
    pub misses: u64,
    /// Manifests served stale.
    pub stale: u64,
    /// Bytes sent to clients that were not fetched for them.
    pub bytes_saved: u64,
    /// Blob fetches under way.
    pub inflight: u64,
}

/// All counters of the process. Clones count together.
#[derive(Clone, Debug)]
pub struct Metrics(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    registry: Registry,
    distribution: DistributionMetrics,
    mirror_requests: Family<Answered, Counter>,
    bytes_saved: Family<ByUpstream, Counter>,
    joins: Family<ByUpstream, Counter>,
    passthrough: Family<ByUpstream, Counter>,
    inflight: Family<ByUpstream, Gauge>,
    upstream_requests: Family<Asked, Counter>,
    upstream_seconds: Family<ByKind, Histogram>,
    upstream_bytes: Family<ByUpstream, Counter>,
    ratelimit: Family<ByUpstream, Gauge<i64, AtomicI64>>,
    healthy: Family<ByUpstream, Gauge>,
    breaker: Family<ByEndpoint, Gauge>,
    pub(super) storage: StorageMetrics,
    pub(super) collector: CollectorMetrics,
    pub(super) backup: BackupMetrics,
    integrity: IntegrityMetrics,
    pull_facts_dropped: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Returns counters that all stand at zero.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        macro_rules! metric {
            ($name:literal, $help:literal, $metric:expr) => {
                known(&mut registry, $name, $help, $metric)
            };
        }
        let seconds = || Histogram::new(exponential_buckets(0.005, 2.0, 14));
        let distribution = DistributionMetrics::register(&mut registry);
        Self(Arc::new(Inner {
            distribution,
            mirror_requests: metric!(
                "seawall_mirror_requests",
                "Requests for mirrored content, by how they were answered",
                Family::default()
            ),
            bytes_saved: metric!(
                "seawall_mirror_bytes_saved",
                "Bytes of mirrored content sent to clients without fetching them",
                Family::default()
            ),
            joins: metric!(
                "seawall_mirror_joins",
                "Requests that joined a fetch already under way",
                Family::default()
            ),
            passthrough: metric!(
                "seawall_mirror_passthrough",
                "Blobs streamed from the upstream without storing them",
                Family::default()
            ),
            inflight: metric!(
                "seawall_mirror_inflight",
                "Blob fetches under way",
                Family::default()
            ),
            upstream_requests: metric!(
                "seawall_upstream_requests",
                "Requests sent to upstreams",
                Family::default()
            ),
            upstream_seconds: metric!(
                "seawall_upstream_request_duration_seconds",
                "Time until an upstream's answer began",
                Family::<ByKind, Histogram>::new_with_constructor(seconds as fn() -> Histogram)
            ),
            upstream_bytes: metric!(
                "seawall_upstream_bytes",
                "Bytes of bodies received from upstreams",
                Family::default()
            ),
            ratelimit: metric!(
                "seawall_upstream_ratelimit_remaining",
                "What an upstream last said is left of its rate limit",
                Family::default()
            ),
            healthy: metric!(
                "seawall_upstream_healthy",
                "1 while an endpoint of the upstream is being asked",
                Family::default()
            ),
            breaker: metric!(
                "seawall_upstream_breaker_state",
                "0 closed, 1 probing, 2 open",
                Family::default()
            ),
            storage: StorageMetrics::register(&mut registry),
            collector: CollectorMetrics::register(&mut registry),
            backup: BackupMetrics::register(&mut registry),
            integrity: IntegrityMetrics::register(&mut registry),
            pull_facts_dropped: metric!(
                "seawall_pull_facts_dropped",
                "Pulls whose time was not recorded because too many came at once",
                Counter::default()
            ),
            registry,
        }))
    }

    /// Returns everything in the OpenMetrics text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.0.registry);
        text
    }

    /// Counts a request to the registry's API that is answered with `status`.
    pub fn http_request(&self, endpoint: Endpoint, method: &str, status: u16) {
        self.0.distribution.http_request(endpoint, method, status);
    }

    /// Counts a request to a mirror and how it was answered.
    pub fn mirror_request(&self, upstream: &Arc<str>, kind: Kind, result: CacheResult) {
        self.0.distribution.proxy_request(kind, result);
        let labels = Answered {
            upstream: Arc::clone(upstream),
            kind,
            result,
        };
        self.0.mirror_requests.get_or_create(&labels).inc();
    }

    /// Counts bytes sent to a client that were not fetched for it.
    pub fn bytes_saved(&self, upstream: &Arc<str>, bytes: u64) {
        self.0
            .bytes_saved
            .get_or_create(&by(upstream))
            .inc_by(bytes);
    }

    /// Counts a request that joined a fetch.
    pub fn joined(&self, upstream: &Arc<str>) {
        self.0.joins.get_or_create(&by(upstream)).inc();
    }

    /// Counts a blob that is streamed without being stored.
    pub fn passed_through(&self, upstream: &Arc<str>) {
        self.0.passthrough.get_or_create(&by(upstream)).inc();
    }

    /// Adds `change` to the blob fetches under way.
    pub fn inflight(&self, upstream: &Arc<str>, change: i64) {
        self.0.inflight.get_or_create(&by(upstream)).inc_by(change);
    }

    /// Counts a request to an upstream: `status` is the HTTP status, or `error` or `timeout`. Unusual statuses are
    /// counted by their class, such as `4xx`.
    pub fn upstream_request(&self, upstream: &Arc<str>, kind: Kind, status: &str, took: Duration) {
        let labels = Asked {
            upstream: Arc::clone(upstream),
            kind,
            status: usual_status(status),
        };
        self.0.upstream_requests.get_or_create(&labels).inc();
        let labels = ByKind {
            upstream: Arc::clone(upstream),
            kind,
        };
        let seconds = took.as_secs_f64();
        self.0
            .upstream_seconds
            .get_or_create(&labels)
            .observe(seconds);
    }

    /// Counts bytes of a body that came from an upstream.
    pub fn upstream_bytes(&self, upstream: &Arc<str>, kind: Kind, bytes: u64) {
        self.0.distribution.pulled(kind, bytes);
        self.0
            .upstream_bytes
            .get_or_create(&by(upstream))
            .inc_by(bytes);
    }

    /// Notes what an upstream said is left of its rate limit.
    pub fn ratelimit_remaining(&self, upstream: &Arc<str>, left: i64) {
        self.0.ratelimit.get_or_create(&by(upstream)).set(left);
    }

    /// Notes whether any endpoint of the upstream is being asked.
    pub fn upstream_healthy(&self, upstream: &Arc<str>, healthy: bool) {
        self.0
            .healthy
            .get_or_create(&by(upstream))
            .set(i64::from(healthy));
    }

    /// Notes the state of an endpoint's breaker; `endpoint` is its place in the mirror's list.
    pub fn breaker(&self, upstream: &Arc<str>, endpoint: usize, state: Breaker) {
        let labels = ByEndpoint {
            upstream: Arc::clone(upstream),
            endpoint: u32::try_from(endpoint).unwrap_or(u32::MAX),
        };
        let value = match state {
            Breaker::Closed => 0,
            Breaker::Probing => 1,
            Breaker::Open => 2,
        };
        self.0.breaker.get_or_create(&labels).set(value);
    }

    /// Returns what is counted of collections.
    pub fn collector(&self) -> &CollectorMetrics {
        &self.0.collector
    }

    /// Returns what is counted of damaged content.
    pub fn integrity(&self) -> &IntegrityMetrics {
        &self.0.integrity
    }

    /// Counts pulls whose time is not recorded.
    pub fn pull_facts_dropped(&self, count: u64) {
        self.0.pull_facts_dropped.inc_by(count);
    }

    /// Returns what the counters of an upstream say.
    pub fn of_mirror(&self, upstream: &Arc<str>) -> MirrorNumbers {
        let of = |kind, result| {
            let labels = Answered {
                upstream: Arc::clone(upstream),
                kind,
                result,
            };
            let counter = self.0.mirror_requests.get(&labels);
            counter.map_or(0, |counter| counter.get())
        };
        let content = |result| of(Kind::Manifest, result) + of(Kind::Blob, result);
        let saved = self.0.bytes_saved.get(&by(upstream));
        let inflight = self.0.inflight.get(&by(upstream));
        let inflight = inflight.map_or(0, |gauge| gauge.get());
        MirrorNumbers {
            hits: content(CacheResult::Hit) + content(CacheResult::Revalidated),
            misses: content(CacheResult::Miss),
            stale: content(CacheResult::Stale),
            bytes_saved: saved.map_or(0, |counter| counter.get()),
            inflight: u64::try_from(inflight).unwrap_or_default(),
        }
    }
}

/// Makes `metric` known to `registry`.
pub(super) fn known<M: Metric + Clone>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    metric: M,
) -> M {
    registry.register(name, help, metric.clone());
    metric
}

fn by(upstream: &Arc<str>) -> ByUpstream {
    ByUpstream {
        upstream: Arc::clone(upstream),
    }
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
