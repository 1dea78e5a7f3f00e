//! Room kept for getting out of a full disk: a file that is given up so that deletes can be recorded, and
//! taken again when there is room. Without it a full disk could not even forget what fills it.

use std::fs::{self, File};
use std::future::Future;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tokio::sync::Mutex;

use super::error::Error;
use super::store::Content;

/// Its size in bytes, some thousand transactions of the database's log; and those it has where there is less room, each
/// enough to delete and collect something, which makes room for the next.
const SIZES: [u64; 4] = [8 << 20, 4 << 20, 2 << 20, 1 << 20];

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

/// Takes as much of the reserve as there is room for. What is free is asked first: who tries to take more than there is takes
/// the last room from others for a moment.
fn refill(path: &Path) {
    let have = fs::metadata(path).map_or(0, |file| file.len());
    let free = free_at(path);
    for size in SIZES {
        if size <= have {
            return;
        }
        if free.is_some_and(|free| free < size - have) {
            continue;
        }
        match grow(path, have, size) {
            Ok(()) => return,
            Err(error) => tracing::debug!(%error, size, "no room for the reserve now"),
        }
    }
}

/// Returns the bytes that are free, if the disk tells.
fn free_at(path: &Path) -> Option<u64> {
    let told = rustix::fs::statvfs(path.parent()?).ok()?;
    Some(told.f_bavail.saturating_mul(told.f_frsize))
}

/// Lets the file grow, or leaves it as it was.
fn grow(path: &Path, from: u64, to: u64) -> io::Result<()> {
    let mut file = File::options().create(true).append(true).open(path)?;
    // Written, not only announced: a sparse file reserves nothing.
    let zeros = vec![0; usize::try_from(to - from).map_err(io::Error::other)?];
    let written = file.write_all(&zeros).and_then(|()| file.sync_data());
    if written.is_err() {
        if from == 0 {
            give_up(path);
        } else {
            file.set_len(from)?;
        }
    }
    written
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

    use super::{Error, Reserve, SIZES};

    #[tokio::test]
    async fn work_that_finds_no_room_is_done_again_without_the_reserve() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let reserve = Reserve::take(directory.path());
        let path = directory.path().join("seawall.reserve");
        assert_eq!(std::fs::metadata(&path).expect("there").len(), SIZES[0]);
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
    async fn a_small_reserve_grows_when_there_is_room() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("seawall.reserve");
        std::fs::write(&path, vec![0; 2 << 20]).expect("written");
        let reserve = Reserve::take(directory.path());
        let size = || std::fs::metadata(&path).expect("there").len();
        assert_eq!(size(), SIZES[0]);
        super::grow(&path, SIZES[0], SIZES[0] + 1).expect("grows");
        let done: Result<(), _> = reserve.with(|| async { Ok(()) }).await;
        assert!(done.is_ok());
        assert_eq!(size(), SIZES[0] + 1, "it is enough");
    }

    #[tokio::test]
    async fn other_failures_leave_the_reserve_alone() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let reserve = Reserve::take(directory.path());
        let done: Result<(), _> = reserve.with(|| async { Err(Error::UploadUnknown) }).await;
        assert!(matches!(done, Err(Error::UploadUnknown)));
    }
}
