//! Mirrors of mirrors, and mirrors that lead back to themselves: a loop is told as one, within a second, never as
//! something that does not exist.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::images::{Algorithm, Recipe, digest_of};
use crate::support::server::{TestServer, UPSTREAM};
use crate::support::upstream::FakeUpstream;
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

#[tokio::test]
async fn two_mirrors_of_each_other_notice_the_loop() {
    let mut first = TestServer::start().await;
    let leads_to = |server: &TestServer| {
        // The path makes each ask the other for what the other mirrors.
        let endpoint = server.url(&format!("/{UPSTREAM}"));
        json!([{"name": UPSTREAM, "endpoints": [endpoint]}])
    };
    let mirrors = leads_to(&first);
    let second = TestServer::builder().config(|settings| settings["mirrors"] = mirrors);
    let second = second.start().await;
    let mirrors = leads_to(&second);
    first
        .restart_with(|settings| settings["mirrors"] = mirrors)
        .await;
    let repository = format!("{UPSTREAM}/team/app");
    expect_loop(&first, &repository).await;
    expect_loop(&second, &repository).await;
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
