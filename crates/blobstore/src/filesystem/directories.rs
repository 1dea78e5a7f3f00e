//! Directories whose entries survive a power cut.
//! A name is durable only when the directory it is in was flushed; creating one here never forgets that.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Flushes the entries of the directory `path`.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Flushes the entries of the directory `path`; one that is gone has none.
pub(super) fn sync_directory_if_present(path: &Path) -> io::Result<()> {
    match sync_directory(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Creates the directory `path` and those above it that are missing, and flushes the directory above each new one.
pub(super) fn create_directory_durably(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Ok(()) => sync_parent(path),
        Err(_) if path.is_dir() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = path.parent().ok_or(error)?;
            create_directory_durably(parent)?;
            match fs::create_dir(path) {
                // Somebody else made it just now; flushing twice does no harm.
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                _ => sync_parent(path),
            }
        }
        Err(error) => Err(error),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync_directory)
}

/// Removes the file `path`; one that does not exist is fine.
pub(super) fn remove_file_if_present(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
