//! Copies of the database that the server makes by itself: into a directory, under a name that tells when, the newest few.
//! What is written, checked and renamed there is the database's business; here is where to, how many, and how the last one
//! went. A copy never takes the last room from those who push.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use metadata::{BackedUp, Cancel, CopyError};

use super::disk;
use super::error::Error;
use super::store::Content;

/// How the names of copies begin and end, and what stands between in UTC.
const PREFIX: &str = "seawall-";
const SUFFIX: &str = ".db";
const MOMENT: &str = "%Y%m%dT%H%M%SZ";

/// Room that a copy leaves to others, in bytes.
const LEFT_FREE: u64 = 8 << 20;

/// Which database is copied, and where to.
#[derive(Clone, Debug)]
pub struct Backups {
    /// The file of the database.
    pub database: PathBuf,
    /// The directory of the copies.
    pub directory: PathBuf,
    /// How many are kept, the newest; 0 keeps all.
    pub keep: usize,
}

/// A copy that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupReport {
    /// The name of the copy in its directory.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// How many older copies were removed.
    pub removed: u64,
}

impl Content {
    /// Copies the database, removes the copies beyond those that are kept, and returns what it did. One runs at a time.
    ///
    /// # Errors
    /// [`Error::StorageFull`] without room for it; after any failure the former copies are as they were.
    pub async fn back_up(&self) -> Result<BackupReport, Error> {
        let _turn = self.backing_up.lock().await;
        let settings = self.settings.backups.clone();
        let now = self.metadata.now();
        let cancel = Cancel::default();
        let _stops_with_us = cancel.on_drop();
        let made = tokio::task::spawn_blocking(move || copy(&settings, now, &cancel)).await?;
        let report = made?;
        self.metrics.backed_up(now);
        Ok(report)
    }

    /// Checks that a copy of the database fits beside it and leaves others some room.
    ///
    /// # Errors
    /// [`Error::StorageFull`] when it does not.
    pub(super) async fn check_room_for_a_copy(&self) -> Result<(), Error> {
        let database = self.settings.backups.database.clone();
        let check = move || check_room(&database, database.parent().unwrap_or(&database));
        tokio::task::spawn_blocking(check).await?
    }

    /// Notes when the newest copy was made that is there, so that a restart does not look like a missing one.
    pub async fn note_last_backup(&self) {
        let directory = self.settings.backups.directory.clone();
        let names = tokio::task::spawn_blocking(move || copies(&directory)).await;
        let newest = names.ok().and_then(Result::ok).and_then(|names| {
            let newest = names.last()?.clone();
            moment_of(&newest)
        });
        if let Some(at) = newest {
            self.metrics.backed_up(at);
        }
    }
}

fn copy(settings: &Backups, now: i64, cancel: &Cancel) -> Result<BackupReport, Error> {
    let directory = &settings.directory;
    make_durably(directory).map_err(CopyError::from)?;
    drop_partial(directory);
    check_room(&settings.database, directory)?;
    let name = name_at(now).ok_or_else(|| Error::Unavailable {
        reason: "the time is none that a name can tell".to_owned(),
    })?;
    let to = directory.join(&name);
    let BackedUp { bytes, .. } = metadata::back_up(&settings.database, &to, cancel)?;
    // The copy is made; that an older one stays is no reason to say otherwise.
    let removed = remove_old(directory, settings.keep).unwrap_or_else(|error| {
        tracing::warn!(%error, "could not remove old copies of the database");
        0
    });
    Ok(BackupReport {
        name,
        bytes,
        removed,
    })
}

/// Checks that a copy of the database fits into `directory` and leaves others some room. Blocks.
fn check_room(database: &Path, directory: &Path) -> Result<(), Error> {
    let needed = metadata::used_bytes(database)?.saturating_add(LEFT_FREE);
    if disk::ask(directory).is_some_and(|disk| disk.free < needed) {
        return Err(Error::StorageFull);
    }
    Ok(())
}

/// Makes a directory, and those above it, so that a power cut does not take what is in it.
fn make_durably(directory: &Path) -> io::Result<()> {
    let (false, Some(parent)) = (directory.is_dir(), directory.parent()) else {
        return Ok(());
    };
    make_durably(parent)?;
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => File::open(parent)?.sync_all(),
    }
}

