//! Range requests on blobs, which resumed downloads and lazy snapshotters live by.

use crate::support::images::{ALGORITHMS, digest_of, noise};
use crate::support::server::TestServer;

const SIZE: usize = 2048;

#[tokio::test]
async fn satisfiable_ranges_are_206_with_exactly_these_bytes() {
    let server = TestServer::start().await;
    for algorithm in ALGORITHMS {
        let bytes = noise("ranged", SIZE);
        let digest = digest_of(algorithm, &bytes);
        server
            .client()
            .push_blob_as("team/app", &bytes, &digest)
            .await;
        let path = format!("/v2/team/app/blobs/{digest}");
        for (range, start, end) in [
            ("bytes=500-1499", 500, 1499),
            ("bytes=500-", 500, SIZE - 1),
            ("bytes=-500", SIZE - 500, SIZE - 1),
            ("bytes=2000-5000", 2000, SIZE - 1),
            ("bytes=0-0", 0, 0),
            ("bytes=0-", 0, SIZE - 1),
            ("bytes=-5000", 0, SIZE - 1),
            ("bytes=2047-", SIZE - 1, SIZE - 1),
        ] {
            let call = server.client().get(&path).header("range", range);
            let reply = call.await.expect_status(206);
            assert_eq!(reply.body, bytes.slice(start..=end), "{range}");
            assert_eq!(
                reply.need("content-range"),
                format!("bytes {start}-{end}/{SIZE}")
            );
            assert_eq!(reply.need("content-length"), (end - start + 1).to_string());
            assert_eq!(reply.need("docker-content-digest"), digest);
        }
    }
}

#[tokio::test]
async fn unsatisfiable_ranges_are_416_with_the_size() {
    let server = TestServer::start().await;
    let bytes = noise("ranged", SIZE);
    let digest = server.client().push_blob("team/app", &bytes).await;
    let path = format!("/v2/team/app/blobs/{digest}");
    for range in ["bytes=500-0", "bytes=5000-10000", "bytes=2048-", "bytes=-0"] {
        let call = server.client().get(&path).header("range", range);
        let reply = call.await.expect_error(416, "RANGE_INVALID");
        assert_eq!(
            reply.need("content-range"),
            format!("bytes */{SIZE}"),
            "{range}"
        );
    }
}

#[tokio::test]
async fn ranges_nobody_can_read_and_other_units_are_ignored() {
    let server = TestServer::start().await;
    let bytes = noise("ranged", SIZE);
    let digest = server.client().push_blob("team/app", &bytes).await;
    let path = format!("/v2/team/app/blobs/{digest}");
    for range in ["bytes=", "bytes=a-b", "lines=1-2", "500-600", "bytes=--5"] {
        let reply = server.client().get(&path).header("range", range).await;
        assert_eq!(reply.status, 200, "{range}");
        assert_eq!(reply.body, bytes);
    }
}

#[tokio::test]
async fn several_ranges_at_once_never_yield_wrong_bytes() {
    let server = TestServer::start().await;
    let bytes = noise("ranged", SIZE);
    let digest = server.client().push_blob("team/app", &bytes).await;
    let path = format!("/v2/team/app/blobs/{digest}");
    let call = server
        .client()
        .get(&path)
        .header("range", "bytes=0-9,100-109");
    assert_eq!(call.await.expect_status(200).body, bytes);
}

#[tokio::test]
async fn if_range_decides_between_the_part_and_the_whole() {
    let server = TestServer::start().await;
    let bytes = noise("ranged", SIZE);
    let digest = server.client().push_blob("team/app", &bytes).await;
    let path = format!("/v2/team/app/blobs/{digest}");
    let ask = |etag: String| {
        let call = server.client().get(&path).header("range", "bytes=0-9");
        call.header("if-range", &etag)
    };
    ask(format!("\"{digest}\"")).await.expect_status(206);
    assert_eq!(
        ask("\"other\"".to_owned()).await.expect_status(200).body,
        bytes
    );
}

#[tokio::test]
async fn the_empty_blob_is_served_whole_and_has_no_range() {
    let server = TestServer::start().await;
    let empty = noise("", 0);
    let digest = server.client().push_blob("team/app", &empty).await;
    let path = format!("/v2/team/app/blobs/{digest}");
    let whole = server.client().get(&path).await.expect_status(200);
    assert_eq!(whole.need("content-length"), "0");
    let call = server.client().get(&path).header("range", "bytes=0-");
    let reply = call.await.expect_status(416);
    assert_eq!(reply.need("content-range"), "bytes */0");
}

#[tokio::test]
async fn a_head_with_a_range_sends_no_body() {
    let server = TestServer::start().await;
    let bytes = noise("ranged", SIZE);
    let digest = server.client().push_blob("team/app", &bytes).await;
    let path = format!("/v2/team/app/blobs/{digest}");
    let reply = server
        .client()
        .head(&path)
        .header("range", "bytes=0-9")
        .await;
    assert!([200, 206].contains(&reply.status), "{reply:?}");
    assert!(reply.body.is_empty());
}
