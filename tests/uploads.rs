//! Uploads: every way a client sends a blob, every way it goes wrong, and that the session survives.

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream;

use crate::support::client::with_query;
use crate::support::gate::PATIENCE;
use crate::support::images::{ALGORITHMS, Algorithm, digest_of, noise};
use crate::support::raw::RawConnection;
use crate::support::server::TestServer;

const CHUNK: usize = 1024;
const REPOSITORY: &str = "team/app";

/// A blob of three chunks, the last one short.
fn three_chunks(seed: &str) -> (Bytes, [Bytes; 3]) {
    let bytes = noise(seed, CHUNK * 3 - 5);
    let parts = [
        bytes.slice(..CHUNK),
        bytes.slice(CHUNK..2 * CHUNK),
        bytes.slice(2 * CHUNK..),
    ];
    (bytes, parts)
}

async fn expect_stored(server: &TestServer, digest: &str, bytes: &Bytes) {
    let path = format!("/v2/{REPOSITORY}/blobs/{digest}");
    let head = server.client().head(&path).await.expect_status(200);
    assert_eq!(head.need("content-length"), bytes.len().to_string());
    let reply = server.client().get(&path).await.expect_status(200);
    assert_eq!(&reply.body, bytes);
}

async fn expect_absent(server: &TestServer, digest: &str) {
    let path = format!("/v2/{REPOSITORY}/blobs/{digest}");
    server.client().head(&path).await.expect_status(404);
}

/// Returns the path of an upload that stands at no byte.
async fn begin(server: &TestServer) -> String {
    server.client().start_upload(REPOSITORY).await
}

async fn range_of(server: &TestServer, location: &str) -> String {
    let status = server.client().get(location).await.expect_status(204);
    status.need("range").to_owned()
}

fn streamed(parts: impl IntoIterator<Item = Bytes>) -> reqwest::Body {
    let parts: Vec<_> = parts.into_iter().map(Ok::<_, std::io::Error>).collect();
    reqwest::Body::wrap_stream(stream::iter(parts))
}

#[tokio::test]
async fn starting_an_upload_tells_where_it_is_and_where_it_stands() {
    let server = TestServer::start().await;
    for path in ["uploads/", "uploads"] {
        let reply = server
            .client()
            .post(&format!("/v2/{REPOSITORY}/blobs/{path}"))
            .await;
        let reply = reply.expect_status(202);
        assert_eq!(reply.need("range"), "0-0");
        assert_eq!(reply.need("content-length"), "0");
        assert!(reply.location().contains(reply.need("docker-upload-uuid")));
    }
}

#[tokio::test]
async fn a_single_post_carries_a_whole_blob() {
    let server = TestServer::start().await;
    for algorithm in ALGORITHMS {
        let bytes = noise("post only", 512);
        let digest = digest_of(algorithm, &bytes);
        let path = format!("/v2/{REPOSITORY}/blobs/uploads/?digest={digest}");
        let call = server
            .client()
            .post(&path)
            .header("content-type", "application/octet-stream");
        let reply = call.body(bytes.clone()).await.expect_status(201);
        assert_eq!(reply.need("docker-content-digest"), digest);
        let got = server
            .client()
            .get(&reply.location())
            .await
            .expect_status(200);
        assert_eq!(got.body, bytes);
        expect_stored(&server, &digest, &bytes).await;
    }
}

#[tokio::test]
async fn a_post_and_a_put_carry_a_whole_blob() {
    let server = TestServer::start().await;
    for algorithm in ALGORITHMS {
        for bytes in [
            noise("post put", 512),
            Bytes::new(),
            Bytes::from_static(b"{}"),
        ] {
            let digest = digest_of(algorithm, &bytes);
            let location = begin(&server).await;
            let reply = server
                .client()
                .finish_upload(&location, &digest, &bytes)
                .await;
            let reply = reply.expect_status(201);
            assert_eq!(reply.need("docker-content-digest"), digest);
            let got = server
                .client()
                .get(&reply.location())
                .await
                .expect_status(200);
            assert_eq!(got.body, bytes);
            expect_stored(&server, &digest, &bytes).await;
            server
                .client()
                .get(&location)
                .await
                .expect_error(404, "BLOB_UPLOAD_UNKNOWN");
        }
    }
}

