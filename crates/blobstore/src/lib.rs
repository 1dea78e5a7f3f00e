//! Where the bytes of blobs are kept: one trait, [`BlobStore`], a module per driver, and one contract suite that every
//! driver passes.
//!
//! A store knows bytes, sizes and addresses. It never knows repositories, tags or references, never checks a digest,
//! and never decides what may be deleted. Everything here blocks: callers run it on threads that may wait for a disk.

mod address;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod error;
pub mod filesystem;
pub mod links;
mod network;
mod store;

pub use address::{BlobAddress, BlobKey};
pub use error::{Error, ErrorKind, Result};
pub use network::network_file_system;
pub use store::{Appender, BlobFile, BlobStore, Capabilities, UploadState};
