//! The disk that content lies on, asked on the blocking pool: one that does not answer holds up nobody else.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long an answer is good enough for what only has to be about right.
const MOMENT: Duration = Duration::from_millis(250);

/// A disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Disk {
    pub(super) size: u64,
    pub(super) free: u64,
}

/// What asks the disk, and remembers its last answer.
#[derive(Debug)]
pub(super) struct DiskGauge {
    directory: Arc<Path>,
    last: Mutex<Option<(Instant, Option<Disk>)>>,
}

impl DiskGauge {
    /// Returns what asks the disk that `directory` lies on.
    pub(super) fn new(directory: PathBuf) -> Self {
        Self {
            directory: directory.into(),
            last: Mutex::default(),
        }
    }

    /// Returns the disk as it is, if it tells.
    pub(super) async fn now(&self) -> Option<Disk> {
        let (asked, directory) = (Instant::now(), Arc::clone(&self.directory));
        let told = tokio::task::spawn_blocking(move || ask(&directory)).await;
        let told = told.ok().flatten();
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((asked, told));
        told
    }

    /// Returns the disk as it is or was a moment ago, if it tells.
    pub(super) async fn lately(&self) -> Option<Disk> {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match last {
            Some((asked, told)) if asked.elapsed() < MOMENT => told,
            _ => self.now().await,
        }
    }
}

/// Returns the disk that `directory` lies on, if it tells. Blocks.
pub(super) fn ask(directory: &Path) -> Option<Disk> {
    let told = rustix::fs::statvfs(directory).ok()?;
    Some(Disk {
        size: told.f_blocks.saturating_mul(told.f_frsize),
        free: told.f_bavail.saturating_mul(told.f_frsize),
    })
}

#[cfg(test)]
mod tests {
    use super::DiskGauge;

    #[tokio::test]
    async fn a_moment_ago_is_as_good_as_now_and_a_disk_that_is_gone_tells_nothing() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let gauge = DiskGauge::new(directory.path().join("data"));
        assert_eq!(gauge.now().await, None);
        std::fs::create_dir(directory.path().join("data")).expect("a new directory");
        let now = gauge.now().await.expect("a disk");
        assert!(now.size > 0);
        std::fs::remove_dir(directory.path().join("data")).expect("it is empty");
        assert_eq!(gauge.lately().await, Some(now));
        assert_eq!(gauge.now().await, None);
    }
}
