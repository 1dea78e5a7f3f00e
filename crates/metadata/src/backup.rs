//! Copies of the database, made while it is in use: one consistent state, written beside its final name, checked, made
//! durable and only then given the name. It reads one snapshot and so holds up no writer.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::InterruptHandle;

use crate::error::{Error, Result};
use crate::migrate;
use crate::sqlite::{Access, Connection};
use crate::value::Value;

/// A copy that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackedUp {
    /// Its bytes.
    pub bytes: u64,
    /// The last moment of which it knows, in microseconds since 1970.
    pub as_of: i64,
}

/// Why a copy was not made or not taken. Names no file: who asked knows them.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The file is something else.
    #[error("it is no database of Seawall")]
    Foreign,
    /// It is a database of Seawall, and not whole.
    #[error("it is damaged: {what}")]
    Damaged {
        /// What was found first.
        what: String,
    },
    /// Part of what it says is in a file beside it.
    #[error(
        "it is a database in use or one that was not closed, and part of it lies in its -wal file: make a copy with `seawall backup`"
    )]
    NotClosed,
    /// The target is the database itself.
    #[error("that is the database itself")]
    Itself,
    /// The target exists and is no file.
    #[error("it exists and is no regular file")]
    NoFile,
    /// The target is named like the files that the program itself keeps beside the database.
    #[error(
        "names that begin with seawall. are Seawall's own in its data directory: name it otherwise"
    )]
    Ours,
    /// The target exists and is no database.
    #[error("it exists and is no database, so it is not replaced")]
    NoCopy,
    /// A restore was begun and not finished.
    #[error("a restore was not finished: start the server once, or restore again")]
    Unfinished,
    /// Another copy is being written to the same name.
    #[error("another copy is being written there")]
    Busy,
    /// There is no database.
    #[error("there is no database")]
    Missing,
    /// Somebody no longer wants it.
    #[error("it was broken off")]
    Cancelled,
    /// The disk has no room for it.
    #[error("the disk is full")]
    Full,
    /// A file could not be read or written.
    #[error("{0}")]
    Io(io::Error),
    /// The database's other trouble, such as one of a later version.
    #[error(transparent)]
    Database(Error),
}

impl From<Error> for CopyError {
    fn from(error: Error) -> Self {
        match error {
            Error::StorageFull => Self::Full,
            Error::Corrupt { what } => Self::Damaged { what },
            error => Self::Database(error),
        }
    }
}

impl From<io::Error> for CopyError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io(error),
        }
    }
}

/// Breaks off a copy that runs on another thread. Clones belong to the same copy.
#[derive(Clone, Default)]
pub struct Cancel {
    state: Arc<Mutex<Cancelling>>,
}

#[derive(Default)]
struct Cancelling {
    wanted: bool,
    running: Option<InterruptHandle>,
}

/// Breaks a copy off when it is dropped; one that is made is none the worse for it.
pub struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Cancel {
    fn state(&self) -> MutexGuard<'_, Cancelling> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Breaks the copy off, now or before it begins.
    pub fn cancel(&self) {
        let mut state = self.state();
        state.wanted = true;
        if let Some(running) = &state.running {
            running.interrupt();
        }
    }

    /// Returns what breaks the copy off when it is dropped: when whoever waits for it goes away.
    pub fn on_drop(&self) -> CancelOnDrop {
        CancelOnDrop(self.clone())
    }

    /// Runs one statement of the copy on `connection`.
    fn watch<T>(
        &self,
        connection: &mut Connection,
        work: impl FnOnce(&mut Connection) -> Result<T>,
    ) -> std::result::Result<T, CopyError> {
        let mut state = self.state();
        if state.wanted {
            return Err(CopyError::Cancelled);
        }
        state.running = Some(connection.interrupt_handle());
        drop(state);
        let done = work(connection);
        let mut state = self.state();
        state.running = None;
        match done {
            Err(_) if state.wanted => Err(CopyError::Cancelled),
            done => Ok(done?),
        }
    }
}