#[tokio::test]
async fn chunks_are_taken_in_order_and_the_put_may_carry_the_last() {
    let server = TestServer::start().await;
    for algorithm in ALGORITHMS {
        for last_in_put in [false, true] {
            let (bytes, parts) = three_chunks(&format!("chunked {last_in_put}"));
            let digest = digest_of(algorithm, &bytes);
            let mut location = begin(&server).await;
            let patched = if last_in_put { 2 } else { 3 };
            let mut sent = 0;
            for part in &parts[..patched] {
                let reply = server.client().chunk(&location, sent, part).await;
                let reply = reply.expect_status(202);
                sent += part.len();
                assert_eq!(reply.need("range"), format!("0-{}", sent - 1));
                assert!(reply.header("docker-upload-uuid").is_some());
                location = reply.location();
                assert_eq!(
                    range_of(&server, &location).await,
                    format!("0-{}", sent - 1)
                );
            }
            let rest = bytes.slice(sent..);
            let mut finish = server.client().finish_upload(&location, &digest, &rest);
            if last_in_put {
                let range = format!("{sent}-{}", bytes.len() - 1);
                finish = finish.header("content-range", &range);
            }
            let reply = finish.await.expect_status(201);
            assert_eq!(reply.need("docker-content-digest"), digest);
            expect_stored(&server, &digest, &bytes).await;
        }
    }
}

#[tokio::test]
async fn a_stream_without_length_or_range_is_appended() {
    let server = TestServer::start().await;
    for algorithm in ALGORITHMS {
        let (bytes, parts) = three_chunks("streamed");
        let digest = digest_of(algorithm, &bytes);
        let location = begin(&server).await;
        let call = server.client().patch(&location);
        let call = call.header("content-type", "application/octet-stream");
        let reply = call.body(streamed(parts)).await.expect_status(202);
        assert_eq!(reply.need("range"), format!("0-{}", bytes.len() - 1));
        let finish = server
            .client()
            .finish_upload(&reply.location(), &digest, &Bytes::new());
        finish.await.expect_status(201);
        expect_stored(&server, &digest, &bytes).await;
    }
}

#[tokio::test]
async fn a_put_may_stream_the_whole_blob() {
    let server = TestServer::start().await;
    let (bytes, parts) = three_chunks("streamed put");
    let digest = digest_of(Algorithm::Sha256, &bytes);
    let location = begin(&server).await;
    let path = with_query(&location, &format!("digest={digest}"));
    let call = server
        .client()
        .put(&path)
        .header("content-type", "application/octet-stream");
    call.body(streamed(parts)).await.expect_status(201);
    expect_stored(&server, &digest, &bytes).await;
}

#[tokio::test]
async fn a_chunk_out_of_order_is_416_and_the_session_survives() {
    let server = TestServer::start().await;
    for algorithm in ALGORITHMS {
        let (bytes, parts) = three_chunks("disorder");
        let digest = digest_of(algorithm, &bytes);
        let mut location = begin(&server).await;
        let ahead = server.client().chunk(&location, CHUNK, &parts[1]).await;
        let ahead = ahead.expect_error(416, "RANGE_INVALID");
        assert_eq!(ahead.need("range"), "0-0");
        let mut sent = 0;
        for part in &parts[..2] {
            let reply = server.client().chunk(&location, sent, part).await;
            sent += part.len();
            location = reply.expect_status(202).location();
            let again = server.client().chunk(&location, 0, &parts[0]).await;
            let again = again.expect_error(416, "RANGE_INVALID");
            assert_eq!(again.need("range"), format!("0-{}", sent - 1));
            assert_eq!(
                range_of(&server, &location).await,
                format!("0-{}", sent - 1)
            );
        }
        let finish = server.client().finish_upload(&location, &digest, &parts[2]);
        let wrong = finish.header("content-range", &format!("0-{}", parts[2].len() - 1));
        let wrong = wrong.await.expect_error(416, "RANGE_INVALID");
        assert_eq!(wrong.need("range"), format!("0-{}", sent - 1));
        expect_absent(&server, &digest).await;
        let finish = server.client().finish_upload(&location, &digest, &parts[2]);
        let right = finish.header("content-range", &format!("{sent}-{}", bytes.len() - 1));
        right.await.expect_status(201);
        expect_stored(&server, &digest, &bytes).await;
        let path = format!("/v2/{REPOSITORY}/blobs/{digest}");
        server.client().delete(&path).await.expect_status(202);
    }
}

