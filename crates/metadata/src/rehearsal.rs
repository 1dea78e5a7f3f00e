//! A private copy of the database on which something is tried out: what it tells is what would happen, and nothing of it
//! does. It holds no lock while it is used, and goes when it is dropped; what a crash leaves goes at the next start.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::database::Metadata;
use crate::error::{Error, Result};
use crate::sqlite::{Access, Connection};
use crate::value::Value;

/// A copy of the database as it was at one moment.
pub struct Rehearsal {
    metadata: Metadata,
    file: PathBuf,
}

impl Rehearsal {
    /// Returns the copy.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Closes the copy and removes it.
    pub async fn end(self) {
        self.metadata.close().await;
    }
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        // What cannot be removed now is at the next start.
        drop(remove(&self.file));
    }
}

impl Metadata {
    /// Copies the database beside itself, for one rehearsal at a time.
    ///
    /// # Errors
    /// [`Error::StorageFull`] when there is no room for the copy.
    pub async fn rehearse(&self) -> Result<Rehearsal> {
        let (database, clock) = self.source()?;
        let copied = tokio::task::spawn_blocking(move || {
            let file = file_of(&database);
            let opened = remove(&file)
                .and_then(|()| copy(&database, &file))
                .and_then(|()| Self::open_copy(&file, Arc::clone(&clock)));
            match opened {
                Ok(metadata) => Ok(Rehearsal { metadata, file }),
                Err(error) => {
                    drop(remove(&file));
                    Err(error)
                }
            }
        });
        copied
            .await
            .map_err(|_| Error::unavailable("copying the database broke off"))?
    }
}

fn copy(database: &Path, file: &Path) -> Result<()> {
    let text = file.to_str();
    let text = text.ok_or_else(|| Error::unavailable("the name of its directory is not UTF-8"))?;
    let mut connection = Connection::open(database, Access::Write)?;
    let into: [Value; 1] = [text.into()];
    connection.query("VACUUM INTO $1", &into).map(drop)
}

/// Returns where the copy of a database lies.
fn file_of(database: &Path) -> PathBuf {
    with_suffix(database, ".rehearsal")
}

fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(suffix);
    PathBuf::from(name)
}

/// Removes what a rehearsal that broke off left of its copy of `database`.
pub(crate) fn remove_left(database: &Path) -> Result<()> {
    remove(&file_of(database))
}

fn remove(file: &Path) -> Result<()> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        match std::fs::remove_file(with_suffix(file, suffix)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::Unavailable {
                    source: Arc::new(error),
                });
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}
