//! Reads along with a connection: where a request head begins and ends, how its body is framed, and
//! which heads hyper would accept that must be refused (RFC 9112 sections 2.2, 3.2, 5.1, 5.2, 6.1
//! and 6.3).
//! Pure: bytes in, a verdict out. It must agree with hyper about every boundary, because two
//! opinions on where the next request starts is what request smuggling is made of.

use super::framing::{Chunk, ChunkStep, Number, Refused, Token};
use super::host::{Host, HostValue};

const CONTENT_LENGTH: &[u8] = b"content-length";
const TRANSFER_ENCODING: &[u8] = b"transfer-encoding";
const HOST: &[u8] = b"host";
const UPGRADE: &[u8] = b"upgrade";

/// Where the last byte seen stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Between requests: nothing of the next head has arrived (blank lines do not count).
    Idle,
    /// Inside a request head.
    Head,
    /// Inside a request body.
    Body,
}

/// What a run of bytes turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing to object to.
    Fine,
    /// The byte at this index completes something that must be refused. The scan ends here.
    Refuse(usize),
}

/// The scanner of one connection. Feed it every byte read, in order, in runs of any length.
#[derive(Debug)]
pub(super) struct HeadScan {
    state: State,
    /// The byte before was a CR inside a head (or between heads): only LF may follow.
    after_cr: bool,
    head: Head,
}

/// What has been learnt from the head being read.
#[derive(Debug, Default)]
struct Head {
    /// The last eight bytes of the request line, which end up being the version.
    line_tail: [u8; 8],
    is_http11: bool,
    target: Target,
    has_host: bool,
    length: Option<u64>,
    is_chunked: bool,
    name: Name,
}

/// What has been seen of the request target.
#[derive(Clone, Copy, Debug, Default)]
enum Target {
    /// The method is being read.
    #[default]
    Awaited,
    /// The next byte is its first.
    Begins,
    /// A path or `*`: the Host field alone says whom it asks.
    WithoutAuthority,
    /// A whole URI, or what CONNECT asks for.
    WithAuthority,
}

/// The field name being read, in lower case, as far as it can matter.
#[derive(Debug, Default)]
struct Name {
    bytes: [u8; TRANSFER_ENCODING.len()],
    /// May exceed the array: the name is then none of those looked for.
    length: usize,
}

#[derive(Clone, Copy, Debug)]
enum State {
    BetweenRequests,
    RequestLine,
    LineStart,
    FieldName,
    OtherValue,
    Length(Number),
    Coding(Token),
    Host(Host),
    /// A body of known length with this many bytes to come.
    Body(u64),
    Chunk(Chunk),
    /// The body is malformed: hyper fails it and closes, no head follows.
    Lost,
}

impl HeadScan {
    /// Returns a scanner that stands before the first byte of a connection.
    pub(super) fn new() -> Self {
        Self {
            state: State::BetweenRequests,
            after_cr: false,
            head: Head::default(),
        }
    }

    /// Returns where the last byte scanned stands.
    pub(super) fn phase(&self) -> Phase {
        match self.state {
            State::BetweenRequests => Phase::Idle,
            State::Body(_) | State::Chunk(_) | State::Lost => Phase::Body,
            State::RequestLine
            | State::LineStart
            | State::FieldName
            | State::OtherValue
            | State::Length(_)
            | State::Coding(_)
            | State::Host(_) => Phase::Head,
        }
    }

    /// Scans the next run of bytes. One byte of an `Upgrade` field name is changed in place, see
    /// [`Name::ends_upgrade`]; all others stay as they are. After a refusal the scanner is spent.
    pub(super) fn scan(&mut self, bytes: &mut [u8]) -> Verdict {
        let mut at = 0;
        while at < bytes.len() {
            match &mut self.state {
                State::Body(left) => {
                    let skipped = skip(left, bytes.len() - at);
                    at += skipped;
                    if *left == 0 {
                        self.state = State::BetweenRequests;
                    }
                }
                State::Chunk(Chunk::Data(left)) => {
                    let skipped = skip(left, bytes.len() - at);
                    at += skipped;
                    if *left == 0 {
                        self.state = State::Chunk(Chunk::DataCr);
                    }
                }
                State::Chunk(chunk) => {
                    self.state = match chunk.step(bytes[at]) {
                        ChunkStep::Next(chunk) => State::Chunk(chunk),
                        ChunkStep::End => State::BetweenRequests,
                        ChunkStep::Broken => State::Lost,
                    };
                    at += 1;
                }
                State::Lost => return Verdict::Fine,
                _ => {
                    if self.head_byte(&mut bytes[at]).is_err() {
                        return Verdict::Refuse(at);
                    }
                    at += 1;
                }
            }
        }
        Verdict::Fine
    }

