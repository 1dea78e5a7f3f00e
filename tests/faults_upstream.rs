//! Upstreams that contradict themselves: what they say of a tag, of a size and of an end is believed no
//! further than it holds.

use std::time::Duration;

use serde_json::json;

use crate::support::gate::Gate;
use crate::support::images::{
    Algorithm, Blob, Content, OCI_LAYER, OCI_MANIFEST, Recipe, digest_of, noise,
};
use crate::support::server::{TestServer, UPSTREAM};
use crate::support::small_disk::upload_sizes;
use crate::support::upstream::FakeUpstream;
use crate::support::upstream_plan::{Fault, Kind};

const TAG: &str = "/v2/upstream.example/team/app/manifests/v1";
const MINUTE: Duration = Duration::from_secs(61);

/// An upstream that holds an image as `team/app:v1` and a mirror of it.
async fn mirrored(image: &Content) -> (FakeUpstream, TestServer) {
    let upstream = FakeUpstream::start().await;
    upstream.hold("team/app", image, &["v1"]);
    let server = TestServer::builder().mirror_of(&upstream).start().await;
    (upstream, server)
}

/// The same; the manifest is stored already, or nothing is.
async fn mirrored_manifest(image: &Content, is_stored: bool) -> (FakeUpstream, TestServer) {
    let (upstream, server) = mirrored(image).await;
    if is_stored {
        server.client().get(TAG).await.expect_status(200);
    }
    (upstream, server)
}

fn names_a_manifest_that_is_gone() -> Fault {
    let headers = vec![
        (
            "docker-content-digest",
            digest_of(Algorithm::Sha256, b"gone"),
        ),
        ("content-type", OCI_MANIFEST.to_owned()),
        ("content-length", "500".to_owned()),
    ];
    Fault::Answer(200, headers, String::new())
}

#[tokio::test]
async fn a_tag_whose_head_names_what_is_gone_is_got_by_its_name() {
    let image = Recipe::image("by name").build();
    let (upstream, server) = mirrored(&image).await;
    upstream.always(Kind::ManifestHead, names_a_manifest_that_is_gone());
    for _ in 0..3 {
        let reply = server.client().get(TAG).await.expect_status(200);
        assert_eq!(reply.body, image.top().bytes);
        assert_eq!(reply.need("docker-content-digest"), image.top().digest);
        server.clock().advance(MINUTE);
    }
}

#[tokio::test]
async fn a_tag_whose_head_names_what_is_gone_is_not_forgotten() {
    let image = Recipe::image("remembered").build();
    let (upstream, server) = mirrored(&image).await;
    server.client().get(TAG).await.expect_status(200);
    upstream.always(Kind::ManifestHead, names_a_manifest_that_is_gone());
    server.clock().advance(MINUTE);
    let reply = server.client().get(TAG).await.expect_status(200);
    assert_eq!(reply.body, image.top().bytes);
    upstream.die().await;
    server.clock().advance(MINUTE);
    let stale = server.client().get(TAG).await.expect_status(200);
    assert_eq!(stale.body, image.top().bytes);
    assert_eq!(stale.need("seawall-cache"), "stale");
    assert!(stale.need("warning").starts_with("299 - \"stale: "));
}

#[tokio::test]
async fn a_due_tag_whose_head_names_what_is_gone_follows_what_its_name_gives() {
    let image = Recipe::image("older").build();
    let (upstream, server) = mirrored(&image).await;
    server.client().get(TAG).await.expect_status(200);
    upstream.always(Kind::ManifestHead, names_a_manifest_that_is_gone());
    let newer = Recipe::image("newer").build();
    upstream.hold("team/app", &newer, &["v1"]);
    server.clock().advance(MINUTE);
    let reply = server.client().get(TAG).await.expect_status(200);
    assert_eq!(reply.body, newer.top().bytes);
    upstream.die().await;
    server.clock().advance(MINUTE);
    let stale = server.client().get(TAG).await.expect_status(200);
    assert_eq!(stale.body, newer.top().bytes);
}

/// A layer, and an image of that one layer.
fn image_of(seed: &str, size: usize) -> (Blob, Content) {
    let layer = Blob::new(Algorithm::Sha256, OCI_LAYER, noise(seed, size));
    let layers = json!([layer.descriptor()]);
    let recipe = Recipe::image(seed).layers(0).field("layers", layers);
    let mut image = recipe.build();
    image.blobs.push(layer.clone());
    (layer, image)
}

