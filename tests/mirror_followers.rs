//! Who asks for what is already being asked: one question goes upstream, and whoever joins it neither asks
//! again nor waits for ever.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::support::gate::Gate;
use crate::support::images::{Algorithm, Blob, Content, OCI_LAYER, noise};
use crate::support::server::{TestServer, UPSTREAM};
use crate::support::upstream::FakeUpstream;
use crate::support::upstream_plan::{Fault, Kind};

const SIZE: usize = 100_000;

/// An upstream that holds one blob in two repositories, and the blob.
async fn upstream() -> (FakeUpstream, Blob) {
    let upstream = FakeUpstream::start().await;
    let blob = Blob::new(Algorithm::Sha256, OCI_LAYER, noise("shared", SIZE));
    let content = Content {
        blobs: vec![blob.clone()],
        manifests: Vec::new(),
    };
    upstream.hold("team/app", &content, &[]);
    upstream.hold("other/app", &content, &[]);
    (upstream, blob)
}

fn path(repository: &str, blob: &Blob) -> String {
    format!("/v2/{UPSTREAM}/{repository}/blobs/{}", blob.digest)
}

#[tokio::test]
async fn sixty_four_heads_are_one_upstream_head() {
    let (upstream, blob) = upstream().await;
    let server = TestServer::builder().mirror_of(&upstream).start().await;
    let path = path("team/app", &blob);
    let gate = Gate::closed();
    upstream.next(Kind::BlobHead, Fault::Silence(gate.clone()));
    let heads = (0..64).map(|_| async {
        let head = server.client().head(&path).await.expect_status(200);
        assert_eq!(head.need("content-length"), SIZE.to_string());
    });
    let open = async {
        gate.reached().await;
        // Everybody has asked once others are answered who asked later.
        for _ in 0..64 {
            server.client().get("/v2/").await.expect_status(200);
        }
        gate.open();
    };
    tokio::join!(join_all(heads), open);
    assert_eq!(upstream.count(Kind::BlobHead), 1);
    assert_eq!(upstream.count(Kind::BlobGet), 0);
}

#[tokio::test]
async fn bytes_that_are_here_are_asked_about_once_however_many_want_them_elsewhere() {
    let (upstream, blob) = upstream().await;
    let server = TestServer::builder().mirror_of(&upstream).start().await;
    let first = server.client().get(&path("team/app", &blob)).await;
    first.expect_status(200);
    let gate = Gate::closed();
    upstream.next(Kind::BlobHead, Fault::Silence(gate.clone()));
    let other = path("other/app", &blob);
    let pulls = (0..32).map(|_| async {
        let reply = server.client().get(&other).await.expect_status(200);
        assert_eq!(reply.body, blob.bytes);
        assert_eq!(reply.need("seawall-cache"), "hit");
    });
    let open = async {
        gate.reached().await;
        for _ in 0..64 {
            server.client().get("/v2/").await.expect_status(200);
        }
        gate.open();
    };
    tokio::join!(join_all(pulls), open);
    assert_eq!(upstream.count(Kind::BlobHead), 1);
    assert_eq!(upstream.count(Kind::BlobGet), 1);
}

#[tokio::test]
async fn sixty_four_cold_clients_of_eight_layers_are_one_get_for_each() {
    let upstream = FakeUpstream::start().await;
    let layer = |index| {
        let bytes = noise(&format!("layer {index}"), SIZE);
        Blob::new(Algorithm::Sha256, OCI_LAYER, bytes)
    };
    let layers: Vec<Blob> = (0..8).map(layer).collect();
    let content = Content {
        blobs: layers.clone(),
        manifests: Vec::new(),
    };
    upstream.hold("team/app", &content, &[]);
    let server = TestServer::builder().mirror_of(&upstream).start().await;
    let clients = (0..64).map(|client| {
        let (server, layers) = (&server, &layers);
        async move {
            for index in 0..layers.len() {
                // Not all in the same order.
                let layer = &layers[(index + client) % layers.len()];
                let reply = server.client().get(&path("team/app", layer)).await;
                assert!(reply.expect_status(200).body == layer.bytes);
            }
        }
    });
    join_all(clients).await;
    assert_eq!(upstream.count(Kind::BlobGet), 8);
    assert_eq!(upstream.blob_bytes_sent(), 8 * SIZE as u64);
}

#[tokio::test]
async fn who_joins_a_request_that_hangs_is_told_so_in_time() {
    let (first, blob) = upstream().await;
    let (second, _) = upstream().await;
    // The leading request goes on to its second endpoint while those who joined have waited long enough.
    let mirror = json!({"name": UPSTREAM, "endpoints": [first.url(), second.url()], "default": true,
        "timeout": {"read": "1s"}});
    let server = TestServer::builder().mirror(mirror).start().await;
    let path = path("team/app", &blob);
    let (one, two) = (Gate::closed(), Gate::closed());
    first.always(Kind::BlobGet, Fault::Silence(one.clone()));
    second.always(Kind::BlobGet, Fault::Silence(two.clone()));
    let leading = async { server.client().get(&path).await };
    let joining = async {
        one.reached().await;
        server.client().get(&path).await
    };
    tokio::pin!(leading, joining);
    let joined = tokio::select! {
        led = &mut leading => panic!("those who joined wait longer: {led:?}"),
        joined = &mut joining => joined,
    };
    joined.expect_error(504, "UNAVAILABLE");
    leading.await.expect_error(504, "UNAVAILABLE");
    assert_eq!(first.count(Kind::BlobGet), 1);
}

#[tokio::test]
async fn what_an_upstream_does_not_have_is_not_asked_for_again_at_once() {
    let upstream = FakeUpstream::start().await;
    let server = TestServer::builder().mirror_of(&upstream).start().await;
    let blob = Blob::new(Algorithm::Sha256, OCI_LAYER, noise("late", SIZE));
    let path = path("team/app", &blob);
    for _ in 0..3 {
        let reply = server.client().get(&path).await;
        reply.expect_error(404, "BLOB_UNKNOWN");
        server.client().head(&path).await.expect_status(404);
    }
    assert_eq!(upstream.count(Kind::BlobGet), 1);
    assert_eq!(upstream.count(Kind::BlobHead), 0);
    let content = Content {
        blobs: vec![blob.clone()],
        manifests: Vec::new(),
    };
    upstream.hold("team/app", &content, &[]);
    server.clock().advance(Duration::from_secs(31));
    let reply = server.client().get(&path).await.expect_status(200);
    assert_eq!(reply.body, blob.bytes);
}
