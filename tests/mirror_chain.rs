//! Mirrors of mirrors, and mirrors that lead back to themselves: a loop is told as one, within a second, never as
//! something that does not exist.

use std::future::IntoFuture;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::gate::Gate;
use crate::support::images::{Algorithm, Recipe, digest_of};
use crate::support::server::{TestServer, UPSTREAM};
use crate::support::upstream::FakeUpstream;
use crate::support::upstream_plan::{Fault, Kind};
use crate::support::via_dropper::ViaDropper;

/// How soon a loop is noticed.
const SOON: Duration = Duration::from_secs(1);

/// Every path under which `repository` can be asked for something.
fn paths(repository: &str) -> Vec<String> {
    let digest = digest_of(Algorithm::Sha256, b"anything");
    [
        "manifests/v1".to_owned(),
        format!("manifests/{digest}"),
        format!("blobs/{digest}"),
        format!("referrers/{digest}"),
        "tags/list".to_owned(),
    ]
    .map(|what| format!("/v2/{repository}/{what}"))
    .into()
}

async fn expect_loop(server: &TestServer, repository: &str) {
    for path in paths(repository) {
        let started = Instant::now();
        server
            .client()
            .get(&path)
            .await
            .expect_error(508, "UNAVAILABLE");
        assert!(started.elapsed() < SOON, "{path}: {:?}", started.elapsed());
        if path.contains("/manifests/") || path.contains("/blobs/") {
            server.client().head(&path).await.expect_status(508);
        }
    }
}

#[tokio::test]
async fn a_mirror_of_itself_notices_the_loop() {
    let mut server = TestServer::start().await;
    let own = server.url("");
    server
        .restart_with(|settings| settings["proxy"] = json!({"remoteurl": own}))
        .await;
    expect_loop(&server, "team/app").await;
}

#[tokio::test]
async fn a_default_mirror_of_itself_notices_the_loop_also_when_a_push_looks_first() {
    let mut server = TestServer::start().await;
    let own = server.url("");
    let mirror = json!([{"name": UPSTREAM, "endpoints": [own], "default": true}]);
    server
        .restart_with(|settings| settings["mirrors"] = mirror)
        .await;
    let path = "/v2/team/app/manifests/v1";
    server.client().head(path).await.expect_status(508);
    server.client().get(path).await.expect_status(508);
}

/// Mirrors of which each leads to the one before, and the first to the last.
async fn ring(of: usize) -> Vec<TestServer> {
    let leads_to = |server: &TestServer| -> Value {
        // The path makes each ask the other for what the other mirrors.
        let endpoint = server.url(&format!("/{UPSTREAM}"));
        json!([{"name": UPSTREAM, "endpoints": [endpoint]}])
    };
    let mut servers = vec![TestServer::start().await];
    while servers.len() < of {
        let mirrors = leads_to(&servers[servers.len() - 1]);
        let next = TestServer::builder().config(|settings| settings["mirrors"] = mirrors);
        servers.push(next.start().await);
    }
    let mirrors = leads_to(&servers[of - 1]);
    servers[0]
        .restart_with(|settings| settings["mirrors"] = mirrors)
        .await;
    servers
}

#[tokio::test]
async fn two_mirrors_of_each_other_notice_the_loop() {
    let repository = format!("{UPSTREAM}/team/app");
    let ring = ring(2).await;
    for server in &ring {
        expect_loop(server, &repository).await;
    }
}

