//! The accept loop with connections in memory: the cap, and errors that last.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tracing_subscriber::fmt::MakeWriter;

use super::{echo, echoes, peer, text};
use crate::http::server::connection::Stage;
use crate::http::server::listener::{REFUSAL, accept_loop, bind, connection_cap};
use crate::http::server::{Limits, PeerInfo, Server};

type Incoming = mpsc::UnboundedReceiver<DuplexStream>;

fn from_channel(
    mut incoming: Incoming,
) -> impl FnMut(&mut Context<'_>) -> Poll<io::Result<(DuplexStream, PeerInfo)>> {
    move |cx| match incoming.poll_recv(cx) {
        Poll::Ready(Some(stream)) => Poll::Ready(Ok((stream, peer()))),
        Poll::Ready(None) | Poll::Pending => Poll::Pending,
    }
}

/// Connects, sends a request and returns the client's end.
async fn dial(door: &mpsc::UnboundedSender<DuplexStream>) -> DuplexStream {
    let (mut client, far_end) = duplex(64 * 1024);
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    door.send(far_end).unwrap();
    client
}

async fn read_to_end(mut client: DuplexStream) -> String {
    let mut read = Vec::new();
    client.read_to_end(&mut read).await.unwrap();
    text(&read)
}

#[tokio::test(start_paused = true)]
async fn connections_over_the_cap_are_told_to_come_back() {
    let (door, incoming) = mpsc::unbounded_channel();
    let (_stage, stages) = watch::channel(Stage::Serving);
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    tokio::spawn(accept_loop(from_channel(incoming), echo(), limits, stages));

    let mut first = dial(&door).await;
    first.read_u8().await.unwrap();
    assert_eq!(read_to_end(dial(&door).await).await.as_bytes(), REFUSAL);
    assert_eq!(read_to_end(dial(&door).await).await.as_bytes(), REFUSAL);
    drop(first);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(echoes(&read_to_end(dial(&door).await).await), ["<GET / >"]);
}

#[test]
fn the_refusal_is_a_whole_response() {
    let refusal = text(REFUSAL);
    let (head, body) = refusal.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("\r\nRetry-After: 1\r\n"));
    assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
    assert!(serde_json::from_str::<serde_json::Value>(body).is_ok());
}

#[tokio::test(start_paused = true)]
async fn many_refused_clients_that_do_not_read_hold_nothing() {
    let (door, incoming) = mpsc::unbounded_channel();
    let (_stage, stages) = watch::channel(Stage::Serving);
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    tokio::spawn(accept_loop(from_channel(incoming), echo(), limits, stages));
    let _first = dial(&door).await;
    let mut silent = VecDeque::new();
    for _ in 0..100 {
        silent.push_back(dial(&door).await);
    }
    let refused = read_to_end(silent.pop_front().unwrap()).await;
    assert_eq!(refused.as_bytes(), REFUSAL);
    let dropped = read_to_end(silent.pop_back().unwrap()).await;
    assert_eq!(dropped, "", "more are being refused than the bound allows");
}

/// Collects what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::Write::write(&mut *self.0.lock().unwrap(), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn without_file_descriptors_accept_waits_and_logs_once_a_burst() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).finish();
    let _scope = tracing::subscriber::set_default(subscriber);
    let lines = || {
        text(&log.0.lock().unwrap())
            .matches("cannot accept")
            .count()
    };

    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let (door, incoming) = mpsc::unbounded_channel();
    let mut accept = from_channel(incoming);
    let failing = move |cx: &mut Context<'_>| match counted.fetch_add(1, Ordering::Relaxed) {
        10 => accept(cx),
        n if n % 2 == 0 => Poll::Ready(Err(Errno::MFILE.into())),
        _ => Poll::Ready(Err(Errno::NFILE.into())),
    };
    let client = dial(&door).await;
    let (stage, stages) = watch::channel(Stage::Serving);
    let accepting = tokio::spawn(accept_loop(failing, echo(), Limits::default(), stages));
    sleep(Duration::from_millis(950)).await;
    assert_eq!((calls.load(Ordering::Relaxed), lines()), (10, 1));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(lines(), 2, "a burst after a success is another burst");
    assert_eq!(echoes(&read_to_end(client).await), ["<GET / >"]);

    stage.send_replace(Stage::Draining);
    accepting.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_error_of_one_connection_does_not_delay_the_next() {
    let (door, incoming) = mpsc::unbounded_channel();
    let mut accept = from_channel(incoming);
    let mut errors = vec![Errno::CONNABORTED, Errno::INTR, Errno::CONNRESET];
    let failing = move |cx: &mut Context<'_>| match errors.pop() {
        Some(error) => Poll::Ready(Err(error.into())),
        None => accept(cx),
    };
    let (_stage, stages) = watch::channel(Stage::Serving);
    let mut client = dial(&door).await;
    let begin = tokio::time::Instant::now();
    tokio::spawn(accept_loop(failing, echo(), Limits::default(), stages));
    client.read_u8().await.unwrap();
    assert!(begin.elapsed().is_zero());
}

#[test]
fn the_cap_leaves_half_of_the_file_descriptors_to_the_requests() {
    assert_eq!(connection_cap(10_000, Some(256)), 128);
    assert_eq!(connection_cap(10_000, Some(1_048_576)), 10_000);
    assert_eq!(connection_cap(10_000, None), 10_000);
    assert_eq!(connection_cap(10, Some(1)), 1);
}

#[test]
fn an_address_that_is_none_is_refused_and_named() {
    for address in [
        "5000",
        "localhost",
        "localhost:",
        "localhost:http",
        "::1:5000",
        "[::1:5000",
    ] {
        let error = bind(address).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{address}");
        let expected = format!("cannot listen on {address}: write it as host:port or :port");
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn an_address_in_use_is_named() {
    let taken = bind("127.0.0.1:0").unwrap();
    let address = taken[0].local_addr().unwrap().to_string();
    let error = bind(&address).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(
        error
            .to_string()
            .starts_with(&format!("cannot listen on {address}: ")),
        "{error}"
    );
}

#[tokio::test]
async fn a_port_alone_is_every_interface_of_both_families() {
    let server = Server::start(bind(":0").unwrap(), echo(), Limits::default()).unwrap();
    let port = server.addresses()[0].port();
    let mut hosts = vec!["127.0.0.1"];
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        hosts.push("::1");
    }
    for host in hosts {
        let mut stream = tokio::net::TcpStream::connect((host, port)).await.unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut read = Vec::new();
        stream.read_to_end(&mut read).await.unwrap();
        assert_eq!(echoes(&text(&read)), ["<GET / >"], "{host}");
    }
}

#[test]
fn a_host_name_prefers_ipv4() {
    let listeners = bind("localhost:0").unwrap();
    assert_eq!(listeners.len(), 1);
    assert!(listeners[0].local_addr().unwrap().is_ipv4());
}
