//! Every path below the root is made here, from parsed parts only, and read back here.
//! Nothing in this file touches the disk.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use oci::{Digest, UploadId};

use crate::address::{BlobAddress, BlobKey};

/// The name of a blob without a key, and the beginning of the name of one with a key.
const DATA: &str = "data";
/// How many of a digest's hex digits name its shard.
pub(super) const SHARD_NAME_LEN: usize = 2;
const PUBLISH_SUFFIX: &str = ".publish";
const COPY_SUFFIX: &str = ".copy";

/// The places below one root.
pub(super) struct Layout {
    root: PathBuf,
    uploads: PathBuf,
    blobs: PathBuf,
}

/// Where one blob lies, with the directories on the way.
pub(super) struct BlobPlace {
    /// `<algorithm>`
    pub(super) algorithm: PathBuf,
    /// `<algorithm>/<first 2 hex>`
    pub(super) shard: PathBuf,
    /// `<algorithm>/<first 2 hex>/<hex>`
    pub(super) directory: PathBuf,
    /// `data` or `data.<key>` in that directory.
    pub(super) data: PathBuf,
}

impl Layout {
    pub(super) fn new(root: PathBuf) -> Self {
        Self {
            uploads: root.join("uploads"),
            blobs: root.join("docker/registry/v2/blobs"),
            root,
        }
    }

    pub(super) fn uploads(&self) -> &Path {
        &self.uploads
    }

    pub(super) fn blobs(&self) -> &Path {
        &self.blobs
    }

    /// Returns `uploads`, and `blobs` with everything above it up to the root.
    pub(super) fn standing_directories(&self) -> impl Iterator<Item = &Path> {
        let above = self.blobs.ancestors();
        above
            .take_while(|directory| directory.starts_with(&self.root))
            .chain([self.uploads.as_path()])
    }

    pub(super) fn upload(&self, id: &UploadId) -> PathBuf {
        self.uploads.join(id.as_str())
    }

    pub(super) fn staged(&self, id: &UploadId) -> PathBuf {
        self.uploads.join(format!("{id}{PUBLISH_SUFFIX}"))
    }

    pub(super) fn copy(&self, id: &UploadId) -> PathBuf {
        self.uploads.join(format!("{id}{COPY_SUFFIX}"))
    }

    pub(super) fn blob(&self, at: &BlobAddress) -> BlobPlace {
        let hex = at.digest.hex();
        let algorithm = self.blobs.join(at.digest.algorithm().as_str());
        let shard = algorithm.join(&hex[..SHARD_NAME_LEN]);
        let directory = shard.join(&hex);
        let data = match &at.key {
            None => directory.join(DATA),
            Some(key) => directory.join(format!("{DATA}.{}", key.as_str())),
        };
        BlobPlace {
            algorithm,
            shard,
            directory,
            data,
        }
    }
}

/// Returns the upload that a file named `name` in `uploads` belongs to, or none for a foreign one.
pub(super) fn upload_of(name: &OsStr) -> Option<UploadId> {
    let name = name.to_str()?;
    let id = [PUBLISH_SUFFIX, COPY_SUFFIX]
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
        .unwrap_or(name);
    UploadId::parse(id).ok()
}

/// Returns the address of the blob of `digest` in a file named `name`, or none for a foreign one.
pub(super) fn address_of(digest: Digest, name: &OsStr) -> Option<BlobAddress> {
    let key = match name.to_str()?.strip_prefix(DATA)? {
        "" => None,
        suffix => Some(BlobKey::parse(suffix.strip_prefix('.')?)?),
    };
    Some(BlobAddress { digest, key })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use oci::{Algorithm, Digest};

    use super::Layout;
    use crate::address::{BlobAddress, BlobKey};

    #[test]
    fn a_blob_lies_where_its_address_says() {
        let layout = Layout::new("/store".into());
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            for key in [None, BlobKey::parse("2f-9z")] {
                let digest = Digest::of(algorithm, b"somewhere");
                let at = BlobAddress { digest, key };
                let expected = Path::new("/store").join(at.path());
                assert_eq!(layout.blob(&at).data, expected);
            }
        }
    }
}
