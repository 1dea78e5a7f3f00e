//! The line to the upstream: a TCP proxy that passes so many bytes a second to all its connections together, and counts them.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};

/// Bytes that pass at a time; small against what a second holds, so that connections share the line evenly.
const PIECE: usize = 64 << 10;

/// How late the line may be and still catch up; timers are no finer than a millisecond.
const SLACK: Duration = Duration::from_millis(20);

/// A line to one server; it listens until the runtime ends.
pub(crate) struct Throttle {
    pub(crate) port: u16,
    line: Arc<Line>,
}

struct Line {
    bytes_per_second: f64,
    /// When everything that was let through has passed.
    free_at: Mutex<Instant>,
    passed: AtomicU64,
}

impl Throttle {
    /// Opens a line to the server at `target`, a port of this machine.
    pub(crate) async fn start(target: u16, bytes_per_second: f64) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let line = Arc::new(Line {
            bytes_per_second,
            free_at: Mutex::new(Instant::now()),
            passed: AtomicU64::new(0),
        });
        let throttle = Self {
            port,
            line: Arc::clone(&line),
        };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let line = Arc::clone(&line);
                // A connection that breaks is the client's to notice.
                tokio::spawn(async move { line.connect(client, target).await });
            }
        });
        Ok(throttle)
    }

    /// Returns how many bytes the server has sent through the line so far.
    pub(crate) fn passed(&self) -> u64 {
        self.line.passed.load(Ordering::Relaxed)
    }
}

impl Line {
    async fn connect(&self, mut client: TcpStream, target: u16) -> io::Result<()> {
        let mut server = TcpStream::connect(("127.0.0.1", target)).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let up = async {
            copy(&mut from_client, &mut to_server).await?;
            to_server.shutdown().await
        };
        let down = async {
            let mut piece = vec![0; PIECE];
            loop {
                let length = from_server.read(&mut piece).await?;
                if length == 0 {
                    return to_client.shutdown().await;
                }
                self.pass(length).await;
                to_client.write_all(&piece[..length]).await?;
            }
        };
        tokio::try_join!(up, down).map(|_| ())
    }

    /// Returns when `length` bytes more have passed.
    async fn pass(&self, length: usize) {
        let takes = Duration::from_secs_f64(length as f64 / self.bytes_per_second);
        let passed_at = {
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            let earliest = Instant::now().checked_sub(SLACK).unwrap_or(*free_at);
            *free_at = earliest.max(*free_at) + takes;
            *free_at
        };
        self.passed.fetch_add(length as u64, Ordering::Relaxed);
        sleep_until(passed_at).await;
    }
}
