//! What the guard and hyper together make of bytes: refusals, framing, and never a desync.

use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Client, echo, echoes, exchange, handler, respond, status_of};
use crate::http::server::Limits;
use crate::http::server::guard::{Guard, TLS_ANSWER};
use crate::http::server::wire::Wire;

/// Follows the bad request in the same packet; its echo would show that it was taken for a request.
const SECOND: &str = "GET /second HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn heads_with_two_readings_are_refused_and_the_connection_closes() {
    for fields in [
        "Content-Length: 1\r\nContent-Length: 1",
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: +1",
        "Content-Length: -1",
        "Content-Length: 1, 1",
        "Content-Length: 0x1",
        "Content-Length:",
        "Content-Length: 18446744073709551614",
        "Content-Length: 18446744073709551615",
        "Content-Length: 18446744073709551616",
        "Content-Length: 99999999999999999999",
        "Host: a",
        "Host: b",
        "host:",
        "X: a\r\n folded",
        "X: a\r\n\tfolded",
        " X: a",
        "Content-Length : 1",
        "X: a\rContent-Length: 1",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 1\r\nContent-Length: 1",
    ] {
        let request = format!("PUT /first HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\nx{SECOND}");
        let answer = exchange(echo(), &request).await;
        assert_eq!(status_of(&answer), "400", "{fields:?}");
        assert_eq!(
            answer.matches("HTTP/1.1").count(),
            1,
            "{fields:?}: {answer:?}"
        );

        let mut client = Client::connect(echo());
        for byte in request.as_bytes() {
            client.send([*byte]).await;
            tokio::task::yield_now().await;
        }
        client.io.shutdown().await.unwrap();
        assert_eq!(
            status_of(&client.read_to_end().await),
            "400",
            "byte by byte: {fields:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_names_its_host_once_and_well() {
    for (head, status) in [
        ("GET / HTTP/1.1\r\n", "400"),
        ("GET / HTTP/1.1\r\nX-Host: a\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a b\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n", "400"),
        ("GET http://a/ HTTP/1.1\r\nHost:\r\n", "400"),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n", "400"),
        ("GET / HTTP/1.0\r\nHost: a@b\r\n", "400"),
        ("GET / HTTP/1.0\r\n", "200"),
        ("GET / HTTP/1.1\r\nHost:\r\n", "200"),
        ("GET / HTTP/1.1\r\nhOST: [::1]:5000\r\n", "200"),
        ("GET http://a/ HTTP/1.1\r\nHost: a\r\n", "200"),
    ] {
        let request = format!("{head}Connection: close\r\n\r\n{SECOND}");
        let answer = exchange(echo(), request).await;
        assert_eq!(status_of(&answer), status, "{head:?}: {answer:?}");
        assert!(!answer.contains("/second"), "{head:?}: {answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_does_not_wait_for_the_end_of_the_head() {
    let mut client = Client::connect(echo());
    client
        .send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: +1")
        .await;
    let begin = tokio::time::Instant::now();
    assert_eq!(status_of(&client.read_until("\r\n\r\n").await), "400");
    assert!(begin.elapsed().is_zero());
}

#[tokio::test(start_paused = true)]
async fn transfer_encoding_in_http_1_0_is_refused() {
    let request = "PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(status_of(&exchange(echo(), request).await), "400");
}

#[tokio::test(start_paused = true)]
async fn an_offence_in_the_second_request_spares_the_first() {
    let mut client = Client::connect(handler(|_| async {
        tokio::time::sleep(std::time::Duration::from_secs(30)).await;
        respond(StatusCode::OK, "<slow>")
    }));
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n")
        .await;
    let answer = client.read_to_end().await;
    assert_eq!(echoes(&answer), ["<slow>"]);
    assert!(answer.contains("HTTP/1.1 400"), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn transfer_encoding_beats_content_length_and_the_connection_closes() {
    for fields in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
        "Transfer-Encoding: chunked\r\nContent-Length: 5000",
    ] {
        let request =
            format!("PUT /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n4\r\nabcd\r\n0\r\n\r\n{SECOND}");
        let answer = exchange(echo(), request).await;
        assert_eq!(echoes(&answer), ["<PUT /a abcd>"], "{fields:?}");
        assert!(answer.contains("connection: close"), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn pipelined_requests_of_every_framing_are_kept_apart_at_every_cut() {
    let stream = "\r\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\n\
        PUT /2 HTTP/1.1\r\nHost: a\r\nContent-Length: \t 18 \r\n\r\nGET /x HTTP/1.1\r\n\r\
        PUT /3 HTTP/1.1\r\nHost: a\r\ntransfer-encoding: Chunked\r\n\r\n3;e=1\r\nabc\r\n5 \r\nd\r\n\r\n\r\n0\r\nT: 1\r\n\r\n\
        \r\n\nGET /4 HTTP/1.1\nHost: a\nContent-Length: 2\n\nhi\
        DELETE /5 HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n\
        GET /6 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        .as_bytes();
    let expected = [
        "<GET /1 >",
        "<PUT /2 GET /x HTTP/1.1\r\n\r>",
        "<PUT /3 abcd\r\n\r\n>",
        "<GET /4 hi>",
        "<DELETE /5 >",
        "<GET /6 >",
    ];
    for cut in 1..=stream.len() {
        let mut client = Client::connect(echo());
        client.send(&stream[..cut]).await;
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        client.send(&stream[cut..]).await;
        let answer = client.read_to_end().await;
        assert_eq!(echoes(&answer), expected, "cut at {cut}");
    }
}

#[tokio::test(start_paused = true)]
async fn broken_chunks_fail_the_body_and_close() {
    for chunks in [
        "x\r\n",
        "3\r\nabcd\r\n",
        "3\nabc\n0\n\n",
        "fffffffffffffffff\r\n",
    ] {
        let head = "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answer = exchange(echo(), format!("{head}{chunks}{SECOND}")).await;
        assert_eq!(status_of(&answer), "400", "{chunks:?}");
        assert!(!answer.contains("/second"), "{chunks:?}: {answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tls_hello_gets_an_http_answer() {
    let answer = exchange(
        echo(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and more",
    )
    .await;
    assert_eq!(answer.as_bytes(), TLS_ANSWER);
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}", body.len())));
}

#[tokio::test(start_paused = true)]
async fn oversized_heads_are_431_and_long_paths_below_that_reach_the_handler() {
    let many: String = (0..101).map(|n| format!("X{n}: y\r\n")).collect();
    let answer = exchange(echo(), format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n")).await;
    assert_eq!(status_of(&answer), "431");

    let long = "a".repeat(70_000);
    let answer = exchange(
        echo(),
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"),
    )
    .await;
    assert_eq!(status_of(&answer), "431");

    let path = "a".repeat(60_000);
    let request = format!("GET /{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(status_of(&exchange(echo(), request).await), "200");
}

#[tokio::test(start_paused = true)]
async fn a_request_for_an_upgrade_gets_its_whole_answer() {
    let big = handler(|_| async { respond(StatusCode::OK, vec![b'x'; 300_000]) });
    let fields = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA";
    for framing in [
        "Connection: close",
        "Content-Length: 4\r\nExpect: 100-continue",
    ] {
        let mut client = Client::connect_with(big.clone(), Limits::default(), 64);
        client
            .send(format!(
                "PUT / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{framing}\r\n\r\n"
            ))
            .await;
        let answer = client.read_to_end().await;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(body.len(), 300_000, "{framing:?}");
    }
}

#[tokio::test]
async fn what_hyper_reads_of_a_refused_head_is_spoilt_and_ends() {
    let stream =
        b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut guard = Guard::new(&stream[..], Wire::new(), Limits::default());
    let mut read = Vec::new();
    guard.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n\0\r\n\r\n");
}

#[tokio::test(start_paused = true)]
async fn a_panic_becomes_500_and_the_connection_goes_on() {
    let moody = handler(|request| {
        assert!(request.uri().path() != "/at-once", "in a very bad mood");
        async move {
            assert!(request.uri().path() != "/later", "in a bad mood");
            respond(StatusCode::OK, "<fine>")
        }
    });
    for path in ["/at-once", "/later"] {
        let last = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n{last}");
        let answer = exchange(moody.clone(), request).await;
        assert_eq!(status_of(&answer), "500");
        let json = r#"{"errors":[{"code":"UNKNOWN","message":"internal error"}]}"#;
        assert!(answer.contains(json), "{answer:?}");
        assert!(
            answer.contains("content-type: application/json"),
            "{answer:?}"
        );
        assert_eq!(echoes(&answer), ["<fine>"]);
    }
}
