//! Walks the stored blobs one directory at a time.
//! What is not named as a blob of ours is passed over: an adopted root holds other programs' leftovers.

use std::fs::{self, DirEntry, ReadDir};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use oci::{Algorithm, Digest};

use crate::address::BlobAddress;

use super::layout::{Layout, SHARD_NAME_LEN, address_of};

type Visit<'a> = dyn FnMut(BlobAddress, u64) -> ControlFlow<()> + 'a;

/// Calls `visit` for every blob below `layout`, until it breaks.
pub(super) fn visit_blobs(layout: &Layout, visit: &mut Visit<'_>) -> io::Result<()> {
    for algorithm in entries(layout.blobs())? {
        let algorithm = algorithm?;
        let name = algorithm.file_name();
        let Some(parsed) = name.to_str().and_then(Algorithm::parse) else {
            continue;
        };
        for shard in entries(&algorithm.path())? {
            let shard = shard?;
            // `lost+found` and its like may not be readable, and need not be.
            if shard.file_name().len() != SHARD_NAME_LEN {
                continue;
            }
            for directory in entries(&shard.path())? {
                let directory = directory?;
                let Some(digest) = digest_of(layout, parsed, &directory) else {
                    continue;
                };
                if visit_directory(digest, &directory.path(), visit)?.is_break() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Calls `visit` for the blobs of one digest.
fn visit_directory(
    digest: Digest,
    directory: &Path,
    visit: &mut Visit<'_>,
) -> io::Result<ControlFlow<()>> {
    for entry in entries(directory)? {
        let entry = entry?;
        let Some(address) = address_of(digest, &entry.file_name()) else {
            continue;
        };
        let metadata = match entry.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            metadata => metadata?,
        };
        if metadata.is_file() && visit(address, metadata.len()).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Returns the digest a directory is named after, or none when it lies where no blob of that digest is looked for.
fn digest_of(layout: &Layout, algorithm: Algorithm, directory: &DirEntry) -> Option<Digest> {
    let name = directory.file_name();
    let digest = Digest::parse(&format!("{}:{}", algorithm.as_str(), name.to_str()?)).ok()?;
    let at = BlobAddress { digest, key: None };
    (layout.blob(&at).directory == directory.path()).then_some(digest)
}

/// Returns what is in the directory `path`; nothing when it is a file, or was removed meanwhile.
fn entries(path: &Path) -> io::Result<impl Iterator<Item = io::Result<DirEntry>> + use<>> {
    let listing: Option<ReadDir> = match fs::read_dir(path) {
        Ok(listing) => Some(listing),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            None
        }
        Err(error) => return Err(error),
    };
    Ok(listing.into_iter().flatten())
}
