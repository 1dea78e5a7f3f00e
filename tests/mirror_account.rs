//! What a mirror tells of its work: one count per request, and for everything not served from here a line with the reason.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::binary::{Served, seawall};
use crate::support::gate::Gate;
use crate::support::images::{
    Algorithm, Blob, Content, DOCKER_MANIFEST, OCI_LAYER, Recipe, digest_of, index, noise,
};
use crate::support::server::{TestServer, UPSTREAM};
use crate::support::upstream::FakeUpstream;
use crate::support::upstream_plan::{Fault, Kind};

const BASE: &str = "/v2/upstream.example/team/app";
const TAG: &str = "/v2/upstream.example/team/app/manifests/v1";
const MINUTE: Duration = Duration::from_secs(61);

/// Returns a counter; one that was never counted stands at zero.
async fn counter(server: &TestServer, line: &str) -> u64 {
    let text = server.socket().get("/metrics").await.expect_status(200);
    let text = text.text();
    let value = text.lines().find_map(|shown| shown.strip_prefix(line));
    value.map_or(0, |value| value.trim().parse().unwrap())
}

async fn requests(server: &TestServer, kind: &str, result: &str) -> u64 {
    let line = format!(
        r#"seawall_mirror_requests_total{{upstream="{UPSTREAM}",kind="{kind}",result="{result}"}}"#
    );
    counter(server, &line).await
}

