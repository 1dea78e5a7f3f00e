//! The values that frame a request body, read a byte at a time: Content-Length, Transfer-Encoding
//! and the chunked coding (RFC 9112 sections 6 and 7).
//! It must accept nothing that another reader could take for something else.

const CHUNKED: &[u8] = b"chunked";

/// The largest length; hyper keeps the two above it for itself and would answer them with 431.
const MAX_LENGTH: u64 = u64::MAX - 2;

/// The head must be refused.
pub(super) struct Refused;

/// A Content-Length value being read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Leading,
    Digits(u64),
    Trailing(u64),
}

/// A Transfer-Encoding value being read: so many bytes of `chunked` have matched.
#[derive(Clone, Copy, Debug)]
pub(super) enum Token {
    Leading,
    Matched(usize),
    Trailing,
}

/// Chunked framing, state for state as hyper's decoder reads it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Chunk {
    Start,
    Size(u64),
    SizeSpace(u64),
    Extension(u64),
    SizeLf(u64),
    Data(u64),
    DataCr,
    DataLf,
    EndCr,
    EndLf,
    Trailer,
    TrailerLf,
}

/// What a byte of chunked framing leads to.
pub(super) enum ChunkStep {
    /// The body goes on.
    Next(Chunk),
    /// That was the body's last byte.
    End,
    /// This is no chunked body; hyper fails it and closes.
    Broken,
}

impl Number {
    /// Takes the next byte of the value.
    pub(super) fn push(self, byte: u8) -> Result<Self, Refused> {
        let is_space = matches!(byte, b' ' | b'\t');
        match self {
            Number::Leading if is_space => Ok(Number::Leading),
            Number::Leading if byte.is_ascii_digit() => Ok(Number::Digits(u64::from(byte - b'0'))),
            Number::Digits(value) if byte.is_ascii_digit() => value
                .checked_mul(10)
                .and_then(|value| value.checked_add(u64::from(byte - b'0')))
                .filter(|value| *value <= MAX_LENGTH)
                .map(Number::Digits)
                .ok_or(Refused),
            Number::Digits(value) | Number::Trailing(value) if is_space => {
                Ok(Number::Trailing(value))
            }
            _ => Err(Refused), // a sign, a comma list, a second number
        }
    }

    /// Returns the value at the end of its line.
    pub(super) fn finish(self) -> Result<u64, Refused> {
        match self {
            Number::Leading => Err(Refused),
            Number::Digits(value) | Number::Trailing(value) => Ok(value),
        }
    }
}

impl Token {
    /// Checks the value at the end of its line: it must be exactly `chunked`.
    pub(super) fn finish(self) -> Result<(), Refused> {
        match self {
            Token::Trailing => Ok(()),
            Token::Matched(matched) if matched == CHUNKED.len() => Ok(()),
            Token::Leading | Token::Matched(_) => Err(Refused),
        }
    }

    /// Takes the next byte of the value.
    pub(super) fn push(self, byte: u8) -> Result<Self, Refused> {
        let is_space = matches!(byte, b' ' | b'\t');
        let matched = match self {
            Token::Leading if is_space => return Ok(Token::Leading),
            Token::Leading => 0,
            Token::Matched(matched) if matched == CHUNKED.len() && is_space => {
                return Ok(Token::Trailing);
            }
            Token::Matched(matched) => matched,
            Token::Trailing if is_space => return Ok(Token::Trailing),
            Token::Trailing => return Err(Refused),
        };
        match CHUNKED.get(matched) {
            Some(expected) if byte.eq_ignore_ascii_case(expected) => {
                Ok(Token::Matched(matched + 1))
            }
            _ => Err(Refused),
        }
    }
}

impl Chunk {
    /// Takes the next byte of the framing; bytes of [`Chunk::Data`] are skipped by the caller.
    pub(super) fn step(self, byte: u8) -> ChunkStep {
        let next = match (self, byte) {
            (Chunk::Start, _) => return digit(0, byte),
            (Chunk::Size(size) | Chunk::SizeSpace(size), b' ' | b'\t') => Chunk::SizeSpace(size),
            (Chunk::Size(size) | Chunk::SizeSpace(size), b';') => Chunk::Extension(size),
            (Chunk::Size(size) | Chunk::SizeSpace(size) | Chunk::Extension(size), b'\r') => {
                Chunk::SizeLf(size)
            }
            (Chunk::Size(size), _) => return digit(size, byte),
            (Chunk::Extension(_), b'\n') => return ChunkStep::Broken,
            (Chunk::Extension(size), _) => Chunk::Extension(size),
            (Chunk::SizeLf(0), b'\n') => Chunk::EndCr,
            (Chunk::SizeLf(size), b'\n') => Chunk::Data(size),
            (Chunk::DataCr, b'\r') => Chunk::DataLf,
            (Chunk::DataLf, b'\n') => Chunk::Start,
            (Chunk::EndCr, b'\r') => Chunk::EndLf,
            (Chunk::EndLf, b'\n') => return ChunkStep::End,
            (Chunk::Trailer, b'\r') => Chunk::TrailerLf,
            (Chunk::EndCr | Chunk::Trailer, _) => Chunk::Trailer,
            (Chunk::TrailerLf, b'\n') => Chunk::EndCr,
            _ => return ChunkStep::Broken,
        };
        ChunkStep::Next(next)
    }
}

fn digit(size: u64, byte: u8) -> ChunkStep {
    let value = char::from(byte).to_digit(16).map(u64::from);
    value
        .and_then(|value| size.checked_mul(16)?.checked_add(value))
        .map_or(ChunkStep::Broken, |size| ChunkStep::Next(Chunk::Size(size)))
}
