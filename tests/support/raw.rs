//! Requests and responses byte by byte, for what a polite HTTP client would never send.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::gate::PATIENCE;

/// What [`RawConnection::send_patiently`] sends at a time.
const PIECE: usize = 16 * 1024;

/// One connection to a server.
#[derive(Debug)]
pub(crate) struct RawConnection {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// A response as it stood on the wire; the body only as far as its length was told.
#[derive(Debug)]
pub(crate) struct RawResponse {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl RawResponse {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns the first code of the error JSON.
    pub(crate) fn error_code(&self) -> String {
        let json: Value = serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no error JSON in {self:#?}"));
        json["errors"][0]["code"]
            .as_str()
            .unwrap_or_else(|| panic!("no error code in {self:#?}"))
            .to_owned()
    }
}

impl RawConnection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address)
            .await
            .expect("the server listens");
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    /// Sends bytes; a server that has hung up already is no error here, its answer tells.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = timeout(PATIENCE, self.stream.write_all(bytes.as_ref())).await;
        let _ = sent.expect("the server reads in time");
    }

    /// Sends bytes as far and as fast as the server takes them, adding to `sent`; returns the status
    /// of an answer, `None` when the server hung up. May wait for ever.
    pub(crate) async fn send_patiently(&mut self, bytes: &[u8], sent: &AtomicUsize) -> Option<u16> {
        let (mut read, mut write) = self.stream.split();
        let sending = async {
            for piece in bytes.chunks(PIECE) {
                if write.write_all(piece).await.is_err() {
                    break;
                }
                sent.fetch_add(piece.len(), Ordering::SeqCst);
            }
            std::future::pending::<()>().await;
        };
        let mut answer = [0; b"HTTP/1.1 200".len()];
        let answered = tokio::select! {
            () = sending => return None,
            answered = read.read_exact(&mut answer) => answered,
        };
        answered.ok()?;
        std::str::from_utf8(&answer[9..]).ok()?.parse().ok()
    }

    /// Ends the sending side.
    pub(crate) async fn finish_sending(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Reads one response; `None` when the server closed without a word.
    pub(crate) async fn response(&mut self) -> Option<RawResponse> {
        self.response_to("GET").await
    }

    /// Reads one response to a request of that method, which decides whether a body follows.
    pub(crate) async fn response_to(&mut self, method: &str) -> Option<RawResponse> {
        let end = loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                break end;
            }
            if !self.fill().await {
                assert!(
                    self.unread.is_empty(),
                    "half a response: {}",
                    String::from_utf8_lossy(&self.unread)
                );
                return None;
            }
        };
        let head = String::from_utf8_lossy(&self.unread[..end]).into_owned();
        self.unread.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let status = status_line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or_else(|| panic!("not a status line: {status_line}"));
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut response = RawResponse {
            status,
            headers,
            body: Vec::new(),
        };
        let length = response
            .header("content-length")
            .and_then(|length| length.parse::<usize>().ok());
        let bodiless = method == "HEAD" || status == 204 || status == 304 || status < 200;
        if let Some(length) = length.filter(|_| !bodiless) {
            while self.unread.len() < length && self.fill().await {}
            let available = length.min(self.unread.len());
            response.body = self.unread.drain(..available).collect();
        }
        Some(response)
    }

    /// Returns whether the server has closed the connection, waiting for it to.
    pub(crate) async fn is_closed_by_server(&mut self) -> bool {
        self.unread.is_empty() && !self.fill().await
    }

    async fn fill(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.unread))
            .await
            .expect("the server answers or closes in time");
        matches!(read, Ok(count) if count > 0)
    }
}

/// Sends one request on a connection of its own and returns the answer.
pub(crate) async fn exchange(address: SocketAddr, request: &str) -> Option<RawResponse> {
    let mut connection = RawConnection::open(address).await;
    connection.send(request).await;
    let method = request.split(' ').next().unwrap_or_default().to_owned();
    connection.response_to(&method).await
}

/// Asks for a path exactly as written, which a URL library would tidy up.
pub(crate) async fn exact(address: SocketAddr, method: &str, target: &str) -> RawResponse {
    let request =
        format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n");
    exchange(address, &request)
        .await
        .expect("the server answers every request line it can read")
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
