//! The steps that the clauses are told in. Each panics with what went wrong.
//! They keep a driver's smallest chunk, so that a clause means the same for every storage.

use std::io::Read;

use oci::{Algorithm, Digest, UploadId};

use crate::address::BlobAddress;
use crate::error::ErrorKind;
use crate::store::{BlobStore, UploadState};

/// More than one page and one buffer, and no multiple of either.
const CHUNK_LEN: u64 = 70_001;

/// Returns the `number`th upload id.
pub(super) fn upload_id(number: u32) -> UploadId {
    UploadId::parse(&format!("00000000-0000-4000-8000-{number:012x}"))
        .expect("twelve hex digits complete a canonical id")
}

/// Returns as many bytes as the store wants between two flushes, all of them `fill`.
pub(super) fn chunk(store: &dyn BlobStore, fill: u8) -> Vec<u8> {
    let least = store.capabilities().min_chunk.unwrap_or(0);
    let len = usize::try_from(least.max(CHUNK_LEN)).expect("a chunk fits into memory");
    vec![fill; len]
}

/// Returns the address of `bytes` under Distribution's path.
pub(super) fn address_of(bytes: &[u8]) -> BlobAddress {
    BlobAddress {
        digest: Digest::of(Algorithm::Sha256, bytes),
        key: None,
    }
}

/// Begins the upload.
pub(super) fn begin(store: &dyn BlobStore, id: &UploadId) -> UploadState {
    store.begin_upload(id).expect("a new upload begins")
}

/// Appends `bytes` at `offset` and flushes them.
pub(super) fn append(
    store: &dyn BlobStore,
    id: &UploadId,
    state: &UploadState,
    offset: usize,
    bytes: &[u8],
) -> UploadState {
    let mut appender = store
        .append(id, state, offset as u64)
        .expect("the upload continues at its offset");
    appender.write(bytes).expect("the store takes bytes");
    appender.flush().expect("the store keeps bytes")
}

/// Begins the upload and gives it all of `bytes`.
pub(super) fn upload(store: &dyn BlobStore, id: &UploadId, bytes: &[u8]) -> UploadState {
    let state = begin(store, id);
    append(store, id, &state, 0, bytes)
}

/// Uploads `bytes`, publishes them at `at` and ends the upload.
pub(super) fn store_blob(store: &dyn BlobStore, id: &UploadId, bytes: &[u8], at: &BlobAddress) {
    let state = upload(store, id, bytes);
    publish(store, id, &state, bytes, at);
    store.abort_upload(id).expect("a published upload ends");
}

/// Publishes the upload, which holds `bytes`.
pub(super) fn publish(
    store: &dyn BlobStore,
    id: &UploadId,
    state: &UploadState,
    bytes: &[u8],
    at: &BlobAddress,
) {
    store
        .publish(id, state, bytes.len() as u64, at)
        .expect("a complete upload is published");
}

/// Returns the blob's bytes, which must be as many as the store says.
pub(super) fn read(store: &dyn BlobStore, at: &BlobAddress) -> Vec<u8> {
    let mut blob = store.open(at).expect("the blob is there");
    let mut bytes = Vec::new();
    blob.file
        .read_to_end(&mut bytes)
        .expect("the blob can be read");
    assert_eq!(bytes.len() as u64, blob.size, "the size is the blob's");
    bytes
}

/// Whether nothing is stored at `at`.
pub(super) fn is_absent(store: &dyn BlobStore, at: &BlobAddress) -> bool {
    store
        .open(at)
        .is_err_and(|error| error.kind() == ErrorKind::NotFound)
}
