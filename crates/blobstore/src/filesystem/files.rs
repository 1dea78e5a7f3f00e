//! Opening files that must be ours: never through a symbolic link, never anything but a regular file, and for
//! writing only under a lock.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::{Error, ErrorKind, Result};

/// Opens the regular file `path` for reading.
pub(super) fn open_for_reading(path: &Path, context: &'static str) -> Result<File> {
    open_regular(OpenOptions::new().read(true), path, context)
}

/// Opens the regular file `path` for reading and writing, and locks it until it is closed.
///
/// The lock keeps a writer that was overtaken (its client came back while the old connection still hung) from
/// writing into bytes that the next one has hashed. Where the file system has no locks, the caller's row alone
/// keeps writers apart.
pub(super) fn open_locked(path: &Path, context: &'static str) -> Result<File> {
    let file = open_regular(OpenOptions::new().read(true).write(true), path, context)?;
    lock(&file, context)?;
    // Before the lock was ours the name may have gone to another file: to a copy, or to its final place as a blob.
    let ours = file.metadata().map_err(Error::while_doing(context))?;
    let named = fs::symlink_metadata(path).map_err(Error::while_finding(context))?;
    if (ours.dev(), ours.ino()) != (named.dev(), named.ino()) {
        return Err(busy(context));
    }
    Ok(file)
}

/// Locks `file` until it is closed.
pub(super) fn lock(file: &File, context: &'static str) -> Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(busy(context)),
        Err(TryLockError::Error(error)) if has_no_locks(&error) => Ok(()),
        Err(TryLockError::Error(error)) => Err(Error::while_doing(context)(error)),
    }
}

/// Returns `options` that do not follow a symbolic link in the last component, and never wait for the other end
/// of a pipe.
pub(crate) fn without_surprises(options: &mut OpenOptions) -> &mut OpenOptions {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options.custom_flags(flags.bits().cast_signed())
}

fn open_regular(options: &mut OpenOptions, path: &Path, context: &'static str) -> Result<File> {
    let file = without_surprises(options)
        .open(path)
        .map_err(Error::while_finding(context))?;
    let metadata = file.metadata().map_err(Error::while_doing(context))?;
    if metadata.is_file() {
        Ok(file)
    } else {
        Err(Error::found(
            ErrorKind::Other,
            context,
            "not a regular file",
        ))
    }
}

fn busy(context: &'static str) -> Error {
    Error::found(ErrorKind::UploadBusy, context, "another writer has it open")
}

fn has_no_locks(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS)
    )
}
