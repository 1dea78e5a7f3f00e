//! Finds the blobs that an upload was published as. Its name stays in `uploads` until the caller's row is committed, so
//! what a crash leaves in between is a file with a name here and a name there, and no search of the store is needed.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use oci::{Algorithm, Digest, Hasher, UploadId};

use crate::address::BlobAddress;
use crate::error::{Error, ErrorKind, Result};

use super::driver::Filesystem;
use super::files::open_for_reading;
use super::layout::address_of;

const CONTEXT: &str = "looking where an upload was published";

/// How much is read at a time, in bytes.
const BUFFER: usize = 256 << 10;

/// A file, whatever it is called: its device and number.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity(u64, u64);

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self(metadata.dev(), metadata.ino())
    }
}

impl Filesystem {
    /// Returns the blobs that are the upload's own file. Reads it only when it has a name outside of `uploads`.
    pub(super) fn find_published(&self, id: &UploadId) -> Result<Vec<BlobAddress>> {
        let failed = Error::while_doing(CONTEXT);
        let mut files = Vec::new();
        for name in [self.layout().upload(id), self.layout().staged(id)] {
            let file = match open_for_reading(&name, CONTEXT) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                file => file?,
            };
            let metadata = file.metadata().map_err(failed)?;
            files.push((file, Identity::of(&metadata), metadata.nlink()));
        }
        let named_here: Vec<Identity> = files.iter().map(|(_, identity, _)| *identity).collect();
        let mut found = Vec::new();
        for (place, (mut file, identity, names)) in files.into_iter().enumerate() {
            let seen = named_here[..place].contains(&identity);
            let own = named_here.iter().filter(|other| **other == identity);
            if !seen && names > own.count() as u64 {
                self.find_names(&mut file, identity, &mut found)
                    .map_err(failed)?;
            }
        }
        Ok(found)
    }

    /// Adds the blobs that are this file; they can only lie under the digests of its bytes.
    fn find_names(
        &self,
        file: &mut File,
        identity: Identity,
        found: &mut Vec<BlobAddress>,
    ) -> io::Result<()> {
        for digest in digests_of(file)? {
            let directory = self.layout().blob(&BlobAddress { digest, key: None });
            for address in addresses_in(&directory.directory, digest)? {
                match fs::symlink_metadata(self.layout().blob(&address).data) {
                    Ok(metadata) if Identity::of(&metadata) == identity => found.push(address),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}

/// Returns the digests of all of the file's bytes, one per algorithm, in one pass.
fn digests_of(file: &mut File) -> io::Result<[Digest; 2]> {
    let mut hashers = [Algorithm::Sha256, Algorithm::Sha512].map(Hasher::new);
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hashers.map(Hasher::finish)),
            Ok(read) => {
                for hasher in &mut hashers {
                    hasher.update(&buffer[..read]);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Returns the addresses of what lies in the directory of `digest`; none where there is no such directory.
fn addresses_in(directory: &Path, digest: Digest) -> io::Result<Vec<BlobAddress>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut addresses = Vec::new();
    for entry in entries {
        addresses.extend(address_of(digest, &entry?.file_name()));
    }
    Ok(addresses)
}
