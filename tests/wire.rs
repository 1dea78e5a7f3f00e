//! The bytes on the wire: what two parties could read in two ways is refused, and every client reads
//! its answer.

use crate::support::binary::{Served, seawall};
use crate::support::images::{Algorithm, Recipe, digest_of, noise};
use crate::support::raw::{RawConnection, exchange};
use crate::support::server::TestServer;

/// Returns the path of a fresh upload, without its query.
async fn upload_path(server: &TestServer) -> String {
    let location = server.client().start_upload("team/app").await;
    let path = location.split_once("/v2/").unwrap().1;
    format!("/v2/{path}")
}

#[tokio::test]
async fn lengths_that_can_be_read_in_two_ways_are_400_and_close() {
    let server = TestServer::start().await;
    for length in [
        "Content-Length: 2\r\nContent-Length: 2",
        "Content-Length: 2\r\nContent-Length: 3",
        "Content-Length: 2, 2",
        "Content-Length: +2",
        "Content-Length: -2",
        "Content-Length: 0x2",
        "Content-Length: 2 2",
        "Content-Length: ",
        "Content-Length: 99999999999999999999999999",
        "Content-Length : 2",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
    ] {
        let path = upload_path(&server).await;
        let request = format!("PATCH {path} HTTP/1.1\r\nHost: registry\r\n{length}\r\n\r\nab");
        let mut connection = RawConnection::open(server.address()).await;
        connection.send(request).await;
        let reply = connection
            .response()
            .await
            .expect("an answer before the close");
        assert!([400, 501].contains(&reply.status), "{length}: {reply:?}");
        assert!(connection.is_closed_by_server().await, "{length}");
        let status = server.client().get(&path).await.expect_status(204);
        assert_eq!(status.need("range"), "0-0", "{length}");
    }
}

#[tokio::test]
async fn folded_headers_are_400_and_close() {
    let server = TestServer::start().await;
    for fold in [" ", "\t"] {
        let request =
            format!("GET /v2/ HTTP/1.1\r\nHost: registry\r\nX-Long: a\r\n{fold}b\r\n\r\n");
        let mut connection = RawConnection::open(server.address()).await;
        connection.send(request).await;
        let reply = connection
            .response()
            .await
            .expect("an answer before the close");
        assert_eq!(reply.status, 400);
        assert!(connection.is_closed_by_server().await);
    }
}

#[tokio::test]
async fn a_tls_hello_is_answered_in_plain_http() {
    let server = TestServer::start().await;
    let mut hello = vec![
        0x16, 0x03, 0x01, 0x00, 0xf4, 0x01, 0x00, 0x00, 0xf0, 0x03, 0x03,
    ];
    hello.extend_from_slice(&noise("client random", 233));
    let mut connection = RawConnection::open(server.address()).await;
    connection.send(&hello).await;
    let reply = connection.response().await.expect("not a bare close");
    assert_eq!(reply.status, 400);
    assert!(connection.is_closed_by_server().await);
}

