//! Giving stored bytes a second address without copying them: a hard link, by the same steps as a publication.

use std::fs;
use std::os::unix::fs::MetadataExt;

use oci::UploadId;

use crate::address::BlobAddress;
use crate::error::{Error, Result};

use super::directories::remove_file_if_present;
use super::driver::Filesystem;

const CONTEXT: &str = "giving a blob a second name";

impl Filesystem {
    /// Makes the bytes at `from` those at `to` too, replacing what was there; `id` is a fresh one, for the name that is
    /// used on the way. When it returns, both survive a power cut.
    ///
    /// # Errors
    /// `NotFound` when nothing is at `from`; `Other` also where the file system knows no hard links.
    pub fn name_again(&self, id: &UploadId, from: &BlobAddress, to: &BlobAddress) -> Result<()> {
        let (from, to) = (self.layout().blob(from), self.layout().blob(to));
        let source = fs::symlink_metadata(&from.data).map_err(Error::while_finding(CONTEXT))?;
        if let Ok(there) = fs::symlink_metadata(&to.data)
            && (there.dev(), there.ino()) == (source.dev(), source.ino())
        {
            return Ok(());
        }
        let failed = Error::while_doing(CONTEXT);
        let staged = self.layout().staged(id);
        fs::hard_link(&from.data, &staged).map_err(failed)?;
        let shard = self.move_into_place(&staged, &to);
        // After a success it is gone already.
        let removed = remove_file_if_present(&staged);
        let shard = shard.map_err(failed)?;
        removed.map_err(failed)?;
        self.sync_place(&to, shard).map_err(failed)
    }
}