/// The tables without which nothing is a database of Seawall, since its first version.
const TABLES: &str = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN \
    ('schema_version', 'clock', 'repositories', 'blobs', 'repository_blobs', 'manifests', 'manifest_refs', 'tags', 'uploads')";
const TABLES_COUNT: i64 = 9;

/// Seawall has none; a file that has could do more than hold rows.
const CODE: &str = "SELECT count(*) FROM sqlite_master WHERE type IN ('trigger', 'view')";

/// Writes a copy of the database file `database` to `to`, readable by its owner alone; a file there is replaced once the copy
/// is whole, checked and durable. The database may be in use by this and by other processes. Blocks.
///
/// # Errors
/// [`CopyError`]; then nothing of the copy is left, and a file at `to` is as it was.
pub fn back_up(
    database: &Path,
    to: &Path,
    cancel: &Cancel,
) -> std::result::Result<BackedUp, CopyError> {
    check_target(database, to)?;
    let partial = partial_name(to);
    let file = take_partial(&partial)?;
    let made = make(database, (&partial, &file), cancel).and_then(|made| {
        fs::rename(&partial, to)?;
        sync_directory_of(to)?;
        Ok(made)
    });
    if made.is_err() {
        // The reason of the failure says more than that of this one would.
        drop(remove_copy(&partial));
    }
    made
}

/// Returns how many bytes a copy of the database file `database` takes at most. Blocks.
///
/// # Errors
/// [`CopyError`].
pub fn used_bytes(database: &Path) -> std::result::Result<u64, CopyError> {
    if !database.exists() {
        return Err(CopyError::Missing);
    }
    let mut connection = Connection::open(database, Access::Copy)?;
    let mut number = |sql: &'static str| -> Result<u64> {
        let rows = connection.query(sql, &[])?;
        rows.first().map_or(Ok(0), |row| row.u64(0))
    };
    let pages = number("PRAGMA page_count")?.saturating_sub(number("PRAGMA freelist_count")?);
    Ok(pages.saturating_mul(number("PRAGMA page_size")?))
}

/// How the names of the program's own files begin.
const OURS: &[u8] = b"seawall.";

fn check_target(database: &Path, to: &Path) -> std::result::Result<(), CopyError> {
    let source = match fs::metadata(database) {
        Ok(source) => source,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(match crate::restore::unfinished(database)? {
                Some(_) => CopyError::Unfinished,
                None => CopyError::Missing,
            });
        }
        Err(error) => return Err(error.into()),
    };
    if crate::restore::unfinished(database)?.is_some() {
        return Err(CopyError::Unfinished);
    }
    let there = match fs::metadata(to) {
        Ok(there) => Some(there),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    match there {
        Some(there) if !there.is_file() => Err(CopyError::NoFile),
        Some(there) if is_same(&there, &source) => Err(CopyError::Itself),
        _ if is_ours(database, to)? => Err(CopyError::Ours),
        Some(there) if there.len() > 0 && !is_database(to)? => Err(CopyError::NoCopy),
        _ => Ok(()),
    }
}

/// Tells whether two names are of one file or directory.
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Tells whether `to` is a name that the program may use beside `database`: its log, its lock, its reserve.
fn is_ours(database: &Path, to: &Path) -> io::Result<bool> {
    let is_beside = match fs::metadata(directory_of(to)) {
        Ok(there) => is_same(&there, &fs::metadata(directory_of(database))?),
        // Told when it is written to.
        Err(_) => false,
    };
    let name = to.file_name().unwrap_or_default();
    Ok(is_beside && name.as_encoded_bytes().starts_with(OURS))
}

/// Tells whether a file begins as databases do. <https://www.sqlite.org/fileformat.html>, section 1.3.
fn is_database(file: &Path) -> io::Result<bool> {
    let mut begin = Vec::new();
    File::open(file)?.take(16).read_to_end(&mut begin)?;
    Ok(begin == b"SQLite format 3\0")
}

