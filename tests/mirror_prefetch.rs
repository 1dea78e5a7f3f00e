//! What a manifest GET starts: its layers, and the platforms of its index, before the client asks for them.

use serde_json::json;

use crate::support::images::{Algorithm, Content, Recipe, index};
use crate::support::server::{TestServer, UPSTREAM};
use crate::support::upstream::FakeUpstream;
use crate::support::upstream_plan::Kind;

async fn world(prefetch: serde_json::Value) -> (FakeUpstream, TestServer) {
    let upstream = FakeUpstream::start().await;
    let mirror = json!({
        "name": UPSTREAM, "endpoints": [upstream.url()], "default": true, "prefetch": prefetch,
    });
    let server = TestServer::builder().mirror(mirror).start().await;
    (upstream, server)
}

fn image(seed: &str) -> Content {
    Recipe::image(seed).build()
}

fn manifest(reference: &str) -> String {
    format!("/v2/{UPSTREAM}/team/app/manifests/{reference}")
}

/// Waits until every blob of `content` was asked for, without asking for any.
async fn until_asked(upstream: &FakeUpstream, server: &TestServer, content: &Content) {
    let asked = || {
        let seen = upstream.seen(Kind::BlobGet);
        let is_asked = |digest: &str| seen.iter().any(|seen| seen.path.ends_with(digest));
        content.blobs.iter().all(|blob| is_asked(&blob.digest))
    };
    server
        .client()
        .until("every blob is asked for", asked)
        .await;
}

#[tokio::test]
async fn with_prefetch_layers_a_manifest_brings_its_blobs() {
    let (upstream, server) = world(json!({"layers": true})).await;
    let content = image("a");
    upstream.hold("team/app", &content, &["v1"]);
    server
        .client()
        .get(&manifest("v1"))
        .await
        .expect_status(200);
    until_asked(&upstream, &server, &content).await;
    let name = format!("{UPSTREAM}/team/app");
    server.client().expect_pull(&name, &content).await;
    assert_eq!(upstream.count(Kind::BlobGet), content.blobs.len());
    assert_eq!(upstream.count(Kind::ManifestGet), 1);
}

#[tokio::test]
async fn a_head_brings_nothing() {
    let (upstream, server) = world(json!({"layers": true, "platforms": ["linux/amd64"]})).await;
    let (asked, pulled) = (image("asked"), image("pulled"));
    let whole = index(Algorithm::Sha256, std::slice::from_ref(&asked), &[]);
    upstream.hold("team/app", &whole, &["asked"]);
    upstream.hold("team/app", &asked, &["plain"]);
    upstream.hold("team/app", &pulled, &["pulled"]);
    let by_digest = manifest(&asked.top().digest);
    for path in [manifest("asked"), manifest("plain"), by_digest] {
        server.client().head(&path).await.expect_status(200);
    }
    // A HEAD that names no index fetches one to choose from.
    let only = "application/vnd.oci.image.manifest.v1+json";
    let chosen = server
        .client()
        .head(&manifest("asked"))
        .header("accept", only);
    chosen.await.expect_status(200);
    server
        .client()
        .get(&manifest("pulled"))
        .await
        .expect_status(200);
    until_asked(&upstream, &server, &pulled).await;
    assert_eq!(upstream.count(Kind::BlobGet), pulled.blobs.len());
}

#[tokio::test]
async fn with_prefetch_platforms_an_index_brings_these_and_no_others() {
    let (upstream, server) = world(json!({"platforms": ["linux/arm64"]})).await;
    let children = ["amd64", "arm64"].map(image);
    let whole = index(Algorithm::Sha256, &children, &[]);
    upstream.hold("team/app", &whole, &["v1"]);
    let served = server
        .client()
        .get(&manifest("v1"))
        .await
        .expect_status(200);
    assert_eq!(served.body, whole.top().bytes);
    let [amd64, arm64] = &children;
    until_asked(&upstream, &server, arm64).await;
    let name = format!("{UPSTREAM}/team/app");
    server.client().expect_pull(&name, arm64).await;
    assert_eq!(upstream.count(Kind::BlobGet), arm64.blobs.len());
    // Without prefetch.layers an image brings nothing: its client takes what it wants.
    let path = manifest(&amd64.top().digest);
    server.client().get(&path).await.expect_status(200);
    server
        .client()
        .get(&manifest("v1"))
        .await
        .expect_status(200);
    assert_eq!(upstream.count(Kind::BlobGet), arm64.blobs.len());
}

#[tokio::test]
async fn a_failed_prefetch_is_not_the_clients() {
    let (upstream, server) = world(json!({"layers": true})).await;
    let content = image("a");
    upstream.hold("team/app", &content, &["v1"]);
    let lost = content.blobs[1].digest.clone();
    upstream
        .plan()
        .repositories
        .get_mut("team/app")
        .unwrap()
        .blobs
        .remove(&lost);
    server
        .client()
        .get(&manifest("v1"))
        .await
        .expect_status(200);
    server
        .client()
        .until("the lost blob is asked for", || {
            let seen = upstream.seen(Kind::BlobGet);
            seen.iter().any(|seen| seen.path.ends_with(&lost))
        })
        .await;
    server
        .client()
        .get(&manifest("v1"))
        .await
        .expect_status(200);
}

#[tokio::test]
async fn with_little_left_of_a_rate_limit_nothing_is_prefetched() {
    let (upstream, server) = world(json!({"layers": true})).await;
    let content = image("a");
    upstream.hold("team/app", &content, &["v1"]);
    upstream.plan().ratelimit = Some((100, 3));
    server
        .client()
        .get(&manifest("v1"))
        .await
        .expect_status(200);
    let config = format!("/v2/{UPSTREAM}/team/app/blobs/{}", content.blobs[0].digest);
    server.client().get(&config).await.expect_status(200);
    for _ in 0..20 {
        server.client().get("/v2/").await.expect_status(200);
    }
    assert_eq!(upstream.count(Kind::BlobGet), 1, "the client's own");
}
