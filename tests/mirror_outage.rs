//! Upstreams that fall silent, refuse for a while, or say that it is enough: what is stored is served without
//! waiting, what is not is told as it is, and nobody hammers.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::gate::Gate;
use crate::support::images::{Content, Recipe};
use crate::support::server::{TestServer, UPSTREAM};
use crate::support::upstream::FakeUpstream;
use crate::support::upstream_plan::{Fault, Kind};

const TAG: &str = "/v2/upstream.example/team/app/manifests/v1";
const MINUTE: Duration = Duration::from_secs(61);
/// How long the mirror waits for an answer in these stories.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

fn mirror(endpoints: &[&FakeUpstream]) -> Value {
    let urls: Vec<String> = endpoints.iter().map(|upstream| upstream.url()).collect();
    json!({"name": UPSTREAM, "endpoints": urls, "default": true, "timeout": {"read": "1s"}})
}

fn image() -> Content {
    Recipe::image("outage").build()
}

async fn upstream() -> FakeUpstream {
    let upstream = FakeUpstream::start().await;
    upstream.hold("team/app", &image(), &["v1"]);
    upstream
}

/// A mirror of one upstream that has `team/app:v1` stored, due for a check.
async fn due() -> (FakeUpstream, TestServer) {
    let upstream = upstream().await;
    let server = TestServer::builder().mirror(mirror(&[&upstream]));
    let server = server.start().await;
    server.client().get(TAG).await.expect_status(200);
    server.clock().advance(MINUTE);
    (upstream, server)
}

#[tokio::test]
async fn hits_wait_for_a_silent_upstream_once_and_never_again() {
    let (upstream, server) = due().await;
    let gate = Gate::closed();
    for kind in [Kind::ManifestHead, Kind::ManifestGet] {
        upstream.always(kind, Fault::Silence(gate.clone()));
    }
    let asked_before = upstream.total();
    let stale = server.client().get(TAG).await.expect_status(200);
    assert_eq!(stale.need("seawall-cache"), "stale");
    assert_eq!(upstream.total(), asked_before + 1);
    let started = Instant::now();
    for reply in join_all((0..32).map(|_| server.client().get(TAG).into_future())).await {
        let reply = reply.expect_status(200);
        assert_eq!(reply.body, image().top().bytes);
        assert!(reply.need("warning").starts_with("299 - \"stale: "));
    }
    assert_eq!(upstream.total(), asked_before + 1, "nobody asked again");
    // One probe when the pause is over, and nobody waits for it.
    server.let_upstreams_rest();
    for _ in 0..8 {
        server.client().get(TAG).await.expect_status(200);
    }
    assert!(started.elapsed() < READ_TIMEOUT, "{:?}", started.elapsed());
    let probed = || upstream.total() == asked_before + 2;
    server.client().until("one probe", probed).await;
    gate.open();
    upstream.heal();
    let fresh = server.client().get_until_fresh(TAG).await;
    assert_eq!(fresh.body, image().top().bytes);
}

#[tokio::test]
async fn what_is_not_stored_fails_fast_while_the_upstream_is_gone() {
    let (upstream, server) = due().await;
    upstream.die().await;
    let missing = "/v2/upstream.example/team/app/manifests/v2";
    for _ in 0..8 {
        server.client().get(missing).await.expect_status(502);
    }
    upstream.come_back().await;
    let asked_before = upstream.total();
    server.client().get(missing).await.expect_status(502);
    assert_eq!(upstream.total(), asked_before, "the pause lasts");
    server.let_upstreams_rest();
    server
        .client()
        .get(missing)
        .await
        .expect_error(404, "MANIFEST_UNKNOWN");
    server.client().get(TAG).await.expect_status(200);
}

#[tokio::test]
async fn a_silent_endpoint_is_in_nobodys_way_when_there_is_another() {
    let (first, second) = (upstream().await, upstream().await);
    let gate = Gate::closed();
    for kind in [Kind::ManifestHead, Kind::ManifestGet] {
        first.always(kind, Fault::Silence(gate.clone()));
    }
    let server = TestServer::builder().mirror(mirror(&[&first, &second]));
    let server = server.start().await;
    server.client().get(TAG).await.expect_status(200);
    let asked_before = first.total();
    let started = Instant::now();
    for _ in 0..4 {
        server.clock().advance(MINUTE);
        let reply = server.client().get(TAG).await.expect_status(200);
        assert!(reply.header("warning").is_none(), "{reply:?}");
    }
    assert!(started.elapsed() < READ_TIMEOUT, "{:?}", started.elapsed());
    let probes = first.total() - asked_before;
    assert!((1..=4).contains(&probes), "{probes} probes");
    gate.open();
}

#[tokio::test]
async fn a_storm_of_clients_is_a_handful_of_requests_to_an_upstream_that_says_429() {
    let upstream = upstream().await;
    let server = TestServer::builder().mirror_of(&upstream).start().await;
    upstream.refuse_everything(429, &[("retry-after", "30")]);
    let ask = || async {
        let reply = server.client().get(TAG).await;
        let wait = reply.expect_error(429, "TOOMANYREQUESTS");
        let wait: u64 = wait.need("retry-after").parse().unwrap();
        assert!((1..=30).contains(&wait), "{wait}");
    };
    join_all((0..64).map(|_| ask())).await;
    server.clock().advance(Duration::from_secs(20));
    join_all((0..64).map(|_| ask())).await;
    assert!(upstream.total() <= 4, "{} requests", upstream.total());
    upstream.heal();
    server.clock().advance(Duration::from_secs(10));
    server.client().get(TAG).await.expect_status(200);
}

#[tokio::test]
async fn metrics_and_status_tell_what_is_left_and_who_is_left_alone() {
    let (upstream, server) = due().await;
    upstream.plan().ratelimit = Some((100, 76));
    server.client().get(TAG).await.expect_status(200);
    let metrics = server.socket().get("/metrics").await.expect_status(200);
    let shown = |metrics: &str, line: &str| {
        assert!(
            metrics.lines().any(|shown| shown == line),
            "{line}\n{metrics}"
        );
    };
    let left = r#"seawall_upstream_ratelimit_remaining{upstream="upstream.example"} 76"#;
    shown(metrics.text(), left);
    shown(
        metrics.text(),
        r#"seawall_upstream_healthy{upstream="upstream.example"} 1"#,
    );
    upstream.die().await;
    server.clock().advance(MINUTE);
    server.client().get(TAG).await.expect_status(200);
    let metrics = server.socket().get("/metrics").await.expect_status(200);
    shown(
        metrics.text(),
        r#"seawall_upstream_breaker_state{upstream="upstream.example",endpoint="0"} 2"#,
    );
    shown(
        metrics.text(),
        r#"seawall_upstream_healthy{upstream="upstream.example"} 0"#,
    );
    let status = server.socket().get("/api/v1/mirrors").await;
    let status = status.expect_status(200).json();
    let told = &status["mirrors"][0];
    assert_eq!(told["healthy"], json!(false), "{status}");
    assert_eq!(told["endpoints"][0]["healthy"], json!(false), "{status}");
    assert_eq!(told["ratelimitremaining"], json!(76), "{status}");
}
