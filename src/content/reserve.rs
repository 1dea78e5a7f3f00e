//! Room kept for getting out of a full disk: a file that is given up so that deletes can be recorded, and
//! taken again when there is room. Without it a full disk could not even forget what fills it.

use std::fs::{self, File};
use std::future::Future;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::error::Error;

/// Its size in bytes: some thousand transactions of the database's log.
const SIZE: usize = 8 << 20;

/// The reserve of a state directory.
#[derive(Debug)]
pub struct Reserve {
    path: PathBuf,
}

impl Reserve {
    /// Takes the reserve in the state directory `directory`, if there is room for it.
    pub fn take(directory: &Path) -> Self {
        let reserve = Self {
            path: directory.join("seawall.reserve"),
        };
        reserve.refill();
        reserve
    }

    /// Does `work`, which makes room; when it fails for want of room, gives the reserve up and does it again.
    ///
    /// # Errors
    /// Those of `work`.
    pub async fn with<T, F>(&self, work: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let done = match work().await {
            Err(Error::StorageFull) => {
                tracing::warn!("the disk is full: using the reserve");
                self.give_up();
                work().await
            }
            done => return done,
        };
        self.refill();
        done
    }

    fn give_up(&self) {
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "could not give up the reserve");
        }
    }

    /// Takes the reserve, whole or not at all: a partial one would only take the last room from others.
    fn refill(&self) {
        if fs::metadata(&self.path).is_ok_and(|file| file.len() == SIZE as u64) {
            return;
        }
        if let Err(error) = self.write() {
            tracing::debug!(%error, "no room for the reserve now");
            self.give_up();
        }
    }

    fn write(&self) -> io::Result<()> {
        // Written, not only announced: a sparse file reserves nothing.
        let mut file = File::create(&self.path)?;
        file.write_all(&vec![0; SIZE])?;
        file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::{Error, Reserve, SIZE};

    #[tokio::test]
    async fn work_that_finds_no_room_is_done_again_without_the_reserve() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let reserve = Reserve::take(directory.path());
        let path = directory.path().join("seawall.reserve");
        assert_eq!(std::fs::metadata(&path).expect("there").len(), SIZE as u64);
        let tries = Cell::new(0);
        let done = reserve
            .with(|| {
                tries.set(tries.get() + 1);
                let has_room = !path.exists();
                async move {
                    if has_room {
                        Ok(7)
                    } else {
                        Err(Error::StorageFull)
                    }
                }
            })
            .await;
        assert_eq!((done.ok(), tries.get()), (Some(7), 2));
        assert!(path.exists(), "it is taken again");
    }

    #[tokio::test]
    async fn other_failures_leave_the_reserve_alone() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let reserve = Reserve::take(directory.path());
        let done: Result<(), _> = reserve.with(|| async { Err(Error::UploadUnknown) }).await;
        assert!(matches!(done, Err(Error::UploadUnknown)));
    }
}