#[tokio::test]
async fn a_range_past_the_end_that_an_upstream_claims_is_not_the_clients_fault() {
    let (layer, image) = image_of("short", 5000);
    let path = format!("/v2/{UPSTREAM}/team/app/blobs/{}", layer.digest);
    for manifest_is_known in [false, true] {
        let (upstream, server) = mirrored_manifest(&image, manifest_is_known).await;
        let short = Fault::Bytes(layer.bytes.slice(..1000));
        upstream.always(Kind::BlobGet, short.clone());
        upstream.always(Kind::BlobHead, short);
        let ask = || {
            server
                .client()
                .get(&path)
                .header("range", "bytes=2000-2999")
        };
        let reply = ask().begin().await;
        match reply.status {
            206 => assert_eq!(reply.rest().await.unwrap(), layer.bytes.slice(2000..3000)),
            status => assert_eq!(status, 502, "manifest is known: {manifest_is_known}"),
        }
        upstream.heal();
        let reply = ask().await.expect_status(206);
        assert_eq!(reply.body, layer.bytes.slice(2000..3000));
        assert_eq!(reply.need("content-range"), "bytes 2000-2999/5000");
    }
}

#[tokio::test]
async fn a_range_past_the_true_end_is_416_also_while_nothing_is_stored() {
    let (layer, image) = image_of("honest", 5000);
    let path = format!("/v2/{UPSTREAM}/team/app/blobs/{}", layer.digest);
    for manifest_is_known in [false, true] {
        let (_upstream, server) = mirrored_manifest(&image, manifest_is_known).await;
        let call = server.client().get(&path);
        let reply = call.header("range", "bytes=9000-9999").await;
        let reply = reply.expect_error(416, "RANGE_INVALID");
        assert_eq!(reply.need("content-range"), "bytes */5000");
    }
}

/// What an upstream sends for a layer of a thousand bytes: endless, to all that matters.
const FLOOD: usize = 64 * 1024 * 1024;

/// What it may get rid of before it is cut off; most of it lies in the system's socket buffers.
const READ_AT_MOST: u64 = 16 * 1024 * 1024;

/// A mirror of a layer of a thousand bytes whose upstream does not stop sending it.
async fn flooded() -> (FakeUpstream, TestServer, Blob, String) {
    let (layer, image) = image_of("flooded", 1000);
    let path = format!("/v2/{UPSTREAM}/team/app/blobs/{}", layer.digest);
    let (upstream, server) = mirrored_manifest(&image, true).await;
    upstream.always(Kind::BlobGet, Fault::Unannounced(FLOOD));
    (upstream, server, layer, path)
}

/// Asks for the flooded layer and checks that nothing but an error comes of it.
async fn expect_broken(server: &TestServer, path: &str) {
    let arriving = server.client().get(path).begin().await;
    if arriving.status == 200 {
        let whole = arriving.rest().await.map(|bytes| bytes.len());
        assert!(whole.is_err(), "complete with {whole:?} wrong bytes");
    } else {
        assert_eq!(arriving.status, 502);
    }
}

#[tokio::test]
async fn an_upstream_that_does_not_stop_sending_a_layer_is_cut_off() {
    let (upstream, server, layer, path) = flooded().await;
    expect_broken(&server, &path).await;
    let sent = upstream.blob_bytes_sent();
    assert!(sent <= READ_AT_MOST, "read {} MiB", sent >> 20);
    assert!(upload_sizes(&server.data()).is_empty());
    assert!(!server.blob_file(&layer.digest).exists());
    upstream.heal();
    let reply = server.client().get(&path).await.expect_status(200);
    assert_eq!(reply.body, layer.bytes);
}

#[tokio::test]
async fn an_upstream_that_does_not_stop_sending_is_cut_off_also_when_its_client_has_left() {
    let (upstream, server, layer, path) = flooded().await;
    drop(server.client().get(&path).begin().await);
    let data = server.data();
    let given_up = || upload_sizes(&data).is_empty();
    server
        .client()
        .until("the fetch is given up", given_up)
        .await;
    let sent = upstream.blob_bytes_sent();
    assert!(sent <= READ_AT_MOST, "read {} MiB", sent >> 20);
    // Whether it leads or joins, nothing is under way once this one has failed.
    expect_broken(&server, &path).await;
    assert!(!server.blob_file(&layer.digest).exists());
    upstream.heal();
    let reply = server.client().get(&path).await.expect_status(200);
    assert_eq!(reply.body, layer.bytes);
}

