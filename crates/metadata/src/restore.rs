//! Putting a copy in the place of the database, where nobody uses it. The copy is prepared under a name of its own; the
//! rename that makes it `….restored.<time>` is the decision: before it a crash leaves the old database, after it the next
//! start finishes and has the new one. What is replaced stays beside it.
//!
//! ```text
//! seawall.db.restoring         a copy being prepared; dropped at the next start
//! seawall.db.restored.<time>   decided: takes the place of seawall.db, now or at the next start
//! seawall.db.replaced.<time>   what stood there before, with its -wal file if it had one
//! ```

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Seek};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::backup::{
    Cancel, CopyError, check, directory_of, remove_copy, sync_directory_of, with_suffix,
};
use crate::migrate::migrate;
use crate::sqlite::{Access, Connection};

/// How every SQLite file begins.
const MAGIC: &[u8] = b"SQLite format 3\0";

const RESTORING: &str = ".restoring";
const RESTORED: &str = ".restored.";
const REPLACED: &str = ".replaced.";

/// A database that was put in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The last moment of which it knows, in microseconds since 1970.
    pub as_of: i64,
    /// Where the replaced one lies now, if there was one.
    pub replaced: Option<PathBuf>,
}

/// What must not come back as it was. `$1` now.
///
/// What was being deleted is gone or has been stored anew since. What a job was doing then is not begun again now. What may
/// be collected gets its whole grace again, in which an operator can find that something is missing. A scrub begins anew: what
/// it had found right was so before whatever made the restore necessary.
const PREPARE: [&str; 5] = [
    "UPDATE clock SET micros = $1 WHERE micros < $1",
    "DELETE FROM blobs WHERE state = 2",
    "UPDATE gc_candidates SET since = $1 WHERE since < $1",
    "DELETE FROM scrubs",
    "UPDATE jobs SET state = 4, error = 'the database was restored', finished_at = $1, claimed_by = NULL, claimed_until = NULL \
        WHERE state IN (1, 2)",
];

/// As after an unclean end, somebody may have been told since that something exists.
const HOLD: &str = "UPDATE upkeep SET clean = 0";

/// Puts a copy of the file `from` in the place of `database`. `now` is the time in microseconds since 1970, behind which
/// the database's clock is not left; `stamp` names the moment in the name of what is replaced. The caller owns the directory
/// of `database`. Blocks.
///
/// # Errors
/// [`CopyError`]; then the database is as it was.
pub fn restore(from: &Path, database: &Path, now: i64, stamp: &str) -> Result<Restored, CopyError> {
    finish_restore(database)?;
    let preparing = with_suffix(database, RESTORING);
    let prepared = copy(from, &preparing).and_then(|()| {
        let as_of = prepare(&preparing, now.max(last_time_of(database)))?;
        take_owner(database, &preparing)?;
        File::open(&preparing)?.sync_all()?;
        Ok(as_of)
    });
    let as_of = match prepared {
        Ok(as_of) => as_of,
        Err(error) => {
            // The reason of the failure says more than that of this one would.
            drop(remove_copy(&preparing));
            return Err(error);
        }
    };
    let stamp = unused(database, stamp);
    fs::rename(
        &preparing,
        with_suffix(database, &format!("{RESTORED}{stamp}")),
    )?;
    sync_directory_of(database)?;
    let replaced = finish_restore(database)?;
    Ok(Restored { as_of, replaced })
}

/// Finishes a restore that was decided, and drops what one left that was not; returns where the replaced database lies, if
/// there was one to replace. Has to be called before a database is opened, by who owns its directory. Blocks.
///
/// # Errors
/// Those of the file system; calling it again goes on.
pub fn finish_restore(database: &Path) -> io::Result<Option<PathBuf>> {
    remove_copy(&with_suffix(database, RESTORING))?;
    let Some((decided, stamp)) = unfinished(database)? else {
        return Ok(None);
    };
    let replaced = with_suffix(database, &format!("{REPLACED}{stamp}"));
    // Never one without the other: what is in the log file belongs to the replaced database.
    move_away(
        &with_suffix(database, "-wal"),
        &with_suffix(&replaced, "-wal"),
    )?;
    move_away(database, &replaced)?;
    match fs::remove_file(with_suffix(database, "-shm")) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    sync_directory_of(database)?;
    fs::rename(decided, database)?;
    sync_directory_of(database)?;
    Ok(replaced.exists().then_some(replaced))
}

