//! What is known about one connection: where the peer stands in its requests, what the server is
//! busy with, and when the connection must end.
//! It must never end a connection while a response is being made or is getting through.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::io::ReadBuf;
use tokio::time::Instant;

use super::connection::Limits;
use super::head_scan::{HeadScan, Phase, Verdict};

/// The first byte of a TLS record that holds a handshake; no HTTP method begins with it.
const TLS_HANDSHAKE: u8 = 0x16;

/// Ends a head whose offending byte became NUL, so that hyper looks at it now.
const HEAD_END: &[u8] = b"\r\n\r\n";
/// Ends a head that took too long: invalid wherever it stood.
const SPOILT_HEAD_END: &[u8] = b"\0\r\n\r\n";

/// What is known about a connection, shared by the guard, the service and the timer. All of them
/// run in the connection's task, so the lock is never waited for.
#[derive(Clone, Debug)]
pub(super) struct Wire(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    scan: HeadScan,
    seen_first_byte: bool,
    is_tls: bool,
    /// Set when a head is refused: what hyper still reads, then the end of the stream.
    last_words: Option<&'static [u8]>,
    /// Requests whose response body has not been dropped yet.
    in_flight: usize,
    /// Since when the socket has taken nothing of what hyper has for it.
    blocked_since: Option<Instant>,
    /// When the head being read began.
    head_since: Instant,
    /// When the last response ended or the last bytes that count were moved.
    quiet_since: Instant,
    linger_until: Option<Instant>,
    /// The limit for unwanted bytes is used up: close without lingering.
    is_patience_spent: bool,
}

/// A deadline of a connection, and what to do when it has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deadline {
    /// The head being read must be complete.
    Head(Instant),
    /// Something must have happened, or the connection ends.
    Quiet(Instant),
    /// The socket must have taken something, or the connection is broken.
    Stalled(Instant),
}

impl Wire {
    /// Returns the state of a connection that begins now.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self(Arc::new(Mutex::new(State {
            scan: HeadScan::new(),
            seen_first_byte: false,
            is_tls: false,
            last_words: None,
            in_flight: 0,
            blocked_since: None,
            head_since: now,
            quiet_since: now,
            linger_until: None,
            is_patience_spent: false,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request as running until the returned value is dropped.
    pub(super) fn begin_request(&self) -> InFlight {
        self.lock().in_flight += 1;
        InFlight(self.clone())
    }

    /// Returns the next deadline, `None` while a response is being made or is getting through.
    pub(super) fn deadline(&self, limits: &Limits) -> Option<Deadline> {
        let state = self.lock();
        if let Some(until) = state.linger_until {
            return Some(Deadline::Quiet(until));
        }
        if let Some(since) = state.blocked_since {
            return Some(Deadline::Stalled(since + limits.write_stall_timeout));
        }
        if state.in_flight > 0 {
            return None;
        }
        if state.scan.phase() == Phase::Head && state.last_words.is_none() {
            // A pipelined head may have begun while the response before it was still going out.
            let since = state.head_since.max(state.quiet_since);
            return Some(Deadline::Head(since + limits.header_timeout));
        }
        Some(Deadline::Quiet(state.quiet_since + limits.idle_timeout))
    }

    /// Makes hyper refuse the unfinished head with 400 at its next read.
    pub(super) fn refuse_head(&self) {
        let mut state = self.lock();
        state.last_words = Some(SPOILT_HEAD_END);
        state.quiet_since = Instant::now();
    }

    /// Says that the limit for unwanted bytes was reached.
    pub(super) fn spend_patience(&self) {
        self.lock().is_patience_spent = true;
    }

    /// Puts the last words of a refused head into `buf`, as far as they fit and then nothing, which
    /// is the end of the stream. Returns false when no head was refused.
    pub(super) fn say_last_words(&self, buf: &mut ReadBuf<'_>) -> bool {
        let mut state = self.lock();
        let Some(words) = &mut state.last_words else {
            return false;
        };
        let (said, rest) = words.split_at(words.len().min(buf.remaining()));
        buf.put_slice(said);
        *words = rest;
        true
    }

    /// Takes note of bytes just read, and returns how many of them hyper may see.
    pub(super) fn note_read(&self, bytes: &mut [u8]) -> usize {
        self.lock().observe(bytes)
    }

    /// Takes note of a write and what came of it.
    pub(super) fn note_write(&self, result: &Poll<io::Result<usize>>) {
        let mut state = self.lock();
        match result {
            // Being asked again is no progress.
            Poll::Pending => {
                state.blocked_since.get_or_insert_with(Instant::now);
            }
            Poll::Ready(result) => {
                state.blocked_since = None;
                if result.is_ok() {
                    state.quiet_since = Instant::now();
                }
            }
        }
    }

    /// Gives the peer until then to take leave. Returns whether it spoke TLS.
    pub(super) fn begin_ending(&self, until: Instant) -> bool {
        let mut state = self.lock();
        state.linger_until = Some(until);
        state.is_tls
    }

    /// Returns whether the peer may still be sending, so that closing now could destroy the answer.
    pub(super) fn is_more_expected(&self) -> bool {
        let state = self.lock();
        let is_between = state.scan.phase() == Phase::Idle && state.last_words.is_none();
        !is_between && !state.is_patience_spent
    }
}

impl State {
    fn observe(&mut self, bytes: &mut [u8]) -> usize {
        if !self.seen_first_byte {
            self.seen_first_byte = true;
            if bytes.first() == Some(&TLS_HANDSHAKE) {
                self.is_tls = true;
                self.last_words = Some(&[]);
                return 0;
            }
        }
        let before = self.scan.phase();
        let verdict = self.scan.scan(bytes);
        let now = Instant::now();
        match (before, self.scan.phase()) {
            // The same head goes on, or blank lines: neither clock is moved by dribbling.
            (Phase::Head, Phase::Head) | (Phase::Idle, Phase::Idle) => (),
            (_, Phase::Head) => self.head_since = now,
            (_, Phase::Idle | Phase::Body) => self.quiet_since = now,
        }
        match verdict {
            Verdict::Fine => bytes.len(),
            Verdict::Refuse(at) => {
                bytes[at] = 0;
                self.last_words = Some(HEAD_END);
                at + 1
            }
        }
    }
}

/// A request that runs: while one does, no timeout but the one for stalled writes ends its
/// connection.
#[derive(Debug)]
pub(super) struct InFlight(Wire);

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.in_flight -= 1;
        state.quiet_since = Instant::now();
    }
}
