//! Request bodies that the handler does not want, in whole or in part.

use std::time::Duration;

use http::StatusCode;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::{Client, PIPE, echo, echoes, handler, refuse_all, respond, status_of};
use crate::http::server::Limits;

const LAST: &str = "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_refused_body_is_discarded_and_the_connection_goes_on() {
    for framing in ["Content-Length: 300000", "Transfer-Encoding: chunked"] {
        let mut client = Client::connect_with(refuse_all(), Limits::default(), 4096);
        client
            .send(format!("PUT / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"))
            .await;
        let answer = client.read_until("<no>").await;
        assert_eq!(
            status_of(&answer),
            "401",
            "the answer does not wait for the body"
        );
        if framing.starts_with('T') {
            client.send(format!("{:x}\r\n", 300_000)).await;
        }
        client.send(vec![b'x'; 300_000]).await;
        if framing.starts_with('T') {
            client.send("\r\n0\r\n\r\n").await;
        }
        client.send(LAST).await;
        assert_eq!(echoes(&client.read_to_end().await), ["<no>"], "{framing}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_left_halfway_is_discarded_too() {
    let tasting = handler(|request| async {
        let first = request
            .into_body()
            .chunk()
            .await
            .is_some_and(|chunk| chunk.is_ok());
        respond(StatusCode::PAYLOAD_TOO_LARGE, format!("<{first}>"))
    });
    let mut client = Client::connect_with(tasting, Limits::default(), 4096);
    client
        .send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n")
        .await;
    client.send(vec![b'x'; 300_000]).await;
    client
        .send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx")
        .await;
    assert_eq!(echoes(&client.read_to_end().await), ["<true>", "<true>"]);
}

#[tokio::test(start_paused = true)]
async fn discarding_stops_at_its_bytes() {
    let limits = Limits {
        discard_bytes: 100_000,
        ..Limits::default()
    };
    let mut client = Client::connect_with(refuse_all(), limits, 4096);
    client
        .send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        .await;
    client.read_until("<no>").await;
    let begin = Instant::now();
    let mut sent = 0;
    while client.io.write_all(&[b'x'; 1000]).await.is_ok() {
        sent += 1000;
    }
    assert!((100_000..180_000).contains(&sent), "{sent}");
    assert!(begin.elapsed().is_zero());
}

#[tokio::test(start_paused = true)]
async fn discarding_stops_at_its_time() {
    let mut client = Client::connect(refuse_all());
    client
        .send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        .await;
    let begin = Instant::now();
    client.read_until("<no>").await;
    assert!(begin.elapsed().is_zero());
    assert_eq!(client.read_to_end().await, "");
    assert_eq!(begin.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn discarding_in_another_task_after_the_response_works_as_well() {
    let keeping = handler(|request| async {
        let body = request.into_body();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(3)).await;
            drop(body);
        });
        respond(StatusCode::OK, "<later>")
    });
    let mut client = Client::connect(keeping);
    client
        .send(format!(
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody{LAST}"
        ))
        .await;
    let answer = client.read_to_end().await;
    assert_eq!(echoes(&answer), ["<later>", "<later>"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_for_continue_is_never_asked_for_an_unwanted_body() {
    let mut client = Client::connect(refuse_all());
    let begin = Instant::now();
    client
        .send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        .await;
    let answer = client.read_until("<no>").await;
    assert_eq!(status_of(&answer), "401");
    client.io.shutdown().await.unwrap();
    assert_eq!(client.read_to_end().await, "");
    assert!(begin.elapsed().is_zero());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_failed_closes_its_connection_however_late_it_is_dropped() {
    let keeping = handler(|request| async {
        let mut body = request.into_body();
        while body.chunk().await.is_some() {}
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(3)).await;
            drop(body);
        });
        respond(StatusCode::REQUEST_TIMEOUT, "<stalled>")
    });
    let mut client = Client::connect(keeping);
    let begin = Instant::now();
    client
        .send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        .await;
    assert_eq!(echoes(&client.read_to_end().await), ["<stalled>"]);
    assert_eq!(begin.elapsed().as_secs(), 63);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_for_continue_gets_it_when_the_body_is_wanted() {
    let mut client = Client::connect(echo());
    client
        .send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(
        client.read_until("\r\n\r\n").await,
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    client.send("body").await;
    assert_eq!(status_of(&client.read_until("<PUT / body>").await), "200");
}

#[tokio::test(start_paused = true)]
async fn a_body_cut_short_is_an_error_after_the_bytes_that_came() {
    let counting = handler(|request| async {
        let mut body = request.into_body();
        let mut bytes = 0;
        let mut end = None;
        assert!(!body.is_polled() && !body.is_ended());
        while let Some(chunk) = body.chunk().await {
            match chunk {
                Ok(chunk) => bytes += chunk.len(),
                Err(error) => end = Some(error.kind()),
            }
        }
        assert!(body.is_polled() && !body.is_ended());
        respond(StatusCode::OK, format!("<{bytes} {end:?}>"))
    });
    for framing in [
        "Content-Length: 4000\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nfff\r\n",
    ] {
        let mut client = Client::connect_with(counting.clone(), Limits::default(), PIPE);
        client
            .send(format!("PUT / HTTP/1.1\r\nHost: a\r\n{framing}"))
            .await;
        client.send(vec![b'x'; 3000]).await;
        client.io.shutdown().await.unwrap();
        let answer = client.read_to_end().await;
        assert_eq!(
            echoes(&answer),
            ["<3000 Some(UnexpectedEof)>"],
            "{framing:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_body_has_ended_from_the_start() {
    let asking = handler(|request| async {
        let mut body = request.into_body();
        let ended = body.is_ended();
        respond(
            StatusCode::OK,
            format!("<{ended} {}>", body.chunk().await.is_none()),
        )
    });
    for fields in ["", "Content-Length: 0\r\n"] {
        let mut client = Client::connect(asking.clone());
        client
            .send(format!(
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n"
            ))
            .await;
        assert_eq!(echoes(&client.read_to_end().await), ["<true true>"]);
    }
}
