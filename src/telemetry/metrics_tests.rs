//! What is counted, as Prometheus reads it: every line that a metric prints, and that clones count together.

use std::sync::Arc;
use std::time::Duration;

use super::{Breaker, CacheResult, Endpoint, Kind, Metrics};

#[test]
fn names_are_as_promised_and_numbers_can_be_read_back() {
    let metrics = Metrics::new();
    let hub: Arc<str> = "docker.io".into();
    metrics.mirror_request(&hub, Kind::Blob, CacheResult::Hit);
    metrics.mirror_request(&hub, Kind::Manifest, CacheResult::Revalidated);
    metrics.mirror_request(&hub, Kind::Blob, CacheResult::Miss);
    metrics.bytes_saved(&hub, 7);
    metrics.upstream_request(&hub, Kind::Token, "200", Duration::from_millis(3));
    metrics.upstream_bytes(&hub, Kind::Blob, 11);
    metrics.ratelimit_remaining(&hub, 76);
    metrics.upstream_healthy(&hub, true);
    metrics.breaker(&hub, 0, Breaker::Open);
    metrics.evicted(1, 5);
    metrics.inflight(&hub, 2);
    metrics.uploads_open_are(3);
    metrics.uploads_open(-1);
    metrics.http_request(Endpoint::BlobUpload, "POST", 202);
    metrics.http_request(Endpoint::Blob, "BREW", 405);
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
        "seawall_uploads_open 2",
        r#"registry_proxy_requests_total{type="blob"} 2"#,
        r#"registry_proxy_hits_total{type="manifest"} 1"#,
        r#"registry_proxy_misses_total{type="blob"} 1"#,
        r#"registry_proxy_pulled_bytes_total{type="blob"} 11"#,
        r#"registry_http_requests_total{handler="blob_upload",code="202",method="post"} 1"#,
        r#"registry_http_requests_total{handler="blob",code="405",method="unknown"} 1"#,
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
    }
    let numbers = metrics.of_mirror(&hub);
    assert_eq!((numbers.hits, numbers.misses), (2, 1));
    assert_eq!(numbers.bytes_saved, 7);
    assert_eq!(numbers.inflight, 2);
}

#[test]
fn an_upstream_cannot_make_series_by_inventing_statuses() {
    let metrics = Metrics::new();
    let hub: Arc<str> = "docker.io".into();
    for status in 100..1000 {
        let status = status.to_string();
        metrics.upstream_request(&hub, Kind::Blob, &status, Duration::ZERO);
    }
    for status in ["404", "error", "timeout"] {
        metrics.upstream_request(&hub, Kind::Blob, status, Duration::ZERO);
    }
    let text = metrics.render();
    let series = text
        .lines()
        .filter(|line| line.starts_with("seawall_upstream_requests_total{"));
    assert_eq!(series.count(), 22 + 6, "{text}");
    for (status, count) in [("404", 2), ("4xx", 92), ("418", 0), ("timeout", 1)] {
        let label = format!(
            r#"seawall_upstream_requests_total{{upstream="docker.io",kind="blob",status="{status}"}} "#
        );
        let shown = text.lines().find_map(|line| line.strip_prefix(&label));
        let shown: u64 = shown.map_or(0, |count| count.parse().expect("a count"));
        assert_eq!(shown, count, "{status}");
    }
}
