//! The step from upload to blob, in the order that survives a power cut at any point:
//! flush the upload, give it a second name, rename that over the blob's, flush every directory that got an entry.
//! A reader never sees a part of a blob under its final name, and a failed flush is never tried again.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use oci::UploadId;
use rustix::io::Errno;

use crate::error::{Error, ErrorKind, Result};

use super::directories::{remove_file_if_present, sync_directory};
use super::driver::Filesystem;
use super::files::open_locked;
use super::layout::BlobPlace;
use super::uploads::check_not_shorter;

const CONTEXT: &str = "publishing an upload";

/// How often a blob's directory is made again when a deletion takes the empty one away; each try loses to one
/// deletion at most, so this many in a row mean that something else is wrong.
const PLACE_ATTEMPTS: usize = 16;

/// The shards whose own names this process has flushed. At most 256 per algorithm; losing it costs a few flushes.
#[derive(Default)]
pub(super) struct DurableShards(Mutex<BTreeSet<PathBuf>>);

impl DurableShards {
    fn contains(&self, shard: &Path) -> bool {
        let shards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shards.contains(shard)
    }

    fn insert(&self, shard: PathBuf) {
        let mut shards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shards.insert(shard);
    }
}

impl Filesystem {
    pub(super) fn publish_upload(&self, id: &UploadId, size: u64, place: &BlobPlace) -> Result<()> {
        let upload = self.layout().upload(id);
        let file = open_locked(&upload, CONTEXT)?;
        let have = file.metadata().map_err(Error::while_doing(CONTEXT))?.len();
        check_not_shorter(have, size, CONTEXT)?;
        if have > size {
            let what = format!("{have} bytes are there, {size} were to be published");
            return Err(Error::found(ErrorKind::Other, CONTEXT, what));
        }
        self.flushed_or_discarded(id, file.sync_all())?;

        let staged = self.layout().staged(id);
        let source = stage(&upload, &staged, |from, to| fs::hard_link(from, to))
            .map_err(Error::while_doing(CONTEXT))?;
        let shard = self
            .move_into_place(source, place)
            .map_err(Error::while_doing(CONTEXT))?;
        // Renaming one name of a file over another of the same file does nothing: so when this upload was published
        // before, its second name is still there.
        remove_file_if_present(&staged).map_err(Error::while_doing(CONTEXT))?;
        self.flushed_or_discarded(id, self.sync_place(place, shard))
    }

    /// Passes a flush's success on. After a failure it removes the upload: the kernel reports lost bytes once, so the
    /// client's next attempt would be told that all is well. With the upload gone it starts again from nothing.
    fn flushed_or_discarded(&self, id: &UploadId, flushed: io::Result<()>) -> Result<()> {
        flushed.map_err(|source| {
            // The failed flush is what the caller must hear of, whatever becomes of the rest.
            drop(self.remove_upload(id));
            Error::while_doing("flushing a publication")(source)
        })
    }

