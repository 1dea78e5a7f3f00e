//! The driver's face: each method of the trait, told in the steps that the files beside this one know.

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use oci::UploadId;

use crate::address::BlobAddress;
use crate::error::{Error, Result};
use crate::store::{Appender, BlobFile, BlobStore, Capabilities, UploadState};

use super::appender::FileAppender;
use super::directories::{
    create_directory_durably, remove_file_if_present, sync_directory, sync_directory_if_present,
};
use super::files::open_for_reading;
use super::layout::Layout;
use super::listing::visit_blobs;
use super::publish::DurableShards;
use super::uploads::{check_state, current_state};

/// A store in a directory.
///
/// Any number of processes may have the same root open, on a shared file system also from several machines.
pub struct Filesystem {
    layout: Layout,
    durable_shards: DurableShards,
}

impl Filesystem {
    /// Opens the store at `root` and creates the directories that are missing, `root` included.
    ///
    /// # Errors
    /// `StorageFull`, or `Other` when `root` is no directory that this process may write to.
    pub fn open(root: &Path) -> Result<Self> {
        let failed = Error::while_doing("opening the store");
        // Absolute, so that a later change of the working directory does not move the store.
        let layout = Layout::new(std::path::absolute(root).map_err(failed)?);
        for directory in [layout.blobs(), layout.uploads()] {
            create_directory_durably(directory).map_err(failed)?;
        }
        // A process before this one may have died between creating one of these and flushing it.
        for directory in layout.standing_directories() {
            sync_directory(directory).map_err(failed)?;
        }
        Ok(Self {
            layout,
            durable_shards: DurableShards::default(),
        })
    }

    /// Returns the store at `root` for looking at what is there; nothing is created, and nothing may be stored.
    ///
    /// # Errors
    /// `Other` when the working directory is needed and gone.
    pub fn of_existing(root: &Path) -> Result<Self> {
        let failed = Error::while_doing("opening the store");
        Ok(Self {
            layout: Layout::new(std::path::absolute(root).map_err(failed)?),
            durable_shards: DurableShards::default(),
        })
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(super) fn durable_shards(&self) -> &DurableShards {
        &self.durable_shards
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
        const CONTEXT: &str = "opening a blob";
        let file = open_for_reading(&self.layout.blob(at).data, CONTEXT)?;
        let size = file.metadata().map_err(Error::while_doing(CONTEXT))?.len();
        Ok(BlobFile { file, size })
    }

    fn begin_upload(&self, id: &UploadId) -> Result<UploadState> {
        self.create_upload(id)?;
        Ok(current_state())
    }

    fn append(&self, id: &UploadId, state: &UploadState, offset: u64) -> Result<Box<dyn Appender>> {
        check_state(state, "opening an upload")?;
        let file = self.open_upload_at(id, offset)?;
        Ok(Box::new(FileAppender::new(file)))
    }

    fn read_upload(&self, id: &UploadId) -> Result<File> {
        open_for_reading(&self.layout.upload(id), "reading an upload")
    }

    fn publish(
        &self,
        id: &UploadId,
        state: &UploadState,
        size: u64,
        at: &BlobAddress,
    ) -> Result<()> {
        check_state(state, "publishing an upload")?;
        self.publish_upload(id, size, &self.layout.blob(at))
    }

    fn published(&self, id: &UploadId) -> Result<Vec<BlobAddress>> {
        self.find_published(id)
    }

    fn abort_upload(&self, id: &UploadId) -> Result<()> {
        self.remove_upload(id)
    }

    fn list_uploads(&self) -> Result<Vec<UploadId>> {
        self.find_uploads()
    }

    fn delete(&self, at: &BlobAddress) -> Result<()> {
        let failed = Error::while_doing("deleting a blob");
        let place = self.layout.blob(at);
        remove_file_if_present(&place.data).map_err(failed)?;
        match fs::remove_dir(&place.directory) {
            Ok(()) => {}
            Err(error) if keeps_directory(&error) => {}
            Err(error) => return Err(failed(error)),
        }
        // Also when there was nothing to remove: the one who did may have died before the flush, and a blob that a
        // power cut brings back after its row was forgotten would be found by nobody.
        sync_directory_if_present(&place.directory).map_err(failed)?;
        sync_directory_if_present(&place.shard).map_err(failed)
    }

    fn list(&self, visit: &mut dyn FnMut(BlobAddress, u64) -> ControlFlow<()>) -> Result<()> {
        visit_blobs(&self.layout, visit).map_err(Error::while_doing("listing blobs"))
    }
}

/// Whether the blob's directory stays or is gone for a good reason: other keys are in it, or it never was there.
fn keeps_directory(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::DirectoryNotEmpty
            // What some file systems say for a directory that is not empty: rmdir(2).
            | io::ErrorKind::AlreadyExists
    )
}
