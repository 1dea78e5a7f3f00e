//! Where the bytes of blobs lie: one trait, a file per driver, and the contract suite that every driver
//! runs. Everything here blocks and is called from blocking threads; it knows digests, never
//! repositories, and must never decide what may be served.

mod address;
#[cfg(test)]
mod contract;
mod error;
pub mod filesystem;
mod network;
mod store;

pub use address::{BlobAddress, BlobKey, InvalidKey};
pub use error::{Error, ErrorKind, Result};
pub use network::network_file_system;
pub use store::{Appender, BlobFile, BlobStore, Capabilities, UploadState};
