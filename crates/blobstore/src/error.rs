//! What can go wrong in a store: a small kind, and the system's own words for the log. The text never
//! holds a path.

use std::io;

/// The result of a store.
pub type Result<T> = std::result::Result<T, Error>;

/// What callers act on differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// No such blob or upload.
    NotFound,
    /// The upload has fewer bytes than were acknowledged.
    UploadTooShort {
        /// The bytes it has.
        have: u64,
    },
    /// The disk or the quota is used up.
    StorageFull,
    /// Anything else the system said.
    Other,
}

/// A failed operation.
#[derive(Debug, thiserror::Error)]
#[error("could not {context}: {source}")]
pub struct Error {
    kind: ErrorKind,
    context: &'static str,
    source: io::Error,
}

impl Error {
    /// Returns the failure of `context` (what was being done, after "could not").
    pub fn new(context: &'static str, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::StorageFull,
            _ => ErrorKind::Other,
        };
        Self {
            kind,
            context,
            source,
        }
    }

    /// Returns that an upload has only `have` bytes.
    pub(crate) fn too_short(have: u64) -> Self {
        Self {
            kind: ErrorKind::UploadTooShort { have },
            context: "continue an upload",
            source: io::ErrorKind::UnexpectedEof.into(),
        }
    }

    /// Returns what callers act on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

/// Names what was being done when an I/O call failed.
pub(crate) trait While<T> {
    /// Turns an I/O error into one that could not do `context`.
    fn while_doing(self, context: &'static str) -> Result<T>;
}

impl<T> While<T> for io::Result<T> {
    fn while_doing(self, context: &'static str) -> Result<T> {
        self.map_err(|source| Error::new(context, source))
    }
}
