//! Looking at bytes before anything is said about them: a manifest has its digest and can be read, and two digests of
//! different algorithms are of the same bytes.

use std::io::{self, Read};

use blobstore::filesystem::Filesystem;
use blobstore::{BlobAddress, BlobStore, ErrorKind};
use oci::{Digest, Hasher, Manifest};

use crate::content::manifests::write_and_publish;
use crate::content::uploads::fresh_id;

/// How much is read at once of a blob that is hashed.
const CHUNK: usize = 256 << 10;

/// A manifest that can be used.
pub(super) struct Verified {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) manifest: Manifest,
}

/// Returns where Distribution keeps the bytes of a digest.
pub(super) fn plain(digest: &Digest) -> BlobAddress {
    BlobAddress {
        digest: *digest,
        key: None,
    }
}

/// Tells whether the bytes of a digest are there.
pub(super) fn is_there(store: &Filesystem, digest: &Digest) -> bool {
    store.open(&plain(digest)).is_ok()
}

/// Reads the manifest of `digest`, of at most `limit` bytes.
///
/// # Errors
/// Why it cannot be used, in words.
pub(super) fn manifest(
    store: &Filesystem,
    digest: &Digest,
    limit: u64,
) -> Result<Verified, String> {
    let opened = store
        .open(&plain(digest))
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => "its bytes are missing".to_owned(),
            ErrorKind::StorageFull
            | ErrorKind::UploadTooShort { .. }
            | ErrorKind::UploadBusy
            | ErrorKind::Other => format!("its bytes cannot be read: {error}"),
        })?;
    if opened.size > limit {
        let size = opened.size;
        return Err(format!(
            "its {size} bytes are more than a manifest may have (http.limits.manifestsize)"
        ));
    }
    let mut bytes = Vec::new();
    let read = opened.file.take(limit).read_to_end(&mut bytes);
    read.map_err(|error| format!("its bytes cannot be read: {error}"))?;
    if Digest::of(digest.algorithm(), &bytes) != *digest {
        return Err("its bytes do not have its digest".to_owned());
    }
    let manifest = Manifest::parse(&bytes, None).map_err(|error| error.to_string())?;
    Ok(Verified {
        digest: *digest,
        size: bytes.len() as u64,
        manifest,
    })
}

/// Checks that `name` is another digest of the bytes of `target`; returns their size, or `None` when they are not there.
///
/// # Errors
/// That they are not of that digest, or why it cannot be seen.
pub(super) fn check_second_name(
    store: &Filesystem,
    name: &Digest,
    target: &Digest,
) -> Result<Option<u64>, String> {
    let Ok(mut opened) = store.open(&plain(target)) else {
        return Ok(None);
    };
    let mut hasher = Hasher::new(name.algorithm());
    let mut chunk = vec![0; CHUNK];
    let hashed = loop {
        match opened.file.read(&mut chunk) {
            Ok(0) => break Ok(()),
            Ok(length) => hasher.update(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Err(error),
        }
    };
    hashed.map_err(|error| format!("the bytes of {target} cannot be read: {error}"))?;
    if hasher.finish() != *name {
        return Err(format!(
            "it names {target}, whose bytes do not have the digest of its path"
        ));
    }
    Ok(Some(opened.size))
}

/// Makes the bytes of `target` those of `name` too.
///
/// # Errors
/// Why it cannot be done.
pub(super) fn name_again(store: &Filesystem, name: &Digest, target: &Digest) -> Result<(), String> {
    let named = store.name_again(&fresh_id(), &plain(target), &plain(name));
    named.map_err(|error| format!("the bytes of {target} cannot get a second name: {error}"))
}

/// Makes the file of no bytes.
pub(super) fn make_empty(store: &Filesystem, digest: &Digest) -> blobstore::Result<()> {
    let id = fresh_id();
    let published = write_and_publish(store, &id, b"", &plain(digest));
    let removed = store.abort_upload(&id);
    published.and(removed)
}
