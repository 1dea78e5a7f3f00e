//! What ends a connection and what must not, on a clock that only moves when everybody waits.

use std::convert::Infallible;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::{Client, echo, echoes, handler, respond, status_of};
use crate::http::server::Limits;
use crate::http::server::connection::Stage;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_silent_connection_closes_after_the_idle_time() {
    let begin = Instant::now();
    let mut client = Client::connect(echo());
    assert_eq!(client.read_to_end().await, "");
    assert_eq!(begin.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn the_idle_time_begins_anew_after_each_response() {
    let mut client = Client::connect(echo());
    for _ in 0..5 {
        sleep(50 * SECOND).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.read_until("<GET / >").await;
    }
    let begin = Instant::now();
    assert_eq!(client.read_to_end().await, "");
    assert_eq!(begin.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn blank_lines_do_not_keep_an_idle_connection() {
    let begin = Instant::now();
    let mut client = Client::connect(echo());
    for _ in 0..59 {
        client.send("\r\n").await;
        sleep(SECOND).await;
    }
    assert_eq!(client.read_to_end().await, "");
    assert_eq!(begin.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_head_has_ten_seconds_from_its_first_byte_however_it_drips() {
    let mut client = Client::connect(echo());
    sleep(55 * SECOND).await;
    let begin = Instant::now();
    let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for byte in &head[..10] {
        client.send([*byte]).await;
        sleep(Duration::from_millis(990)).await;
    }
    let answer = client.read_until("\r\n\r\n").await;
    assert_eq!(status_of(&answer), "400");
    assert_eq!(begin.elapsed().as_secs(), 10);
    client.read_to_end().await;
    assert!(begin.elapsed() <= 15 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_second_head_has_its_ten_seconds_after_a_slow_response() {
    let slow = handler(|_| async {
        sleep(30 * SECOND).await;
        respond(StatusCode::OK, "<slow>")
    });
    let mut client = Client::connect(slow);
    let begin = Instant::now();
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT")
        .await;
    client.read_until("<slow>").await;
    assert_eq!(begin.elapsed().as_secs(), 30);
    assert_eq!(status_of(&client.read_until("\r\n\r\n").await), "400");
    assert_eq!(begin.elapsed().as_secs(), 40);
}

#[tokio::test(start_paused = true)]
async fn a_slow_handler_is_not_cut() {
    let slow = handler(|_| async {
        sleep(3600 * SECOND).await;
        respond(StatusCode::OK, "<slow>")
    });
    let mut client = Client::connect(slow);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.read_until("<slow>").await;
}

#[tokio::test(start_paused = true)]
async fn a_response_that_comes_slowly_is_not_cut() {
    let dripping = handler(|_| async {
        let drops = stream::unfold(0, |n| async move {
            sleep(300 * SECOND).await;
            (n < 5).then_some((Ok::<_, Infallible>(Frame::data(Bytes::from("drop"))), n + 1))
        });
        Response::new(
            StreamBody::new(drops)
                .map_err(|never| match never {})
                .boxed_unsync(),
        )
    });
    let mut client = Client::connect(dripping);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let answer = client.read_until("0\r\n\r\n").await;
    assert_eq!(answer.matches("drop").count(), 5);
}

/// Connects over a pipe that holds next to nothing and asks for a large response.
async fn ask_for_much(pipe: usize, bytes: usize) -> Client {
    let big = handler(move |_| async move { respond(StatusCode::OK, vec![b'x'; bytes]) });
    let mut client = Client::connect_with(big, Limits::default(), pipe);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_a_byte_now_and_then_is_not_cut() {
    let mut client = ask_for_much(64, 200).await;
    client.read_until("\r\n\r\n").await;
    for read in 0..200 {
        sleep(59 * SECOND).await;
        let byte = client.io.read_u8().await;
        assert!(byte.is_ok(), "cut after {read} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_cut_after_a_minute() {
    let begin = Instant::now();
    let mut client = ask_for_much(64, 20_000).await;
    client.stage.closed().await;
    assert_eq!(begin.elapsed().as_secs(), 60);
    assert_eq!(client.read_to_end().await.len(), 64);
}

#[tokio::test(start_paused = true)]
async fn the_minute_for_a_write_begins_anew_when_some_of_it_was_taken() {
    let begin = Instant::now();
    let mut client = ask_for_much(64, 20_000).await;
    for _ in 0..5 {
        sleep(50 * SECOND).await;
        client.io.read_u8().await.unwrap();
    }
    client.stage.closed().await;
    assert_eq!(begin.elapsed().as_secs(), 5 * 50 + 60);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_write_is_cut_while_the_body_is_still_being_made() {
    let (dropped, body_is_gone) = oneshot::channel::<Infallible>();
    let dropped = Mutex::new(Some(dropped));
    let endless = handler(move |_| {
        let alive = dropped.lock().unwrap().take();
        let pieces = stream::unfold(alive, |alive| async {
            sleep(SECOND).await; // wakes the connection again and again
            let piece = Frame::data(Bytes::from_static(&[b'x'; 100]));
            Some((Ok::<_, io::Error>(piece), alive))
        });
        async { Response::new(StreamBody::new(pieces).boxed_unsync()) }
    });
    let begin = Instant::now();
    let mut client = Client::connect_with(endless, Limits::default(), 1024);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(body_is_gone.await.is_err());
    let cut_after = begin.elapsed().as_secs();
    assert!((60..75).contains(&cut_after), "{cut_after} s");
    client.stage.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_on_but_never_reads_is_cut_too() {
    let begin = Instant::now();
    let mut client = ask_for_much(64, 20_000).await;
    while begin.elapsed() < 59 * SECOND {
        // Past the first bytes nothing is read from it, so the pipe fills.
        let _ = timeout(SECOND, client.io.write_all(b"G")).await;
        sleep(SECOND).await;
    }
    client.stage.closed().await;
    assert_eq!(begin.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stalls_fails_to_read_and_the_answer_is_sent() {
    let mut client = Client::connect(echo());
    client
        .send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n")
        .await;
    let begin = Instant::now();
    for _ in 0..3 {
        sleep(59 * SECOND).await;
        client.send("a").await;
    }
    let answer = client.read_until(">").await;
    assert_eq!(echoes(&answer), ["<TimedOut>"]);
    assert_eq!(begin.elapsed().as_secs(), 3 * 59 + 60);
    client.read_to_end().await;
    assert!(begin.elapsed().as_secs() <= 3 * 59 + 65);
}

#[tokio::test(start_paused = true)]
async fn a_slow_consumer_of_a_body_is_not_a_stall() {
    let slow = handler(|request| async {
        let mut body = request.into_body();
        let mut chunks = 0;
        while let Some(chunk) = body.chunk().await {
            assert!(chunk.is_ok());
            chunks += 1;
            sleep(600 * SECOND).await;
        }
        respond(StatusCode::OK, format!("<{}>", chunks > 1))
    });
    let mut client = Client::connect(slow);
    client
        .send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n")
        .await;
    client.send(vec![b'x'; 200_000]).await;
    client.read_until("<true>").await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_closes_idle_connections_at_once_and_lets_the_others_finish() {
    let slow = || {
        handler(|_| async {
            sleep(5 * SECOND).await;
            respond(StatusCode::OK, "<slow>")
        })
    };
    let begin = Instant::now();
    let mut fresh = Client::connect(slow());
    let mut used = Client::connect(slow());
    used.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    used.read_until("<slow>").await;
    let mut busy = Client::connect(slow());
    busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    tokio::task::yield_now().await;

    for client in [&fresh, &used, &busy] {
        client.stage.send_replace(Stage::Draining);
    }
    assert_eq!(fresh.read_to_end().await, "");
    assert_eq!(used.read_to_end().await, "");
    assert_eq!(begin.elapsed().as_secs(), 5);
    let answer = busy.read_to_end().await;
    assert_eq!(echoes(&answer), ["<slow>"]);
    assert!(answer.contains("connection: close"), "{answer:?}");
    assert_eq!(begin.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_response_body_that_fails_breaks_the_connection_before_its_end() {
    let broken = handler(|_| async {
        let frames = [
            Ok(Frame::data(Bytes::from("half"))),
            Err(io::Error::other("gone")),
        ];
        Response::new(StreamBody::new(stream::iter(frames)).boxed_unsync())
    });
    let mut client = Client::connect(broken);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let begin = Instant::now();
    let answer = client.read_to_end().await;
    assert!(!answer.ends_with("0\r\n\r\n"), "{answer:?}");
    assert!(begin.elapsed().is_zero());
}
