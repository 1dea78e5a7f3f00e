//! Room kept for getting out of a full disk: a file that is given up so that deletes can be recorded, and
//! taken again when there is room. Without it a full disk could not even forget what fills it.

use std::fs::{self, File};
use std::future::Future;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tokio::sync::Mutex;

use super::error::Error;
use super::store::Content;

/// Its size in bytes: some thousand transactions of the database's log.
const SIZE: usize = 8 << 20;

/// The reserve of a state directory.
#[derive(Debug)]
pub struct Reserve {
    path: PathBuf,
    /// Held by who needs the reserve or takes it again, so that nobody takes it from under another's hands.
    turn: Mutex<()>,
}

impl Reserve {
    /// Takes the reserve in the state directory `directory`, if there is room for it.
    pub fn take(directory: &Path) -> Self {
        let reserve = Self {
            path: directory.join("seawall.reserve"),
            turn: Mutex::default(),
        };
        refill(&reserve.path);
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
                let _turn = self.turn.lock().await;
                tracing::warn!("the disk is full: using the reserve");
                self.on_disk(give_up).await;
                let done = work().await;
                self.on_disk(refill).await;
                return done;
            }
            done => done,
        };
        // Whoever has the turn takes it again.
        if done.is_ok()
            && let Ok(_turn) = self.turn.try_lock()
        {
            self.on_disk(refill).await;
        }
        done
    }

    async fn on_disk(&self, step: fn(&Path)) {
        let path = self.path.clone();
        if let Err(lost) = tokio::task::spawn_blocking(move || step(&path)).await {
            tracing::warn!(%lost, "could not change the reserve");
        }
    }
}

fn give_up(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "could not give up the reserve");
    }
}

/// Takes the reserve, whole or not at all: a partial one would only take the last room from others.
fn refill(path: &Path) {
    if fs::metadata(path).is_ok_and(|file| file.len() == SIZE as u64) {
        return;
    }
    if let Err(error) = write(path) {
        tracing::debug!(%error, "no room for the reserve now");
        give_up(path);
    }
}

fn write(path: &Path) -> io::Result<()> {
    // Written, not only announced: a sparse file reserves nothing.
    let mut file = File::create(path)?;
    file.write_all(&vec![0; SIZE])?;
    file.sync_data()
}

impl Content {
    /// Writes rows of work that makes room, such as a purge; from the reserve, if there is no other room.
    ///
    /// # Errors
    /// Storage errors; [`Error::StorageFull`] when the reserve is not enough.
    pub async fn with_reserve<T, F>(&self, write: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, metadata::Error>>,
    {
        self.reserve.with(|| async { Ok(write().await?) }).await
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
