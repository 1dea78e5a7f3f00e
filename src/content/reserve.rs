//! Room kept for getting out of a full disk: a file that is given up, piece by piece, so that deletes can be recorded, and
//! taken again when there is room. Without it a full disk could not even forget what fills it.

use std::fs::{self, File};
use std::future::Future;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tokio::sync::Mutex;

use super::disk;
use super::error::Error;
use super::store::Content;

/// Its file in the state directory.
const NAME: &str = "seawall.reserve";

/// Its size in bytes: twice what the database's log grows to before it begins anew.
const SIZE: u64 = 8 << 20;

/// What is given up at once, in bytes: enough for the largest transaction that makes room. Pushes take what is not used, so
/// giving up all of it would leave nothing for the next delete.
const PIECE: u64 = 512 << 10;

/// What is left free to others, in bytes, when it is taken again.
const LEFT: u64 = 1 << 20;

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
            path: directory.join(NAME),
            turn: Mutex::default(),
        };
        refill(&reserve.path, length(&reserve.path));
        reserve
    }

    /// Does `work`, which makes room; while it fails for want of room, gives a piece of the reserve up and does it again.
    ///
    /// # Errors
    /// Those of `work`.
    pub async fn with<T, F>(&self, work: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let done = work().await;
        if matches!(done, Err(Error::StorageFull)) {
            let _turn = self.turn.lock().await;
            tracing::warn!("the disk is full: using the reserve");
            let before = length(&self.path);
            let mut done = done;
            while matches!(done, Err(Error::StorageFull)) && self.on_disk(give_up_piece).await {
                done = work().await;
            }
            self.on_disk(move |path| refill(path, before)).await;
            return done;
        }
        // Whoever has the turn takes it again.
        if done.is_ok()
            && let Ok(_turn) = self.turn.try_lock()
        {
            self.on_disk(|path| refill(path, length(path))).await;
        }
        done
    }

    /// Does `step`, which tells whether it changed anything.
    async fn on_disk(&self, step: impl FnOnce(&Path) -> bool + Send + 'static) -> bool {
        let path = self.path.clone();
        let done = tokio::task::spawn_blocking(move || step(&path)).await;
        done.unwrap_or_else(|lost| {
            tracing::warn!(%lost, "could not change the reserve");
            false
        })
    }
}

/// Opens what needs some room before there is a [`Reserve`]: while that fails on a full disk, gives up a piece of what an
/// earlier process left of it in the state directory `directory`, and opens again.
pub(super) fn open_with_reserve<T, E>(
    directory: &Path,
    open: impl Fn() -> Result<T, E>,
) -> Result<T, E> {
    let path = directory.join(NAME);
    let mut opened = open();
    // A full disk is not always told as such: SQLite also calls it an I/O error.
    while opened.is_err()
        && disk::ask(directory).is_some_and(|disk| disk.free < PIECE)
        && give_up_piece(&path)
    {
        tracing::warn!("the disk is full: using the reserve to start");
        opened = open();
    }
    opened
}

/// Returns how much of the reserve there is, in bytes.
fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

/// Gives up a piece of the reserve; returns whether there was any.
fn give_up_piece(path: &Path) -> bool {
    let left = match length(path) {
        0 => return false,
        length => length.saturating_sub(PIECE),
    };
    shorten(path, left)
}

/// Makes the reserve shorter, or removes it; returns whether that succeeded.
fn shorten(path: &Path, length: u64) -> bool {
    let done = if length == 0 {
        fs::remove_file(path)
    } else {
        File::options()
            .write(true)
            .open(path)
            .and_then(|file| file.set_len(length))
    };
    match done {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => {
            tracing::warn!(%error, "could not give up the reserve");
            false
        }
    }
}

/// Takes the whole reserve again. Where there is no room for that, takes back what it had `before`, as far as it can be had:
/// more than that would take the last room from others, were it only until the disk is full. Returns whether it is whole.
fn refill(path: &Path, before: u64) -> bool {
    let now = length(path);
    let is_roomy = |disk: disk::Disk| disk.free >= SIZE.saturating_sub(now) + LEFT;
    let goal = if disk::ask(path.parent().unwrap_or(path)).is_none_or(is_roomy) {
        SIZE
    } else {
        before
    };
    if now >= goal {
        return now == SIZE;
    }
    let Err(error) = write(path, goal) else {
        return goal == SIZE;
    };
    tracing::debug!(%error, "no room for the whole reserve now");
    if length(path) > before || before == 0 {
        shorten(path, before);
    }
    false
}

/// Writes the reserve on to `size` bytes.
fn write(path: &Path, size: u64) -> io::Result<()> {
    // Written, not only announced: a sparse file reserves nothing.
    let mut file = File::options().create(true).append(true).open(path)?;
    let zeros = vec![0; 64 << 10];
    let mut missing = size.saturating_sub(file.metadata()?.len());
    while missing > 0 {
        let piece =
            usize::try_from(missing).map_or(zeros.len(), |missing| missing.min(zeros.len()));
        file.write_all(&zeros[..piece])?;
        missing -= piece as u64;
    }
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

    use super::{Error, PIECE, Reserve, SIZE, length, refill};

    #[tokio::test]
    async fn work_that_finds_no_room_is_done_again_with_as_much_of_the_reserve_as_it_needs() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let reserve = Reserve::take(directory.path());
        let path = directory.path().join("seawall.reserve");
        assert_eq!(length(&path), SIZE);
        let tries = Cell::new(0);
        let least = Cell::new(SIZE);
        let done = reserve
            .with(|| {
                tries.set(tries.get() + 1);
                least.set(length(&path));
                let has_room = length(&path) <= SIZE - 2 * PIECE;
                async move {
                    if has_room {
                        Ok(7)
                    } else {
                        Err(Error::StorageFull)
                    }
                }
            })
            .await;
        assert_eq!((done.ok(), tries.get()), (Some(7), 3));
        assert_eq!(least.get(), SIZE - 2 * PIECE, "the rest stays for the next");
        assert_eq!(length(&path), SIZE, "it is taken again");
    }

    #[tokio::test]
    async fn work_that_never_finds_room_fails_when_the_reserve_is_used_up() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let reserve = Reserve::take(directory.path());
        let path = directory.path().join("seawall.reserve");
        let tries = Cell::new(0);
        let done: Result<(), _> = reserve
            .with(|| {
                tries.set(tries.get() + 1);
                async { Err(Error::StorageFull) }
            })
            .await;
        assert!(matches!(done, Err(Error::StorageFull)));
        assert_eq!(tries.get(), 1 + SIZE / PIECE);
        assert_eq!(length(&path), SIZE, "and it is taken again all the same");
    }

    #[tokio::test]
    async fn other_failures_leave_the_reserve_alone() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let reserve = Reserve::take(directory.path());
        let done: Result<(), _> = reserve.with(|| async { Err(Error::UploadUnknown) }).await;
        assert!(matches!(done, Err(Error::UploadUnknown)));
    }

    #[test]
    fn a_part_that_is_left_is_made_whole() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("seawall.reserve");
        std::fs::write(&path, [0; 1000]).expect("the directory takes files");
        assert!(refill(&path, 1000));
        assert_eq!(length(&path), SIZE);
    }
}