/// Returns the names of the copies in a directory, the oldest first; other files are not ours.
fn copies(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        if let Ok(name) = entry?.file_name().into_string()
            && moment_of(&name).is_some()
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn remove_old(directory: &Path, keep: usize) -> io::Result<u64> {
    if keep == 0 {
        return Ok(0);
    }
    let names = copies(directory)?;
    let old = names.len().saturating_sub(keep);
    for name in &names[..old] {
        match fs::remove_file(directory.join(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(old as u64)
}

/// Drops what copies left that were killed: another one would only use the same name again at the same second.
fn drop_partial(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let of_copy = name.to_str().and_then(|name| {
            let name = name.strip_prefix('.')?;
            let (name, rest) = name.split_once(".partial")?;
            let is_ours = moment_of(name).is_some();
            (is_ours && ["", "-journal", "-wal", "-shm"].contains(&rest)).then_some(())
        });
        if of_copy.is_some()
            && let Err(error) = fs::remove_file(entry.path())
        {
            tracing::warn!(%error, "could not drop what a copy of the database left");
        }
    }
}

/// Returns the name of a copy made at `at`, in microseconds since 1970.
fn name_at(at: i64) -> Option<String> {
    let time = Timestamp::from_microsecond(at).ok()?;
    let moment = time.to_zoned(TimeZone::UTC).strftime(MOMENT).to_string();
    Some(format!("{PREFIX}{moment}{SUFFIX}"))
}

/// Returns when a copy of that name was made, in microseconds since 1970; `None` for the name of anything else.
fn moment_of(name: &str) -> Option<i64> {
    let moment = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let civil = jiff::civil::DateTime::strptime(MOMENT, moment).ok()?;
    let time = civil.to_zoned(TimeZone::UTC).ok()?.timestamp();
    let at = time.as_microsecond();
    // Only what would be written so: a name with other digits sorts elsewhere.
    (name_at(at)? == name).then_some(at)
}

impl From<CopyError> for Error {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::Full => Self::StorageFull,
            CopyError::Database(error) => error.into(),
            error @ (CopyError::Foreign
            | CopyError::Damaged { .. }
            | CopyError::NotClosed
            | CopyError::Itself
            | CopyError::NoFile
            | CopyError::Ours
            | CopyError::NoCopy
            | CopyError::Unfinished
            | CopyError::Busy
            | CopyError::Missing
            | CopyError::Cancelled
            | CopyError::Io(_)) => Self::Unavailable {
                reason: format!("the database was not copied: {error}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{copies, drop_partial, moment_of, name_at, remove_old};

    const NOON: i64 = 1_795_262_400_000_000;

    #[test]
    fn a_name_tells_when_and_others_are_none() {
        let name = name_at(NOON + 1).expect("a time");
        assert_eq!(name, "seawall-20261121T120000Z.db");
        assert_eq!(moment_of(&name), Some(NOON));
        for other in [
            "seawall-20261121T120000Z.db.old",
            "seawall-20261121T1200.db",
            "seawall-20261321T120000Z.db",
            "seawall-mine.db",
            "seawall.db",
            "20261121T120000Z.db",
            ".seawall-20261121T120000Z.db.partial",
        ] {
            assert_eq!(moment_of(other), None, "{other}");
        }
    }

    #[test]
    fn the_newest_are_kept_and_what_is_not_ours_is_never_touched() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let touch = |name: &str| fs::write(directory.path().join(name), b"").expect("writes");
        let names: Vec<String> = (0..5)
            .filter_map(|day| name_at(NOON + day * 86_400_000_000))
            .collect();
        names.iter().for_each(|name| touch(name));
        for other in ["seawall-mine.db", "a", "zz.db", ".zz.db.partial"] {
            touch(other);
        }
        touch(&format!(".{}.partial", names[0]));
        touch(&format!(".{}.partial-journal", names[0]));
        drop_partial(directory.path());
        assert_eq!(remove_old(directory.path(), 0).expect("reads"), 0);
        assert_eq!(remove_old(directory.path(), 2).expect("removes"), 3);
        assert_eq!(copies(directory.path()).expect("reads"), names[3..]);
        let left = fs::read_dir(directory.path()).expect("reads").count();
        assert_eq!(left, 2 + 4);
    }
}
