//! The link files by which CNCF Distribution knows its repositories, beside the blobs below the same root. Read to adopt
//! such a root, written to give it back; Seawall itself never looks at them to answer anybody.
//!
//! ```text
//! <root>/docker/registry/v2/repositories/<name>/      a name may have several components, and other names below it
//!   _layers/<algorithm>/<hex>/link                    a blob of the repository
//!   _manifests/revisions/<algorithm>/<hex>/link       a manifest of the repository
//!   _manifests/tags/<tag>/current/link                what the tag points to
//!   _manifests/tags/<tag>/index/<algorithm>/<hex>/link    everything it ever pointed to
//!   _uploads/                                         never looked at
//! ```
//!
//! A link holds a digest and no newline. Distribution writes it without flushing it, so that a crash can leave an empty
//! one, or one with anything in it.

mod file;
mod find;
mod place;
#[cfg(test)]
mod tests;
mod write;

pub use file::{LinkContent, LinkFile};
pub use find::{FoundLink, FoundRepository, LinkFiles, Obstacle, RepositoryLinks};
pub use place::LinkPlace;