#[tokio::test]
async fn a_cancelled_upload_is_gone() {
    let server = TestServer::start().await;
    let location = begin(&server).await;
    server
        .client()
        .chunk(&location, 0, &noise("x", 10))
        .await
        .expect_status(202);
    server.client().delete(&location).await.expect_status(204);
    for call in [
        server.client().get(&location),
        server.client().delete(&location),
        server.client().chunk(&location, 0, &noise("x", 10)),
    ] {
        call.await.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    }
}

#[tokio::test]
async fn a_wrong_digest_is_400_however_it_is_sent_and_stores_nothing() {
    let server = TestServer::start().await;
    for algorithm in ALGORITHMS {
        let (bytes, parts) = three_chunks("lies");
        let wrong = digest_of(algorithm, b"something else");
        let post = format!("/v2/{REPOSITORY}/blobs/uploads/?digest={wrong}");
        let reply = server.client().post(&post).body(bytes.clone()).await;
        reply.expect_error(400, "DIGEST_INVALID");

        let location = begin(&server).await;
        let put = server
            .client()
            .finish_upload(&location, &wrong, &bytes)
            .await;
        put.expect_error(400, "DIGEST_INVALID");

        let location = begin(&server).await;
        let mut sent = 0;
        for part in &parts {
            server
                .client()
                .chunk(&location, sent, part)
                .await
                .expect_status(202);
            sent += part.len();
        }
        let put = server
            .client()
            .finish_upload(&location, &wrong, &Bytes::new())
            .await;
        put.expect_error(400, "DIGEST_INVALID");

        let location = begin(&server).await;
        let patch = server.client().patch(&location).body(streamed(parts));
        patch.await.expect_status(202);
        let put = server
            .client()
            .finish_upload(&location, &wrong, &Bytes::new())
            .await;
        put.expect_error(400, "DIGEST_INVALID");
        expect_absent(&server, &wrong).await;
        expect_absent(&server, &digest_of(algorithm, &bytes)).await;
    }
}

#[tokio::test]
async fn a_wrong_digest_leaves_the_upload_open_for_the_right_one() {
    let server = TestServer::start().await;
    for algorithm in ALGORITHMS {
        let bytes = noise("second try", 2000);
        let location = begin(&server).await;
        server
            .client()
            .chunk(&location, 0, &bytes)
            .await
            .expect_status(202);
        let wrong = digest_of(algorithm, b"wrong");
        let put = server
            .client()
            .finish_upload(&location, &wrong, &Bytes::new())
            .await;
        put.expect_error(400, "DIGEST_INVALID");
        assert_eq!(range_of(&server, &location).await, "0-1999");
        let digest = digest_of(algorithm, &bytes);
        let put = server
            .client()
            .finish_upload(&location, &digest, &Bytes::new())
            .await;
        put.expect_status(201);
        expect_stored(&server, &digest, &bytes).await;
    }
}

#[tokio::test]
async fn a_put_without_a_digest_or_with_a_malformed_one_is_400() {
    let server = TestServer::start().await;
    let location = begin(&server).await;
    let bare = server.client().put(&location).body(noise("x", 10)).await;
    bare.expect_error(400, "DIGEST_INVALID");
    let upper = format!("sha256:{}", "A".repeat(64));
    for digest in [
        "sha256:baddigeststring",
        "sha384:00",
        "nonsense",
        "",
        upper.as_str(),
    ] {
        let put = server
            .client()
            .finish_upload(&location, digest, &noise("x", 10))
            .await;
        put.expect_error(400, "DIGEST_INVALID");
    }
    assert_eq!(range_of(&server, &location).await, "0-0");
}

