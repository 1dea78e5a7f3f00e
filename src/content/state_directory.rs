//! The state directory: one process owns it, and it holds the SQLite file. Refuses a second
//! process before anything is opened.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::reserve::{Reserve, open_with_reserve};

/// An owned state directory; the lock ends with the process or when this is dropped.
#[derive(Debug)]
pub struct StateDirectory {
    path: PathBuf,
    lock: File,
}

impl Drop for StateDirectory {
    /// Gives the lock back at once, also while a child process still holds a copy of the descriptor.
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

/// Why a state directory cannot be used. Shown to the operator at start, so it may name paths.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another process has it.
    #[error(
        "data directory {path} is in use by another seawall process; stop it or give this one another --data"
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// It could not be made or locked.
    #[error("cannot use data directory {path}")]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl StateDirectory {
    /// Makes and locks the directory at `path`.
    ///
    /// # Errors
    /// [`StateError::InUse`] and [`StateError::Unusable`].
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let unusable = |source| StateError::Unusable {
            path: path.to_owned(),
            source,
        };
        fs::create_dir_all(path).map_err(unusable)?;
        let mut lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("seawall.lock"))
            .map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StateError::InUse {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        // For the person who finds the file; nothing reads it.
        lock.set_len(0).map_err(unusable)?;
        writeln!(lock, "{}", std::process::id()).map_err(unusable)?;
        Ok(Self {
            path: path.to_owned(),
            lock,
        })
    }

    /// Takes the directory's reserve against a full disk.
    pub fn reserve(&self) -> Reserve {
        Reserve::take(&self.path)
    }

    /// Opens the database with `open`, on a full disk with a part of the reserve: a server that stopped there must be able to
    /// start again, or nobody could delete anything.
    ///
    /// # Errors
    /// Those of `open`.
    pub fn open_database<T, E>(&self, open: impl Fn() -> Result<T, E>) -> Result<T, E> {
        open_with_reserve(&self.path, open)
    }

    /// Returns where the SQLite file lies.
    pub fn database(&self) -> PathBuf {
        self.path.join(metadata::FILE_NAME)
    }

    /// Returns the name of the network file system the directory is on, if it is on one: SQLite's
    /// locks and syncs cannot be relied on there.
    pub fn network_file_system(&self) -> Option<&'static str> {
        blobstore::network_file_system(&self.path).ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::{StateDirectory, StateError};

    #[test]
    fn a_second_owner_is_refused_until_the_first_is_gone() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let first = StateDirectory::open(directory.path()).expect("the first owner");
        let second = StateDirectory::open(directory.path());
        assert!(matches!(second, Err(StateError::InUse { .. })));
        drop(first);
        StateDirectory::open(directory.path()).expect("free again");
    }
}
