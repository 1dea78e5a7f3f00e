//! Writing link files and taking them away, so that a Distribution that runs on the same root never reads half of one.
//! Nothing is flushed here: who writes many flushes once, with [`LinkFiles::flush`].

use std::fs::{self, File};
use std::io;
use std::path::Path;

use oci::Digest;

use super::file::{self, LinkFile, is_absence};
use super::find::{LinkFiles, RepositoryLinks};
use super::place::{self, LinkPlace};

/// What a new link is called until it is whole. Always the same, so that what a crash leaves is used again.
const TEMPORARY: &str = "link.seawall.tmp";

impl LinkFiles {
    /// Makes all that was written or removed survive a power cut.
    ///
    /// # Errors
    /// What the file system says; then nothing written since the last success may be relied on.
    pub fn flush(&self) -> io::Result<()> {
        match File::open(self.root()) {
            // Nothing was ever written here.
            Err(error) if is_absence(&error) => Ok(()),
            directory => Ok(rustix::fs::syncfs(directory?)?),
        }
    }
}

impl RepositoryLinks {
    /// Returns the link at `place`, if there is one.
    ///
    /// # Errors
    /// What the file system says.
    pub fn read(&self, place: LinkPlace<'_>) -> io::Result<Option<LinkFile>> {
        file::read(&place.file(self.directory()))
    }

    /// Writes a link over whatever is there.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, place: LinkPlace<'_>, target: &Digest) -> io::Result<()> {
        let path = place.file(self.directory());
        let directory = path.parent().unwrap_or(Path::new("/"));
        let temporary = directory.join(TEMPORARY);
        let text = target.to_string();
        match fs::write(&temporary, &text) {
            Err(error) if is_absence(&error) => {
                fs::create_dir_all(directory)?;
                fs::write(&temporary, &text)?;
            }
            written => written?,
        }
        fs::rename(&temporary, &path)
    }

    /// Takes a link away, with the directory that is its own; one that is not there is fine.
    ///
    /// # Errors
    /// What the file system says.
    pub fn remove(&self, place: LinkPlace<'_>) -> io::Result<()> {
        match fs::remove_dir_all(place.directory(self.directory())) {
            Err(error) if is_absence(&error) => Ok(()),
            removed => removed,
        }
    }

    /// Takes away the directories of the repository that hold nothing any more, and those above it: Distribution lists
    /// a repository for as long as they are there.
    ///
    /// # Errors
    /// What the file system says.
    pub fn remove_empty(&self, files: &LinkFiles) -> io::Result<()> {
        let directory = self.directory();
        for part in [
            place::layers(directory),
            place::revisions(directory),
            place::tags(directory),
            place::uploads(directory),
        ] {
            for algorithm in ["sha256", "sha512"] {
                remove_if_empty(&part.join(algorithm))?;
            }
            remove_if_empty(&part)?;
        }
        remove_if_empty(&place::manifests(directory))?;
        for name in directory.ancestors() {
            if name == files.root() || !name.starts_with(files.root()) || !remove_if_empty(name)? {
                break;
            }
        }
        Ok(())
    }
}

/// Removes a directory that is empty, and returns whether nothing is there any more.
fn remove_if_empty(directory: &Path) -> io::Result<bool> {
    match fs::remove_dir(directory) {
        Ok(()) => Ok(true),
        Err(error) if is_absence(&error) => Ok(true),
        Err(error)
            if matches!(
                error.kind(),
                // What some file systems say for a directory that is not empty: rmdir(2).
                io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
