//! What is counted, in base units: one typed function per thing that happens, called where it happens and nowhere else.
//! Labels come from closed lists; a repository, a tag or a digest is never one.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry};

/// The type of what `/metrics` answers.
pub const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A manifest, by tag or digest.
    Manifest,
    /// A blob.
    Blob,
    /// Referrers of a digest.
    Referrers,
    /// A list of tags.
    Tags,
    /// A token of an upstream's token server.
    Token,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Manifest,
        Self::Blob,
        Self::Referrers,
        Self::Tags,
        Self::Token,
    ];

    /// Returns the word in labels and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Blob => "blob",
            Self::Referrers => "referrers",
            Self::Tags => "tags",
            Self::Token => "token",
        }
    }
}

/// How a request to a mirror was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheResult {
    /// From here.
    Hit,
    /// From here, after the upstream confirmed it.
    Revalidated,
    /// From here, although the upstream could not confirm it.
    Stale,
    /// From the upstream.
    Miss,
    /// Not at all.
    Error,
}

impl CacheResult {
    /// Returns the word in labels and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Revalidated => "revalidated",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Error => "error",
        }
    }
}

impl EncodeLabelValue for Kind {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}

impl EncodeLabelValue for CacheResult {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}

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
    /// The HTTP status, or `error` and `timeout` where none came.
    status: String,
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

type Unsigned = Gauge<u64, AtomicU64>;

/// What an upstream's counters say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MirrorNumbers {
    /// Manifests and blobs answered from here, revalidated ones included.
    pub hits: u64,
    /// Manifests and blobs fetched.
    pub misses: u64,
    /// Manifests served stale.
    pub stale: u64,
    /// Requests that failed.
    pub errors: u64,
    /// Bytes sent to clients that were not fetched for them.
    pub bytes_saved: u64,
    /// Bytes fetched.
    pub bytes_fetched: u64,
}

/// Whether an endpoint is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaker {
    /// It is.
    Closed,
    /// One request finds out.
    Probing,
    /// It is not.
    Open,
}