#[tokio::test]
async fn a_client_that_sends_a_big_body_still_reads_an_early_refusal() {
    let server = TestServer::start().await;
    let body = noise("unwanted", 24 * 1024 * 1024);
    let unknown = "/v2/team/app/blobs/uploads/00000000-0000-4000-8000-000000000000";
    let mut connection = RawConnection::open(server.address()).await;
    let head = format!(
        "PATCH {unknown} HTTP/1.1\r\nHost: registry\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    connection.send(head).await;
    connection.send(&body).await;
    let reply = connection.response().await.expect("the refusal arrives");
    assert_eq!(reply.status, 404);
    assert_eq!(reply.error_code(), "BLOB_UPLOAD_UNKNOWN");

    let manifest = server.client().put("/v2/team/app/manifests/v1");
    let reply = manifest.body(body).await;
    assert_eq!(reply.status, 413, "{reply:?}");
}

#[tokio::test]
async fn transfer_encoding_alone_counts_and_the_connection_stays_in_step() {
    let server = TestServer::start().await;
    let bytes = b"0123456789";
    let digest = digest_of(Algorithm::Sha256, bytes);
    for length in [0, 3, 10, 4000] {
        let request = format!(
            "POST /v2/team/app/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: registry\r\n\
             Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n\
             a\r\n0123456789\r\n0\r\n\r\n"
        );
        let mut connection = RawConnection::open(server.address()).await;
        connection.send(request).await;
        let reply = connection.response().await.expect("an answer");
        assert!([201, 400].contains(&reply.status), "{length}: {reply:?}");
        connection
            .send("GET /v2/team/app/tags/list HTTP/1.1\r\nHost: registry\r\n\r\n")
            .await;
        if let Some(next) = connection.response().await {
            assert_eq!(next.status, 404, "{length}: {next:?}");
            assert_eq!(next.error_code(), "NAME_UNKNOWN");
        }
    }
}

#[tokio::test]
async fn a_request_hidden_in_a_body_is_not_served_from_the_inside() {
    let server = TestServer::start().await;
    let hidden = "DELETE /v2/team/app/manifests/v1 HTTP/1.1\r\nHost: registry\r\n\r\n";
    let image = Recipe::image("target").build();
    server.client().push("team/app", &image, &["v1"]).await;
    let path = upload_path(&server).await;
    let request = format!(
        "PATCH {path} HTTP/1.1\r\nHost: registry\r\nContent-Length: {}\r\n\r\n{hidden}",
        hidden.len()
    );
    let mut connection = RawConnection::open(server.address()).await;
    connection.send(request).await;
    let reply = connection.response().await.expect("an answer");
    assert_eq!(reply.status, 202);
    connection.finish_sending().await;
    assert!(
        connection.is_closed_by_server().await,
        "nothing else was answered"
    );
    server
        .client()
        .get("/v2/team/app/manifests/v1")
        .await
        .expect_status(200);
}

#[tokio::test]
async fn an_encoded_request_body_is_415() {
    let server = TestServer::start().await;
    let location = server.client().start_upload("team/app").await;
    for encoding in ["gzip", "zstd", "deflate", "br"] {
        let call = server.client().patch(&location).body(noise("x", 100));
        let reply = call.header("content-encoding", encoding).await;
        reply.expect_status(415).expect_plain_error();
        let call = server.client().put("/v2/team/app/manifests/v1").body("{}");
        let reply = call.header("content-encoding", encoding).await;
        reply.expect_status(415).expect_plain_error();
    }
    let status = server.client().get(&location).await.expect_status(204);
    assert_eq!(status.need("range"), "0-0");
}

#[tokio::test]
async fn requests_in_a_row_are_answered_in_order() {
    let server = TestServer::start().await;
    let mut connection = RawConnection::open(server.address()).await;
    let one = "HEAD /v2/team/app/tags/list HTTP/1.1\r\nHost: registry\r\n\r\n";
    let two = "GET /v2/ HTTP/1.1\r\nHost: registry\r\n\r\n";
    let three = "GET /v2/UPPER/tags/list HTTP/1.1\r\nHost: registry\r\n\r\n";
    connection.send(format!("{one}{two}{three}")).await;
    assert_eq!(connection.response_to("HEAD").await.unwrap().status, 404);
    assert_eq!(connection.response().await.unwrap().status, 200);
    assert_eq!(connection.response().await.unwrap().status, 400);
}

#[tokio::test]
async fn a_client_that_expects_a_continue_gets_it_only_where_its_body_is_wanted() {
    let server = TestServer::start().await;
    let ask = |path: &str| {
        format!(
            "PATCH {path} HTTP/1.1\r\nHost: registry\r\nExpect: 100-continue\r\n\
             Content-Length: 5\r\n\r\n"
        )
    };
    let path = upload_path(&server).await;
    let mut connection = RawConnection::open(server.address()).await;
    connection.send(ask(&path)).await;
    assert_eq!(connection.response().await.unwrap().status, 100);
    connection.send("12345").await;
    assert_eq!(connection.response().await.unwrap().status, 202);

    let unknown = "/v2/team/app/blobs/uploads/00000000-0000-4000-8000-000000000000";
    let reply = exchange(server.address(), &ask(unknown)).await.unwrap();
    assert_eq!(reply.status, 404);
}

#[tokio::test]
async fn broken_chunks_add_nothing_that_was_not_framed() {
    let server = TestServer::start().await;
    for broken in [
        "zz\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcdef\r\n0\r\n\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
    ] {
        let path = upload_path(&server).await;
        let request = format!(
            "PATCH {path} HTTP/1.1\r\nHost: registry\r\nTransfer-Encoding: chunked\r\n\r\n{broken}"
        );
        let reply = exchange(server.address(), &request).await;
        if let Some(reply) = reply {
            assert!((400..500).contains(&reply.status), "{broken:?}: {reply:?}");
        }
        let status = server.client().get(&path).await.expect_status(204);
        assert!(["0-0", "0-2"].contains(&status.need("range")), "{broken:?}");
    }
}

#[tokio::test]
async fn endless_headers_are_refused() {
    let server = TestServer::start().await;
    let long = "a".repeat(2 * 1024 * 1024);
    let request = format!("GET /v2/ HTTP/1.1\r\nHost: registry\r\nX-Long: {long}\r\n\r\n");
    if let Some(reply) = exchange(server.address(), &request).await {
        assert!([400, 431].contains(&reply.status), "{reply:?}");
    }
    let many: String = (0..500)
        .map(|number| format!("X-{number}: a\r\n"))
        .collect();
    let request = format!("GET /v2/ HTTP/1.1\r\nHost: registry\r\n{many}\r\n");
    if let Some(reply) = exchange(server.address(), &request).await {
        assert!([400, 431].contains(&reply.status), "{reply:?}");
    }
    server.client().get("/v2/").await.expect_status(200);
}

#[tokio::test]
async fn the_access_log_tells_the_bytes_that_were_sent_not_those_that_were_announced() {
    const LARGE: usize = 32 << 20;
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("config.yml");
    std::fs::write(
        &config,
        "version: 0.1\nhttp: {addr: '127.0.0.1:0'}\nstorage: {filesystem: {rootdirectory: data}}\n",
    )
    .unwrap();
    let served = Served::start(seawall(home.path()).arg("serve").arg(&config)).await;
    let client = served.client();
    let digest = client.push_blob("team/app", &noise("large", LARGE)).await;
    let path = format!("/v2/team/app/blobs/{digest}");
    let logged = |method: &str| -> Vec<usize> {
        let line = format!("\"{method} {path} HTTP/1.1\" 200 ");
        let screen = served.screen();
        let counts = screen.lines().filter_map(|shown| {
            let (_, rest) = shown.split_once(&line)?;
            rest.split(' ').next()?.parse().ok()
        });
        counts.collect()
    };
    client.head(&path).await.expect_status(200);
    client.until("HEAD", || logged("HEAD") == [0]).await;
    client.get(&path).await.expect_status(200);
    client.until("GET", || logged("GET") == [LARGE]).await;
    let mut broken = client.get(&path).begin().await;
    broken.read_at_least(1).await;
    drop(broken);
    client.until("a break", || logged("GET").len() == 2).await;
    let sent = logged("GET")[1];
    assert!(0 < sent && sent < LARGE, "{sent}");
}
