//! The filesystem driver. Published blobs lie at Distribution's paths, so that a root can be shared:
//!
//! ```text
//! <root>/docker/registry/v2/blobs/<alg>/<first 2 hex>/<hex>/data        a blob
//! <root>/docker/registry/v2/blobs/<alg>/<first 2 hex>/<hex>/data.<key>  another copy, under its key
//! <root>/uploads/<upload id>                                            bytes on their way
//! ```
//!
//! A file gets its final name only when its bytes are durable: fsync the file, link it beside its target
//! under a temporary name, rename that onto the target, fsync the directories. Nothing here may skip a
//! step of that, nor turn a failed fsync into a success.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use oci::UploadId;
use rustix::fs::OFlags;

use crate::address::BlobAddress;
use crate::error::{Error, Result, While};
use crate::store::{Appender, BlobFile, BlobStore, Capabilities, UploadState};

const BLOBS: &str = "docker/registry/v2/blobs";
const UPLOADS: &str = "uploads";

/// The format of this driver's upload states; an upload is wholly told by its file.
const STATE_FORMAT: u8 = 1;

/// Blobs in a directory.
#[derive(Debug)]
pub struct Filesystem {
    root: PathBuf,
}

impl Filesystem {
    /// Opens the store in `root`, making its directories.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn open(root: &Path) -> Result<Self> {
        for directory in [BLOBS, UPLOADS] {
            fs::create_dir_all(root.join(directory)).while_doing("make the store's directories")?;
        }
        Ok(Self {
            root: root.to_owned(),
        })
    }

    fn blob_path(&self, at: &BlobAddress) -> PathBuf {
        let hex = at.digest.hex();
        let mut path = self.root.join(BLOBS);
        path.push(at.digest.algorithm().as_str());
        path.push(&hex[..2]);
        path.push(&hex);
        path.push(match &at.key {
            Some(key) => format!("data.{}", key.as_str()),
            None => "data".to_owned(),
        });
        path
    }

    fn upload_path(&self, id: &UploadId) -> PathBuf {
        self.root.join(UPLOADS).join(id.as_str())
    }

    fn state() -> UploadState {
        UploadState::of_driver(vec![STATE_FORMAT])
    }
}

impl BlobStore for Filesystem {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            min_chunk: None,
            reread_uploads: true,
        }
    }

    fn open(&self, at: &BlobAddress) -> Result<BlobFile> {
        let file = open_plain(&self.blob_path(at)).while_doing("open a blob")?;
        let found = file.metadata().while_doing("open a blob")?;
        if !found.is_file() {
            return Err(Error::new("open a blob", io::ErrorKind::InvalidData.into()));
        }
        Ok(BlobFile {
            size: found.len(),
            file,
        })
    }

    fn begin_upload(&self, id: &UploadId) -> Result<UploadState> {
        File::create(self.upload_path(id)).while_doing("begin an upload")?;
        Ok(Self::state())
    }

    fn append(
        &self,
        id: &UploadId,
        _state: &UploadState,
        offset: u64,
    ) -> Result<Box<dyn Appender>> {
        let file = File::options()
            .append(true)
            .open(self.upload_path(id))
            .while_doing("continue an upload")?;
        let have = file.metadata().while_doing("continue an upload")?.len();
        if have < offset {
            return Err(Error::too_short(have));
        }
        if have > offset {
            file.set_len(offset).while_doing("continue an upload")?;
        }
        Ok(Box::new(FileAppender {
            file,
            failed: false,
        }))
    }

    fn read_upload(&self, id: &UploadId) -> Result<File> {
        open_plain(&self.upload_path(id)).while_doing("read an upload")
    }

    fn publish(
        &self,
        id: &UploadId,
        _state: &UploadState,
        size: u64,
        at: &BlobAddress,
    ) -> Result<()> {
        let upload = self.upload_path(id);
        let file = File::open(&upload).while_doing("publish a blob")?;
        let have = file.metadata().while_doing("publish a blob")?.len();
        if have != size {
            return Err(Error::too_short(have));
        }
        // Also after the appender's own flush: the file may have been continued by another process.
        file.sync_all().while_doing("publish a blob")?;
        let target = self.blob_path(at);
        let directory = parent(&target)?;
        let made = make_directories(directory).while_doing("publish a blob")?;
        put_in_place(&upload, id, &target).while_doing("publish a blob")?;
        sync_directories(directory, made).while_doing("publish a blob")
    }

    fn abort_upload(&self, id: &UploadId) -> Result<()> {
        remove(&self.upload_path(id)).while_doing("remove an upload")
    }

    fn list_uploads(&self) -> Result<Vec<UploadId>> {
        let entries = fs::read_dir(self.root.join(UPLOADS)).while_doing("list uploads")?;
        let mut ids = Vec::new();
        for entry in entries {
            let name = entry.while_doing("list uploads")?.file_name();
            ids.extend(name.to_str().and_then(|name| UploadId::parse(name).ok()));
        }
        Ok(ids)
    }

    fn delete(&self, at: &BlobAddress) -> Result<()> {
        let path = self.blob_path(at);
        remove(&path).while_doing("delete a blob")?;
        // The directory of the digest goes with its last copy; one that is not empty stays.
        match fs::remove_dir(parent(&path)?) {
            Ok(()) => Ok(()),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(Error::new("delete a blob", error)),
        }
    }
}

