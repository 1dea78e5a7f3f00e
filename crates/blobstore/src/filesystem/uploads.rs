//! Open uploads: one file each, under the id's name.
//! Bytes that were published are never written to again, even when their upload goes on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;

use oci::UploadId;

use crate::error::{Error, ErrorKind, Result};
use crate::store::UploadState;

use super::directories::remove_file_if_present;
use super::driver::Filesystem;
use super::files::{lock, open_locked, without_surprises};
use super::layout::upload_of;

/// The format of this driver's state: the file is all there is to know, so nothing follows the number.
const STATE_FORMAT: u8 = 1;

/// Returns the state of every upload in a file system.
pub(super) fn current_state() -> UploadState {
    UploadState::from_bytes(vec![STATE_FORMAT])
}

/// Refuses a state that this driver did not write.
pub(super) fn check_state(state: &UploadState, context: &'static str) -> Result<()> {
    if state.as_bytes() == [STATE_FORMAT] {
        return Ok(());
    }
    let what = match state.as_bytes().first() {
        Some(format) => format!("upload state of format {format} is not known here"),
        None => "the upload state is empty".to_owned(),
    };
    Err(Error::found(ErrorKind::Other, context, what))
}

impl Filesystem {
    pub(super) fn create_upload(&self, id: &UploadId) -> Result<()> {
        let mut options = OpenOptions::new();
        without_surprises(options.write(true).create_new(true))
            .open(self.layout().upload(id))
            .map_err(Error::while_doing("beginning an upload"))?;
        Ok(())
    }

    /// Opens the upload locked, cut to `offset` bytes and positioned there.
    pub(super) fn open_upload_at(&self, id: &UploadId, offset: u64) -> Result<File> {
        const CONTEXT: &str = "opening an upload";
        let failed = Error::while_doing(CONTEXT);
        let mut file = open_locked(&self.layout().upload(id), CONTEXT)?;
        let metadata = file.metadata().map_err(failed)?;
        check_not_shorter(metadata.len(), offset, CONTEXT)?;
        if metadata.nlink() > 1 {
            file = self.replace_by_copy(id, &file, offset)?;
        } else if metadata.len() > offset {
            file.set_len(offset).map_err(failed)?;
        }
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        Ok(file)
    }

    /// Puts a locked copy of the first `offset` bytes in the place of an upload that was published by a link: cutting
    /// or writing the file itself would damage the blob. Clients get here when the server died between publishing
    /// and committing, or when the commit failed.
    fn replace_by_copy(&self, id: &UploadId, published: &File, offset: u64) -> Result<File> {
        const CONTEXT: &str = "copying a published upload";
        let path = self.layout().copy(id);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let mut copy = without_surprises(&mut options)
            .open(&path)
            .map_err(Error::while_doing(CONTEXT))?;
        lock(&copy, CONTEXT)?;
        let copied = io::copy(&mut published.take(offset), &mut copy)
            .map_err(Error::while_doing(CONTEXT))?;
        check_not_shorter(copied, offset, CONTEXT)?;
        // The caller's row says that these bytes are durable; the name must not reach a file where they are not.
        copy.sync_data().map_err(Error::while_doing(CONTEXT))?;
        fs::rename(&path, self.layout().upload(id)).map_err(Error::while_doing(CONTEXT))?;
        Ok(copy)
    }

    pub(super) fn remove_upload(&self, id: &UploadId) -> Result<()> {
        let layout = self.layout();
        for path in [layout.staged(id), layout.copy(id), layout.upload(id)] {
            remove_file_if_present(&path).map_err(Error::while_doing("aborting an upload"))?;
        }
        Ok(())
    }

    pub(super) fn find_uploads(&self) -> Result<Vec<UploadId>> {
        let failed = Error::while_doing("listing uploads");
        let mut found = Vec::new();
        for entry in fs::read_dir(self.layout().uploads()).map_err(failed)? {
            found.extend(upload_of(&entry.map_err(failed)?.file_name()));
        }
        // What a crash left beside an upload has the same id.
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }
}

/// Refuses an upload of `have` bytes where `wanted` are counted on.
pub(super) fn check_not_shorter(have: u64, wanted: u64, context: &'static str) -> Result<()> {
    if have >= wanted {
        return Ok(());
    }
    Err(Error::found(
        ErrorKind::UploadTooShort { have },
        context,
        format!("{have} bytes are there, {wanted} were expected"),
    ))
}
