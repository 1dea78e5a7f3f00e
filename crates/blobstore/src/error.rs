//! What can go wrong in a store. One kind per thing a caller acts on differently.
//! The text never holds a path, a bucket or a host, so it may be logged next to anything.

use std::io;

/// The result of every operation of a store.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{context}: {source}")]
pub struct Error {
    kind: ErrorKind,
    context: &'static str,
    source: io::Error,
}

/// What a caller can act on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// The blob or upload is not there.
    NotFound,
    /// The upload holds fewer bytes than the caller counts on: they were lost, the upload cannot be continued.
    UploadTooShort {
        /// The bytes that are there.
        have: u64,
    },
    /// Somebody still holds an appender of this upload; nothing was changed and trying again later may help.
    UploadBusy,
    /// The disk or the quota is full. Reading and deleting still work.
    StorageFull,
    /// Everything else: the storage is broken, misused or not what this program wrote.
    Other,
}

impl Error {
    /// Returns what a caller can act on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns an error of `kind` that was found, not reported by the system; `what` says what was seen.
    pub(crate) fn found(kind: ErrorKind, context: &'static str, what: impl Into<String>) -> Self {
        Self {
            kind,
            context,
            source: io::Error::other(what.into()),
        }
    }

    /// Returns a function that wraps what the system reported while doing `context`. Something missing is
    /// [`ErrorKind::Other`]: a directory of ours is gone, not a thing the caller asked for.
    pub(crate) fn while_doing(context: &'static str) -> impl Fn(io::Error) -> Self + Copy {
        move |source| Self {
            kind: kind_of(&source),
            context,
            source,
        }
    }

    /// Returns a function as [`Error::while_doing`] does, for the step that looks up what the caller asked for:
    /// something missing is [`ErrorKind::NotFound`].
    pub(crate) fn while_finding(context: &'static str) -> impl Fn(io::Error) -> Self + Copy {
        move |source| Self {
            kind: match source.kind() {
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                _ => kind_of(&source),
            },
            context,
            source,
        }
    }
}

fn kind_of(source: &io::Error) -> ErrorKind {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::StorageFull,
        _ => ErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustix::io::Errno;

    use super::{Error, ErrorKind};

    #[test]
    fn a_full_disk_and_a_full_quota_are_storage_full() {
        for errno in [Errno::NOSPC, Errno::DQUOT] {
            let error = Error::while_doing("writing an upload")(io::Error::from(errno));
            assert_eq!(error.kind(), ErrorKind::StorageFull);
        }
    }

    #[test]
    fn something_missing_is_not_found_only_where_the_caller_asked_for_it() {
        let missing = || io::Error::from(Errno::NOENT);
        assert_eq!(
            Error::while_finding("opening a blob")(missing()).kind(),
            ErrorKind::NotFound
        );
        assert_eq!(
            Error::while_doing("opening a blob")(missing()).kind(),
            ErrorKind::Other
        );
    }

    #[test]
    fn the_text_says_what_was_done_and_what_the_system_said() {
        let error = Error::while_doing("writing an upload")(io::Error::from(Errno::IO));
        assert!(
            error.to_string().starts_with("writing an upload: "),
            "{error}"
        );
    }
}