/// Tells whether the database is in place or will be once [`finish_restore`] was called.
pub fn is_there(database: &Path) -> bool {
    database.exists() || unfinished(database).is_ok_and(|decided| decided.is_some())
}

/// Returns the file of a restore that was decided and not finished, and the moment it is named by.
pub(crate) fn unfinished(database: &Path) -> io::Result<Option<(PathBuf, String)>> {
    let Some(name) = database.file_name().and_then(|name| name.to_str()) else {
        return Ok(None);
    };
    let prefix = format!("{name}{RESTORED}");
    let entries = match fs::read_dir(directory_of(database)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if let Some(stamp) = name.to_str().and_then(|name| name.strip_prefix(&prefix)) {
            return Ok(Some((entry.path(), stamp.to_owned())));
        }
    }
    Ok(None)
}

/// Returns a stamp by which nothing was replaced yet.
fn unused(database: &Path, stamp: &str) -> String {
    let is_free = |stamp: &String| {
        let replaced = with_suffix(database, &format!("{REPLACED}{stamp}"));
        !replaced.exists() && !with_suffix(&replaced, "-wal").exists()
    };
    let numbered = (2..).map(|number| format!("{stamp}-{number}"));
    let mut stamps = std::iter::once(stamp.to_owned()).chain(numbered);
    stamps
        .find(is_free)
        .expect("numbers do not end, and files in a directory do")
}

fn move_away(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        moved => moved,
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), CopyError> {
    let log = fs::metadata(with_suffix(from, "-wal"));
    if log.is_ok_and(|log| log.len() > 0) {
        return Err(CopyError::NotClosed);
    }
    let mut source = File::open(from)?;
    if !source.metadata()?.is_file() {
        return Err(CopyError::NoFile);
    }
    let mut beginning = Vec::new();
    source
        .by_ref()
        .take(MAGIC.len() as u64)
        .read_to_end(&mut beginning)?;
    if beginning != MAGIC {
        return Err(CopyError::Foreign);
    }
    source.rewind()?;
    let mut target = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)?;
    io::copy(&mut source, &mut target)?;
    Ok(())
}

/// Checks the copy and makes of it what the next start can go on from; returns the last moment of which it knows.
fn prepare(copy: &Path, now: i64) -> Result<i64, CopyError> {
    let mut connection = Connection::open(copy, Access::Copy)?;
    let as_of = check(&mut connection, &Cancel::default())?;
    migrate(&mut connection)?;
    connection.execute("BEGIN IMMEDIATE", &[])?;
    for statement in PREPARE {
        connection.execute(statement, &[now.into()])?;
    }
    connection.execute(HOLD, &[])?;
    connection.execute("COMMIT", &[])?;
    // One file, whatever the copy was: its log file would not come along.
    connection.query("PRAGMA journal_mode = DELETE", &[])?;
    Ok(as_of)
}

/// Returns the last time of the database that is being replaced, as far as it can still be read.
fn last_time_of(database: &Path) -> i64 {
    if !database.exists() {
        return 0;
    }
    let mut connection = match Connection::open(database, Access::Copy) {
        Ok(connection) => connection,
        Err(_) => return 0,
    };
    let rows = connection.query("SELECT micros FROM clock", &[]);
    let row = rows.ok().and_then(|rows| rows.into_iter().next());
    row.and_then(|row| row.i64(0).ok()).unwrap_or(0)
}

/// Gives the file to whom the database belongs: the administrator may restore what the server's own user is to open.
fn take_owner(database: &Path, file: &Path) -> io::Result<()> {
    let about = match fs::metadata(database) {
        Ok(about) => {
            let mode = about.permissions().mode() & 0o666;
            fs::set_permissions(file, Permissions::from_mode(mode))?;
            about
        }
        Err(_) => fs::metadata(directory_of(database))?,
    };
    let own = fs::metadata(file)?;
    if (own.uid(), own.gid()) == (about.uid(), about.gid()) {
        return Ok(());
    }
    match chown(file, Some(about.uid()), Some(about.gid())) {
        // Who may not give it away keeps it, as everything else he makes here.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        given => given,
    }
}
