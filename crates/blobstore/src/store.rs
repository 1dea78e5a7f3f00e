//! The seam between content and where bytes lie. What is promised here is tested by the contract suite
//! for every driver.

use std::fs::File;

use oci::UploadId;

use crate::address::BlobAddress;
use crate::error::Result;

/// What a driver can and needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The smallest piece of an upload but the last, in bytes.
    pub min_chunk: Option<u64>,
    /// Whether an open upload can be read.
    pub reread_uploads: bool,
}

/// A stored blob, opened.
#[derive(Debug)]
pub struct BlobFile {
    /// The bytes.
    pub file: File,
    /// How many, as stored; the caller compares it with the blob's row.
    pub size: u64,
}

/// What a driver has to know to continue an upload; its first byte is the driver's format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadState(Vec<u8>);

impl UploadState {
    /// Returns the state a driver made.
    pub fn of_driver(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Returns the state of a stored row; `None` for an upload whose file was never begun.
    pub fn from_row(bytes: Vec<u8>) -> Option<Self> {
        (!bytes.is_empty()).then_some(Self(bytes))
    }

    /// Returns the stored form.
    pub fn to_row(&self) -> Vec<u8> {
        self.0.clone()
    }

    /// Returns the driver's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// An upload being written.
pub trait Appender: Send {
    /// Writes all of `bytes` after what is there.
    ///
    /// # Errors
    /// The driver's; after one the upload must be opened again.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Makes everything written durable and returns the state that covers it; more may be written
    /// afterwards.
    ///
    /// # Errors
    /// The driver's. A failed flush is never retried into success: every later call fails too.
    fn flush(&mut self) -> Result<UploadState>;
}

/// A place for blobs. Every method blocks.
pub trait BlobStore: Send + Sync + 'static {
    /// Returns what the driver can and needs.
    fn capabilities(&self) -> Capabilities;

    /// Opens a blob.
    ///
    /// # Errors
    /// `NotFound` when it is not there.
    fn open(&self, at: &BlobAddress) -> Result<BlobFile>;

    /// Makes an empty upload, or empties it when it is there.
    ///
    /// # Errors
    /// The driver's.
    fn begin_upload(&self, id: &UploadId) -> Result<UploadState>;

    /// Continues an upload at `offset`, cutting off what lies behind.
    ///
    /// # Errors
    /// `NotFound` when its bytes are gone, `UploadTooShort` when there are fewer than `offset`.
    fn append(&self, id: &UploadId, state: &UploadState, offset: u64) -> Result<Box<dyn Appender>>;

    /// Opens the bytes of an upload for reading, also while they grow.
    ///
    /// # Errors
    /// `NotFound` when they are gone.
    fn read_upload(&self, id: &UploadId) -> Result<File>;

    /// Makes the upload's bytes, `size` of them and flushed, the blob at `at`, durably, replacing what is there.
    /// The upload stays until it is aborted.
    ///
    /// # Errors
    /// `UploadTooShort` when there are not exactly `size` bytes; the driver's.
    fn publish(
        &self,
        id: &UploadId,
        state: &UploadState,
        size: u64,
        at: &BlobAddress,
    ) -> Result<()>;

    /// Removes an upload; it need not be there.
    ///
    /// # Errors
    /// The driver's.
    fn abort_upload(&self, id: &UploadId) -> Result<()>;

    /// Returns the uploads whose bytes are there.
    ///
    /// # Errors
    /// The driver's.
    fn list_uploads(&self) -> Result<Vec<UploadId>>;

    /// Removes a blob; it need not be there.
    ///
    /// # Errors
    /// The driver's.
    fn delete(&self, at: &BlobAddress) -> Result<()>;
}