struct FileAppender {
    file: File,
    failed: bool,
}

impl Appender for FileAppender {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.refuse_after_failure()?;
        let written = self.file.write_all(bytes);
        self.failed = written.is_err();
        written.while_doing("write an upload")
    }

    fn flush(&mut self) -> Result<UploadState> {
        self.refuse_after_failure()?;
        let synced = self.file.sync_data();
        // After a failed fsync the kernel may have dropped the pages: a second one would lie.
        self.failed = synced.is_err();
        synced.while_doing("make an upload durable")?;
        Ok(Filesystem::state())
    }
}

impl FileAppender {
    fn refuse_after_failure(&self) -> Result<()> {
        if self.failed {
            let earlier = io::Error::other("an earlier write failed");
            return Err(Error::new("write an upload", earlier));
        }
        Ok(())
    }
}

/// Opens a file for reading, and never what a link with its name points to.
fn open_plain(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path)
}

fn parent(path: &Path) -> Result<&Path> {
    path.parent()
        .ok_or_else(|| Error::new("find a directory", io::ErrorKind::InvalidInput.into()))
}

/// Makes a directory with its parents; returns how many were missing.
fn make_directories(directory: &Path) -> io::Result<usize> {
    let missing = directory
        .ancestors()
        .take_while(|ancestor| !ancestor.is_dir())
        .count();
    fs::create_dir_all(directory)?;
    Ok(missing)
}

/// Makes the directory's new entry durable, and the entries of the `made` directories above it.
fn sync_directories(directory: &Path, made: usize) -> io::Result<()> {
    for ancestor in directory.ancestors().take(made + 1) {
        File::open(ancestor)?.sync_all()?;
    }
    Ok(())
}

/// Gives the upload's file its final name, keeping its first one where the file system can.
fn put_in_place(upload: &Path, id: &UploadId, target: &Path) -> io::Result<()> {
    let temporary = target.with_file_name(format!("{id}.tmp"));
    match fs::hard_link(upload, &temporary) {
        Ok(()) => {}
        // Left by a crash between link and rename.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(&temporary)?;
            fs::hard_link(upload, &temporary)?;
        }
        Err(error) if refuses_links(&error) => return fs::rename(upload, target),
        Err(error) => return Err(error),
    }
    fs::rename(&temporary, target)?;
    // When both names are links of one file rename does nothing, and the temporary one stays.
    remove(&temporary)
}

fn refuses_links(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied
            | io::ErrorKind::Unsupported
            | io::ErrorKind::TooManyLinks
            | io::ErrorKind::CrossesDevices
    )
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use oci::{Algorithm, Digest};

    use super::Filesystem;
    use crate::BlobStore;
    use crate::address::BlobAddress;
    use crate::contract::{self, id};

    fn with_store(clause: impl FnOnce(&dyn BlobStore)) {
        let root = tempfile::tempdir().expect("a temporary directory");
        let store = Filesystem::open(root.path()).expect("a store");
        clause(&store);
        let left: Vec<_> = temporary_files(root.path());
        assert!(left.is_empty(), "temporary files stay: {left:?}");
    }

    fn temporary_files(root: &std::path::Path) -> Vec<std::path::PathBuf> {
        let mut found = Vec::new();
        for entry in fs::read_dir(root).expect("a directory").flatten() {
            if entry.path().is_dir() {
                found.extend(temporary_files(&entry.path()));
            } else if entry
                .path()
                .extension()
                .is_some_and(|ending| ending == "tmp")
            {
                found.push(entry.path());
            }
        }
        found
    }

    #[test]
    fn keeps_the_contract() {
        for clause in contract::CLAUSES {
            with_store(clause);
        }
    }

    #[test]
    fn a_blob_lies_at_the_path_of_distribution() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let store = Filesystem::open(root.path()).expect("a store");
        let at = contract::stored(&store, b"seawall", None);
        let hex = at.digest.hex();
        let path = format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
        assert_eq!(fs::read(root.path().join(path)).expect("there"), b"seawall");
    }

    #[test]
    fn a_link_in_place_of_a_blob_is_not_followed() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let store = Filesystem::open(root.path()).expect("a store");
        let at = BlobAddress {
            digest: Digest::of(Algorithm::Sha256, b"x"),
            key: None,
        };
        let path = store.blob_path(&at);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        symlink("/etc/passwd", &path).expect("linked");
        assert!(store.open(&at).is_err());
    }

    #[test]
    fn errors_say_nothing_of_paths() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let store = Filesystem::open(root.path()).expect("a store");
        let error = store.read_upload(&id(9)).expect_err("not there");
        let text = error.to_string();
        assert!(!text.contains('/'), "{text}");
    }

    #[test]
    fn foreign_files_among_the_uploads_are_no_uploads() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let store = Filesystem::open(root.path()).expect("a store");
        fs::write(root.path().join("uploads/notes.txt"), "x").expect("written");
        assert!(store.list_uploads().expect("a list").is_empty());
    }
}
