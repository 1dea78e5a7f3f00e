//! One link file: what is in it, and when it was written.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::path::Path;
use std::time::UNIX_EPOCH;

use oci::{Digest, DigestError};
use rustix::io::Errno;

use crate::filesystem::without_surprises;

/// More than the longest digest of any algorithm.
const LONGEST: u64 = 512;

/// What is in a link file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkContent {
    /// A digest.
    Digest(Digest),
    /// A digest of an algorithm that is not stored here.
    Unsupported {
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing, as after a crash.
    Empty,
    /// Anything else.
    Torn,
}

/// A link file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkFile {
    /// What is in it.
    pub content: LinkContent,
    /// When it was written, in microseconds since 1970, as the file system says.
    pub written_at: i64,
}

/// Reads the link file `path`; `None` when there is none.
pub(super) fn read(path: &Path) -> io::Result<Option<LinkFile>> {
    let opened = without_surprises(OpenOptions::new().read(true)).open(path);
    let mut file = match opened {
        Err(error) if is_absence(&error) => return Ok(None),
        // What the system says of a link that is not to be followed: "too many levels".
        Err(error) if Errno::from_io_error(&error) == Some(Errno::LOOP) => {
            return Err(io::Error::other("it is a symbolic link"));
        }
        opened => opened?,
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let written = metadata.modified()?.duration_since(UNIX_EPOCH);
    let written_at = written.map_or(0, |since| {
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    });
    let mut bytes = Vec::new();
    file.by_ref().take(LONGEST).read_to_end(&mut bytes)?;
    Ok(Some(LinkFile {
        content: content(&bytes),
        written_at,
    }))
}

/// Whether nothing is at a path, or something stands in its way that is no directory.
pub(super) fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn content(bytes: &[u8]) -> LinkContent {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return LinkContent::Torn;
    };
    // People edit these with programs that end a file with a newline.
    let text = text.trim_ascii();
    if text.is_empty() {
        return LinkContent::Empty;
    }
    match Digest::parse(text) {
        Ok(digest) => LinkContent::Digest(digest),
        Err(error @ DigestError::UnsupportedAlgorithm { .. }) => LinkContent::Unsupported {
            reason: error.to_string(),
        },
        Err(DigestError::Malformed { .. } | DigestError::Missing) => LinkContent::Torn,
    }
}