/// Asks for the layer while its upstream misbehaves so; checks that nothing was stored, and that the layer
/// comes when the upstream is well again.
async fn expect_refused(fault: Fault, is_told: bool) {
    let (layer, image) = image_of("refused", 50_000);
    let path = format!("/v2/{UPSTREAM}/team/app/blobs/{}", layer.digest);
    let (upstream, server) = mirrored_manifest(&image, false).await;
    upstream.always(Kind::BlobGet, fault);
    let arriving = server.client().get(&path).begin().await;
    if is_told {
        assert_eq!(arriving.status, 502);
    } else {
        arriving.rest().await.expect_err("a lie is never completed");
    }
    assert!(!server.blob_file(&layer.digest).exists());
    let client = server.client();
    let data = server.data();
    let is_dropped = || upload_sizes(&data).is_empty();
    client
        .until("what had arrived is dropped", is_dropped)
        .await;
    upstream.heal();
    let reply = client.get(&path).await.expect_status(200);
    assert_eq!(reply.body, layer.bytes);
    assert_eq!(reply.need("content-type"), "application/octet-stream");
}

#[tokio::test]
async fn a_web_page_instead_of_a_layer_is_refused_before_its_first_byte() {
    let page = "<html>please log in</html>";
    let html = vec![("content-type", "text/html; charset=utf-8".to_owned())];
    let portal = Fault::Answer(200, html.clone(), page.to_owned());
    expect_refused(portal.clone(), true).await;
    // As long as the layer, in case somebody only compares sizes.
    let long = Fault::Headers(html, Some(vec![b' '; 50_000].into()));
    expect_refused(long, true).await;
    let (layer, image) = image_of("head", 1000);
    let path = format!("/v2/{UPSTREAM}/team/app/blobs/{}", layer.digest);
    let (upstream, server) = mirrored_manifest(&image, false).await;
    upstream.always(Kind::BlobHead, portal);
    server.client().head(&path).await.expect_status(502);
}

fn gzip_encoded() -> Vec<(&'static str, String)> {
    vec![("content-encoding", "gzip".to_owned())]
}

#[tokio::test]
async fn a_layer_that_is_compressed_on_its_way_is_refused() {
    let squeezed = noise("what gzip makes of it", 20_000);
    expect_refused(Fault::Headers(gzip_encoded(), Some(squeezed)), false).await;
}

#[tokio::test]
async fn the_digest_alone_decides_whatever_the_headers_of_a_layer_say() {
    let another = digest_of(Algorithm::Sha256, b"another");
    let wrong_digest = vec![("docker-content-digest", another)];
    let wrong_type = vec![("content-type", "application/json".to_owned())];
    for headers in [wrong_digest, wrong_type, gzip_encoded()] {
        let (layer, image) = image_of("as it is", 50_000);
        let path = format!("/v2/{UPSTREAM}/team/app/blobs/{}", layer.digest);
        let (upstream, server) = mirrored_manifest(&image, false).await;
        upstream.always(Kind::BlobGet, Fault::Headers(headers, None));
        for _ in 0..2 {
            let reply = server.client().get(&path).await.expect_status(200);
            assert_eq!(reply.body, layer.bytes);
            assert_eq!(reply.need("docker-content-digest"), layer.digest);
            assert_eq!(reply.header("content-encoding"), None);
        }
        assert_eq!(upstream.count(Kind::BlobGet), 1);
    }
}

#[tokio::test]
async fn a_pull_goes_on_with_what_it_began_when_its_tag_moves() {
    let (layer, image) = image_of("before the move", 300_000);
    let (upstream, server) = mirrored(&image).await;
    let client = server.client();
    let top = client.get(TAG).await.expect_status(200);
    let gate = Gate::closed();
    upstream.next(Kind::BlobGet, Fault::StallAt(100_000, gate.clone()));
    let path = format!("/v2/{UPSTREAM}/team/app/blobs/{}", layer.digest);
    let mut arriving = client.get(&path).begin().await;
    let mut bytes = arriving.read_at_least(1000).await;
    let newer = Recipe::image("after the move").build();
    upstream.hold("team/app", &newer, &["v1"]);
    server.clock().advance(MINUTE);
    let moved = client.get(TAG).await.expect_status(200);
    assert_eq!(moved.body, newer.top().bytes);
    gate.open();
    bytes.extend(arriving.rest().await.expect("the body is whole"));
    assert_eq!(bytes, layer.bytes);
    assert_eq!(top.need("docker-content-digest"), image.top().digest);
    client
        .expect_pull(&format!("{UPSTREAM}/team/app"), &image)
        .await;
    client
        .expect_pull(&format!("{UPSTREAM}/team/app"), &newer)
        .await;
}