/// Asks every mirror of a ring for the same at once, so that each joins what the one before asks.
async fn expect_loop_when_asked_at_once(ring: &[TestServer]) {
    // Twice: whose request comes first is left to chance.
    for repository in ["once", "twice"].map(|name| format!("{UPSTREAM}/team/{name}")) {
        let mut questions = Vec::new();
        for path in paths(&repository) {
            if path.contains("/manifests/") || path.contains("/blobs/") {
                questions.push((http::Method::HEAD, path.clone()));
            }
            questions.push((http::Method::GET, path));
        }
        let everybody = questions
            .iter()
            .flat_map(|question| ring.iter().map(move |server| (question, server)));
        let all = everybody.map(|((method, path), server)| async move {
            let started = Instant::now();
            let reply = server.client().call(method.clone(), path).await;
            assert_eq!(reply.status, 508, "{method} {path}: {reply:?}");
            let took = started.elapsed();
            assert!(took < 2 * SOON, "{method} {path}: {took:?}");
        });
        join_all(all).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_mirrors_that_wait_for_each_other_notice_the_loop() {
    expect_loop_when_asked_at_once(&ring(2).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_mirrors_that_wait_for_each_other_notice_the_loop() {
    expect_loop_when_asked_at_once(&ring(3).await).await;
}

#[tokio::test]
async fn a_loop_through_a_proxy_that_drops_the_way_ends_by_the_read_timeout() {
    let mut server = TestServer::start().await;
    let dropper = ViaDropper::before(&server.url("")).await;
    let endpoint = format!("{}/{UPSTREAM}", dropper.url());
    let mirror = json!([{"name": UPSTREAM, "endpoints": [endpoint], "timeout": {"read": "1s"}}]);
    server
        .restart_with(|settings| settings["mirrors"] = mirror)
        .await;
    let repository = format!("{UPSTREAM}/team/app");
    for path in paths(&repository) {
        if !path.contains("/manifests/") && !path.contains("/blobs/") {
            continue;
        }
        let started = Instant::now();
        let reply = server.client().get(&path).await;
        assert_eq!(reply.status, 504, "{path}: {reply:?}");
        assert!(started.elapsed() < 5 * SOON, "{path}");
        // The next request finds the upstream well rested.
        server.clock().advance(Duration::from_secs(60));
    }
    assert!(dropper.passed() > 0);
}

#[tokio::test]
async fn a_mirror_of_a_mirror_serves_what_the_first_upstream_has() {
    let upstream = FakeUpstream::start().await;
    let image = Recipe::image("chain").build();
    upstream.hold("team/app", &image, &["v1"]);
    let near = TestServer::builder().mirror_of(&upstream).start().await;
    let endpoint = near.url(&format!("/{UPSTREAM}"));
    let mirror = json!({"name": "far.example", "endpoints": [endpoint]});
    let far = TestServer::builder().mirror(mirror).start().await;
    far.client()
        .expect_pull("far.example/team/app", &image)
        .await;
    let plan = upstream.plan();
    let via = plan.seen.iter().map(|seen| seen.via.clone());
    let via: Vec<String> = via.map(Option::unwrap_or_default).collect();
    let stations = |via: &String| via.matches("seawall-").count();
    assert!(via.iter().all(|via| stations(via) == 2), "{via:?}");
}

#[tokio::test]
async fn two_edges_with_sixteen_clients_each_cost_one_fetch_and_only_an_edge_asks_whether_it_waits_for_itself()
 {
    let upstream = FakeUpstream::start().await;
    let image = Recipe::image("chain").build();
    upstream.hold("team/app", &image, &["v1"]);
    let gate = Gate::closed();
    upstream.always(Kind::BlobGet, Fault::Silence(gate.clone()));
    let near = TestServer::builder().mirror_of(&upstream).start().await;
    let endpoint = near.url(&format!("/{UPSTREAM}"));
    let mirror = json!({"name": UPSTREAM, "endpoints": [endpoint]});
    let edges = [
        TestServer::builder().mirror(mirror.clone()).start().await,
        TestServer::builder().mirror(mirror).start().await,
    ];
    let layer = &image.blobs[1];
    let path = format!("/v2/{UPSTREAM}/team/app/blobs/{}", layer.digest);
    let crowd = |server: &TestServer| {
        let sixteen = (0..16).map(|_| server.client().get(&path).into_future());
        join_all(sixteen)
    };
    let pulls = async {
        let [first, second] = &edges;
        tokio::join!(crowd(first), crowd(&near), crowd(second))
    };
    // One of the edges, or both, wait for what somebody else has asked for; clients never ask for that.
    let opener = async {
        gate.reached().await;
        let asked = || upstream.count(Kind::BlobHead) > 0;
        near.client().until("an edge is in doubt", asked).await;
        gate.open();
    };
    let ((first, own, second), ()) = tokio::join!(pulls, opener);
    for reply in first.into_iter().chain(own).chain(second) {
        assert_eq!(reply.expect_status(200).body, layer.bytes);
    }
    assert_eq!(upstream.count(Kind::BlobGet), 1);
    let doubts = upstream.count(Kind::BlobHead);
    assert!(doubts <= edges.len(), "{doubts}");
}