#[tokio::test]
async fn an_upload_is_known_by_its_path_alone() {
    let server = TestServer::start().await;
    let bytes = noise("no query", 1000);
    let location = begin(&server).await;
    let bare = location.split('?').next().unwrap();
    let reply = server
        .client()
        .chunk(bare, 0, &bytes.slice(..400))
        .await
        .expect_status(202);
    let bare = reply.location().split('?').next().unwrap().to_owned();
    assert_eq!(range_of(&server, &bare).await, "0-399");
    let digest = digest_of(Algorithm::Sha256, &bytes);
    let finish = server
        .client()
        .finish_upload(&bare, &digest, &bytes.slice(400..));
    finish.await.expect_status(201);
    expect_stored(&server, &digest, &bytes).await;
}

#[tokio::test]
async fn a_stray_digest_does_not_turn_a_status_request_into_something_else() {
    let server = TestServer::start().await;
    let location = begin(&server).await;
    server
        .client()
        .chunk(&location, 0, &noise("x", 10))
        .await
        .expect_status(202);
    let digest = digest_of(Algorithm::Sha256, b"stray");
    let path = with_query(&location, &format!("digest={digest}"));
    let status = server.client().get(&path).await.expect_status(204);
    assert_eq!(status.need("range"), "0-9");
    assert!(!status.location().is_empty());
    let head = server.client().head(&location).await.expect_status(204);
    assert_eq!(head.need("range"), "0-9");
}

#[tokio::test]
async fn unknown_uploads_and_those_of_other_repositories_are_404() {
    let server = TestServer::start().await;
    let location = begin(&server).await;
    let elsewhere = location.replace("/team/app/", "/other/app/");
    let invented = format!("/v2/{REPOSITORY}/blobs/uploads/00000000-0000-4000-8000-000000000000");
    let malformed = format!("/v2/{REPOSITORY}/blobs/uploads/not-an-upload");
    let digest = digest_of(Algorithm::Sha256, b"x");
    for path in [elsewhere, invented, malformed] {
        for call in [
            server.client().get(&path),
            server.client().delete(&path),
            server.client().chunk(&path, 0, &noise("x", 10)),
            server
                .client()
                .finish_upload(&path, &digest, &Bytes::from_static(b"x")),
        ] {
            call.await.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
        }
    }
    server.client().get(&location).await.expect_status(204);
}

#[tokio::test]
async fn a_content_range_that_contradicts_the_body_is_refused() {
    let server = TestServer::start().await;
    let location = begin(&server).await;
    let patch = |range: &str| {
        let call = server.client().patch(&location).body(noise("x", 10));
        call.header("content-range", range)
    };
    patch("0-99").await.expect_error(400, "SIZE_INVALID");
    patch("0-4").await.expect_error(400, "SIZE_INVALID");
    for range in [
        "nonsense",
        "5",
        "-",
        "9-0",
        "a-b",
        "0-99999999999999999999999",
    ] {
        let reply = patch(range).await.expect_plain_error();
        assert!([400, 416].contains(&reply.status), "{range}: {reply:?}");
    }
    assert_eq!(range_of(&server, &location).await, "0-0");
    patch("0-9").await.expect_status(202);
    patch("bytes 10-19/20").await.expect_status(202);
    assert_eq!(range_of(&server, &location).await, "0-19");
}

