//! The driver for a directory, local or shared: blobs where CNCF Distribution keeps them, uploads beside them.
//!
//! ```text
//! <root>/
//!   uploads/
//!     <upload id>             an open upload, locked (flock) by its one appender or publisher
//!     <upload id>.publish     a second name of it, about to be renamed over `data`
//!     <upload id>.copy        a copy of its first bytes, about to replace it
//!   docker/registry/v2/blobs/
//!     <algorithm>/<first 2 hex>/<hex>/
//!       data                  the blob without a key, Distribution's path
//!       data.<key>            the blob under a key
//! ```
//!
//! Names under `blobs` are finished blobs: everything that a crash can leave behind lies in `uploads`, where
//! `list_uploads` finds it. That holds for a blob that was published and never committed too: its upload keeps a name of
//! the same file. Only where the file system refuses a second name (hard links) the upload itself is renamed, and such a
//! blob is found by walking the store (`list`). A file under its final name is never written to again, a flush that failed is never
//! repeated, and the last component of a path is never followed when it is a symbolic link.

mod appender;
mod directories;
mod driver;
mod files;
mod layout;
mod listing;
mod publish;
mod published;
mod second_name;
#[cfg(test)]
mod tests;
mod uploads;

pub use driver::Filesystem;
pub(crate) use files::without_surprises;