    fn head_byte(&mut self, byte: &mut u8) -> Result<(), Refused> {
        if self.after_cr && *byte != b'\n' {
            return Err(Refused); // a bare CR: some readers take it as a line end, some do not
        }
        self.after_cr = *byte == b'\r';
        match *byte {
            b'\r' => return Ok(()),
            b'\n' => return self.line_end(),
            _ => (),
        }
        let is_space = matches!(*byte, b' ' | b'\t');
        self.state = match self.state {
            State::BetweenRequests => {
                self.head = Head::default();
                self.head.push_line(*byte);
                State::RequestLine
            }
            State::RequestLine => {
                self.head.push_line(*byte);
                State::RequestLine
            }
            // At a line's start this is obs-fold, after a name the space that hides a field.
            State::LineStart | State::FieldName if is_space => return Err(Refused),
            State::LineStart if *byte == b':' => State::OtherValue,
            State::LineStart => {
                self.head.name = Name::default();
                self.head.name.push(*byte);
                State::FieldName
            }
            State::FieldName if *byte == b':' => self.head.begin_value()?,
            State::FieldName => {
                self.head.name.push(*byte);
                if self.head.name.ends_upgrade() {
                    *byte = b'-';
                }
                State::FieldName
            }
            State::Length(number) => State::Length(number.push(*byte)?),
            State::Coding(token) => State::Coding(token.push(*byte)?),
            State::Host(host) => State::Host(host.push(*byte)?),
            other => other,
        };
        Ok(())
    }

    fn line_end(&mut self) -> Result<(), Refused> {
        self.state = match self.state {
            State::BetweenRequests => State::BetweenRequests,
            State::LineStart => self.head.end()?,
            State::RequestLine => {
                self.head.is_http11 = self.head.line_tail == *b"HTTP/1.1";
                State::LineStart
            }
            State::Length(number) => {
                self.head.length = Some(number.finish()?);
                State::LineStart
            }
            State::Coding(token) => {
                token.finish()?;
                self.head.accept_chunked()?
            }
            State::Host(host) => self.head.accept_host(host.finish()?)?,
            _ => State::LineStart,
        };
        Ok(())
    }
}

/// Takes up to `available` off `left` and returns how many that were.
fn skip(left: &mut u64, available: usize) -> usize {
    let skipped = usize::try_from(*left).unwrap_or(usize::MAX).min(available);
    *left -= skipped as u64;
    skipped
}

impl Head {
    fn push_line(&mut self, byte: u8) {
        self.line_tail.rotate_left(1);
        self.line_tail[7] = byte;
        self.target = match (self.target, byte) {
            (Target::Awaited, b' ') => Target::Begins,
            (Target::Begins, b'/' | b'*') => Target::WithoutAuthority,
            (Target::Begins, _) => Target::WithAuthority,
            (target, _) => target,
        };
    }

    /// The colon after the field name: a field that frames or that says whom it asks may come once.
    fn begin_value(&self) -> Result<State, Refused> {
        match self.name.as_bytes() {
            CONTENT_LENGTH if self.length.is_some() => Err(Refused),
            CONTENT_LENGTH => Ok(State::Length(Number::Leading)),
            TRANSFER_ENCODING if self.is_chunked => Err(Refused),
            TRANSFER_ENCODING => Ok(State::Coding(Token::Leading)),
            HOST if self.has_host => Err(Refused),
            HOST => Ok(State::Host(Host::Leading)),
            _ => Ok(State::OtherValue),
        }
    }

    /// An empty Host stands only beside a target that has no authority either.
    fn accept_host(&mut self, host: HostValue) -> Result<State, Refused> {
        if host == HostValue::Empty && !matches!(self.target, Target::WithoutAuthority) {
            return Err(Refused);
        }
        self.has_host = true;
        Ok(State::LineStart)
    }

    fn accept_chunked(&mut self) -> Result<State, Refused> {
        if !self.is_http11 {
            return Err(Refused); // RFC 9112 section 6.1: the framing cannot be trusted
        }
        self.is_chunked = true;
        Ok(State::LineStart)
    }

    /// The state after the head: Transfer-Encoding counts, whatever Content-Length says.
    fn end(&self) -> Result<State, Refused> {
        if self.is_http11 && !self.has_host {
            return Err(Refused); // only HTTP/1.0 may leave it out
        }
        Ok(match self.length {
            _ if self.is_chunked => State::Chunk(Chunk::Start),
            Some(length) if length > 0 => State::Body(length),
            _ => State::BetweenRequests,
        })
    }
}

impl Name {
    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(self.length) {
            *slot = byte.to_ascii_lowercase();
        }
        self.length = self.length.saturating_add(1);
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Whether the byte just pushed was the last of `upgrade`. That field is renamed on its way in
    /// (`upgrad-`): Seawall upgrades nothing, and hyper 1.12 may end a connection that has seen one
    /// without flushing its response, when the request body was not wanted.
    /// `Upgrade-Insecure-Requests` is renamed too, which harms nobody.
    fn ends_upgrade(&self) -> bool {
        self.as_bytes() == UPGRADE
    }
}