#[tokio::test]
async fn a_stream_longer_or_shorter_than_its_content_range_adds_nothing_wrong() {
    let server = TestServer::start().await;
    let bytes = noise("honest", 20);
    let location = begin(&server).await;
    for claim in ["0-9", "0-29"] {
        let call = server
            .client()
            .patch(&location)
            .header("content-range", claim);
        let reply = call.body(streamed([bytes.clone()])).await;
        reply.expect_error(400, "SIZE_INVALID");
    }
    let standing = range_of(&server, &location).await;
    let end: usize = standing.strip_prefix("0-").unwrap().parse().unwrap();
    assert!(end < 20, "{standing}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_several_patches_at_one_offset_exactly_one_wins() {
    let server = TestServer::start().await;
    for round in 0..10 {
        let location = begin(&server).await;
        let bodies: Vec<Bytes> = (0..8)
            .map(|client| noise(&format!("{round}/{client}"), 50_000))
            .collect();
        let calls = bodies
            .iter()
            .map(|body| async { server.client().chunk(&location, 0, body).await });
        let replies = join_all(calls).await;
        let won = replies.iter().filter(|reply| reply.status == 202).count();
        let lost = replies.iter().filter(|reply| reply.status == 416).count();
        assert_eq!((won, lost), (1, 7), "round {round}: {replies:#?}");
        assert_eq!(range_of(&server, &location).await, "0-49999");
        let winner = replies
            .iter()
            .position(|reply| reply.status == 202)
            .unwrap();
        let digest = digest_of(Algorithm::Sha256, &bodies[winner]);
        let finish = server
            .client()
            .finish_upload(&location, &digest, &Bytes::new());
        finish.await.expect_status(201);
        expect_stored(&server, &digest, &bodies[winner]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_several_puts_the_blob_is_published_once_and_whole() {
    let server = TestServer::start().await;
    let bytes = noise("raced", 100_000);
    let digest = digest_of(Algorithm::Sha256, &bytes);
    let location = begin(&server).await;
    let calls = (0..6).map(|_| async {
        server
            .client()
            .finish_upload(&location, &digest, &bytes)
            .await
    });
    let replies = join_all(calls).await;
    assert!(
        replies.iter().any(|reply| reply.status == 201),
        "{replies:#?}"
    );
    for reply in &replies {
        assert!([201, 400, 404, 416].contains(&reply.status), "{reply:?}");
    }
    expect_stored(&server, &digest, &bytes).await;
}

#[tokio::test]
async fn bytes_that_came_before_a_connection_broke_are_kept() {
    let server = TestServer::start().await;
    let bytes = noise("broken", 200_000);
    let location = begin(&server).await;
    let path = location
        .split_once("/v2/")
        .map(|(_, path)| format!("/v2/{path}"))
        .unwrap();
    let mut connection = RawConnection::open(server.address()).await;
    let head = format!(
        "PATCH {path} HTTP/1.1\r\nHost: registry\r\nContent-Type: application/octet-stream\r\n\
         Content-Length: {}\r\n\r\n",
        bytes.len()
    );
    connection.send(head).await;
    connection.send(&bytes[..120_000]).await;
    drop(connection);

    // The server may still be reading what lies in its socket, so the offset is asked for until then.
    let started = std::time::Instant::now();
    let arrived = loop {
        let range = range_of(&server, &location).await;
        let end: usize = range.strip_prefix("0-").unwrap().parse().unwrap();
        if end > 0 {
            break end + 1;
        }
        assert!(started.elapsed() < PATIENCE, "nothing was kept");
    };
    assert!(arrived <= 120_000, "{arrived}");
    let digest = digest_of(Algorithm::Sha256, &bytes);
    let rest = server
        .client()
        .chunk(&location, arrived, &bytes.slice(arrived..))
        .await;
    rest.expect_status(202);
    let finish = server
        .client()
        .finish_upload(&location, &digest, &Bytes::new());
    finish.await.expect_status(201);
    expect_stored(&server, &digest, &bytes).await;
}

#[tokio::test]
async fn an_upload_larger_than_any_buffer_is_hashed_as_it_comes() {
    let server = TestServer::start().await;
    let bytes = noise("large", 9 * 1024 * 1024);
    for algorithm in ALGORITHMS {
        let digest = digest_of(algorithm, &bytes);
        server
            .client()
            .push_blob_as(REPOSITORY, &bytes, &digest)
            .await;
        expect_stored(&server, &digest, &bytes).await;
    }
}
