//! Over real sockets: what only the kernel can show, above all that no reset eats an answer.

#[cfg(target_os = "linux")]
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
#[cfg(target_os = "linux")]
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::{echo, echoes, handler, refuse_all, respond, status_of, text};
#[cfg(target_os = "linux")]
use crate::http::server::listener::{UNSENT_BYTES, poll_accept};
use crate::http::server::{Handler, Limits, PeerInfo, Server, bind};

fn start(handler: Handler) -> Server {
    Server::start(bind("127.0.0.1:0").unwrap(), handler, Limits::default()).unwrap()
}

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.addresses()[0]).await.unwrap()
}

async fn read_to_end(stream: &mut TcpStream) -> io::Result<String> {
    let mut read = Vec::new();
    stream.read_to_end(&mut read).await?;
    Ok(text(&read))
}

/// Writes everything before it reads anything, as docker does with a layer.
async fn write_then_read(server: &Server, head: &str, body: &[u8]) -> io::Result<String> {
    let mut stream = connect(server).await;
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await?;
    Ok(text(&answer))
}

#[tokio::test]
async fn a_client_that_sends_first_reads_the_early_refusal() {
    let server = start(refuse_all());
    let body = vec![b'x'; 16 * 1024 * 1024];
    let head = format!(
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let answer = write_then_read(&server, &head, &body).await.unwrap();
    assert_eq!(status_of(&answer), "401");
}

#[tokio::test]
async fn a_client_that_sends_first_reads_the_refusal_of_its_head() {
    let server = start(echo());
    let body = vec![b'x'; 16 * 1024 * 1024];
    for head in [
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 16777216\r\nContent-Length: 16777216\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: a\r\nX: \0\r\nContent-Length: 16777216\r\n\r\n",
        "\x16\x03\x01",
    ] {
        let answer = write_then_read(&server, head, &body).await.unwrap();
        assert_eq!(status_of(&answer), "400", "{head:?}");
    }
}

#[tokio::test]
async fn the_handler_is_told_who_asks() {
    let told: Handler = Arc::new(|_, peer: PeerInfo| {
        Box::pin(async move { respond(StatusCode::OK, format!("<{peer}>")) })
    });
    let server = Server::start(bind(":0").unwrap(), told, Limits::default()).unwrap();
    let port = server.addresses()[0].port();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let answer = read_to_end(&mut stream).await.unwrap();
    assert_eq!(
        echoes(&answer),
        [format!("<{}>", stream.local_addr().unwrap())]
    );
}

#[tokio::test]
async fn a_drain_waits_for_running_requests_alone() {
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begins, goes_on) = (Arc::clone(&begun), Arc::clone(&go_on));
    let server = start(handler(move |_| {
        let (begins, goes_on) = (Arc::clone(&begins), Arc::clone(&goes_on));
        async move {
            begins.notify_one();
            goes_on.notified().await;
            respond(StatusCode::OK, "<done>")
        }
    }));
    let address = server.addresses()[0];
    let mut idle = connect(&server).await;
    let mut busy = connect(&server).await;
    busy.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    begun.notified().await;

    let draining = tokio::spawn(server.drain(Duration::from_secs(3600)));
    assert_eq!(read_to_end(&mut idle).await.unwrap(), "");
    assert!(!draining.is_finished());
    assert!(
        TcpStream::connect(address).await.is_err(),
        "new connections are not taken"
    );
    go_on.notify_one();
    assert_eq!(echoes(&read_to_end(&mut busy).await.unwrap()), ["<done>"]);
    assert_eq!(draining.await.unwrap(), 0);
}

#[tokio::test]
async fn a_drain_cuts_what_is_left_after_its_time() {
    let begun = Arc::new(Notify::new());
    let begins = Arc::clone(&begun);
    let server = start(handler(move |_| {
        begins.notify_one();
        std::future::pending()
    }));
    let mut stuck = connect(&server).await;
    stuck
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    begun.notified().await;
    assert_eq!(server.drain(Duration::from_millis(20)).await, 1);
    assert_eq!(read_to_end(&mut stuck).await.unwrap_or_default(), "");
}

#[tokio::test]
async fn a_dropped_server_stops_at_once() {
    let server = start(echo());
    let mut idle = connect(&server).await;
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    idle.read_u8().await.unwrap();
    drop(server);
    assert!(read_to_end(&mut idle).await.unwrap().contains("<GET / >"));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_accepted_socket_says_early_that_a_slow_client_took_something() {
    let listener = bind("127.0.0.1:0").unwrap().remove(0);
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let listeners = [(TcpListener::from_std(listener).unwrap(), address.ip())];
    let _client = TcpStream::connect(address).await.unwrap();
    let (accepted, _) = poll_fn(|cx| poll_accept(&listeners, cx)).await.unwrap();
    let unsent = socket2::SockRef::from(&accepted).tcp_notsent_lowat();
    assert_eq!(unsent.unwrap(), UNSENT_BYTES);
    assert!(accepted.nodelay().unwrap());
}
