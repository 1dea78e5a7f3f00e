//! Many clients at once: the upstream notices one of them.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;

use crate::support::images::{Algorithm, Content, Recipe, index};
use crate::support::server::{TestServer, UPSTREAM};
use crate::support::upstream::FakeUpstream;
use crate::support::upstream_plan::Kind;

const CLIENTS: usize = 64;
const TAG: &str = "/v2/upstream.example/team/app/manifests/v1";

async fn herd(server: &TestServer, method: &str) {
    let method: http::Method = method.parse().unwrap();
    let all = (0..CLIENTS).map(|_| async {
        let call = server.client().call(method.clone(), TAG);
        call.await.expect_status(200)
    });
    join_all(all).await;
}

/// An upstream that holds an image as `team/app:v1` and a mirror of it.
async fn mirrored() -> (FakeUpstream, TestServer) {
    let upstream = FakeUpstream::start().await;
    upstream.hold("team/app", &Recipe::image("herd").build(), &["v1"]);
    let server = TestServer::builder().mirror_of(&upstream).start().await;
    (upstream, server)
}

/// Pulls as an engine does: HEAD of the tag, the index, the child of its platform, config and layers.
async fn pull(server: &TestServer, whole: &Content, child: &Content) {
    let client = server.client();
    let base = format!("/v2/{UPSTREAM}/team/app");
    client.head(TAG).await.expect_status(200);
    let top = client.get(TAG).await.expect_status(200);
    assert_eq!(top.body, whole.top().bytes);
    let path = format!("{base}/manifests/{}", child.top().digest);
    let manifest = client.get(&path).await.expect_status(200);
    assert_eq!(manifest.body, child.top().bytes);
    let blobs = child.blobs.iter().map(|blob| {
        let path = format!("{base}/blobs/{}", blob.digest);
        async move {
            let reply = client.get(&path).await.expect_status(200);
            assert_eq!(reply.body, blob.bytes);
        }
    });
    join_all(blobs).await;
}

#[tokio::test]
async fn sixty_four_cold_clients_cost_one_fetch_of_each_manifest_and_blob() {
    let upstream = FakeUpstream::start().await;
    let children = [
        Recipe::image("amd64").layers(8).build(),
        Recipe::image("arm64").layers(8).build(),
    ];
    let whole = index(Algorithm::Sha256, &children, &[]);
    upstream.hold("team/app", &whole, &["v1"]);
    let server = TestServer::builder().mirror_of(&upstream).start().await;
    let [child, _] = &children;
    join_all((0..CLIENTS).map(|_| pull(&server, &whole, child))).await;

    assert_eq!(upstream.count(Kind::ManifestHead), 1);
    let mut asked: HashMap<String, usize> = HashMap::new();
    for kind in [Kind::ManifestGet, Kind::BlobGet] {
        for seen in upstream.seen(kind) {
            *asked.entry(seen.path).or_default() += 1;
        }
    }
    assert!(asked.values().all(|count| *count == 1), "{asked:?}");
    assert_eq!(asked.len(), 2 + 9, "the other platform is left alone");
    let bytes: usize = child.blobs.iter().map(|blob| blob.bytes.len()).sum();
    assert_eq!(upstream.blob_bytes_sent(), bytes as u64);
}

#[tokio::test]
async fn sixty_four_heads_of_a_cold_tag_cost_one() {
    let (upstream, server) = mirrored().await;
    herd(&server, "HEAD").await;
    assert_eq!(upstream.count(Kind::ManifestHead), 1);
    assert_eq!(upstream.total(), 1);
}

#[tokio::test]
async fn sixty_four_clients_of_a_due_tag_cost_one_head() {
    for method in ["HEAD", "GET"] {
        let (upstream, server) = mirrored().await;
        server.client().get(TAG).await.expect_status(200);
        server.clock().advance(Duration::from_secs(61));
        let asked = upstream.total();
        herd(&server, method).await;
        assert_eq!(upstream.count(Kind::ManifestHead), 1, "{method}");
        assert_eq!(upstream.total(), asked + 1, "{method}");
    }
}

#[tokio::test]
async fn sixty_four_clients_of_a_moved_tag_cost_one_head_and_one_get() {
    let (upstream, server) = mirrored().await;
    server.client().get(TAG).await.expect_status(200);
    server.clock().advance(Duration::from_secs(61));
    let newer = Recipe::image("newer").build();
    upstream.hold("team/app", &newer, &["v1"]);
    let asked = upstream.total();
    herd(&server, "GET").await;
    assert_eq!(upstream.count(Kind::ManifestHead), 1);
    assert_eq!(upstream.count(Kind::ManifestGet), 2);
    assert_eq!(upstream.total(), asked + 2);
}

#[tokio::test]
async fn sixty_four_clients_of_what_is_absent_cost_one_question() {
    let (upstream, server) = mirrored().await;
    let absent = TAG.replace("/v1", "/v2");
    let all = (0..CLIENTS).map(|_| async { server.client().get(&absent).await });
    for reply in join_all(all).await {
        reply.expect_error(404, "MANIFEST_UNKNOWN");
    }
    assert_eq!(upstream.total(), 1);
}