    /// Renames `source` to the blob's name and makes the directories on the way.
    pub(super) fn move_into_place(&self, source: &Path, place: &BlobPlace) -> io::Result<Shard> {
        let mut shard = Shard::Existed;
        let mut attempt = 1;
        loop {
            if make_directory(place)? == Shard::Created {
                shard = Shard::Created;
            }
            match fs::rename(source, &place.data) {
                Ok(()) => return Ok(shard),
                // A deletion of the same digest may remove the directory while it is still empty.
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound && attempt < PLACE_ATTEMPTS =>
                {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Flushes the directories that lead to the blob. An entry that was there already may be another publisher's who
    /// has not flushed it yet, so having created it or not does not matter.
    pub(super) fn sync_place(&self, place: &BlobPlace, shard: Shard) -> io::Result<()> {
        sync_directory(&place.directory)?;
        sync_directory(&place.shard)?;
        if shard == Shard::Created || !self.durable_shards().contains(&place.shard) {
            sync_directory(&place.algorithm)?;
            sync_directory(self.layout().blobs())?;
            self.durable_shards().insert(place.shard.clone());
        }
        Ok(())
    }
}

/// Whether this publication made the shard's directory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shard {
    Existed,
    Created,
}

/// Makes the blob's directory, and the shard when it is missing.
fn make_directory(place: &BlobPlace) -> io::Result<Shard> {
    match create_unless_present(&place.directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(&place.shard)?;
            create_unless_present(&place.directory)?;
            Ok(Shard::Created)
        }
        made => made.map(|()| Shard::Existed),
    }
}

/// Makes one directory. `create_dir_all` would look at one that exists, and fail when a deletion takes it just then.
fn create_unless_present(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Gives the upload the second name `staged` by `link`, and returns the name to rename: that one, so that the upload
/// stays for another attempt, or the upload's own where the file system refuses links.
fn stage<'a>(
    upload: &'a Path,
    staged: &'a Path,
    link: impl Fn(&Path, &Path) -> io::Result<()>,
) -> io::Result<&'a Path> {
    let linked = match link(upload, staged) {
        // Left by a crash, and maybe a name of older bytes.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            remove_file_if_present(staged)?;
            link(upload, staged)
        }
        linked => linked,
    };
    match linked {
        Ok(()) => Ok(staged),
        Err(error) if refuses_links(&error) => Ok(upload),
        Err(error) => Err(error),
    }
}

/// Whether the file system, or its limit of names per file, is the reason: link(2).
fn refuses_links(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::PERM | Errno::OPNOTSUPP | Errno::MLINK | Errno::XDEV | Errno::NOSYS)
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io;

    use oci::UploadId;
    use rustix::io::Errno;

    use super::stage;
    use crate::error::ErrorKind;
    use crate::filesystem::Filesystem;
    use crate::store::BlobStore;

    #[test]
    fn where_links_are_refused_the_upload_itself_is_renamed() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let (upload, staged) = (directory.path().join("a"), directory.path().join("b"));
        for errno in [
            Errno::PERM,
            Errno::OPNOTSUPP,
            Errno::MLINK,
            Errno::XDEV,
            Errno::NOSYS,
        ] {
            let source = stage(&upload, &staged, |_, _| Err(errno.into()))
                .expect("the refusal has a way round");
            assert_eq!(source, upload, "{errno}");
        }
    }

    #[test]
    fn a_broken_or_full_disk_is_not_taken_for_a_refused_link() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let (upload, staged) = (directory.path().join("a"), directory.path().join("b"));
        for errno in [Errno::IO, Errno::NOSPC, Errno::DQUOT, Errno::ROFS] {
            let error = stage(&upload, &staged, |_, _| Err(errno.into()))
                .expect_err("the link failed for another reason");
            assert_eq!(Errno::from_io_error(&error), Some(errno));
        }
    }

    #[test]
    fn a_second_name_left_by_a_crash_gives_way() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let (upload, staged) = (directory.path().join("a"), directory.path().join("b"));
        fs::write(&upload, b"new").expect("the directory takes files");
        fs::write(&staged, b"older").expect("the directory takes files");

        let source = stage(&upload, &staged, |from, to| fs::hard_link(from, to))
            .expect("the leftover is removed");

        assert_eq!(source, staged);
        assert_eq!(fs::read(&staged).expect("the link is there"), b"new");
    }

    #[test]
    fn a_failed_flush_discards_the_upload_so_that_no_retry_can_succeed() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let store = Filesystem::open(directory.path()).expect("an empty root can be opened");
        let id = UploadId::parse("0c8f5a3e-3c5e-4f6b-9d55-6b1f0e0a7c11").expect("a canonical id");
        store.begin_upload(&id).expect("the root takes uploads");

        let error = store
            .flushed_or_discarded(&id, Err(io::Error::from(Errno::IO)))
            .expect_err("the failure is passed on");

        assert_eq!(error.kind(), ErrorKind::Other);
        let gone = store.read_upload(&id).expect_err("the upload was removed");
        assert_eq!(gone.kind(), ErrorKind::NotFound);
    }
}