/// All counters of the process. Clones count together.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
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
    cache_bytes: Unsigned,
    cache_max_bytes: Unsigned,
    blob_bytes: Unsigned,
    uploads_open: Unsigned,
    evicted_bytes: Counter,
    evicted_manifests: Counter,
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
        let seconds = || Histogram::new(exponential_buckets(0.005, 2.0, 14));
        let seconds = Family::new_with_constructor(seconds as fn() -> Histogram);
        let to = &mut registry;
        Self(Arc::new(Inner {
            mirror_requests: add(
                to,
                "seawall_mirror_requests",
                "Requests for mirrored content, by how they were answered",
            ),
            bytes_saved: add(
                to,
                "seawall_mirror_bytes_saved",
                "Bytes of mirrored content sent to clients without fetching them",
            ),
            joins: add(
                to,
                "seawall_mirror_joins",
                "Requests that joined a fetch already under way",
            ),
            passthrough: add(
                to,
                "seawall_mirror_passthrough",
                "Blobs streamed from the upstream without storing them",
            ),
            inflight: add(to, "seawall_mirror_inflight", "Blob fetches under way"),
            upstream_requests: add(
                to,
                "seawall_upstream_requests",
                "Requests sent to upstreams",
            ),
            upstream_seconds: register(
                to,
                "seawall_upstream_request_duration_seconds",
                "Time until an upstream's answer began",
                seconds,
            ),
            upstream_bytes: add(
                to,
                "seawall_upstream_bytes",
                "Bytes of bodies received from upstreams",
            ),
            ratelimit: add(
                to,
                "seawall_upstream_ratelimit_remaining",
                "What an upstream last said is left of its rate limit",
            ),
            healthy: add(
                to,
                "seawall_upstream_healthy",
                "1 while an endpoint of the upstream is being asked",
            ),
            breaker: add(
                to,
                "seawall_upstream_breaker_state",
                "0 closed, 1 probing, 2 open",
            ),
            cache_bytes: add(
                to,
                "seawall_cache_bytes",
                "Bytes of blobs that only mirrored repositories hold",
            ),
            cache_max_bytes: add(
                to,
                "seawall_cache_max_bytes",
                "The bound on them, 0 for none",
            ),
            blob_bytes: add(to, "seawall_blob_bytes", "Bytes of all stored blobs"),
            uploads_open: add(to, "seawall_uploads_open", "Uploads not finished"),
            evicted_bytes: add(
                to,
                "seawall_evicted_bytes",
                "Bytes freed by evicting mirrored content",
            ),
            evicted_manifests: add(
                to,
                "seawall_evicted_manifests",
                "Mirrored manifests evicted",
            ),
            pull_facts_dropped: add(
                to,
                "seawall_pull_facts_dropped",
                "Pulls whose time was not recorded because too many came at once",
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

    /// Counts a request to a mirror and how it was answered.
    pub fn mirror_request(&self, upstream: &Arc<str>, kind: Kind, result: CacheResult) {
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

    /// Counts a request to an upstream: `status` is the HTTP status, or `error` or `timeout`.
    pub fn upstream_request(&self, upstream: &Arc<str>, kind: Kind, status: &str, took: Duration) {
        let labels = Asked {
            upstream: Arc::clone(upstream),
            kind,
            status: status.to_owned(),
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
    pub fn upstream_bytes(&self, upstream: &Arc<str>, bytes: u64) {
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

    /// Notes the size of the cache and its bound in bytes, 0 for none.
    pub fn cache_size(&self, bytes: u64, most: u64) {
        self.0.cache_bytes.set(bytes);
        self.0.cache_max_bytes.set(most);
    }

    /// Returns the size of the cache and its bound in bytes, as last noted.
    pub fn cache_sizes(&self) -> (u64, u64) {
        (self.0.cache_bytes.get(), self.0.cache_max_bytes.get())
    }

    /// Notes the bytes of all blobs and how many uploads are open.
    pub fn store_size(&self, bytes: u64, uploads: u64) {
        self.0.blob_bytes.set(bytes);
        self.0.uploads_open.set(uploads);
    }

    /// Counts an eviction.
    pub fn evicted(&self, manifests: u64, bytes: u64) {
        self.0.evicted_manifests.inc_by(manifests);
        self.0.evicted_bytes.inc_by(bytes);
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
        let errors = Kind::ALL.iter().map(|kind| of(*kind, CacheResult::Error));
        let saved = self.0.bytes_saved.get(&by(upstream));
        let fetched = self.0.upstream_bytes.get(&by(upstream));
        MirrorNumbers {
            hits: content(CacheResult::Hit) + content(CacheResult::Revalidated),
            misses: content(CacheResult::Miss),
            stale: content(CacheResult::Stale),
            errors: errors.sum(),
            bytes_saved: saved.map_or(0, |counter| counter.get()),
            bytes_fetched: fetched.map_or(0, |counter| counter.get()),
        }
    }
}

fn add<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    register(registry, name, help, M::default())
}

/// Registers a metric under its name, to which counters get `_total` added.
fn register<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

fn by(upstream: &Arc<str>) -> ByUpstream {
    ByUpstream {
        upstream: Arc::clone(upstream),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::{Breaker, CacheResult, Kind, Metrics};

    #[test]
    fn names_are_as_promised_and_numbers_can_be_read_back() {
        let metrics = Metrics::new();
        let hub: Arc<str> = "docker.io".into();
        metrics.mirror_request(&hub, Kind::Blob, CacheResult::Hit);
        metrics.mirror_request(&hub, Kind::Manifest, CacheResult::Revalidated);
        metrics.mirror_request(&hub, Kind::Blob, CacheResult::Miss);
        metrics.bytes_saved(&hub, 7);
        metrics.upstream_request(&hub, Kind::Token, "200", Duration::from_millis(3));
        metrics.upstream_bytes(&hub, 11);
        metrics.ratelimit_remaining(&hub, 76);
        metrics.upstream_healthy(&hub, true);
        metrics.breaker(&hub, 0, Breaker::Open);
        metrics.evicted(1, 5);
        let text = metrics.render();
        for line in [
            r#"seawall_mirror_requests_total{upstream="docker.io",kind="blob",result="hit"} 1"#,
            r#"seawall_upstream_requests_total{upstream="docker.io",kind="token",status="200"} 1"#,
            r#"seawall_upstream_bytes_total{upstream="docker.io"} 11"#,
            r#"seawall_upstream_ratelimit_remaining{upstream="docker.io"} 76"#,
            r#"seawall_upstream_healthy{upstream="docker.io"} 1"#,
            r#"seawall_upstream_breaker_state{upstream="docker.io",endpoint="0"} 2"#,
            "seawall_evicted_bytes_total 5",
            "seawall_cache_bytes 0",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
        }
        let numbers = metrics.of_mirror(&hub);
        assert_eq!((numbers.hits, numbers.misses), (2, 1));
        assert_eq!((numbers.bytes_saved, numbers.bytes_fetched), (7, 11));
    }
}