/// Makes the copy, whole and durable under its partial name.
fn make(
    database: &Path,
    (partial, file): (&Path, &File),
    cancel: &Cancel,
) -> std::result::Result<BackedUp, CopyError> {
    let text = partial.to_str().ok_or_else(|| {
        CopyError::Io(io::Error::new(
            ErrorKind::InvalidInput,
            "its name is not UTF-8",
        ))
    })?;
    let mut source = Connection::open(database, Access::Copy)?;
    let into: [Value; 1] = [text.into()];
    cancel.watch(&mut source, |source| source.query("VACUUM INTO $1", &into))?;
    drop(source);
    let mut copy = Connection::open(partial, Access::Copy)?;
    let as_of = check(&mut copy, cancel)?;
    drop(copy);
    file.sync_all()?;
    let bytes = file.metadata()?.len();
    Ok(BackedUp { bytes, as_of })
}

/// Checks that a file holds a whole database of Seawall that this program may use, and returns the last moment of which it
/// knows, in microseconds since 1970.
pub(crate) fn check(
    connection: &mut Connection,
    cancel: &Cancel,
) -> std::result::Result<i64, CopyError> {
    let tables = count(connection, TABLES)?;
    if tables != TABLES_COUNT || count(connection, CODE)? != 0 {
        return Err(CopyError::Foreign);
    }
    let needs = connection.query("SELECT min_compatible FROM schema_version", &[])?;
    let needs = needs.first().ok_or(CopyError::Foreign)?.i64(0)?;
    let have = migrate::newest();
    if needs > have {
        return Err(Error::TooNew { needs, have }.into());
    }
    let found = cancel.watch(connection, |connection| {
        connection.query("PRAGMA integrity_check(1)", &[])
    })?;
    let verdict = found.first().map(|row| row.text(0)).transpose()?;
    if verdict != Some("ok") {
        let what = verdict.unwrap_or("its check said nothing").to_owned();
        return Err(CopyError::Damaged { what });
    }
    let clock = connection.query("SELECT micros FROM clock", &[])?;
    let clock = clock.first().ok_or_else(|| CopyError::Damaged {
        what: "the clock has no row".to_owned(),
    })?;
    Ok(clock.i64(0)?)
}

fn count(connection: &mut Connection, sql: &'static str) -> std::result::Result<i64, CopyError> {
    let rows = connection.query(sql, &[])?;
    let row = rows.first().ok_or(CopyError::Foreign)?;
    Ok(row.i64(0)?)
}

/// Opens the file under which a copy is written, empty, for this copy alone. What a crash left of another one is used again.
///
/// SQLite takes an empty file for a new one, and gives no rights that it does not have.
fn take_partial(partial: &Path) -> std::result::Result<File, CopyError> {
    loop {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(partial)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(CopyError::Busy),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        // It may have been given its final name between the two steps, and must then not be touched.
        let own = file.metadata()?;
        let there = fs::metadata(partial);
        if there.is_ok_and(|there| (there.dev(), there.ino()) == (own.dev(), own.ino())) {
            file.set_len(0)?;
            return Ok(file);
        }
    }
}

/// Returns the name beside `to` under which it is written.
fn partial_name(to: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(to.file_name().unwrap_or_default());
    name.push(".partial");
    to.with_file_name(name)
}

/// Removes a copy that is not whole, with what SQLite may have put beside it.
pub(crate) fn remove_copy(file: &Path) -> io::Result<()> {
    for suffix in ["", "-journal", "-wal", "-shm"] {
        match fs::remove_file(with_suffix(file, suffix)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

pub(crate) fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(suffix);
    PathBuf::from(name)
}

/// Makes the entries of a file's directory durable.
pub(crate) fn sync_directory_of(file: &Path) -> io::Result<()> {
    File::open(directory_of(file))?.sync_all()
}

/// Returns the directory a file is in.
pub(crate) fn directory_of(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    }
}