async fn joins(server: &TestServer) -> u64 {
    let line = format!(r#"seawall_mirror_joins_total{{upstream="{UPSTREAM}"}}"#);
    counter(server, &line).await
}

async fn bytes_saved(server: &TestServer) -> u64 {
    let line = format!(r#"seawall_mirror_bytes_saved_total{{upstream="{UPSTREAM}"}}"#);
    counter(server, &line).await
}

async fn mirrored(freshness: Value) -> (FakeUpstream, TestServer) {
    let upstream = FakeUpstream::start().await;
    upstream.hold("team/app", &Recipe::image("counted").build(), &["v1"]);
    let mirror = json!({"name": UPSTREAM, "endpoints": [upstream.url()], "default": true,
        "freshness": freshness});
    let server = TestServer::builder().mirror(mirror).start().await;
    (upstream, server)
}

#[tokio::test]
async fn every_request_for_a_manifest_is_counted_once_by_how_it_was_answered() {
    let (upstream, server) = mirrored(json!({})).await;
    let client = server.client();
    let size = Recipe::image("counted").build().top().bytes.len() as u64;
    client.get(TAG).await.expect_status(200);
    assert_eq!(bytes_saved(&server).await, 0, "they were fetched for it");
    client.get(TAG).await.expect_status(200);
    client.head(TAG).await.expect_status(200);
    assert_eq!(bytes_saved(&server).await, size, "a HEAD sends none");
    server.clock().advance(MINUTE);
    client.get(TAG).await.expect_status(200);
    client
        .get(&TAG.replace("/v1", "/absent"))
        .await
        .expect_status(404);
    upstream.refuse_everything(503, &[]);
    server.clock().advance(MINUTE);
    client.get(TAG).await.expect_status(200);
    assert_eq!(bytes_saved(&server).await, 3 * size);
    for (result, wanted) in [
        ("miss", 1),
        ("hit", 2),
        ("revalidated", 1),
        ("stale", 1),
        ("error", 1),
    ] {
        let counted = requests(&server, "manifest", result).await;
        assert_eq!(counted, wanted, "{result}");
    }
}

#[tokio::test]
async fn a_client_that_gets_the_child_of_an_index_is_one_request() {
    let (upstream, server) = mirrored(json!({})).await;
    let children = [Recipe::image("amd64").docker().build()];
    let many = index(Algorithm::Sha256, &children, &[]);
    upstream.hold("team/app", &many, &["many"]);
    let path = TAG.replace("/v1", "/many");
    let call = server.client().get(&path).header("accept", DOCKER_MANIFEST);
    let reply = call.await.expect_status(200);
    assert_eq!(reply.body, children[0].top().bytes);
    assert_eq!(requests(&server, "manifest", "miss").await, 1);
    assert_eq!(requests(&server, "manifest", "hit").await, 0);
}

#[tokio::test]
async fn a_child_that_is_fetched_saves_nothing_although_its_index_was_here() {
    let (upstream, server) = mirrored(json!({})).await;
    let children = [Recipe::image("amd64").docker().build()];
    let many = index(Algorithm::Sha256, &children, &[]);
    upstream.hold("team/app", &many, &["many"]);
    let path = TAG.replace("/v1", "/many");
    server.client().get(&path).await.expect_status(200);
    let child = || server.client().get(&path).header("accept", DOCKER_MANIFEST);
    let reply = child().await.expect_status(200);
    assert_eq!(reply.body, children[0].top().bytes);
    assert_eq!(requests(&server, "manifest", "miss").await, 2);
    assert_eq!(bytes_saved(&server).await, 0);
    child().await.expect_status(200);
    assert_eq!(requests(&server, "manifest", "hit").await, 1);
    let size = children[0].top().bytes.len() as u64;
    assert_eq!(bytes_saved(&server).await, size);
}

#[tokio::test]
async fn lists_are_counted_by_their_kind() {
    let (upstream, server) = mirrored(json!({})).await;
    let client = server.client();
    let subject = Recipe::image("counted").build().top().digest.clone();
    let (tags, referrers) = (
        format!("{BASE}/tags/list"),
        format!("{BASE}/referrers/{subject}"),
    );
    client.get(TAG).await.expect_status(200);
    for _ in 0..2 {
        client.get(&tags).await.expect_status(200);
        client.get(&referrers).await.expect_status(200);
    }
    upstream.refuse_everything(503, &[]);
    client.get(&tags).await.expect_status(200);
    client.get(&referrers).await.expect_status(200);
    for kind in ["tags", "referrers"] {
        assert_eq!(requests(&server, kind, "miss").await, 2, "{kind}");
        assert_eq!(requests(&server, kind, "stale").await, 1, "{kind}");
        assert_eq!(requests(&server, kind, "error").await, 0, "{kind}");
    }
}

#[tokio::test]
async fn who_asks_what_is_being_asked_joins_also_with_a_freshness_of_zero() {
    let (upstream, server) = mirrored(json!({"default": "0s"})).await;
    let client = server.client();
    client.get(TAG).await.expect_status(200);
    let digest = Recipe::image("counted").build().top().digest.clone();
    for (kind, path) in [
        (Kind::ManifestHead, TAG.to_owned()),
        (Kind::Tags, format!("{BASE}/tags/list?n=5")),
        (Kind::Referrers, format!("{BASE}/referrers/{digest}")),
    ] {
        let (asked, joined) = (upstream.total(), joins(&server).await);
        let gate = Gate::closed();
        upstream.next(kind, Fault::Silence(gate.clone()));
        let all = join_all((0..64).map(|_| async { client.get(&path).await }));
        let release = async {
            while joins(&server).await < joined + 63 {}
            gate.open();
        };
        let (replies, ()) = tokio::join!(all, release);
        for reply in replies {
            reply.expect_status(200);
        }
        assert_eq!(upstream.total(), asked + 1, "{path}");
    }
}

async fn inflight(server: &TestServer) -> u64 {
    let line = format!(r#"seawall_mirror_inflight{{upstream="{UPSTREAM}"}}"#);
    counter(server, &line).await
}

async fn fetched(server: &TestServer) -> u64 {
    let line = format!(r#"seawall_upstream_bytes_total{{upstream="{UPSTREAM}"}}"#);
    counter(server, &line).await
}

#[tokio::test]
async fn every_request_for_a_blob_is_counted_once_with_the_bytes_it_saved() {
    const SIZE: u64 = 300_000;
    let (upstream, server) = mirrored(json!({})).await;
    let layer = Blob::new(
        Algorithm::Sha256,
        OCI_LAYER,
        noise("counted", SIZE as usize),
    );
    let content = Content {
        blobs: vec![layer.clone()],
        manifests: Vec::new(),
    };
    upstream.hold("team/app", &content, &[]);
    let path = format!("{BASE}/blobs/{}", layer.digest);
    let client = server.client();
    let gate = Gate::closed();
    upstream.next(Kind::BlobGet, Fault::StallAt(100_000, gate.clone()));
    let leading = client.get(&path).begin().await;
    gate.reached().await;
    let joining = join_all((0..3).map(|_| client.get(&path).begin())).await;
    assert_eq!(inflight(&server).await, 1);
    assert_eq!(joins(&server).await, 3);
    gate.open();
    assert_eq!(leading.count_rest().await, SIZE as usize);
    for joined in joining {
        assert_eq!(joined.count_rest().await, SIZE as usize);
    }
    assert_eq!(requests(&server, "blob", "miss").await, 4);
    assert_eq!(bytes_saved(&server).await, 3 * SIZE);
    assert_eq!(fetched(&server).await, SIZE);
    assert_eq!(inflight(&server).await, 0);

    client.get(&path).await.expect_status(200);
    let part = client.get(&path).header("range", "bytes=10-19").await;
    part.expect_status(206);
    client.head(&path).await.expect_status(200);
    let known = client.get(&path).header("if-none-match", "*").await;
    known.expect_status(304);
    assert_eq!(requests(&server, "blob", "hit").await, 4);
    assert_eq!(bytes_saved(&server).await, 4 * SIZE + 10);

    let absent = digest_of(Algorithm::Sha256, b"absent");
    let absent = client.get(&format!("{BASE}/blobs/{absent}")).await;
    absent.expect_status(404);
    assert_eq!(requests(&server, "blob", "error").await, 1);
    assert_eq!(requests(&server, "blob", "miss").await, 4);
    assert_eq!(fetched(&server).await, SIZE);
}

#[tokio::test]
async fn a_question_whether_a_blob_exists_is_a_request_like_any_other() {
    let (upstream, server) = mirrored(json!({})).await;
    let client = server.client();
    let layer = Recipe::image("counted").build().blobs[0].digest.clone();
    let layer = format!("{BASE}/blobs/{layer}");
    let absent = digest_of(Algorithm::Sha256, b"absent");
    client.head(&layer).await.expect_status(200);
    client.get(&layer).await.expect_status(200);
    client.head(&layer).await.expect_status(200);
    let absent = client.head(&format!("{BASE}/blobs/{absent}")).await;
    absent.expect_status(404);
    for (result, wanted) in [("miss", 2), ("hit", 1), ("error", 1)] {
        let counted = requests(&server, "blob", result).await;
        assert_eq!(counted, wanted, "{result}");
    }
    assert_eq!(bytes_saved(&server).await, 0, "a HEAD sends none");

    let other = Blob::new(Algorithm::Sha256, OCI_LAYER, noise("asked", 300_000));
    let content = Content {
        blobs: vec![other.clone()],
        manifests: Vec::new(),
    };
    upstream.hold("team/app", &content, &[]);
    let path = format!("{BASE}/blobs/{}", other.digest);
    let gate = Gate::closed();
    upstream.next(Kind::BlobGet, Fault::StallAt(100_000, gate.clone()));
    let leading = client.get(&path).begin().await;
    gate.reached().await;
    client.head(&path).await.expect_status(200);
    assert_eq!(joins(&server).await, 1);
    assert_eq!(upstream.count(Kind::BlobHead), 2, "it was being fetched");
    gate.open();
    assert_eq!(leading.count_rest().await, 300_000);
    assert_eq!(requests(&server, "blob", "miss").await, 4);
}

#[tokio::test]
async fn the_reason_of_every_miss_and_failure_stands_in_the_log() {
    let upstream = FakeUpstream::start().await;
    upstream.hold("team/app", &Recipe::image("logged").build(), &["v1"]);
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config.yml");
    let settings = json!({
        "version": "0.1",
        "log": {"level": "info", "formatter": "json", "accesslog": {"disabled": true}},
        "http": {"addr": "127.0.0.1:0"},
        // How full the machine's own disk is must not matter.
        "cache": {"minfree": 0},
        "storage": {"filesystem": {"rootdirectory": home.path().join("data")}},
        "mirrors": [{"name": UPSTREAM, "endpoints": [upstream.url()],
            "deny": ["secret/**"], "freshness": {"default": "0s"}}],
    });
    std::fs::write(&file, settings.to_string()).unwrap();
    let served = Served::start(seawall(home.path()).arg(&file)).await;
    let client = served.client();
    let log = |reference: &str, reason: &str| tells(&served, reference, reason);
    client.get(TAG).await.expect_status(200);
    client.until("a miss", || log("v1", "never asked")).await;
    let newer = Recipe::image("newer").build();
    upstream.hold("team/app", &newer, &["v1"]);
    client.get(TAG).await.expect_status(200);
    client
        .until("a move", || log("v1", "tag due and moved"))
        .await;
    let absent = TAG.replace("/v1", "/absent");
    client.get(&absent).await.expect_status(404);
    client
        .until("an absence", || log("absent", "not found at the upstream"))
        .await;
    client.get(&absent).await.expect_status(404);
    client
        .until("a memory", || log("absent", "s ago that it has no such"))
        .await;
    let secret = TAG.replace("team/app", "secret/app");
    client.get(&secret).await.expect_status(403);
    client.until("a rule", || log("v1", "deny list has")).await;
    served.kill().await;

    let data = home.path().join("data/docker/registry/v2/blobs/sha256");
    let digest = &newer.top().digest;
    let hex = digest.replace("sha256:", "");
    std::fs::write(data.join(&hex[..2]).join(&hex).join("data"), "rot").unwrap();
    let served = Served::start(seawall(home.path()).arg(&file)).await;
    let by_digest = TAG.replace("/v1", &format!("/{digest}"));
    served.client().get(&by_digest).await.expect_status(200);
    served
        .client()
        .until("a repair", || {
            let screen = served.screen();
            let mut lines = screen.lines();
            lines.any(|line| line.contains(digest) && line.contains("damaged"))
        })
        .await;
}

/// Tells whether the log says of a manifest why it was not served from here.
fn tells(served: &Served, reference: &str, reason: &str) -> bool {
    served
        .screen()
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .any(|line| {
            let told = line["reason"].as_str().unwrap_or_default();
            told.contains(reason)
                && line["upstream"] == UPSTREAM
                && line["reference"] == reference
                && line["kind"] == "manifest"
                && line["repository"].is_string()
                && line["took_ms"].is_number()
        })
}
