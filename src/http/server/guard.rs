//! The wrapper between the socket and hyper: it shows [`Wire`] what is read and written, spoils the
//! heads that hyper would accept and must not, and closes so that the peer gets to read the last
//! answer.
//! It must never change the bytes of a request it does not refuse (but see [`HeadScan::scan`]).
//!
//! [`HeadScan::scan`]: super::head_scan::HeadScan::scan

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::connection::Limits;
use super::wire::Wire;

/// What a TLS client gets on a plain port. Docker and containerd fall back to plain HTTP only when
/// the answer to their hello begins with `HTTP/`.
pub(super) const TLS_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\
    Content-Type: text/plain; charset=utf-8\r\nContent-Length: 48\r\n\r\n\
    client sent an HTTPS request to an HTTP server.\n";

/// How many bytes one read discards while lingering.
const LINGER_READ: usize = 8 * 1024;

/// The guarded socket.
#[derive(Debug)]
pub(super) struct Guard<IO> {
    io: IO,
    wire: Wire,
    limits: Limits,
    ending: Ending,
}

/// The steps of an orderly close. Closing a socket that holds unread bytes sends a reset, which
/// makes the peer forget what it has not read yet; so the peer is heard out first, within limits.
#[derive(Debug)]
enum Ending {
    NotBegun,
    TlsAnswer { written: usize },
    Shutdown,
    Linger { left: u64 },
    Done,
}

impl<IO> Guard<IO> {
    /// Wraps a socket; what it sees is told to `wire`.
    pub(super) fn new(io: IO, wire: Wire, limits: Limits) -> Self {
        Self {
            io,
            wire,
            limits,
            ending: Ending::NotBegun,
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Guard<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.wire.say_last_words(buf) {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        let kept = match &mut buf.filled_mut()[before..] {
            [] => 0,
            bytes => this.wire.note_read(bytes),
        };
        buf.set_filled(before + kept);
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.wire.note_write(&result);
        result
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_write_vectored(cx, slices);
        this.wire.note_write(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            this.ending = match this.ending {
                Ending::NotBegun => {
                    let until = Instant::now() + this.limits.discard_time;
                    if this.wire.begin_ending(until) {
                        Ending::TlsAnswer { written: 0 }
                    } else {
                        Ending::Shutdown
                    }
                }
                Ending::TlsAnswer { written } if written == TLS_ANSWER.len() => Ending::Shutdown,
                Ending::TlsAnswer { written } => {
                    let rest = &TLS_ANSWER[written..];
                    match ready!(Pin::new(&mut this.io).poll_write(cx, rest))? {
                        0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                        more => Ending::TlsAnswer {
                            written: written + more,
                        },
                    }
                }
                Ending::Shutdown => {
                    ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
                    if this.wire.is_more_expected() {
                        Ending::Linger {
                            left: this.limits.discard_bytes,
                        }
                    } else {
                        Ending::Done
                    }
                }
                Ending::Linger { left } => {
                    let mut scratch = [0; LINGER_READ];
                    let mut buf = ReadBuf::new(&mut scratch);
                    ready!(Pin::new(&mut this.io).poll_read(cx, &mut buf))?;
                    match left.checked_sub(buf.filled().len() as u64) {
                        Some(left) if !buf.filled().is_empty() => Ending::Linger { left },
                        _ => Ending::Done,
                    }
                }
                Ending::Done => return Poll::Ready(Ok(())),
            };
        }
    }
}
