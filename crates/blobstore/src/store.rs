//! The trait a driver implements and the values that pass through it.
//! It promises only what every kind of storage can keep; what differs is told by [`Capabilities`].

use std::fs::File;
use std::ops::ControlFlow;

use oci::UploadId;

use crate::address::BlobAddress;
use crate::error::Result;

/// What a driver knows about an upload beyond its id; stored by the caller with the offset it belongs to.
///
/// Opaque and versioned by the driver: the first byte is the format.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UploadState(Vec<u8>);

impl UploadState {
    /// Returns the state that was stored as `bytes`. The driver refuses a format it does not know when it is used.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Returns the bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What a driver can do and what it wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// The fewest bytes between two flushes of an upload, the last one excepted; none when any number will do.
    pub min_chunk: Option<u64>,
    /// Whether [`BlobStore::read_upload`] works.
    pub reread_uploads: bool,
}

/// An open blob.
#[derive(Debug)]
pub struct BlobFile {
    /// The bytes, positioned at the first. They stay readable when the blob is deleted or replaced meanwhile.
    pub file: File,
    /// The number of bytes stored, which a caller compares with the blob's row before it promises them to a client.
    pub size: u64,
}

/// A place for blobs and for uploads that may become blobs.
///
/// No truth about an upload lives in the store's memory: any process that has the id, the state and the offset can
/// continue it. Two writers of one upload are kept apart by the caller's row first; a driver refuses the second
/// ([`crate::ErrorKind::UploadBusy`]) or keeps its bytes apart, so that neither can change what the other publishes.
pub trait BlobStore: Send + Sync + 'static {
    /// Returns what this driver can do; the same for as long as it lives.
    fn capabilities(&self) -> Capabilities;

    /// Opens the blob stored at `at`.
    ///
    /// # Errors
    /// `NotFound` when nothing is there. What is there but is no blob (a link, a directory) is `Other`.
    fn open(&self, at: &BlobAddress) -> Result<BlobFile>;

    /// Creates the empty upload `id` and returns its first state.
    ///
    /// # Errors
    /// `StorageFull`; `Other` also when the upload exists already.
    fn begin_upload(&self, id: &UploadId) -> Result<UploadState>;

    /// Opens the upload for writing at `offset`, the number of bytes that `state` covers. Bytes past it are cut off.
    ///
    /// Drop the appender before the next `append` or `publish` of this upload, and before telling a client that it may
    /// send the next bytes.
    ///
    /// # Errors
    /// `NotFound`, `UploadTooShort` when fewer than `offset` bytes are there, `UploadBusy` when another appender is
    /// open, `StorageFull`.
    fn append(&self, id: &UploadId, state: &UploadState, offset: u64) -> Result<Box<dyn Appender>>;

    /// Opens the upload for reading, also while it grows: the bytes an appender wrote can be read at once.
    ///
    /// # Errors
    /// `NotFound`; `Other` when [`Capabilities::reread_uploads`] is false.
    fn read_upload(&self, id: &UploadId) -> Result<File>;

    /// Makes the upload's `size` bytes the blob at `at`, replacing what was there (a damaged copy is healed so).
    ///
    /// When it returns, the blob survives a power cut. The upload stays, so that [`BlobStore::published`] finds the blob
    /// whose row was never committed, or goes where the storage cannot keep both: such a blob is found by
    /// [`BlobStore::list`] alone. Call [`BlobStore::abort_upload`] once the blob's row is committed. Until then `publish` may be called again, but after a failed flush to the disk the
    /// upload is gone, because a second attempt could succeed without the bytes being there.
    ///
    /// # Errors
    /// `NotFound`; `UploadTooShort`, or `Other` when there are more than `size` bytes; `UploadBusy`; `StorageFull`.
    fn publish(
        &self,
        id: &UploadId,
        state: &UploadState,
        size: u64,
        at: &BlobAddress,
    ) -> Result<()>;

    /// Returns every blob that still consists of the bytes that [`BlobStore::publish`] took from this upload: none when
    /// it was not published or is not there, or when the blobs were replaced or deleted since. Reads all bytes of an
    /// upload that was published, and none of one that was not. Ask before going on with an upload after a failure or a
    /// crash: `append` may forget where its earlier bytes were published.
    fn published(&self, id: &UploadId) -> Result<Vec<BlobAddress>>;

    /// Removes everything kept for the upload; one that does not exist is fine. Published bytes are not touched.
    fn abort_upload(&self, id: &UploadId) -> Result<()>;

    /// Returns every upload of which anything is left, in no order.
    fn list_uploads(&self) -> Result<Vec<UploadId>>;

    /// Removes the blob at `at`; one that does not exist is fine. When it returns, a power cut does not bring it back.
    fn delete(&self, at: &BlobAddress) -> Result<()>;

    /// Calls `visit` with the address and size in bytes of every stored blob, in no order, until it breaks. Holds
    /// none of them in memory; a blob stored or deleted meanwhile may be visited or not.
    fn list(&self, visit: &mut dyn FnMut(BlobAddress, u64) -> ControlFlow<()>) -> Result<()>;
}

/// Writes the next bytes of one upload, in order.
///
/// After any failure it is broken for good: a failed flush may have dropped bytes that a second one would not miss.
/// Continue with a new appender at the last offset that was flushed.
pub trait Appender: Send {
    /// Writes all of `bytes` after those before. They are durable only after [`Appender::flush`].
    ///
    /// # Errors
    /// `StorageFull`, `Other`; after a failure always the kind of the first one.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Makes every byte written so far survive a power cut, and returns the state that covers them. May be called
    /// again after more writes.
    ///
    /// # Errors
    /// `StorageFull`, `Other`; after a failure always the kind of the first one.
    fn flush(&mut self) -> Result<UploadState>;
}
