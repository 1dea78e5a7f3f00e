//! What watches the server: metrics with the promised names, and health.

use serde_json::json;

use crate::support::images::Recipe;
use crate::support::server::{TestServer, UPSTREAM};
use crate::support::upstream::FakeUpstream;

async fn watched(upstream: &FakeUpstream) -> TestServer {
    let debug = json!({"addr": "127.0.0.1:0", "prometheus": {"enabled": true, "path": "/prom"}});
    TestServer::builder()
        .mirror_of(upstream)
        .config(|config| config["http"]["debug"] = debug)
        .start()
        .await
}

#[tokio::test]
async fn after_a_pull_the_promised_names_are_there_with_its_numbers() {
    let upstream = FakeUpstream::start().await;
    let content = Recipe::image("metrics").build();
    upstream.hold("library/app", &content, &["1.0"]);
    let server = watched(&upstream).await;
    let name = format!("{UPSTREAM}/library/app");
    server.client().expect_pull(&name, &content).await;

    let reply = server.debug().get("/prom").await.expect_status(200);
    let kind = reply.need("content-type");
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    let text = reply.text();
    for name in [
        "seawall_mirror_requests_total",
        "seawall_upstream_requests_total",
        "seawall_upstream_bytes_total",
        "seawall_cache_bytes",
        "seawall_blob_bytes",
        "seawall_uploads_open",
        "seawall_evicted_bytes_total",
        "registry_proxy_requests_total",
        "registry_proxy_misses_total",
        "registry_proxy_pulled_bytes_total",
        "seawall_upstream_healthy",
        "seawall_upstream_request_duration_seconds_bucket",
        "registry_http_requests_total",
    ] {
        let has = text.lines().any(|line| line.starts_with(name));
        assert!(has, "{name} is missing:\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    let pulled = content.blobs.len();
    let line = format!(
        r#"registry_http_requests_total{{handler="blob",code="200",method="get"}} {pulled}"#
    );
    assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
    for digest in content.blobs.iter().map(|blob| &blob.digest) {
        assert!(!text.contains(digest), "a digest is a label");
    }
    assert!(!text.contains("library/app"), "a repository is a label");
    let same = server.socket().get("/metrics").await.expect_status(200);
    assert!(same.text().contains(&line));
}

#[tokio::test]
async fn the_debug_listener_serves_what_watches_and_nothing_else() {
    let upstream = FakeUpstream::start().await;
    let server = watched(&upstream).await;
    let health = server.debug().get("/debug/health").await.expect_status(200);
    assert_eq!(health.json(), json!({}));
    server.debug().get("/livez").await.expect_status(200);
    server.debug().get("/readyz").await.expect_status(200);
    for path in ["/metrics", "/v2/", "/", "/api/v1/mirrors", "/debug/vars"] {
        server.debug().get(path).await.expect_problem(404);
    }
    server.debug().post("/prom").await.expect_problem(405);
}

#[tokio::test]
async fn metrics_are_off_on_the_debug_listener_unless_asked_for() {
    let server = TestServer::builder()
        .config(|config| config["http"]["debug"] = json!({"addr": "127.0.0.1:0"}))
        .start()
        .await;
    server.debug().get("/metrics").await.expect_problem(404);
    server.debug().get("/debug/health").await.expect_status(200);
}

#[tokio::test]
async fn health_is_for_everybody() {
    let server = TestServer::start().await;
    for client in [server.client().clone(), server.socket()] {
        client.get("/livez").await.expect_status(200);
        client.get("/readyz").await.expect_status(200);
        client.head("/livez").await.expect_status(200);
    }
    server
        .client()
        .get("/debug/health")
        .await
        .expect_error(404, "UNSUPPORTED");
}
