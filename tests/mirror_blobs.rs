//! Blobs through a mirror: one fetch however many ask, bytes as they come, nothing unverified finished.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::json;

use crate::support::gate::Gate;
use crate::support::images::{ALGORITHMS, Algorithm, Blob, Content, OCI_LAYER, Recipe, noise};
use crate::support::server::{TestServer, UPSTREAM};
use crate::support::upstream::{FakeUpstream, basic};
use crate::support::upstream_plan::{Admission, Fault, Kind};

const SIZE: usize = 1024 * 1024;

/// An upstream that holds one big blob in `team/app`, a mirror of it, and the blob's path there.
async fn mirrored(algorithm: Algorithm) -> (FakeUpstream, TestServer, Blob, String) {
    let upstream = FakeUpstream::start().await;
    let (blob, path) = hold(&upstream, algorithm, SIZE);
    let server = TestServer::builder().mirror_of(&upstream).start().await;
    (upstream, server, blob, path)
}

fn hold(upstream: &FakeUpstream, algorithm: Algorithm, size: usize) -> (Blob, String) {
    let blob = Blob::new(algorithm, OCI_LAYER, noise("layer", size));
    let content = Content {
        blobs: vec![blob.clone()],
        manifests: Vec::new(),
    };
    upstream.hold("team/app", &content, &[]);
    let path = format!("/v2/{UPSTREAM}/team/app/blobs/{}", blob.digest);
    (blob, path)
}

/// Returns whether a file under its final name holds the blob's bytes.
fn is_stored(server: &TestServer, digest: &str) -> bool {
    let (algorithm, hex) = digest.split_once(':').unwrap();
    let directory = server
        .data()
        .join("docker/registry/v2/blobs")
        .join(algorithm);
    let directory = directory.join(&hex[..2]).join(hex);
    std::fs::read_dir(directory).is_ok_and(|mut files| files.next().is_some())
}

