//! The counters that dashboards made for CNCF Distribution read, under its names and with its labels; `Metrics` feeds
//! them. What it counts and Seawall does not know is left out rather than shown as zero.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::labels::{CacheResult, Endpoint, Kind};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRequest {
    handler: Endpoint,
    code: String,
    method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByType {
    r#type: Kind,
}

/// Distribution's counters.
#[derive(Debug)]
pub(super) struct DistributionMetrics {
    http_requests: Family<ByRequest, Counter>,
    proxy_requests: Family<ByType, Counter>,
    proxy_hits: Family<ByType, Counter>,
    proxy_misses: Family<ByType, Counter>,
    pulled_bytes: Family<ByType, Counter>,
}

impl DistributionMetrics {
    /// Makes them known to `registry`.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let this = Self {
            http_requests: Family::default(),
            proxy_requests: Family::default(),
            proxy_hits: Family::default(),
            proxy_misses: Family::default(),
            pulled_bytes: Family::default(),
        };
        registry.register(
            "registry_http_requests",
            "Requests to the registry API",
            this.http_requests.clone(),
        );
        let proxy = [
            (
                "registry_proxy_requests",
                "Requests for mirrored content",
                &this.proxy_requests,
            ),
            (
                "registry_proxy_hits",
                "Those answered from here",
                &this.proxy_hits,
            ),
            ("registry_proxy_misses", "Those fetched", &this.proxy_misses),
            (
                "registry_proxy_pulled_bytes",
                "Bytes fetched from upstreams",
                &this.pulled_bytes,
            ),
        ];
        for (name, help, family) in proxy {
            registry.register(name, help, family.clone());
        }
        this
    }

    /// Counts bytes that came from an upstream; of manifests and blobs, as Distribution does.
    pub(super) fn pulled(&self, kind: Kind, bytes: u64) {
        if matches!(kind, Kind::Manifest | Kind::Blob) {
            let labels = ByType { r#type: kind };
            self.pulled_bytes.get_or_create(&labels).inc_by(bytes);
        }
    }

    /// Counts a request to the registry's API.
    pub(super) fn http_request(&self, handler: Endpoint, method: &str, status: u16) {
        let labels = ByRequest {
            handler,
            code: status.to_string(),
            method: known(method),
        };
        self.http_requests.get_or_create(&labels).inc();
    }

    /// Counts a request to a mirror; Distribution counts manifests and blobs alone.
    pub(super) fn proxy_request(&self, kind: Kind, result: CacheResult) {
        if !matches!(kind, Kind::Manifest | Kind::Blob) {
            return;
        }
        let labels = ByType { r#type: kind };
        self.proxy_requests.get_or_create(&labels).inc();
        match result {
            CacheResult::Hit | CacheResult::Revalidated | CacheResult::Stale => {
                self.proxy_hits.get_or_create(&labels).inc();
            }
            CacheResult::Miss => {
                self.proxy_misses.get_or_create(&labels).inc();
            }
            CacheResult::Error => {}
        }
    }
}

fn known(method: &str) -> &'static str {
    match method {
        "GET" => "get",
        "HEAD" => "head",
        "POST" => "post",
        "PUT" => "put",
        "PATCH" => "patch",
        "DELETE" => "delete",
        "OPTIONS" => "options",
        _ => "unknown",
    }
}