#[tokio::test]
async fn a_blob_is_fetched_once_and_then_served_from_here() {
    for algorithm in ALGORITHMS {
        let (upstream, server, blob, path) = mirrored(algorithm).await;
        let first = server.client().get(&path).await.expect_status(200);
        assert_eq!(first.body, blob.bytes);
        assert_eq!(first.need("docker-content-digest"), blob.digest);
        assert_eq!(first.need("content-length"), SIZE.to_string());
        assert_eq!(first.need("seawall-cache"), "miss");
        upstream.die().await;
        let second = server.client().get(&path).await.expect_status(200);
        assert_eq!(second.body, blob.bytes);
        assert_eq!(second.need("seawall-cache"), "hit");
        let head = server.client().head(&path).await.expect_status(200);
        assert_eq!(head.need("content-length"), SIZE.to_string());
        assert_eq!(upstream.count(Kind::BlobGet), 1);
        assert_eq!(upstream.blob_bytes_sent(), SIZE as u64);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn thirty_two_clients_share_one_fetch() {
    let (upstream, server, blob, path) = mirrored(Algorithm::Sha256).await;
    let gate = Gate::closed();
    upstream.next(Kind::BlobGet, Fault::StallAt(SIZE / 2, gate.clone()));
    let begun = (0..32).map(|_| async {
        let mut arriving = server.client().get(&path).begin().await;
        assert_eq!(arriving.status, 200);
        let first = arriving.read_at_least(1000).await; // while the upstream stands still
        (first, arriving)
    });
    let begun = join_all(begun).await;
    gate.open();
    let ended = join_all(begun.into_iter().map(|(mut bytes, arriving)| async move {
        bytes.extend(arriving.rest().await.expect("the body is whole"));
        bytes
    }));
    for bytes in ended.await {
        assert_eq!(bytes, blob.bytes);
    }
    assert_eq!(upstream.count(Kind::BlobGet), 1);
    assert_eq!(upstream.blob_bytes_sent(), SIZE as u64);
}

#[tokio::test]
async fn the_fetch_goes_on_when_its_client_hangs_up() {
    let (upstream, server, blob, path) = mirrored(Algorithm::Sha256).await;
    let gate = Gate::closed();
    upstream.next(Kind::BlobGet, Fault::StallAt(SIZE / 2, gate.clone()));
    let mut leader = server.client().get(&path).begin().await;
    leader.read_at_least(1000).await;
    gate.reached().await;
    drop(leader);
    gate.open();
    let reply = server.client().get(&path).await.expect_status(200);
    assert_eq!(reply.body, blob.bytes);
    assert_eq!(upstream.count(Kind::BlobGet), 1);
}

#[tokio::test]
async fn a_follower_keeps_its_stream_when_the_leader_hangs_up() {
    let (upstream, server, blob, path) = mirrored(Algorithm::Sha256).await;
    let gate = Gate::closed();
    upstream.next(Kind::BlobGet, Fault::StallAt(SIZE / 2, gate.clone()));
    let mut leader = server.client().get(&path).begin().await;
    leader.read_at_least(1000).await;
    let mut follower = server.client().get(&path).begin().await;
    let mut bytes = follower.read_at_least(1000).await;
    drop(leader);
    gate.open();
    bytes.extend(follower.rest().await.expect("the body is whole"));
    assert_eq!(bytes, blob.bytes);
    assert_eq!(upstream.count(Kind::BlobGet), 1);
}

#[tokio::test]
async fn a_broken_upstream_body_is_resumed_where_it_broke() {
    let (upstream, server, blob, path) = mirrored(Algorithm::Sha256).await;
    upstream.next(Kind::BlobGet, Fault::CutAt(SIZE / 2));
    let reply = server.client().get(&path).await.expect_status(200);
    assert_eq!(reply.body, blob.bytes);
    let seen = upstream.seen(Kind::BlobGet);
    assert_eq!(seen.len(), 2, "{seen:?}");
    let range = seen[1].range.clone().unwrap();
    let from: usize = range
        .strip_prefix("bytes=")
        .unwrap()
        .trim_end_matches('-')
        .parse()
        .unwrap();
    assert!(from > 0 && from <= SIZE / 2, "{range}");
}

#[tokio::test]
async fn an_upstream_that_stops_in_the_middle_is_asked_again_from_there() {
    let upstream = FakeUpstream::start().await;
    let (blob, path) = hold(&upstream, Algorithm::Sha256, SIZE);
    let mirror = json!({"name": UPSTREAM, "endpoints": [upstream.url()], "default": true,
        "timeout": {"read": "500ms"}});
    let server = TestServer::builder().mirror(mirror).start().await;
    let never = Gate::closed();
    upstream.next(Kind::BlobGet, Fault::StallAt(SIZE / 2, never));
    let reply = server.client().get(&path).await.expect_status(200);
    assert_eq!(reply.body, blob.bytes);
    let seen = upstream.seen(Kind::BlobGet);
    let ranges: Vec<_> = seen.iter().map(|seen| seen.range.clone()).collect();
    assert_eq!(ranges, [None, Some(format!("bytes={}-", SIZE / 2))]);
}

#[tokio::test]
async fn an_upstream_that_cannot_resume_is_read_again_and_the_client_sees_no_seam() {
    let (upstream, server, blob, path) = mirrored(Algorithm::Sha256).await;
    upstream.next(Kind::BlobGet, Fault::CutAt(SIZE / 2));
    upstream.next(Kind::BlobGet, Fault::IgnoreRange);
    let reply = server.client().get(&path).await.expect_status(200);
    assert_eq!(reply.body, blob.bytes);
    assert!(is_stored(&server, &blob.digest));
}

#[tokio::test]
async fn an_upstream_that_always_breaks_breaks_the_connection_and_stores_nothing() {
    let (upstream, server, blob, path) = mirrored(Algorithm::Sha256).await;
    upstream.always(Kind::BlobGet, Fault::CutAt(0));
    let arriving = server.client().get(&path).begin().await;
    if arriving.status == 200 {
        arriving.rest().await.expect_err("the body cannot be whole");
    } else {
        assert!([502, 504].contains(&arriving.status), "{}", arriving.status);
    }
    assert!(!is_stored(&server, &blob.digest));
    upstream.heal();
    server.let_upstreams_rest();
    let reply = server.client().get(&path).await.expect_status(200);
    assert_eq!(reply.body, blob.bytes);
}

/// Serves `lie` first, then the truth: no client completes the lie and nothing of it stays.
async fn expect_lie_refused(size: usize, lie: Bytes, range: Option<&str>) {
    let upstream = FakeUpstream::start().await;
    let (blob, path) = hold(&upstream, Algorithm::Sha256, size);
    let server = TestServer::builder().mirror_of(&upstream).start().await;
    upstream.always(Kind::BlobGet, Fault::Bytes(lie.clone()));
    let call = server.client().get(&path);
    let call = match range {
        Some(range) => call.header("range", range),
        None => call,
    };
    let arriving = call.begin().await;
    if arriving.status < 300 {
        let got = arriving.rest().await.expect_err("a lie is never completed");
        assert!(got.len() < lie.len());
    } else {
        assert!([502, 504].contains(&arriving.status), "{}", arriving.status);
    }
    assert!(!is_stored(&server, &blob.digest));
    upstream.heal();
    let reply = server.client().get(&path).await.expect_status(200);
    assert_eq!(reply.body, blob.bytes);
}

#[tokio::test]
async fn wrong_bytes_break_the_connection_and_are_not_kept() {
    let truth = noise("layer", SIZE);
    let mut flipped = truth.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    expect_lie_refused(SIZE, flipped.into(), None).await;
    expect_lie_refused(SIZE, noise("altogether else", SIZE), None).await;
    expect_lie_refused(700, noise("small lie", 700), None).await;
}

#[tokio::test]
async fn a_body_of_the_wrong_size_is_not_kept() {
    let truth = noise("layer", SIZE);
    expect_lie_refused(SIZE, truth.slice(..SIZE - 1), None).await;
    expect_lie_refused(SIZE, [&truth[..], b"more"].concat().into(), None).await;
    expect_lie_refused(700, Bytes::new(), None).await;
}

#[tokio::test]
async fn a_range_that_is_the_whole_blob_is_verified_like_one() {
    let mut flipped = noise("layer", SIZE).to_vec();
    flipped[10] ^= 1;
    expect_lie_refused(SIZE, flipped.into(), Some("bytes=0-")).await;
}

#[tokio::test]
async fn a_range_is_served_while_the_blob_is_still_arriving() {
    let (upstream, server, blob, path) = mirrored(Algorithm::Sha256).await;
    let gate = Gate::closed();
    upstream.next(Kind::BlobGet, Fault::StallAt(SIZE / 2, gate.clone()));
    let mut leader = server.client().get(&path).begin().await;
    let mut bytes = leader.read_at_least(1000).await;
    gate.reached().await;
    let early = server.client().get(&path).header("range", "bytes=100-299");
    let early = early.await.expect_status(206);
    assert_eq!(early.body, blob.bytes.slice(100..300));
    assert_eq!(early.need("content-range"), format!("bytes 100-299/{SIZE}"));
    let late = server.client().get(&path).header("range", "bytes=-100");
    let late = late.begin();
    gate.open();
    let late = late.await;
    assert_eq!(late.status, 206);
    assert_eq!(late.rest().await.unwrap(), blob.bytes.slice(SIZE - 100..));
    bytes.extend(leader.rest().await.unwrap());
    assert_eq!(bytes, blob.bytes);
    assert_eq!(upstream.count(Kind::BlobGet), 1);
}

#[tokio::test]
async fn a_range_of_a_blob_nobody_has_asked_for_is_206() {
    let (upstream, server, blob, path) = mirrored(Algorithm::Sha256).await;
    let reply = server
        .client()
        .get(&path)
        .header("range", "bytes=10-19")
        .await;
    assert_eq!(reply.expect_status(206).body, blob.bytes.slice(10..20));
    let whole = server.client().get(&path).await.expect_status(200);
    assert_eq!(whole.body, blob.bytes);
    assert_eq!(upstream.count(Kind::BlobGet), 1);
    let beyond = server
        .client()
        .get(&path)
        .header("range", "bytes=9999999-")
        .await;
    beyond.expect_error(416, "RANGE_INVALID");
}

#[tokio::test]
async fn head_of_an_uncached_blob_is_answered_by_the_upstreams_head() {
    let (upstream, server, blob, path) = mirrored(Algorithm::Sha256).await;
    let head = server.client().head(&path).await.expect_status(200);
    assert_eq!(head.need("content-length"), SIZE.to_string());
    assert_eq!(head.need("docker-content-digest"), blob.digest);
    assert_eq!(upstream.count(Kind::BlobHead), 1);
    assert_eq!(upstream.count(Kind::BlobGet), 0);
    assert!(!is_stored(&server, &blob.digest));
}

#[tokio::test]
async fn a_blob_the_upstream_does_not_have_is_404() {
    let (upstream, server, _, _) = mirrored(Algorithm::Sha256).await;
    let nowhere = crate::support::images::digest_of(Algorithm::Sha256, b"nowhere");
    let path = format!("/v2/{UPSTREAM}/team/app/blobs/{nowhere}");
    server
        .client()
        .get(&path)
        .await
        .expect_error(404, "BLOB_UNKNOWN");
    server.client().head(&path).await.expect_status(404);
    assert!(upstream.total() > 0);
}

#[tokio::test]
async fn cached_bytes_are_given_only_where_the_upstream_says_they_belong() {
    let (upstream, server, blob, path) = mirrored(Algorithm::Sha256).await;
    server.client().get(&path).await.expect_status(200);
    let other = format!("/v2/{UPSTREAM}/other/app/blobs/{}", blob.digest);
    server
        .client()
        .get(&other)
        .await
        .expect_error(404, "BLOB_UNKNOWN");
    upstream.die().await;
    server.clock().advance(std::time::Duration::from_secs(31));
    let reply = server.client().get(&other).await;
    assert!([502, 504].contains(&reply.status), "{reply:?}");
}

#[tokio::test]
async fn an_upstream_that_is_dead_at_the_start_is_no_reason_not_to_start() {
    let upstream = FakeUpstream::dead();
    let (blob, path) = hold(&upstream, Algorithm::Sha256, SIZE);
    let server = TestServer::builder().mirror_of(&upstream).start().await;
    server.client().get("/v2/").await.expect_status(200);
    let reply = server.client().get(&path).await;
    assert!([502, 504].contains(&reply.status), "{reply:?}");
    let reply = reply.expect_plain_error();
    assert!(!reply.text().contains(&upstream.url()), "{reply:?}");
    upstream.come_back().await;
    server.let_upstreams_rest();
    let reply = server.client().get(&path).await.expect_status(200);
    assert_eq!(reply.body, blob.bytes);
}

#[tokio::test]
async fn statuses_of_the_upstream_are_passed_on() {
    let (upstream, server, _, path) = mirrored(Algorithm::Sha256).await;
    let retry = vec![("retry-after", "17".to_owned())];
    for (fault, statuses) in [
        (Fault::status(401), &[401][..]),
        (Fault::status(403), &[403]),
        (Fault::Answer(429, retry, String::new()), &[429]),
        (Fault::status(500), &[502]),
        (Fault::status(503), &[502, 503, 504]),
    ] {
        upstream.always(Kind::BlobGet, fault.clone());
        upstream.always(Kind::BlobHead, fault);
        let reply = server.client().get(&path).await;
        assert!(statuses.contains(&reply.status), "{statuses:?}: {reply:?}");
        if reply.status == 429 {
            assert_eq!(reply.need("retry-after"), "17");
        }
        reply.expect_plain_error();
        upstream.heal();
        server.clock().advance(Duration::from_secs(17));
    }
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_to_another_origin() {
    let store = FakeUpstream::start().await;
    hold(&store, Algorithm::Sha256, SIZE);
    let upstream = FakeUpstream::start().await;
    let (blob, path) = hold(&upstream, Algorithm::Sha256, SIZE);
    upstream.plan().admission = Admission::Basic("user".into(), "secret".into());
    upstream.always(Kind::BlobGet, Fault::RedirectTo(store.url()));
    let mirror = json!({"name": UPSTREAM, "endpoints": [upstream.url()], "default": true,
        "username": "user", "password": "secret"});
    let server = TestServer::builder().mirror(mirror).start().await;
    let reply = server.client().get(&path).await.expect_status(200);
    assert_eq!(reply.body, blob.bytes);
    let shown = upstream.seen(Kind::BlobGet);
    let shown = shown.last().unwrap().authorization.clone();
    assert_eq!(shown, Some(basic("user", "secret")));
    let seen = store.seen(Kind::BlobGet);
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].authorization, None);
}

#[tokio::test]
async fn a_whole_image_comes_through_and_stays_when_the_upstream_goes() {
    let upstream = FakeUpstream::start().await;
    for algorithm in ALGORITHMS {
        let image = Recipe::image("whole").algorithm(algorithm).build();
        upstream.hold("team/app", &image, &["v1"]);
        let server = TestServer::builder().mirror_of(&upstream).start().await;
        let name = format!("{UPSTREAM}/team/app");
        server.client().expect_pull(&name, &image).await;
        upstream.die().await;
        server.client().expect_pull(&name, &image).await;
        upstream.come_back().await;
    }
}

#[tokio::test]
async fn what_is_not_here_within_the_total_timeout_is_given_up_and_not_asked_for_again() {
    let upstream = FakeUpstream::start().await;
    let layer = Blob::new(Algorithm::Sha256, OCI_LAYER, noise("slow", 300_000));
    let content = Content {
        blobs: vec![layer.clone()],
        manifests: Vec::new(),
    };
    upstream.hold("team/app", &content, &[]);
    let mirror = json!({"name": UPSTREAM, "endpoints": [upstream.url()],
        "timeout": {"total": "300ms"}});
    let server = TestServer::builder().mirror(mirror).start().await;
    let gate = Gate::closed();
    // Each answer brings enough to be worth another.
    upstream.always(Kind::BlobGet, Fault::StallAt(100_000, gate));
    let path = format!("/v2/{UPSTREAM}/team/app/blobs/{}", layer.digest);
    let arriving = server.client().get(&path).begin().await;
    assert_eq!(arriving.status, 200);
    let rest = arriving.rest().await.map_err(|some| some.len());
    let got = rest.map(|all| all.len()).expect_err("it takes too long");
    assert!(got < 200_000, "{got} bytes");
    assert_eq!(upstream.count(Kind::BlobGet), 1);
}
